//! How a network gets its weights.
//!
//! A network is built straight from a [`WeightSource`]: there is no random initialisation to
//! overwrite and no second copy of a checkpoint in memory. Names are the published ones
//! (`down_blocks.0.resnets.1.conv1.weight`), so a missing key reads like the file's own.

use std::{collections::BTreeSet, fmt::Display};

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use thiserror::Error;

use crate::{
    kernels::{self, Precision},
    stored_tensor::StoredTensor,
};

/// Where weights come from: a file, a folder, or bytes in the program.
///
/// Keys are the published diffusers and transformers names. A source for another layout
/// translates them.
pub trait WeightSource: Send + Sync {
    /// The shape of a tensor, or `None` where the source does not hold it.
    fn shape(&self, key: &str) -> Option<Vec<usize>>;

    /// Reads one tensor in the floating-point type in which it is stored.
    fn read(&self, key: &str) -> Result<TensorData, WeightError>;

    /// One tensor as it is stored, without a copy where the source is in memory.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    fn stored(&self, key: &str) -> Result<StoredTensor, WeightError> {
        self.read(key).map(StoredTensor::from)
    }

    /// What a person knows the source by, such as a file's path.
    fn origin(&self) -> String;
}

/// Why a network could not be built from a source.
#[derive(Debug, Error)]
pub enum WeightError {
    /// The source does not hold a tensor that the configuration calls for.
    #[error(
        "{origin}: the tensor `{key}` is missing; expected it with shape {expected:?}. \
         The file does not belong to this config.json, or it is incomplete"
    )]
    Missing {
        /// The file or folder.
        origin: String,
        /// The published name.
        key: String,
        /// The shape that the configuration calls for.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the configuration calls for.
    #[error(
        "{origin}: the tensor `{key}` has shape {found:?}, but config.json calls for {expected:?}"
    )]
    Shape {
        /// The file or folder.
        origin: String,
        /// The published name.
        key: String,
        /// The shape that the configuration calls for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor could not be read.
    #[error("{origin}: the tensor `{key}` could not be read: {reason}")]
    Unreadable {
        /// The file or folder.
        origin: String,
        /// The published name.
        key: String,
        /// What went wrong.
        reason: String,
    },
    /// The configuration asks for something that this network does not have.
    #[error("{0}")]
    Config(String),
}

/// A place in a [`WeightSource`]: the source, a name prefix, and the device and floating-point
/// type in which tensors are wanted.
#[derive(Clone)]
pub struct Weights<'a> {
    source: &'a dyn WeightSource,
    prefix: String,
    device: Device,
    dtype: FloatDType,
    precision: Option<Precision>,
    older_name: Option<OlderName>,
    changed: Option<&'a BTreeSet<String>>,
}

/// Gives the name under which older files of the same layout hold a tensor, where it differs.
pub type OlderName = fn(&str) -> Option<String>;

impl<'a> Weights<'a> {
    /// The root of a source.
    ///
    /// On the CPU backend weights of linear layers and convolutions stay as they are stored, and bf16
    /// is the type in which they are multiplied. All else is f32 there: other operations gain
    /// nothing from fewer bits.
    pub fn new(source: &'a dyn WeightSource, device: &Device, dtype: FloatDType) -> Self {
        let precision = match dtype {
            _ if !kernels::run_on(device) => None,
            FloatDType::F32 => Some(Precision::F32),
            FloatDType::BF16 => Some(Precision::Bf16),
            _ => None,
        };
        let dtype = if precision.is_some() { FloatDType::F32 } else { dtype };
        Self {
            source,
            prefix: String::new(),
            device: device.clone(),
            dtype,
            precision,
            older_name: None,
            changed: None,
        }
    }

    /// The same place, where a tensor that the source does not hold is looked for under the name
    /// that `older_name` gives for its full key. Errors still name the present key.
    #[must_use]
    pub fn with_older_names(&self, older_name: OlderName) -> Self {
        Self { older_name: Some(older_name), ..self.clone() }
    }

    /// The same place for a network that was built from it before, where only the tensors of these
    /// full keys have other values now.
    #[must_use]
    pub fn with_changed(&self, changed: &'a BTreeSet<String>) -> Self {
        Self { changed: Some(changed), ..self.clone() }
    }

    /// Whether the tensor `name` here may have other values than before.
    pub fn has_changed(&self, name: &str) -> bool {
        self.changed.is_none_or(|changed| changed.contains(&self.key(name)))
    }

    /// The place `name` below this one: `weights.at("resnets").at(0)`.
    #[must_use]
    pub fn at(&self, name: impl Display) -> Self {
        Self { prefix: self.key(&name.to_string()), ..self.clone() }
    }

    /// The device on which tensors are made.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The floating-point type in which tensors are made, and that of activations.
    pub fn dtype(&self) -> FloatDType {
        self.dtype
    }

    /// What the kernels of the CPU multiply in; `None` where they are not used.
    pub(crate) fn precision(&self) -> Option<Precision> {
        self.precision
    }

    /// Whether the source holds `name` here.
    pub fn contains(&self, name: &str) -> bool {
        self.locate(&self.key(name)).is_some()
    }

    /// Reads the tensor `name` here, which must have the shape `expected`.
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        expected: [usize; D],
    ) -> Result<Tensor<D>, WeightError> {
        self.make(name, &self.stored(name, &expected)?)
    }

    /// The tensor `name` here as it is stored, which must have the shape `expected`.
    pub fn stored(&self, name: &str, expected: &[usize]) -> Result<StoredTensor, WeightError> {
        let (key, found) = self.find(self.key(name), expected)?;
        if found != expected {
            return Err(self.shape_error(key, expected, found));
        }
        self.source.stored(&key)
    }

    /// The matrix `name` here as it is stored: as `[rows, columns]` or, as a 1×1 convolution, as
    /// `[rows, columns, 1, 1]`, for published checkpoints hold the same projection in either way.
    pub(crate) fn stored_matrix(
        &self,
        name: &str,
        [rows, columns]: [usize; 2],
    ) -> Result<StoredTensor, WeightError> {
        let expected = [rows, columns];
        let (key, found) = self.find(self.key(name), &expected)?;
        if found != expected && found != [rows, columns, 1, 1] {
            return Err(self.shape_error(key, &expected, found));
        }
        let stored = self.source.stored(&key)?;
        stored.reshaped(&expected).ok_or_else(|| self.shape_error(key, &expected, found))
    }

    /// A tensor on the device, in the type that is wanted; `name` is its name here.
    pub(crate) fn make<const D: usize>(
        &self,
        name: &str,
        stored: &StoredTensor,
    ) -> Result<Tensor<D>, WeightError> {
        let data = stored.to_data(self.dtype).ok_or_else(|| WeightError::Unreadable {
            origin: self.source.origin(),
            key: self.key(name),
            reason: "its element type is not f32, f16 or bf16".to_owned(),
        })?;
        Ok(Tensor::from_data(data, (&self.device, DType::from(self.dtype))))
    }

    /// The full published name of `name` here.
    pub fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// The name under which the source holds `key`, and the shape.
    fn locate(&self, key: &str) -> Option<(String, Vec<usize>)> {
        if let Some(shape) = self.source.shape(key) {
            return Some((key.to_owned(), shape));
        }
        let older = self.older_name?(key)?;
        let shape = self.source.shape(&older)?;
        Some((older, shape))
    }

    fn find(&self, key: String, expected: &[usize]) -> Result<(String, Vec<usize>), WeightError> {
        self.locate(&key).ok_or_else(|| WeightError::Missing {
            origin: self.source.origin(),
            key,
            expected: expected.to_vec(),
        })
    }

    fn shape_error(&self, key: String, expected: &[usize], found: Vec<usize>) -> WeightError {
        WeightError::Shape { origin: self.source.origin(), key, expected: expected.to_vec(), found }
    }
}
