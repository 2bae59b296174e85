//! Writing unfinished pictures.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use emberbrush_pipeline::{
    output::write_new,
    picture::{self, FileFormat, Picture},
    progress::ProgressEvent,
};

use crate::report;

/// A folder for unfinished pictures.
#[derive(Debug)]
pub(crate) struct PreviewFolder {
    folder: PathBuf,
    has_failed: Cell<bool>,
}

impl PreviewFolder {
    /// Makes the folder where it is absent.
    pub(crate) fn prepare(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Ok(Self { folder: folder.to_owned(), has_failed: Cell::new(false) })
    }

    /// Writes the preview of a step. A disk that is full does not stop the picture itself, so it is
    /// told once.
    pub(crate) fn write(&self, seed: u64, event: &ProgressEvent) {
        let ProgressEvent::Step { step, preview: Some(preview), .. } = event else { return };
        let wanted = self.folder.join(format!("{seed}-{step:03}.png"));
        let picture = Picture::new(preview.clone().into());
        let written = picture::encode(&picture, FileFormat::Png, &[])
            .map_err(anyhow::Error::from)
            .and_then(|bytes| Ok(write_new(&bytes, &wanted)?));
        if let Err(error) = written
            && !self.has_failed.replace(true)
        {
            report::warn(&format!("previews are not written: {}", report::message(&error)));
        }
    }
}
