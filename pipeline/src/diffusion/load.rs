//! Loading a checkpoint onto a device.

use std::{collections::VecDeque, sync::Arc};

use burn::tensor::FloatDType;
use emberbrush_layers::weights::{WeightError, Weights};
use emberbrush_text_encoder::{ClipTextConfig, ClipTextModel, prompt::PromptSyntax};
use emberbrush_unet::{UNet2DConditionConfig, UNet2DConditionModel};
use emberbrush_vae::{AnyDecoder, AnyEncoder, AutoencoderConfig};
use serde::Deserialize;

use super::{
    DiffusionPipeline,
    adapters::Adapters,
    components::Components,
    defaults,
    text_encoders::{TextEncoders, TextOutput, TextPart, TextSource},
};
use crate::{
    checkpoint::{
        CheckpointError,
        files::CheckpointFiles,
        folder::{self, Family},
        vae_override::VaeOverride,
    },
    device::{ComputeDtype, OpenDevice},
    error::PipelineError,
    memory::MemorySettings,
    metadata::VaeHash,
    preview::LatentRgbFactors,
};

/// What was noticed while loading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors that the files hold and nothing needs, as `unet: some.key`.
    pub unused_keys: Vec<String>,
}

/// Fields of `model_index.json` that change what a prompt means.
#[derive(Deserialize)]
struct PromptRules {
    #[serde(default = "yes")]
    force_zeros_for_empty_prompt: bool,
}

fn yes() -> bool {
    true
}

impl DiffusionPipeline {
    /// Loads a checkpoint.
    ///
    /// Nothing is loaded in part: a missing or misshapen tensor is an error, and tensors that
    /// nothing needs are reported.
    pub fn load(
        files: &CheckpointFiles,
        device: OpenDevice,
        dtype: ComputeDtype,
    ) -> Result<(Self, LoadReport), PipelineError> {
        Self::load_with(files, None, device, dtype)
    }

    /// [`load`](Self::load) with another autoencoder than the checkpoint's own.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load), and an autoencoder for another kind of latents.
    pub fn load_with(
        files: &CheckpointFiles,
        vae: Option<VaeOverride>,
        device: OpenDevice,
        dtype: ComputeDtype,
    ) -> Result<(Self, LoadReport), PipelineError> {
        let dtype = device.float_dtype(dtype)?;
        let family = folder::family(files)?;
        let vae_hash = vae.as_ref().map(|vae| Arc::new(VaeHash::start(vae)));
        let components = Components::new(files.clone(), vae, device.clone());
        let report = LoadReport { unused_keys: components.stray_keys() };
        let mut loader = Loader { components: &components, report };

        let text = loader.text_encoders(files, family, dtype)?;
        let unet_config: UNet2DConditionConfig = components.config("unet")?;
        let vae_config = components.vae_config()?;
        let latent_channels = vae_config.latent_channels();
        let inpainting = is_inpainting_model(files, &unet_config, latent_channels)?;
        let native_side = defaults::native_side(&unet_config);
        let unet = loader
            .network("unet", dtype, |weights| UNet2DConditionModel::new(&unet_config, weights))?;
        // Half precision overflows in the decoders of some checkpoints, and decoding is a small
        // part of a run.
        let vae = loader
            .network("vae", FloatDType::F32, |weights| AnyDecoder::new(&vae_config, weights))?;

        let scheduler_config = defaults::scheduler_config(files)?;
        let scheduler_config = if family.is_xl() {
            scheduler_config.for_stable_diffusion_xl()
        } else {
            scheduler_config.for_stable_diffusion()
        };
        let latent_rgb = if files.contains("latent_rgb.json") {
            files.json("latent_rgb.json")?
        } else {
            LatentRgbFactors::published(family)
        };
        let report = loader.report;
        let pipeline = Self {
            name: files.name(),
            files: files.clone(),
            components,
            family,
            dtype,
            text: Arc::new(text),
            unet,
            inpainting,
            latent_channels,
            controlnets: Vec::new(),
            vae,
            vae_hash,
            vae_encoder: None,
            memory: None,
            wanted_memory: MemorySettings::FULL,
            used_memory: MemorySettings::FULL,
            vae_config,
            scheduler_config,
            latent_rgb,
            preview_decoder: None,
            recommended: folder::recommended_settings(files)?,
            native_side,
            prompt_syntax: PromptSyntax::Literal,
            kept_prompts: VecDeque::new(),
            adapters: Adapters::default(),
            upscaler: None,
            device,
        };
        Ok((pipeline, report))
    }
}

/// Whether the UNet takes a mask and the latents of a masked image, too.
///
/// # Errors
///
/// A UNet that takes something else beside latents.
fn is_inpainting_model(
    files: &CheckpointFiles,
    unet: &UNet2DConditionConfig,
    latent_channels: usize,
) -> Result<bool, CheckpointError> {
    let inpainting = defaults::is_inpainting_model(unet, latent_channels);
    if unet.in_channels == latent_channels || inpainting {
        return Ok(inpainting);
    }
    Err(CheckpointError::Unsupported {
        path: files.display("unet/config.json"),
        reason: format!(
            "the UNet takes {} channels and the VAE makes {latent_channels}; models that take more \
             than latents, a mask and a masked image (depth, pix2pix) are not supported",
            unet.in_channels
        ),
    })
}

/// The encoder of the autoencoder, in f32 as its decoder.
pub(super) fn encoder(
    components: &Components,
    config: &AutoencoderConfig,
) -> Result<AnyEncoder, CheckpointError> {
    let built =
        components.build("vae", FloatDType::F32, |weights| AnyEncoder::new(config, weights))?;
    Ok(built.network)
}

struct Loader<'a> {
    components: &'a Components,
    report: LoadReport,
}

impl Loader<'_> {
    /// Builds the network in the folder `component`, and reports what its files hold beside it.
    fn network<T>(
        &mut self,
        component: &str,
        dtype: FloatDType,
        build: impl FnOnce(&Weights<'_>) -> Result<T, WeightError>,
    ) -> Result<T, CheckpointError> {
        let built = self.components.build(component, dtype, build)?;
        self.report.unused_keys.extend(built.unused_keys);
        Ok(built.network)
    }

    fn text_encoders(
        &mut self,
        files: &CheckpointFiles,
        family: Family,
        dtype: FloatDType,
    ) -> Result<TextEncoders, CheckpointError> {
        let first = match family {
            Family::StableDiffusionXlRefiner => {
                self.text_part("text_encoder_2", "tokenizer_2", dtype)?
            }
            _ => self.text_part("text_encoder", "tokenizer", dtype)?,
        };
        let second = match family {
            Family::StableDiffusionXl => {
                Some(self.text_part("text_encoder_2", "tokenizer_2", dtype)?)
            }
            _ => None,
        };
        let (output, zeros_for_empty_prompt) = if family.is_xl() {
            let PromptRules { force_zeros_for_empty_prompt } = files.json("model_index.json")?;
            (TextOutput::PenultimateAndPooled, force_zeros_for_empty_prompt)
        } else {
            (TextOutput::Last, false)
        };
        let checkpoint = files.name();
        Ok(TextEncoders { checkpoint, first, second, output, zeros_for_empty_prompt })
    }

    fn text_part(
        &mut self,
        encoder: &'static str,
        tokenizer: &str,
        dtype: FloatDType,
    ) -> Result<TextPart, CheckpointError> {
        let config: ClipTextConfig = self.components.config(encoder)?;
        let model = self.network(encoder, dtype, |weights| ClipTextModel::new(&config, weights))?;
        let components = self.components.clone();
        let source = TextSource { components, component: encoder, config, dtype };
        Ok(TextPart::new(self.components.tokenizer(tokenizer)?, source, model))
    }
}
