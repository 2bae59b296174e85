//! The UNet of Stable Diffusion 1, 2 and XL, and ControlNets, which steer it.

mod blocks;
pub mod config;
mod contracting_path;
pub mod controlnet;
pub mod keys;
mod levels;
mod memory;
mod savings;
mod timestep_embedding;
mod token_merging;
mod transformer_2d;
mod unet_2d_condition;

pub use config::UNet2DConditionConfig;
pub use controlnet::{ControlNetConfig, ControlNetModel, ControlNetOutput, ControlStrength};
pub use memory::KeptTensors;
pub use savings::{CrossAttention, DeepFeatures, EvaluationCache, Savings};
pub use timestep_embedding::Timesteps;
pub use unet_2d_condition::{AddedConditions, InputError, UNet2DConditionModel, UNetInput};
