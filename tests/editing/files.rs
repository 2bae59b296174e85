//! Pictures of every kind in and out, and files that are broken or hostile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Cursor;

use emberbrush_pipeline::picture::{
    Effort, FileFormat, Picture, PictureError, ProfileProblem, encode, encode_with, read,
    read_bytes, resized,
};
use image::{
    DynamicImage, ExtendedColorType, ImageBuffer, ImageEncoder, ImageFormat, Rgb, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
};

/// A picture of each kind of pixel, with other values in every channel.
fn kinds() -> Vec<DynamicImage> {
    let rgba = ImageBuffer::from_fn(19, 7, |x, y| {
        let value = |factor: u32| (x * 3001 * factor + y * 7919 + factor) as u16;
        image::Rgba([value(1), value(2), value(3), value(5)])
    });
    let deep = DynamicImage::ImageRgba16(rgba);
    vec![
        DynamicImage::ImageLuma8(deep.to_luma8()),
        DynamicImage::ImageLumaA8(deep.to_luma_alpha8()),
        DynamicImage::ImageRgb8(deep.to_rgb8()),
        DynamicImage::ImageRgba8(deep.to_rgba8()),
        DynamicImage::ImageLuma16(deep.to_luma16()),
        DynamicImage::ImageLumaA16(deep.to_luma_alpha16()),
        DynamicImage::ImageRgb16(deep.to_rgb16()),
        deep,
    ]
}

fn profile() -> Vec<u8> {
    moxcms::ColorProfile::new_display_p3().encode().unwrap()
}

#[test]
fn every_format_gives_back_what_it_says_it_keeps() {
    for format in
        [FileFormat::Png, FileFormat::Jpeg, FileFormat::WebP, FileFormat::Tiff, FileFormat::Bmp]
    {
        for pixels in kinds() {
            let picture = Picture::new(pixels);
            let bytes = encode(&picture, format, &[]).unwrap();
            let back = read_bytes(&bytes, "picture").unwrap();
            let what = format!("{format} {:?}", picture.pixels.color());
            assert_eq!((back.width(), back.height()), (19, 7), "{what}");
            if format.keeps(&picture, Effort::default()) {
                assert_eq!(back.pixels.to_rgba16(), picture.pixels.to_rgba16(), "{what}");
            }
        }
    }
    let deep = Picture::new(kinds().pop().unwrap());
    let keeps = |format: FileFormat| format.keeps(&deep, Effort::default());
    assert!(keeps(FileFormat::Png) && keeps(FileFormat::Tiff));
    assert!(!keeps(FileFormat::WebP) && !keeps(FileFormat::Jpeg));
}

#[test]
fn png_keeps_the_kind_of_pixel() {
    for pixels in kinds() {
        let picture = Picture { pixels, icc_profile: Some(profile()) };
        let bytes = encode(&picture, FileFormat::Png, &[]).unwrap();
        assert_eq!(read_bytes(&bytes, "picture").unwrap(), picture);
    }
}

#[test]
fn colour_profiles_are_kept_and_honoured() {
    let pixels = RgbImage::from_pixel(4, 4, Rgb([200, 60, 60]));
    let picture = Picture { pixels: DynamicImage::ImageRgb8(pixels), icc_profile: Some(profile()) };
    for format in [FileFormat::Png, FileFormat::Jpeg, FileFormat::WebP, FileFormat::Tiff] {
        for quality in [None, Some(80)] {
            let effort = Effort { quality, ..Effort::default() };
            let bytes = encode_with(&picture, format, &[], effort).unwrap();
            let back = read_bytes(&bytes, "picture").unwrap();
            assert_eq!(back.icc_profile, picture.icc_profile, "{format} {quality:?}");
            assert!(format.keeps_profile());
        }
    }
    assert!(!FileFormat::Bmp.keeps_profile());
    let srgb = picture.to_srgb();
    let [red, green, _] = srgb.get_pixel(0, 0).0.map(|value| value * 255.0);
    assert!(red > 210.0 && green < 55.0, "Display P3 is wider than sRGB: {red} {green}");
    let back = picture.from_srgb(srgb);
    for (value, expected) in back.get_pixel(0, 0).0.iter().zip([200.0, 60.0, 60.0]) {
        assert!((value * 255.0 - expected).abs() < 1.0, "{value}");
    }
    assert_eq!(picture.profile_problem(), None);
    let with = |profile: Vec<u8>| Picture { icc_profile: Some(profile), ..picture.clone() };
    let broken = with(vec![1, 2, 3]);
    assert_eq!(broken.to_srgb(), broken.to_raw(), "a broken profile is taken as sRGB");
    assert!(matches!(broken.profile_problem(), Some(ProfileProblem::Broken(_))));
    let grey = with(moxcms::ColorProfile::new_gray_with_gamma(2.2).encode().unwrap());
    assert_eq!(grey.profile_problem(), Some(ProfileProblem::NotRgb("Gray".to_owned())));
    assert_eq!(grey.to_srgb(), grey.to_raw());
    for length in 0..profile().len() {
        let cut = with(profile()[..length].to_vec());
        assert_eq!(cut.profile_problem().is_some(), cut.to_srgb() == cut.to_raw(), "{length}");
    }
}

#[test]
fn lossy_webp_is_near_the_picture_and_keeps_alpha() {
    let pixels = image::RgbaImage::from_fn(64, 48, |x, y| {
        image::Rgba([(x * 4) as u8, (y * 5) as u8, 90, (255 - x * 2) as u8])
    });
    let picture = Picture { pixels: pixels.clone().into(), icc_profile: Some(profile()) };
    let mut lengths = Vec::new();
    for quality in [100, 80, 10] {
        let effort = Effort { quality: Some(quality), ..Effort::default() };
        assert!(!FileFormat::WebP.keeps(&picture, effort));
        let bytes = encode_with(&picture, FileFormat::WebP, &[], effort).unwrap();
        lengths.push(bytes.len());
        let back = read_bytes(&bytes, "picture").unwrap();
        let back = back.pixels.to_rgba8();
        let mut difference = 0;
        for (one, other) in back.pixels().zip(pixels.pixels()) {
            assert_eq!(one.0[3], other.0[3], "alpha loses nothing");
            difference += u64::from(one.0[0].abs_diff(other.0[0]));
        }
        assert!(difference / (64 * 48) < 12, "quality {quality}: {difference}");
    }
    assert!(lengths[0] > lengths[1] && lengths[1] > lengths[2], "{lengths:?}");
    let wide = Picture::new(DynamicImage::new_rgb8(16_384, 1));
    let effort = Effort { quality: Some(80), ..Effort::default() };
    let error = encode_with(&wide, FileFormat::WebP, &[], effort).unwrap_err();
    assert!(error.to_string().contains("16383"), "{error}");
}

#[test]
fn transparent_parts_lie_on_white() {
    let pixels = image::RgbaImage::from_fn(2, 1, |x, _| image::Rgba([0, 0, 0, (x * 255) as u8]));
    let picture = Picture::new(DynamicImage::ImageRgba8(pixels));
    assert_eq!(picture.to_srgb().get_pixel(0, 0).0, [1.0; 3]);
    assert_eq!(picture.to_srgb().get_pixel(1, 0).0, [0.0; 3]);
    assert_eq!(picture.to_raw().get_pixel(0, 0).0, [0.0; 3], "diffusers leaves alpha out");
}

#[test]
fn palettes_become_colours() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Four);
    encoder.set_palette(vec![1, 2, 3, 250, 128, 7]);
    encoder.set_trns(vec![255, 90]);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0x01]).unwrap();
    writer.finish().unwrap();
    let picture = read_bytes(&bytes, "palette").unwrap();
    let expected = [[1, 2, 3, 255], [250, 128, 7, 90]];
    for (pixel, expected) in picture.pixels.to_rgba8().pixels().zip(expected) {
        assert_eq!(pixel.0, expected);
    }
}

/// Another grey in each quarter: 0 and 80 above, 160 and 240 below.
fn quarters() -> RgbImage {
    RgbImage::from_fn(32, 16, |x, y| Rgb([(x / 16 * 80 + y / 8 * 160) as u8; 3]))
}

/// EXIF with the one field Orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    exif
}

fn with_exif(orientation: u8, mut encoder: impl ImageEncoder) {
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    encoder.write_image(quarters().as_raw(), 32, 16, ExtendedColorType::Rgb8).unwrap();
}

/// A TIFF file says it in a field of its own.
fn tiff(orientation: u8) -> Vec<u8> {
    let pixels = quarters().into_raw();
    let (bits, directory) = (8 + pixels.len() as u32, 8 + pixels.len() as u32 + 6);
    let mut bytes = b"II*\0".to_vec();
    bytes.extend(directory.to_le_bytes());
    bytes.extend(&pixels);
    bytes.extend([8, 0, 8, 0, 8, 0]);
    // Tag, type (3 is 16 bits, 4 is 32), count and value.
    let fields: [(u16, u16, u32, u32); 10] = [
        (256, 3, 1, 32),
        (257, 3, 1, 16),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (274, 3, 1, orientation.into()),
        (277, 3, 1, 3),
        (278, 3, 1, 16),
        (279, 4, 1, pixels.len() as u32),
    ];
    bytes.extend((fields.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in fields {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

/// A picture's name, and what writes it with an orientation.
type Turned = (&'static str, fn(u8) -> Vec<u8>);

#[test]
fn pictures_are_turned_upright() {
    let files: [Turned; 4] = [
        ("photo.jpg", |orientation| {
            let mut bytes = Vec::new();
            with_exif(orientation, JpegEncoder::new_with_quality(&mut bytes, 95));
            bytes
        }),
        ("photo.png", |orientation| {
            let mut bytes = Vec::new();
            with_exif(orientation, PngEncoder::new(&mut bytes));
            bytes
        }),
        ("photo.webp", |orientation| {
            let mut bytes = Vec::new();
            with_exif(orientation, WebPEncoder::new_lossless(&mut bytes));
            bytes
        }),
        ("photo.tiff", tiff),
    ];
    // Which quarter of the file comes to be above left, above right, below left and below right.
    let places = [
        [0, 1, 2, 3],
        [1, 0, 3, 2],
        [3, 2, 1, 0],
        [2, 3, 0, 1],
        [0, 2, 1, 3],
        [2, 0, 3, 1],
        [3, 1, 2, 0],
        [1, 3, 0, 2],
    ];
    for (name, write) in files {
        for (orientation, places) in (1..).zip(places) {
            let picture = read_bytes(&write(orientation), name).unwrap();
            let (width, height) = if orientation < 5 { (32, 16) } else { (16, 32) };
            assert_eq!(
                (picture.width(), picture.height()),
                (width, height),
                "{name} {orientation}"
            );
            let pixels = picture.pixels.to_luma8();
            let middle = |quarter: u32| {
                let (x, y) = (quarter % 2, quarter / 2);
                pixels.get_pixel(width / 4 + x * width / 2, height / 4 + y * height / 2).0[0]
            };
            let found = [0, 1, 2, 3].map(|quarter| (f64::from(middle(quarter)) / 80.0).round());
            assert_eq!(found, places.map(f64::from), "{name}, orientation {orientation}");
        }
    }
}

#[test]
fn broken_files_are_refused_with_their_name() {
    let picture = Picture::new(kinds().swap_remove(2));
    for format in
        [FileFormat::Png, FileFormat::Jpeg, FileFormat::WebP, FileFormat::Tiff, FileFormat::Bmp]
    {
        let bytes = encode(&picture, format, &[]).unwrap();
        // Some decoders make do with most of a file, none with its first bytes.
        for length in (0..bytes.len() / 2).step_by(3) {
            if let Err(error) = read_bytes(&bytes[..length], "half") {
                assert!(error.to_string().starts_with("half: "), "{error}");
            } else {
                assert!(format == FileFormat::Jpeg, "{format} cut to {length}");
            }
        }
    }
    for bytes in [&b""[..], b"GIF89a", b"not a picture", b"%PDF-1.7"] {
        let error = read_bytes(bytes, "text").unwrap_err();
        assert!(matches!(error, PictureError::Format { .. }), "{error}");
    }
    let error = read(std::path::Path::new("does-not-exist.png")).unwrap_err();
    assert!(matches!(error, PictureError::Io { .. }), "{error}");
    assert!(matches!(read(&std::env::temp_dir()).unwrap_err(), PictureError::Io { .. }));
}

#[test]
fn a_header_of_65535_pixels_a_side_is_refused_before_memory_is_taken() {
    let mut png = Vec::new();
    let mut writer = png::Encoder::new(&mut png, 65_535, 65_535).write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9C]).unwrap();
    drop(writer);
    let mut bmp = encode(&Picture::new(kinds().swap_remove(2)), FileFormat::Bmp, &[]).unwrap();
    bmp[18..20].copy_from_slice(&65_535_u16.to_le_bytes());
    bmp[22..24].copy_from_slice(&65_535_u16.to_le_bytes());
    let mut jpeg = encode(&Picture::new(kinds().swap_remove(2)), FileFormat::Jpeg, &[]).unwrap();
    let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xFF);
    for (name, bytes) in [("huge.png", png), ("huge.bmp", bmp), ("huge.jpg", jpeg)] {
        let error = read_bytes(&bytes, name).unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
        if name == "huge.png" {
            assert!(error.contains("65535×65535") && error.contains("128 million"), "{error}");
        }
    }
}

#[test]
fn a_bomb_is_refused() {
    // 20000² black pixels in a few kilobytes.
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 20_000, 20_000);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![0; 20_000 * 2_500]).unwrap();
    writer.finish().unwrap();
    assert!(bytes.len() < 200_000, "{}", bytes.len());
    let error = read_bytes(&bytes, "bomb.png").unwrap_err();
    assert!(matches!(error, PictureError::TooLarge { .. }), "{error}");
}

/// Pillow 11's `Image.resize(size, Image.LANCZOS)` of the same picture.
#[test]
fn lanczos_is_that_of_pillow() {
    let picture = RgbImage::from_fn(23, 17, |x, y| {
        Rgb([
            ((x * 37 + y * 11) % 256) as u8,
            ((x * x * 5 + y * y * 3) % 256) as u8,
            if (x / 4 + y / 3) % 2 == 1 { 255 } else { 0 },
        ])
    });
    let picture = DynamicImage::ImageRgb8(picture).to_rgb32f();
    let small = [
        36, 4, 0, 166, 83, 173, 110, 165, 235, 93, 147, 0, 182, 162, 249, 56, 102, 153, 182, 89, 0,
        106, 150, 255, 60, 22, 159, 184, 106, 118, 117, 121, 105, 125, 88, 159, 148, 147, 102, 73,
        119, 122, 187, 107, 158, 82, 160, 97,
    ];
    let large = [
        0, 0, 0, 8, 1, 0, 33, 4, 0, 57, 12, 7, 76, 22, 0, 98, 36, 0, 118, 52, 50, 141, 73, 217,
        157, 96, 255, 181, 123, 255, 234, 148, 243, 204, 191, 255, 62, 249, 255, 0, 199, 198, 24,
        84, 32, 61, 64, 0,
    ];
    for ((width, height), expected, sum) in
        [((8, 8), small, 24_075_i64), ((40, 24), large, 358_813)]
    {
        let resized = resized(&picture, width, height);
        let bytes: Vec<i64> = resized.iter().map(|value| (value * 255.0).round() as i64).collect();
        for (place, (byte, expected)) in bytes.iter().zip(expected).enumerate() {
            assert!((byte - expected).abs() <= 1, "{width}: {place}: {byte} for {expected}");
        }
        let difference = (bytes.iter().sum::<i64>() - sum).abs();
        assert!(difference < bytes.len() as i64 / 4, "{width}: {difference}");
    }
}

#[test]
fn files_are_told_by_content_and_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really-a.png");
    let mut bytes = Cursor::new(Vec::new());
    kinds()[2].write_to(&mut bytes, ImageFormat::Bmp).unwrap();
    std::fs::write(&path, bytes.into_inner()).unwrap();
    assert_eq!(read(&path).unwrap().pixels.to_rgb8(), kinds()[2].to_rgb8());
}
