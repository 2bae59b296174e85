//! Finding and understanding the settings in a file.

use std::{
    fs::File,
    io::{BufReader, Seek},
    path::Path,
};

use image::{ImageDecoder, ImageFormat, ImageReader};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    EMBERBRUSH, ImageSettings, PARAMETERS, Program, comfyui, exif, fooocus, infotext, invokeai,
};

/// Why no settings could be read.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not an image that can hold settings.
    #[error("{path}: not a PNG, JPEG or WebP that can be read: {reason}")]
    NotAnImage {
        /// The file.
        path: String,
        /// The decoder's answer.
        reason: String,
    },
    /// The image holds no settings that any known program writes.
    #[error("{path}: the image holds no settings{found}")]
    None {
        /// The file.
        path: String,
        /// The names of the texts that it does hold.
        found: String,
    },
}

/// Reads the settings of an image file: PNG text chunks, or EXIF in JPEG, WebP and PNG.
///
/// # Errors
///
/// Where the file cannot be read, is no such image, or holds no settings.
pub fn read(path: &Path) -> Result<ImageSettings, SettingsError> {
    let shown = || path.display().to_string();
    let io = |source| SettingsError::Io { path: shown(), source };
    let file = File::open(path).map_err(io)?;
    let reader = ImageReader::new(BufReader::new(file)).with_guessed_format().map_err(io)?;
    let not_an_image = |reason: String| SettingsError::NotAnImage { path: shown(), reason };
    let texts = match reader.format() {
        Some(ImageFormat::Png) => {
            let mut file = reader.into_inner();
            file.rewind().map_err(io)?;
            png_texts(file).map_err(|error| not_an_image(error.to_string()))?
        }
        Some(ImageFormat::Jpeg | ImageFormat::WebP) => {
            let mut decoder =
                reader.into_decoder().map_err(|error| not_an_image(error.to_string()))?;
            let block = decoder.exif_metadata().map_err(|error| not_an_image(error.to_string()))?;
            block.map(|block| exif_texts(&block)).unwrap_or_default()
        }
        _ => return Err(not_an_image("its beginning is that of another kind of file".to_owned())),
    };
    interpret(&texts).ok_or_else(|| {
        let names: Vec<&str> =
            texts.iter().map(|(name, _)| name.as_str()).filter(|name| !name.is_empty()).collect();
        let found = if names.is_empty() {
            String::new()
        } else {
            format!("; it has texts named {}", names.join(", "))
        };
        SettingsError::None { path: shown(), found }
    })
}

/// Keyword and text of each text chunk, before and after the pixels.
fn png_texts(file: BufReader<File>) -> Result<Vec<(String, String)>, png::DecodingError> {
    let mut reader = png::Decoder::new(file).read_info()?;
    // Text may come after the pixels. Where a file ends too early, the text before them is kept.
    let _ = reader.finish();
    let info = reader.info();
    let mut texts = Vec::new();
    for chunk in &info.uncompressed_latin1_text {
        texts.push((chunk.keyword.clone(), chunk.text.clone()));
    }
    for chunk in &info.compressed_latin1_text {
        texts.extend(chunk.get_text().map(|text| (chunk.keyword.clone(), text)));
    }
    for chunk in &info.utf8_text {
        texts.extend(chunk.get_text().map(|text| (chunk.keyword.clone(), text)));
    }
    if let Some(block) = &info.exif_metadata {
        texts.extend(exif_texts(block));
    }
    Ok(texts)
}

/// The texts of an EXIF block under the keywords that PNG has for the same.
fn exif_texts(block: &[u8]) -> Vec<(String, String)> {
    let found = exif::read(block);
    let mut texts = Vec::new();
    if let Some(note) = found.maker_note.filter(|note| note.starts_with('{')) {
        texts.push((EMBERBRUSH.to_owned(), note));
    }
    if let Some(comment) = found.user_comment {
        texts.push((PARAMETERS.to_owned(), comment));
    }
    for text in found.others {
        // ComfyUI writes `prompt:{…}` and `workflow:{…}` as the make and model of a camera.
        match text.split_once(':') {
            Some((keyword @ ("prompt" | "workflow"), rest)) => {
                texts.push((keyword.to_owned(), rest.to_owned()));
            }
            _ => texts.push((String::new(), text)),
        }
    }
    texts
}

/// Understands texts by their keywords and contents; `None` where none holds settings.
///
/// This program's own JSON comes first, since it is complete.
pub fn interpret(texts: &[(String, String)]) -> Option<ImageSettings> {
    let find = |keyword: &str| texts.iter().find(|(name, _)| name == keyword).map(|(_, text)| text);
    if let Some(settings) = find(EMBERBRUSH).and_then(|text| own(text)) {
        return Some(settings);
    }
    for keyword in [invokeai::KEYWORD, invokeai::OLD_KEYWORD] {
        if let Some(text) = find(keyword) {
            return Some(invokeai::read(text));
        }
    }
    if let Some(text) = find(PARAMETERS) {
        if fooocus::recognise(text) {
            return Some(fooocus::read(text));
        }
        if infotext::recognise(text) {
            return Some(infotext::read(text));
        }
    }
    if let Some(text) = find("prompt").filter(|text| comfyui::recognise(text)) {
        return Some(comfyui::read(text));
    }
    if find("workflow").is_some() {
        let mut settings = ImageSettings::new(Program::ComfyUi);
        settings.unread.push("only ComfyUI's workflow is there, without the run graph".to_owned());
        return Some(settings);
    }
    // A prompt alone, without pairs.
    find(PARAMETERS).filter(|text| !text.trim().is_empty()).map(|text| infotext::read(text))
}

/// This program's JSON.
fn own(text: &str) -> Option<ImageSettings> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    let version = fields.remove("version")?;
    if !version.as_str()?.starts_with("emberbrush") {
        return None;
    }
    Some(ImageSettings { program: Program::Emberbrush, fields, unread: Vec::new() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::picture::{FileFormat, Picture, encode};

    fn regex(pattern: &str) -> impl Strategy<Value = String> + use<> {
        prop::string::string_regex(pattern).unwrap()
    }

    /// Texts that are nearly those of some program.
    fn nearly_settings() -> impl Strategy<Value = String> {
        let json = "[{}\\[\\]\":,0-9a-z_ ]{0,60}";
        let node = "\"class_type\": ?\"(KSampler|CLIPTextEncode)\"";
        prop_oneof![
            ".{0,80}",
            "(.{0,20}\n){0,3}(Negative prompt: .{0,20}\n)?(Steps|Size|Seed|Sampler|Model hash|Hires upscale|\
             Hires steps|Denoising strength|Mask blur): .{0,12}(, (Steps|Size|CFG scale|Hires upscale|\
             Masked content): (\"?[-0-9.eExa-z ]{0,12}\"?)){2,6}",
            json,
            regex(&format!("\\{{\"[0-9]\": ?\\{{{node}, ?\"inputs\": ?{json}\\}}\\}}")),
            regex(&format!("\\{{\"base_model\": ?1, ?\"guidance_scale\": ?{json}\\}}")),
        ]
    }

    proptest! {
        #[test]
        fn no_text_is_a_reason_to_panic(
            keyword in prop_oneof![
                Just(EMBERBRUSH), Just(PARAMETERS), Just("prompt"), Just("workflow"),
                Just(invokeai::KEYWORD), Just(invokeai::OLD_KEYWORD),
            ],
            text in nearly_settings(),
        ) {
            if let Some(settings) = interpret(&[(keyword.to_owned(), text)]) {
                for field in ["cfg", "strength", "hires", "hires-strength"] {
                    let number = settings.fields.get(field).and_then(Value::as_f64);
                    prop_assert!(number.is_none_or(f64::is_finite));
                }
            }
        }

        #[test]
        fn no_exif_block_is_a_reason_to_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            exif_texts(&bytes);
            let mut block = exif::block("Steps: 1, Seed: 2, Size: 8x8", Some("{\"steps\":1}"));
            for (place, value) in changes {
                let place = place.index(block.len());
                block[place] = value;
            }
            exif_texts(&block);
        }

        #[test]
        fn no_file_is_a_reason_to_panic(
            format in prop_oneof![
                Just(FileFormat::Png), Just(FileFormat::Jpeg), Just(FileFormat::WebP),
            ],
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            length in any::<prop::sample::Index>(),
        ) {
            let texts = [
                (PARAMETERS, "a cat\nSteps: 1, Seed: 2, Size: 8x8".to_owned()),
                (EMBERBRUSH, "{\"version\":\"emberbrush\"} \u{e9}".to_owned()),
            ];
            let picture = Picture::new(image::DynamicImage::new_rgb8(9, 5));
            let mut bytes = encode(&picture, format, &texts).unwrap();
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            bytes.truncate(length.index(bytes.len()) + 1);
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            let _ = read(file.path());
            let _ = crate::picture::read_bytes(&bytes, "changed");
        }
    }
}
