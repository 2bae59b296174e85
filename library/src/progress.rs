//! What long work tells while it goes on.

use std::{ops::ControlFlow, time::Duration};

use crate::error::LibraryError;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A file is begun.
    File {
        /// Its name in the model.
        name: &'a str,
    },
    /// So much of the whole work is done.
    Bytes {
        /// Bytes that are done, those of an earlier run included.
        done: u64,
        /// Bytes of the whole work, where they are known.
        total: Option<u64>,
    },
    /// Nothing is done for a while.
    Waiting {
        /// Why.
        obstacle: Obstacle,
        /// The same in technical words.
        reason: String,
        /// How long.
        pause: Duration,
    },
    /// Asks only whether to go on.
    Checkpoint,
}

/// What keeps a download from going on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The connection failed.
    Connection,
    /// The server has had too many requests.
    TooManyRequests,
    /// The server cannot answer now.
    Server,
}

/// Told of everything that happens; `Break` ends the work.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

/// Tells of something, and ends the work where that is asked for.
pub(crate) fn tell(
    on_progress: OnProgress<'_>,
    progress: Progress<'_>,
) -> Result<(), LibraryError> {
    match on_progress(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(LibraryError::Cancelled),
    }
}
