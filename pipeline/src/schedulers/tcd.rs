//! Trajectory consistency distillation (Zheng et al., arXiv:2402.19159): diffusers
//! `schedulers/scheduling_tcd.py`.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    distilled_timesteps::distilled_timesteps,
    noise_schedule::NoiseSchedule,
    prediction::{Mixture, weighted_sum},
};

/// The share of the way of each step that is noise, as diffusers has it.
const ETA: f64 = 0.3;

/// One step: down along the trajectory, and up again by noise.
#[derive(Debug)]
struct Step {
    down: Mixture,
    /// What the sample is multiplied by on the way up.
    kept: f64,
    /// `None` where no noise is drawn.
    noise: Option<f64>,
}

/// A run of a trajectory consistency model.
#[derive(Debug)]
pub(super) struct Tcd {
    plan: Plan,
    steps: Vec<Step>,
}

impl Tcd {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let config = run.config;
        run.refuse_thresholding()?;
        let eta = run.options.eta.unwrap_or(ETA).clamp(0.0, 1.0);
        let schedule = NoiseSchedule::new(config, config.rescale_betas_zero_snr.unwrap_or(false))?;
        let timesteps = distilled_timesteps(run, schedule.len())?;
        let prediction = config.prediction_type.unwrap_or_default();
        let plan = Plan::over_training_timesteps(prediction, &schedule, &timesteps)?;
        let next = timesteps.iter().skip(1).copied().chain(std::iter::once(0));
        let steps = next
            .enumerate()
            .map(|(evaluation, next)| {
                let below = ((1.0 - eta) * next as f64).floor() as usize;
                let (arrived, end) = (schedule.alpha_cumprod(below), schedule.alpha_cumprod(next));
                let down = Mixture::combine([
                    (arrived.sqrt(), plan.original(evaluation)),
                    ((1.0 - arrived).sqrt(), plan.noise(evaluation)),
                ]);
                let draws = eta > 0.0 && evaluation + 1 < plan.evaluations();
                Step {
                    down,
                    kept: if draws { (end / arrived).sqrt() } else { 1.0 },
                    noise: draws.then(|| (1.0 - end / arrived).sqrt()),
                }
            })
            .collect();
        Ok(Self { plan, steps })
    }
}

impl Scheduler for Tcd {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Noise is drawn at every step but the last one. A run ends at the least noisy level.
    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let Step { down, kept, noise: noise_weight } = &self.steps[evaluation];
        let drawn = noise_weight.map(|weight| (weight, noise()));
        let terms = [(kept * down.sample, sample), (kept * down.model_output, model_output)];
        weighted_sum(terms.into_iter().chain(drawn))
    }
}
