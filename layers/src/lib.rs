//! Blocks that the networks share, and how they get their weights.

pub mod activation;
pub mod attention;
pub mod conv;
pub mod feature_map;
pub mod feed_forward;
pub mod forward_pass;
pub mod interrupt;
mod kernels;
pub mod linear;
pub mod memory;
pub mod norm;
pub mod resample;
pub mod resnet;
pub mod stored_tensor;
pub mod weights;
