//! Lossy WebP, which the image crate does not write.

use img_parts::{ImageEXIF, ImageICC, webp::WebP};

use super::{
    Picture, PictureError,
    write::{eight_bit, failed},
};

/// The longest side of a WebP picture in pixels (RFC 9649, section 2.5).
const MAX_SIDE: u32 = 16_383;

/// Encodes a picture with 8 bits, alpha without loss, its colour profile, and an EXIF block.
///
/// `quality` is from 1 to 100.
///
/// # Errors
///
/// [`PictureError::Encoding`], where the picture is too large.
pub(super) fn encode_lossy(
    picture: &Picture,
    quality: u8,
    exif: Option<Vec<u8>>,
) -> Result<Vec<u8>, PictureError> {
    let (width, height) = (picture.width(), picture.height());
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(failed(
            "WebP",
            &format!("the picture is {width}×{height} pixels, and a side has {MAX_SIDE} at most"),
        ));
    }
    let pixels = eight_bit(&picture.pixels);
    let quality = f32::from(quality);
    let encoded = if pixels.color().has_alpha() {
        ::webp::Encoder::from_rgba(&pixels.to_rgba8(), width, height).encode_simple(false, quality)
    } else {
        ::webp::Encoder::from_rgb(&pixels.to_rgb8(), width, height).encode_simple(false, quality)
    }
    .map_err(|error| failed("WebP", &format!("{error:?}")))?;
    if exif.is_none() && picture.icc_profile.is_none() {
        return Ok(encoded.to_vec());
    }
    let mut file = WebP::from_bytes(encoded.to_vec().into())
        .map_err(|error| failed("WebP", &error.to_string()))?;
    file.set_icc_profile(picture.icc_profile.clone().map(Into::into));
    file.set_exif(exif.map(Into::into));
    Ok(file.encoder().bytes().to_vec())
}
