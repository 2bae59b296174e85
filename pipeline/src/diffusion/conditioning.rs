//! From a prompt to what the UNet is conditioned on.

use burn::tensor::Tensor;
use emberbrush_layers::interrupt::Checkpoint;
use emberbrush_text_encoder::ForwardError;

use super::DiffusionPipeline;
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
}

/// One prompt, encoded.
struct Encoded {
    /// `[1, tokens, channels]`.
    hidden: Tensor<3>,
    /// SDXL's pooled output, `[1, channels]`.
    pooled: Option<Tensor<2>>,
}

impl DiffusionPipeline {
    /// Encodes the request's prompt and, with guidance, its negative prompt.
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
        };
        if let Some((last, conditioning)) = &self.last_conditioning
            && *last == prompts
        {
            return Ok(conditioning.clone());
        }
        let positive = self.encode_one(&prompts.prompt, checkpoint)?;
        let mut batch = vec![positive];
        if let Some(negative) = &prompts.negative {
            let negative = if negative.is_empty() && self.zeros_for_empty_prompt {
                Encoded {
                    hidden: batch[0].hidden.zeros_like(),
                    pooled: batch[0].pooled.as_ref().map(Tensor::zeros_like),
                }
            } else {
                self.encode_one(negative, checkpoint)?
            };
            batch.insert(0, negative);
        }
        let conditioning = Self::conditioning(batch, request);
        self.last_conditioning = Some((prompts, conditioning.clone()));
        Ok(conditioning)
    }

    fn encode_one(
        &self,
        prompt: &str,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Encoded, PipelineError> {
        let first = self.text.tokenizer.encode_padded(prompt).ids;
        let output = self
            .text
            .model
            .forward(&[first], checkpoint)
            .map_err(|error| self.text_error(error))?;
        let Some(text_2) = &self.text_2 else {
            return Ok(Encoded { hidden: output.last_hidden_state(), pooled: None });
        };
        let second = text_2.tokenizer.encode_padded(prompt).ids;
        let output_2 =
            text_2.model.forward(&[second], checkpoint).map_err(|error| self.text_error(error))?;
        let hidden = [output.hidden_layer(1), output_2.hidden_layer(1)]
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.cannot("its text encoders have fewer than two layers"))?;
        Ok(Encoded { hidden: Tensor::cat(hidden, 2), pooled: output_2.text_embeds() })
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
