//! Euler's method (Karras et al., arXiv:2206.00364, algorithm 2): diffusers
//! `schedulers/scheduling_euler_discrete.py`.

use burn::tensor::Tensor;

use super::{
    SamplerOptions, Scheduler, SchedulerConfig, SchedulerError,
    config::PredictionType,
    prediction::{Mixture, weighted_sum},
    sampler::Schedule,
    sigma_spacing::SigmaSpacing,
    sigma_steps::SigmaSteps,
};

/// A run of Euler's method.
#[derive(Debug)]
pub(super) struct Euler {
    run: SigmaSteps,
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
        Ok(Self { run: SigmaSteps::new(spacing, config, steps)?, options: *options })
    }

    /// By how much noise is raised before a step, relative to sigma.
    fn churn(&self, sigma: f64) -> f64 {
        let SamplerOptions { s_churn, s_tmin, s_tmax, .. } = self.options;
        if (s_tmin..=s_tmax).contains(&sigma) {
            (s_churn / (self.run.sigmas.len() - 1) as f64).min(2_f64.sqrt() - 1.0)
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
    fn timesteps(&self) -> &[f64] {
        &self.run.timesteps
    }

    fn steps(&self) -> usize {
        self.run.timesteps.len()
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(&self.run.sigmas)
    }

    fn init_noise_sigma(&self) -> f64 {
        self.run.init_noise_sigma
    }

    fn scale_model_input(&self, sample: Tensor<4>, evaluation: usize) -> Tensor<4> {
        self.run.scale_model_input(sample, evaluation)
    }

    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let (sigma, next) = (self.run.sigmas[evaluation], self.run.sigmas[evaluation + 1]);
        let churn = self.churn(sigma);
        let raised = sigma * (churn + 1.0);
        // diffusers denoises v-prediction at the sigma before the noise is raised.
        let denoised_at = match self.run.prediction {
            PredictionType::VPrediction => sigma,
            PredictionType::Epsilon | PredictionType::Sample => raised,
        };
        let sample = if churn > 0.0 {
            let weight = self.options.s_noise * (raised * raised - sigma * sigma).sqrt();
            weighted_sum([(1.0, sample), (weight, noise())])
        } else {
            sample
        };
        let original = self.run.prediction.original_at_sigma(denoised_at);
        euler_step(original, raised, next).of(sample, model_output)
    }

    fn predicted_original(
        &self,
        evaluation: usize,
        model_output: &Tensor<4>,
        sample: &Tensor<4>,
    ) -> Tensor<4> {
        self.run.predicted_original(evaluation, model_output, sample)
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, evaluation: usize) -> Tensor<4> {
        self.run.add_noise(original, noise, evaluation)
    }
}
