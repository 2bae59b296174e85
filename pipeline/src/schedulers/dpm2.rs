//! The second-order DPM-Solver (Lu et al., arXiv:2206.00927) in the form of k-diffusion's
//! `sample_dpm_2` and `sample_dpm_2_ancestral`: diffusers
//! `schedulers/scheduling_k_dpm_2_discrete.py` and `scheduling_k_dpm_2_ancestral_discrete.py`.

use burn::tensor::Tensor;

use super::{
    Compat, Plan, RunSettings, Scheduler, SchedulerError,
    prediction::weighted_sum,
    sigma_spacing::SigmaSpacing,
    sigma_steps::{SigmaSteps, ancestral},
};

/// A run of DPM2.
#[derive(Debug)]
pub(super) struct Dpm2 {
    plan: Plan,
    /// One for each step.
    intervals: Vec<Interval>,
    noise: Noise,
    /// The sample at the start of the step under way.
    start: Option<Tensor<4>>,
}

/// Whether noise is added after each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noise {
    /// None is.
    Deterministic,
    /// Steps go further down, and noise leads back up.
    Ancestral,
}

/// A step.
#[derive(Debug, Clone, Copy)]
struct Interval {
    from: f64,
    /// Where the second evaluation is made; zero where there is none.
    middle: f64,
    to: f64,
    added_noise: f64,
}

impl Dpm2 {
    pub(super) fn new(run: &RunSettings<'_>, noise: Noise) -> Result<Self, SchedulerError> {
        let config = run.config.without_keys_of_euler_and_zero_snr();
        let run = RunSettings { config: &config, ..*run };
        let spacing = SigmaSpacing::choose(&run)?;
        let mut steps = SigmaSteps::new(spacing, &run)?;
        let rounds = run.options.compat == Compat::Diffusers;
        if rounds && matches!(spacing, SigmaSpacing::Karras { .. }) {
            // These two classes round, but for the places between two steps.
            for timestep in &mut steps.timesteps {
                *timestep = timestep.round_ties_even();
            }
        }
        let intervals: Vec<Interval> = steps
            .intervals()
            .map(|(from, next)| {
                let (to, added_noise) = match noise {
                    Noise::Deterministic => (next, 0.0),
                    Noise::Ancestral => ancestral(from, next),
                };
                Interval { from, middle: (from * to).sqrt(), to, added_noise }
            })
            .collect();
        let second = intervals
            .iter()
            .map(|interval| (interval.middle > 0.0).then(|| steps.place(interval.middle)));
        Ok(Self { plan: steps.plan_with(second), intervals, noise, start: None })
    }
}

impl Scheduler for Dpm2 {
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
        let interval = self.intervals[self.plan.step_of(evaluation)];
        let slope = self.plan.noise(evaluation).of(sample.clone(), model_output);
        match self.start.take() {
            None => {
                if !self.plan.ends_step(evaluation) {
                    self.start = Some(sample.clone());
                }
                weighted_sum([(1.0, sample), (interval.middle - interval.from, slope)])
            }
            Some(start) => {
                let next = weighted_sum([(1.0, start), (interval.to - interval.from, slope)]);
                match self.noise {
                    Noise::Deterministic => next,
                    Noise::Ancestral => {
                        weighted_sum([(1.0, next), (interval.added_noise, noise())])
                    }
                }
            }
        }
    }
}
