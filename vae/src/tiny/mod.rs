//! AutoencoderTiny: the small autoencoder of Ollin Boer Bohan (TAESD), which gives nearly the pictures of
//! Stable Diffusion's own in a fraction of the time.
//!
//! It works on the latents of the diffusion model as they are: nothing is scaled.

mod config;
mod layers;
mod naming;

use burn::tensor::Tensor;
use emberbrush_layers::{
    interrupt::{Cancelled, Checkpoint},
    weights::{WeightError, Weights},
};

pub use config::AutoencoderTinyConfig;
use layers::{Builder, Layers};
pub use naming::TinyNaming;

/// Latents are squeezed to ±this before they are decoded.
const CLAMP: f64 = 3.0;

/// From latents to pictures (diffusers `models/autoencoders/vae.py`, `DecoderTiny`).
#[derive(Debug)]
pub struct DecoderTiny {
    layers: Layers,
}

impl DecoderTiny {
    /// Reads the decoder's layers, called as `naming` says.
    ///
    /// # Errors
    ///
    /// A configuration that is contradictory, and weights that are missing, unreadable or of
    /// another shape than it calls for.
    pub fn new(
        config: &AutoencoderTinyConfig,
        weights: &Weights<'_>,
        naming: TinyNaming,
    ) -> Result<Self, WeightError> {
        config.check()?;
        let (prefix, first) = naming.decoder();
        let mut layers = Builder::new(weights, prefix, first);
        let channels = config.channels();
        layers.conv(config.latent_channels, channels)?;
        layers.activation();
        let last = config.num_decoder_blocks.len() - 1;
        for (level, &blocks) in config.num_decoder_blocks.iter().enumerate() {
            layers.blocks(blocks, channels)?;
            if level != last {
                layers.upsample();
                layers.conv_without_bias(channels)?;
            }
        }
        layers.conv(channels, config.out_channels)?;
        Ok(Self { layers: layers.finish() })
    }

    /// Decodes latents as the diffusion model has them. The picture's values are about -1 to 1 and
    /// not clamped.
    ///
    /// # Shapes
    ///
    /// - latents: `[batch, latent_channels, height, width]`
    /// - output: `[batch, out_channels, height · factor, width · factor]` with the
    ///   [`AutoencoderTinyConfig::downscale_factor`]
    ///
    /// # Errors
    ///
    /// `checkpoint`, which is called before each layer, asked to stop.
    pub fn decode(
        &self,
        latents: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        let clamped = (latents / CLAMP).tanh() * CLAMP;
        Ok(self.layers.forward(clamped, checkpoint)? * 2.0 - 1.0)
    }
}

/// From pictures to latents (diffusers `models/autoencoders/vae.py`, `EncoderTiny`).
#[derive(Debug)]
pub struct EncoderTiny {
    layers: Layers,
}

impl EncoderTiny {
    /// Reads the encoder's layers, called as `naming` says.
    ///
    /// # Errors
    ///
    /// Those of [`DecoderTiny::new`].
    pub fn new(
        config: &AutoencoderTinyConfig,
        weights: &Weights<'_>,
        naming: TinyNaming,
    ) -> Result<Self, WeightError> {
        config.check()?;
        let (prefix, first) = naming.encoder();
        let mut layers = Builder::new(weights, prefix, first);
        let channels = config.channels();
        for (level, &blocks) in config.num_encoder_blocks.iter().enumerate() {
            match level {
                0 => layers.conv(config.in_channels, channels)?,
                _ => layers.downsample(channels)?,
            }
            layers.blocks(blocks, channels)?;
        }
        layers.conv(channels, config.latent_channels)?;
        Ok(Self { layers: layers.finish() })
    }

    /// Encodes pictures with values from -1 to 1 to latents as the diffusion model has them.
    ///
    /// # Shapes
    ///
    /// - image: `[batch, in_channels, height, width]`, in pixels, multiples of
    ///   [`AutoencoderTinyConfig::downscale_factor`]
    /// - output: `[batch, latent_channels, height / factor, width / factor]`
    ///
    /// # Errors
    ///
    /// `checkpoint`, which is called before each layer, asked to stop.
    pub fn encode(
        &self,
        image: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        self.layers.forward((image + 1.0) / 2.0, checkpoint)
    }
}
