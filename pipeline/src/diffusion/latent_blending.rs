//! How the part of a picture that is not repainted is held while the rest is denoised.

use burn::tensor::{DType, Tensor};

use super::SoftInpainting;
use crate::schedulers::Scheduler;

/// How a mask of pixels becomes one of latents, and what it does at each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LatentBlending {
    /// Binarised at 1/2, every 8th pixel: diffusers (`pipeline_stable_diffusion_inpaint.py`,
    /// `prepare_mask_latents`).
    Nearest,
    /// A cell is repainted where one of its pixels is, or one of a neighbouring cell: no cell that
    /// is held then shows what lay under the mask.
    Covering,
    /// A pixel is held until the share of its value in the run is left (Differential Diffusion,
    /// Levin and Fried, arXiv:2306.00950, algorithm 1): greys change less than white.
    Differential,
    /// Greys hold what the model predicts to the picture, less and less as noise vanishes (soft
    /// inpainting).
    Soft(SoftInpainting),
}

/// The part of a picture that is held.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Its latents.
    pub(super) latents: Tensor<4>,
    /// The noise that the run started with.
    pub(super) noise: Tensor<4>,
    /// Latent mask, 1 repaints.
    pub(super) mask: Tensor<4>,
    pub(super) blending: LatentBlending,
    /// The first evaluation.
    pub(super) start: usize,
}

impl Known {
    /// Puts the held part back into the sample that comes after `evaluation`: at that noise
    /// level, or clean after the last (diffusers `pipeline_stable_diffusion_inpaint.py`).
    pub(super) fn hold(
        &self,
        sample: Tensor<4>,
        scheduler: &dyn Scheduler,
        evaluation: usize,
    ) -> Tensor<4> {
        if let LatentBlending::Soft(_) = self.blending {
            return sample;
        }
        let known = scheduler.add_noise(self.latents.clone(), self.noise.clone(), evaluation + 1);
        let evaluations = scheduler.timesteps().len();
        let mask = match self.blending {
            LatentBlending::Nearest | LatentBlending::Covering | LatentBlending::Soft(_) => {
                self.mask.clone()
            }
            LatentBlending::Differential => {
                let done = evaluation + 1 - self.start;
                let left = 1.0 - done as f64 / (evaluations - self.start).max(1) as f64;
                self.mask.clone().greater_elem(left).float().cast(DType::F32)
            }
        };
        known * (mask.clone().neg() + 1.0) + sample * mask
    }

    /// The model's output with what it predicts held to the picture, where the blending does so
    /// with predictions and not with samples.
    ///
    /// Predictions are sums of output and sample, so a change of the one is a change of the other
    /// by a factor, whatever the model predicts.
    pub(super) fn hold_prediction(
        &self,
        output: Tensor<4>,
        sample: &Tensor<4>,
        scheduler: &dyn Scheduler,
        evaluation: usize,
    ) -> Tensor<4> {
        let LatentBlending::Soft(soft) = self.blending else { return output };
        let predicted = scheduler.predicted_original(evaluation, &output, sample);
        let weight = soft.weight(self.mask.clone(), sigma(scheduler, evaluation, &predicted));
        let held = soft.blend(self.latents.clone(), predicted.clone(), weight);
        output + (held - predicted) / prediction_of_output(scheduler, evaluation, sample)
    }
}

/// By how much the predicted image grows with the model's output. A small output is asked about,
/// since predictions may be clipped.
fn prediction_of_output(scheduler: &dyn Scheduler, evaluation: usize, like: &Tensor<4>) -> f64 {
    const SMALL: f64 = 1e-3;
    let place = (&like.device(), DType::F32);
    let (zero, small) = (Tensor::zeros([1; 4], place), Tensor::full([1; 4], SMALL, place));
    let factor = single(scheduler.predicted_original(evaluation, &small, &zero)) / SMALL;
    if factor.abs() > 1e-6 { factor } else { 1.0 }
}

/// The value of a tensor of one.
fn single(tensor: Tensor<4>) -> f64 {
    tensor.to_data().try_to_vec::<f32>().map_or(0.0, |values| f64::from(values[0]))
}

/// The noise level in units of the image's own scale, from what the scheduler does to noise.
fn sigma(scheduler: &dyn Scheduler, evaluation: usize, like: &Tensor<4>) -> f64 {
    let place = (&like.device(), DType::F32);
    let (zeros, ones) = (Tensor::zeros([1; 4], place), Tensor::ones([1; 4], place));
    let noise = single(scheduler.add_noise(Tensor::clone(&zeros), ones.clone(), evaluation));
    let image = single(scheduler.add_noise(ones, zeros, evaluation));
    noise / image.max(1e-6)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::schedulers::{Sampler, Schedule, SchedulerConfig, build};

    #[test]
    fn held_outputs_predict_what_is_held_whatever_the_sampler_and_the_prediction() {
        let random = || Tensor::<4>::random([1, 4, 4, 4], Distribution::Default, &Device::flex());
        let soft = SoftInpainting::default();
        let known = Known {
            latents: random(),
            noise: random(),
            mask: random().narrow(1, 0, 1),
            blending: LatentBlending::Soft(soft),
            start: 0,
        };
        let (output, sample) = (random(), random());
        for prediction in ["epsilon", "v_prediction"] {
            let config = format!(
                r#"{{"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
                    "prediction_type": "{prediction}", "clip_sample": false}}"#
            );
            let config = SchedulerConfig::from_json(&config).unwrap();
            for sampler in [Sampler::Ddim, Sampler::Euler, Sampler::Dpmpp2m, Sampler::Pndm] {
                let scheduler = build(sampler, Schedule::Automatic, &config, 8).unwrap();
                for evaluation in [0, 4, 7] {
                    let predict = |output: &Tensor<4>| {
                        scheduler.predicted_original(evaluation, output, &sample)
                    };
                    let level = sigma(scheduler.as_ref(), evaluation, &sample);
                    let weight = soft.weight(known.mask.clone(), level);
                    let wanted = soft.blend(known.latents.clone(), predict(&output), weight);
                    let held = known.hold_prediction(
                        output.clone(),
                        &sample,
                        scheduler.as_ref(),
                        evaluation,
                    );
                    let scale = wanted.clone().abs().max().into_scalar::<f32>();
                    let furthest = (predict(&held) - wanted).abs().max().into_scalar::<f32>();
                    assert!(
                        furthest < 1e-4 * scale.max(1.0),
                        "{sampler} {prediction} {evaluation}: {furthest}"
                    );
                }
            }
        }
    }
}
