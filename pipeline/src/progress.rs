//! What a run tells while it runs.

use std::{fmt, time::Duration};

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
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Encode => "encoding the prompt",
            Self::Denoise => "denoising",
            Self::Decode => "decoding the picture",
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
    /// An adapter holds tensors that have no use in the checkpoint.
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
