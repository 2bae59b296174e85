//! The text encoders of a checkpoint: from a prompt to hidden states.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::{FloatDType, Tensor, TensorData};
use emberbrush_layers::interrupt::Checkpoint;
use emberbrush_text_encoder::{
    Chunk, ClipTextConfig, ClipTextModel, ForwardError, Tokenizer, prompt::PromptSyntax,
};

use super::{
    components::Components,
    prompt_plan::Timed,
    vocabulary::{Vocabularies, Words},
};
use crate::{adapters::AdaptedNetwork, checkpoint::CheckpointError, error::PipelineError};

/// A text encoder and its tokenizer.
#[derive(Debug)]
pub(super) struct TextPart {
    pub(super) vocabularies: Vocabularies,
    source: TextSource,
    /// `None` while the weights are given up.
    model: Mutex<Option<Arc<ClipTextModel>>>,
}

/// Where a text encoder's weights are read from.
#[derive(Debug, Clone)]
pub(super) struct TextSource {
    pub(super) components: Components,
    /// The folder in the checkpoint.
    pub(super) component: &'static str,
    pub(super) config: ClipTextConfig,
    pub(super) dtype: FloatDType,
}

impl TextPart {
    pub(super) fn new(tokenizer: Tokenizer, source: TextSource, model: ClipTextModel) -> Self {
        let network = AdaptedNetwork::of_component(source.component);
        let network = network.unwrap_or(AdaptedNetwork::TextEncoder);
        let device = source.components.device().clone();
        let vocabularies = Vocabularies::new(tokenizer, network, device);
        Self { vocabularies, source, model: Mutex::new(Some(Arc::new(model))) }
    }

    /// Reads single tensors again, where the weights are not given up.
    pub(super) fn reload(&self, changed: &BTreeSet<String>) -> Result<(), CheckpointError> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        match model.as_mut().map(Arc::get_mut) {
            None => Ok(()),
            Some(Some(network)) => {
                let TextSource { components, component, dtype, .. } = &self.source;
                components.reload(component, *dtype, changed, |weights| network.reload(weights))
            }
            // Whoever still encodes with it keeps it; what comes later is read as a whole.
            Some(None) => {
                *model = None;
                Ok(())
            }
        }
    }

    /// The network, read again where its weights were given up.
    fn model(&self) -> Result<Arc<ClipTextModel>, PipelineError> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = &*model {
            return Ok(Arc::clone(model));
        }
        let TextSource { components, component, config, dtype } = &self.source;
        let read =
            components.build(component, *dtype, |weights| ClipTextModel::new(config, weights))?;
        Ok(Arc::clone(model.insert(Arc::new(read.network))))
    }
}

/// What of the text encoders' output a UNet is conditioned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextOutput {
    /// The last hidden state: Stable Diffusion 1 and 2.
    Last,
    /// The penultimate hidden states of all encoders side by side, and the pooled output of the
    /// last encoder: Stable Diffusion XL.
    PenultimateAndPooled,
}

/// The text encoders of a checkpoint, which threads share.
#[derive(Debug)]
pub(super) struct TextEncoders {
    /// The checkpoint's name, for messages.
    pub(super) checkpoint: String,
    pub(super) first: TextPart,
    /// SDXL's second.
    pub(super) second: Option<TextPart>,
    pub(super) output: TextOutput,
    /// Whether an absent negative prompt is zeros and not the encoding of nothing (SDXL).
    pub(super) zeros_for_empty_prompt: bool,
}

/// What the text encoders read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PromptTexts {
    pub(super) first: String,
    /// What SDXL's second encoder reads instead.
    pub(super) second: Option<String>,
}

impl PromptTexts {
    /// What each encoder reads.
    pub(super) fn each(&self) -> impl Iterator<Item = &str> {
        [&self.first, self.second.as_ref().unwrap_or(&self.first)].into_iter().map(String::as_str)
    }
}

/// A prompt as it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PromptKey {
    pub(super) texts: PromptTexts,
    /// The number of chunks, of which the last may be empty.
    pub(super) chunks: usize,
    pub(super) syntax: PromptSyntax,
    /// Counted from 1, as A1111 does.
    pub(super) clip_skip: u32,
    pub(super) words: Words,
}

/// One prompt, encoded.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    /// `[1, chunks · tokens, channels]`.
    pub(super) hidden: Tensor<3>,
    /// SDXL's pooled output, `[1, channels]`.
    pub(super) pooled: Option<Tensor<2>>,
}

impl Encoded {
    /// Zeros in its place, of as many chunks as are asked for where this has `own`.
    pub(super) fn zeros(&self, chunks: usize, own: usize) -> Self {
        let [batch, tokens, channels] = self.hidden.dims();
        let tokens = tokens / own.max(1) * chunks;
        let options = (&self.hidden.device(), self.hidden.dtype());
        Self {
            hidden: Tensor::zeros([batch, tokens, channels], options),
            pooled: self.pooled.as_ref().map(Tensor::zeros_like),
        }
    }
}

impl TextEncoders {
    /// Whether a negative prompt stands for zeros.
    pub(super) fn is_zeros(&self, negative: &Timed<PromptTexts>) -> bool {
        let is_empty = |texts: &PromptTexts| texts.each().all(str::is_empty);
        self.zeros_for_empty_prompt && negative.0.iter().all(|(_, texts)| is_empty(texts))
    }

    /// Gives up the weights, which are read again when they are needed.
    pub(super) fn drop_weights(&self) {
        for part in self.parts() {
            *part.model.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// The text encoder in the folder `component`.
    pub(super) fn part_of(&self, component: &str) -> Option<&TextPart> {
        self.parts().find(|part| part.source.component == component)
    }

    /// Each text encoder and the width of its hidden states.
    pub(super) fn widths(&self) -> Vec<(AdaptedNetwork, usize)> {
        let width = |part: &TextPart| {
            let network = AdaptedNetwork::of_component(part.source.component)?;
            Some((network, part.source.config.hidden_size))
        };
        self.parts().filter_map(width).collect()
    }

    fn parts(&self) -> impl Iterator<Item = &TextPart> {
        std::iter::once(&self.first).chain(&self.second)
    }

    /// How many chunks a prompt needs.
    pub(super) fn chunks(&self, texts: &PromptTexts, syntax: PromptSyntax, words: &Words) -> usize {
        let parts = self.parts().zip(texts.each());
        let chunks = parts.map(|(part, text)| {
            part.vocabularies.with(words).tokenizer.encode_chunks(text, syntax).len()
        });
        chunks.max().unwrap_or(1)
    }

    /// Encodes a prompt.
    pub(super) fn encode(
        &self,
        key: &PromptKey,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Encoded, PipelineError> {
        let chunks = key.chunks;
        let sequences: Vec<Vec<Chunk>> = self
            .parts()
            .zip(key.texts.each())
            .map(|(part, text)| {
                let tokenizer = &part.vocabularies.with(&key.words).tokenizer;
                let mut sequences = tokenizer.encode_chunks(text, key.syntax);
                let empty = tokenizer.encode_chunks("", key.syntax);
                sequences
                    .extend(empty.into_iter().cycle().take(chunks - sequences.len().min(chunks)));
                sequences
            })
            .collect();
        let mut hidden = Vec::with_capacity(chunks);
        let mut pooled = None;
        for index in 0..chunks {
            let mut states = Vec::new();
            for (text, sequences) in self.parts().zip(&sequences) {
                let chunk = &sequences[index];
                let model = text.model()?;
                let added = text.vocabularies.with(&key.words).added(key.syntax);
                let output = model
                    .forward_with(std::slice::from_ref(&chunk.ids), added.as_ref(), checkpoint)
                    .map_err(|error| self.text_error(error))?;
                let skipped = key.clip_skip.saturating_sub(1) as usize;
                let state = match self.output {
                    TextOutput::Last => output.hidden_layer_normalized(skipped),
                    TextOutput::PenultimateAndPooled => output.hidden_layer(skipped + 1),
                };
                let state = state.ok_or_else(|| {
                    self.cannot(&format!(
                        "its text encoders have too few layers for a clip skip of {}",
                        key.clip_skip
                    ))
                })?;
                states.push(weighted(state, chunk));
                // That of the last encoder and the first chunk.
                if index == 0 && self.output == TextOutput::PenultimateAndPooled {
                    pooled = output.text_embeds();
                }
            }
            hidden.push(Tensor::cat(states, 2));
        }
        Ok(Encoded { hidden: Tensor::cat(hidden, 1), pooled })
    }

    fn text_error(&self, error: ForwardError) -> PipelineError {
        match error {
            ForwardError::Cancelled(cancelled) => cancelled.into(),
            other => self.cannot(&other.to_string()),
        }
    }

    fn cannot(&self, reason: &str) -> PipelineError {
        PipelineError::Model { model: self.checkpoint.clone(), reason: reason.to_owned() }
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
