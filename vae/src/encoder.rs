//! From pictures to distributions of latents.

use burn::tensor::Tensor;
use emberbrush_layers::{
    activation::Activation,
    attention::AttentionSlicing,
    conv::{Conv2d, Kernel},
    forward_pass::{ForwardPass, Observe},
    interrupt::{Cancelled, Checkpoint},
    norm::{GroupNorm, PooledStatistics},
    weights::{WeightError, Weights},
};

use crate::{
    blocks::{DownEncoderBlock2D, EPSILON, MidBlock2D},
    config::AutoencoderKlConfig,
    diagonal_gaussian::DiagonalGaussian,
    keys::older_name,
};

/// The encoder with the convolution that follows it (diffusers `models/autoencoders/vae.py`).
#[derive(Debug)]
pub struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownEncoderBlock2D>,
    mid_block: MidBlock2D,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    quant_conv: Option<Conv2d>,
    attention_slicing: AttentionSlicing,
}

impl Encoder {
    /// Reads `encoder.*` and `quant_conv`.
    ///
    /// # Errors
    ///
    /// A configuration that is contradictory, and weights that are missing, unreadable or of
    /// another shape than it calls for.
    pub fn new(config: &AutoencoderKlConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        config.check()?;
        let weights = weights.with_older_names(older_name);
        let moments = 2 * config.latent_channels;
        let quant_conv = config
            .use_quant_conv
            .then(|| Conv2d::new(&weights.at("quant_conv"), moments, moments, Kernel::ONE))
            .transpose()?;
        let weights = weights.at("encoder");
        let first = config.block_out_channels[0];
        let last = config.block_out_channels.len() - 1;
        let mut channels = first;
        let mut down_blocks = Vec::with_capacity(last + 1);
        for (level, &outputs) in config.block_out_channels.iter().enumerate() {
            let weights = weights.at("down_blocks").at(level);
            let downsample = level != last;
            down_blocks
                .push(DownEncoderBlock2D::new(&weights, config, channels, outputs, downsample)?);
            channels = outputs;
        }
        let groups = config.norm_num_groups;
        let conv_in = weights.at("conv_in");
        let norm = weights.at("conv_norm_out");
        Ok(Self {
            conv_in: Conv2d::new(&conv_in, config.in_channels, first, Kernel::THREE)?,
            down_blocks,
            mid_block: MidBlock2D::new(&weights.at("mid_block"), config, channels)?,
            conv_norm_out: GroupNorm::new(&norm, groups, channels, EPSILON)?,
            conv_out: Conv2d::new(&weights.at("conv_out"), channels, moments, Kernel::THREE)?,
            quant_conv,
            attention_slicing: AttentionSlicing::Off,
        })
    }

    /// Chooses how many queries of the attention are answered at once. At first it is all of them.
    pub fn set_attention_slicing(&mut self, slicing: AttentionSlicing) {
        self.attention_slicing = slicing;
    }

    fn pass<'a>(&self, checkpoint: &'a mut Checkpoint<'_>) -> ForwardPass<'a> {
        ForwardPass::new(checkpoint).with_attention_slicing(self.attention_slicing)
    }

    /// Encodes pictures with values from -1 to 1. Its latents are those of the decoder; the
    /// diffusion model's are [`AutoencoderKlConfig::scale`]d.
    ///
    /// # Shapes
    ///
    /// - image: `[batch, in_channels, height, width]`, in pixels, multiples of
    ///   [`AutoencoderKlConfig::downscale_factor`]
    /// - output: `[batch, latent_channels, height / factor, width / factor]`
    ///
    /// # Errors
    ///
    /// `checkpoint`, which is called before each block, asked to stop.
    pub fn encode(
        &self,
        image: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<DiagonalGaussian, Cancelled> {
        self.run(image, &mut self.pass(checkpoint))
    }

    /// The first half of [`Encoder::encode`] over a part of an image, down to the size of latents,
    /// normalised by the statistics of the whole.
    ///
    /// # Shapes
    ///
    /// - image: `[batch, in_channels, height, width]`
    /// - output: `[batch, channels, height / factor, width / factor]`
    ///
    /// # Errors
    ///
    /// `checkpoint` asked to stop.
    pub fn encode_high(
        &self,
        image: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
        statistics: &mut PooledStatistics,
    ) -> Result<Tensor<4>, Cancelled> {
        self.high(image, &mut ForwardPass::pooled(checkpoint, statistics))
    }

    /// The second half of [`Encoder::encode`], whose attention sees everything.
    ///
    /// # Errors
    ///
    /// `checkpoint` asked to stop.
    pub fn encode_low(
        &self,
        x: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<DiagonalGaussian, Cancelled> {
        self.low(x, &mut self.pass(checkpoint))
    }

    /// [`Encoder::encode`] that shows the outputs of inner blocks.
    pub fn encode_observed(
        &self,
        image: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
        observe: &mut Observe<'_>,
    ) -> Result<DiagonalGaussian, Cancelled> {
        self.run(image, &mut ForwardPass::observed(checkpoint, observe))
    }

    fn run(
        &self,
        image: Tensor<4>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<DiagonalGaussian, Cancelled> {
        let x = self.high(image, pass)?;
        self.low(x, pass)
    }

    fn high(&self, image: Tensor<4>, pass: &mut ForwardPass<'_>) -> Result<Tensor<4>, Cancelled> {
        pass.checkpoint()?;
        let mut x = self.conv_in.forward(image);
        pass.show(format_args!("encoder.conv_in"), &x);
        for (level, block) in self.down_blocks.iter().enumerate() {
            x = block.forward(x, pass)?;
            pass.show(format_args!("encoder.down_blocks.{level}"), &x);
        }
        Ok(x)
    }

    fn low(&self, x: Tensor<4>, pass: &mut ForwardPass<'_>) -> Result<DiagonalGaussian, Cancelled> {
        let mut x = self.mid_block.forward(x, pass)?;
        pass.show(format_args!("encoder.mid_block"), &x);
        pass.checkpoint()?;
        let statistics = pass.statistics();
        x = self.conv_norm_out.forward_activated_pooled(x, Activation::Silu, statistics);
        x = self.conv_out.forward(x);
        pass.show(format_args!("encoder.conv_out"), &x);
        if let Some(convolution) = &self.quant_conv {
            x = convolution.forward(x);
        }
        Ok(DiagonalGaussian::new(x))
    }
}
