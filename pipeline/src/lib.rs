//! Request in, images and progress events out.

pub mod checkpoint;
pub mod rng;
pub mod schedulers;
