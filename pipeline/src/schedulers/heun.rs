//! Heun's method (Karras et al., arXiv:2206.00364, algorithm 1): diffusers
//! `schedulers/scheduling_heun_discrete.py`.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    prediction::weighted_sum,
    sigma_spacing::{Place, SigmaSpacing},
    sigma_steps::SigmaSteps,
};

/// A run of Heun's method.
#[derive(Debug)]
pub(super) struct Heun {
    plan: Plan,
    /// One for each step.
    intervals: Vec<Interval>,
    /// The sample and the derivative at the start of the step under way.
    start: Option<(Tensor<4>, Tensor<4>)>,
}

/// A step from one sigma to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    pub(super) from: Place,
    pub(super) to: Place,
    /// The standard deviation of the noise that is added after the step.
    pub(super) added_noise: f64,
}

impl Heun {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let config = run.config.without_keys_of_euler_and_zero_snr();
        let run = RunSettings { config: &config, ..*run };
        let steps = SigmaSteps::new(SigmaSpacing::choose(&run)?, &run)?;
        Ok(Self::over(&steps, steps.steps().map(Interval::without_noise).collect()))
    }

    /// Heun's method over any steps.
    pub(super) fn over(steps: &SigmaSteps, intervals: Vec<Interval>) -> Self {
        let evaluations = intervals.iter().map(|interval| {
            // The derivative at zero is not known.
            (interval.from, Some(interval.to).filter(|to| to.sigma > 0.0))
        });
        Self { plan: steps.plan_of(evaluations), intervals, start: None }
    }
}

impl Interval {
    pub(super) fn without_noise((from, to): (Place, Place)) -> Self {
        Self { from, to, added_noise: 0.0 }
    }
}

impl Scheduler for Heun {
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
        let Interval { from, to, added_noise } = self.intervals[self.plan.step_of(evaluation)];
        let delta = to.sigma - from.sigma;
        let slope = self.plan.noise(evaluation).of(sample.clone(), model_output);
        let next = match self.start.take() {
            None => {
                if !self.plan.ends_step(evaluation) {
                    self.start = Some((sample.clone(), slope.clone()));
                }
                weighted_sum([(1.0, sample), (delta, slope)])
            }
            Some((start, first)) => {
                weighted_sum([(1.0, start), (0.5 * delta, first), (0.5 * delta, slope)])
            }
        };
        if added_noise > 0.0 && self.plan.ends_step(evaluation) {
            weighted_sum([(1.0, next), (added_noise, noise())])
        } else {
            next
        }
    }
}
