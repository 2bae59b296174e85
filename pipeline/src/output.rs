//! Writing finished images: whole or not at all, and never over another file.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use image::RgbImage;
use png::text_metadata::{ITXtChunk, TEXtChunk};
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::picture::FileFormat;

/// Why an image could not be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// A file or folder could not be made.
    #[error("{path}: cannot be written: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The image could not be encoded.
    #[error("{path}: the PNG could not be encoded: {source}")]
    Encoding {
        /// The file.
        path: String,
        /// The encoder's answer.
        source: png::EncodingError,
    },
    /// The name asks for a format that is not written, or for another than was asked for.
    #[error(
        "{path}: images are written as PNG, JPEG, WebP, TIFF or BMP; give a name that ends in \
         .png, .jpg, .webp, .tiff or .bmp and fits the format asked for, or a folder"
    )]
    Format {
        /// The file.
        path: String,
    },
    /// Every name that was tried is taken.
    #[error("{path}: a file of this name exists, and so do all numbered ones")]
    Taken {
        /// The file.
        path: String,
    },
}

/// Where finished images go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPlan {
    folder: PathBuf,
    /// The file name that was asked for, without its extension; `None` names files by image.
    stem: Option<String>,
    format: FileFormat,
}

impl OutputPlan {
    /// Understands `-o`: a name that ends in the extension of a format is a file of it; a folder,
    /// a name that ends in a separator and a name without extension are folders; nothing is the
    /// current folder. Without `format`, files in folders are PNG.
    ///
    /// The folder is made where it is absent, and tried, so that an unwritable place is known
    /// before minutes of work and not after them.
    pub fn prepare(output: Option<&Path>, format: Option<FileFormat>) -> Result<Self, OutputError> {
        let in_folders = format.unwrap_or_default();
        let plan = match output {
            None => Self { folder: PathBuf::new(), stem: None, format: in_folders },
            Some(path)
                if path.is_dir() || ends_with_separator(path) || path.extension().is_none() =>
            {
                Self { folder: path.to_owned(), stem: None, format: in_folders }
            }
            Some(path) => {
                let of_name = FileFormat::of(path).filter(|of| format.is_none_or(|f| f == *of));
                let (Some(format), Some(stem)) = (of_name, path.file_stem()) else {
                    return Err(OutputError::Format { path: path.display().to_string() });
                };
                Self {
                    folder: path.parent().unwrap_or(Path::new("")).to_owned(),
                    stem: Some(stem.to_string_lossy().into_owned()),
                    format,
                }
            }
        };
        let folder = folder_or_current(&plan.folder);
        let failed = |source| OutputError::Io { path: folder.display().to_string(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        NamedTempFile::new_in(folder).map_err(failed)?;
        Ok(plan)
    }

    /// The name wanted for an image: the one that was asked for, or one from seed and prompt.
    pub fn path(&self, seed: u64, prompt: &str) -> PathBuf {
        let stem = match &self.stem {
            Some(stem) => stem.clone(),
            None => match slug(prompt) {
                slug if slug.is_empty() => format!("{seed}"),
                slug => format!("{seed}-{slug}"),
            },
        };
        self.folder.join(format!("{stem}.{}", self.format.extension()))
    }

    /// The format of the files.
    pub fn format(&self) -> FileFormat {
        self.format
    }
}

/// The folder, or the current one for the empty path that a bare file name has above it.
fn folder_or_current(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

fn ends_with_separator(path: &Path) -> bool {
    path.to_string_lossy().ends_with(std::path::is_separator)
}

/// The first words of a prompt in letters, digits and dashes, safe on every file system.
fn slug(prompt: &str) -> String {
    const MAX_LENGTH: usize = 48;
    let mut slug = String::new();
    for word in prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if slug.len() + word.len() + 1 > MAX_LENGTH {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(&word.to_lowercase());
    }
    slug
}

/// Encodes `image` as PNG with a text chunk for each `(keyword, text)`, and writes it to
/// `wanted`, or to `wanted` with the next free number where that exists. Returns the path
/// written.
///
/// The file appears under its name only when it is whole and on disk.
pub fn write_png(
    image: &RgbImage,
    texts: &[(&str, String)],
    wanted: &Path,
) -> Result<PathBuf, OutputError> {
    let bytes = encode_png(image, texts)
        .map_err(|source| OutputError::Encoding { path: wanted.display().to_string(), source })?;
    write_new(&bytes, wanted)
}

/// Writes `bytes` to `wanted`, or to `wanted` with the next free number where that exists.
/// Returns the path written.
///
/// The file appears under its name only when it is whole and on disk.
pub fn write_new(bytes: &[u8], wanted: &Path) -> Result<PathBuf, OutputError> {
    let shown = || wanted.display().to_string();
    let io = |source| OutputError::Io { path: shown(), source };
    let folder = folder_or_current(wanted.parent().unwrap_or(Path::new("")));
    let mut file = NamedTempFile::with_prefix_in(".emberbrush-", folder).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    allow_reading(file.as_file()).map_err(io)?;
    for number in 0..100_000 {
        let path = numbered(wanted, number);
        match file.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                file = error.file;
            }
            Err(error) => return Err(io(error.error)),
        }
    }
    Err(OutputError::Taken { path: shown() })
}

/// Writes `bytes` to `path`, in place of a file of that name: for documents, whose name the person
/// chose. The earlier file stays as it was until the new one is whole and on disk.
pub fn write_over(bytes: &[u8], path: &Path) -> Result<(), OutputError> {
    let io = |source| OutputError::Io { path: path.display().to_string(), source };
    let folder = folder_or_current(path.parent().unwrap_or(Path::new("")));
    let mut file = NamedTempFile::with_prefix_in(".emberbrush-", folder).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    allow_reading(file.as_file()).map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// Temporary files are private; a finished picture has the permissions of any new file.
pub(crate) fn allow_reading(file: &fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// `picture.png`, `picture-1.png`, `picture-2.png`…
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{number}.{extension}"))
}

/// Encodes a PNG. Texts that are plain ASCII go into `tEXt` chunks, others into `iTXt`, as
/// readers of A1111's settings expect.
fn encode_png(image: &RgbImage, texts: &[(&str, String)]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    for (keyword, text) in texts {
        if text.is_ascii() {
            writer.write_text_chunk(&TEXtChunk::new(*keyword, text.clone()))?;
        } else {
            writer.write_text_chunk(&ITXtChunk::new(*keyword, text.clone()))?;
        }
    }
    writer.write_image_data(image.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn image() -> RgbImage {
        RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8 * 40, y as u8 * 80, 7]))
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("apple.png");
        fs::write(&wanted, "precious").unwrap();
        let first = write_png(&image(), &[], &wanted).unwrap();
        let second = write_png(&image(), &[], &wanted).unwrap();
        assert_eq!(first, folder.path().join("apple-1.png"));
        assert_eq!(second, folder.path().join("apple-2.png"));
        assert_eq!(fs::read(&wanted).unwrap(), b"precious");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary file is left");
    }

    #[test]
    fn a_document_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.ember");
        write_over(b"first", &path).unwrap();
        write_over(b"second", &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        fs::create_dir(folder.path().join("taken")).unwrap();
        fs::write(folder.path().join("taken/file"), "precious").unwrap();
        assert!(write_over(b"third", &folder.path().join("taken")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn pixels_and_texts_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let texts = [("parameters", "a cat\nSteps: 1".to_owned()), ("note", "고양이".to_owned())];
        let path = write_png(&image(), &texts, &folder.path().join("cat.png")).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), image());
        let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
        let reader = decoder.read_info().unwrap();
        let latin = &reader.info().uncompressed_latin1_text[0];
        assert_eq!(
            (latin.keyword.as_str(), latin.text.as_str()),
            ("parameters", "a cat\nSteps: 1")
        );
        let unicode = &reader.info().utf8_text[0];
        assert_eq!(unicode.get_text().unwrap(), "고양이");
    }

    #[test]
    fn the_extension_is_the_format() {
        let plan = OutputPlan::prepare(Some(Path::new("apple.JPG")), None).unwrap();
        assert_eq!(plan.format(), FileFormat::Jpeg);
        assert_eq!(plan.path(1, ""), Path::new("apple.jpg"));
        for (name, format) in [("apple.gif", None), ("apple.jpg", Some(FileFormat::Png))] {
            let error = OutputPlan::prepare(Some(Path::new(name)), format).unwrap_err();
            assert!(matches!(error, OutputError::Format { .. }), "{error}");
        }
    }

    #[test]
    fn folders_name_files_by_seed_and_prompt() {
        let folder = tempfile::tempdir().unwrap();
        let plan = OutputPlan::prepare(Some(&folder.path().join("new/")), None).unwrap();
        let path = plan.path(
            42,
            "A cat/dog: 고양이!\0 on a very long prompt that goes on and on and on and on",
        );
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("42-a-cat-dog-고양이-on"), "{name}");
        assert!(name.len() < 80, "{name}");
    }

    #[test]
    fn an_unwritable_place_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = OutputPlan::prepare(Some(&file.join("below/apple.png")), None).unwrap_err();
        assert!(matches!(error, OutputError::Io { .. }), "{error}");
    }
}
