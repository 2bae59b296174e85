//! Fully connected layers.

use burn::tensor::{Tensor, module};

use crate::{
    activation::Activation,
    feature_map,
    kernels::{Finish, PackedLinear, Precision},
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
    Packed(PackedLinear),
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
        let weight = weights.matrix("weight", [outputs, inputs])?;
        let bias = weights.tensor("bias", [outputs])?;
        Ok(Self::of(weight, Some(bias), weights.precision()))
    }

    /// Reads `weight` (`[outputs, inputs]`) alone.
    pub fn without_bias(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, WeightError> {
        let weight = weights.matrix("weight", [outputs, inputs])?;
        Ok(Self::of(weight, None, weights.precision()))
    }

    fn of(weight: Tensor<2>, bias: Option<Tensor<1>>, precision: Precision) -> Self {
        let [outputs, inputs] = weight.dims();
        let has_bias = bias.is_some();
        let weight = match PackedLinear::new(weight, bias, precision) {
            Ok(packed) => LinearWeight::Packed(packed),
            Err((weight, bias)) => LinearWeight::Plain { weight: weight.transpose(), bias },
        };
        Self { weight, has_bias, inputs, outputs }
    }

    /// Reads the layer again where its tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        let Self { inputs, outputs, .. } = *self;
        if self.has_bias && (weights.has_changed("weight") || weights.has_changed("bias")) {
            *self = Self::new(weights, inputs, outputs)?;
        } else if !self.has_bias && weights.has_changed("weight") {
            *self = Self::without_bias(weights, inputs, outputs)?;
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
            LinearWeight::Packed(packed) => {
                let finish = activation.map_or(Finish::Keep, Finish::from);
                match packed.forward(x, finish, shortcut.clone()) {
                    Ok(output) => return output,
                    Err(x) => {
                        let (weight, bias) = packed.unpacked();
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
