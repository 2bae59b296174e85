//! The residual block of the UNet and of the autoencoder.

use burn::tensor::Tensor;

use crate::{
    activation::Activation,
    conv::{Conv2d, Kernel},
    linear::Linear,
    norm::{GroupNorm, PooledStatistics},
    weights::{WeightError, Weights},
};

/// What a [`ResnetBlock2D`] is built from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResnetBlock2DOptions {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Width of the time embedding, where the block has one.
    pub time_embed_dim: Option<usize>,
    /// Groups of both normalisations.
    pub groups: usize,
    /// Epsilon of both normalisations.
    pub epsilon: f64,
    /// Activation after each normalisation.
    pub activation: Activation,
    /// What the sum of both branches is divided by.
    pub output_scale_factor: f64,
}

/// Two convolutions, each after normalisation and activation, beside a shortcut
/// (diffusers `models/resnet.py`, `time_embedding_norm` "default").
#[derive(Debug)]
pub struct ResnetBlock2D {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    activation: Activation,
    output_scale_factor: f64,
}

impl ResnetBlock2D {
    /// Reads `norm1`, `conv1`, `time_emb_proj` with a time embedding, `norm2`, `conv2`, and
    /// `conv_shortcut` where the number of channels changes.
    pub fn new(weights: &Weights<'_>, options: ResnetBlock2DOptions) -> Result<Self, WeightError> {
        let ResnetBlock2DOptions { inputs, outputs, groups, epsilon, .. } = options;
        let time_emb_proj = options
            .time_embed_dim
            .map(|width| Linear::new(&weights.at("time_emb_proj"), width, outputs))
            .transpose()?;
        let conv_shortcut = (inputs != outputs)
            .then(|| Conv2d::new(&weights.at("conv_shortcut"), inputs, outputs, Kernel::ONE))
            .transpose()?;
        Ok(Self {
            norm1: GroupNorm::new(&weights.at("norm1"), groups, inputs, epsilon)?,
            conv1: Conv2d::new(&weights.at("conv1"), inputs, outputs, Kernel::THREE)?,
            time_emb_proj,
            norm2: GroupNorm::new(&weights.at("norm2"), groups, outputs, epsilon)?,
            conv2: Conv2d::new(&weights.at("conv2"), outputs, outputs, Kernel::THREE)?,
            conv_shortcut,
            activation: options.activation,
            output_scale_factor: options.output_scale_factor,
        })
    }

    /// Reads the layers again whose tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.conv1.reload(&weights.at("conv1"))?;
        self.conv2.reload(&weights.at("conv2"))?;
        if let Some(projection) = &mut self.time_emb_proj {
            projection.reload(&weights.at("time_emb_proj"))?;
        }
        if let Some(convolution) = &mut self.conv_shortcut {
            convolution.reload(&weights.at("conv_shortcut"))?;
        }
        Ok(())
    }

    /// The time embedding comes with its activation applied: it is the same for all blocks.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, inputs, height, width]`
    /// - activated_time_embedding: `[batch, time_embed_dim]`
    /// - output: `[batch, outputs, height, width]`
    pub fn forward(&self, x: Tensor<4>, activated_time_embedding: Option<&Tensor<2>>) -> Tensor<4> {
        self.forward_pooled(x, activated_time_embedding, None)
    }

    /// [`ResnetBlock2D::forward`] normalised by the statistics of a whole of which `x` is a part,
    /// where there are any.
    pub fn forward_pooled(
        &self,
        x: Tensor<4>,
        activated_time_embedding: Option<&Tensor<2>>,
        mut statistics: Option<&mut PooledStatistics>,
    ) -> Tensor<4> {
        let activation = self.activation;
        let part = statistics.as_deref_mut();
        let hidden = self.norm1.forward_activated_pooled(x.clone(), activation, part);
        let hidden = match (&self.time_emb_proj, activated_time_embedding) {
            (Some(projection), Some(embedding)) => {
                self.conv1.forward_shifted(hidden, projection.forward(embedding.clone()))
            }
            _ => self.conv1.forward(hidden),
        };
        let hidden = self.norm2.forward_activated_pooled(hidden, activation, statistics);
        let shortcut = match &self.conv_shortcut {
            Some(convolution) => convolution.forward(x),
            None => x,
        };
        let sum = self.conv2.forward_onto(hidden, shortcut);
        if self.output_scale_factor == 1.0 { sum } else { sum / self.output_scale_factor }
    }
}
