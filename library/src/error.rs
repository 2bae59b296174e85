//! Why something could not be done with a model.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use emberbrush_pipeline::checkpoint::CheckpointError;
use thiserror::Error;

#[cfg(feature = "download")]
use crate::hub::HubError;

/// Why something could not be done with a model.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// No model can have such a name.
    #[error("`{name}` cannot be the name of a model: {reason}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another model has the name.
    #[error(
        "the library has a model named {name} already. Give another name with --name, or remove \
         that one first: emberbrush models remove {name}"
    )]
    Taken {
        /// The name.
        name: String,
    },
    /// No model has the name.
    #[error("the library has no model named {name}; `emberbrush models list` tells what it has")]
    Unknown {
        /// The name.
        name: String,
    },
    /// What was given is not a model.
    #[error("{path}: {reason}")]
    NotAModel {
        /// The file or folder.
        path: PathBuf,
        /// What it is and what to do.
        reason: String,
    },
    /// Weights cannot be written as was asked for.
    #[error("{what}: {reason}")]
    Convert {
        /// The file, or the tensor in it.
        what: String,
        /// What is wrong, and what can be done.
        reason: String,
    },
    /// The disk has too little room.
    #[error(
        "{needed} are needed in {folder}, but only {free} are free there. Free some space, or \
         keep models elsewhere with EMBERBRUSH_DATA_DIR"
    )]
    NoSpace {
        /// Where.
        folder: PathBuf,
        /// Bytes that are needed.
        needed: ByteSize,
        /// Bytes that are free.
        free: ByteSize,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A model could not be removed.
    #[error("{path}: {reason}")]
    Remove {
        /// What stands for it in the library's folder.
        path: PathBuf,
        /// The system's answer.
        reason: String,
    },
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A download failed.
    #[cfg(feature = "download")]
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Someone asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl LibraryError {
    /// Names the file at which the system refused.
    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path, source }
    }
}
