//! Blocks that the networks share, and how they get their weights.

pub mod interrupt;
pub mod weights;
