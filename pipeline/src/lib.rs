//! Request in, images and progress events out.

pub mod checkpoint;
