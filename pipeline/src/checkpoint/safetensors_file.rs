//! Safetensors files, read tensor by tensor.
//!
//! The header is checked before anything is believed: its length against the file's, every
//! tensor's bytes against its shape and type. Tensors are then read straight into the buffer
//! that becomes the tensor, so a checkpoint is never in memory twice.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use burn::tensor::TensorData;
use emberbrush_layers::weights::{WeightError, WeightSource};
use safetensors::tensor::Metadata;
use thiserror::Error;

use super::{pickle::is_pickle, tensor_file::element_type};

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
    /// The file is a Python pickle under another name.
    #[error(
        "{path}: this is a Python pickle (a .ckpt or .pt file), not safetensors; pickles can run \
         code when loaded, so it is refused. Convert it to safetensors first"
    )]
    Pickle {
        /// The file.
        path: String,
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

/// Where the bytes are.
#[derive(Debug)]
enum Bytes {
    File(Mutex<File>),
    Embedded(&'static [u8]),
}

/// One open safetensors file.
#[derive(Debug)]
pub struct SafetensorsFile {
    name: String,
    bytes: Bytes,
    metadata: Metadata,
    data_start: u64,
}

impl SafetensorsFile {
    /// Opens a file and reads its header.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SafetensorsError> {
        let path = path.into();
        let name = path.display().to_string();
        let io = |source| SafetensorsError::Io { path: name.clone(), source };
        let mut file = File::open(&path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let (metadata, data_start) = read_header(&name, &mut file, length)?;
        Ok(Self { name, bytes: Bytes::File(Mutex::new(file)), metadata, data_start })
    }

    /// Reads the header of a file that is part of the program.
    pub fn embedded(
        name: impl Into<String>,
        bytes: &'static [u8],
    ) -> Result<Self, SafetensorsError> {
        let name = name.into();
        let mut reader = bytes;
        let (metadata, data_start) = read_header(&name, &mut reader, bytes.len() as u64)?;
        Ok(Self { name, bytes: Bytes::Embedded(bytes), metadata, data_start })
    }

    /// The file's header.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The bytes of a tensor's elements, in order, from byte `start` on.
    pub(super) fn read_bytes(
        &self,
        key: &str,
        start: usize,
        length: usize,
    ) -> std::io::Result<Vec<u8>> {
        let info = self.metadata.info(key).ok_or(std::io::ErrorKind::NotFound)?;
        let start = self.data_start + (info.data_offsets.0 + start) as u64;
        match &self.bytes {
            Bytes::File(file) => {
                let mut buffer = vec![0; length];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut buffer)?;
                Ok(buffer)
            }
            Bytes::Embedded(bytes) => {
                let start = start as usize;
                bytes
                    .get(start..start + length)
                    .map(<[u8]>::to_vec)
                    .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

impl WeightSource for SafetensorsFile {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.metadata.info(key).map(|info| info.shape.clone())
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        let unreadable = |reason: String| WeightError::Unreadable {
            origin: self.name.clone(),
            key: key.to_owned(),
            reason,
        };
        let info = self
            .metadata
            .info(key)
            .ok_or_else(|| unreadable("the file does not hold it".to_owned()))?;
        let dtype = element_type(info.dtype).ok_or_else(|| {
            unreadable(format!("its element type {:?} is not supported", info.dtype))
        })?;
        let length = info.data_offsets.1 - info.data_offsets.0;
        let bytes =
            self.read_bytes(key, 0, length).map_err(|error| unreadable(error.to_string()))?;
        TensorData::try_from_bytes_vec(bytes, info.shape.clone(), dtype)
            .map_err(|error| unreadable(error.to_string()))
    }

    fn origin(&self) -> String {
        self.name.clone()
    }
}

/// Reads and checks the header: 8 bytes of length, then JSON.
fn read_header(
    name: &str,
    reader: &mut impl Read,
    file_length: u64,
) -> Result<(Metadata, u64), SafetensorsError> {
    let path = || name.to_owned();
    let invalid = |reason: String| SafetensorsError::Invalid { path: path(), reason };
    let io = |source| SafetensorsError::Io { path: path(), source };
    if file_length < 8 {
        return Err(invalid(format!("it holds {file_length} bytes; a header takes at least 8")));
    }
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(io)?;
    if is_pickle(length) {
        return Err(SafetensorsError::Pickle { path: path() });
    }
    let header_length = u64::from_le_bytes(length);
    if header_length > MAX_HEADER_BYTES || header_length > file_length - 8 {
        return Err(invalid(format!(
            "it claims a header of {header_length} bytes, but the file holds {file_length}; \
             it is truncated or of another format"
        )));
    }
    let mut header = vec![0; header_length as usize];
    reader.read_exact(&mut header).map_err(io)?;
    let metadata: Metadata = serde_json::from_slice(&header)
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
    Ok((metadata, data_start))
}
