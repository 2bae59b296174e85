//! Encoding pictures with their depth, alpha and colour profile.

use std::{borrow::Cow, fmt, io::Cursor, path::Path, str::FromStr};

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder,
    codecs::{bmp::BmpEncoder, jpeg::JpegEncoder, tiff::TiffEncoder, webp::WebPEncoder},
};
use png::text_metadata::{ITXtChunk, TEXtChunk};
use serde::{Deserialize, Serialize};

use super::{Picture, PictureError, webp};
use crate::metadata::{EMBERBRUSH, PARAMETERS, exif};

/// The longest EXIF block that a JPEG segment holds.
const MAX_JPEG_EXIF: usize = 65_535 - 2 - 6;

/// Quality of JPEG files where none is asked for.
pub const DEFAULT_JPEG_QUALITY: u8 = 95;

/// How hard the PNG encoder tries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PngCompression {
    /// Larger files, written at once.
    Fast,
    /// The usual trade.
    #[default]
    Balanced,
    /// The smallest files, several times slower.
    High,
}

impl From<PngCompression> for png::Compression {
    fn from(compression: PngCompression) -> Self {
        match compression {
            PngCompression::Fast => Self::Fast,
            PngCompression::Balanced => Self::Balanced,
            PngCompression::High => Self::High,
        }
    }
}

/// How hard encoders try.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// Quality of JPEG and WebP files, from 1 to 100; without it JPEG has
    /// [`DEFAULT_JPEG_QUALITY`], and WebP loses nothing.
    pub quality: Option<u8>,
    /// Compression of PNG files.
    pub png_compression: PngCompression,
}

/// The format of a picture's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// Lossless, 8 or 16 bit.
    #[default]
    Png,
    /// Lossy, 8 bit, no alpha.
    Jpeg,
    /// Lossless, or lossy where a quality is asked for; 8 bit.
    WebP,
    /// Lossless, 8 or 16 bit.
    Tiff,
    /// Lossless, 8 bit, no colour profile.
    Bmp,
}

/// A format that is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown picture format `{0}`; there are png, jpeg, webp, tiff and bmp")]
pub struct UnknownFormat(String);

impl FileFormat {
    /// Every format, in the order in which a list shows them.
    pub const ALL: [Self; 5] = [Self::Png, Self::Jpeg, Self::WebP, Self::Tiff, Self::Bmp];

    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
            Self::Tiff => "tiff",
            Self::Bmp => "bmp",
        }
    }

    /// The format that a file's name asks for.
    pub fn of(path: &Path) -> Option<Self> {
        path.extension()?.to_str()?.parse().ok()
    }

    /// Whether files hold an ICC colour profile.
    pub fn keeps_profile(self) -> bool {
        self != Self::Bmp
    }

    /// Whether every pixel of `picture` comes back from a file that is encoded with `effort` as
    /// it was.
    pub fn keeps(self, picture: &Picture, effort: Effort) -> bool {
        let color = picture.pixels.color();
        let deep = color.bytes_per_pixel() > color.channel_count();
        match self {
            Self::Png | Self::Tiff => true,
            Self::Jpeg => false,
            Self::WebP => !deep && effort.quality.is_none(),
            Self::Bmp => !deep,
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::WebP => "webp",
            Self::Tiff => "tiff",
            Self::Bmp => "bmp",
        })
    }
}

impl FromStr for FileFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.to_ascii_lowercase().as_str() {
            "png" => Ok(Self::Png),
            "jpg" | "jpeg" => Ok(Self::Jpeg),
            "webp" => Ok(Self::WebP),
            "tif" | "tiff" => Ok(Self::Tiff),
            "bmp" => Ok(Self::Bmp),
            _ => Err(UnknownFormat(name.to_owned())),
        }
    }
}

/// Encodes a picture with the default [`Effort`]; see [`encode_with`].
pub fn encode(
    picture: &Picture,
    format: FileFormat,
    texts: &[(&str, String)],
) -> Result<Vec<u8>, PictureError> {
    encode_with(picture, format, texts, Effort::default())
}

/// Encodes a picture. `texts`, as `(keyword, text)`, go into PNG files, in `tEXt` chunks where
/// they are plain ASCII and in `iTXt` chunks elsewhere. JPEG and WebP files hold [`PARAMETERS`] as
/// the `UserComment` and [`EMBERBRUSH`] as the `MakerNote` of EXIF; where they are too long for a
/// JPEG, the latter and then both are left out.
///
/// Formats without 16 bits or alpha get 8 bits, and colours without alpha;
/// [`FileFormat::keeps`] tells beforehand.
///
/// # Errors
///
/// [`PictureError::Encoding`], for instance for a picture too large for the format.
pub fn encode_with(
    picture: &Picture,
    format: FileFormat,
    texts: &[(&str, String)],
    effort: Effort,
) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    if format == FileFormat::Png {
        encode_png(picture, texts, effort.png_compression, &mut bytes)
            .map_err(|error| failed("PNG", &error.to_string()))?;
        return Ok(bytes);
    }
    if let (FileFormat::WebP, Some(quality)) = (format, effort.quality) {
        return webp::encode_lossy(picture, quality, exif_block(texts, usize::MAX));
    }
    let icc = picture.icc_profile.clone().unwrap_or_default();
    let (name, result) = match format {
        FileFormat::Png => return Ok(bytes),
        FileFormat::Jpeg => {
            let pixels = match picture.pixels.color().has_color() {
                true => DynamicImage::ImageRgb8(picture.pixels.to_rgb8()),
                false => DynamicImage::ImageLuma8(picture.pixels.to_luma8()),
            };
            let mut encoder = JpegEncoder::new_with_quality(
                &mut bytes,
                effort.quality.unwrap_or(DEFAULT_JPEG_QUALITY),
            );
            let set = set_exif(&mut encoder, texts, MAX_JPEG_EXIF);
            ("JPEG", set.and_then(|()| write(encoder, &pixels, icc)))
        }
        FileFormat::WebP => {
            let pixels = eight_bit(&picture.pixels);
            let mut encoder = WebPEncoder::new_lossless(&mut bytes);
            let set = set_exif(&mut encoder, texts, usize::MAX);
            ("WebP", set.and_then(|()| write(encoder, &pixels, icc)))
        }
        FileFormat::Tiff => {
            // The encoder knows no grey with alpha.
            let pixels = match &picture.pixels {
                DynamicImage::ImageLumaA8(_) => DynamicImage::ImageRgba8(picture.pixels.to_rgba8()),
                DynamicImage::ImageLumaA16(_) => {
                    DynamicImage::ImageRgba16(picture.pixels.to_rgba16())
                }
                other => other.clone(),
            };
            let mut file = Cursor::new(&mut bytes);
            ("TIFF", write(TiffEncoder::new(&mut file), &pixels, icc))
        }
        FileFormat::Bmp => {
            let pixels = eight_bit(&picture.pixels);
            let pixels = match pixels {
                DynamicImage::ImageLumaA8(_) => DynamicImage::ImageRgba8(pixels.to_rgba8()),
                other => other,
            };
            ("BMP", write(BmpEncoder::new(&mut bytes), &pixels, Vec::new()))
        }
    };
    result.map_err(|error| failed(name, &error.to_string()))?;
    Ok(bytes)
}

pub(super) fn failed(format: &'static str, reason: &str) -> PictureError {
    PictureError::Encoding { format, reason: reason.to_owned() }
}

/// The texts as an EXIF block of at most `longest` bytes; `None` where there are none that fit.
fn exif_block(texts: &[(&str, String)], longest: usize) -> Option<Vec<u8>> {
    let find = |keyword| texts.iter().find(|(known, _)| *known == keyword).map(|(_, text)| text);
    let parameters = find(PARAMETERS)?;
    let own = find(EMBERBRUSH).map(String::as_str);
    [own, None]
        .into_iter()
        .map(|own| exif::block(parameters, own))
        .find(|block| block.len() <= longest)
}

fn set_exif(
    encoder: &mut impl ImageEncoder,
    texts: &[(&str, String)],
    longest: usize,
) -> image::ImageResult<()> {
    match exif_block(texts, longest) {
        Some(block) => encoder.set_exif_metadata(block).map_err(image::ImageError::Unsupported),
        None => Ok(()),
    }
}

fn write(
    mut encoder: impl ImageEncoder,
    pixels: &DynamicImage,
    icc: Vec<u8>,
) -> image::ImageResult<()> {
    if !icc.is_empty() {
        encoder.set_icc_profile(icc).map_err(image::ImageError::Unsupported)?;
    }
    let color = ExtendedColorType::from(pixels.color());
    encoder.write_image(pixels.as_bytes(), pixels.width(), pixels.height(), color)
}

pub(super) fn eight_bit(pixels: &DynamicImage) -> DynamicImage {
    match pixels {
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageLuma8(pixels.to_luma8()),
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageLumaA8(pixels.to_luma_alpha8()),
        DynamicImage::ImageRgb16(_) => DynamicImage::ImageRgb8(pixels.to_rgb8()),
        DynamicImage::ImageRgba16(_) => DynamicImage::ImageRgba8(pixels.to_rgba8()),
        other => other.clone(),
    }
}

fn encode_png(
    picture: &Picture,
    texts: &[(&str, String)],
    compression: PngCompression,
    bytes: &mut Vec<u8>,
) -> Result<(), png::EncodingError> {
    let (color, depth, pixels): (_, _, Cow<'_, [u8]>) = match &picture.pixels {
        DynamicImage::ImageLuma8(image) => {
            (png::ColorType::Grayscale, png::BitDepth::Eight, image.as_raw().into())
        }
        DynamicImage::ImageLumaA8(image) => {
            (png::ColorType::GrayscaleAlpha, png::BitDepth::Eight, image.as_raw().into())
        }
        DynamicImage::ImageRgba8(image) => {
            (png::ColorType::Rgba, png::BitDepth::Eight, image.as_raw().into())
        }
        DynamicImage::ImageLuma16(image) => {
            (png::ColorType::Grayscale, png::BitDepth::Sixteen, big_endian(image.as_raw()).into())
        }
        DynamicImage::ImageLumaA16(image) => (
            png::ColorType::GrayscaleAlpha,
            png::BitDepth::Sixteen,
            big_endian(image.as_raw()).into(),
        ),
        DynamicImage::ImageRgb16(image) => {
            (png::ColorType::Rgb, png::BitDepth::Sixteen, big_endian(image.as_raw()).into())
        }
        DynamicImage::ImageRgba16(image) => {
            (png::ColorType::Rgba, png::BitDepth::Sixteen, big_endian(image.as_raw()).into())
        }
        other => (png::ColorType::Rgb, png::BitDepth::Eight, other.to_rgb8().into_raw().into()),
    };
    let mut info = png::Info::with_size(picture.width(), picture.height());
    info.color_type = color;
    info.bit_depth = depth;
    info.icc_profile = picture.icc_profile.as_deref().map(Cow::Borrowed);
    let mut encoder = png::Encoder::with_info(bytes, info)?;
    encoder.set_compression(compression.into());
    let mut writer = encoder.write_header()?;
    for (keyword, text) in texts {
        // A text chunk holds no NUL.
        let text = text.replace('\0', " ");
        // The chunk of this program's own settings is always of one kind.
        if text.is_ascii() && *keyword != EMBERBRUSH {
            writer.write_text_chunk(&TEXtChunk::new(*keyword, text))?;
        } else {
            writer.write_text_chunk(&ITXtChunk::new(*keyword, text))?;
        }
    }
    writer.write_image_data(&pixels)?;
    writer.finish()
}

fn big_endian(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::metadata::{self, Program};

    const WITH_SETTINGS: [FileFormat; 3] = [FileFormat::Png, FileFormat::Jpeg, FileFormat::WebP];

    fn picture() -> Picture {
        Picture::new(DynamicImage::ImageRgb8(image::RgbImage::from_fn(24, 16, |x, y| {
            image::Rgb([x as u8 * 10, y as u8 * 15, 70])
        })))
    }

    fn texts(own: &str) -> Vec<(&'static str, String)> {
        let parameters = "a 고양이 🐈\nNegative prompt: \nSteps: 3, Sampler: Euler, Seed: 7";
        vec![(PARAMETERS, parameters.to_owned()), (EMBERBRUSH, own.to_owned())]
    }

    #[test]
    fn settings_come_back_from_every_format_that_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let own = r#"{"prompt":"a 고양이 🐈","steps":3,"version":"emberbrush 0.1.0"}"#;
        for format in WITH_SETTINGS {
            let path = folder.path().join(format.extension());
            std::fs::write(&path, encode(&picture(), format, &texts(own)).unwrap()).unwrap();
            let read = metadata::read(&path).unwrap();
            assert_eq!(read.program, Program::Emberbrush, "{format}");
            assert_eq!(read.fields["prompt"], "a 고양이 🐈", "{format}");

            // Other programs find their text.
            std::fs::write(&path, encode(&picture(), format, &texts("{}")).unwrap()).unwrap();
            let read = metadata::read(&path).unwrap();
            assert_eq!(read.program, Program::Automatic1111, "{format}");
            assert_eq!(read.fields["seed"], 7, "{format}");
        }
    }

    #[test]
    fn settings_too_long_for_a_jpeg_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.jpg");
        for (length, found) in [(30_000, true), (40_000, false)] {
            let long = "a".repeat(length);
            let texts = [(PARAMETERS, long.clone()), (EMBERBRUSH, long)];
            let bytes = encode(&picture(), FileFormat::Jpeg, &texts).unwrap();
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(metadata::read(&path).is_ok(), found, "{length}");
        }
    }

    #[test]
    fn broken_files_are_refused_or_read_as_far_as_they_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken");
        for format in WITH_SETTINGS {
            let whole = encode(&picture(), format, &texts("{}")).unwrap();
            for length in 0..whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                let _ = metadata::read(&path);
            }
        }
    }
}
