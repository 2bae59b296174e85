//! Safetensors files, read tensor by tensor.
//!
//! The header is checked before anything is believed: its length against the file's, every
//! tensor's bytes against its shape and type. Tensors are parts of the file as it is mapped into
//! memory, so a checkpoint is never in memory twice.

use std::{fs::File, path::PathBuf, sync::Arc};

use burn::tensor::TensorData;
use emberbrush_layers::{
    stored_tensor::{SharedBytes, StoredTensor, file_contents},
    weights::{WeightError, WeightSource},
};
use safetensors::tensor::Metadata;
use thiserror::Error;

use super::tensor_file::element_type;

/// Headers of published checkpoints stay under 1 MB; the format's own limit is 100 MB.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Why a safetensors file was refused.
#[derive(Debug, Error)]
pub enum SafetensorsError {
    /// The file could not be opened or read.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file breaks the format.
    #[error("{path}: not a valid safetensors file: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// One open safetensors file.
pub struct SafetensorsFile {
    name: String,
    bytes: SharedBytes,
    metadata: Metadata,
    data_start: usize,
}

impl std::fmt::Debug for SafetensorsFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SafetensorsFile({})", self.name)
    }
}

impl SafetensorsFile {
    /// Opens a file and reads its header.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SafetensorsError> {
        let path = path.into();
        let name = path.display().to_string();
        let io = |source| SafetensorsError::Io { path: name.clone(), source };
        let file = File::open(&path).map_err(io)?;
        let bytes = file_contents(file).map_err(io)?;
        Self::new(name, bytes)
    }

    /// Reads the header of a file that is part of the program.
    pub fn embedded(
        name: impl Into<String>,
        bytes: &'static [u8],
    ) -> Result<Self, SafetensorsError> {
        Self::new(name.into(), Arc::new(bytes))
    }

    fn new(name: String, bytes: SharedBytes) -> Result<Self, SafetensorsError> {
        let (metadata, data_start) = read_header(&name, (*bytes).as_ref())?;
        Ok(Self { name, bytes, metadata, data_start })
    }

    /// The file's header.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl WeightSource for SafetensorsFile {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.metadata.info(key).map(|info| info.shape.clone())
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        let copied = self.stored(key)?.copied();
        copied.ok_or_else(|| self.unreadable(key, "there are no such tensors".to_owned()))
    }

    fn stored(&self, key: &str) -> Result<StoredTensor, WeightError> {
        let info = self
            .metadata
            .info(key)
            .ok_or_else(|| self.unreadable(key, "the file does not hold it".to_owned()))?;
        let dtype = element_type(info.dtype).ok_or_else(|| {
            self.unreadable(key, format!("its element type {:?} is not supported", info.dtype))
        })?;
        let (start, end) = info.data_offsets;
        let range = self.data_start + start..self.data_start + end;
        StoredTensor::new(Arc::clone(&self.bytes), range, dtype, info.shape.clone())
            .ok_or_else(|| self.unreadable(key, "it is not of the length of its shape".to_owned()))
    }

    fn origin(&self) -> String {
        self.name.clone()
    }
}

impl SafetensorsFile {
    fn unreadable(&self, key: &str, reason: String) -> WeightError {
        WeightError::Unreadable { origin: self.name.clone(), key: key.to_owned(), reason }
    }
}

/// Reads and checks the header: 8 bytes of length, then JSON.
fn read_header(name: &str, file: &[u8]) -> Result<(Metadata, usize), SafetensorsError> {
    let file_length = file.len() as u64;
    let path = || name.to_owned();
    let invalid = |reason: String| SafetensorsError::Invalid { path: path(), reason };
    let Some((&length, rest)) = file.split_first_chunk::<8>() else {
        return Err(invalid(format!("it holds {file_length} bytes; a header takes at least 8")));
    };
    let header_length = u64::from_le_bytes(length);
    if header_length > MAX_HEADER_BYTES || header_length > file_length - 8 {
        return Err(invalid(format!(
            "it claims a header of {header_length} bytes, but the file holds {file_length}; \
             it is truncated or of another format"
        )));
    }
    let header = rest.get(..header_length as usize).unwrap_or_default();
    let metadata: Metadata = serde_json::from_slice(header)
        .map_err(|error| invalid(format!("its header is not understood: {error}")))?;
    let data_start = 8 + header_length;
    let claimed = data_start.checked_add(metadata.data_len() as u64);
    if claimed != Some(file_length) {
        return Err(invalid(format!(
            "its header describes {} bytes of tensors, but {} follow it; the file is truncated or \
             has been changed",
            metadata.data_len(),
            file_length - data_start
        )));
    }
    Ok((metadata, data_start as usize))
}
