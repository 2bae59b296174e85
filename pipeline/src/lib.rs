//! Request in, images and progress events out.
//!
//! [`diffusion::DiffusionPipeline`] runs the whole way from a prompt to a picture; the other
//! modules are its parts.

pub mod adapters;
pub mod batch;
pub mod checkpoint;
pub mod device;
pub mod diffusion;
pub mod editing;
pub mod error;
#[cfg(all(any(feature = "wgpu", test), not(target_vendor = "apple")))]
mod graphics_memory;
#[cfg(feature = "wgpu")]
mod kernel_choice;
#[cfg(any(feature = "wgpu", test))]
mod kernel_folder;
pub mod memory;
pub mod metadata;
pub mod output;
pub mod picture;
mod picture_tensor;
pub mod places;
pub mod preview;
pub mod progress;
pub mod request;
pub mod rng;
pub mod schedulers;

pub mod prompt {
    //! What is written in a prompt, and how it is read.
    pub use emberbrush_text_encoder::{PartReading, PromptReading, Tokenizer, prompt::*};
}
