//! Euler's method (Karras et al., arXiv:2206.00364, algorithm 2): diffusers
//! `schedulers/scheduling_euler_discrete.py`.

use burn::tensor::Tensor;

use super::{
    Plan, SamplerOptions, Scheduler, SchedulerConfig, SchedulerError,
    config::PredictionType,
    prediction::{Mixture, weighted_sum},
    sampler::Schedule,
    sigma_spacing::SigmaSpacing,
    sigma_steps::SigmaSteps,
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
    pub(super) fn new(
        schedule: Schedule,
        config: &SchedulerConfig,
        steps: usize,
        options: &SamplerOptions,
    ) -> Result<Self, SchedulerError> {
        let spacing = SigmaSpacing::choose(schedule, config)?;
        let run = SigmaSteps::new(spacing, config, steps)?;
        Ok(Self { plan: run.plan(), sigmas: run.sigmas, options: *options })
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

/// A step along the derivative at `sigma` to `next`, given the denoised image.
pub(super) fn euler_step(original: Mixture, sigma: f64, next: f64) -> Mixture {
    let ratio = (next - sigma) / sigma;
    Mixture {
        sample: 1.0 + ratio * (1.0 - original.sample),
        model_output: -ratio * original.model_output,
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
