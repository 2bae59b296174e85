//! `vae/config.json`.

use burn::tensor::{Tensor, TensorData};
use emberbrush_layers::{activation::Activation, weights::WeightError};
use serde::Deserialize;

/// Far above any published network, and low enough that no product of two overflows.
const MAX_SIZE: usize = 1 << 20;

/// A block of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DownBlockType {
    /// Residual blocks.
    DownEncoderBlock2D,
}

/// A block of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum UpBlockType {
    /// Residual blocks.
    UpDecoderBlock2D,
}

/// Side length, or height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SampleSize {
    /// Both.
    Square(usize),
    /// Height and width.
    Rectangle(usize, usize),
}

/// The configuration of a [`crate::AutoencoderKl`], read from the published `vae/config.json`
/// with the defaults of diffusers (`models/autoencoders/autoencoder_kl.py`).
///
/// Every field has the name of its key.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct AutoencoderKlConfig {
    /// Channels of the picture the encoder takes.
    pub in_channels: usize,
    /// Channels of the picture the decoder gives.
    pub out_channels: usize,
    /// Blocks of the encoder, from the highest resolution to the lowest.
    pub down_block_types: Vec<DownBlockType>,
    /// Blocks of the decoder, from the lowest resolution to the highest.
    pub up_block_types: Vec<UpBlockType>,
    /// Channels of the levels, from the highest resolution to the lowest.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level of the encoder; one more in the decoder.
    pub layers_per_block: usize,
    /// Activation of the residual blocks.
    pub act_fn: Activation,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Groups of the group normalisations.
    pub norm_num_groups: usize,
    /// Size of the training pictures, in pixels.
    pub sample_size: SampleSize,
    /// What latents are multiplied by to have unit variance.
    pub scaling_factor: f64,
    /// What is subtracted from latents before that.
    pub shift_factor: Option<f64>,
    /// Mean of each latent channel, where latents are standardised channel by channel.
    pub latents_mean: Option<Vec<f64>>,
    /// Standard deviation of each latent channel, together with `latents_mean`.
    pub latents_std: Option<Vec<f64>>,
    /// Whether the network overflows in f16 and has to be run in f32.
    pub force_upcast: bool,
    /// Whether the encoder ends with a 1×1 convolution.
    pub use_quant_conv: bool,
    /// Whether the decoder begins with a 1×1 convolution.
    pub use_post_quant_conv: bool,
    /// Whether the middle blocks have attention.
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderKlConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec![DownBlockType::DownEncoderBlock2D],
            up_block_types: vec![UpBlockType::UpDecoderBlock2D],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: Activation::Silu,
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: SampleSize::Square(32),
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            force_upcast: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderKlConfig {
    /// Stable Diffusion's, 1.x and 2.x. That of XL has another `scaling_factor`.
    pub fn published() -> Self {
        Self {
            block_out_channels: vec![128, 256, 512, 512],
            down_block_types: vec![DownBlockType::DownEncoderBlock2D; 4],
            up_block_types: vec![UpBlockType::UpDecoderBlock2D; 4],
            layers_per_block: 2,
            ..Self::default()
        }
    }

    /// Pixels along one side of a latent position: 8 for every Stable Diffusion.
    pub fn downscale_factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1).min(16)
    }

    /// From the encoder's latents to those that the diffusion model works on (diffusers
    /// `prepare_latents` of the image-to-image pipelines).
    ///
    /// # Shapes
    ///
    /// - latents and output: `[batch, latent_channels, height, width]`
    pub fn scale(&self, latents: Tensor<4>) -> Tensor<4> {
        match self.per_channel(&latents) {
            Some((mean, deviation)) => (latents - mean) * self.scaling_factor / deviation,
            None => (latents - self.shift_factor.unwrap_or(0.0)) * self.scaling_factor,
        }
    }

    /// The inverse of [`AutoencoderKlConfig::scale`], to be used before decoding.
    ///
    /// # Shapes
    ///
    /// - latents and output: `[batch, latent_channels, height, width]`
    pub fn unscale(&self, latents: Tensor<4>) -> Tensor<4> {
        match self.per_channel(&latents) {
            Some((mean, deviation)) => latents * deviation / self.scaling_factor + mean,
            None => latents / self.scaling_factor + self.shift_factor.unwrap_or(0.0),
        }
    }

    fn per_channel(&self, latents: &Tensor<4>) -> Option<(Tensor<4>, Tensor<4>)> {
        let tensor = |values: &[f64]| {
            let values = values.iter().map(|&value| value as f32).collect::<Vec<_>>();
            let shape = [1, values.len(), 1, 1];
            let place = (&latents.device(), latents.dtype());
            Tensor::from_data(TensorData::new(values, shape), place)
        };
        Some((tensor(self.latents_mean.as_ref()?), tensor(self.latents_std.as_ref()?)))
    }

    /// Whether a network can be built from this.
    ///
    /// # Errors
    ///
    /// A list of the wrong length, or a number that is 0 or absurd; each names its key.
    pub fn check(&self) -> Result<(), WeightError> {
        let levels = self.block_out_channels.len();
        if levels == 0 || levels > 16 {
            return Err(error(format!(
                "block_out_channels has {levels} entries, not between 1 and 16"
            )));
        }
        for (key, found, expected) in [
            ("down_block_types", Some(self.down_block_types.len()), levels),
            ("up_block_types", Some(self.up_block_types.len()), levels),
            ("latents_mean", self.latents_mean.as_ref().map(Vec::len), self.latent_channels),
            ("latents_std", self.latents_std.as_ref().map(Vec::len), self.latent_channels),
        ] {
            if let Some(found) = found
                && found != expected
            {
                return Err(error(format!(
                    "{key} has {found} entries where {expected} are needed"
                )));
            }
        }
        let channels = self.block_out_channels.iter().map(|&size| ("block_out_channels", size));
        let sizes = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("layers_per_block", self.layers_per_block),
            ("latent_channels", self.latent_channels),
            ("norm_num_groups", self.norm_num_groups),
        ];
        for (key, size) in channels.chain(sizes) {
            if size == 0 || size > MAX_SIZE {
                return Err(error(format!("{key}: {size} is not between 1 and {MAX_SIZE}")));
            }
        }
        if !self.scaling_factor.is_finite() || self.scaling_factor == 0.0 {
            return Err(error("scaling_factor must be a number other than 0"));
        }
        if self.latents_mean.is_some() != self.latents_std.is_some() {
            return Err(error("latents_mean and latents_std must be given together"));
        }
        if self.latents_std.iter().flatten().any(|&value| value == 0.0) {
            return Err(error("latents_std holds a 0"));
        }
        Ok(())
    }
}

fn error(reason: impl std::fmt::Display) -> WeightError {
    WeightError::Config(format!("vae/config.json: {reason}"))
}
