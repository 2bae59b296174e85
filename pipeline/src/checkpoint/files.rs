//! The files of a checkpoint, wherever they are: a folder on disk, one file that stands for a
//! folder, or bytes in the program.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    CheckpointError, safetensors_file::SafetensorsFile, single_file::SingleFile,
    tensor_file::TensorFile,
};

/// A checkpoint that is part of the program: relative path and content of each file.
pub type EmbeddedFiles = &'static [(&'static str, &'static [u8])];

/// Where a checkpoint's files are.
#[derive(Debug, Clone)]
pub enum CheckpointFiles {
    /// A folder in Hugging Face layout.
    Folder(PathBuf),
    /// A single file, presented as a folder.
    SingleFile(Arc<SingleFile>),
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
            Self::SingleFile(single) => single.name(),
            Self::Embedded { name, .. } => (*name).to_owned(),
        }
    }

    /// Where the checkpoint is, unless it is part of the program.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::SingleFile(single) => Some(single.path()),
            Self::Embedded { .. } => None,
        }
    }

    /// The place of `file` for messages.
    pub fn display(&self, file: &str) -> String {
        match self {
            Self::Folder(path) => path.join(file).display().to_string(),
            Self::SingleFile(single) => single.display(file),
            Self::Embedded { name, .. } => format!("{name}/{file}"),
        }
    }

    /// Whether `file` exists.
    pub fn contains(&self, file: &str) -> bool {
        match self {
            Self::Folder(path) => path.join(file).is_file(),
            Self::SingleFile(single) => single.contains(file),
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
            Self::SingleFile(single) => single.list(below),
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
            Self::SingleFile(single) => single.read(file)?.ok_or_else(|| single.absent(file)),
            Self::Embedded { files, .. } => embedded(files, file)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into())),
        }
    }

    /// Opens a file of any size for reading from its beginning; of a single file the whole of it.
    pub fn open(&self, file: &str) -> std::io::Result<Box<dyn std::io::Read + Send>> {
        match self {
            Self::Folder(path) => Ok(Box::new(std::fs::File::open(path.join(file))?)),
            Self::SingleFile(single) => Ok(Box::new(std::fs::File::open(single.path())?)),
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
    pub fn tensors(&self, file: &str) -> Result<Arc<TensorFile>, CheckpointError> {
        Ok(match self {
            Self::Folder(path) => Arc::new(TensorFile::open(path.join(file))?),
            Self::SingleFile(single) => Arc::clone(single.tensors()),
            Self::Embedded { files, .. } => {
                let bytes = embedded(files, file).ok_or_else(|| CheckpointError::Io {
                    path: self.display(file),
                    source: std::io::ErrorKind::NotFound.into(),
                })?;
                let file = SafetensorsFile::embedded(self.display(file), bytes)?;
                Arc::new(TensorFile::Safetensors(file))
            }
        })
    }
}

fn embedded(files: EmbeddedFiles, file: &str) -> Option<&'static [u8]> {
    files.iter().find(|(path, _)| *path == file).map(|(_, bytes)| *bytes)
}
