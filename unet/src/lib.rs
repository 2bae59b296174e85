//! The UNet of Stable Diffusion 1, 2 and XL.

mod blocks;
pub mod config;
mod levels;
mod memory;
mod timestep_embedding;
mod transformer_2d;
mod unet_2d_condition;

pub use config::UNet2DConditionConfig;
pub use timestep_embedding::Timesteps;
pub use unet_2d_condition::{AddedConditions, InputError, UNet2DConditionModel, UNetInput};
