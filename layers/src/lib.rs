//! Blocks that the networks share, and how they get their weights.

pub mod activation;
pub mod attention;
pub mod conv;
pub mod interrupt;
pub mod linear;
pub mod norm;
pub mod weights;
