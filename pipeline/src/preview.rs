//! Rough pictures of unfinished latents, for showing progress.

use std::path::Path;

use burn::tensor::{DType, FloatDType, Tensor};
use emberbrush_layers::{
    interrupt::{Cancelled, Checkpoint},
    weights::Weights,
};
use emberbrush_vae::{AutoencoderConfig, AutoencoderTinyConfig, DecoderTiny, TinyNaming};
use image::{DynamicImage, Rgb, RgbImage};
use serde::Deserialize;

use crate::{
    checkpoint::{
        CheckpointError, component::ComponentWeights, files::CheckpointFiles, folder::Family,
        vae_override::VaeOverride,
    },
    device::OpenDevice,
    memory::PreviewMemory,
    picture_tensor,
};

/// The small autoencoder (TAESD), which shows unfinished pictures at their full size.
#[derive(Debug)]
pub struct PreviewDecoder {
    decoder: DecoderTiny,
    size: PreviewMemory,
}

impl PreviewDecoder {
    /// What the decoder in the file or folder at `path` takes of memory, which is not loaded for it.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub(crate) fn memory(
        path: &Path,
        checkpoint: &CheckpointFiles,
        latent_channels: usize,
    ) -> Result<PreviewMemory, CheckpointError> {
        let (config, source) = open(path, checkpoint, latent_channels)?;
        Ok(PreviewMemory::new(config, &source))
    }

    /// What it takes of memory.
    pub(crate) fn size(&self) -> &PreviewMemory {
        &self.size
    }

    /// Loads the decoder in the file or folder at `path` for the latents of `checkpoint`.
    ///
    /// # Errors
    ///
    /// Where it is no AutoencoderTiny, or one for latents of other channels.
    pub fn load(
        path: &Path,
        checkpoint: &CheckpointFiles,
        latent_channels: usize,
        device: &OpenDevice,
    ) -> Result<Self, CheckpointError> {
        let (config, source) = open(path, checkpoint, latent_channels)?;
        let weights = Weights::new(&source, &device.device, FloatDType::F32);
        let decoder = DecoderTiny::new(&config, &weights, TinyNaming::Diffusers)?;
        Ok(Self { decoder, size: PreviewMemory::new(config, &source) })
    }

    /// Turns latents into a picture.
    ///
    /// # Shapes
    ///
    /// - latents: `[1, channels, height, width]`, scaled as the UNet sees them
    ///
    /// # Errors
    ///
    /// `checkpoint` asked to stop.
    pub fn decode(
        &self,
        latents: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Option<RgbImage>, Cancelled> {
        let pixels = self.decoder.decode(latents, checkpoint)?;
        let unit = |value: f32| (value / 2.0 + 0.5).clamp(0.0, 1.0);
        let picture = picture_tensor::from_tensor(pixels, unit).ok();
        Ok(picture.map(|picture| DynamicImage::ImageRgb32F(picture).into_rgb8()))
    }
}

/// The configuration and weights of the small autoencoder at `path`.
fn open(
    path: &Path,
    checkpoint: &CheckpointFiles,
    latent_channels: usize,
) -> Result<(AutoencoderTinyConfig, ComponentWeights), CheckpointError> {
    let vae = VaeOverride::open(path, checkpoint)?;
    let unsupported =
        |reason: String| CheckpointError::Unsupported { path: path.display().to_string(), reason };
    let AutoencoderConfig::Tiny(config) = vae.config() else {
        return Err(unsupported(
            "previews are decoded by a small autoencoder (TAESD), and this is a large one"
                .to_owned(),
        ));
    };
    if config.latent_channels != latent_channels {
        return Err(unsupported(format!(
            "this autoencoder is for latents of {} channels, and the checkpoint's have \
             {latent_channels}",
            config.latent_channels
        )));
    }
    Ok((config.clone(), vae.weights()?))
}

/// A linear map from four latent channels to red, green and blue in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct LatentRgbFactors {
    /// For each latent channel, its share of red, green and blue.
    pub factors: [[f32; 3]; 4],
    /// Red, green and blue of latents that are zero.
    pub bias: [f32; 3],
}

/// Stable Diffusion 1.x and 2.x, fitted by `assets/latent-rgb/fit_latent_rgb.py` through TAESD's
/// encoder; root mean square error 0.10 on its pictures.
const STABLE_DIFFUSION: LatentRgbFactors = LatentRgbFactors {
    factors: [
        [0.1995, 0.092, 0.1266],
        [0.0517, 0.21, 0.0074],
        [-0.1711, 0.147, 0.1206],
        [-0.0855, -0.0755, -0.3676],
    ],
    bias: [0.4598, 0.4428, 0.3987],
};

/// Stable Diffusion XL: the weights over 255 of Vass, "Explaining the SDXL latent space"
/// (Hugging Face blog, 2024).
const STABLE_DIFFUSION_XL: LatentRgbFactors = LatentRgbFactors {
    factors: [
        [0.2353, 0.2353, 0.2353],
        [-0.2353, -0.0196, 0.0392],
        [0.098, 0.0588, -0.0196],
        [-0.2745, -0.1961, -0.1373],
    ],
    bias: [0.5882, 0.549, 0.5098],
};

impl LatentRgbFactors {
    /// The factors for the autoencoder that checkpoints of `family` are published with.
    pub fn published(family: Family) -> Self {
        match family {
            Family::StableDiffusion1 | Family::StableDiffusion2 => STABLE_DIFFUSION,
            Family::StableDiffusionXl | Family::StableDiffusionXlRefiner => STABLE_DIFFUSION_XL,
        }
    }

    /// Turns latents into a picture of one pixel for each latent.
    ///
    /// # Shapes
    ///
    /// - latents: `[1, 4, height, width]`, scaled as the UNet sees them
    ///
    /// Returns `None` where the latents cannot be read from the device or have other channels.
    pub fn apply(&self, latents: &Tensor<4>) -> Option<RgbImage> {
        let [_, channels, height, width] = latents.dims();
        let values = latents.to_data().convert_dtype(DType::F32).try_to_vec::<f32>().ok()?;
        let plane = height * width;
        if channels != self.factors.len() || values.len() < channels * plane {
            return None;
        }
        let mut picture = RgbImage::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        for (place, pixel) in picture.pixels_mut().enumerate() {
            let mut rgb = self.bias;
            for (channel, factors) in self.factors.iter().enumerate() {
                let value = values[channel * plane + place];
                for (sum, factor) in rgb.iter_mut().zip(factors) {
                    *sum += value * factor;
                }
            }
            *pixel = Rgb(rgb.map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8));
        }
        Some(picture)
    }
}
