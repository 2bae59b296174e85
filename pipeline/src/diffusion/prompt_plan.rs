//! What the prompts of a request say over the steps of a run.

use std::collections::BTreeSet;

use emberbrush_text_encoder::prompt::{
    Prompt, PromptError, PromptSyntax, RunSteps, ScheduledText, Subprompt, schedule,
};

use super::{components::load_tokenizer, text_encoders::PromptTexts, vocabulary::Words};
use crate::{
    checkpoint::files::CheckpointFiles, error::PipelineError, memory::PromptSize,
    request::GenerationRequest, schedulers::Compat,
};

/// Texts, each with the last step, from 1, for which it holds.
#[derive(Debug, Clone)]
pub(super) struct Timed<T>(pub(super) Vec<(u32, T)>);

impl<T> Timed<T> {
    /// Which of them holds at a position: a step from 1, or, as A1111 counts, an evaluation from
    /// 0. Beyond the end the last one goes on, but for A1111, where the first returns.
    pub(super) fn at(&self, position: u32, compat: Compat) -> usize {
        let beyond = match compat {
            Compat::Diffusers => self.0.len() - 1,
            Compat::A1111 => 0,
        };
        self.0.iter().position(|(until, _)| position <= *until).unwrap_or(beyond)
    }

    pub(super) fn try_map<U, E>(
        &self,
        mut map: impl FnMut(&T) -> Result<U, E>,
    ) -> Result<Timed<U>, E> {
        let mapped = self.0.iter().map(|(until, value)| Ok((*until, map(value)?)));
        mapped.collect::<Result<_, _>>().map(Timed)
    }
}

/// What a request's prompts say over the steps of a run.
#[derive(Debug, Clone)]
pub(super) struct PromptPlan {
    /// `None` without guidance.
    pub(super) negative: Option<Timed<PromptTexts>>,
    /// What `AND` joins, with its weights; at least one.
    pub(super) positives: Vec<(Timed<PromptTexts>, f64)>,
    pub(super) chunks: ChunkCounts,
    /// What they may name.
    pub(super) words: Words,
}

/// How many chunks prompts need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkCounts {
    pub(super) negative: usize,
    pub(super) positive: usize,
}

impl ChunkCounts {
    pub(super) const ONE: Self = Self { negative: 1, positive: 1 };

    /// Room for either.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            negative: self.negative.max(other.negative),
            positive: self.positive.max(other.positive),
        }
    }
}

/// How a request's steps are counted in its prompts: as evaluations where A1111 counts those.
/// `made` are the steps of a second pass.
pub(super) fn run_steps(request: &GenerationRequest, second_pass: Option<SecondPass>) -> RunSteps {
    let second_order = request.compat == Compat::A1111 && request.sampler.is_second_order();
    let evaluations = |steps: u32| if second_order { steps.saturating_mul(2) } else { steps };
    match second_pass {
        None => RunSteps::new(evaluations(request.steps)),
        Some(SecondPass { made, first_pass }) => {
            RunSteps { steps: evaluations(made), first_pass: Some(evaluations(first_pass)) }
        }
    }
}

/// A run over a picture that an earlier run of the same request made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SecondPass {
    /// The steps that it makes.
    pub(super) made: u32,
    /// The steps of the earlier run.
    pub(super) first_pass: u32,
}

impl PromptPlan {
    pub(super) fn new(
        request: &GenerationRequest,
        steps: RunSteps,
        syntax: PromptSyntax,
        is_guided: bool,
        words: &Words,
        chunks_of: impl Fn(&PromptTexts) -> usize,
    ) -> Result<Self, PromptError> {
        let options = &request.conditioning;
        let subprompts = match syntax {
            PromptSyntax::Weighted => Prompt::read(&request.prompt)?.subprompts,
            PromptSyntax::Literal => {
                vec![Subprompt { text: request.prompt.clone(), weight: 1.0 }]
            }
        };
        let timed = |text: &str| match syntax {
            PromptSyntax::Weighted => schedule(text, steps),
            PromptSyntax::Literal => {
                Ok(vec![ScheduledText { until: steps.steps, text: text.to_owned() }])
            }
        };
        // LoRAs belong to the prompt; elsewhere they are as good as absent.
        let without_loras = |text: &str| match syntax {
            PromptSyntax::Weighted => Prompt::read(text).map(|prompt| prompt.text),
            PromptSyntax::Literal => Ok(text.to_owned()),
        };
        let second = |text: &Option<String>| {
            text.as_deref().map(|text| timed(&without_loras(text)?)).transpose()
        };
        let second_positive = second(&options.prompt_2)?;
        let positives = subprompts
            .iter()
            .map(|part| Ok((joined(timed(&part.text)?, second_positive.clone()), part.weight)))
            .collect::<Result<Vec<_>, PromptError>>()?;
        let composes = positives.len() > 1;
        let negative = if is_guided || composes {
            let first = timed(&without_loras(&request.negative_prompt)?)?;
            Some(joined(first, second(&options.negative_2)?))
        } else {
            None
        };
        let count = |texts: &[&Timed<PromptTexts>]| {
            let distinct: BTreeSet<_> =
                texts.iter().flat_map(|texts| texts.0.iter().map(|(_, texts)| texts)).collect();
            distinct.into_iter().map(&chunks_of).max().unwrap_or(1)
        };
        let all: Vec<_> = positives.iter().map(|(texts, _)| texts).collect();
        let mut chunks = ChunkCounts {
            positive: count(&all),
            negative: negative.as_ref().map_or(1, |negative| count(&[negative])),
        };
        if request.compat == Compat::Diffusers {
            // Both go through the UNet at once, the shorter one completed.
            let most = chunks.positive.max(chunks.negative);
            chunks = ChunkCounts { negative: most, positive: most };
        }
        Ok(Self { negative, positives, chunks, words: words.clone() })
    }

    /// How long the prompts are.
    pub(super) fn size(&self) -> PromptSize {
        let ChunkCounts { negative, positive } = self.chunks;
        let texts = |prompt: &Timed<PromptTexts>| prompt.0.len();
        let positives: usize = self.positives.iter().map(|(prompt, _)| texts(prompt)).sum();
        PromptSize {
            prompts: self.positives.len(),
            negative_chunks: negative,
            positive_chunks: positive,
            encoded_chunks: positives * positive
                + self.negative.as_ref().map_or(0, texts) * negative,
        }
    }
}

/// How long the prompts of a request are for a checkpoint that is not loaded. Names of embeddings
/// are taken as the words that they are made of.
///
/// # Errors
///
/// Where a prompt or the checkpoint's tokenizer cannot be read.
pub(crate) fn prompt_size(
    files: &CheckpointFiles,
    request: &GenerationRequest,
    syntax: PromptSyntax,
) -> Result<PromptSize, PipelineError> {
    let options = &request.conditioning;
    let second = [&options.prompt_2, &options.negative_2].into_iter().flatten();
    if [&request.prompt, &request.negative_prompt].into_iter().chain(second).all(String::is_empty) {
        return Ok(PromptSize::SHORT);
    }
    let mut tokenizers = Vec::new();
    for name in ["tokenizer", "tokenizer_2"] {
        // The refiner has the second alone.
        if files.contains(&format!("{name}/vocab.json"))
            || files.contains(&format!("{name}/tokenizer.json"))
        {
            tokenizers.push(load_tokenizer(files, name)?);
        }
    }
    let chunks_of = |texts: &PromptTexts| {
        let parts = tokenizers.iter().zip(texts.each());
        let counts = parts.map(|(tokenizer, text)| tokenizer.encode_chunks(text, syntax).len());
        counts.max().unwrap_or(1)
    };
    let (steps, is_guided) = (run_steps(request, None), request.uses_guidance());
    let plan = PromptPlan::new(request, steps, syntax, is_guided, &Words::default(), chunks_of)?;
    Ok(plan.size())
}

/// What both text encoders read over the steps.
fn joined(first: Vec<ScheduledText>, second: Option<Vec<ScheduledText>>) -> Timed<PromptTexts> {
    let Some(second) = second else {
        let texts = first.into_iter().map(|ScheduledText { until, text }| {
            (until, PromptTexts { first: text, second: None })
        });
        return Timed(texts.collect());
    };
    let ends: BTreeSet<u32> = first.iter().chain(&second).map(|text| text.until).collect();
    let at = |texts: &[ScheduledText], step: u32| {
        let text = texts.iter().find(|text| step <= text.until).or(texts.last());
        text.map(|text| text.text.clone()).unwrap_or_default()
    };
    let texts = ends.into_iter().map(|until| {
        (until, PromptTexts { first: at(&first, until), second: Some(at(&second, until)) })
    });
    Timed(texts.collect())
}
