//! Names of models, which are file names as well.

use std::{fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::LibraryError;

/// The most bytes in a name: with an ending it has to fit into a file name.
const MAX_LENGTH: usize = 128;

/// Endings that a name loses when it is made from that of a file.
const FILE_ENDINGS: [&str; 4] = ["safetensors", "ckpt", "pt", "pth"];

/// Names of devices, which Windows allows no file.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com1", "lpt1"];

/// The name of a model: one part of a path on every system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// The name that suits a file or folder: its own, without the ending of a file.
    ///
    /// # Errors
    ///
    /// Where nothing of it can be a name.
    pub fn of_path(path: &Path) -> Result<Self, LibraryError> {
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_folder = whole.is_dir();
        let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if is_folder { name.parse() } else { Self::of_file(&name) }
    }

    /// The name that suits the name of a file: the same without its ending.
    ///
    /// # Errors
    ///
    /// Where nothing of it can be a name.
    pub fn of_file(name: &str) -> Result<Self, LibraryError> {
        match name.rsplit_once('.') {
            Some((stem, ending)) if FILE_ENDINGS.contains(&ending) => stem.parse(),
            _ => name.parse(),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ModelName {
    type Err = LibraryError;

    fn from_str(name: &str) -> Result<Self, LibraryError> {
        let refuse = |reason| Err(LibraryError::Name { name: name.to_owned(), reason });
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.len() > MAX_LENGTH {
            return refuse("it is longer than 128 bytes");
        }
        if name.starts_with(['.', '-']) {
            return refuse("it begins with a dot or a dash");
        }
        if name.ends_with(['.', ' ']) || name.starts_with(' ') {
            return refuse("it ends with a dot, or begins or ends with a space");
        }
        if name.chars().any(|c| c.is_control() || r#"/\:*?"<>|"#.contains(c)) {
            return refuse(r#"it holds one of / \ : * ? " < > | or a control character"#);
        }
        if DEVICES.contains(&name.split('.').next().unwrap_or(name).to_lowercase().as_str()) {
            return refuse("Windows has a device of that name");
        }
        Ok(Self(name.to_owned()))
    }
}

impl TryFrom<String> for ModelName {
    type Error = LibraryError;

    fn try_from(name: String) -> Result<Self, LibraryError> {
        name.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names_everywhere() {
        for name in ["sd15", "v1.5", "네온 (2)", "a+b_c"] {
            assert_eq!(name.parse::<ModelName>().unwrap().as_str(), name);
        }
        let long = "x".repeat(129);
        for name in ["", ".", "..", ".hidden", "a/b", r"a\b", "c:", "a\nb", "a.", "nul.x", &long] {
            assert!(name.parse::<ModelName>().is_err(), "{name}");
        }
    }

    #[test]
    fn files_lose_their_ending_and_folders_keep_their_dots() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("v1.5.pt");
        std::fs::create_dir(&inside).unwrap();
        assert_eq!(ModelName::of_path(&inside).unwrap().as_str(), "v1.5.pt");
        let file = folder.path().join("a.b.safetensors");
        std::fs::write(&file, "").unwrap();
        assert_eq!(ModelName::of_path(&file).unwrap().as_str(), "a.b");
    }
}
