//! Taking models out of the library.

use std::{fs, path::Path};

use crate::{
    error::LibraryError,
    folder::{Library, Model},
};

impl Library {
    /// Takes a model out. `put_away` is given what stands for it in the folder: [`to_bin`],
    /// [`for_good`], or what else becomes of it. Of a linked model only the link goes, and the
    /// original is never touched.
    ///
    /// # Errors
    ///
    /// Where the system refuses, or has no bin.
    pub fn remove(
        &self,
        model: &Model,
        put_away: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<(), LibraryError> {
        // A link is the path in a text file; there is nothing in it to bring back from a bin.
        let removed =
            if model.is_linked() { for_good(&model.entry) } else { put_away(&model.entry) };
        removed.map_err(|reason| LibraryError::Remove { path: model.entry.clone(), reason })?;
        self.forget(&model.name)
    }
}

/// Moves a file or folder to the system's bin.
///
/// # Errors
///
/// Where the system refuses or has no bin.
pub fn to_bin(path: &Path) -> Result<(), String> {
    trash::delete(path).map_err(|error| {
        format!("the system's bin did not take it: {error}. --permanently deletes it for good")
    })
}

/// Deletes a file or folder.
///
/// # Errors
///
/// Where the system refuses.
pub fn for_good(path: &Path) -> Result<(), String> {
    let deleted = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    deleted.map_err(|error| error.to_string())
}
