//! How a network gets its weights.
//!
//! A network is built straight from a [`WeightSource`]: there is no random initialisation to
//! overwrite and no second copy of a checkpoint in memory. Names are the published ones
//! (`down_blocks.0.resnets.1.conv1.weight`), so a missing key reads like the file's own.

use std::fmt::Display;

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use half::{bf16, f16};
use thiserror::Error;

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
}

impl<'a> Weights<'a> {
    /// The root of a source.
    pub fn new(source: &'a dyn WeightSource, device: &Device, dtype: FloatDType) -> Self {
        Self { source, prefix: String::new(), device: device.clone(), dtype }
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

    /// Whether the source holds `name` here.
    pub fn contains(&self, name: &str) -> bool {
        self.source.shape(&self.key(name)).is_some()
    }

    /// Reads the tensor `name` here, which must have the shape `expected`.
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        expected: [usize; D],
    ) -> Result<Tensor<D>, WeightError> {
        let key = self.key(name);
        let Some(found) = self.source.shape(&key) else {
            return Err(WeightError::Missing {
                origin: self.source.origin(),
                key,
                expected: expected.to_vec(),
            });
        };
        if found != expected {
            return Err(WeightError::Shape {
                origin: self.source.origin(),
                key,
                expected: expected.to_vec(),
                found,
            });
        }
        let data = self.source.read(&key)?;
        let Some(data) = convert(data, self.dtype) else {
            return Err(WeightError::Unreadable {
                origin: self.source.origin(),
                key,
                reason: "its element type is not f32, f16 or bf16".to_owned(),
            });
        };
        Ok(Tensor::from_data(data, (&self.device, DType::from(self.dtype))))
    }

    /// The full published name of `name` here.
    pub fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
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
        _ => return None,
    })
}
