//! The loop over the noise levels.

use std::ops::ControlFlow;

use burn::tensor::{DType, Tensor};
use emberbrush_layers::interrupt::Cancelled;
use emberbrush_unet::{AddedConditions, UNetInput};

use super::{
    Conditioning, DenoisingStart, DiffusionPipeline, NoiseSource, StepConditioning,
    UNetConditioning,
    control::{RunShare, Steering},
    guidance::Guidance,
    savings::{BatchSavings, RunSavings},
};
use crate::{
    error::PipelineError,
    request::GenerationRequest,
    schedulers::{Compat, Scheduler},
};

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

/// What the UNet predicts something of.
struct Prediction<'a> {
    /// `[pictures, channels, height, width]`
    input: &'a Tensor<4>,
    timestep: f64,
    conditioning: &'a StepConditioning,
    guidance: &'a Guidance,
    steering: Steering<'a>,
}

impl DiffusionPipeline {
    /// Denoises `latents` over the whole schedule, with classifier-free guidance.
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
        self.denoise_group(vec![start], conditioning, &[request], scheduler, noise, on_progress)
    }

    /// [`denoise_from`](Self::denoise_from) for pictures that have one
    /// [`GroupShape`](super::GroupShape): all of them go through each evaluation of the UNet at
    /// once. `conditioning` is that of [`encode_prompts`](Self::encode_prompts) for `requests`.
    ///
    /// # Shapes
    ///
    /// - noise that is asked for, latents that are shown, and output:
    ///   `[pictures, 4, height / 8, width / 8]`
    pub fn denoise_group(
        &self,
        starts: Vec<DenoisingStart>,
        conditioning: &Conditioning,
        requests: &[&GenerationRequest],
        scheduler: &mut dyn Scheduler,
        noise: &mut dyn NoiseSource,
        on_progress: &mut dyn FnMut(Denoising<'_>) -> ControlFlow<()>,
    ) -> Result<Tensor<4>, PipelineError> {
        let first = starts.iter().map(|start| start.evaluation).min().unwrap_or(0);
        let (mut latents, mut known, mut inpainting) = (Vec::new(), Vec::new(), Vec::new());
        let mut control_maps = Vec::new();
        for start in starts {
            control_maps.push(start.control_maps);
            latents.push(start.latents);
            known.push(start.known);
            inpainting.extend(start.inpainting);
        }
        let mut latents = joined(latents);
        let inpainting = (!inpainting.is_empty()).then(|| joined(inpainting));
        let guidance = self.guidance(requests, conditioning, &latents.device());
        let control = self.control(requests, control_maps)?;
        let fewer_operations =
            requests.first().map(|request| request.fewer_operations).unwrap_or_default();
        let skip_after = fewer_operations.skip_negative_after;
        let mut savings = RunSavings::new(fewer_operations);
        let unguided = conditioning.without_negative().filter(|_| skip_after < 1.0).map(|rest| {
            (rest, Guidance { classifier_free: None, embedding: guidance.embedding.clone() })
        });
        let compat = requests.first().map(|request| request.compat).unwrap_or_default();
        let mut current: Option<(Vec<usize>, StepConditioning)> = None;
        let timesteps = scheduler.timesteps().to_vec();
        let shape = latents.dims();
        for (evaluation, &timestep) in timesteps.iter().enumerate().skip(first) {
            let mut input = scheduler.scale_model_input(latents.clone(), evaluation);
            if let Some(inpainting) = &inpainting {
                input = Tensor::cat(vec![input, inpainting.clone()], 1);
            }
            let position = match compat {
                Compat::Diffusers => scheduler.step_of(evaluation) - scheduler.step_of(first) + 1,
                Compat::A1111 => evaluation - first,
            };
            let share =
                RunShare { evaluation: evaluation - first, evaluations: timesteps.len() - first };
            let (conditioning, guidance) = match &unguided {
                Some((conditioning, guidance)) if share.is_after(skip_after) => {
                    (conditioning, guidance)
                }
                _ => (conditioning, &guidance),
            };
            // Of another number with and without negative prompts.
            let texts = conditioning.texts_at(position as u32);
            let step_conditioning = match current.take() {
                Some((now, step_conditioning)) if now == texts => step_conditioning,
                _ => {
                    savings.begin_prompts();
                    conditioning.of_texts(&texts)
                }
            };
            let steering = Steering { control: &control, share, has_negative: false };
            let prediction = Prediction {
                input: &input,
                timestep,
                conditioning: &step_conditioning,
                guidance,
                steering,
            };
            let checkpoint = &mut || on_progress(Denoising::Checkpoint);
            let mut output = self.predict(prediction, &mut savings, checkpoint)?;
            current = Some((texts, step_conditioning));
            if known.iter().any(Option::is_some) {
                let held = known.iter().enumerate().map(|(picture, known)| {
                    let part = |tensor: &Tensor<4>| tensor.clone().narrow(0, picture, 1);
                    let output = part(&output);
                    match known {
                        Some(known) => {
                            known.hold_prediction(output, &part(&latents), scheduler, evaluation)
                        }
                        None => output,
                    }
                });
                output = joined(held.collect());
            }
            let predicted_original = scheduler.predicted_original(evaluation, &output, &latents);
            latents = scheduler.step(evaluation, output, latents, &mut || noise.next(shape));
            if known.iter().any(Option::is_some) {
                let held = known.iter().enumerate().map(|(picture, known)| {
                    let latents = latents.clone().narrow(0, picture, 1);
                    match known {
                        Some(known) => known.hold(latents, scheduler, evaluation),
                        None => latents,
                    }
                });
                latents = joined(held.collect());
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

    /// What the UNet predicts, guided where it is to be.
    fn predict(
        &self,
        prediction: Prediction<'_>,
        savings: &mut RunSavings,
        checkpoint: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Tensor<4>, PipelineError> {
        let Prediction { input, timestep, conditioning, guidance, steering } = prediction;
        let input = input.clone().cast(DType::from(self.device.activation_dtype(self.dtype)));
        let pictures = input.dims()[0];
        let mut outputs = Vec::new();
        for (place, batch) in conditioning.batches.iter().enumerate() {
            let times = batch.encoder_hidden_states.dims()[0] / pictures;
            let sample = joined(vec![input.clone(); times]);
            let has_negative = place == 0 && guidance.classifier_free.is_some();
            let steering = Steering { has_negative, ..steering };
            let mut input = self.unet_input(sample, &timestep, batch, guidance)?;
            let savings = savings.of_batch(place, steering.share);
            if savings.runs_deep_part() {
                input.residuals = steering.residuals(&input, checkpoint)?;
            }
            let BatchSavings { savings, cache } = savings;
            let output = self.unet.forward_saving(input, savings, cache, checkpoint)?;
            let output = output.cast(DType::F32);
            let part = |place| output.clone().narrow(0, place * pictures, pictures);
            outputs.extend((0..times).map(part));
        }
        let first = outputs.remove(0);
        Ok(match &guidance.classifier_free {
            Some(guidance) => guidance.of(first, &outputs),
            None => first,
        })
    }

    /// What one evaluation of the UNet takes.
    fn unet_input<'a>(
        &self,
        sample: Tensor<4>,
        timestep: &'a f64,
        conditioning: &'a UNetConditioning,
        guidance: &Guidance,
    ) -> Result<UNetInput<'a>, PipelineError> {
        let input = UNetInput {
            sample,
            timesteps: std::slice::from_ref(timestep),
            encoder_hidden_states: conditioning.encoder_hidden_states.clone(),
            added: conditioning.added.as_ref().map(|added| AddedConditions {
                text_embeds: added.text_embeds.clone(),
                time_ids: &added.time_ids,
            }),
            timestep_cond: guidance.embedding.clone(),
            residuals: None,
        };
        match self.unet.check(&input) {
            Ok(()) => Ok(input),
            Err(error) => {
                Err(PipelineError::Model { model: self.name.clone(), reason: error.to_string() })
            }
        }
    }
}

/// The tensors of single pictures as one.
pub(super) fn joined(mut tensors: Vec<Tensor<4>>) -> Tensor<4> {
    match tensors.len() {
        1 => tensors.remove(0),
        _ => Tensor::cat(tensors, 0),
    }
}
