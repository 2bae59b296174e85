//! The singlestep DPM-Solver++ with noise added on the way: k-diffusion's
//! `sample_dpmpp_2s_ancestral` and `sample_dpmpp_sde` (diffusers
//! `schedulers/scheduling_dpmsolver_sde.py`), with their defaults of eta 1 and r 1/2.

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    prediction::weighted_sum,
    sigma_spacing::SigmaSpacing,
    sigma_steps::{SigmaSteps, ancestral},
};

/// A run of DPM++ 2S a or of DPM++ SDE.
///
/// Towards a known image the exponential integrator and Euler's method are the same straight
/// line, so both samplers are lines towards what the model sees.
#[derive(Debug)]
pub(super) struct DpmppSinglestepSde {
    plan: Plan,
    /// One for each step.
    intervals: Vec<Interval>,
    /// The step under way: the sample at its start, and the noise that was added in its middle.
    start: Option<(Tensor<4>, Option<Tensor<4>>)>,
}

/// Where noise is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noise {
    /// After each step: DPM++ 2S a.
    Ancestral,
    /// In the middle, too, as the stochastic differential equation has it: DPM++ SDE.
    Throughout,
}

/// A step.
#[derive(Debug, Clone, Copy)]
struct Interval {
    from: f64,
    /// Where the second evaluation is made; zero where there is none.
    middle: f64,
    /// Where the first half steps down to, and the noise that leads from there to the middle.
    first: (f64, f64),
    /// Where the whole step goes down to, and the noise that is added there.
    whole: (f64, f64),
    /// The shares of the noise of the middle and of fresh noise in that of the whole step: a
    /// Brownian motion in sigma.
    noise_shares: (f64, f64),
}

impl DpmppSinglestepSde {
    pub(super) fn new(run: &RunSettings<'_>, noise: Noise) -> Result<Self, SchedulerError> {
        let config = run.config.without_keys_of_euler_and_zero_snr();
        let run = RunSettings { config: &config, ..*run };
        let steps = SigmaSteps::new(SigmaSpacing::choose(&run)?, &run)?;
        let intervals: Vec<Interval> =
            steps.intervals().map(|(from, next)| Interval::new(noise, from, next)).collect();
        let second = intervals
            .iter()
            .map(|interval| (interval.middle > 0.0).then(|| steps.place(interval.middle)));
        Ok(Self { plan: steps.plan_with(second), intervals, start: None })
    }
}

impl Interval {
    fn new(noise: Noise, from: f64, next: f64) -> Self {
        let whole = ancestral(from, next);
        let (middle, first, noise_shares) = match noise {
            Noise::Ancestral => {
                let middle = (from * whole.0).sqrt();
                (middle, (middle, 0.0), (0.0, 1.0))
            }
            Noise::Throughout => {
                let middle = (from * next).sqrt();
                let share =
                    |part: f64| if from > next { (part / (from - next)).sqrt() } else { 0.0 };
                (middle, ancestral(from, middle), (share(from - middle), share(middle - next)))
            }
        };
        Self { from, middle, first, whole, noise_shares }
    }
}

impl Scheduler for DpmppSinglestepSde {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    /// In a step with two evaluations, DPM++ 2S a draws noise once and DPM++ SDE twice; in the
    /// last one, to zero, nothing is drawn.
    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let interval = self.intervals[self.plan.step_of(evaluation)];
        let original = self.plan.original(evaluation).of(sample.clone(), model_output);
        match self.start.take() {
            None if self.plan.ends_step(evaluation) => original,
            None => {
                let (down, up) = interval.first;
                let drawn = (up > 0.0).then(noise);
                self.start = Some((sample.clone(), drawn.clone()));
                let next = towards(sample, original, interval.from, down);
                weighted_sum(std::iter::once((1.0, next)).chain(drawn.map(|drawn| (up, drawn))))
            }
            Some((start, drawn)) => {
                let (down, up) = interval.whole;
                let (earlier, fresh) = interval.noise_shares;
                let next = towards(start, original, interval.from, down);
                let terms = [(1.0, next), (up * fresh, noise())];
                weighted_sum(terms.into_iter().chain(drawn.map(|drawn| (up * earlier, drawn))))
            }
        }
    }
}

/// The sample on its way from one sigma to another, if the image is `original`.
fn towards(sample: Tensor<4>, original: Tensor<4>, from: f64, to: f64) -> Tensor<4> {
    let ratio = to / from;
    weighted_sum([(ratio, sample), (1.0 - ratio, original)])
}
