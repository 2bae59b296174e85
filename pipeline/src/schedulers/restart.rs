//! Restart sampling (Xu et al., arXiv:2306.14878): Heun's method that goes back to more noise
//! and comes down again, with the restarts that A1111's web UI chooses.

use super::{
    Compat, RunSettings, SchedulerError,
    heun::{Heun, Interval},
    sampler::Schedule,
    sigma_spacing::{KARRAS_RHO, Place, SigmaSpacing},
    sigma_steps::SigmaSteps,
    timesteps::check_steps,
};

/// Near which sigma the run goes back, and near which it arrives.
const BACK_FROM: f64 = 0.1;
const BACK_TO: f64 = 2.0;

/// How often a run goes back, and how many steps it makes each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Restarts {
    times: usize,
    steps: usize,
}

impl Restarts {
    /// The restarts of a run that makes `steps` steps in all: none of few.
    fn of(steps: usize) -> Self {
        match steps {
            0..20 => Self { times: 0, steps: 0 },
            20..36 => Self { times: 1, steps: 9 },
            _ => Self { times: 2, steps: steps / 4 },
        }
    }
}

/// Plans a run. Its steps are those of the restarts and those between them together.
pub(super) fn new(run: &RunSettings<'_>) -> Result<Heun, SchedulerError> {
    let config = run.config.without_keys_of_euler();
    check_steps(run.steps, config.train_timesteps())?;
    let run = RunSettings { config: &config, ..*run };
    let restarts = Restarts::of(run.steps);
    let again = restarts.times * restarts.steps;
    let main = RunSettings {
        steps: run.steps - again,
        // Left to the checkpoint, the method is the one that was published, which is Karras'.
        schedule: match run.schedule {
            _ if again > 0 && run.options.compat == Compat::A1111 => Schedule::Karras,
            Schedule::Automatic if again > 0 => Schedule::Karras,
            schedule => schedule,
        },
        ..run
    };
    let steps = SigmaSteps::new(SigmaSpacing::choose(&main)?, &main)?;
    let starts = &steps.sigmas[..main.steps];
    let (back, arrival) = (nearest(starts, BACK_FROM), nearest(starts, BACK_TO));
    let mut intervals: Vec<Interval> = steps.steps().map(Interval::without_noise).collect();
    if again > 0 && arrival < back {
        let karras = SigmaSpacing::Karras { rho: KARRAS_RHO };
        let down =
            karras.sigmas(starts[arrival], starts[back], restarts.steps + 1).unwrap_or_default();
        let down: Vec<Place> = down.into_iter().map(|sigma| steps.place(sigma)).collect();
        let once = down.windows(2).map(|ends| Interval::without_noise((ends[0], ends[1])));
        let all: Vec<Interval> = (0..restarts.times).flat_map(|_| once.clone()).collect();
        intervals.splice(back..back, all);
    } else if again > 0 {
        // A range without the noise levels to go back to.
        let steps = SigmaSteps::new(SigmaSpacing::choose(&run)?, &run)?;
        return Ok(Heun::over(&steps, steps.steps().map(Interval::without_noise).collect()));
    }
    for index in 1..intervals.len() {
        let (before, after) = (intervals[index - 1].to.sigma, intervals[index].from.sigma);
        intervals[index - 1].added_noise = (after * after - before * before).max(0.0).sqrt();
    }
    Ok(Heun::over(&steps, intervals))
}

/// The place in a falling list of the number that is nearest to another.
fn nearest(numbers: &[f64], wanted: f64) -> usize {
    let distance = |index: &usize| (numbers[*index] - wanted).abs();
    (0..numbers.len())
        .min_by(|one, other| distance(one).total_cmp(&distance(other)))
        .unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Sampler, Schedule, SchedulerConfig, build};

    #[test]
    fn runs_go_back_to_more_noise() {
        let config = SchedulerConfig::default();
        for (steps, times) in [(19, 0), (20, 1), (35, 1), (36, 2), (60, 2)] {
            let run = build(Sampler::Restart, Schedule::Karras, &config, steps).unwrap();
            let sigmas: Vec<f64> = run.plan().sigmas().collect();
            let rises: Vec<(f64, f64)> = sigmas
                .windows(2)
                .filter(|pair| pair[0] < pair[1])
                .map(|pair| (pair[0], pair[1]))
                .collect();
            assert_eq!(rises.len(), times, "{steps} steps: {sigmas:?}");
            assert_eq!(run.steps(), steps);
            for (from, to) in rises {
                assert!((0.05..0.2).contains(&from) && (1.2..3.0).contains(&to), "{from} {to}");
            }
        }
    }
}
