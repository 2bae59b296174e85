//! Adapters as A1111 writes them: tags in the prompt, and hashes by which others find the files
//! (`extensions-builtin/Lora/extra_networks_lora.py`, `modules/processing.py`).

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::adapters::{AdapterSelection, LoraSelection};

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
    if unet == text {
        format!(" <lora:{name}:{text}>")
    } else {
        format!(" <lora:{name}:{text}:{unet}>")
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
    use super::*;

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
