//! Checkpoints in Hugging Face layout: `model_index.json` and a folder for each part.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    CheckpointError, few_steps::FewSteps, files::CheckpointFiles, single_file::SingleFile,
};

/// The kind of model, which decides how a prompt becomes conditioning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Family {
    /// Stable Diffusion 1.x and what shares its parts, the model in the box included.
    #[serde(rename = "sd1")]
    StableDiffusion1,
    /// Stable Diffusion 2.x.
    #[serde(rename = "sd2")]
    StableDiffusion2,
    /// Stable Diffusion XL.
    #[serde(rename = "sdxl")]
    StableDiffusionXl,
    /// The refiner of Stable Diffusion XL: one text encoder, and pictures rated by their looks.
    #[serde(rename = "sdxl-refiner")]
    StableDiffusionXlRefiner,
}

impl Family {
    /// The name that people know.
    pub fn name(self) -> &'static str {
        match self {
            Self::StableDiffusion1 => "Stable Diffusion 1.x",
            Self::StableDiffusion2 => "Stable Diffusion 2.x",
            Self::StableDiffusionXl => "Stable Diffusion XL",
            Self::StableDiffusionXlRefiner => "Stable Diffusion XL refiner",
        }
    }

    /// Whether it is Stable Diffusion XL or its refiner.
    pub fn is_xl(self) -> bool {
        matches!(self, Self::StableDiffusionXl | Self::StableDiffusionXlRefiner)
    }
}

/// `model_index.json`: the pipeline class of the whole checkpoint.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelIndex {
    /// `_class_name`, such as `StableDiffusionPipeline`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// `requires_aesthetics_score`: whether the UNet is told how good the picture should look, as
    /// the refiner is.
    #[serde(default)]
    pub requires_aesthetics_score: bool,
}

/// What a checkpoint itself recommends; all of it optional, in `defaults.json` beside
/// `model_index.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct RecommendedSettings {
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Number of denoising steps.
    pub steps: Option<u32>,
    /// Strength of classifier-free guidance.
    pub guidance_scale: Option<f64>,
    /// Whether what fills a mask takes the picture's colours at its border where the prompt asks
    /// for something; without a prompt it always does.
    pub match_colours: Option<bool>,
}

/// What of a UNet's configuration tells the family.
#[derive(Debug, Deserialize)]
struct UNetTraits {
    #[serde(default)]
    use_linear_projection: bool,
}

/// Finds the files of the checkpoint at `path`: a folder in Hugging Face layout or a single file.
///
/// # Errors
///
/// Where there is nothing, and where it is no checkpoint that can be used, which is named for what
/// it is.
pub fn locate(path: &Path) -> Result<CheckpointFiles, CheckpointError> {
    locate_with_config(path, None)
}

/// [`locate`], where the configuration files in the folder `config` go before those that a single
/// file stands for.
///
/// # Errors
///
/// Those of [`locate`]; and a `config` that is no folder, or that is given beside a folder, which
/// has configurations of its own.
pub fn locate_with_config(
    path: &Path,
    config: Option<&Path>,
) -> Result<CheckpointFiles, CheckpointError> {
    let shown = path.display().to_string();
    if let Some(config) = config.filter(|config| !config.is_dir()) {
        return Err(CheckpointError::NotFound { path: config.display().to_string() });
    }
    if path.is_file() {
        return Ok(CheckpointFiles::SingleFile(Arc::new(SingleFile::open(path, config)?)));
    }
    if !path.is_dir() {
        return Err(CheckpointError::NotFound { path: shown });
    }
    if !path.join("model_index.json").is_file() {
        return Err(CheckpointError::NotACheckpoint { path: shown });
    }
    if config.is_some() {
        let reason = "this is a folder with configuration files of its own; --config is for \
                      single files";
        return Err(CheckpointError::Unsupported { path: shown, reason: reason.to_owned() });
    }
    Ok(CheckpointFiles::Folder(path.to_owned()))
}

/// Recognises the family from `model_index.json` and the UNet's configuration.
pub fn family(files: &CheckpointFiles) -> Result<Family, CheckpointError> {
    let ModelIndex { class_name, requires_aesthetics_score } = files.json("model_index.json")?;
    match class_name.as_str() {
        "StableDiffusionXLPipeline"
        | "StableDiffusionXLImg2ImgPipeline"
        | "StableDiffusionXLInpaintPipeline" => Ok(if requires_aesthetics_score {
            Family::StableDiffusionXlRefiner
        } else {
            Family::StableDiffusionXl
        }),
        "StableDiffusionPipeline"
        | "StableDiffusionImg2ImgPipeline"
        | "StableDiffusionInpaintPipeline" => {
            let UNetTraits { use_linear_projection } = files.json("unet/config.json")?;
            Ok(if use_linear_projection {
                Family::StableDiffusion2
            } else {
                Family::StableDiffusion1
            })
        }
        other => Err(CheckpointError::Unsupported {
            path: files.display("model_index.json"),
            reason: format!(
                "this is a {other} checkpoint; Stable Diffusion 1.x, 2.x and XL are supported"
            ),
        }),
    }
}

/// What the checkpoint recommends: what it says itself, or else what suits checkpoints that were
/// distilled to draw in few steps; nothing for others.
pub fn recommended_settings(
    files: &CheckpointFiles,
) -> Result<RecommendedSettings, CheckpointError> {
    if files.contains("defaults.json") {
        return files.json("defaults.json");
    }
    let few_steps = FewSteps::of_checkpoint(files)?;
    Ok(few_steps.map_or_else(RecommendedSettings::default, |few_steps| {
        few_steps.recommended(&files.name())
    }))
}
