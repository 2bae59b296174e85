//! Euler's method with ancestral noise: diffusers
//! `schedulers/scheduling_euler_ancestral_discrete.py`, after k-diffusion's `sample_euler_ancestral`.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    prediction::weighted_sum,
    sigma_spacing::SigmaSpacing,
    sigma_steps::{SigmaSteps, ancestral, euler_step},
};

/// A run of Euler's method with ancestral noise.
#[derive(Debug)]
pub(super) struct EulerAncestral {
    plan: Plan,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
}

impl EulerAncestral {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let config = run.config.without_keys_of_euler();
        let run = RunSettings { config: &config, ..*run };
        let spacing = SigmaSpacing::of_schedule(&run).unwrap_or(SigmaSpacing::Timesteps);
        let steps = SigmaSteps::new(spacing, &run)?;
        Ok(Self { plan: steps.plan(), sigmas: steps.sigmas })
    }
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
