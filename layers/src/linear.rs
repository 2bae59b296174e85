//! Fully connected layers.

use burn::tensor::{Tensor, module};

use crate::weights::{WeightError, Weights};

/// `y = x Wᵀ + b`, with the weight as PyTorch stores it.
///
/// A weight stored as a 1×1 convolution, `[outputs, inputs, 1, 1]`, is the same map and is
/// accepted.
#[derive(Debug)]
pub struct Linear {
    /// A transposed view `[inputs, outputs]` of the stored `[outputs, inputs]`; no copy is made.
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// Reads `weight` (`[outputs, inputs]`) and `bias` (`[outputs]`).
    pub fn new(weights: &Weights<'_>, inputs: usize, outputs: usize) -> Result<Self, WeightError> {
        let mut linear = Self::without_bias(weights, inputs, outputs)?;
        linear.bias = Some(weights.tensor("bias", [outputs])?);
        Ok(linear)
    }

    /// Reads `weight` (`[outputs, inputs]`) alone.
    pub fn without_bias(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, WeightError> {
        let weight = weights.matrix("weight", [outputs, inputs])?;
        Ok(Self { weight: weight.transpose(), bias: None, inputs, outputs })
    }

    /// Reads the layer again where its tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        let Self { inputs, outputs, .. } = *self;
        if self.bias.is_some() && (weights.has_changed("weight") || weights.has_changed("bias")) {
            *self = Self::new(weights, inputs, outputs)?;
        } else if self.bias.is_none() && weights.has_changed("weight") {
            *self = Self::without_bias(weights, inputs, outputs)?;
        }
        Ok(())
    }

    /// # Shapes
    ///
    /// - x: `[..., inputs]`
    /// - output: `[..., outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        module::linear(x, self.weight.clone(), self.bias.clone())
    }
}
