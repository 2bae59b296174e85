//! Why a picture could not be read, used or written.

use thiserror::Error;

/// Why a picture could not be read, used or written.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The file could not be opened.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Not a picture, or not one of the formats that are read.
    #[error("{path}: this is not a PNG, JPEG, WebP, TIFF or BMP picture")]
    Format {
        /// The file.
        path: String,
    },
    /// The file's content is damaged or of a kind that the decoder does not know.
    #[error("{path}: the picture is damaged or of an unknown kind: {reason}")]
    Broken {
        /// The file.
        path: String,
        /// The decoder's answer.
        reason: String,
    },
    /// More pixels than are read.
    #[error(
        "{path}: the picture says that it is {width}×{height} pixels; at most {most} million \
         pixels are read"
    )]
    TooLarge {
        /// The file.
        path: String,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The most that are read, in millions.
        most: u64,
    },
    /// The mask and the picture do not belong together.
    #[error(
        "the mask is {mask_width}×{mask_height} pixels and the picture {width}×{height}; they \
         must be of one size"
    )]
    MaskSize {
        /// Width of the mask.
        mask_width: u32,
        /// Height of the mask.
        mask_height: u32,
        /// Width of the picture.
        width: u32,
        /// Height of the picture.
        height: u32,
    },
    /// Nothing would be painted.
    #[error(
        "the mask is empty: nothing would be repainted. White is what is repainted; --invert-mask swaps"
    )]
    EmptyMask,
    /// A part of the mask lies where the model does not see it.
    #[error(
        "the mask reaches into the part that cropping cuts off; use --resize fit or stretch, or \
         --mask-area masked"
    )]
    MaskCropped,
    /// The picture could not be encoded.
    #[error("the {format} file could not be encoded: {reason}")]
    Encoding {
        /// The format.
        format: &'static str,
        /// The encoder's answer.
        reason: String,
    },
}
