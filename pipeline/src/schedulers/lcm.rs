//! Latent consistency models (Luo et al., arXiv:2310.04378): diffusers
//! `schedulers/scheduling_lcm.py`.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    distilled_timesteps::distilled_timesteps,
    noise_schedule::NoiseSchedule,
    prediction::{clamped, weighted_sum},
};

/// The standard deviation of the data in the boundary condition.
const SIGMA_DATA: f64 = 0.5;

/// A run of a latent consistency model.
#[derive(Debug)]
pub(super) struct Lcm {
    plan: Plan,
    timestep_scaling: f64,
    /// The largest value that a predicted image may have.
    clip: Option<f64>,
}

impl Lcm {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let config = run.config;
        run.refuse_thresholding()?;
        let schedule = NoiseSchedule::new(config, config.rescale_betas_zero_snr.unwrap_or(false))?;
        let timesteps = distilled_timesteps(run, schedule.len())?;
        let prediction = config.prediction_type.unwrap_or_default();
        Ok(Self {
            plan: Plan::over_training_timesteps(prediction, &schedule, &timesteps)?,
            timestep_scaling: config.timestep_scaling.unwrap_or(10.0),
            clip: config.clip_range(false),
        })
    }
}

impl Scheduler for Lcm {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Noise is drawn at every step but the last one.
    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        // The boundary condition (equation 9): without noise the function is the identity.
        let scaled = self.plan.timesteps()[evaluation] * self.timestep_scaling;
        let length = scaled.hypot(SIGMA_DATA);
        let (skip, out) = ((SIGMA_DATA / length).powi(2), scaled / length);
        let original = self.predicted_original(evaluation, &model_output, &sample);
        let denoised = weighted_sum([(out, original), (skip, sample)]);
        if evaluation + 1 == self.plan.evaluations() {
            denoised
        } else {
            self.plan.add_noise(denoised, noise(), evaluation + 1)
        }
    }

    fn predicted_original(
        &self,
        evaluation: usize,
        model_output: &Tensor<4>,
        sample: &Tensor<4>,
    ) -> Tensor<4> {
        let original = self.plan.original(evaluation).of(sample.clone(), model_output.clone());
        clamped(original, self.clip)
    }
}
