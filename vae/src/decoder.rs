//! From latents to pictures.

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
    blocks::{EPSILON, MidBlock2D, UpDecoderBlock2D},
    config::AutoencoderKlConfig,
    keys::older_name,
};

/// The decoder with the convolution that precedes it (diffusers `models/autoencoders/vae.py`).
#[derive(Debug)]
pub struct Decoder {
    post_quant_conv: Option<Conv2d>,
    conv_in: Conv2d,
    mid_block: MidBlock2D,
    up_blocks: Vec<UpDecoderBlock2D>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    attention_slicing: AttentionSlicing,
}

impl Decoder {
    /// Reads `decoder.*` and `post_quant_conv`.
    ///
    /// # Errors
    ///
    /// A configuration that is contradictory, and weights that are missing, unreadable or of
    /// another shape than it calls for.
    pub fn new(config: &AutoencoderKlConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        config.check()?;
        let weights = weights.with_older_names(older_name);
        let latents = config.latent_channels;
        let post_quant_conv = config
            .use_post_quant_conv
            .then(|| Conv2d::new(&weights.at("post_quant_conv"), latents, latents, Kernel::ONE))
            .transpose()?;
        let weights = weights.at("decoder");
        let last = config.block_out_channels.len() - 1;
        let lowest = config.block_out_channels[last];
        let mut channels = lowest;
        let mut up_blocks = Vec::with_capacity(last + 1);
        for (level, &outputs) in config.block_out_channels.iter().rev().enumerate() {
            let weights = weights.at("up_blocks").at(level);
            let upsample = level != last;
            up_blocks.push(UpDecoderBlock2D::new(&weights, config, channels, outputs, upsample)?);
            channels = outputs;
        }
        let groups = config.norm_num_groups;
        let conv_out = weights.at("conv_out");
        let norm = weights.at("conv_norm_out");
        Ok(Self {
            post_quant_conv,
            conv_in: Conv2d::new(&weights.at("conv_in"), latents, lowest, Kernel::THREE)?,
            mid_block: MidBlock2D::new(&weights.at("mid_block"), config, lowest)?,
            up_blocks,
            conv_norm_out: GroupNorm::new(&norm, groups, channels, EPSILON)?,
            conv_out: Conv2d::new(&conv_out, channels, config.out_channels, Kernel::THREE)?,
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

    /// Decodes latents of the encoder; those of the diffusion model have to be
    /// [`AutoencoderKlConfig::unscale`]d first. The picture's values are about -1 to 1 and not
    /// clamped.
    ///
    /// # Shapes
    ///
    /// - latents: `[batch, latent_channels, height, width]`
    /// - output: `[batch, out_channels, height · factor, width · factor]` with the
    ///   [`AutoencoderKlConfig::downscale_factor`]
    ///
    /// # Errors
    ///
    /// `checkpoint`, which is called before each block, asked to stop.
    pub fn decode(
        &self,
        latents: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        self.run(latents, &mut self.pass(checkpoint))
    }

    /// The first half of [`Decoder::decode`], all of which is made at the size of the latents and
    /// whose attention sees all of them.
    ///
    /// # Shapes
    ///
    /// - latents: `[batch, latent_channels, height, width]`
    /// - output: `[batch, channels, height, width]`
    ///
    /// # Errors
    ///
    /// `checkpoint` asked to stop.
    pub fn decode_low(
        &self,
        latents: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        self.low(latents, &mut self.pass(checkpoint))
    }

    /// The second half of [`Decoder::decode`] over a part of what [`Decoder::decode_low`] gives,
    /// normalised by the statistics of the whole.
    ///
    /// # Errors
    ///
    /// `checkpoint` asked to stop.
    pub fn decode_high(
        &self,
        x: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
        statistics: &mut PooledStatistics,
    ) -> Result<Tensor<4>, Cancelled> {
        self.high(x, &mut ForwardPass::pooled(checkpoint, statistics))
    }

    /// [`Decoder::decode`] that shows the outputs of inner blocks.
    pub fn decode_observed(
        &self,
        latents: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
        observe: &mut Observe<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        self.run(latents, &mut ForwardPass::observed(checkpoint, observe))
    }

    fn run(&self, latents: Tensor<4>, pass: &mut ForwardPass<'_>) -> Result<Tensor<4>, Cancelled> {
        let x = self.low(latents, pass)?;
        self.high(x, pass)
    }

    fn low(&self, latents: Tensor<4>, pass: &mut ForwardPass<'_>) -> Result<Tensor<4>, Cancelled> {
        pass.checkpoint()?;
        let mut x = latents;
        if let Some(convolution) = &self.post_quant_conv {
            x = convolution.forward(x);
            pass.show(format_args!("post_quant_conv"), &x);
        }
        x = self.conv_in.forward(x);
        pass.show(format_args!("decoder.conv_in"), &x);
        x = self.mid_block.forward(x, pass)?;
        pass.show(format_args!("decoder.mid_block"), &x);
        Ok(x)
    }

    fn high(&self, mut x: Tensor<4>, pass: &mut ForwardPass<'_>) -> Result<Tensor<4>, Cancelled> {
        for (level, block) in self.up_blocks.iter().enumerate() {
            x = block.forward(x, pass)?;
            pass.show(format_args!("decoder.up_blocks.{level}"), &x);
        }
        pass.checkpoint()?;
        let statistics = pass.statistics();
        x = self.conv_norm_out.forward_activated_pooled(x, Activation::Silu, statistics);
        Ok(self.conv_out.forward(x))
    }
}
