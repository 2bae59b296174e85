//! Activation functions, by the names that published configurations use.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use crate::kernels::{self, Finish};

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    #[default]
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// `x · Φ(x)` with the error function, not its tanh approximation.
    #[serde(rename = "gelu")]
    Gelu,
    /// `x · sigmoid(1.702 x)`, as OpenAI's CLIP was trained (transformers `activations.py`).
    #[serde(rename = "quick_gelu")]
    QuickGelu,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
}

impl Activation {
    /// Applies the function to each element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        kernels::activate(x, self.into()).unwrap_or_else(|x| match self {
            Self::Silu => activation::silu(x),
            Self::Gelu => activation::gelu(x),
            Self::Relu => activation::relu(x),
            Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
        })
    }
}

impl From<Activation> for Finish {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Silu => Self::Silu,
            Activation::Gelu => Self::Gelu,
            Activation::QuickGelu => Self::QuickGelu,
            Activation::Relu => Self::Relu,
        }
    }
}
