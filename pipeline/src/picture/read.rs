//! Reading pictures of any kind, within limits.

use std::{
    io::{BufRead, BufReader, Cursor, Seek},
    path::Path,
};

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, codecs::tiff::TiffDecoder,
    error::ImageError, metadata::Orientation,
};

use super::PictureError;

/// The most pixels that are read. A file of a few kilobytes can claim gigabytes of them.
const MAX_PIXELS: u64 = 128 * 1024 * 1024;

/// The longest side that is read.
const MAX_SIDE: u32 = 32_768;

/// The most memory that a decoder may take: 16-bit RGBA of [`MAX_PIXELS`].
const MAX_ALLOCATION: u64 = MAX_PIXELS * 8;

/// A picture as its file holds it: depth, grey, alpha and colour profile are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The pixels, turned upright.
    pub pixels: DynamicImage,
    /// The ICC colour profile; none means sRGB.
    pub icc_profile: Option<Vec<u8>>,
}

impl Picture {
    /// A picture in sRGB.
    pub fn new(pixels: DynamicImage) -> Self {
        Self { pixels, icc_profile: None }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.pixels.width()
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.pixels.height()
    }
}

/// Reads a PNG, JPEG, WebP, TIFF or BMP file, told by its content and not by its name.
///
/// EXIF orientation is applied.
///
/// # Errors
///
/// [`PictureError::Io`], [`PictureError::Format`], [`PictureError::Broken`] and, before anything
/// is decoded, [`PictureError::TooLarge`].
pub fn read(path: &Path) -> Result<Picture, PictureError> {
    let shown = path.display().to_string();
    let file = std::fs::File::open(path)
        .map_err(|source| PictureError::Io { path: shown.clone(), source })?;
    read_from(BufReader::new(file), &shown)
}

/// [`read`] from memory; `name` is for messages.
///
/// # Errors
///
/// As [`read`].
pub fn read_bytes(bytes: &[u8], name: &str) -> Result<Picture, PictureError> {
    read_from(Cursor::new(bytes), name)
}

fn read_from(source: impl BufRead + Seek, name: &str) -> Result<Picture, PictureError> {
    let broken = |error: ImageError| PictureError::Broken {
        path: name.to_owned(),
        reason: error.to_string(),
    };
    let mut reader = ImageReader::new(source)
        .with_guessed_format()
        .map_err(|source| PictureError::Io { path: name.to_owned(), source })?;
    let known = matches!(
        reader.format(),
        Some(
            ImageFormat::Png
                | ImageFormat::Jpeg
                | ImageFormat::WebP
                | ImageFormat::Tiff
                | ImageFormat::Bmp
        )
    );
    if !known {
        return Err(PictureError::Format { path: name.to_owned() });
    }
    let tiff_profile;
    (reader, tiff_profile) = profile_of_tiff(reader)
        .map_err(|source| PictureError::Io { path: name.to_owned(), source })?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PictureError::TooLarge {
            path: name.to_owned(),
            width,
            height,
            most: MAX_PIXELS >> 20,
        });
    }
    if width == 0 || height == 0 {
        return Err(PictureError::Broken {
            path: name.to_owned(),
            reason: "it has no pixels".to_owned(),
        });
    }
    // Broken metadata is no reason to refuse pixels that can be read.
    let icc_profile = tiff_profile
        .or_else(|| decoder.icc_profile().ok().flatten())
        .filter(|profile| !profile.is_empty());
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut pixels = DynamicImage::from_decoder(decoder).map_err(broken)?;
    pixels.apply_orientation(orientation);
    Ok(Picture { pixels: integer(pixels), icc_profile })
}

/// The colour profile of a TIFF file. Once limits are set, the decoder reads none that is longer than
/// a small part of the pixels, so it is asked before, with the limits that it has by itself.
fn profile_of_tiff<R: BufRead + Seek>(
    reader: ImageReader<R>,
) -> std::io::Result<(ImageReader<R>, Option<Vec<u8>>)> {
    if reader.format() != Some(ImageFormat::Tiff) {
        return Ok((reader, None));
    }
    let mut source = reader.into_inner();
    source.rewind()?;
    let decoder = TiffDecoder::new(&mut source).ok();
    let profile = decoder.and_then(|mut decoder| decoder.icc_profile().ok().flatten());
    source.rewind()?;
    Ok((ImageReader::with_format(source, ImageFormat::Tiff), profile))
}

/// Floating-point pictures (TIFF) become 16-bit ones, so that every pixel can be written again.
fn integer(pixels: DynamicImage) -> DynamicImage {
    match pixels {
        DynamicImage::ImageRgb32F(_) => DynamicImage::ImageRgb16(pixels.to_rgb16()),
        DynamicImage::ImageRgba32F(_) => DynamicImage::ImageRgba16(pixels.to_rgba16()),
        other => other,
    }
}
