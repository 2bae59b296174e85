//! Either kind of autoencoder, for those who need not know which it is.

use burn::tensor::Tensor;
use emberbrush_layers::{
    attention::AttentionSlicing,
    memory::{Trace, Traced},
    weights::{WeightError, Weights},
};
use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    AutoencoderKlConfig, AutoencoderTinyConfig, Decoder, DecoderTiny, Encoder, EncoderTiny,
    TinyNaming,
};

/// `config.json` of an autoencoder; its `_class_name` tells which kind it is, AutoencoderKL without
/// one.
#[derive(Debug, Clone)]
pub enum AutoencoderConfig {
    /// Stable Diffusion's own.
    Kl(AutoencoderKlConfig),
    /// The small one.
    Tiny(AutoencoderTinyConfig),
}

/// The value of `_class_name` for the small autoencoder.
const TINY: &str = "AutoencoderTiny";

impl<'de> Deserialize<'de> for AutoencoderConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let config = serde_json::Value::deserialize(deserializer)?;
        let class = config.get("_class_name").and_then(serde_json::Value::as_str);
        match class {
            Some(TINY) => serde_json::from_value(config).map(Self::Tiny),
            None | Some("AutoencoderKL") => serde_json::from_value(config).map(Self::Kl),
            Some(other) => {
                return Err(D::Error::custom(format!(
                    "this is an {other}; AutoencoderKL and {TINY} are supported"
                )));
            }
        }
        .map_err(D::Error::custom)
    }
}

impl AutoencoderConfig {
    /// Channels of the latents.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(config) => config.latent_channels,
            Self::Tiny(config) => config.latent_channels,
        }
    }

    /// Channels of the picture the encoder takes.
    pub fn in_channels(&self) -> usize {
        match self {
            Self::Kl(config) => config.in_channels,
            Self::Tiny(config) => config.in_channels,
        }
    }

    /// Channels of the picture the decoder gives.
    pub fn out_channels(&self) -> usize {
        match self {
            Self::Kl(config) => config.out_channels,
            Self::Tiny(config) => config.out_channels,
        }
    }

    /// Channels at the size of the latents between the halves of the encoder.
    pub fn lowest_channels(&self) -> usize {
        match self {
            Self::Kl(config) => config.block_out_channels.last().copied().unwrap_or_default(),
            Self::Tiny(config) => config.latent_channels,
        }
    }

    /// Pixels along one side of a latent position.
    pub fn downscale_factor(&self) -> usize {
        match self {
            Self::Kl(config) => config.downscale_factor(),
            Self::Tiny(config) => config.downscale_factor(),
        }
    }

    /// Whether a network can be built from this.
    ///
    /// # Errors
    ///
    /// What is wrong, by its key.
    pub fn check(&self) -> Result<(), WeightError> {
        match self {
            Self::Kl(config) => config.check(),
            Self::Tiny(config) => config.check(),
        }
    }

    /// [`AutoencoderKlConfig::scale`]; latents of the small autoencoder are the diffusion model's.
    pub fn scale(&self, latents: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Kl(config) => config.scale(latents),
            Self::Tiny(_) => latents,
        }
    }

    /// The inverse of [`AutoencoderConfig::scale`].
    pub fn unscale(&self, latents: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Kl(config) => config.unscale(latents),
            Self::Tiny(_) => latents,
        }
    }

    /// Follows the decoder.
    pub fn trace_decode(&self, trace: &Trace, latents: Traced) -> Traced {
        let low = self.trace_decode_low(trace, latents);
        self.trace_decode_high(trace, low)
    }

    /// Follows the part of the decoder that is never made in tiles: nothing of the small one.
    pub fn trace_decode_low(&self, trace: &Trace, latents: Traced) -> Traced {
        match self {
            Self::Kl(config) => config.trace_decode_low(trace, latents),
            Self::Tiny(_) => latents,
        }
    }

    /// Follows the part of the decoder that is made in tiles: all of the small one.
    pub fn trace_decode_high(&self, trace: &Trace, low: Traced) -> Traced {
        match self {
            Self::Kl(config) => config.trace_decode_high(trace, low),
            Self::Tiny(config) => config.trace_decode(trace, low),
        }
    }

    /// Follows the encoder.
    pub fn trace_encode(&self, trace: &Trace, image: Traced) -> Traced {
        let low = self.trace_encode_high(trace, image);
        self.trace_encode_low(trace, low)
    }

    /// Follows the part of the encoder that is made in tiles: all of the small one.
    pub fn trace_encode_high(&self, trace: &Trace, image: Traced) -> Traced {
        match self {
            Self::Kl(config) => config.trace_encode_high(trace, image),
            Self::Tiny(config) => config.trace_encode(trace, image),
        }
    }

    /// Follows the part of the encoder that is never made in tiles: nothing of the small one.
    pub fn trace_encode_low(&self, trace: &Trace, low: Traced) -> Traced {
        match self {
            Self::Kl(config) => config.trace_encode_low(trace, low),
            Self::Tiny(_) => low,
        }
    }
}

/// A decoder of either kind.
#[derive(Debug)]
pub enum AnyDecoder {
    /// Stable Diffusion's own.
    Kl(Box<Decoder>),
    /// The small one.
    Tiny(DecoderTiny),
}

impl AnyDecoder {
    /// Reads the decoder under diffusers' names.
    ///
    /// # Errors
    ///
    /// Those of [`Decoder::new`] and [`DecoderTiny::new`].
    pub fn new(config: &AutoencoderConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        Ok(match config {
            AutoencoderConfig::Kl(config) => Self::Kl(Box::new(Decoder::new(config, weights)?)),
            AutoencoderConfig::Tiny(config) => {
                Self::Tiny(DecoderTiny::new(config, weights, TinyNaming::Diffusers)?)
            }
        })
    }

    /// [`Decoder::set_attention_slicing`], where there is attention.
    pub fn set_attention_slicing(&mut self, slicing: AttentionSlicing) {
        if let Self::Kl(decoder) = self {
            decoder.set_attention_slicing(slicing);
        }
    }
}

/// An encoder of either kind.
#[derive(Debug)]
pub enum AnyEncoder {
    /// Stable Diffusion's own.
    Kl(Box<Encoder>),
    /// The small one.
    Tiny(EncoderTiny),
}

impl AnyEncoder {
    /// Reads the encoder under diffusers' names.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::new`] and [`EncoderTiny::new`].
    pub fn new(config: &AutoencoderConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        Ok(match config {
            AutoencoderConfig::Kl(config) => Self::Kl(Box::new(Encoder::new(config, weights)?)),
            AutoencoderConfig::Tiny(config) => {
                Self::Tiny(EncoderTiny::new(config, weights, TinyNaming::Diffusers)?)
            }
        })
    }

    /// [`Encoder::set_attention_slicing`], where there is attention.
    pub fn set_attention_slicing(&mut self, slicing: AttentionSlicing) {
        if let Self::Kl(encoder) = self {
            encoder.set_attention_slicing(slicing);
        }
    }
}
