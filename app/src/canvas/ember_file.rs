//! `.ember` files: a zip with a JSON manifest and PNGs. `docs/ember-file.md` describes them.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Cursor, Read, Seek, Write},
    path::Path,
};

use emberbrush_pipeline::{
    output::{OutputError, write_over},
    picture::PngCompression,
};
use thiserror::Error;
use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::{
    document::Document,
    manifest::{self, ContentError, Manifest, Part},
    mask,
};

/// The extension of the files.
pub const EXTENSION: &str = "ember";

/// The manifest's name in the zip.
const MANIFEST: &str = "document.json";

/// The longest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 16 << 20;

/// What all pictures of a document may take in memory, in bytes.
const MAX_DECODED: u64 = 4 << 30;

/// The most bytes of a pixel.
const MAX_PIXEL: u64 = 8;

/// What a PNG file may take beside its pixels, in bytes: a colour profile, headers.
const PNG_SURPLUS: u64 = 4 << 20;

/// Why a document could not be opened or saved.
#[derive(Debug, Error)]
pub enum EmberFileError {
    /// The file cannot be opened.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is no zip, or a damaged one.
    #[error("{path}: this is not an Emberbrush document, or a part of it is lost: {reason}")]
    Zip {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The content is not that of a document that can be read.
    #[error("{path}: {source}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong.
        source: ContentError,
    },
    /// The file could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Saves a document, over a file of that name.
///
/// # Errors
///
/// Where the file cannot be written; it is then as it was.
pub fn save(document: &Document, path: &Path) -> Result<(), EmberFileError> {
    let shown = || path.display().to_string();
    let mut file = Cursor::new(Vec::new());
    write(document, &mut file).map_err(|error| match error {
        WriteError::Zip(error) => EmberFileError::Zip { path: shown(), reason: error.to_string() },
        WriteError::Content(source) => EmberFileError::Content { path: shown(), source },
    })?;
    Ok(write_over(file.get_ref(), path)?)
}

#[derive(Debug, Error)]
enum WriteError {
    #[error(transparent)]
    Zip(#[from] ZipError),
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl From<std::io::Error> for WriteError {
    fn from(error: std::io::Error) -> Self {
        Self::Zip(ZipError::Io(error))
    }
}

fn write(document: &Document, file: &mut (impl Write + Seek)) -> Result<(), WriteError> {
    let mut parts: Vec<(String, Part<'_>)> = Vec::new();
    let mut names: HashMap<usize, String> = HashMap::new();
    let mut manifest = manifest::describe(document, &mut |part, proposed| {
        let name = names.entry(part.address()).or_insert_with(|| {
            parts.push((proposed.clone(), part));
            proposed
        });
        name.clone()
    });
    if !mask::is_empty(document.mask()) {
        manifest.mask = Some("mask.png".to_owned());
    }
    if !document.sketch().is_all([0; 4]) {
        manifest.sketch = Some("sketch.png".to_owned());
    }
    let mut zip = ZipWriter::new(file);
    let text = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    // PNGs are compressed already.
    let png = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file(MANIFEST, text)?;
    zip.write_all(&serde_json::to_vec_pretty(&manifest).map_err(ContentError::from)?)?;
    let compression = PngCompression::Balanced;
    for (name, part) in parts {
        zip.start_file(name, png)?;
        zip.write_all(&part.encode(compression).map_err(ContentError::from)?)?;
    }
    if let Some(name) = manifest.mask {
        zip.start_file(name, png)?;
        let mask = manifest::encode_mask(document.mask(), compression);
        zip.write_all(&mask.map_err(ContentError::from)?)?;
    }
    if let Some(name) = manifest.sketch {
        zip.start_file(name, png)?;
        let sketch = manifest::encode_sketch(document.sketch(), compression);
        zip.write_all(&sketch.map_err(ContentError::from)?)?;
    }
    zip.finish()?;
    Ok(())
}

/// Opens a document, which is named after its file.
///
/// # Errors
///
/// Where the file cannot be read, is damaged, of a later version, or takes more than 4 GiB.
pub fn open(path: &Path) -> Result<Document, EmberFileError> {
    let shown = || path.display().to_string();
    let file = File::open(path).map_err(|source| EmberFileError::Io { path: shown(), source })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut archive = ZipArchive::new(BufReader::new(file))
        .map_err(|error| EmberFileError::Zip { path: shown(), reason: error.to_string() })?;
    read(&mut archive, &name).map_err(|source| EmberFileError::Content { path: shown(), source })
}

fn read(archive: &mut ZipArchive<impl Read + Seek>, name: &str) -> Result<Document, ContentError> {
    let manifest = Manifest::parse(&read_part(archive, MANIFEST, MAX_MANIFEST)?)?;
    let mut left = MAX_DECODED;
    manifest.assemble(name, &mut |part, size| {
        let pixels = u64::from(size.0) * u64::from(size.1) * MAX_PIXEL;
        left = left
            .checked_sub(pixels)
            .ok_or(ContentError::TooLarge { most_megabytes: MAX_DECODED >> 20 })?;
        let bytes = read_part(archive, part, pixels + PNG_SURPLUS)?;
        manifest::decode(&bytes, part, size)
    })
}

/// Reads a part of at most `most` bytes. Parts are only looked up in the zip and never unpacked
/// to disk, so that their names lead nowhere else.
fn read_part(
    archive: &mut ZipArchive<impl Read + Seek>,
    part: &str,
    most: u64,
) -> Result<Vec<u8>, ContentError> {
    let damaged = |reason: String| ContentError::Damaged { part: part.to_owned(), reason };
    let file = archive.by_name(part).map_err(|error| match error {
        ZipError::FileNotFound => ContentError::Missing { part: part.to_owned() },
        error => damaged(error.to_string()),
    })?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(damaged(format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::ColorType;

    use super::*;
    use crate::canvas::{
        brush::{Brush, Ink, Stroke, StrokePoint},
        document::tests::{disc, layer, picture},
        layer::LayerId,
    };

    fn document(kind: ColorType) -> Document {
        let mut picture = picture(kind, 4);
        if kind == ColorType::Rgb16 {
            picture.icc_profile = moxcms::ColorProfile::new_display_p3().encode().ok();
        }
        let mut document = Document::new("apple", picture);
        for ink in [Ink::MaskPaint, Ink::SketchPaint([9, 99, 199])] {
            let brush = Brush { size: 12.0, hardness: 0.3 };
            let mut stroke = Stroke::new(brush, ink, document.sketch());
            let (mask, sketch) = document.surfaces_mut();
            stroke.extend(StrokePoint::new(20.0, 20.0), mask, sketch);
        }
        document.add_layer(layer(&document, &disc(20.0, 20.0, 9.0), 3)).unwrap();
        document.add_layer(layer(&document, &disc(30.0, 24.0, 11.0), 2)).unwrap();
        document.edit_layer(LayerId(1), |layer| layer.choose(2)).unwrap().unwrap();
        document.set_visible(LayerId(2), false);
        document.rename_layer(LayerId(2), "사과 🍎");
        document
    }

    fn assert_same(found: &Document, expected: &Document) {
        assert_eq!(found.name, expected.name);
        assert_eq!(found.picture(), expected.picture());
        assert_eq!(found.mask().to_vec(0), expected.mask().to_vec(0));
        assert_eq!(found.sketch().to_vec([0; 4]), expected.sketch().to_vec([0; 4]));
        assert_eq!(found.layers().len(), expected.layers().len());
        for (found, expected) in found.layers().iter().zip(expected.layers()) {
            assert_eq!(found.id(), expected.id());
            assert_eq!(found.name(), expected.name());
            assert_eq!(found.is_visible(), expected.is_visible());
            assert_eq!(found.chosen(), expected.chosen());
            assert_eq!(found.request(), expected.request());
            assert_eq!(found.mask().to_vec(0), expected.mask().to_vec(0));
            assert_eq!(found.patch().area(), expected.patch().area());
            assert_eq!(found.patch().weights(), expected.patch().weights());
            assert_eq!(found.variations().len(), expected.variations().len());
            for (found, expected) in found.variations().iter().zip(expected.variations()) {
                assert_eq!(found.seed(), expected.seed());
                assert_eq!(found.painted(), expected.painted());
                assert_eq!(found.below(), expected.below());
            }
        }
        assert_eq!(found.composite(), expected.composite());
    }

    #[test]
    fn everything_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apple.ember");
        for kind in [
            ColorType::L8,
            ColorType::La8,
            ColorType::Rgb8,
            ColorType::Rgba8,
            ColorType::L16,
            ColorType::La16,
            ColorType::Rgb16,
            ColorType::Rgba16,
        ] {
            let document = document(kind);
            save(&document, &path).unwrap();
            assert_same(&open(&path).unwrap(), &document);
        }
        let plain = Document::new("apple", picture(ColorType::Rgb8, 1));
        save(&plain, &path).unwrap();
        assert_same(&open(&path).unwrap(), &plain);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_variations_have_in_common_is_stored_once() {
        let mut file = Cursor::new(Vec::new());
        write(&document(ColorType::Rgb8), &mut file).unwrap();
        let archive = ZipArchive::new(file).unwrap();
        let names = archive.file_names().map(|name| name.unwrap().into_owned());
        let below = names.filter(|name| name.contains("below")).count();
        assert_eq!(below, 2, "one for each layer");
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apple.ember");
        save(&document(ColorType::Rgb8), &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in (0..whole.len()).step_by(97) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = open(&path).unwrap_err().to_string();
            assert!(error.contains("apple.ember"), "{error}");
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apple.ember");
        let document = document(ColorType::Rgb8);
        save(&document, &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(61) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            std::fs::write(&path, &damaged).unwrap();
            if let Ok(found) = open(&path) {
                assert_same(&found, &document);
            }
        }
    }

    /// The file with its manifest and parts changed.
    fn forged(change: impl Fn(&mut serde_json::Value, &mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        write(&document(ColorType::Rgb8), &mut file).unwrap();
        let mut archive = ZipArchive::new(file).unwrap();
        let names: Vec<String> =
            archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        let mut parts: Vec<(String, Vec<u8>)> = names
            .into_iter()
            .map(|name| {
                let bytes = read_part(&mut archive, &name, 1 << 30).unwrap();
                (name, bytes)
            })
            .collect();
        let at = parts.iter().position(|(name, _)| name == MANIFEST).unwrap();
        let mut manifest = serde_json::from_slice(&parts[at].1).unwrap();
        change(&mut manifest, &mut parts);
        let at = parts.iter().position(|(name, _)| name == MANIFEST).unwrap();
        parts[at].1 = serde_json::to_vec(&manifest).unwrap();
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in parts {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(&bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn hostile_files_are_refused_with_what_is_wrong() {
        type Change = fn(&mut serde_json::Value, &mut Vec<(String, Vec<u8>)>);
        let cases: [(Change, &str); 13] = [
            (|json, _| json["version"] = 2.into(), "format version 2"),
            (|json, _| json["format"] = "psd".into(), "not an Emberbrush document"),
            (
                |json, _| json["picture"] = "../../etc/passwd".into(),
                "`../../etc/passwd` is missing",
            ),
            (|json, _| json["width"] = 60.into(), "61×47 pixels and should be 60×47"),
            (|json, _| json["width"] = u32::MAX.into(), "megabytes"),
            (|json, _| json["layers"][0]["left"] = u32::MAX.into(), "beyond the document"),
            (|json, _| json["layers"][0]["width"] = 1.into(), "should be 1×"),
            (|json, _| json["layers"][0]["chosen"] = 3.into(), "variation 4 of 3"),
            (|json, _| json["layers"][0]["variations"] = serde_json::json!([]), "variation 1 of 0"),
            (|json, _| json["layers"] = 7.into(), "document.json cannot be read"),
            (|_, parts| parts.retain(|(name, _)| !name.ends_with("weights.png")), "is missing"),
            (
                |_, parts| {
                    let mask = parts.iter_mut().find(|(name, _)| name == "mask.png").unwrap();
                    mask.1.truncate(40);
                },
                "`mask.png` is damaged",
            ),
            (
                |json, parts| {
                    let deep = picture(ColorType::Rgb16, 1);
                    let png = emberbrush_pipeline::picture::encode(&deep, Default::default(), &[]);
                    parts.push(("deep.png".to_owned(), png.unwrap()));
                    json["picture"] = "deep.png".into();
                },
                "pixels and the document",
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hostile.ember");
        for (change, expected) in cases {
            std::fs::write(&path, forged(change)).unwrap();
            let error = open(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("hostile.ember"), "{error}");
        }
        std::fs::write(&path, forged(|_, _| {})).unwrap();
        assert!(open(&path).is_ok());
    }

    #[test]
    fn bombs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.ember");
        // 64 MiB of zeros in the place of a picture of 61×47 pixels.
        let bomb = forged(|_, parts| {
            let at = parts.iter().position(|(name, _)| name == "picture.png").unwrap();
            parts[at].1 = vec![0; 64 << 20];
        });
        assert!(bomb.len() < 1 << 20);
        std::fs::write(&path, bomb).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("longer than"), "{error}");
        // A picture of a few bytes that says that it has billions of pixels.
        let bomb = forged(|json, parts| {
            json["width"] = 20_000.into();
            json["height"] = 20_000.into();
            let at = parts.iter().position(|(name, _)| name == "picture.png").unwrap();
            parts[at].1[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
            parts[at].1[20..24].copy_from_slice(&20_000_u32.to_be_bytes());
        });
        std::fs::write(&path, bomb).unwrap();
        assert!(open(&path).is_err());
    }

    #[test]
    fn a_file_of_version_1_opens_as_it_was_made() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/fixtures/ember/version-1.ember");
        let document = open(&path).unwrap();
        assert_eq!((document.name.as_str(), document.size()), ("version-1", (24, 16)));
        let picture = document.picture().pixels.to_rgb8();
        assert_eq!(picture.get_pixel(5, 7).0, [50, 105, 70]);
        assert_eq!(document.mask().get(3, 2), Some(255));
        assert_eq!(document.mask().get(9, 9), Some(0));
        assert_eq!(document.sketch().get(20, 12), Some([255, 138, 61, 255]));
        let [layer] = document.layers() else { unreachable!() };
        assert_eq!((layer.name(), layer.variations().len(), layer.chosen()), ("apple", 2, 1));
        assert_eq!(layer.request().prompt, "a red apple");
        let composite = document.composite().pixels.to_rgb8();
        assert_eq!(composite.get_pixel(12, 8).0, [20, 200, 20], "the second variation");
        assert_eq!(composite.get_pixel(7, 8), picture.get_pixel(7, 8), "of weight 0");
        assert_eq!(composite.get_pixel(23, 15), picture.get_pixel(23, 15));
    }
}
