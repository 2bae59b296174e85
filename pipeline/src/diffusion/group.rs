//! Several pictures in one evaluation of the UNet.
//!
//! A group costs the memory of all its pictures and fills the device better than one. Noise is
//! drawn for each picture from its own seed as if it were made alone, and samplers treat each
//! value by itself, so a picture of a group differs from the same picture alone in the rounding
//! of the UNet only.

use std::{ops::ControlFlow, time::Instant};

use burn::tensor::Tensor;
use image::Rgb32FImage;

use super::{
    Denoising, DiffusionPipeline, ImageInput, NoiseSource,
    denoise::joined,
    image_input::made_steps,
    prompt_plan::{ChunkCounts, SecondPass},
};
use crate::{
    adapters::AdapterSelection,
    error::PipelineError,
    progress::{ProgressEvent, Stage, begin, tell},
    request::{ControlUnit, FewerOperations, GenerationRequest, Mode, RequestError},
    schedulers::{Compat, Sampler, Schedule},
};

/// What pictures have in common that can be denoised at once. Prompt, seed and guidance scale may
/// differ.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupShape {
    size: (u32, u32),
    steps: u32,
    sampler: Sampler,
    schedule: Schedule,
    compat: Compat,
    uses_guidance: bool,
    fewer_operations: FewerOperations,
    /// How many prompts `AND` joins.
    prompts: usize,
    /// Chunks of the prompts. A picture of fewer would be another one with more.
    chunks: ChunkCounts,
    /// Of pictures that start from a picture, which decides the first step.
    strength: Option<f64>,
    adapters: AdapterSelection,
    /// Without their pictures, of which each has its own.
    control: Vec<ControlUnit>,
}

/// One picture of a group.
pub struct GroupMember<'a> {
    /// What is asked for, apart from mode, seed and count, which `input` and `noise` stand for.
    pub request: &'a GenerationRequest,
    /// The picture to start from; `None` starts from noise alone.
    pub input: Option<&'a ImageInput>,
    /// A map of the request's size for each of its ControlNets.
    pub control_maps: &'a [Rgb32FImage],
    /// The picture's own noise, which is asked for `[1, 4, height / 8, width / 8]`.
    pub noise: &'a mut dyn NoiseSource,
}

/// Noise for all pictures of a group, each drawn from its own source.
struct GroupNoise<'m, 'a>(&'m mut [GroupMember<'a>]);

impl NoiseSource for GroupNoise<'_, '_> {
    fn next(&mut self, [_, channels, height, width]: [usize; 4]) -> Tensor<4> {
        let draws = self.0.iter_mut().map(|member| member.noise.next([1, channels, height, width]));
        joined(draws.collect())
    }
}

impl DiffusionPipeline {
    /// What another request must have in common with this one so that both can be denoised at
    /// once; `None` for pictures that take several runs of the sampler, which are made alone.
    pub fn group_shape(&self, request: &GenerationRequest) -> Option<GroupShape> {
        let strength = match &request.mode {
            Mode::TextToImage => None,
            Mode::ImageToImage(init) => Some(init.strength),
            Mode::Inpaint(inpaint) => Some(inpaint.image.strength),
            Mode::Outpaint(_) | Mode::Upscale(_) | Mode::HiresFix(_) => return None,
        };
        // A picture whose prompt cannot be read is made alone, and fails alone.
        let plan = self.prompt_plan(request, None).ok()?;
        Some(GroupShape {
            size: (request.width, request.height),
            steps: request.steps,
            sampler: request.sampler,
            schedule: request.schedule,
            compat: request.compat,
            uses_guidance: plan.negative.is_some(),
            fewer_operations: request.fewer_operations,
            prompts: plan.positives.len(),
            chunks: plan.chunks,
            strength,
            adapters: self.adapters_of(request).ok()?,
            control: request.control.0.iter().map(ControlUnit::without_image).collect(),
        })
    }

    /// All stages up to decoding, which is announced, for pictures of one [`GroupShape`]. Previews
    /// show the first of them.
    ///
    /// # Shapes
    ///
    /// - output: latents `[pictures, 4, height / 8, width / 8]` in f32, for
    ///   [`decode`](Self::decode) one by one
    ///
    /// # Errors
    ///
    /// Where there is no picture, or one of the requests cannot be met, and
    /// [`PipelineError::Cancelled`] where `on_event` breaks.
    pub fn generate_latents(
        &mut self,
        members: &mut [GroupMember<'_>],
        on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
    ) -> Result<Tensor<4>, PipelineError> {
        let requests: Vec<&GenerationRequest> =
            members.iter().map(|member| member.request).collect();
        let Some(&first) = requests.first() else {
            return Err(RequestError::NoImages.into());
        };
        for request in &requests {
            request.check()?;
        }
        let mut scheduler = self.scheduler(first)?;
        for unused in self.use_adapters(&self.adapters_of(first)?)? {
            tell(ProgressEvent::UnusedKeys(unused), on_event)?;
        }

        begin(Stage::Encode, on_event)?;
        let passes: Vec<_> = members
            .iter()
            .map(|member| (member.request, second_pass(member, scheduler.steps())))
            .collect();
        let conditioning =
            self.encode_passes(&passes, &mut || on_event(ProgressEvent::Checkpoint))?;
        let mut starts = Vec::with_capacity(members.len());
        for member in members.iter_mut() {
            let checkpoint = &mut || on_event(ProgressEvent::Checkpoint);
            let scheduler = scheduler.as_ref();
            let GroupMember { request, input, control_maps, noise } = member;
            let start = match input {
                None => self.start_from_noise(request, scheduler, &mut **noise, checkpoint)?,
                Some(input) => {
                    self.start_from_image(request, input, scheduler, &mut **noise, checkpoint)?
                }
            };
            starts.push(self.with_control_maps(start, request, control_maps)?);
        }
        for unused in self.load_controlnets(&first.control.0)? {
            tell(ProgressEvent::UnusedKeys(unused), on_event)?;
        }

        begin(Stage::Denoise, on_event)?;
        let start = starts.iter().map(|start| start.evaluation).min().unwrap_or(0);
        let skipped = scheduler.step_of(start) as u32;
        let steps = (scheduler.steps() as u32).saturating_sub(skipped);
        let mut started = Instant::now();
        let latents = self.denoise_group(
            starts,
            &conditioning,
            &requests,
            scheduler.as_mut(),
            &mut GroupNoise(members),
            &mut |denoising| match denoising {
                Denoising::Checkpoint => on_event(ProgressEvent::Checkpoint),
                Denoising::Evaluated { step: None, .. } => ControlFlow::Continue(()),
                Denoising::Evaluated { step: Some(step), predicted_original, .. } => {
                    let duration = started.elapsed();
                    let first = predicted_original.clone().narrow(0, 0, 1);
                    let preview = self.preview(&first, &mut || on_event(ProgressEvent::Checkpoint));
                    let Ok(preview) = preview else { return ControlFlow::Break(()) };
                    started = Instant::now();
                    let step = step.saturating_sub(skipped);
                    on_event(ProgressEvent::Step { step, steps, duration, preview })
                }
            },
        )?;
        begin(Stage::Decode, on_event)?;
        Ok(latents)
    }
}

/// The second pass that a member is, of a schedule of so many steps.
fn second_pass(member: &GroupMember<'_>, steps: usize) -> Option<SecondPass> {
    let input = member.input?;
    let made = made_steps(member.request, input, steps) as u32;
    input.first_pass.map(|first_pass| SecondPass { made, first_pass })
}
