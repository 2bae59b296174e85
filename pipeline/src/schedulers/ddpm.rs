//! Denoising diffusion probabilistic models (Ho et al., arXiv:2006.11239): diffusers
//! `schedulers/scheduling_ddpm.py`.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    config::TimestepSpacing,
    noise_schedule::NoiseSchedule,
    prediction::{clamped, weighted_sum},
    timesteps::whole_timesteps,
};

/// The smallest variance of the noise that a step adds, as diffusers has it.
const LEAST_VARIANCE: f64 = 1e-20;

/// One step: the weights of equation 7 and the noise of algorithm 2.
#[derive(Debug)]
struct Step {
    original: f64,
    sample: f64,
    /// `None` where no noise is drawn.
    noise: Option<f64>,
}

/// How much noise a step adds: `variance_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variance {
    /// That of the posterior for a known image (equation 7).
    FixedSmall,
    /// Beta.
    FixedLarge,
}

/// A run of DDPM.
#[derive(Debug)]
pub(super) struct Ddpm {
    plan: Plan,
    steps: Vec<Step>,
    /// The largest value that a predicted image may have.
    clip: Option<f64>,
}

impl Ddpm {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let config = run.config;
        run.refuse_thresholding()?;
        let variance = match config.variance_type.as_deref() {
            // The logarithm of the one is half of that of the other, and diffusers takes each
            // back: they are the same.
            None | Some("fixed_small" | "fixed_small_log") => Variance::FixedSmall,
            Some("fixed_large") => Variance::FixedLarge,
            Some(other) => {
                return Err(SchedulerError::Unsupported {
                    sampler: run.sampler,
                    option: format!("`variance_type`: {other}"),
                });
            }
        };
        let schedule = NoiseSchedule::new(config, config.rescale_betas_zero_snr.unwrap_or(false))?;
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Leading);
        let offset = config.steps_offset.unwrap_or(0);
        let timesteps = whole_timesteps(spacing, schedule.len(), run.steps, offset)?;
        let prediction = config.prediction_type.unwrap_or_default();
        let next = timesteps.iter().skip(1).map(|&timestep| schedule.alpha_cumprod(timestep));
        let steps = timesteps
            .iter()
            .zip(next.chain(std::iter::once(1.0)))
            .map(|(&timestep, next)| {
                Step::new(variance, timestep, schedule.alpha_cumprod(timestep), next)
            })
            .collect();
        Ok(Self {
            plan: Plan::over_training_timesteps(prediction, &schedule, &timesteps)?,
            steps,
            clip: config.clip_range(true),
        })
    }
}

impl Step {
    fn new(variance: Variance, timestep: usize, alpha_cumprod: f64, next: f64) -> Self {
        let alpha = alpha_cumprod / next;
        let beta = 1.0 - alpha;
        let noise_left = 1.0 - alpha_cumprod;
        let variance = match variance {
            Variance::FixedSmall => ((1.0 - next) / noise_left * beta).max(LEAST_VARIANCE),
            Variance::FixedLarge => beta,
        };
        Self {
            original: next.sqrt() * beta / noise_left,
            sample: alpha.sqrt() * (1.0 - next) / noise_left,
            noise: (timestep > 0).then(|| variance.sqrt()),
        }
    }
}

impl Scheduler for Ddpm {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Noise is drawn at every step but one from timestep 0.
    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let step = &self.steps[evaluation];
        let original = self.predicted_original(evaluation, &model_output, &sample);
        let drawn = step.noise.map(|weight| (weight, noise()));
        let terms = [(step.original, original), (step.sample, sample)];
        weighted_sum(terms.into_iter().chain(drawn))
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
