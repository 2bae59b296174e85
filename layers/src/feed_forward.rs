//! The feed-forward part of a transformer block.

use burn::tensor::{Tensor, activation};

use crate::{
    kernels,
    linear::Linear,
    weights::{WeightError, Weights},
};

/// `h · gelu(g)` of the two halves `[h, g]` of the last dimension (Shazeer 2020; diffusers
/// `models/activations.py`), with the exact gelu.
///
/// # Shapes
///
/// - x: `[batch, tokens, 2 · channels]`
/// - output: `[batch, tokens, channels]`
pub fn geglu(x: Tensor<3>) -> Tensor<3> {
    let channels = x.dims()[2] / 2;
    kernels::geglu(x).unwrap_or_else(|x| {
        let hidden = x.clone().narrow(2, 0, channels);
        let gate = x.narrow(2, channels, channels);
        hidden * activation::gelu(gate)
    })
}

/// Two linear layers with [`geglu`] between them (diffusers `models/attention.py`).
#[derive(Debug)]
pub struct FeedForward {
    expand: Linear,
    contract: Linear,
}

impl FeedForward {
    /// Reads `net.0.proj` and `net.2`; the inner width is four times `channels`.
    pub fn new(weights: &Weights<'_>, channels: usize) -> Result<Self, WeightError> {
        let inner = 4 * channels;
        Ok(Self {
            expand: Linear::new(&weights.at("net.0.proj"), channels, 2 * inner)?,
            contract: Linear::new(&weights.at("net.2"), inner, channels)?,
        })
    }

    /// Reads the layers again whose tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.expand.reload(&weights.at("net.0.proj"))?;
        self.contract.reload(&weights.at("net.2"))
    }

    /// # Shapes
    ///
    /// - x and output: `[batch, tokens, channels]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.contract.forward(geglu(self.expand.forward(x)))
    }

    /// [`FeedForward::forward`] with a shortcut added.
    ///
    /// # Shapes
    ///
    /// - x, shortcut and output: `[batch, tokens, channels]`
    pub fn forward_onto(&self, x: Tensor<3>, shortcut: Tensor<3>) -> Tensor<3> {
        self.contract.forward_onto(geglu(self.expand.forward(x)), shortcut)
    }
}
