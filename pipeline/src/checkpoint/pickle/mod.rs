//! Checkpoints that were written by `torch.save`: `.ckpt`, `.pt`, `.pth` and `.bin` files.
//!
//! They describe their tensors with a pickle, which Python executes. Here it is read as data by
//! [`machine`], which knows tensors alone; the numbers themselves lie beside it in the file and
//! are read tensor by tensor.

mod archive;
mod input;
mod machine;
mod value;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::{Mutex, PoisonError},
};

use safetensors::Dtype;
use thiserror::Error;

use self::{
    machine::Pickled,
    value::{Id, Tensor, Value},
};
use super::tensor_file::TensorInfo;

/// How deep dictionaries may be nested: `state_dict` holds tensors, and embeddings hold
/// `string_to_param`.
const MAX_DEPTH: usize = 6;

/// Far above what published checkpoints hold.
const MAX_ENTRIES: usize = 100_000;

/// Why a pickled file was refused.
#[derive(Debug, Error)]
pub enum PickleError {
    /// The file could not be opened or read.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file asks for something that has nothing to do with tensors.
    #[error(
        "{path}: this pickle holds more than tensors: {what}. It could run code in other programs, \
         so it is refused. Get the checkpoint as .safetensors"
    )]
    Forbidden {
        /// The file.
        path: String,
        /// The instruction or the name.
        what: String,
    },
    /// The file breaks the format.
    #[error("{path}: not a valid PyTorch checkpoint: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// [`PickleError`] before it is known which file it is about.
#[derive(Debug)]
enum PickleProblem {
    Io(std::io::Error),
    Forbidden(String),
    Invalid(String),
}

impl PickleProblem {
    fn of(self, path: &str) -> PickleError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => PickleError::Io { path, source },
            Self::Forbidden(what) => PickleError::Forbidden { path, what },
            Self::Invalid(reason) => PickleError::Invalid { path, reason },
        }
    }
}

/// Where in the file a tensor is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    info: TensorInfo,
    /// Elements from one index to the next, for each dimension, where the elements do not lie one
    /// after the other.
    strides: Option<Vec<usize>>,
    /// Bytes before the first element.
    start: u64,
}

/// One open file of `torch.save`.
#[derive(Debug)]
pub struct PickleFile {
    name: String,
    file: Mutex<File>,
    tensors: BTreeMap<String, Place>,
    integers: BTreeMap<String, i64>,
}

/// Where the storages of a file are: first byte and length.
type Storages = BTreeMap<String, (u64, u64)>;

impl PickleFile {
    /// Opens a file and reads its description.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, is damaged, or asks for more than tensors.
    pub fn open(path: &Path) -> Result<Self, PickleError> {
        let name = path.display().to_string();
        Self::read(path, &name).map_err(|problem| problem.of(&name))
    }

    fn read(path: &Path, name: &str) -> Result<Self, PickleProblem> {
        let mut file = File::open(path).map_err(PickleProblem::Io)?;
        let (pickled, storages) = archive::read(&mut file)?;
        let mut contents = Contents::default();
        contents.collect(&pickled, &storages)?;
        Ok(Self {
            name: name.to_owned(),
            file: Mutex::new(file),
            tensors: contents.tensors,
            integers: contents.integers,
        })
    }

    /// The file's path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of all tensors, in order. Those of inner dictionaries have the names of both,
    /// joined by a point.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Type and shape of a tensor.
    pub fn info(&self, key: &str) -> Option<&TensorInfo> {
        self.tensors.get(key).map(|place| &place.info)
    }

    /// A whole number that stands beside the tensors, such as `global_step`.
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.integers.get(key).copied()
    }

    /// The bytes of a tensor's elements, in order, from byte `start` on.
    pub(super) fn read_bytes(
        &self,
        key: &str,
        start: usize,
        length: usize,
    ) -> std::io::Result<Vec<u8>> {
        let place = self.tensors.get(key).ok_or(std::io::ErrorKind::NotFound)?;
        let Some(strides) = &place.strides else {
            return self.read_at(place.start + start as u64, length);
        };
        let size = place.info.element_bytes();
        let span: usize = place.info.shape.iter().zip(strides).map(|(n, s)| (n - 1) * s).sum();
        let stored = self.read_at(place.start, (span + 1) * size)?;
        let mut ordered = Vec::with_capacity(place.info.bytes());
        let mut index = vec![0; strides.len()];
        for _ in 0..place.info.elements() {
            let from: usize = index.iter().zip(strides).map(|(i, s)| i * s).sum();
            ordered.extend_from_slice(&stored[from * size..(from + 1) * size]);
            for (digit, &side) in index.iter_mut().zip(&place.info.shape).rev() {
                *digit += 1;
                if *digit < side {
                    break;
                }
                *digit = 0;
            }
        }
        Ok(ordered[start..start + length].to_vec())
    }

    fn read_at(&self, start: u64, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// What of a pickle's values is kept.
#[derive(Debug, Default)]
struct Contents {
    tensors: BTreeMap<String, Place>,
    integers: BTreeMap<String, i64>,
}

impl Contents {
    /// Takes the tensors of `state_dict`, where there is one, or else of the whole.
    fn collect(&mut self, pickled: &Pickled, storages: &Storages) -> Result<(), PickleProblem> {
        let root = dictionary(pickled, pickled.root).ok_or_else(|| {
            PickleProblem::Invalid("it holds no dictionary of tensors".to_owned())
        })?;
        let state = root.iter().find_map(|&(key, value)| {
            let is_state = name(pickled, key).as_deref() == Some("state_dict");
            (is_state && dictionary(pickled, value).is_some()).then_some(value)
        });
        for &(key, value) in root {
            if let (Some(key), Value::Integer(number)) =
                (name(pickled, key), &pickled.values[value])
            {
                self.integers.extend(i64::try_from(*number).ok().map(|number| (key, number)));
            }
        }
        // Dictionaries that are still to be looked at: the name before their keys, and how deep.
        let mut open = vec![(String::new(), 0, state.unwrap_or(pickled.root))];
        let mut looked_at = 0;
        while let Some((prefix, depth, id)) = open.pop() {
            for &(key, value) in dictionary(pickled, id).unwrap_or_default() {
                looked_at += 1;
                if looked_at > MAX_ENTRIES {
                    return Err(PickleProblem::Invalid(format!(
                        "it holds more than {MAX_ENTRIES} entries"
                    )));
                }
                let Some(key) = name(pickled, key) else { continue };
                let full = format!("{prefix}{key}");
                match &pickled.values[value] {
                    Value::Tensor(tensor) => {
                        let place = place(pickled, storages, tensor).map_err(|reason| {
                            PickleProblem::Invalid(format!("the tensor `{full}` {reason}"))
                        })?;
                        self.tensors.insert(full, place);
                    }
                    Value::Dict(_) if depth < MAX_DEPTH => {
                        open.push((format!("{full}."), depth + 1, value));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn dictionary(pickled: &Pickled, id: Id) -> Option<&[(Id, Id)]> {
    match &pickled.values[id] {
        Value::Dict(entries) => Some(entries),
        _ => None,
    }
}

fn name(pickled: &Pickled, id: Id) -> Option<String> {
    match &pickled.values[id] {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Where a tensor's elements are, all of which must be in its storage.
fn place(pickled: &Pickled, storages: &Storages, tensor: &Tensor) -> Result<Place, String> {
    let storage = pickled
        .storages
        .get(&tensor.storage)
        .ok_or_else(|| "has a storage that is not described".to_owned())?;
    let (start, length) = storages
        .get(&tensor.storage)
        .copied()
        .ok_or_else(|| format!("has its numbers in `{}`, which is not there", tensor.storage))?;
    let dtype = tensor.dtype.unwrap_or(storage.dtype);
    let info = TensorInfo { dtype, shape: tensor.shape.clone() };
    let size = info.element_bytes() as u64;
    let outside = || format!("of shape {:?} does not fit into its storage", tensor.shape);
    let held = length / size;
    let elements =
        tensor.shape.iter().try_fold(1_u64, |product, &side| product.checked_mul(side as u64));
    let elements = elements.filter(|&elements| elements <= held).ok_or_else(outside)?;
    if tensor.strides.len() != tensor.shape.len() {
        return Err(format!("has {} strides for shape {:?}", tensor.strides.len(), tensor.shape));
    }
    let last = if elements == 0 {
        0
    } else {
        tensor
            .shape
            .iter()
            .zip(&tensor.strides)
            .try_fold(0_u64, |last, (&side, &stride)| {
                last.checked_add((side as u64 - 1).checked_mul(stride as u64)?)
            })
            .ok_or_else(outside)?
    };
    let end = tensor.offset.checked_add(last).ok_or_else(outside)?;
    if end >= held.max(1) && elements > 0 {
        return Err(outside());
    }
    let strides = (elements > 0 && !is_contiguous(&tensor.shape, &tensor.strides))
        .then(|| tensor.strides.clone());
    Ok(Place { info, strides, start: start + tensor.offset * size })
}

/// Whether elements lie one after the other, in order.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&side, &stride)| {
        let fits = side == 1 || stride == expected;
        expected *= side;
        fits
    })
}

/// Whether a file that begins so was written by `torch.save`: a zip archive since PyTorch 1.6, a
/// row of pickles before.
pub(super) fn is_pickle(start: [u8; 8]) -> bool {
    start.starts_with(b"PK\x03\x04")
        || (start[0] == 0x80 && (2..=5).contains(&start[1]) && start[2] != 0)
}

/// Bytes of an element.
pub(super) fn element_bytes(dtype: Dtype) -> usize {
    dtype.bitsize().div_ceil(8).max(1)
}
