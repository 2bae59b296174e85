//! Blocks that the networks share, and how they get their weights.

pub mod activation;
pub mod attention;
pub mod conv;
pub mod feed_forward;
pub mod forward_pass;
pub mod interrupt;
pub mod linear;
pub mod memory;
pub mod norm;
pub mod resample;
pub mod resnet;
pub mod weights;
