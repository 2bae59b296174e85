//! Euler's method with ancestral noise: diffusers
//! `schedulers/scheduling_euler_ancestral_discrete.py`, after k-diffusion's `sample_euler_ancestral`.

use burn::tensor::Tensor;

use super::{
    Plan, Scheduler, SchedulerConfig, SchedulerError,
    config::PredictionType,
    euler::euler_step,
    prediction::weighted_sum,
    sampler::{Sampler, Schedule},
    sigma_spacing::SigmaSpacing,
    sigma_steps::SigmaSteps,
};

/// A run of Euler's method with ancestral noise.
#[derive(Debug)]
pub(super) struct EulerAncestral {
    plan: Plan,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
}

impl EulerAncestral {
    pub(super) fn new(
        schedule: Schedule,
        config: &SchedulerConfig,
        steps: usize,
    ) -> Result<Self, SchedulerError> {
        if config.prediction_type == Some(PredictionType::Sample) {
            return Err(SchedulerError::Unsupported {
                sampler: Sampler::EulerAncestral,
                option: "`prediction_type`: sample".to_owned(),
            });
        }
        // The class does not know these keys, so the ones in the file have no effect on it.
        let config = SchedulerConfig {
            interpolation_type: None,
            timestep_type: None,
            final_sigmas_type: None,
            ..config.clone()
        };
        let spacing = match schedule {
            Schedule::Automatic => SigmaSpacing::Timesteps,
            Schedule::Karras => SigmaSpacing::Karras,
        };
        let run = SigmaSteps::new(spacing, &config, steps)?;
        Ok(Self { plan: run.plan(), sigmas: run.sigmas })
    }
}

/// The sigma to step down to, and the standard deviation of the noise that leads back up to
/// `next`.
fn ancestral(sigma: f64, next: f64) -> (f64, f64) {
    let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).max(0.0).sqrt();
    let down = (next * next - up * up).max(0.0).sqrt();
    (down, up)
}

impl Scheduler for EulerAncestral {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Noise is drawn at every step, also at the last one, where its weight is zero.
    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let sigma = self.sigmas[evaluation];
        let (down, up) = ancestral(sigma, self.sigmas[evaluation + 1]);
        let original = self.plan.original(evaluation);
        let next = euler_step(original, sigma, down);
        weighted_sum([(next.sample, sample), (next.model_output, model_output), (up, noise())])
    }
}
