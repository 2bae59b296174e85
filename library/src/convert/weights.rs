//! One file of weights.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use emberbrush_layers::weights::WeightSource;
use emberbrush_pipeline::checkpoint::{
    CheckpointError,
    component::{ComponentWeights, TensorHeader},
};
use half::{bf16, f16};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};

use super::WeightType;
use crate::{
    error::LibraryError,
    progress::{OnProgress, Progress, tell},
};

/// A tensor that is to be written.
pub(super) struct Planned<'a> {
    pub(super) key: String,
    pub(super) shape: Vec<usize>,
    /// Its type in the new file.
    pub(super) dtype: Dtype,
    /// What it is made of, one below the other.
    pub(super) pieces: Vec<Piece<'a>>,
}

/// A tensor that is there, and becomes one or part of one.
pub(super) struct Piece<'a> {
    pub(super) weights: &'a ComponentWeights,
    pub(super) key: String,
    pub(super) dtype: Dtype,
    /// Bytes as stored.
    pub(super) stored: u64,
    /// Rows and columns, where they are exchanged.
    pub(super) transposed: Option<(usize, usize)>,
}

impl<'a> Planned<'a> {
    /// A tensor that stays what it is, but for its type.
    pub(super) fn of(
        weights: &'a ComponentWeights,
        header: TensorHeader<'_>,
        dtype: Option<WeightType>,
    ) -> Self {
        let TensorHeader { key, dtype: from, elements, element_bytes } = header;
        let is_weight = matches!(from, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64);
        let piece = Piece {
            weights,
            key: key.to_owned(),
            dtype: from,
            stored: elements * element_bytes,
            transposed: None,
        };
        Self {
            key: key.to_owned(),
            shape: weights.shape(key).unwrap_or_default(),
            dtype: dtype.filter(|_| is_weight).map_or(from, WeightType::dtype),
            pieces: vec![piece],
        }
    }
}

/// All tensors of a network.
pub(super) fn planned(
    weights: &ComponentWeights,
    dtype: Option<WeightType>,
) -> impl Iterator<Item = Planned<'_>> {
    weights.headers().map(move |header| Planned::of(weights, header, dtype))
}

/// Writes files of weights, and tells how far it is.
pub(super) struct Writing<'a> {
    /// Bytes that were read.
    pub(super) done: u64,
    /// Bytes to read.
    pub(super) total: u64,
    pub(super) on_progress: OnProgress<'a>,
}

impl Writing<'_> {
    /// Writes tensors into a new file.
    pub(super) fn write(
        &mut self,
        mut planned: Vec<Planned<'_>>,
        path: &Path,
    ) -> Result<(), LibraryError> {
        // By the size of their elements, so that each lies where its type wants it, then by name.
        planned.sort_by(|a, b| {
            b.dtype.bitsize().cmp(&a.dtype.bitsize()).then_with(|| a.key.cmp(&b.key))
        });
        let what = path.display().to_string();
        let header = header(&planned).map_err(|reason| LibraryError::Convert { what, reason })?;
        let io = || LibraryError::io(path);
        let mut file = BufWriter::new(File::create_new(path).map_err(io())?);
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io())?;
        file.write_all(&header).map_err(io())?;
        for tensor in &planned {
            for piece in &tensor.pieces {
                file.write_all(&piece.read(tensor.dtype)?).map_err(io())?;
                self.done += piece.stored;
                let bytes = Progress::Bytes { done: self.done, total: Some(self.total) };
                tell(self.on_progress, bytes)?;
            }
        }
        let file = file.into_inner().map_err(|error| io()(error.into_error()))?;
        file.sync_all().map_err(io())
    }
}

impl Piece<'_> {
    /// Its bytes in another type.
    fn read(&self, to: Dtype) -> Result<Vec<u8>, LibraryError> {
        let data = self.weights.read(&self.key).map_err(CheckpointError::from)?;
        let bytes = converted(data.as_bytes(), self.dtype, to)
            .map_err(|value| too_large(&self.key, value, to))?;
        Ok(match self.transposed {
            Some((rows, columns)) => transposed(&bytes, rows, columns),
            None => bytes,
        })
    }
}

/// The bytes of a matrix with rows and columns exchanged.
fn transposed(bytes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let size = bytes.len() / (rows * columns).max(1);
    let element = |row: usize, column: usize| {
        let start = (row * columns + column) * size;
        bytes[start..start + size].iter().copied()
    };
    (0..columns).flat_map(|column| (0..rows).flat_map(move |row| element(row, column))).collect()
}

fn too_large(key: &str, value: f64, dtype: Dtype) -> LibraryError {
    LibraryError::Convert {
        what: key.to_owned(),
        reason: format!(
            "it holds {value}, which is beyond what {} can hold. Take --dtype bf16 instead",
            format!("{dtype:?}").to_lowercase()
        ),
    }
}

/// The header of the new file, filled up so that tensors begin at a multiple of eight bytes.
fn header(planned: &[Planned<'_>]) -> Result<Vec<u8>, String> {
    // PyTorch's readers want to be told the format.
    let notes = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut end = 0;
    let mut tensors = Vec::new();
    for Planned { key, shape, dtype, .. } in planned {
        let begin = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let info = TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (begin, end) };
        tensors.push((key.clone(), info));
    }
    let metadata = Metadata::new(Some(notes), tensors).map_err(|error| error.to_string())?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| error.to_string())?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// The bytes in another type.
///
/// # Errors
///
/// A finite value that the type cannot hold.
fn converted(bytes: &[u8], from: Dtype, to: Dtype) -> Result<Vec<u8>, f64> {
    if from == to {
        return Ok(bytes.to_vec());
    }
    match from {
        Dtype::F16 => write_as(to, bytes.as_chunks().0, |value| f16::from_le_bytes(value).to_f64()),
        Dtype::BF16 => {
            write_as(to, bytes.as_chunks().0, |value| bf16::from_le_bytes(value).to_f64())
        }
        Dtype::F32 => {
            write_as(to, bytes.as_chunks().0, |value| f64::from(f32::from_le_bytes(value)))
        }
        _ => write_as(to, bytes.as_chunks().0, f64::from_le_bytes),
    }
}

fn write_as<const N: usize>(
    to: Dtype,
    values: &[[u8; N]],
    read: impl Fn([u8; N]) -> f64,
) -> Result<Vec<u8>, f64> {
    let mut written = Vec::with_capacity(values.len() * to.bitsize() / 8);
    for value in values {
        let value = read(*value);
        let is_lost = match to {
            Dtype::F16 => {
                let half = f16::from_f64(value);
                written.extend_from_slice(&half.to_le_bytes());
                half.is_infinite()
            }
            Dtype::BF16 => {
                let brain = bf16::from_f64(value);
                written.extend_from_slice(&brain.to_le_bytes());
                brain.is_infinite()
            }
            _ => {
                let single = value as f32;
                written.extend_from_slice(&single.to_le_bytes());
                single.is_infinite()
            }
        };
        if is_lost && value.is_finite() {
            return Err(value);
        }
    }
    Ok(written)
}
