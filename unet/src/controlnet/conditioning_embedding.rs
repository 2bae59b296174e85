//! From a map of the picture's size to one of the latents' size.

use burn::tensor::Tensor;
use emberbrush_layers::{
    activation::Activation,
    conv::{Conv2d, Kernel},
    weights::{WeightError, Weights},
};

use crate::levels::error;

/// Convolutions with an activation after each but the last, of which every second between the
/// first and the last halves the size (diffusers `ControlNetConditioningEmbedding`; Zhang et al.,
/// arXiv:2302.05543, section 3.2).
#[derive(Debug)]
pub(super) struct ConditioningEmbedding {
    conv_in: Conv2d,
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

impl ConditioningEmbedding {
    /// Reads `conv_in`, `blocks` and `conv_out`. `channels` are those between them.
    pub(super) fn new(
        weights: &Weights<'_>,
        inputs: usize,
        channels: &[usize],
        outputs: usize,
    ) -> Result<Self, WeightError> {
        let (Some(&first), Some(&last)) = (channels.first(), channels.last()) else {
            return Err(error("conditioning_embedding_out_channels is empty"));
        };
        let blocks = weights.at("blocks");
        let blocks = layers(channels)
            .enumerate()
            .map(|(index, (inputs, outputs, kernel))| {
                Conv2d::new(&blocks.at(index), inputs, outputs, kernel)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            conv_in: Conv2d::new(&weights.at("conv_in"), inputs, first, Kernel::THREE)?,
            blocks,
            conv_out: Conv2d::new(&weights.at("conv_out"), last, outputs, Kernel::THREE)?,
        })
    }

    /// # Shapes
    ///
    /// - map: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height / 8, width / 8]` with four `channels`
    pub(super) fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let activation = Activation::Silu;
        let mut x = activation.forward(self.conv_in.forward(map));
        for block in &self.blocks {
            x = activation.forward(block.forward(x));
        }
        self.conv_out.forward(x)
    }
}

/// Inputs, outputs and kernel of each of the layers between the first and the last.
pub(super) fn layers(channels: &[usize]) -> impl Iterator<Item = (usize, usize, Kernel)> {
    channels
        .windows(2)
        .flat_map(|pair| [(pair[0], pair[0], Kernel::THREE), (pair[0], pair[1], Kernel::HALVE)])
}
