//! The UNet of Stable Diffusion 1, 2 and XL, and ControlNets, which steer it.

mod blocks;
pub mod config;
mod contracting_path;
pub mod controlnet;
pub mod keys;
mod levels;
mod memory;
mod timestep_embedding;
mod transformer_2d;
mod unet_2d_condition;

pub use config::UNet2DConditionConfig;
pub use controlnet::{ControlNetConfig, ControlNetModel, ControlNetOutput, ControlStrength};
pub use timestep_embedding::Timesteps;
pub use unet_2d_condition::{AddedConditions, InputError, UNet2DConditionModel, UNetInput};
