//! Reading a model in full: its hashes, and values that are not numbers.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use emberbrush_layers::weights::WeightSource;
use emberbrush_pipeline::checkpoint::{safetensors_file::SafetensorsFile, tensor_file::TensorFile};
use half::{bf16, f16};
use safetensors::Dtype;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    error::LibraryError,
    folder::bytes_below,
    progress::{OnProgress, Progress, tell},
};

/// Bytes that are read at a time: whole elements of every type.
const CHUNK: u64 = 1 << 20;

/// Endings of files that hold weights.
const WEIGHTS: [&str; 5] = ["safetensors", "bin", "ckpt", "pt", "pth"];

/// A file of weights that was read in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifiedFile {
    /// Its path in the model, or its name where the model is one file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// The hash by which the file was published, where it is known.
    pub published: Option<String>,
    /// Number of tensors.
    pub tensors: usize,
    /// Tensors that hold values which are not numbers.
    pub not_finite: Vec<NotFinite>,
}

/// A tensor with values that are not numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotFinite {
    /// The tensor.
    pub key: String,
    /// How many elements are NaN.
    pub nan: u64,
    /// How many elements are infinite.
    pub infinite: u64,
}

impl VerifiedFile {
    /// Whether the file is what was published, as far as that is known.
    pub fn is_published(&self) -> bool {
        self.published.as_ref().is_none_or(|published| *published == self.sha256)
    }

    /// Whether nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        self.is_published() && self.not_finite.is_empty()
    }
}

/// Reads every file of weights of the model at `path`. `published` holds hashes by relative path,
/// that of a single file by the empty path.
///
/// # Errors
///
/// Where a file cannot be read or is not what its ending says.
pub fn verify(
    path: &Path,
    published: &BTreeMap<String, String>,
    on_progress: OnProgress<'_>,
) -> Result<Vec<VerifiedFile>, LibraryError> {
    let files = weights_below(path)?;
    let total = files.iter().map(|file| bytes_below(file)).sum();
    let mut reading = Reading { done: 0, total, on_progress };
    let mut verified = Vec::new();
    for file in files {
        let below = file.strip_prefix(path).unwrap_or(&file);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        let key = parts.join("/");
        let name = match key.is_empty() {
            true => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            false => key.clone(),
        };
        tell(reading.on_progress, Progress::File { name: &name })?;
        let (sha256, tensors, not_finite) = reading.read(&file)?;
        let bytes = bytes_below(&file);
        let published = published.get(&key).cloned();
        verified.push(VerifiedFile { file: name, bytes, sha256, published, tensors, not_finite });
    }
    Ok(verified)
}

/// The files of weights in a model, in order.
pub(crate) fn weights_below(path: &Path) -> Result<Vec<PathBuf>, LibraryError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(LibraryError::io(path))?.flatten() {
        let inside = entry.path();
        let ending = inside.extension().and_then(|ending| ending.to_str());
        if inside.is_dir() {
            files.extend(weights_below(&inside)?);
        } else if ending.is_some_and(|ending| WEIGHTS.contains(&ending)) {
            files.push(inside);
        }
    }
    files.sort();
    Ok(files)
}

struct Reading<'a> {
    done: u64,
    total: u64,
    on_progress: OnProgress<'a>,
}

impl Reading<'_> {
    /// Hash, number of tensors, and what is not finite.
    fn read(&mut self, path: &Path) -> Result<(String, usize, Vec<NotFinite>), LibraryError> {
        let file = match TensorFile::open(path).map_err(LibraryError::Checkpoint)? {
            TensorFile::Safetensors(file) => file,
            pickle @ TensorFile::Pickle(_) => return self.read_pickle(path, &pickle),
        };
        let tensors = tensors(path, &file);
        let mut file = BufReader::new(File::open(path).map_err(LibraryError::io(path))?);
        let mut hasher = Sha256::new();
        let mut not_finite = Vec::new();
        let mut at = 0;
        for StoredTensor { key, dtype, start, end } in &tensors {
            self.pass(&mut file, path, start - at, |bytes| hasher.update(bytes))?;
            let mut found = NotFinite { key: key.clone(), nan: 0, infinite: 0 };
            self.pass(&mut file, path, end - start, |bytes| {
                hasher.update(bytes);
                count(*dtype, bytes, &mut found);
            })?;
            if found.nan + found.infinite > 0 {
                not_finite.push(found);
            }
            at = *end;
        }
        let length = bytes_below(path);
        self.pass(&mut file, path, length.saturating_sub(at), |bytes| hasher.update(bytes))?;
        Ok((hex(&hasher.finalize()), tensors.len(), not_finite))
    }

    /// The same of a file of `torch.save`, where tensors may share their bytes and lie in any order.
    fn read_pickle(
        &mut self,
        path: &Path,
        pickle: &TensorFile,
    ) -> Result<(String, usize, Vec<NotFinite>), LibraryError> {
        let mut hasher = Sha256::new();
        let mut file = BufReader::new(File::open(path).map_err(LibraryError::io(path))?);
        self.pass(&mut file, path, bytes_below(path), |bytes| hasher.update(bytes))?;
        let mut not_finite = Vec::new();
        let keys = pickle.keys();
        for key in &keys {
            let Some(info) = pickle.info(key).filter(|info| is_float(info.dtype)) else { continue };
            let values =
                pickle.read(key).map_err(|error| LibraryError::Checkpoint(error.into()))?;
            let mut found = NotFinite { key: key.clone(), nan: 0, infinite: 0 };
            count(info.dtype, values.as_bytes(), &mut found);
            if found.nan + found.infinite > 0 {
                not_finite.push(found);
            }
            let bytes = Progress::Bytes { done: self.done, total: Some(self.total) };
            tell(self.on_progress, bytes)?;
        }
        Ok((hex(&hasher.finalize()), keys.len(), not_finite))
    }

    /// Reads `length` bytes in chunks.
    fn pass(
        &mut self,
        file: &mut impl Read,
        path: &Path,
        length: u64,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), LibraryError> {
        let mut chunk = vec![0; length.min(CHUNK) as usize];
        let mut left = length;
        while left > 0 {
            let part = &mut chunk[..left.min(CHUNK) as usize];
            file.read_exact(part).map_err(LibraryError::io(path))?;
            see(part);
            left -= part.len() as u64;
            self.done += part.len() as u64;
            let bytes = Progress::Bytes { done: self.done, total: Some(self.total) };
            tell(self.on_progress, bytes)?;
        }
        Ok(())
    }
}

/// A tensor and its place in the file.
struct StoredTensor {
    key: String,
    dtype: Dtype,
    start: u64,
    end: u64,
}

/// The tensors of a file, in the order of their bytes.
fn tensors(path: &Path, file: &SafetensorsFile) -> Vec<StoredTensor> {
    let metadata = file.metadata();
    // The header was checked: what is not header is tensors.
    let data_start = bytes_below(path) - metadata.data_len() as u64;
    let stored = metadata.offset_keys().into_iter().filter_map(|key| {
        let info = metadata.info(&key)?;
        let (start, end) = info.data_offsets;
        let (start, end) = (data_start + start as u64, data_start + end as u64);
        Some(StoredTensor { dtype: info.dtype, key, start, end })
    });
    stored.collect()
}

/// Whether elements of a type can be NaN or infinite.
fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
}

/// Counts the elements of a chunk that are not finite.
fn count(dtype: Dtype, bytes: &[u8], found: &mut NotFinite) {
    match dtype {
        Dtype::F16 => count_as(bytes, found, |bytes| f16::from_le_bytes(bytes).to_f64()),
        Dtype::BF16 => count_as(bytes, found, |bytes| bf16::from_le_bytes(bytes).to_f64()),
        Dtype::F32 => count_as(bytes, found, |bytes| f64::from(f32::from_le_bytes(bytes))),
        Dtype::F64 => count_as(bytes, found, f64::from_le_bytes),
        _ => {}
    }
}

fn count_as<const N: usize>(bytes: &[u8], found: &mut NotFinite, value: impl Fn([u8; N]) -> f64) {
    for element in bytes.as_chunks::<N>().0 {
        let value = value(*element);
        found.nan += u64::from(value.is_nan());
        found.infinite += u64::from(value.is_infinite());
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
