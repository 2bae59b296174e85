//! The autoencoders between pictures and latents.

mod autoencoder;
mod blocks;
pub mod config;
mod decoder;
mod diagonal_gaussian;
mod encoder;
pub mod keys;
mod memory;
pub mod tiny;

pub use autoencoder::{AnyDecoder, AnyEncoder, AutoencoderConfig};
pub use config::AutoencoderKlConfig;
pub use decoder::Decoder;
pub use diagonal_gaussian::DiagonalGaussian;
use emberbrush_layers::weights::{WeightError, Weights};
pub use encoder::Encoder;
pub use tiny::{AutoencoderTinyConfig, DecoderTiny, EncoderTiny, TinyNaming};

/// Both halves of an autoencoder. Text-to-image needs the [`Decoder`] alone, which can be built
/// without the other.
#[derive(Debug)]
pub struct AutoencoderKl {
    /// What the network was built from.
    pub config: AutoencoderKlConfig,
    /// From pictures to latents.
    pub encoder: Encoder,
    /// From latents to pictures.
    pub decoder: Decoder,
}

impl AutoencoderKl {
    /// Reads both halves.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::new`] and [`Decoder::new`].
    pub fn new(config: &AutoencoderKlConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        Ok(Self {
            config: config.clone(),
            encoder: Encoder::new(config, weights)?,
            decoder: Decoder::new(config, weights)?,
        })
    }
}
