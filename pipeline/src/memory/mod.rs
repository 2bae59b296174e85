//! Memory: what there is, what a run will take, and how it takes less.
//!
//! A [`MemoryPlan`] is worked out before a checkpoint is loaded, from its configuration files, the
//! headers of its weight files and the shapes of what is asked for.

mod additions;
mod model;
mod plan;
mod planner;
mod predict;
mod process;
mod retry;
#[cfg(test)]
mod small_cards;
mod space;
mod workload;

pub(crate) use additions::Additions;
pub use additions::{AdapterMemory, PlanContext, PromptSize};
pub use model::{KeptWeights, ModelMemory, NetworkWeights, PreviewMemory};
pub use plan::{InsufficientMemory, MemoryPlan, MemorySettings, StepDown, TextEncoderUse};
pub use planner::MemoryPlanner;
pub use predict::{RunStage, StageMemory};
pub use process::{
    AvailableMemory, MemoryBound, available, peak_resident_bytes, resident_bytes, total_bytes,
};
pub use retry::{is_allocation_failure, retry_with_less};
pub use space::{Budget, MemoryAllowance, MemoryMode, MemorySpace};
pub use workload::{Enlargement, Pass, Workload};
