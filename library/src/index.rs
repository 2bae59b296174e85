//! What is remembered of each model beside its files.
//!
//! `index.json` holds only what the files themselves do not tell. Where it is lost, or names
//! something that is gone, the folder decides.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::{error::LibraryError, name::ModelName};

/// The name of the index in the library's folder.
pub(crate) const INDEX: &str = "index.json";

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// It lay in the folder.
    #[default]
    Found,
    /// It is elsewhere, and stays there.
    Linked {
        /// Where.
        path: PathBuf,
    },
    /// It was copied.
    Copied {
        /// From where.
        path: PathBuf,
    },
    /// It was downloaded from a hub.
    Repository {
        /// Owner and name.
        repository: String,
        /// The branch, tag or commit that was asked for.
        revision: String,
        /// The commit that it was.
        commit: String,
    },
    /// It was downloaded from an address.
    Url {
        /// The address.
        url: String,
    },
}

/// What is remembered of one model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Record {
    /// Where it came from.
    pub source: Source,
    /// SHA-256 of its files, in hexadecimal digits, as they were published; by relative path, and
    /// by the empty path for a model that is one file.
    pub published: BTreeMap<String, String>,
}

/// What is remembered of all.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) models: BTreeMap<ModelName, Record>,
}

impl Index {
    /// Reads the index; an empty one where there is none that can be understood.
    pub(crate) fn read(folder: &Path) -> Self {
        fs::read(folder.join(INDEX))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Changes the index on disk, one process at a time.
    pub(crate) fn change(
        folder: &Path,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), LibraryError> {
        let lock = folder.join(".index.lock");
        let guard = File::create(&lock).map_err(LibraryError::io(&lock))?;
        guard.lock().map_err(LibraryError::io(&lock))?;
        let mut index = Self::read(folder);
        change(&mut index);
        index.write(folder)
    }

    fn write(&self, folder: &Path) -> Result<(), LibraryError> {
        let path = folder.join(INDEX);
        let write = || {
            let mut file = NamedTempFile::with_prefix_in(".index", folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(LibraryError::io(&path))
    }
}
