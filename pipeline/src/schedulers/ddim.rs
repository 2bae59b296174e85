//! DDIM (Song et al., arXiv:2010.02502): diffusers `schedulers/scheduling_ddim.py`.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    config::{PredictionType, TimestepSpacing},
    noise_schedule::NoiseSchedule,
    prediction::{Mixture, clamped, weighted_sum},
    timesteps::{a1111_timesteps, whole_timesteps},
};

/// One step, from a noise level to the next.
#[derive(Debug)]
struct Step {
    original: Mixture,
    noise: Mixture,
    /// The weights of the three parts of the sample after the step (equation 12).
    original_weight: f64,
    direction_weight: f64,
    fresh_noise_weight: f64,
}

/// A run of DDIM.
#[derive(Debug)]
pub(super) struct Ddim {
    plan: Plan,
    steps: Vec<Step>,
    clip: Option<f64>,
    draws_noise: bool,
}

impl Ddim {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let &RunSettings { config, steps, options, .. } = run;
        run.refuse_thresholding()?;
        let schedule = NoiseSchedule::new(config, config.rescale_betas_zero_snr.unwrap_or(false))?;
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Leading);
        let offset = config.steps_offset.unwrap_or(0);
        let timesteps = whole_timesteps(spacing, schedule.len(), steps, offset)?;
        let prediction = config.prediction_type.unwrap_or_default();
        let final_alpha =
            if config.set_alpha_to_one.unwrap_or(true) { 1.0 } else { schedule.alpha_cumprod(0) };
        let eta = options.eta.unwrap_or(0.0);
        let ratio = schedule.len() / steps;
        let plan = Plan::over_training_timesteps(prediction, &schedule, &timesteps)?;
        let steps = timesteps
            .into_iter()
            .map(|timestep| {
                let alpha_cumprod = schedule.alpha_cumprod(timestep);
                let alpha_cumprod_next = timestep
                    .checked_sub(ratio)
                    .map_or(final_alpha, |next| schedule.alpha_cumprod(next));
                Step::new(prediction, alpha_cumprod, alpha_cumprod_next, eta)
            })
            .collect();
        Ok(Self { plan, steps, clip: config.clip_range(true), draws_noise: eta > 0.0 })
    }

    /// A run as A1111 makes it (`modules/sd_samplers_timesteps_impl.py`, `ddim`): it ends at the
    /// training's second level and not without noise.
    pub(super) fn a1111(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let &RunSettings { config, steps, options, .. } = run;
        run.refuse_thresholding()?;
        let schedule = NoiseSchedule::new(config, config.rescale_betas_zero_snr.unwrap_or(false))?;
        let pairs = a1111_timesteps(schedule.len(), steps)?;
        let timesteps: Vec<usize> = pairs.iter().map(|(from, _)| *from).collect();
        let prediction = config.prediction_type.unwrap_or_default();
        let plan = Plan::over_training_timesteps(prediction, &schedule, &timesteps)?;
        let eta = options.eta.unwrap_or(0.0);
        let alpha = |timestep: usize| schedule.alpha_cumprod(timestep);
        let step = |(from, to)| Step::new(prediction, alpha(from), alpha(to), eta);
        let steps = pairs.into_iter().map(step).collect();
        Ok(Self { plan, steps, clip: None, draws_noise: eta > 0.0 })
    }

    fn original(&self, step: &Step, model_output: Tensor<4>, sample: Tensor<4>) -> Tensor<4> {
        clamped(step.original.of(sample, model_output), self.clip)
    }
}

impl Step {
    fn new(
        prediction: PredictionType,
        alpha_cumprod: f64,
        alpha_cumprod_next: f64,
        eta: f64,
    ) -> Self {
        let (alpha, sigma) = (alpha_cumprod.sqrt(), (1.0 - alpha_cumprod).sqrt());
        // Equation 16.
        let variance = (1.0 - alpha_cumprod_next) / (1.0 - alpha_cumprod)
            * (1.0 - alpha_cumprod / alpha_cumprod_next);
        let fresh_noise_weight = eta * variance.max(0.0).sqrt();
        Self {
            original: prediction.original(alpha, sigma),
            noise: prediction.noise(alpha, sigma),
            original_weight: alpha_cumprod_next.sqrt(),
            direction_weight: (1.0 - alpha_cumprod_next - fresh_noise_weight.powi(2))
                .max(0.0)
                .sqrt(),
            fresh_noise_weight,
        }
    }
}

impl Scheduler for Ddim {
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
        let step = &self.steps[evaluation];
        let next = if self.clip.is_some() {
            let original = self.original(step, model_output.clone(), sample.clone());
            weighted_sum([
                (step.original_weight, original),
                (step.direction_weight * step.noise.sample, sample),
                (step.direction_weight * step.noise.model_output, model_output),
            ])
        } else {
            Mixture::combine([
                (step.original_weight, step.original),
                (step.direction_weight, step.noise),
            ])
            .of(sample, model_output)
        };
        if self.draws_noise {
            weighted_sum([(1.0, next), (step.fresh_noise_weight, noise())])
        } else {
            next
        }
    }

    fn predicted_original(
        &self,
        evaluation: usize,
        model_output: &Tensor<4>,
        sample: &Tensor<4>,
    ) -> Tensor<4> {
        self.original(&self.steps[evaluation], model_output.clone(), sample.clone())
    }
}
