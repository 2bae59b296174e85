//! Loading a checkpoint onto a device.

use std::{collections::VecDeque, sync::Arc};

use burn::tensor::FloatDType;
use emberbrush_layers::weights::Weights;
use emberbrush_text_encoder::{
    ClipTextConfig, ClipTextModel, Tokenizer, TokenizerSettings, prompt::PromptSyntax,
};
use emberbrush_unet::{UNet2DConditionConfig, UNet2DConditionModel};
use emberbrush_vae::{AutoencoderKlConfig, Decoder, Encoder};
use serde::Deserialize;

use super::{
    DiffusionPipeline, defaults,
    text_encoders::{TextEncoders, TextPart, TextSource},
};
use crate::{
    checkpoint::{
        CheckpointError,
        component::ComponentWeights,
        files::CheckpointFiles,
        folder::{self, Family},
    },
    device::{ComputeDtype, OpenDevice},
    error::PipelineError,
    memory::MemorySettings,
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
        let dtype = device.float_dtype(dtype)?;
        let family = folder::family(files)?;
        let mut loader = Loader { files, device: &device, report: LoadReport::default() };

        let first = loader.text_part("text_encoder", "tokenizer", dtype)?;
        let (second, zeros_for_empty_prompt) = if family == Family::StableDiffusionXl {
            let PromptRules { force_zeros_for_empty_prompt } = files.json("model_index.json")?;
            let part = loader.text_part("text_encoder_2", "tokenizer_2", dtype)?;
            (Some(part), force_zeros_for_empty_prompt)
        } else {
            (None, false)
        };
        let checkpoint = files.name();
        let text = TextEncoders { checkpoint, first, second, zeros_for_empty_prompt };

        let unet_config: UNet2DConditionConfig = files.json("unet/config.json")?;
        let vae_config: AutoencoderKlConfig = files.json("vae/config.json")?;
        let latent_channels = vae_config.latent_channels;
        // Stable Diffusion's inpainting models take a mask and the latents of a masked image, too.
        let inpainting = defaults::is_inpainting_model(&unet_config, &vae_config);
        if unet_config.in_channels != latent_channels && !inpainting {
            return Err(CheckpointError::Unsupported {
                path: files.display("unet/config.json"),
                reason: format!(
                    "the UNet takes {} channels and the VAE makes {latent_channels}; models that \
                     take more than latents, a mask and a masked image (depth, pix2pix) are not \
                     supported",
                    unet_config.in_channels
                ),
            }
            .into());
        }
        let native_side = defaults::native_side(&unet_config);
        let unet = loader
            .component("unet", dtype, |weights| UNet2DConditionModel::new(&unet_config, weights))?;
        // Half precision overflows in the decoders of some checkpoints, and decoding is a small
        // part of a run.
        let vae = loader
            .component("vae", FloatDType::F32, |weights| Decoder::new(&vae_config, weights))?;

        let scheduler_config = defaults::scheduler_config(files)?;
        let scheduler_config = match family {
            Family::StableDiffusionXl => scheduler_config.for_stable_diffusion_xl(),
            _ => scheduler_config.for_stable_diffusion(),
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
            family,
            dtype,
            text: Arc::new(text),
            unet,
            inpainting,
            latent_channels,
            vae,
            vae_encoder: None,
            memory: None,
            wanted_memory: MemorySettings::FULL,
            used_memory: MemorySettings::FULL,
            vae_config,
            scheduler_config,
            latent_rgb,
            recommended: folder::recommended_settings(files)?,
            native_side,
            prompt_syntax: PromptSyntax::Literal,
            kept_prompts: VecDeque::new(),
            device,
        };
        Ok((pipeline, report))
    }
}

/// The encoder of the autoencoder, in f32 as its decoder.
pub(super) fn encoder(
    files: &CheckpointFiles,
    device: &OpenDevice,
    config: &AutoencoderKlConfig,
) -> Result<Encoder, CheckpointError> {
    let source = ComponentWeights::open(files, "vae")?;
    Ok(Encoder::new(config, &Weights::new(&source, &device.device, FloatDType::F32))?)
}

struct Loader<'a> {
    files: &'a CheckpointFiles,
    device: &'a OpenDevice,
    report: LoadReport,
}

impl Loader<'_> {
    /// Builds the network in the folder `name` from its weights.
    fn component<T>(
        &mut self,
        name: &str,
        dtype: FloatDType,
        build: impl FnOnce(&Weights<'_>) -> Result<T, emberbrush_layers::weights::WeightError>,
    ) -> Result<T, CheckpointError> {
        let source = ComponentWeights::open(self.files, name)?;
        let network = build(&Weights::new(&source, &self.device.device, dtype))?;
        self.report.unused_keys.extend(
            source
                .unused_keys()
                .into_iter()
                .filter(|key| !is_expected_unused(name, key))
                .map(|key| format!("{name}: {key}")),
        );
        Ok(network)
    }

    fn text_part(
        &mut self,
        encoder: &'static str,
        tokenizer: &str,
        dtype: FloatDType,
    ) -> Result<TextPart, CheckpointError> {
        let config: ClipTextConfig = self.files.json(&format!("{encoder}/config.json"))?;
        let model =
            self.component(encoder, dtype, |weights| ClipTextModel::new(&config, weights))?;
        let source = TextSource {
            files: self.files.clone(),
            component: encoder,
            config,
            device: self.device.clone(),
            dtype,
        };
        Ok(TextPart::new(self.tokenizer(tokenizer)?, source, model))
    }

    fn tokenizer(&self, name: &str) -> Result<Tokenizer, CheckpointError> {
        let broken =
            |reason: String| CheckpointError::Tokenizer { path: self.files.display(name), reason };
        let read = |file: &str| {
            let path = format!("{name}/{file}");
            match self.files.read_optional(&path)?.map(String::from_utf8) {
                None => Ok(None),
                Some(Ok(text)) => Ok(Some(text)),
                Some(Err(_)) => Err(broken(format!("{file} is not UTF-8 text"))),
            }
        };
        let settings = TokenizerSettings::new(
            read("tokenizer_config.json")?.as_deref(),
            read("special_tokens_map.json")?.as_deref(),
        )
        .map_err(|error| broken(error.to_string()))?;
        let tokenizer = match (read("vocab.json")?, read("merges.txt")?, read("tokenizer.json")?) {
            (Some(vocab), Some(merges), _) => {
                Tokenizer::from_vocab_and_merges(&vocab, &merges, &settings)
            }
            (_, _, Some(json)) => Tokenizer::from_tokenizer_json(&json, &settings),
            _ => {
                return Err(broken(
                    "neither vocab.json with merges.txt nor tokenizer.json is there".to_owned(),
                ));
            }
        };
        tokenizer.map_err(|error| broken(error.to_string()))
    }
}

/// Tensors that published files carry and a run does not need.
fn is_expected_unused(component: &str, key: &str) -> bool {
    match component {
        "vae" => key.starts_with("encoder.") || key.starts_with("quant_conv."),
        "unet" => false,
        _ => emberbrush_text_encoder::keys::expected_unused(key),
    }
}
