//! Euler's method (Karras et al., arXiv:2206.00364, algorithm 2): diffusers
//! `schedulers/scheduling_euler_discrete.py`.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, SamplerOptions, Scheduler, SchedulerError,
    config::PredictionType,
    prediction::weighted_sum,
    sigma_spacing::SigmaSpacing,
    sigma_steps::{SigmaSteps, euler_step},
};

/// A run of Euler's method.
#[derive(Debug)]
pub(super) struct Euler {
    plan: Plan,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
    options: SamplerOptions,
}

impl Euler {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let steps = SigmaSteps::new(SigmaSpacing::choose(run)?, run)?;
        Ok(Self { plan: steps.plan(), sigmas: steps.sigmas, options: *run.options })
    }

    /// By how much noise is raised before a step, relative to sigma.
    fn churn(&self, sigma: f64) -> f64 {
        let SamplerOptions { s_churn, s_tmin, s_tmax, .. } = self.options;
        if (s_tmin..=s_tmax).contains(&sigma) {
            (s_churn / (self.sigmas.len() - 1) as f64).min(2_f64.sqrt() - 1.0)
        } else {
            0.0
        }
    }
}

impl Scheduler for Euler {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let (sigma, next) = (self.sigmas[evaluation], self.sigmas[evaluation + 1]);
        let churn = self.churn(sigma);
        let raised = sigma * (churn + 1.0);
        // diffusers denoises v-prediction at the sigma before the noise is raised.
        let denoised_at = match self.plan.prediction() {
            PredictionType::VPrediction => sigma,
            PredictionType::Epsilon | PredictionType::Sample => raised,
        };
        let sample = if churn > 0.0 {
            let weight = self.options.s_noise * (raised * raised - sigma * sigma).sqrt();
            weighted_sum([(1.0, sample), (weight, noise())])
        } else {
            sample
        };
        let original = self.plan.prediction().original_at_sigma(denoised_at);
        euler_step(original, raised, next).of(sample, model_output)
    }
}
