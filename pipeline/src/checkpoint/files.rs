//! The files of a checkpoint, wherever they are: a folder on disk or bytes in the program.

use std::path::{Path, PathBuf};

use super::{CheckpointError, safetensors_file::SafetensorsFile};

/// A checkpoint that is part of the program: relative path and content of each file.
pub type EmbeddedFiles = &'static [(&'static str, &'static [u8])];

/// Where a checkpoint's files are.
#[derive(Debug, Clone)]
pub enum CheckpointFiles {
    /// A folder in Hugging Face layout.
    Folder(PathBuf),
    /// Files in the program, under the name that people see.
    Embedded {
        /// What the checkpoint is called.
        name: &'static str,
        /// Its files.
        files: EmbeddedFiles,
    },
}

impl CheckpointFiles {
    /// What a person knows the checkpoint by: the folder's last part, or the embedded name.
    pub fn name(&self) -> String {
        match self {
            Self::Folder(path) => {
                path.canonicalize().unwrap_or_else(|_| path.clone()).file_name().map_or_else(
                    || path.display().to_string(),
                    |name| name.to_string_lossy().into_owned(),
                )
            }
            Self::Embedded { name, .. } => (*name).to_owned(),
        }
    }

    /// The place of `file` for messages.
    pub fn display(&self, file: &str) -> String {
        match self {
            Self::Folder(path) => path.join(file).display().to_string(),
            Self::Embedded { name, .. } => format!("{name}/{file}"),
        }
    }

    /// Whether `file` exists.
    pub fn contains(&self, file: &str) -> bool {
        match self {
            Self::Folder(path) => path.join(file).is_file(),
            Self::Embedded { files, .. } => embedded(files, file).is_some(),
        }
    }

    /// The names of the files directly in the folder `below`.
    pub fn list(&self, below: &str) -> Vec<String> {
        match self {
            Self::Folder(path) => std::fs::read_dir(path.join(below))
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect(),
            Self::Embedded { files, .. } => files
                .iter()
                .filter_map(|(path, _)| Path::new(path).strip_prefix(below).ok())
                .filter_map(|path| path.to_str())
                .filter(|path| !path.contains('/'))
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Reads a small file, such as a configuration.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, CheckpointError> {
        let unreadable = |source| CheckpointError::Io { path: self.display(file), source };
        match self {
            Self::Folder(path) => std::fs::read(path.join(file)).map_err(unreadable),
            Self::Embedded { files, .. } => embedded(files, file)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into())),
        }
    }

    /// Opens a file of any size for reading from its beginning.
    pub fn open(&self, file: &str) -> std::io::Result<Box<dyn std::io::Read + Send>> {
        match self {
            Self::Folder(path) => Ok(Box::new(std::fs::File::open(path.join(file))?)),
            Self::Embedded { files, .. } => match embedded(files, file) {
                Some(bytes) => Ok(Box::new(bytes)),
                None => Err(std::io::ErrorKind::NotFound.into()),
            },
        }
    }

    /// Reads a small file where it exists.
    pub fn read_optional(&self, file: &str) -> Result<Option<Vec<u8>>, CheckpointError> {
        if self.contains(file) { self.read(file).map(Some) } else { Ok(None) }
    }

    /// Reads and parses a JSON file.
    pub fn json<T: serde::de::DeserializeOwned>(&self, file: &str) -> Result<T, CheckpointError> {
        serde_json::from_slice(&self.read(file)?)
            .map_err(|source| CheckpointError::Json { path: self.display(file), source })
    }

    /// Opens a file of tensors.
    pub fn safetensors(&self, file: &str) -> Result<SafetensorsFile, CheckpointError> {
        Ok(match self {
            Self::Folder(path) => SafetensorsFile::open(path.join(file))?,
            Self::Embedded { files, .. } => {
                let bytes = embedded(files, file).ok_or_else(|| CheckpointError::Io {
                    path: self.display(file),
                    source: std::io::ErrorKind::NotFound.into(),
                })?;
                SafetensorsFile::embedded(self.display(file), bytes)?
            }
        })
    }
}

fn embedded(files: EmbeddedFiles, file: &str) -> Option<&'static [u8]> {
    files.iter().find(|(path, _)| *path == file).map(|(_, bytes)| *bytes)
}
