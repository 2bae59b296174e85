//! What a run tells while it runs.

use std::{fmt, ops::ControlFlow, time::Duration};

use emberbrush_layers::interrupt::Cancelled;
use image::RgbImage;
use serde::Serialize;

use crate::{adapters::UnusedKeys, memory::StepDown};

/// The parts of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The prompt becomes conditioning.
    Encode,
    /// Noise becomes latents, step by step.
    Denoise,
    /// Latents become a picture.
    Decode,
    /// A picture becomes larger.
    Enlarge,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Encode => "encoding the prompt",
            Self::Denoise => "denoising",
            Self::Decode => "decoding the picture",
            Self::Enlarge => "enlarging the picture",
        })
    }
}

/// Something that happened during a run. The answer `Break` cancels the run.
#[derive(Debug)]
pub enum ProgressEvent {
    /// A block of a network is about to run. Comes often and asks only whether to go on.
    Checkpoint,
    /// The run takes less memory than was asked for, in this way.
    SteppedDown(StepDown),
    /// An adapter or a ControlNet holds tensors that have no use in the checkpoint.
    UnusedKeys(UnusedKeys),
    /// A part of the run begins.
    Stage(Stage),
    /// A denoising step is done.
    Step {
        /// Its number, from 1.
        step: u32,
        /// How many there are.
        steps: u32,
        /// How long the device took for it.
        duration: Duration,
        /// What the picture may become, one pixel for each latent.
        preview: Option<RgbImage>,
    },
}

/// Tells that a part of a run begins.
///
/// # Errors
///
/// `on_event` broke.
pub(crate) fn begin(
    stage: Stage,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<(), Cancelled> {
    tell(ProgressEvent::Stage(stage), on_event)
}

/// Tells what happened.
///
/// # Errors
///
/// `on_event` broke.
pub(crate) fn tell(
    event: ProgressEvent,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<(), Cancelled> {
    match on_event(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Cancelled),
    }
}
