//! The most memory that each stage of a run holds.

use std::fmt;

use emberbrush_layers::{
    attention::AttentionSlicing,
    memory::{Kernels, Trace, Traced},
    weights::WeightError,
};
use serde::Serialize;

use super::{Enlargement, MemorySettings, ModelMemory, Pass, PromptSize, TextEncoderUse, Workload};
use crate::{editing::TILE, request::LATENT_CELL};

/// Bytes of an f32.
const F32_BYTES: u64 = 4;

/// How often the largest merged weight is in memory while it is merged: its stored values, they in
/// f32, the difference, and the sum.
const MERGED_COPIES: u64 = 4;

/// The parts of a run whose memory is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStage {
    /// The checkpoint is loaded.
    Load,
    /// Adapters are merged into the weights.
    MergeAdapters,
    /// The prompt is encoded.
    EncodePrompt,
    /// A picture becomes latents.
    EncodePicture,
    /// The UNet runs.
    Denoise,
    /// Latents become a picture.
    Decode,
    /// A network makes a picture larger.
    Enlarge,
}

impl fmt::Display for RunStage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Load => "loading",
            Self::MergeAdapters => "merging adapters",
            Self::EncodePrompt => "encoding the prompt",
            Self::EncodePicture => "encoding the picture",
            Self::Denoise => "denoising",
            Self::Decode => "decoding",
            Self::Enlarge => "enlarging",
        })
    }
}

/// The most memory of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StageMemory {
    /// The stage.
    pub stage: RunStage,
    /// Width in pixels of what is made; 0 where it has no size.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes of weights that are loaded then.
    pub weight_bytes: u64,
    /// Bytes beside them.
    pub working_bytes: u64,
}

impl StageMemory {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.weight_bytes.saturating_add(self.working_bytes)
    }
}

impl fmt::Display for StageMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.width, self.height) {
            (0, _) | (_, 0) => write!(formatter, "{}", self.stage),
            (width, height) => write!(formatter, "{} {width}×{height}", self.stage),
        }
    }
}

/// What runs a workload: where, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) model: &'a ModelMemory,
    pub(super) workload: &'a Workload,
    pub(super) kernels: Kernels,
    /// What the process holds before anything is loaded.
    pub(super) own_bytes: u64,
}

impl Run<'_> {
    /// All stages, in order.
    ///
    /// # Errors
    ///
    /// A configuration that no network could be built from.
    pub(super) fn stages(
        &self,
        settings: &MemorySettings,
    ) -> Result<Vec<StageMemory>, WeightError> {
        let model = self.model;
        let mut text = model.text_bytes();
        let mut networks = model.unet.bytes() + model.decoder.bytes();
        let held = self.own_bytes + self.workload.picture_bytes + model.embedded_bytes;
        let mut stages = Vec::new();
        let mut stage = |stage, size: (u32, u32), weight_bytes, working: u64| {
            let (width, height) = size;
            let working_bytes = working + held;
            stages.push(StageMemory { stage, width, height, weight_bytes, working_bytes });
        };
        let conversion = model
            .text
            .iter()
            .map(|(_, weights)| weights)
            .chain([&model.unet, &model.decoder])
            .map(|weights| weights.conversion_bytes)
            .max()
            .unwrap_or(0);
        stage(RunStage::Load, (0, 0), text + networks, conversion);
        networks += model.preview_bytes();
        if !model.adapters.is_empty() {
            let (in_text, elsewhere) = model.merged_bytes();
            text += in_text;
            networks += elsewhere;
            let merging = model.adapters.largest.saturating_mul(MERGED_COPIES * F32_BYTES);
            stage(RunStage::MergeAdapters, (0, 0), text + networks, merging);
        }
        stage(RunStage::EncodePrompt, (0, 0), text + networks, self.encode_prompts());

        let mut weights = match settings.text_encoder {
            TextEncoderUse::Keep => text + networks,
            TextEncoderUse::DropAfterEncoding => networks,
        };
        let (mut has_encoder, mut has_controlnets) = (false, false);
        let mut enlargement = self.workload.enlargement;
        let passes = &self.workload.passes;
        for place in 0..=passes.len() {
            if let Some(enlarges) = enlargement.take_if(|enlarges| enlarges.after == place) {
                // The network is kept for the next picture.
                weights += enlarges.parameters.saturating_mul(F32_BYTES);
                stage(RunStage::Enlarge, enlarges.size, weights, self.enlarge(&enlarges));
            }
            let Some(pass) = passes.get(place) else { break };
            let size = (pass.width, pass.height);
            if pass.encodes || model.is_inpainting_model() {
                if !has_encoder {
                    weights += model.encoder.bytes();
                    has_encoder = true;
                }
                let working = self.encode(pass, settings).max(model.encoder.conversion_bytes);
                stage(RunStage::EncodePicture, size, weights, working);
            }
            if !has_controlnets {
                weights += model.controlnet_bytes();
                has_controlnets = true;
            }
            stage(RunStage::Denoise, size, weights, self.denoise(pass, settings)?);
            stage(RunStage::Decode, size, weights, self.decode(pass, settings));
        }
        Ok(stages)
    }

    fn trace(&self, element_bytes: u64, slicing: AttentionSlicing) -> Trace {
        Trace::new(self.kernels, element_bytes, slicing)
    }

    /// `TextEncoders::encode` for each text, of which the result is held.
    fn encode_prompts(&self) -> u64 {
        let peak = self.model.text.iter().map(|(config, weights)| {
            let trace = self.trace(weights.element_bytes, AttentionSlicing::Off);
            let _encoded = self.encoded(&trace, 1);
            config.trace(&trace);
            trace.peak()
        });
        peak.max().unwrap_or(0)
    }

    /// The prompts of so many pictures, encoded.
    fn encoded(&self, trace: &Trace, pictures: usize) -> Traced {
        let (channels, tokens) = self.text_size();
        trace.tensor([pictures, channels, tokens * self.workload.prompts.encoded_chunks, 1])
    }

    /// Channels of encoded text, and tokens of a chunk.
    fn text_size(&self) -> (usize, usize) {
        self.model.text.iter().fold((0, 77), |(channels, _), (text, _)| {
            (channels + text.hidden_size, text.max_position_embeddings)
        })
    }

    fn denoise(&self, pass: &Pass, settings: &MemorySettings) -> Result<u64, WeightError> {
        let config = &self.model.unet_config;
        let trace = self.trace(self.model.unet.element_bytes, settings.attention_slicing);
        let pictures = settings.batch.max(1) as usize;
        // UNets that are told the guidance scale evaluate the prompt alone.
        let is_told_guidance = config.time_cond_proj_dim.is_some();
        let PromptSize { prompts, negative_chunks, positive_chunks, .. } = self.workload.prompts;
        let is_guided = self.workload.guided && !is_told_guidance || prompts > 1;
        // Negative prompts of another length are evaluated by themselves.
        let (batch, chunks) = match is_guided {
            true if negative_chunks == positive_chunks => (2 * pictures, positive_chunks),
            true => (pictures, negative_chunks.max(positive_chunks)),
            false => (pictures, positive_chunks),
        };
        let (width, height) = latent_size(pass);
        let latent_channels = self.model.vae_config.latent_channels();
        let (channels, tokens) = self.text_size();
        let _encoded = self.encoded(&trace, pictures);
        let text = trace.tensor([batch, channels, tokens * chunks, 1]);
        // The latents, and what the scheduler makes of them: with the last steps of a multistep
        // sampler, the noise, what is held of a picture, and what further prompts predict.
        let _latents: Vec<Traced> = (0..7 + prompts)
            .map(|_| trace.tensor([pictures, latent_channels, height, width]))
            .collect();
        let (_maps, residuals) = self.controlnets(&trace, &text, pictures, (width, height))?;
        let sample = trace.tensor([batch, config.in_channels, height, width]);
        // Of further prompts, too, each half as large as the guided pair.
        let kept_tokens = tokens * chunks * (prompts + 1).div_ceil(2);
        let _kept = config.trace_kept(&trace, sample.dims, kept_tokens, self.workload.kept)?;
        config.trace(&trace, sample, &text, residuals)?;
        if let Some(preview) = &self.model.preview {
            // `PreviewDecoder::decode` for the first picture, in f32.
            let latents = trace.tensor([1, latent_channels, height, width]);
            let pixels = preview.config.trace_decode(&trace, latents);
            as_picture(&trace, pixels);
        }
        let conversion = self.model.controlnets.iter().map(|(_, weights)| weights.conversion_bytes);
        Ok(trace.peak().max(conversion.max().unwrap_or(0)))
    }

    /// `Control::residuals`, and before it the embedding of maps, which are held.
    fn controlnets(
        &self,
        trace: &Trace,
        text: &Traced,
        pictures: usize,
        (width, height): (usize, usize),
    ) -> Result<(Vec<Traced>, Option<Vec<Traced>>), WeightError> {
        let configs = || self.model.controlnets.iter().map(|(config, _)| config);
        let cell = LATENT_CELL as usize;
        let maps = configs().map(|config| {
            let sides = [height * cell, width * cell];
            let map = [pictures, config.conditioning_channels, sides[0], sides[1]];
            config.trace_embed(trace, trace.tensor(map))
        });
        let maps = maps.collect::<Result<_, _>>()?;
        let mut sum: Option<Vec<Traced>> = None;
        for config in configs() {
            let sample = trace.tensor([text.dims[0], config.unet.in_channels, height, width]);
            let added = config.trace(trace, sample, text)?;
            sum = Some(match sum {
                None => added,
                Some(sum) => {
                    sum.into_iter().zip(added).map(|(one, other)| trace.add(one, other)).collect()
                }
            });
        }
        Ok((maps, sum))
    }

    /// `DiffusionPipeline::decode_to_float` for one picture of the batch.
    fn decode(&self, pass: &Pass, settings: &MemorySettings) -> u64 {
        let config = &self.model.vae_config;
        let trace = self.trace(F32_BYTES, settings.attention_slicing);
        let (width, height) = latent_size(pass);
        let pictures = settings.batch.max(1) as usize;
        let channels = config.latent_channels();
        let _all_latents = trace.tensor([pictures, channels, height, width]);
        let latents = trace.tensor([1, channels, height, width]);
        let pixels = match settings.vae_tiling.tile(width, height) {
            None => config.trace_decode(&trace, latents),
            Some(tile) => {
                let low = config.trace_decode_low(&trace, latents);
                let scale = config.downscale_factor();
                let tile = tile as usize;
                let part = [1, low.dims[1], height.min(tile), width.min(tile)];
                let whole = [1, config.out_channels(), height * scale, width * scale];
                in_tiles(&trace, low, part, whole, |part| config.trace_decode_high(&trace, part))
            }
        };
        as_picture(&trace, pixels);
        trace.peak()
    }

    /// `ImageUpscaler::enlarge` for one tile.
    fn enlarge(&self, enlargement: &Enlargement) -> u64 {
        let trace = self.trace(F32_BYTES, AttentionSlicing::Off);
        let longest = TILE * enlargement.config.folding as u32;
        let side = |side: u32| side.min(longest) as usize;
        let (width, height) = enlargement.size;
        let tile = trace.tensor([1, 3, side(height), side(width)]);
        let enlarged = enlargement.config.trace(&trace, tile);
        as_picture(&trace, enlarged);
        trace.peak()
    }

    /// `DiffusionPipeline::encode_image`.
    fn encode(&self, pass: &Pass, settings: &MemorySettings) -> u64 {
        let config = &self.model.vae_config;
        let trace = self.trace(F32_BYTES, settings.attention_slicing);
        let (width, height) = latent_size(pass);
        let scale = config.downscale_factor();
        let image = trace.tensor([1, config.in_channels(), height * scale, width * scale]);
        match settings.vae_tiling.tile(width, height) {
            None => config.trace_encode(&trace, image),
            Some(tile) => {
                let tile = tile as usize;
                let (rows, columns) = (height.min(tile), width.min(tile));
                let part = [1, config.in_channels(), rows * scale, columns * scale];
                let whole = [1, config.lowest_channels(), height, width];
                let low = in_tiles(&trace, image, part, whole, |part| {
                    config.trace_encode_high(&trace, part)
                });
                config.trace_encode_low(&trace, low)
            }
        };
        trace.peak()
    }
}

/// `DiffusionPipeline::in_tiles`: the whole input is held, what comes out is summed up on the CPU.
fn in_tiles(
    trace: &Trace,
    input: Traced,
    part: [usize; 4],
    whole: [usize; 4],
    network: impl Fn(Traced) -> Traced,
) -> Traced {
    let sums = trace.tensor(whole);
    let weights = trace.tensor([1, 1, whole[2], whole[3]]);
    let output = network(trace.tensor(part));
    drop(trace.like(&output));
    drop((output, weights, input));
    sums
}

/// Pixels in the order of a picture's bytes, and a copy of them.
fn as_picture(trace: &Trace, pixels: Traced) {
    let picture = trace.like(&pixels);
    drop(pixels);
    drop(trace.like(&picture));
}

fn latent_size(pass: &Pass) -> (usize, usize) {
    let side = |pixels: u32| (pixels / LATENT_CELL) as usize;
    (side(pass.width), side(pass.height))
}
