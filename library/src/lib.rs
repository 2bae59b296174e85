//! The models of a person: a folder with an index, and what is done with them.
//!
//! [`folder::Library`] is that folder. The other modules add models to it, fetch them, read them
//! in full, and write them anew. The command line and the window call the same functions; each
//! tells its [`progress`] and ends where the answer is `Break`.

pub mod add;
pub mod convert;
pub mod error;
pub mod folder;
#[cfg(feature = "download")]
pub mod hub;
pub mod index;
pub mod name;
pub mod progress;
pub mod remove;
pub mod verify;
