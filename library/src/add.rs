//! Adding a model that is on this machine already.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use emberbrush_pipeline::checkpoint::tensor_file::TensorFile;

use crate::{
    error::LibraryError,
    folder::{Library, Model, bytes_below, sync_folder},
    index::{Record, Source},
    name::ModelName,
    progress::{OnProgress, Progress, tell},
};

/// Bytes that are copied at a time.
const CHUNK: usize = 1 << 20;

/// How a model on this machine becomes one of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adding {
    /// It stays where it is.
    #[default]
    Link,
    /// Its files are copied.
    Copy,
}

impl Library {
    /// Adds a checkpoint folder or file under a name, or else its own.
    ///
    /// # Errors
    ///
    /// Where it is not a model, the name is taken, or there is no room for a copy.
    pub fn add(
        &self,
        path: &Path,
        name: Option<ModelName>,
        adding: Adding,
        on_progress: OnProgress<'_>,
    ) -> Result<Model, LibraryError> {
        check(path)?;
        let path = path.canonicalize().map_err(LibraryError::io(path))?;
        let name = name.map_or_else(|| ModelName::of_path(&path), Ok)?;
        self.check_free(&name)?;
        match adding {
            Adding::Link => self.take_link(&name, &path),
            Adding::Copy => self.copy(&path, &name, on_progress),
        }
    }

    fn copy(
        &self,
        path: &Path,
        name: &ModelName,
        on_progress: OnProgress<'_>,
    ) -> Result<Model, LibraryError> {
        let total = bytes_below(path);
        self.check_space(total)?;
        let partial = self.partial_folder()?;
        let staging = tempfile::TempDir::new_in(&partial).map_err(LibraryError::io(&partial))?;
        let target = staging.path().join(path.file_name().unwrap_or_default());
        let mut copying = Copying { done: 0, total, on_progress };
        copying.copy(path, &target)?;
        let record =
            Record { source: Source::Copied { path: path.to_owned() }, ..Record::default() };
        self.take_in(name, &target, record)
    }
}

/// Refuses what cannot be a model.
pub(crate) fn check(path: &Path) -> Result<(), LibraryError> {
    let refuse =
        |reason: &str| LibraryError::NotAModel { path: path.to_owned(), reason: reason.to_owned() };
    if path.is_dir() {
        let is_checkpoint = path.join("model_index.json").is_file();
        return is_checkpoint.then_some(()).ok_or_else(|| {
            refuse("this folder has no model_index.json, so it is not a checkpoint")
        });
    }
    if !path.exists() {
        return Err(refuse("there is no such file or folder"));
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors" | "ckpt" | "pt" | "pth") => Ok(TensorFile::open(path).map(drop)?),
        _ => Err(refuse("a model is a checkpoint folder or a .safetensors, .ckpt or .pt file")),
    }
}

struct Copying<'a> {
    done: u64,
    total: u64,
    on_progress: OnProgress<'a>,
}

impl Copying<'_> {
    /// Copies a file or folder, following links.
    fn copy(&mut self, from: &Path, to: &Path) -> Result<(), LibraryError> {
        if !from.is_dir() {
            return self.copy_file(from, to);
        }
        fs::create_dir(to).map_err(LibraryError::io(to))?;
        let entries = fs::read_dir(from).map_err(LibraryError::io(from))?;
        let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        inside.sort();
        for path in inside {
            let name = path.file_name().unwrap_or_default();
            // What other programs keep beside models, such as `.git` and `.cache`.
            if !name.to_string_lossy().starts_with('.') {
                self.copy(&path, &to.join(name))?;
            }
        }
        sync_folder(to);
        Ok(())
    }

    fn copy_file(&mut self, from: &Path, to: &Path) -> Result<(), LibraryError> {
        let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tell(self.on_progress, Progress::File { name: &name })?;
        let mut source = File::open(from).map_err(LibraryError::io(from))?;
        let mut target = File::create_new(to).map_err(LibraryError::io(to))?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = source.read(&mut chunk).map_err(LibraryError::io(from))?;
            if length == 0 {
                break;
            }
            target.write_all(&chunk[..length]).map_err(LibraryError::io(to))?;
            self.done += length as u64;
            let bytes = Progress::Bytes { done: self.done, total: Some(self.total) };
            tell(self.on_progress, bytes)?;
        }
        target.sync_all().map_err(LibraryError::io(to))
    }
}
