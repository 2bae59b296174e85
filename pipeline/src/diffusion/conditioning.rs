//! From a prompt to what the UNet is conditioned on.

use burn::tensor::{Tensor, TensorData};
use emberbrush_layers::interrupt::Checkpoint;
use emberbrush_text_encoder::{Chunk, ForwardError, prompt::PromptSyntax};

use super::{DiffusionPipeline, TextPart};
use crate::{error::PipelineError, request::GenerationRequest};

/// What one batch of the UNet is conditioned on. With guidance the batch is
/// `[negative, positive]`, without it `[positive]`.
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
    /// height and width, in pixels.
    pub time_ids: Vec<f64>,
}

/// All of a request that conditioning depends on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prompts {
    prompt: String,
    /// `None` without guidance.
    negative: Option<String>,
    size: (u32, u32),
    syntax: PromptSyntax,
}

/// How many encoded prompts are kept for images to come.
const KEPT_PROMPTS: usize = 16;

/// A prompt that was encoded: its text, in how many chunks, and the result.
#[derive(Debug)]
pub(super) struct KeptPrompt {
    prompt: String,
    chunks: usize,
    syntax: PromptSyntax,
    encoded: Encoded,
}

/// One prompt, encoded.
#[derive(Debug, Clone)]
struct Encoded {
    /// `[1, chunks · tokens, channels]`.
    hidden: Tensor<3>,
    /// SDXL's pooled output, `[1, channels]`.
    pooled: Option<Tensor<2>>,
}

impl DiffusionPipeline {
    /// Chooses how prompts are read. At first they are literal, as in diffusers.
    pub fn set_prompt_syntax(&mut self, syntax: PromptSyntax) {
        self.prompt_syntax = syntax;
    }

    /// Encodes the request's prompt and, with guidance, its negative prompt. Of prompts of
    /// different length the shorter is completed with chunks of nothing.
    ///
    /// The last result is kept, so that images which differ in their seed alone encode once.
    pub fn encode_prompt(
        &mut self,
        request: &GenerationRequest,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Conditioning, PipelineError> {
        let prompts = Prompts {
            prompt: request.prompt.clone(),
            negative: request.uses_guidance().then(|| request.negative_prompt.clone()),
            size: (request.width, request.height),
            syntax: self.prompt_syntax,
        };
        if let Some((last, conditioning)) = &self.last_conditioning
            && *last == prompts
        {
            return Ok(conditioning.clone());
        }
        let chunks = [Some(&prompts.prompt), prompts.negative.as_ref()]
            .into_iter()
            .flatten()
            .map(|prompt| self.chunks(prompt))
            .max()
            .unwrap_or(1);
        let positive = self.encode_kept(&prompts.prompt, chunks, checkpoint)?;
        let mut batch = vec![positive];
        if let Some(negative) = &prompts.negative {
            let negative = if negative.is_empty() && self.zeros_for_empty_prompt {
                Encoded {
                    hidden: batch[0].hidden.zeros_like(),
                    pooled: batch[0].pooled.as_ref().map(Tensor::zeros_like),
                }
            } else {
                self.encode_kept(negative, chunks, checkpoint)?
            };
            batch.insert(0, negative);
        }
        let conditioning = Self::conditioning(batch, request);
        self.last_conditioning = Some((prompts, conditioning.clone()));
        Ok(conditioning)
    }

    fn texts(&self) -> impl Iterator<Item = &TextPart> {
        std::iter::once(&self.text).chain(&self.text_2)
    }

    /// How many chunks a prompt needs.
    fn chunks(&self, prompt: &str) -> usize {
        let chunks = |text: &TextPart| text.tokenizer.encode_chunks(prompt, self.prompt_syntax);
        self.texts().map(|text| chunks(text).len()).max().unwrap_or(1)
    }

    /// [`Self::encode_one`], or what it gave before.
    fn encode_kept(
        &mut self,
        prompt: &str,
        chunks: usize,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Encoded, PipelineError> {
        let syntax = self.prompt_syntax;
        let place = self.kept_prompts.iter().position(|kept| {
            kept.prompt == prompt && kept.chunks == chunks && kept.syntax == syntax
        });
        let kept = match place.and_then(|place| self.kept_prompts.remove(place)) {
            Some(kept) => kept,
            None => {
                let encoded = self.encode_one(prompt, chunks, checkpoint)?;
                KeptPrompt { prompt: prompt.to_owned(), chunks, syntax, encoded }
            }
        };
        let encoded = kept.encoded.clone();
        self.kept_prompts.push_back(kept);
        if self.kept_prompts.len() > KEPT_PROMPTS {
            self.kept_prompts.pop_front();
        }
        Ok(encoded)
    }

    /// Encodes a prompt in `chunks` chunks, the last of which may be empty.
    fn encode_one(
        &self,
        prompt: &str,
        chunks: usize,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Encoded, PipelineError> {
        let sequences: Vec<Vec<Chunk>> = self
            .texts()
            .map(|text| {
                let mut sequences = text.tokenizer.encode_chunks(prompt, self.prompt_syntax);
                let empty = text.tokenizer.encode_chunks("", self.prompt_syntax);
                sequences
                    .extend(empty.into_iter().cycle().take(chunks - sequences.len().min(chunks)));
                sequences
            })
            .collect();
        let mut hidden = Vec::with_capacity(chunks);
        let mut pooled = None;
        for index in 0..chunks {
            let mut parts = Vec::new();
            for (text, sequences) in self.texts().zip(&sequences) {
                let chunk = &sequences[index];
                let output = text
                    .model
                    .forward(std::slice::from_ref(&chunk.ids), checkpoint)
                    .map_err(|error| self.text_error(error))?;
                let states = if self.text_2.is_none() {
                    output.last_hidden_state()
                } else {
                    output.hidden_layer(1).ok_or_else(|| {
                        self.cannot("its text encoders have fewer than two layers")
                    })?
                };
                parts.push(weighted(states, chunk));
                // That of the last encoder and the first chunk.
                if index == 0 && self.text_2.is_some() {
                    pooled = output.text_embeds();
                }
            }
            hidden.push(Tensor::cat(parts, 2));
        }
        Ok(Encoded { hidden: Tensor::cat(hidden, 1), pooled })
    }

    fn conditioning(batch: Vec<Encoded>, request: &GenerationRequest) -> Conditioning {
        let size = batch.len();
        let (hidden, pooled): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|encoded| (encoded.hidden, encoded.pooled)).unzip();
        let pooled: Option<Vec<_>> = pooled.into_iter().collect();
        let added = pooled.map(|pooled| {
            let (height, width) = (f64::from(request.height), f64::from(request.width));
            PooledText {
                text_embeds: Tensor::cat(pooled, 0),
                time_ids: [height, width, 0.0, 0.0, height, width].repeat(size),
            }
        });
        Conditioning { encoder_hidden_states: Tensor::cat(hidden, 0), added }
    }

    fn text_error(&self, error: ForwardError) -> PipelineError {
        match error {
            ForwardError::Cancelled(cancelled) => cancelled.into(),
            other => self.cannot(&other.to_string()),
        }
    }

    fn cannot(&self, reason: &str) -> PipelineError {
        PipelineError::Model { model: self.name.clone(), reason: reason.to_owned() }
    }
}

/// Multiplies hidden states with the weights of their tokens and then brings their mean back to
/// what it was (AUTOMATIC1111, `modules/sd_emphasis.py`, `EmphasisOriginal`).
fn weighted(hidden: Tensor<3>, chunk: &Chunk) -> Tensor<3> {
    if !chunk.is_weighted() {
        return hidden;
    }
    let mean = |states: &Tensor<3>| {
        let mean = states.clone().mean().to_data().convert::<f32>().try_to_vec::<f32>();
        mean.ok().and_then(|values| values.first().copied()).unwrap_or_default()
    };
    let weights = TensorData::new(chunk.weights.clone(), [1, chunk.weights.len(), 1]);
    let weights = Tensor::<3>::from_data(weights, &hidden.device()).cast(hidden.dtype());
    let before = mean(&hidden);
    let weighted = hidden * weights;
    let ratio = before / mean(&weighted);
    // Weights that cancel out leave no mean to compare with.
    if ratio.is_finite() { weighted * ratio } else { weighted }
}
