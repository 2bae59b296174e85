//! Why an image could not be made.

use emberbrush_layers::interrupt::Cancelled;
use emberbrush_text_encoder::prompt::PromptError;
use thiserror::Error;

use crate::{
    adapters::AdapterError, checkpoint::CheckpointError, device::DeviceError,
    memory::InsufficientMemory, picture::PictureError, request::RequestError,
    schedulers::SchedulerError,
};

/// Why an image could not be made.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The request itself cannot be met.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A prompt cannot be read.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The checkpoint cannot do what was asked for.
    #[error("{model}: {reason}")]
    Model {
        /// The checkpoint.
        model: String,
        /// What it cannot do, and what can be done.
        reason: String,
    },
    /// The checkpoint could not be loaded.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An adapter cannot be used.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The device could not be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The scheduler refused the settings.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// A picture that the request starts from cannot be used.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The request cannot be met with the memory that there is.
    #[error(transparent)]
    Memory(#[from] InsufficientMemory),
    /// The device had no memory left while it worked, and nothing smaller could be tried.
    #[error("the device has no memory left: {reason}. Try a smaller picture, or `--device cpu`")]
    OutOfDeviceMemory {
        /// The driver's answer.
        reason: String,
    },
    /// Someone asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The device failed while it worked.
    #[error("{device} failed: {reason}. Try a smaller picture, or `--device cpu`")]
    Execution {
        /// The device.
        device: String,
        /// The driver's answer.
        reason: String,
    },
    /// The result is not an image.
    #[error(
        "the picture came out as not-a-number values. Try `--dtype f32`; if it stays so, the \
         checkpoint's weights are broken"
    )]
    NotANumber,
}
