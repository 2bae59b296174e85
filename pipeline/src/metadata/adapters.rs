//! Adapters as A1111 writes them: tags in the prompt, and hashes by which others find the files
//! (`extensions-builtin/Lora/extra_networks_lora.py`, `modules/processing.py`).

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ImageSettings;
use crate::adapters::{AdapterSelection, LoraSelection, MAX_LORA_WEIGHT};

/// How many hexadecimal digits of a hash are written.
const DIGITS: usize = 12;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// Name and hash of each adapter that an image was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdapterHashes {
    /// Low-rank adapters.
    pub lora: Vec<(String, String)>,
    /// Embeddings of textual inversion.
    pub embedding: Vec<(String, String)>,
}

impl AdapterHashes {
    /// The pairs that are written, with values to be quoted.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let list = |hashes: &[(String, String)]| {
            let entry = |(name, hash): &(String, String)| {
                format!("{}: {hash}", name.replace([':', ','], ""))
            };
            hashes.iter().map(entry).collect::<Vec<_>>().join(", ")
        };
        [("Lora hashes", &self.lora), ("TI hashes", &self.embedding)]
            .into_iter()
            .filter(|(_, hashes)| !hashes.is_empty())
            .map(|(key, hashes)| (key, list(hashes)))
            .collect()
    }
}

/// The tags that select adapters in a prompt.
pub(super) fn tags(selection: &AdapterSelection) -> String {
    selection.lora.iter().map(tag).collect()
}

fn tag(LoraSelection { file, unet, text }: &LoraSelection) -> String {
    let name = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy();
    named_tag(&name, *unet, *text)
}

fn named_tag(name: &str, unet: f64, text: f64) -> String {
    if unet == text {
        format!(" <lora:{name}:{text}>")
    } else {
        format!(" <lora:{name}:{text}:{unet}>")
    }
}

/// A low-rank adapter of another program's image.
#[derive(Debug)]
pub(super) struct UsedLora {
    /// Its file, or the name of one without its ending.
    pub(super) file: String,
    /// The weight in the UNet.
    pub(super) unet: Value,
    /// The weight in the text encoders.
    pub(super) text: Value,
}

impl ImageSettings {
    /// Adds adapters to the prompt as its syntax selects them, so that they are found by name where
    /// those of prompts are.
    pub(super) fn add_loras(&mut self, loras: impl IntoIterator<Item = UsedLora>) {
        for UsedLora { file, unet, text } in loras {
            let name = file.rsplit(['/', '\\']).next().unwrap_or(&file);
            let endings = [".safetensors", ".ckpt", ".pt", ".bin"];
            let name = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
            let weight =
                |value: &Value| value.as_f64().filter(|weight| weight.abs() <= MAX_LORA_WEIGHT);
            let can_be_named = !name.is_empty() && !name.contains([':', '<', '>']);
            match (self.fields.get_mut("prompt"), weight(&unet), weight(&text)) {
                (Some(Value::String(prompt)), Some(unet), Some(text)) if can_be_named => {
                    *prompt += &named_tag(name, unet, text);
                }
                _ => self.not_read("LoRA", file),
            }
        }
    }
}

/// The hash of a low-rank adapter: of its tensors alone, so that it stays when the header changes.
///
/// # Errors
///
/// Where the file cannot be read.
pub(crate) fn hash_of_tensors(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    file.seek(SeekFrom::Start(u64::from_le_bytes(length).saturating_add(8)))?;
    digits_of(&mut file)
}

/// The hash of an embedding: of the whole file.
///
/// # Errors
///
/// Where the file cannot be read.
pub(crate) fn hash_of_file(path: &Path) -> io::Result<String> {
    digits_of(&mut File::open(path)?)
}

/// The first digits of the SHA-256 of what can be read.
fn digits_of(reader: &mut impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = reader.read(&mut chunk)?;
        if length == 0 {
            let digits: String =
                hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(digits[..DIGITS].to_owned());
        }
        hasher.update(&chunk[..length]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metadata::Program;

    #[test]
    fn what_cannot_be_selected_in_a_prompt_is_told() {
        let used =
            |file: &str, unet: Value| UsedLora { file: file.to_owned(), unet, text: json!(0.5) };
        let mut settings = ImageSettings::new(Program::ComfyUi);
        settings.add_loras([used("early", json!(1))]);
        settings.set("prompt", "a cat");
        settings.add_loras([
            used("styles\\ink v1.2.safetensors", json!(0.8)),
            used("b", json!(0.5)),
            used("c:d", json!(1)),
            used("e", json!(1000)),
            used("f", json!("many")),
        ]);
        assert_eq!(settings.fields["prompt"], "a cat <lora:ink v1.2:0.5:0.8> <lora:b:0.5>");
        assert_eq!(settings.unread, ["LoRA: early", "LoRA: c:d", "LoRA: e", "LoRA: f"]);
    }

    #[test]
    fn adapters_are_named_and_hashed_as_a1111_does() {
        let selection = AdapterSelection {
            lora: vec![
                "styles/ink v1.safetensors:0.8".parse().unwrap(),
                "b:1:0.5".parse().unwrap(),
            ],
            ..AdapterSelection::default()
        };
        assert_eq!(tags(&selection), " <lora:ink v1:0.8> <lora:b:1:0.5>");
        let hashes = AdapterHashes {
            lora: vec![("a:b".to_owned(), "0123".to_owned()), ("c".to_owned(), "45".to_owned())],
            embedding: Vec::new(),
        };
        assert_eq!(hashes.pairs(), [("Lora hashes", "ab: 0123, c: 45".to_owned())]);
        // `sha256sum` of "abc", behind a header of two bytes.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\x02\0\0\0\0\0\0\0{}abc").unwrap();
        assert_eq!(hash_of_tensors(file.path()).unwrap(), "ba7816bf8f01");
        std::fs::write(file.path(), b"abc").unwrap();
        assert_eq!(hash_of_file(file.path()).unwrap(), "ba7816bf8f01");
    }
}
