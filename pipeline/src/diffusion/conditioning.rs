//! From prompts to what the UNet is conditioned on.

use std::sync::Arc;

use burn::tensor::Tensor;
use emberbrush_layers::interrupt::Checkpoint;
use emberbrush_text_encoder::prompt::PromptSyntax;

use super::{
    DiffusionPipeline,
    prompt_plan::{ChunkCounts, PromptPlan, SecondPass, Timed, run_steps},
    text_encoders::{Encoded, PromptKey, PromptTexts, TextEncoders},
    vocabulary::Words,
};
use crate::{
    checkpoint::folder::Family,
    device::OpenDevice,
    error::PipelineError,
    request::{GenerationRequest, RequestError, SizeConditions},
    schedulers::Compat,
};

/// What the pictures of a run are conditioned on, over its steps.
#[derive(Debug, Clone)]
pub struct Conditioning {
    pictures: Vec<PictureConditioning>,
    compat: Compat,
}

/// What a picture is conditioned on, over the steps.
#[derive(Debug, Clone)]
struct PictureConditioning {
    /// `None` without guidance.
    negative: Option<Timed<Encoded>>,
    /// What `AND` joins, with its weights.
    positives: Vec<(Timed<Encoded>, f64)>,
    /// What Stable Diffusion XL is told of the picture beside the prompts.
    negative_ids: Vec<f64>,
    positive_ids: Vec<f64>,
}

/// What the UNet is conditioned on at a step.
#[derive(Debug, Clone)]
pub struct StepConditioning {
    /// One for each evaluation. Taken together they hold the negative prompts of all pictures,
    /// where there is guidance, and then the prompts of all pictures as often as `AND` joins some.
    pub batches: Vec<UNetConditioning>,
}

/// What one evaluation of the UNet is conditioned on.
#[derive(Debug, Clone)]
pub struct UNetConditioning {
    /// `[batch, tokens, channels]`.
    pub encoder_hidden_states: Tensor<3>,
    /// SDXL's pooled text and sizes.
    pub added: Option<PooledText>,
}

impl Conditioning {
    /// What the UNet is conditioned on at a step from 1; for A1111, at an evaluation from 0.
    pub fn at(&self, position: u32) -> StepConditioning {
        self.of_texts(&self.texts_at(position))
    }

    /// Which of its texts each prompt of each picture has.
    pub(super) fn texts_at(&self, position: u32) -> Vec<usize> {
        let prompts = self.pictures.iter().flat_map(PictureConditioning::prompts);
        prompts.map(|(texts, _)| texts.at(position, self.compat)).collect()
    }

    /// The batches for texts as [`texts_at`](Self::texts_at) gives them.
    pub(super) fn of_texts(&self, texts: &[usize]) -> StepConditioning {
        let prompts = self.pictures.first().map_or(0, |picture| picture.prompts().count());
        let mut sets: Vec<Vec<(Encoded, Vec<f64>)>> = vec![Vec::new(); prompts];
        let mut texts = texts.iter();
        for picture in &self.pictures {
            let prompts = picture.prompts().zip(&mut texts);
            for (set, ((prompt, ids), &text)) in sets.iter_mut().zip(prompts) {
                set.push((prompt.0[text].1.clone(), ids.to_vec()));
            }
        }
        let is_guided = self.pictures.iter().any(|picture| picture.negative.is_some());
        let length = |set: &[(Encoded, Vec<f64>)]| set.first().map(|set| set.0.hidden.dims()[1]);
        // The negative prompts go with the first prompts, as planned for memory; A1111 takes them
        // by themselves where they are of another length.
        if is_guided && sets.len() > 1 && length(&sets[0]) == length(&sets[1]) {
            let positives = sets.remove(1);
            sets[0].extend(positives);
        }
        StepConditioning { batches: sets.into_iter().map(UNetConditioning::join).collect() }
    }

    /// The same without negative prompts; `None` where there are none, or `AND` joins prompts, whose
    /// predictions add up only in comparison with that of a negative one.
    pub(super) fn without_negative(&self) -> Option<Self> {
        let pictures = self.pictures.iter().map(|picture| {
            let is_plain = picture.negative.is_some() && picture.positives.len() == 1;
            is_plain.then(|| PictureConditioning { negative: None, ..picture.clone() })
        });
        Some(Self { pictures: pictures.collect::<Option<_>>()?, compat: self.compat })
    }

    /// The weights of the prompts of each picture; `None` without guidance.
    pub(super) fn guided_weights(&self) -> Option<Vec<Vec<f64>>> {
        let is_guided = self.pictures.iter().any(|picture| picture.negative.is_some());
        is_guided.then(|| {
            let weights = |picture: &PictureConditioning| {
                picture.positives.iter().map(|(_, weight)| *weight).collect()
            };
            self.pictures.iter().map(weights).collect()
        })
    }
}

impl PictureConditioning {
    /// The negative prompt, where there is one, and what `AND` joins, each with what is told of the
    /// picture.
    fn prompts(&self) -> impl Iterator<Item = (&Timed<Encoded>, &[f64])> {
        let negative = self.negative.iter().map(|texts| (texts, self.negative_ids.as_slice()));
        let positives =
            self.positives.iter().map(|(texts, _)| (texts, self.positive_ids.as_slice()));
        negative.chain(positives)
    }
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

/// Which way a prompt guides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Positive,
    Negative,
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

    /// Encodes the request's prompts and, with guidance, its negative prompt, over all steps. Of
    /// prompts of different length the shorter is completed with chunks of nothing.
    ///
    /// Each text is encoded once. Results are kept, so that pictures which share a prompt encode it
    /// once.
    ///
    /// # Errors
    ///
    /// Where a prompt cannot be read, the checkpoint has no second text encoder for a second
    /// prompt, or too few layers, and [`PipelineError::Cancelled`] where `checkpoint` breaks.
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
    ///
    /// # Errors
    ///
    /// Those of [`encode_prompt`](Self::encode_prompt).
    pub fn encode_prompts(
        &mut self,
        requests: &[&GenerationRequest],
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Conditioning, PipelineError> {
        let passes: Vec<_> = requests.iter().map(|&request| (request, None)).collect();
        self.encode_passes(&passes, checkpoint)
    }

    /// [`encode_prompts`](Self::encode_prompts) for runs of which some are second passes.
    pub(super) fn encode_passes(
        &mut self,
        passes: &[(&GenerationRequest, Option<SecondPass>)],
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Conditioning, PipelineError> {
        let plans = passes
            .iter()
            .map(|&(request, second_pass)| self.prompt_plan(request, second_pass))
            .collect::<Result<Vec<_>, _>>()?;
        let chunks = most_chunks(&plans);
        let encoders = Arc::clone(&self.text);
        let mut encoded: Vec<(PromptKey, Encoded)> = Vec::new();
        let mut pictures = Vec::with_capacity(passes.len());
        for (&(request, _), plan) in passes.iter().zip(&plans) {
            let mut encode = |texts: &Timed<PromptTexts>, role: Role| {
                texts.try_map(|texts| {
                    let key = self.key(request, texts, role, chunks, &plan.words);
                    if let Some((_, done)) = encoded.iter().find(|(known, _)| *known == key) {
                        return Ok(done.clone());
                    }
                    let done = self.encode_kept(key.clone(), checkpoint)?;
                    encoded.push((key, done.clone()));
                    Ok::<_, PipelineError>(done)
                })
            };
            let positives = plan
                .positives
                .iter()
                .map(|(texts, weight)| Ok((encode(texts, Role::Positive)?, *weight)))
                .collect::<Result<Vec<_>, PipelineError>>()?;
            let negative = match &plan.negative {
                Some(negative) if encoders.is_zeros(negative) => {
                    let like = &positives[0].0.0[0].1;
                    Some(Timed(vec![(u32::MAX, like.zeros(chunks.negative, chunks.positive))]))
                }
                Some(negative) => Some(encode(negative, Role::Negative)?),
                None => None,
            };
            let ids = |score: f64| match self.family {
                Family::StableDiffusionXlRefiner => refiner_ids(request, score),
                _ => size_ids(request),
            };
            let (negative_ids, positive_ids) =
                (ids(NEGATIVE_AESTHETIC_SCORE), ids(AESTHETIC_SCORE));
            pictures.push(PictureConditioning { negative, positives, negative_ids, positive_ids });
        }
        self.finish_with_text_encoders();
        let compat = passes.first().map(|(request, _)| request.compat).unwrap_or_default();
        Ok(Conditioning { pictures, compat })
    }

    /// What of the prompts of `requests`, which will be denoised at once, is not encoded yet.
    /// Prompts that cannot be read are left for [`encode_prompts`](Self::encode_prompts) to tell.
    pub fn prompts_ahead(&self, requests: &[&GenerationRequest]) -> PromptsAhead {
        let plans: Result<Vec<_>, _> =
            requests.iter().map(|request| self.prompt_plan(request, None)).collect();
        let mut keys: Vec<PromptKey> = Vec::new();
        // Without memory for the text encoders beside a run nothing is encoded ahead.
        if let Ok(plans) = plans
            && !self.drops_text_encoders()
        {
            let chunks = most_chunks(&plans);
            for (request, plan) in requests.iter().zip(&plans) {
                let negative = plan.negative.iter().filter(|texts| !self.text.is_zeros(texts));
                let negative = negative.map(|texts| (texts, Role::Negative));
                let positives = plan.positives.iter().map(|(texts, _)| (texts, Role::Positive));
                for (texts, role) in positives.chain(negative) {
                    for (_, texts) in &texts.0 {
                        let key = self.key(request, texts, role, chunks, &plan.words);
                        let is_known = self.kept_prompts.iter().any(|kept| kept.key == key);
                        if !is_known && !keys.contains(&key) && keys.len() < KEPT_PROMPTS / 2 {
                            keys.push(key);
                        }
                    }
                }
            }
        }
        let are_merged = |request: &&GenerationRequest| {
            self.adapters_of(request).is_ok_and(|adapters| self.has_adapters(&adapters))
        };
        if !requests.iter().all(are_merged) {
            // The text encoders are to change before.
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

    /// What the request's prompts say over the steps of a run.
    pub(super) fn prompt_plan(
        &self,
        request: &GenerationRequest,
        second_pass: Option<SecondPass>,
    ) -> Result<PromptPlan, PipelineError> {
        let options = &request.conditioning;
        if self.text.second.is_none()
            && (options.prompt_2.is_some() || options.negative_2.is_some())
        {
            return Err(RequestError::SecondPrompt { model: self.name.clone() }.into());
        }
        let steps = run_steps(request, second_pass);
        let is_guided = self.uses_negative_prompt(request);
        let words = self.words_of(request)?;
        let syntax = self.prompt_syntax;
        let chunks_of = |texts: &PromptTexts| self.text.chunks(texts, syntax, &words);
        let plan = PromptPlan::new(request, steps, syntax, is_guided, &words, chunks_of)?;
        if plan.positives.len() > 1 && self.is_told_guidance() {
            return Err(RequestError::JoinedPrompts { model: self.name.clone() }.into());
        }
        Ok(plan)
    }

    fn key(
        &self,
        request: &GenerationRequest,
        texts: &PromptTexts,
        role: Role,
        chunks: ChunkCounts,
        words: &Words,
    ) -> PromptKey {
        let (chunks, skips) = match role {
            Role::Positive => (chunks.positive, true),
            // diffusers takes the last layer of negative prompts, whatever `clip_skip` says.
            Role::Negative => (chunks.negative, request.compat == Compat::A1111),
        };
        let clip_skip = if skips { request.conditioning.clip_skip } else { 1 };
        let (texts, words) = (texts.clone(), words.clone());
        PromptKey { texts, chunks, syntax: self.prompt_syntax, clip_skip, words }
    }

    /// The encoded prompt, or what it gave before.
    fn encode_kept(
        &mut self,
        key: PromptKey,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Encoded, PipelineError> {
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

impl UNetConditioning {
    /// Joins encoded prompts, each with what is told of its picture.
    fn join(batch: Vec<(Encoded, Vec<f64>)>) -> Self {
        let time_ids = batch.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let (hidden, pooled): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|(encoded, _)| (encoded.hidden, encoded.pooled)).unzip();
        let pooled: Option<Vec<_>> = pooled.into_iter().collect();
        let added =
            pooled.map(|pooled| PooledText { text_embeds: Tensor::cat(pooled, 0), time_ids });
        Self { encoder_hidden_states: Tensor::cat(hidden, 0), added }
    }
}

/// Room for the prompts of all plans.
fn most_chunks(plans: &[PromptPlan]) -> ChunkCounts {
    plans.iter().fold(ChunkCounts::ONE, |most, plan| most.max(plan.chunks))
}

/// What the refiner is told of the looks of the picture, and of what it should not be: diffusers'
/// defaults (`pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl_img2img.py`).
const AESTHETIC_SCORE: f64 = 6.0;
const NEGATIVE_AESTHETIC_SCORE: f64 = 2.5;

/// What Stable Diffusion XL is told of a picture: the size of an original, where it was cropped,
/// and the size wanted, each height first.
fn size_ids(request: &GenerationRequest) -> Vec<f64> {
    let own = (request.width, request.height);
    let SizeConditions { original, crop, target } = request
        .conditioning
        .size_conditions
        .unwrap_or(SizeConditions { original: own, crop: (0, 0), target: own });
    [original.1, original.0, crop.1, crop.0, target.1, target.0].map(f64::from).to_vec()
}

/// The same for the refiner: the score stands in place of the wanted size.
fn refiner_ids(request: &GenerationRequest, aesthetic_score: f64) -> Vec<f64> {
    let mut ids = size_ids(request);
    ids.truncate(4);
    ids.push(aesthetic_score);
    ids
}
