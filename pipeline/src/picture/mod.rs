//! Pictures that people give and get: files, masks, sizes and the pasting of one into another.

mod bounds;
mod canny;
mod colour;
mod distance;
mod error;
mod mask;
mod membrane;
mod paste;
mod read;
mod resize;
mod seamless;
mod surroundings;
mod tiles;
mod webp;
mod write;

use image::{ImageBuffer, Luma};

pub use bounds::{Rectangle, fitted_size, native_size};
pub use canny::canny;
pub use colour::ProfileProblem;
pub use error::PictureError;
pub use mask::{MaskEdge, MaskSource, mask_from};
pub use paste::{Recount, paste, place, recount};
pub use read::{Picture, read, read_bytes};
pub use resize::{resized, view, view_mask};
pub use seamless::match_colours;
pub use surroundings::filled_from_surroundings;
pub use tiles::{Blend, Tiles};
pub use write::{
    DEFAULT_JPEG_QUALITY, Effort, FileFormat, PngCompression, UnknownFormat, encode, encode_with,
};

/// A value from 0 (keep) to 1 (repaint) for each pixel.
pub type Mask = ImageBuffer<Luma<f32>, Vec<f32>>;
