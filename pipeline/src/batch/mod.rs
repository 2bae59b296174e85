//! Many images from one list of jobs: what is to be made is fixed before the first begins, and
//! what is made is written down as it is made.

mod csv;
mod file_name;
mod grid;
mod groups;
mod jobs;
mod manifest;
mod plan;
mod run;

pub use file_name::{FileNamePattern, PatternError};
pub use grid::{Axis, Grid, GridError};
pub use groups::{BatchSize, UnknownBatchSize};
pub use jobs::{Job, JobError, matrix, read};
pub use manifest::{Entry, Manifest, ManifestError};
pub use plan::{
    BatchPlan, Item, JobModel, PlanError, PlanSettings, Shard, StatedModel, UnknownShard,
};
pub use run::{ItemError, RunEvent, RunSettings, run};
