//! The timesteps of models that were distilled to few steps.

use super::{RunSettings, SchedulerError, timesteps::check_steps};

/// The steps at which the published models were distilled.
const ORIGINAL_STEPS: usize = 50;

/// The timesteps of a run: of those at which the model was distilled, as many as there are
/// steps, evenly from the noisiest on.
///
/// # Errors
///
/// [`SchedulerError::NoSteps`], [`SchedulerError::TooManySteps`], and [`SchedulerError::Config`]
/// where the model was distilled at more steps than it was trained with.
pub(super) fn distilled_timesteps(
    run: &RunSettings<'_>,
    train_timesteps: usize,
) -> Result<Vec<usize>, SchedulerError> {
    let original = run.config.original_inference_steps.unwrap_or(ORIGINAL_STEPS);
    if !(1..=train_timesteps).contains(&original) {
        return Err(SchedulerError::Config {
            key: "original_inference_steps",
            reason: format!("is {original}; it must be between 1 and {train_timesteps}"),
        });
    }
    check_steps(run.steps, original)?;
    let apart = train_timesteps / original;
    let ratio = original as f64 / run.steps as f64;
    Ok((0..run.steps).map(|step| (original - (step as f64 * ratio) as usize) * apart - 1).collect())
}
