//! Noise from seeds, the same on every device.
//!
//! Numbers are made on the CPU in f32 and then moved, so an image does not depend on the device
//! that computes it. Each [`RngSource`] gives the numbers of another program.

use std::{fmt, str::FromStr};

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub mod philox;
pub mod torch;

use philox::PhiloxGenerator;
use torch::TorchGenerator;

/// Whose random numbers a seed stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RngSource {
    /// torch's CPU generator: diffusers, and A1111's web UI with the source "CPU".
    #[default]
    Torch,
    /// Philox: torch on a GPU of NVIDIA, which A1111's web UI takes by default and imitates
    /// elsewhere under the source "NV".
    Philox,
}

/// A name that no source has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown source of random numbers `{0}`; known are torch, philox")]
pub struct UnknownRngSource(String);

impl RngSource {
    /// Every source, in the order in which a list shows them.
    pub const ALL: [Self; 2] = [Self::Torch, Self::Philox];

    /// The name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Philox => "philox",
        }
    }
}

impl fmt::Display for RngSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for RngSource {
    type Err = UnknownRngSource;

    fn from_str(name: &str) -> Result<Self, UnknownRngSource> {
        Self::ALL
            .into_iter()
            .find(|source| source.name() == name)
            .ok_or_else(|| UnknownRngSource(name.to_owned()))
    }
}

/// A stream of standard normal noise.
#[derive(Debug, Clone)]
pub enum NoiseGenerator {
    /// Of torch's CPU generator.
    Torch(Box<TorchGenerator>),
    /// Of Philox.
    Philox(PhiloxGenerator),
}

impl NoiseGenerator {
    /// Starts the stream of a seed.
    pub fn new(source: RngSource, seed: u64) -> Self {
        match source {
            RngSource::Torch => Self::Torch(Box::new(TorchGenerator::new(seed))),
            RngSource::Philox => Self::Philox(PhiloxGenerator::new(seed)),
        }
    }

    /// The next draw: standard normal noise of a shape, in f32.
    ///
    /// One draw of a batch is not the same as a draw for each image of it.
    pub fn normal(&mut self, shape: [usize; 4], device: &Device) -> Tensor<4> {
        let values = self.normal_values(shape);
        Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
    }

    /// The values of the next draw, in the order of the shape.
    pub fn normal_values(&mut self, shape: [usize; 4]) -> Vec<f32> {
        let count = shape.iter().product();
        match self {
            Self::Torch(generator) => generator.normal(count),
            Self::Philox(generator) => generator.normal(count),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for source in RngSource::ALL {
            assert_eq!(source.to_string().parse(), Ok(source));
            assert_eq!(serde_json::to_string(&source).unwrap(), format!("\"{source}\""));
        }
        assert!("cuda".parse::<RngSource>().unwrap_err().to_string().contains("cuda"));
    }

    #[test]
    fn streams_are_normal_and_move_on() {
        for source in RngSource::ALL {
            let mut generator = NoiseGenerator::new(source, 7);
            let mut draw = || {
                let noise = generator.normal([1, 4, 64, 64], &Device::flex());
                noise.to_data().try_to_vec::<f32>().unwrap()
            };
            let (first, second) = (draw(), draw());
            assert_ne!(first, second, "{source}");
            let count = first.len() as f32;
            let mean = first.iter().sum::<f32>() / count;
            let variance = first.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
            assert!(mean.abs() < 0.03, "{source}: {mean}");
            assert!((variance - 1.0).abs() < 0.05, "{source}: {variance}");
        }
    }
}
