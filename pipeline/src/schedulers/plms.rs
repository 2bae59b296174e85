//! PLMS as latent diffusion and A1111's web UI have it (Liu et al., arXiv:2202.09778;
//! A1111 `modules/sd_samplers_timesteps_impl.py`, `plms`).

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError, noise_schedule::NoiseSchedule,
    prediction::weighted_sum, timesteps::a1111_timesteps,
};

/// A run of PLMS.
#[derive(Debug)]
pub(super) struct Plms {
    plan: Plan,
    /// For each step, the cumulative alphas at its start and at its end.
    steps: Vec<(f64, f64)>,
    /// The noise that the model predicted at the starts of earlier steps, the latest first.
    noises: VecDeque<Tensor<4>>,
    /// The sample and its noise at the start of the first step.
    start: Option<(Tensor<4>, Tensor<4>)>,
}

impl Plms {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        run.refuse_thresholding()?;
        let schedule =
            NoiseSchedule::new(run.config, run.config.rescale_betas_zero_snr.unwrap_or(false))?;
        let pairs = a1111_timesteps(schedule.len(), run.steps)?;
        let alpha = |timestep: usize| schedule.alpha_cumprod(timestep);
        // The first step is made as Heun's method makes it.
        let mut evaluations = vec![(pairs[0].0, 0), (pairs[0].1, 0)];
        evaluations.extend(pairs.iter().zip(0..).skip(1).map(|(&(from, _), step)| (from, step)));
        let prediction = run.config.prediction_type.unwrap_or_default();
        Ok(Self {
            plan: Plan::over_training_evaluations(prediction, &schedule, &evaluations)?,
            steps: pairs.iter().map(|&(from, to)| (alpha(from), alpha(to))).collect(),
            noises: VecDeque::with_capacity(3),
            start: None,
        })
    }
}

/// The sample after a step, if the noise is as given throughout.
fn moved(sample: Tensor<4>, noise: Tensor<4>, (from, to): (f64, f64)) -> Tensor<4> {
    let ratio = (to / from).sqrt();
    let weight = (1.0 - to).sqrt() - ratio * (1.0 - from).sqrt();
    weighted_sum([(ratio, sample), (weight, noise)])
}

impl Scheduler for Plms {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        _noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let step = self.steps[self.plan.step_of(evaluation)];
        let noise = self.plan.noise(evaluation).of(sample.clone(), model_output);
        if let Some((start, first)) = self.start.take() {
            let mean = weighted_sum([(0.5, first.clone()), (0.5, noise)]);
            self.noises.push_front(first);
            return moved(start, mean, step);
        }
        if !self.plan.ends_step(evaluation) {
            self.start = Some((sample.clone(), noise.clone()));
            return moved(sample, noise, step);
        }
        // Adams and Bashforth's methods.
        let weights: &[f64] = match self.noises.len() {
            0 => &[1.0],
            1 => &[3.0 / 2.0, -1.0 / 2.0],
            2 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        };
        let all = std::iter::once(noise.clone()).chain(self.noises.iter().cloned());
        let mean = weighted_sum(weights.iter().copied().zip(all));
        self.noises.truncate(2);
        self.noises.push_front(noise);
        moved(sample, mean, step)
    }
}
