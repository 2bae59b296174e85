//! Which of the training's timesteps a run visits (Lin et al., arXiv:2305.08891, table 2).

use super::{config::TimestepSpacing, error::SchedulerError};

/// The timesteps of `steps` steps over the first `train_timesteps` noise levels, from the most
/// noise to the least.
///
/// Linspace gives fractional timesteps; callers whose tables want whole ones round them.
/// Trailing spacing has exactly `steps` timesteps: numpy's `arange`, which diffusers uses, has
/// one more for some numbers of steps (61, 103, …), at timestep -1.
///
/// # Errors
///
/// [`SchedulerError::NoSteps`] and [`SchedulerError::TooManySteps`].
pub fn spaced(
    spacing: TimestepSpacing,
    train_timesteps: usize,
    steps: usize,
    steps_offset: usize,
) -> Result<Vec<f64>, SchedulerError> {
    check_steps(steps, train_timesteps)?;
    Ok(match spacing {
        TimestepSpacing::Leading => leading(train_timesteps / steps, steps, steps_offset),
        TimestepSpacing::Trailing => {
            trailing(train_timesteps, train_timesteps as f64 / steps as f64)
        }
        TimestepSpacing::Linspace => {
            linspace(0.0, (train_timesteps - 1) as f64, steps).into_iter().rev().collect()
        }
    })
}

/// [`spaced`] as whole timesteps, all of which are in the training's table.
pub(super) fn whole_timesteps(
    spacing: TimestepSpacing,
    train_timesteps: usize,
    steps: usize,
    offset: usize,
) -> Result<Vec<usize>, SchedulerError> {
    let timesteps: Vec<usize> = spaced(spacing, train_timesteps, steps, offset)?
        .into_iter()
        .map(|timestep| timestep.round_ties_even() as usize)
        .collect();
    match timesteps.first() {
        Some(&first) if first >= train_timesteps => Err(SchedulerError::Config {
            key: "steps_offset",
            reason: format!(
                "is {offset}: with {steps} steps the run would start at timestep {first}, but the \
                 last one is {}",
                train_timesteps - 1
            ),
        }),
        _ => Ok(timesteps),
    }
}

/// Refuses runs of no steps and of more steps than `most`.
pub(super) fn check_steps(steps: usize, most: usize) -> Result<(), SchedulerError> {
    match steps {
        0 => Err(SchedulerError::NoSteps),
        steps if steps > most => Err(SchedulerError::TooManySteps { steps, most }),
        _ => Ok(()),
    }
}

/// The timesteps that each step of A1111's DDIM and PLMS goes from and to (`modules/
/// sd_samplers_timesteps.py`, `get_timesteps`): one step fewer than asked for where their number
/// divides the training's, else as many or more.
///
/// # Errors
///
/// Those of [`spaced`], and [`SchedulerError::TooFewSteps`] for one step.
pub(super) fn a1111_timesteps(
    train_timesteps: usize,
    steps: usize,
) -> Result<Vec<(usize, usize)>, SchedulerError> {
    check_steps(steps, train_timesteps)?;
    if steps == 1 {
        let reason = "between two noise levels of A1111 there is one step";
        return Err(SchedulerError::TooFewSteps { steps, least: 2, reason });
    }
    let timesteps: Vec<usize> = (0..train_timesteps)
        .step_by(train_timesteps / steps)
        .map(|timestep| (timestep + 1).min(train_timesteps - 1))
        .collect();
    Ok(timesteps.windows(2).rev().map(|pair| (pair[1], pair[0])).collect())
}

/// `steps` timesteps, `ratio` apart, the last of which is `offset`.
pub(super) fn leading(ratio: usize, steps: usize, offset: usize) -> Vec<f64> {
    (0..steps).rev().map(|step| (step * ratio + offset) as f64).collect()
}

/// Whole timesteps from `end - 1` down, `ratio` apart, as far as they are at least 0.
pub(super) fn trailing(end: usize, ratio: f64) -> Vec<f64> {
    let end = end as f64;
    // The tolerance takes back the rounding of `ratio`, which must not add a step.
    let steps = (end / ratio - 1e-6).ceil() as usize;
    (0..steps).map(|step| (end - step as f64 * ratio).round_ties_even() - 1.0).collect()
}

/// How many of the last sigmas, `most` at the most, a difference can be taken over: rounded
/// timesteps can repeat a sigma.
pub(super) fn distinct_at_end(sigmas: &[f64], most: usize) -> usize {
    let different = sigmas.windows(2).rev().take_while(|pair| pair[0] != pair[1]).count() + 1;
    different.min(most)
}

/// `count` evenly spaced numbers, as numpy's `linspace` gives them.
pub(super) fn linspace(start: f64, end: f64, count: usize) -> Vec<f64> {
    let intervals = count.saturating_sub(1).max(1);
    let step = (end - start) / intervals as f64;
    (0..count)
        .map(
            |index| {
                if index > 0 && index == intervals { end } else { start + step * index as f64 }
            },
        )
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn published_examples() {
        let spaced = |spacing, steps| spaced(spacing, 1000, steps, 1).unwrap();
        assert_eq!(spaced(TimestepSpacing::Leading, 4), [751.0, 501.0, 251.0, 1.0]);
        assert_eq!(spaced(TimestepSpacing::Trailing, 4), [999.0, 749.0, 499.0, 249.0]);
        assert_eq!(spaced(TimestepSpacing::Linspace, 4), [999.0, 666.0, 333.0, 0.0]);
        assert_eq!(spaced(TimestepSpacing::Linspace, 1), [0.0]);
    }

    #[test]
    fn every_number_of_steps_is_kept() {
        for spacing in
            [TimestepSpacing::Leading, TimestepSpacing::Trailing, TimestepSpacing::Linspace]
        {
            for steps in 1..=1000 {
                let timesteps = spaced(spacing, 1000, steps, 0).unwrap();
                assert_eq!(timesteps.len(), steps, "{spacing:?}");
                assert!(timesteps.iter().all(|timestep| (0.0..1000.0).contains(timestep)));
                assert!(timesteps.is_sorted_by(|earlier, later| earlier > later));
            }
        }
    }

    #[test]
    fn differences_stop_at_a_repeated_sigma() {
        assert_eq!(distinct_at_end(&[4.0, 3.0, 3.0, 2.0, 1.0], 4), 3);
        assert_eq!(distinct_at_end(&[4.0, 3.0, 2.0], 2), 2);
        assert_eq!(distinct_at_end(&[4.0, 4.0], 2), 1);
        assert_eq!(distinct_at_end(&[4.0], 3), 1);
    }

    #[test]
    fn numbers_of_steps_are_checked() {
        let spaced = |steps| spaced(TimestepSpacing::Leading, 1000, steps, 1);
        assert!(matches!(spaced(0), Err(SchedulerError::NoSteps)));
        assert!(matches!(
            spaced(1001),
            Err(SchedulerError::TooManySteps { steps: 1001, most: 1000 })
        ));
    }
}
