//! What a checkpoint's configuration says about requests to it.

use emberbrush_unet::{UNet2DConditionConfig, config::PerLevel};
use emberbrush_vae::{AutoencoderConfig, AutoencoderKlConfig};

use super::DiffusionPipeline;
use crate::{
    checkpoint::{
        files::CheckpointFiles,
        folder::{self, RecommendedSettings},
    },
    error::PipelineError,
    request::LATENT_CELL,
    schedulers::{Sampler, SchedulerConfig},
};

/// The sampler of checkpoints that name one that is unknown.
const FALLBACK_SAMPLER: Sampler = Sampler::Dpmpp2m;

/// The strength of fills by a checkpoint that was not trained to fill.
const FILL_STRENGTH: f64 = 0.75;

/// [`FILL_STRENGTH`] without a prompt, where the surroundings decide.
const SURROUNDINGS_STRENGTH: f64 = 0.5;

/// What stands in for settings that a person leaves open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckpointDefaults {
    /// What the checkpoint itself recommends.
    pub recommended: RecommendedSettings,
    /// The sampler that the checkpoint names, or DPM++ 2M where it names one that is unknown.
    pub sampler: Sampler,
    /// Side length in pixels of the pictures that the checkpoint was trained on.
    pub native_side: u32,
    /// Whether the UNet was trained to fill.
    pub is_inpainting_model: bool,
}

impl CheckpointDefaults {
    /// Where nothing is known of the checkpoint.
    pub const UNKNOWN: Self = Self {
        recommended: RecommendedSettings {
            width: None,
            height: None,
            steps: None,
            guidance_scale: None,
            match_colours: None,
        },
        sampler: FALLBACK_SAMPLER,
        native_side: 512,
        is_inpainting_model: false,
    };

    /// The strength of a fill for which none is asked: a checkpoint that was trained to fill
    /// begins with noise alone, with any other some of the colours around come through.
    pub fn fill_strength(&self, prompt: &str) -> f64 {
        match prompt.trim().is_empty() {
            _ if self.is_inpainting_model => 1.0,
            true => SURROUNDINGS_STRENGTH,
            false => FILL_STRENGTH,
        }
    }

    /// Whether a fill for which nothing else is asked takes the picture's colours at its border.
    pub fn matches_colours(&self, prompt: &str) -> bool {
        prompt.trim().is_empty() || self.recommended.match_colours.unwrap_or(true)
    }

    /// Reads a checkpoint's configuration files, and no weights.
    ///
    /// # Errors
    ///
    /// Where a file is missing or not understood.
    pub fn read(files: &CheckpointFiles) -> Result<Self, PipelineError> {
        folder::family(files)?;
        let unet: UNet2DConditionConfig = files.json("unet/config.json")?;
        let vae = "vae/config.json";
        // A single file may leave the autoencoder to another.
        let latent_channels = match files.contains(vae) {
            true => files.json::<AutoencoderConfig>(vae)?.latent_channels(),
            false => AutoencoderKlConfig::published().latent_channels,
        };
        Ok(Self {
            recommended: folder::recommended_settings(files)?,
            sampler: sampler(&scheduler_config(files)?),
            native_side: native_side(&unet),
            is_inpainting_model: is_inpainting_model(&unet, latent_channels),
        })
    }
}

impl DiffusionPipeline {
    /// What stands in for settings that a person leaves open.
    pub fn defaults(&self) -> CheckpointDefaults {
        CheckpointDefaults {
            recommended: self.recommended,
            sampler: sampler(&self.scheduler_config),
            native_side: self.native_side,
            is_inpainting_model: self.inpainting,
        }
    }
}

/// The scheduler's configuration as the checkpoint holds it.
pub(super) fn scheduler_config(files: &CheckpointFiles) -> Result<SchedulerConfig, PipelineError> {
    let text = files.read("scheduler/scheduler_config.json")?;
    Ok(SchedulerConfig::from_json(&String::from_utf8_lossy(&text))?)
}

fn sampler(config: &SchedulerConfig) -> Sampler {
    config.sampler().unwrap_or(FALLBACK_SAMPLER)
}

/// Whether the UNet takes a mask and the latents of a masked image beside latents.
pub(super) fn is_inpainting_model(unet: &UNet2DConditionConfig, latent_channels: usize) -> bool {
    unet.in_channels == 2 * latent_channels + 1
}

/// Side length in pixels that the UNet was trained for; Stable Diffusion 1's where it says none.
pub(super) fn native_side(config: &UNet2DConditionConfig) -> u32 {
    let latents = match &config.sample_size {
        Some(PerLevel::Same(size)) => Some(*size),
        Some(PerLevel::Each(sizes)) => sizes.iter().copied().max(),
        None => None,
    };
    latents
        .and_then(|size| u32::try_from(size).ok())
        .map_or(512, |size| size.saturating_mul(LATENT_CELL))
}
