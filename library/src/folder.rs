//! The folder of models.
//!
//! A model is a checkpoint folder, a file, or `NAME.link`: a text file that holds the path of a
//! model elsewhere. What is being written lies in the folder `.partial` and is moved out when it
//! is whole.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytesize::ByteSize;
use emberbrush_pipeline::places;
use serde::Serialize;

use crate::{
    error::LibraryError,
    index::{Index, Record, Source},
    name::ModelName,
};

/// The ending of files that tell where a model is.
const LINK: &str = "link";

/// Endings of models that are one file.
const FILES: [&str; 4] = ["safetensors", "ckpt", "pt", "pth"];

/// Where unfinished models are.
const PARTIAL: &str = ".partial";

/// A model of the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    /// What it is called.
    pub name: ModelName,
    /// The checkpoint folder or file; of a linked model, the original.
    pub path: PathBuf,
    /// What in the library's folder stands for it: the same, or the link.
    #[serde(skip)]
    pub entry: PathBuf,
    /// Where it came from.
    pub source: Source,
    /// SHA-256 of its files as they were published.
    #[serde(skip)]
    pub published: BTreeMap<String, String>,
}

impl Model {
    /// Whether it is elsewhere.
    pub fn is_linked(&self) -> bool {
        matches!(self.source, Source::Linked { .. })
    }

    /// Bytes that it takes on disk; 0 where it is gone.
    pub fn bytes(&self) -> u64 {
        bytes_below(&self.path)
    }
}

/// Bytes of a file, or of all files in a folder.
pub(crate) fn bytes_below(path: &Path) -> u64 {
    if !path.is_dir() {
        return fs::metadata(path).map_or(0, |found| found.len());
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes_below(&entry.path())).sum()
}

/// The folder of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    folder: PathBuf,
}

impl Library {
    /// A library in a folder, which is made when something is added.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The library of the person who runs the program: `models` in the data folder.
    pub fn of_person() -> Self {
        Self::new(places::data_folder().join("models"))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every model, by name.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be read.
    pub fn models(&self) -> Result<Vec<Model>, LibraryError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LibraryError::io(&self.folder)(error)),
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let mut index = Index::read(&self.folder);
        let mut models: Vec<Model> = Vec::new();
        for entry in paths {
            let Some((name, path)) = read_entry(&entry) else { continue };
            if models.iter().any(|model| model.name == name) {
                continue;
            }
            let Record { mut source, published } = index.models.remove(&name).unwrap_or_default();
            if path != entry {
                source = Source::Linked { path: path.clone() };
            }
            models.push(Model { name, path, entry, source, published });
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// The model of a name, or of a repository, `OWNER/NAME`.
    ///
    /// # Errors
    ///
    /// Where there is none, or the folder cannot be read.
    pub fn find(&self, asked: &str) -> Result<Model, LibraryError> {
        let is_asked = |model: &Model| match &model.source {
            _ if model.name.as_str() == asked => true,
            Source::Repository { repository, .. } => repository == asked,
            _ => false,
        };
        self.models()?
            .into_iter()
            .find(is_asked)
            .ok_or_else(|| LibraryError::Unknown { name: asked.to_owned() })
    }

    /// What `--model` means: a path where there is something, else the model of that name. What
    /// is neither comes back as it is.
    pub fn resolve(&self, asked: &Path) -> PathBuf {
        if asked.exists() {
            return asked.to_owned();
        }
        let found = asked.to_str().and_then(|asked| self.find(asked).ok());
        found.map_or_else(|| asked.to_owned(), |model| model.path)
    }

    /// Whether a name is free.
    pub(crate) fn check_free(&self, name: &ModelName) -> Result<(), LibraryError> {
        match self.models()?.iter().any(|model| model.name == *name) {
            true => Err(LibraryError::Taken { name: name.to_string() }),
            false => Ok(()),
        }
    }

    /// The folder for what is unfinished, on the same disk as what is finished.
    pub(crate) fn partial_folder(&self) -> Result<PathBuf, LibraryError> {
        let folder = self.folder.join(PARTIAL);
        fs::create_dir_all(&folder).map_err(LibraryError::io(&folder))?;
        Ok(folder)
    }

    /// Refuses where the disk has fewer than `bytes` free.
    pub(crate) fn check_space(&self, bytes: u64) -> Result<(), LibraryError> {
        check_room(&self.partial_folder()?, bytes)
    }

    /// Takes in a whole and checked file or folder under a name.
    pub(crate) fn take_in(
        &self,
        name: &ModelName,
        whole: &Path,
        record: Record,
    ) -> Result<Model, LibraryError> {
        self.check_free(name)?;
        let file_name = match whole.extension().and_then(|ending| ending.to_str()) {
            Some(ending) if whole.is_file() => format!("{name}.{ending}"),
            _ => name.to_string(),
        };
        let entry = self.folder.join(file_name);
        fs::rename(whole, &entry).map_err(LibraryError::io(&entry))?;
        sync_folder(&self.folder);
        self.remember(name, entry, record)
    }

    /// Takes in a model that stays where it is.
    pub(crate) fn take_link(&self, name: &ModelName, path: &Path) -> Result<Model, LibraryError> {
        self.check_free(name)?;
        let text = path.to_str().ok_or_else(|| LibraryError::NotAModel {
            path: path.to_owned(),
            reason: "the path is not Unicode, so it cannot be linked; add it with --copy".into(),
        })?;
        let partial = self.partial_folder()?;
        let entry = self.folder.join(format!("{name}.{LINK}"));
        let write = || {
            let file = tempfile::NamedTempFile::new_in(&partial)?;
            fs::write(file.path(), text)?;
            file.as_file().sync_all()?;
            file.persist_noclobber(&entry)?;
            Ok(())
        };
        write().map_err(LibraryError::io(&entry))?;
        let source = Source::Linked { path: path.to_owned() };
        self.remember(name, entry, Record { source, ..Record::default() })
    }

    fn remember(
        &self,
        name: &ModelName,
        entry: PathBuf,
        record: Record,
    ) -> Result<Model, LibraryError> {
        let Record { source, published } = record.clone();
        let path = match &source {
            Source::Linked { path } => path.clone(),
            _ => entry.clone(),
        };
        Index::change(&self.folder, |index| {
            index.models.insert(name.clone(), record);
        })?;
        Ok(Model { name: name.clone(), path, entry, source, published })
    }

    /// Forgets what was remembered of a model whose files are gone.
    pub(crate) fn forget(&self, name: &ModelName) -> Result<(), LibraryError> {
        Index::change(&self.folder, |index| {
            index.models.remove(name);
        })
    }
}

/// Refuses where the disk that a folder is on has fewer than `bytes` free.
pub(crate) fn check_room(folder: &Path, bytes: u64) -> Result<(), LibraryError> {
    let free = fs4::available_space(folder).map_err(LibraryError::io(folder))?;
    if free >= bytes {
        return Ok(());
    }
    let (needed, free) = (ByteSize(bytes), ByteSize(free));
    Err(LibraryError::NoSpace { folder: folder.to_owned(), needed, free })
}

/// Asks the system to write down what was renamed in a folder. Systems that cannot do it do it by
/// themselves.
pub(crate) fn sync_folder(folder: &Path) {
    if let Ok(folder) = fs::File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// The name and place of the model that stands at `entry`, where one does.
fn read_entry(entry: &Path) -> Option<(ModelName, PathBuf)> {
    let file_name = entry.file_name()?.to_str()?;
    if file_name.starts_with('.') {
        return None;
    }
    if entry.is_dir() {
        let is_checkpoint = entry.join("model_index.json").is_file();
        return is_checkpoint.then(|| Some((file_name.parse().ok()?, entry.to_owned())))?;
    }
    let name = entry.file_stem()?.to_str()?.parse().ok()?;
    let ending = entry.extension()?.to_str()?;
    if ending == LINK {
        let text = fs::read_to_string(entry).ok()?;
        return Some((name, PathBuf::from(text.trim_end())));
    }
    FILES.contains(&ending).then(|| (name, entry.to_owned()))
}
