//! PNDM, also known as PLMS (Liu et al., arXiv:2202.09778): diffusers
//! `schedulers/scheduling_pndm.py`.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    config::{PredictionType, TimestepSpacing},
    noise_schedule::NoiseSchedule,
    plan::noise_only,
    prediction::weighted_sum,
    sampler::Sampler,
    timesteps::whole_timesteps,
};

/// The evaluations of the Runge-Kutta start: three steps of four.
const RUNGE_KUTTA_EVALUATIONS: usize = 12;

/// The order of the linear multistep method.
const ORDER: usize = 4;

/// A run of PNDM.
#[derive(Debug)]
pub(super) struct Pndm {
    schedule: NoiseSchedule,
    plan: Plan,
    final_alpha_cumprod: f64,
    /// How far apart the timesteps of two steps are.
    ratio: usize,
    timesteps: Vec<usize>,
    /// The number of evaluations that start with Runge-Kutta steps: 12 or 0.
    runge_kutta: usize,
    /// Evaluations made so far.
    counter: usize,
    /// The latest outputs, the oldest first.
    outputs: Vec<Tensor<4>>,
    /// The weighted outputs of the Runge-Kutta step under way.
    runge_kutta_sum: Option<Tensor<4>>,
    /// The sample from which the step under way started.
    saved_sample: Option<Tensor<4>>,
}

impl Pndm {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let &RunSettings { config, steps, .. } = run;
        let prediction = config.prediction_type.unwrap_or_default();
        if prediction == PredictionType::Sample {
            return Err(SchedulerError::Unsupported {
                sampler: Sampler::Pndm,
                option: "`prediction_type`: sample".to_owned(),
            });
        }
        let schedule = NoiseSchedule::new(config, false)?;
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Leading);
        let spaced =
            whole_timesteps(spacing, schedule.len(), steps, config.steps_offset.unwrap_or(0))?;
        if spaced.iter().any(|&timestep| schedule.alpha_cumprod(timestep) == 0.0) {
            return Err(noise_only());
        }
        let ratio = schedule.len() / steps;
        let runge_kutta =
            if config.skip_prk_steps.unwrap_or(false) { 0 } else { RUNGE_KUTTA_EVALUATIONS };
        let evaluations = if runge_kutta == 0 {
            repeat_second(spaced)
        } else if steps < ORDER {
            return Err(SchedulerError::TooFewSteps {
                steps,
                least: ORDER,
                reason: "`skip_prk_steps` is false, so the run starts with Runge-Kutta steps",
            });
        } else {
            with_runge_kutta(&spaced, ratio)
        };
        Ok(Self {
            plan: Plan::over_training_evaluations(prediction, &schedule, &evaluations)?,
            final_alpha_cumprod: if config.set_alpha_to_one.unwrap_or(false) {
                1.0
            } else {
                schedule.alpha_cumprod(0)
            },
            schedule,
            ratio,
            timesteps: evaluations.into_iter().map(|(timestep, _)| timestep).collect(),
            runge_kutta,
            counter: 0,
            outputs: Vec::with_capacity(ORDER),
            runge_kutta_sum: None,
            saved_sample: None,
        })
    }

    /// The cumulative alpha of a timestep; `None` is the end of the run.
    fn alpha_cumprod(&self, timestep: Option<usize>) -> f64 {
        timestep.map_or(self.final_alpha_cumprod, |timestep| {
            self.schedule.alpha_cumprod(timestep.min(self.schedule.len() - 1))
        })
    }

    /// The transfer from one timestep to another (equation 11), for an output that is a weighted
    /// sum.
    fn transfer<const N: usize>(
        &self,
        sample: Tensor<4>,
        from: usize,
        to: Option<usize>,
        outputs: [(f64, Tensor<4>); N],
    ) -> Tensor<4> {
        let (now, next) = (self.alpha_cumprod(Some(from)), self.alpha_cumprod(to));
        let denominator = now * (1.0 - next).sqrt() + (now * (1.0 - now) * next).sqrt();
        // Both levels without noise: nothing is left to remove.
        let noise_weight = if denominator == 0.0 { 0.0 } else { -(next - now) / denominator };
        let noise = self.plan.prediction().noise(now.sqrt(), (1.0 - now).sqrt());
        let sample_weight = (next / now).sqrt() + noise_weight * noise.sample;
        let output_weight = noise_weight * noise.model_output;
        let output = weighted_sum(outputs);
        weighted_sum([(sample_weight, sample), (output_weight, output)])
    }

    /// One of the four evaluations of a Runge-Kutta step (equation 13).
    fn runge_kutta_step(
        &mut self,
        timestep: usize,
        output: Tensor<4>,
        sample: Tensor<4>,
    ) -> Tensor<4> {
        let phase = self.counter % 4;
        let from = self.timesteps[self.counter / 4 * 4];
        let half = if self.counter % 2 == 1 { 0 } else { self.ratio / 2 };
        let to = timestep.checked_sub(half);
        if phase == 0 {
            self.outputs.push(output.clone());
            self.saved_sample = Some(sample.clone());
        }
        let weight = if phase == 0 || phase == 3 { 1.0 / 6.0 } else { 1.0 / 3.0 };
        let term = (weight, output.clone());
        let sum = match self.runge_kutta_sum.take() {
            Some(sum) => weighted_sum([(1.0, sum), term]),
            None => weighted_sum([term]),
        };
        let output = if phase == 3 {
            sum
        } else {
            self.runge_kutta_sum = Some(sum);
            output
        };
        let start = self.saved_sample.clone().unwrap_or(sample);
        self.transfer(start, from, to, [(1.0, output)])
    }

    /// One evaluation of the linear multistep method (equation 12, with lower orders at the
    /// start). The second evaluation redoes the first step with the mean of both outputs.
    fn multistep(&mut self, timestep: usize, output: Tensor<4>, sample: Tensor<4>) -> Tensor<4> {
        if self.counter == 1
            && let Some(first) = self.outputs.last()
        {
            let start = self.saved_sample.take().unwrap_or(sample);
            let outputs = [(0.5, output), (0.5, first.clone())];
            return self.transfer(start, timestep + self.ratio, Some(timestep), outputs);
        }
        if self.counter == 0 {
            self.saved_sample = Some(sample.clone());
        }
        if self.outputs.len() == ORDER {
            self.outputs.remove(0);
        }
        self.outputs.push(output);
        let to = timestep.checked_sub(self.ratio);
        match self.outputs.clone().as_slice() {
            [e] => self.transfer(sample, timestep, to, [(1.0, e.clone())]),
            [e1, e] => self.transfer(sample, timestep, to, [(1.5, e.clone()), (-0.5, e1.clone())]),
            [e2, e1, e] => self.transfer(
                sample,
                timestep,
                to,
                [(23.0 / 12.0, e.clone()), (-16.0 / 12.0, e1.clone()), (5.0 / 12.0, e2.clone())],
            ),
            [.., e3, e2, e1, e] => self.transfer(
                sample,
                timestep,
                to,
                [
                    (55.0 / 24.0, e.clone()),
                    (-59.0 / 24.0, e1.clone()),
                    (37.0 / 24.0, e2.clone()),
                    (-9.0 / 24.0, e3.clone()),
                ],
            ),
            [] => sample,
        }
    }
}

impl Scheduler for Pndm {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    /// As diffusers slices its list of timesteps: the repeated one is the first to go.
    fn start_after(&self, skipped: usize) -> Result<usize, SchedulerError> {
        self.plan.first_evaluation_of(skipped)?;
        if skipped > 0 && self.runge_kutta > 0 {
            return Err(SchedulerError::Start {
                sampler: Sampler::Pndm,
                reason: "`skip_prk_steps` in scheduler_config.json is false, and the Runge-Kutta \
                         steps belong to the beginning",
            });
        }
        Ok(skipped)
    }

    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        _noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let timestep = self.timesteps[evaluation];
        let next = if self.counter < self.runge_kutta {
            self.runge_kutta_step(timestep, model_output, sample)
        } else {
            self.multistep(timestep, model_output, sample)
        };
        self.counter += 1;
        next
    }
}

/// The evaluations without Runge-Kutta steps, each with its step: the second timestep comes
/// twice, to redo the first step.
fn repeat_second(timesteps: Vec<usize>) -> Vec<(usize, usize)> {
    let redone = timesteps.get(1).map(|&second| (second, 0));
    let mut evaluations: Vec<_> = timesteps.into_iter().zip(0..).collect();
    if let Some(redone) = redone {
        evaluations.insert(1, redone);
    }
    evaluations
}

/// The evaluations with Runge-Kutta steps, each with its step: each of the first three steps
/// visits its start, its middle twice, and its end. The middle lies half a `ratio` above the end,
/// whatever the spacing.
fn with_runge_kutta(timesteps: &[usize], ratio: usize) -> Vec<(usize, usize)> {
    let steps = timesteps.iter().copied().zip(0..);
    steps
        .clone()
        .zip(&timesteps[1..])
        .take(RUNGE_KUTTA_EVALUATIONS / 4)
        .flat_map(|((start, step), &end)| {
            let middle = end + ratio / 2;
            [start, middle, middle, end].map(|timestep| (timestep, step))
        })
        .chain(steps.skip(RUNGE_KUTTA_EVALUATIONS / 4))
        .collect()
}
