//! Why a scheduler could not be built or started.

use thiserror::Error;

use super::sampler::{Sampler, Schedule};

/// Why a scheduler could not be built or started.
#[derive(Debug, Error)]
pub enum SchedulerError {
    /// A run of no steps.
    #[error("the number of steps must be at least 1")]
    NoSteps,
    /// More steps than the model was trained with.
    #[error("{steps} steps are more than the {most} that this sampler can make with this model")]
    TooManySteps {
        /// The steps asked for.
        steps: usize,
        /// The most that can be made.
        most: usize,
    },
    /// Fewer steps than the sampler's start needs.
    #[error("{steps} steps are fewer than the {least} that this sampler needs: {reason}")]
    TooFewSteps {
        /// The steps asked for.
        steps: usize,
        /// The fewest that can be made.
        least: usize,
        /// What needs them.
        reason: &'static str,
    },
    /// A sampler and a schedule that do not go together.
    #[error("the sampler {sampler} cannot use the schedule {schedule}: {reason}")]
    Pair {
        /// The sampler.
        sampler: Sampler,
        /// The schedule.
        schedule: Schedule,
        /// Why not.
        reason: &'static str,
    },
    /// The configuration asks for something that the sampler does not have.
    #[error("scheduler_config.json: the sampler {sampler} does not support {option}")]
    Unsupported {
        /// The sampler.
        sampler: Sampler,
        /// The key and its value.
        option: String,
    },
    /// A value of the configuration makes no sense.
    #[error("scheduler_config.json: `{key}` {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// `scheduler_config.json` is not the JSON that it should be.
    #[error("scheduler_config.json: {0}")]
    Json(#[from] serde_json::Error),
    /// A start so late that no step is left.
    #[error(
        "with this strength none of {steps} steps is made; raise the strength, or the number of \
         steps"
    )]
    NothingLeft {
        /// The steps of the run.
        steps: usize,
    },
    /// A start in the middle that the sampler cannot make.
    #[error("the sampler {sampler} cannot start in the middle of its run: {reason}")]
    Start {
        /// The sampler.
        sampler: Sampler,
        /// Why not.
        reason: &'static str,
    },
}
