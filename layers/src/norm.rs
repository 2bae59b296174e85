//! Normalisation.

use burn::tensor::{Tensor, module};

use crate::{
    activation::Activation,
    weights::{WeightError, Weights},
};

/// Layer normalisation over the last dimension (Ba et al. 2016).
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, both `[channels]`.
    pub fn new(weights: &Weights<'_>, channels: usize, epsilon: f64) -> Result<Self, WeightError> {
        Ok(Self {
            weight: weights.tensor("weight", [channels])?,
            bias: weights.tensor("bias", [channels])?,
            epsilon,
        })
    }

    /// # Shapes
    ///
    /// - x and output: `[..., channels]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        module::layer_norm(x, self.weight.clone(), Some(self.bias.clone()), self.epsilon)
    }
}

/// Group normalisation (Wu and He 2018).
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor<4>,
    bias: Tensor<4>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// Reads `weight` and `bias`, both `[channels]`.
    ///
    /// # Errors
    ///
    /// Besides those of the source: `channels` must be a multiple of `groups`.
    pub fn new(
        weights: &Weights<'_>,
        groups: usize,
        channels: usize,
        epsilon: f64,
    ) -> Result<Self, WeightError> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(WeightError::Config(format!(
                "config.json: {channels} channels cannot be split into {groups} normalisation groups"
            )));
        }
        let per_channel = [1, channels, 1, 1];
        Ok(Self {
            weight: weights.tensor::<1>("weight", [channels])?.reshape(per_channel),
            bias: weights.tensor::<1>("bias", [channels])?.reshape(per_channel),
            groups,
            epsilon,
        })
    }

    /// # Shapes
    ///
    /// - x and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shape = x.dims();
        let [batch, channels, height, width] = shape;
        let grouped = x.reshape([batch, self.groups, channels / self.groups * height * width]);
        let mean = grouped.clone().mean_dim(2);
        let centred = grouped - mean;
        let variance = centred.clone().square().mean_dim(2);
        let scale = (variance + self.epsilon).sqrt().recip();
        (centred * scale).reshape(shape) * self.weight.clone() + self.bias.clone()
    }
    /// Normalisation followed by an activation, the pair that precedes every convolution of a
    /// residual block.
    ///
    /// # Shapes
    ///
    /// - x and output: `[batch, channels, height, width]`
    pub fn forward_activated(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        activation.forward(self.forward(x))
    }
}
