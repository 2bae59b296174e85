//! The record of what was made, which survives being killed at any moment.
//!
//! An image is written to a hidden file and synced; then its line is appended to the manifest and
//! synced; then the file gets its name. After an interruption, a line whose file is hidden yet is
//! completed by naming it, a line that was written in part is dropped, and what has no line is
//! made again. So every name stands for a whole file, and no image is made twice.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use thiserror::Error;

use super::{BatchPlan, Item, Shard, csv, plan::hexadecimal};
use crate::{output::allow_reading, request::GenerationRequest};

/// The file that says which job set a folder belongs to.
const STATE: &str = "batch.json";

/// How the names begin under which it is written.
const HIDDEN_STATE: &str = ".emberbrush-batch-";

/// Why a batch could not go on.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The folder belongs to another job set.
    #[error(
        "{folder} holds the images of another job set: the job file, its wildcards, the settings \
         or the checkpoint changed since. Give another folder with -o, or go back to what it was"
    )]
    OtherJobs {
        /// The folder.
        folder: String,
    },
    /// `batch.json` is not what this program writes.
    #[error("{path}: not the state of a batch: {reason}")]
    State {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Another process makes the same images.
    #[error("{path}: another process is making these images")]
    InUse {
        /// The manifest.
        path: String,
    },
}

/// The line of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the job set, from 0.
    pub index: usize,
    /// The line of its job, from 1.
    pub line: usize,
    /// The name of its file.
    pub file: String,
    /// The file's SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// How long it took to make.
    pub seconds: f64,
    /// Its seed.
    pub seed: u64,
    /// The name of its checkpoint.
    pub model: String,
    /// What was asked for.
    pub request: GenerationRequest,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    digest: String,
    images: usize,
    date: String,
}

/// The record of one part of a job set, locked against other processes.
#[derive(Debug)]
pub struct Manifest {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    entries: BTreeMap<usize, Entry>,
    /// Files that are not as they were written.
    changed: Vec<String>,
}

impl Manifest {
    /// Claims the folder for the job set of `plan` and gives the date of its first run, which is
    /// `today` if this is it.
    ///
    /// # Errors
    ///
    /// [`ManifestError::OtherJobs`] where the folder belongs to another job set.
    pub fn claim(folder: &Path, plan: &BatchPlan, today: &str) -> Result<String, ManifestError> {
        let (digest, images) = (plan.digest().to_owned(), plan.items().len());
        Self::claim_for(folder, &State { digest, images, date: today.to_owned() })
    }

    fn claim_for(folder: &Path, wanted: &State) -> Result<String, ManifestError> {
        let path = folder.join(STATE);
        let io = |source| ManifestError::Io { path: path.display().to_string(), source };
        fs::create_dir_all(folder).map_err(io)?;
        if !path.exists() {
            let text = serde_json::to_string(wanted).unwrap_or_default();
            // Written through the open file alone: whoever was first takes its name away below.
            let mut file = tempfile::Builder::new()
                .prefix(HIDDEN_STATE)
                .suffix(".part")
                .tempfile_in(folder)
                .map_err(io)?;
            file.write_all(text.as_bytes()).map_err(io)?;
            file.as_file().sync_all().map_err(io)?;
            allow_reading(file.as_file()).map_err(io)?;
            match file.persist_noclobber(&path) {
                // Another part of the same job set was first.
                Err(error) if !path.exists() => return Err(io(error.error)),
                _ => {}
            }
        }
        for left in fs::read_dir(folder).map_err(io)?.flatten() {
            if left.file_name().to_string_lossy().starts_with(HIDDEN_STATE) {
                // Left by an interruption, or of no use any more.
                let _ = fs::remove_file(left.path());
            }
        }
        let text = fs::read(&path).map_err(io)?;
        let state: State = serde_json::from_slice(&text).map_err(|error| ManifestError::State {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        if state.digest == wanted.digest {
            Ok(state.date)
        } else {
            Err(ManifestError::OtherJobs { folder: folder.display().to_string() })
        }
    }

    /// Opens the manifest of a part of a job set whose files are named, and completes what an
    /// interruption left.
    pub fn open(folder: &Path, shard: Shard) -> Result<Self, ManifestError> {
        let path = folder.join(shard.manifest_name());
        let shown = path.display().to_string();
        let io = |source| ManifestError::Io { path: shown.clone(), source };
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ManifestError::InUse { path: shown }),
            // Some network file systems have no locks.
            Err(TryLockError::Error(_)) => {}
        }
        let text = fs::read(&path).map_err(io)?;
        let whole = whole_lines(&text);
        if whole.len() < text.len() {
            file.set_len(whole.len() as u64).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        let mut manifest = Self {
            folder: folder.to_owned(),
            path: path.clone(),
            file,
            length: whole.len() as u64,
            entries: BTreeMap::new(),
            changed: Vec::new(),
        };
        for entry in entries(whole) {
            if manifest.is_there(&entry)? {
                manifest.entries.insert(entry.index, entry);
            }
        }
        // Parts that were made under another division count as well.
        for other in fs::read_dir(folder).map_err(io)?.flatten() {
            let name = other.file_name().to_string_lossy().into_owned();
            if other.path() != path && name.starts_with("manifest") && name.ends_with(".jsonl") {
                let text = fs::read(other.path()).map_err(io)?;
                for entry in entries(whole_lines(&text)) {
                    if folder.join(&entry.file).is_file() {
                        manifest.entries.entry(entry.index).or_insert(entry);
                    }
                }
            }
        }
        Ok(manifest)
    }

    /// Whether an image was made already.
    pub fn contains(&self, index: usize) -> bool {
        self.entries.contains_key(&index)
    }

    /// The images that were made, by number.
    pub fn entries(&self) -> &BTreeMap<usize, Entry> {
        &self.entries
    }

    /// Files that are there and are not as they were written. They are left as they are.
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// Whether an entry's file is there, named now if it was not.
    fn is_there(&mut self, entry: &Entry) -> Result<bool, ManifestError> {
        let path = self.folder.join(&entry.file);
        let io = |source| ManifestError::Io { path: path.display().to_string(), source };
        if path.is_file() {
            if sha256(&fs::read(&path).map_err(io)?) != entry.sha256 {
                self.changed.push(entry.file.clone());
            }
            return Ok(true);
        }
        let hidden = self.hidden(entry.index);
        let Ok(bytes) = fs::read(&hidden) else { return Ok(false) };
        if sha256(&bytes) != entry.sha256 {
            return Ok(false);
        }
        let hidden = TempPath::try_from_path(&hidden).map_err(io)?;
        hidden.persist_noclobber(&path).map_err(|error| io(error.error))?;
        Ok(true)
    }

    fn hidden(&self, index: usize) -> PathBuf {
        self.folder.join(format!(".emberbrush-{index}.part"))
    }

    /// Puts a finished image on disk, whole or not at all, and never over another file. Returns
    /// its path.
    pub fn write(
        &mut self,
        item: &Item,
        model: &str,
        bytes: &[u8],
        seconds: f64,
    ) -> Result<PathBuf, ManifestError> {
        let hidden = self.hidden(item.index);
        let io =
            |path: &Path, source| ManifestError::Io { path: path.display().to_string(), source };
        let written = File::create(&hidden).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        // Removes the hidden file again when anything below fails.
        let mut file = TempPath::try_from_path(&hidden).map_err(|source| io(&hidden, source))?;
        written.map_err(|source| io(&hidden, source))?;
        for number in 1.. {
            let name = numbered(&item.file, number);
            let path = self.folder.join(&name);
            if path.exists() {
                continue;
            }
            let entry = Entry {
                index: item.index,
                line: item.line,
                file: name,
                sha256: sha256(bytes),
                seconds: (seconds * 1e3).round() / 1e3,
                seed: item.request.seed,
                model: model.to_owned(),
                request: item.request.clone(),
            };
            self.append(&entry).map_err(|source| io(&self.path, source))?;
            match file.persist_noclobber(&path) {
                Ok(()) => {
                    self.entries.insert(item.index, entry);
                    sync_folder(&self.folder);
                    return Ok(path);
                }
                Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                    file = error.path;
                }
                Err(error) => return Err(io(&path, error.error)),
            }
        }
        Err(io(&self.folder.join(&item.file), std::io::ErrorKind::AlreadyExists.into()))
    }

    fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        let line = serde_json::to_string(entry)? + "\n";
        let length = self.length;
        let appended = (|| {
            self.file.seek(SeekFrom::Start(length))?;
            self.file.write_all(line.as_bytes())?;
            self.file.sync_data()
        })();
        match appended {
            Ok(()) => self.length += line.len() as u64,
            // A full disk leaves a part of the line.
            Err(_) => self.file.set_len(length)?,
        }
        appended
    }

    /// Writes the manifest as a table beside it, `manifest.csv`.
    pub fn write_csv(&self) -> Result<PathBuf, ManifestError> {
        let path = self.path.with_extension("csv");
        let io = |source| ManifestError::Io { path: path.display().to_string(), source };
        let mut text = "index,line,file,sha256,seconds,seed,prompt,negative,steps,cfg,sampler,\
                        schedule,width,height,model\n"
            .to_owned();
        for entry in self.entries.values() {
            let request = &entry.request;
            let cells = [
                entry.index.to_string(),
                entry.line.to_string(),
                csv::cell(&entry.file),
                entry.sha256.clone(),
                entry.seconds.to_string(),
                entry.seed.to_string(),
                csv::cell(&request.prompt),
                csv::cell(&request.negative_prompt),
                request.steps.to_string(),
                request.guidance_scale.to_string(),
                request.sampler.to_string(),
                request.schedule.to_string(),
                request.width.to_string(),
                request.height.to_string(),
                csv::cell(&entry.model),
            ];
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Parts of a job set write tables of their own, maybe at once.
        let hidden = self.folder.join(format!(".emberbrush-{name}.part"));
        let written = File::create(&hidden).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        // Removes the hidden file again when anything below fails.
        let file = TempPath::try_from_path(&hidden).map_err(io)?;
        written.map_err(io)?;
        file.persist(&path).map_err(|error| io(error.error))?;
        Ok(path)
    }
}

/// A text without a last line that was written in part.
fn whole_lines(text: &[u8]) -> &[u8] {
    &text[..text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1)]
}

/// The entries of a manifest; where an image was lost and made again, the last.
fn entries(text: &[u8]) -> Vec<Entry> {
    let mut found: BTreeMap<usize, Entry> = BTreeMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        if let Ok(entry) = serde_json::from_slice::<Entry>(line) {
            found.insert(entry.index, entry);
        }
    }
    found.into_values().collect()
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// `name.png`, `name-2.png`, `name-3.png`…
fn numbered(file: &str, number: u32) -> String {
    match file.rsplit_once('.') {
        Some((stem, extension)) if number > 1 => format!("{stem}-{number}.{extension}"),
        _ => file.to_owned(),
    }
}

/// Makes a new name last; where folders cannot be synced the system does it in its time.
fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    #[cfg(not(unix))]
    let _ = folder;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schedulers::Sampler;

    fn item(index: usize) -> Item {
        let request = GenerationRequest {
            width: 64,
            height: 64,
            steps: 2,
            guidance_scale: 1.0,
            sampler: Sampler::Euler,
            seed: 5,
            ..GenerationRequest::new("a, \"b\"")
        };
        Item { index, line: 1, request, file: format!("{index}.png"), model: 0 }
    }

    fn open(folder: &Path) -> Manifest {
        Manifest::open(folder, Shard::default()).unwrap()
    }

    #[test]
    fn what_an_interruption_leaves_is_completed_or_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut manifest = open(folder);
        for index in 0..3 {
            manifest.write(&item(index), "model", &[index as u8; 100], 0.5).unwrap();
        }
        drop(manifest);
        // The line is there and the file has no name yet.
        fs::rename(folder.join("1.png"), folder.join(".emberbrush-1.part")).unwrap();
        // The line was written in part.
        let path = folder.join("manifest.jsonl");
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 7]).unwrap();
        fs::remove_file(folder.join("2.png")).unwrap();
        fs::write(folder.join(".emberbrush-2.part"), "half").unwrap();

        let mut manifest = open(folder);
        assert_eq!(manifest.entries().keys().copied().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(fs::read(folder.join("1.png")).unwrap(), [1; 100]);
        manifest.write(&item(2), "model", &[2; 100], 0.5).unwrap();
        assert_eq!(fs::read(&path).unwrap(), text);
        assert!(!folder.join(".emberbrush-2.part").exists());
    }

    #[test]
    fn other_files_are_left_and_changed_ones_told() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("0.png"), "precious").unwrap();
        let path = open(folder).write(&item(0), "model", b"picture", 1.0).unwrap();
        assert_eq!(path, folder.join("0-2.png"));
        assert_eq!(fs::read(folder.join("0.png")).unwrap(), b"precious");
        fs::write(&path, "painted over").unwrap();
        let manifest = open(folder);
        assert!(manifest.contains(0));
        assert_eq!(manifest.changed(), ["0-2.png"]);
        drop(manifest);
        // One that was taken away is made again.
        fs::remove_file(&path).unwrap();
        assert!(!open(folder).contains(0));
    }

    #[test]
    fn parts_that_begin_at_once_claim_one_folder() {
        for round in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let together = folder.path().join("together");
            let claim = &|part: usize| {
                let date = format!("2026-01-{part:02}");
                Manifest::claim_for(&together, &State { digest: "a".to_owned(), images: 8, date })
            };
            let dates = std::thread::scope(|scope| {
                let parts: Vec<_> = (1..=8).map(|part| scope.spawn(move || claim(part))).collect();
                parts.into_iter().map(|part| part.join().unwrap().unwrap()).collect::<Vec<_>>()
            });
            assert!(dates.iter().all(|date| *date == dates[0]), "round {round}: {dates:?}");
            let files = fs::read_dir(&together).unwrap().flatten().map(|file| file.file_name());
            assert_eq!(files.collect::<Vec<_>>(), [STATE], "round {round}");
            let other = State { digest: "b".to_owned(), images: 8, date: String::new() };
            let refused = Manifest::claim_for(&together, &other).unwrap_err();
            assert!(matches!(refused, ManifestError::OtherJobs { .. }), "{refused}");
        }
    }

    #[test]
    fn two_processes_do_not_make_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        let second = Manifest::open(folder.path(), Shard::default()).unwrap_err();
        assert!(matches!(second, ManifestError::InUse { .. }), "{second}");
        Manifest::open(folder.path(), "1/2".parse().unwrap()).unwrap();
        drop(first);
        open(folder.path());
    }

    #[test]
    fn the_table_holds_every_image() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = open(folder.path());
        manifest.write(&item(0), "model", b"picture", 1.0).unwrap();
        let table = fs::read_to_string(manifest.write_csv().unwrap()).unwrap();
        let records = csv::records(&table).unwrap();
        assert_eq!(records[0].1.len(), records[1].1.len());
        assert_eq!(records[1].1[6], "a, \"b\"");
    }
}
