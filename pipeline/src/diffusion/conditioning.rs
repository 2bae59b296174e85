//! From prompts to what the UNet is conditioned on.

use std::sync::Arc;

use burn::tensor::Tensor;
use emberbrush_layers::interrupt::Checkpoint;
use emberbrush_text_encoder::prompt::PromptSyntax;

use super::{
    DiffusionPipeline,
    text_encoders::{Encoded, PromptKey, TextEncoders},
};
use crate::{
    checkpoint::folder::Family, device::OpenDevice, error::PipelineError,
    request::GenerationRequest,
};

/// What one batch of the UNet is conditioned on. With guidance the batch is
/// `[negative prompts, prompts]`, without it `[prompts]`.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// `[batch, tokens, channels]`.
    pub encoder_hidden_states: Tensor<3>,
    /// SDXL's pooled text and sizes.
    pub added: Option<PooledText>,
}

/// What Stable Diffusion XL is conditioned on beside the words.
#[derive(Debug, Clone)]
pub struct PooledText {
    /// The second encoder's projected output, `[batch, channels]`.
    pub text_embeds: Tensor<2>,
    /// For each of the batch: original height and width, top and left of the crop, target
    /// height and width, in pixels; for the refiner an aesthetic score in place of the last two.
    pub time_ids: Vec<f64>,
}

/// How many encoded prompts are kept for pictures to come.
const KEPT_PROMPTS: usize = 32;

/// A prompt that was encoded, and the result.
#[derive(Debug)]
pub(super) struct KeptPrompt {
    key: PromptKey,
    encoded: Encoded,
}

/// Prompts of pictures to come, to be encoded on another thread while the pipeline works.
#[derive(Debug)]
pub struct PromptsAhead {
    encoders: Arc<TextEncoders>,
    device: OpenDevice,
    keys: Vec<PromptKey>,
}

/// Prompts that were encoded ahead, for [`DiffusionPipeline::keep_prompts`].
#[derive(Debug)]
pub struct EncodedPrompts(Vec<KeptPrompt>);

impl PromptsAhead {
    /// Whether there is nothing to encode.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Encodes the prompts and waits until the device has done so.
    ///
    /// # Errors
    ///
    /// Where the text encoder refuses a prompt, the device fails, and
    /// [`PipelineError::Cancelled`] where `checkpoint` breaks.
    pub fn encode(self, checkpoint: &mut Checkpoint<'_>) -> Result<EncodedPrompts, PipelineError> {
        let mut kept = Vec::with_capacity(self.keys.len());
        for key in self.keys {
            let encoded = self.encoders.encode(&key, checkpoint)?;
            kept.push(KeptPrompt { key, encoded });
        }
        // What is handed to another thread must not be work that is still to be done.
        self.device.synchronise()?;
        Ok(EncodedPrompts(kept))
    }
}

impl DiffusionPipeline {
    /// Chooses how prompts are read. At first they are literal, as in diffusers.
    pub fn set_prompt_syntax(&mut self, syntax: PromptSyntax) {
        self.prompt_syntax = syntax;
    }

    /// Encodes the request's prompt and, with guidance, its negative prompt. Of prompts of
    /// different length the shorter is completed with chunks of nothing.
    ///
    /// Results are kept, so that pictures which share a prompt encode it once.
    pub fn encode_prompt(
        &mut self,
        request: &GenerationRequest,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Conditioning, PipelineError> {
        self.encode_prompts(&[request], checkpoint)
    }

    /// [`encode_prompt`](Self::encode_prompt) for pictures that are denoised at once: they have
    /// one [`GroupShape`](super::GroupShape), or the shorter prompts get chunks of nothing that
    /// they have not got alone.
    pub fn encode_prompts(
        &mut self,
        requests: &[&GenerationRequest],
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Conditioning, PipelineError> {
        let chunks = requests.iter().map(|request| self.prompt_chunks(request)).max();
        let chunks = chunks.unwrap_or(1);
        let (mut negatives, mut positives) = (Vec::new(), Vec::new());
        for request in requests {
            let positive = self.encode_kept(&request.prompt, chunks, checkpoint)?;
            if self.uses_negative_prompt(request) {
                negatives.push(if self.is_zeros(&request.negative_prompt) {
                    Encoded {
                        hidden: positive.hidden.zeros_like(),
                        pooled: positive.pooled.as_ref().map(Tensor::zeros_like),
                    }
                } else {
                    self.encode_kept(&request.negative_prompt, chunks, checkpoint)?
                });
            }
            positives.push(positive);
        }
        let size = |request: &GenerationRequest| (request.width, request.height);
        let sizes = requests.iter().map(|request| size(request));
        let sizes: Vec<_> = if negatives.is_empty() {
            sizes.collect()
        } else {
            sizes.clone().chain(sizes).collect()
        };
        let size_ids = match self.family {
            Family::StableDiffusionXlRefiner => {
                let negative = std::iter::repeat_n(NEGATIVE_AESTHETIC_SCORE, negatives.len());
                let positive = std::iter::repeat_n(AESTHETIC_SCORE, positives.len());
                let scores = negative.chain(positive);
                sizes
                    .iter()
                    .zip(scores)
                    .flat_map(|(&size, score)| refiner_ids(size, score))
                    .collect()
            }
            _ => sizes.iter().flat_map(|&size| size_ids(size)).collect(),
        };
        negatives.append(&mut positives);
        self.finish_with_text_encoders();
        Ok(conditioning(negatives, size_ids))
    }

    /// What of the prompts of `requests`, which will be denoised at once, is not encoded yet.
    pub fn prompts_ahead(&self, requests: &[&GenerationRequest]) -> PromptsAhead {
        let chunks = requests.iter().map(|request| self.prompt_chunks(request)).max();
        let chunks = chunks.unwrap_or(1);
        let mut keys: Vec<PromptKey> = Vec::new();
        for request in requests {
            let negative = Some(&request.negative_prompt)
                .filter(|negative| self.uses_negative_prompt(request) && !self.is_zeros(negative));
            for prompt in std::iter::once(&request.prompt).chain(negative) {
                let key = self.key(prompt, chunks);
                if !keys.contains(&key) && self.kept_prompts.iter().all(|kept| kept.key != key) {
                    keys.push(key);
                }
            }
        }
        keys.truncate(KEPT_PROMPTS / 2);
        if requests.iter().any(|request| !self.has_adapters(&request.adapters)) {
            // The text encoders are to change before.
            keys.clear();
        }
        if self.drops_text_encoders() {
            // There is no memory for them beside a run.
            keys.clear();
        }
        PromptsAhead { encoders: Arc::clone(&self.text), device: self.device.clone(), keys }
    }

    /// Takes what was encoded ahead, so that it is there when the pictures are made.
    pub fn keep_prompts(&mut self, EncodedPrompts(encoded): EncodedPrompts) {
        for kept in encoded {
            self.kept_prompts.retain(|other| other.key != kept.key);
            self.keep(kept);
        }
    }

    /// How many chunks the request's prompts need.
    pub(super) fn prompt_chunks(&self, request: &GenerationRequest) -> usize {
        let negative = self.uses_negative_prompt(request).then_some(&request.negative_prompt);
        std::iter::once(&request.prompt)
            .chain(negative)
            .map(|prompt| self.text.chunks(prompt, self.prompt_syntax))
            .max()
            .unwrap_or(1)
    }

    /// Whether a negative prompt stands for zeros.
    fn is_zeros(&self, negative: &str) -> bool {
        negative.is_empty() && self.text.zeros_for_empty_prompt
    }

    fn key(&self, prompt: &str, chunks: usize) -> PromptKey {
        PromptKey { prompt: prompt.to_owned(), chunks, syntax: self.prompt_syntax }
    }

    /// The encoded prompt, or what it gave before.
    fn encode_kept(
        &mut self,
        prompt: &str,
        chunks: usize,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Encoded, PipelineError> {
        let key = self.key(prompt, chunks);
        let place = self.kept_prompts.iter().position(|kept| kept.key == key);
        let kept = match place.and_then(|place| self.kept_prompts.remove(place)) {
            Some(kept) => kept,
            None => KeptPrompt { encoded: self.text.encode(&key, checkpoint)?, key },
        };
        let encoded = kept.encoded.clone();
        self.keep(kept);
        Ok(encoded)
    }

    fn keep(&mut self, kept: KeptPrompt) {
        self.kept_prompts.push_back(kept);
        if self.kept_prompts.len() > KEPT_PROMPTS {
            self.kept_prompts.pop_front();
        }
    }
}

/// What the refiner is told of the looks of the picture, and of what it should not be: diffusers'
/// defaults (`pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl_img2img.py`).
const AESTHETIC_SCORE: f64 = 6.0;
const NEGATIVE_AESTHETIC_SCORE: f64 = 2.5;

/// What Stable Diffusion XL is told of a picture's width and height: those of an original, where
/// it was cropped, and those wanted, each height first.
fn size_ids((width, height): (u32, u32)) -> [f64; 6] {
    let (height, width) = (f64::from(height), f64::from(width));
    [height, width, 0.0, 0.0, height, width]
}

/// The same for the refiner: the score stands in place of the wanted size.
fn refiner_ids((width, height): (u32, u32), aesthetic_score: f64) -> [f64; 5] {
    [f64::from(height), f64::from(width), 0.0, 0.0, aesthetic_score]
}

/// Joins encoded prompts, with what Stable Diffusion XL is told of their pictures.
fn conditioning(batch: Vec<Encoded>, time_ids: Vec<f64>) -> Conditioning {
    let (hidden, pooled): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|encoded| (encoded.hidden, encoded.pooled)).unzip();
    let pooled: Option<Vec<_>> = pooled.into_iter().collect();
    let added = pooled.map(|pooled| PooledText { text_embeds: Tensor::cat(pooled, 0), time_ids });
    Conditioning { encoder_hidden_states: Tensor::cat(hidden, 0), added }
}
