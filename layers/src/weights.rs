//! How a network gets its weights.
//!
//! A network is built straight from a [`WeightSource`]: there is no random initialisation to
//! overwrite and no second copy of a checkpoint in memory. Names are the published ones
//! (`down_blocks.0.resnets.1.conv1.weight`), so a missing key reads like the file's own.

use std::{collections::BTreeSet, fmt::Display};

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use half::{bf16, f16};
use thiserror::Error;

use crate::kernels::{self, Precision};

/// Where weights come from: a file, a folder, or bytes in the program.
///
/// Keys are the published diffusers and transformers names. A source for another layout
/// translates them.
pub trait WeightSource: Send + Sync {
    /// The shape of a tensor, or `None` where the source does not hold it.
    fn shape(&self, key: &str) -> Option<Vec<usize>>;

    /// Reads one tensor in the floating-point type in which it is stored.
    fn read(&self, key: &str) -> Result<TensorData, WeightError>;

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
    precision: Precision,
    older_name: Option<OlderName>,
    changed: Option<&'a BTreeSet<String>>,
}

/// Gives the name under which older files of the same layout hold a tensor, where it differs.
pub type OlderName = fn(&str) -> Option<String>;

impl<'a> Weights<'a> {
    /// The root of a source.
    ///
    /// On the CPU backend bf16 is the type in which the weights of linear layers and convolutions
    /// are kept. All else is f32 there: other operations gain nothing from fewer bits.
    pub fn new(source: &'a dyn WeightSource, device: &Device, dtype: FloatDType) -> Self {
        let keeps_bf16 = dtype == FloatDType::BF16 && kernels::run_on(device);
        let precision = if keeps_bf16 { Precision::Bf16 } else { Precision::F32 };
        let dtype = if keeps_bf16 { FloatDType::F32 } else { dtype };
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

    /// The type in which packed weights are kept.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether the source holds `name` here.
    pub fn contains(&self, name: &str) -> bool {
        self.stored(&self.key(name)).is_some()
    }

    /// Reads the tensor `name` here, which must have the shape `expected`.
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        expected: [usize; D],
    ) -> Result<Tensor<D>, WeightError> {
        let key = self.key(name);
        let (stored, found) = self.find(key, &expected)?;
        if found != expected {
            return Err(self.shape_error(stored, &expected, found));
        }
        Ok(Tensor::from_data(self.read(stored)?, (&self.device, DType::from(self.dtype))))
    }

    /// Reads the matrix `name` here, stored as `[rows, columns]` or, as a 1×1 convolution, as
    /// `[rows, columns, 1, 1]`: published checkpoints hold the same projection in either way.
    pub fn matrix(
        &self,
        name: &str,
        [rows, columns]: [usize; 2],
    ) -> Result<Tensor<2>, WeightError> {
        let key = self.key(name);
        let expected = [rows, columns];
        let (stored, found) = self.find(key, &expected)?;
        if found != expected && found != [rows, columns, 1, 1] {
            return Err(self.shape_error(stored, &expected, found));
        }
        let place = (&self.device, DType::from(self.dtype));
        Ok(if found.len() == 4 {
            Tensor::<4>::from_data(self.read(stored)?, place).reshape(expected)
        } else {
            Tensor::from_data(self.read(stored)?, place)
        })
    }

    /// The full published name of `name` here.
    pub fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// The name under which the source holds `key`, and the shape.
    fn stored(&self, key: &str) -> Option<(String, Vec<usize>)> {
        if let Some(shape) = self.source.shape(key) {
            return Some((key.to_owned(), shape));
        }
        let older = self.older_name?(key)?;
        let shape = self.source.shape(&older)?;
        Some((older, shape))
    }

    fn find(&self, key: String, expected: &[usize]) -> Result<(String, Vec<usize>), WeightError> {
        self.stored(&key).ok_or_else(|| WeightError::Missing {
            origin: self.source.origin(),
            key,
            expected: expected.to_vec(),
        })
    }

    fn shape_error(&self, key: String, expected: &[usize], found: Vec<usize>) -> WeightError {
        WeightError::Shape { origin: self.source.origin(), key, expected: expected.to_vec(), found }
    }

    fn read(&self, key: String) -> Result<TensorData, WeightError> {
        let data = self.source.read(&key)?;
        convert(data, self.dtype).ok_or_else(|| WeightError::Unreadable {
            origin: self.source.origin(),
            key,
            reason: "its element type is not f32, f16 or bf16".to_owned(),
        })
    }
}

/// Converts between the floating-point types of checkpoints; `None` for any other type.
///
/// Done here and not on the device because a GPU without the stored type (bf16, often) could
/// not even hold the tensor that it should convert.
fn convert(data: TensorData, dtype: FloatDType) -> Option<TensorData> {
    let wanted = DType::from(dtype);
    if data.dtype() == wanted {
        return Some(data);
    }
    let shape = data.shape().clone();
    let bytes: &[u8] = data.bytes();
    let values: Vec<f32> = match data.dtype() {
        DType::F32 => {
            bytes.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
        }
        DType::F16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&value| f16::from_le_bytes(value).to_f32())
            .collect(),
        DType::BF16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&value| bf16::from_le_bytes(value).to_f32())
            .collect(),
        _ => return None,
    };
    Some(match dtype {
        FloatDType::F16 => {
            TensorData::new(values.into_iter().map(f16::from_f32).collect::<Vec<_>>(), shape)
        }
        FloatDType::BF16 => {
            TensorData::new(values.into_iter().map(bf16::from_f32).collect::<Vec<_>>(), shape)
        }
        FloatDType::F32 => TensorData::new(values, shape),
        FloatDType::F64 => {
            TensorData::new(values.into_iter().map(f64::from).collect::<Vec<_>>(), shape)
        }
        _ => return None,
    })
}
