//! Fully connected layers.

use burn::tensor::{Tensor, module};

use crate::{
    activation::Activation,
    feature_map,
    kernels::{Finish, StoredLinear},
    weights::{WeightError, Weights},
};

/// `y = x Wᵀ + b`, with the weight as PyTorch stores it.
///
/// A weight stored as a 1×1 convolution, `[outputs, inputs, 1, 1]`, is the same map and is
/// accepted.
#[derive(Debug)]
pub struct Linear {
    weight: LinearWeight,
    has_bias: bool,
    inputs: usize,
    outputs: usize,
}

// Not boxed: there is one of each layer, and nothing is moved.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum LinearWeight {
    /// For the CPU's kernels.
    Stored(StoredLinear),
    /// For every other device and type.
    Plain {
        /// A transposed view `[inputs, outputs]` of the stored `[outputs, inputs]`; no copy is
        /// made.
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    },
}

impl Linear {
    /// Reads `weight` (`[outputs, inputs]`) and `bias` (`[outputs]`).
    pub fn new(weights: &Weights<'_>, inputs: usize, outputs: usize) -> Result<Self, WeightError> {
        Self::read(weights, inputs, outputs, true)
    }

    /// Reads `weight` (`[outputs, inputs]`) alone.
    pub fn without_bias(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, WeightError> {
        Self::read(weights, inputs, outputs, false)
    }

    fn read(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
        has_bias: bool,
    ) -> Result<Self, WeightError> {
        let stored = weights.stored_matrix("weight", [outputs, inputs])?;
        let bias = has_bias.then(|| weights.tensor("bias", [outputs])).transpose()?;
        let kernel =
            weights.precision().and_then(|to| StoredLinear::new(&stored, bias.as_ref(), to));
        let weight = match kernel {
            Some(kernel) => LinearWeight::Stored(kernel),
            None => {
                let weight = weights.make::<2>("weight", &stored)?.transpose();
                LinearWeight::Plain { weight, bias }
            }
        };
        Ok(Self { weight, has_bias, inputs, outputs })
    }

    /// Reads the layer again where its tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        let Self { inputs, outputs, .. } = *self;
        if weights.has_changed("weight") || self.has_bias && weights.has_changed("bias") {
            *self = Self::read(weights, inputs, outputs, self.has_bias)?;
        }
        Ok(())
    }

    /// # Shapes
    ///
    /// - x: `[..., inputs]`
    /// - output: `[..., outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.fused(x, None, None)
    }

    /// [`Linear::forward`] followed by an activation.
    ///
    /// # Shapes
    ///
    /// - x: `[..., inputs]`
    /// - output: `[..., outputs]`
    pub fn forward_activated<const D: usize>(
        &self,
        x: Tensor<D>,
        activation: Activation,
    ) -> Tensor<D> {
        self.fused(x, Some(activation), None)
    }

    /// [`Linear::forward`] with a shortcut added.
    ///
    /// # Shapes
    ///
    /// - x: `[..., inputs]`
    /// - shortcut and output: `[..., outputs]`
    pub fn forward_onto<const D: usize>(&self, x: Tensor<D>, shortcut: Tensor<D>) -> Tensor<D> {
        self.fused(x, None, Some(shortcut))
    }

    fn fused<const D: usize>(
        &self,
        x: Tensor<D>,
        activation: Option<Activation>,
        shortcut: Option<Tensor<D>>,
    ) -> Tensor<D> {
        let product = match &self.weight {
            LinearWeight::Plain { weight, bias } => module::linear(x, weight.clone(), bias.clone()),
            LinearWeight::Stored(stored) => {
                let finish = activation.map_or(Finish::Keep, Finish::from);
                match stored.forward(x, finish, shortcut.clone()) {
                    Ok(output) => return output,
                    Err(x) => {
                        let (weight, bias) = stored.plain();
                        module::linear(x, weight.transpose(), bias)
                    }
                }
            }
        };
        let output = match activation {
            Some(activation) => activation.forward(product),
            None => product,
        };
        match shortcut {
            Some(shortcut) => feature_map::add(output, shortcut),
            None => output,
        }
    }
}
