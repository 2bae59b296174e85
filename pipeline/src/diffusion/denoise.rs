//! The loop over the noise levels.

use std::ops::ControlFlow;

use burn::tensor::{DType, Tensor};
use emberbrush_layers::interrupt::Cancelled;
use emberbrush_unet::{AddedConditions, UNetInput};

use super::{Conditioning, DenoisingStart, DiffusionPipeline, NoiseSource};
use crate::{error::PipelineError, request::GenerationRequest, schedulers::Scheduler};

/// What happens while latents are denoised. The answer `Break` cancels.
#[derive(Debug)]
pub enum Denoising<'a> {
    /// A block of the UNet is about to run.
    Checkpoint,
    /// An evaluation of the UNet is done, and with it a step, or a part of one.
    Evaluated {
        /// Its number, from 0.
        evaluation: usize,
        /// The step that it completes, from 1; `None` where the step takes more evaluations.
        step: Option<u32>,
        /// The latents after it.
        latents: &'a Tensor<4>,
        /// What the latents may become.
        predicted_original: &'a Tensor<4>,
    },
}

impl DiffusionPipeline {
    /// Denoises `latents` over the whole schedule, with classifier-free guidance
    /// `e = u + g (c − u)` (Ho and Salimans, arXiv:2207.12598, equation 6).
    pub fn denoise(
        &self,
        latents: Tensor<4>,
        conditioning: &Conditioning,
        request: &GenerationRequest,
        scheduler: &mut dyn Scheduler,
        noise: &mut dyn NoiseSource,
        on_progress: &mut dyn FnMut(Denoising<'_>) -> ControlFlow<()>,
    ) -> Result<Tensor<4>, PipelineError> {
        let start = DenoisingStart::noise(latents);
        self.denoise_from(start, conditioning, request, scheduler, noise, on_progress)
    }

    /// [`denoise`](Self::denoise) from any start. What the start holds of a picture is put back
    /// after each evaluation.
    pub fn denoise_from(
        &self,
        start: DenoisingStart,
        conditioning: &Conditioning,
        request: &GenerationRequest,
        scheduler: &mut dyn Scheduler,
        noise: &mut dyn NoiseSource,
        on_progress: &mut dyn FnMut(Denoising<'_>) -> ControlFlow<()>,
    ) -> Result<Tensor<4>, PipelineError> {
        let DenoisingStart { mut latents, evaluation: first, known, inpainting } = start;
        let timesteps = scheduler.timesteps().to_vec();
        let shape = latents.dims();
        for (evaluation, &timestep) in timesteps.iter().enumerate().skip(first) {
            let mut input = scheduler.scale_model_input(latents.clone(), evaluation);
            if let Some(inpainting) = &inpainting {
                input = Tensor::cat(vec![input, inpainting.clone()], 1);
            }
            let output = self.predict(input, timestep, conditioning, request, &mut || {
                on_progress(Denoising::Checkpoint)
            })?;
            let predicted_original = scheduler.predicted_original(evaluation, &output, &latents);
            latents = scheduler.step(evaluation, output, latents, &mut || noise.next(shape));
            if let Some(known) = &known {
                latents = known.hold(latents, scheduler, evaluation);
            }
            let step = scheduler.step_of(evaluation);
            let ends_step =
                evaluation + 1 == timesteps.len() || scheduler.step_of(evaluation + 1) != step;
            // The clock of a step must hold the device's time and not that of asking.
            self.synchronise()?;
            let event = Denoising::Evaluated {
                evaluation,
                step: ends_step.then_some(step as u32 + 1),
                latents: &latents,
                predicted_original: &predicted_original,
            };
            if on_progress(event).is_break() {
                return Err(Cancelled.into());
            }
        }
        Ok(latents)
    }

    /// One evaluation of the UNet, guided where the request asks for it.
    fn predict(
        &self,
        input: Tensor<4>,
        timestep: f64,
        conditioning: &Conditioning,
        request: &GenerationRequest,
        checkpoint: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Tensor<4>, PipelineError> {
        let guided = request.uses_guidance();
        let input = input.cast(DType::from(self.dtype));
        let sample = if guided { Tensor::cat(vec![input.clone(), input], 0) } else { input };
        let input = UNetInput {
            sample,
            timesteps: &[timestep],
            encoder_hidden_states: conditioning.encoder_hidden_states.clone(),
            added: conditioning.added.as_ref().map(|added| AddedConditions {
                text_embeds: added.text_embeds.clone(),
                time_ids: &added.time_ids,
            }),
            timestep_cond: None,
        };
        self.unet.check(&input).map_err(|error| PipelineError::Model {
            model: self.name.clone(),
            reason: error.to_string(),
        })?;
        let output = self.unet.forward(input, checkpoint)?.cast(DType::F32);
        if !guided {
            return Ok(output);
        }
        let negative = output.clone().narrow(0, 0, 1);
        let positive = output.narrow(0, 1, 1);
        Ok(negative.clone() + (positive - negative) * request.guidance_scale)
    }
}
