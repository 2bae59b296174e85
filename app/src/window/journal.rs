//! What the window remembers: written as it changes, so that a killed program loses nothing.
//!
//! Each subject is a file in the data folder. A thread writes them, the newest state of each, to
//! a temporary file that then takes the name; lists that only grow are appended to.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

use crate::failure::Failure;

/// The folder of everything that the window remembers.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
    pending: Arc<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    writes: BTreeMap<PathBuf, PendingWrite>,
    /// Whether the thread is writing.
    busy: bool,
    /// The last write that failed.
    failure: Option<Failure>,
}

#[derive(Debug)]
enum PendingWrite {
    Replace(Vec<u8>),
    Append(Vec<u8>),
    Remove,
}

impl Journal {
    /// Opens the data folder, which is made where it is absent.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be made or the system refuses the thread that writes.
    pub fn open(folder: PathBuf) -> std::io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let pending = Arc::new(Pending::default());
        let writer = Arc::clone(&pending);
        thread::Builder::new().name("journal".to_owned()).spawn(move || writer.write_forever())?;
        Ok(Self { folder, pending })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The state of a subject as it was last written; `None` where there is none. A file that
    /// cannot be understood is kept beside under the name `….broken`.
    pub fn read<T: DeserializeOwned>(&self, subject: &str) -> Option<T> {
        let path = self.folder.join(subject);
        let bytes = fs::read(&path).ok()?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some(value),
            Err(_) => {
                let _ = fs::rename(&path, self.folder.join(format!("{subject}.broken")));
                None
            }
        }
    }

    /// The bytes of a subject as they were last written.
    pub fn read_bytes(&self, subject: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.join(subject)).ok()
    }

    /// The entries of a list, oldest first. Lines that cannot be understood are passed over.
    pub fn read_list<T: DeserializeOwned>(&self, subject: &str) -> Vec<T> {
        let text = fs::read(self.folder.join(subject)).unwrap_or_default();
        text.split(|&byte| byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    /// Writes a subject as JSON. `subject` may hold folders, such as `canvas/document.json`.
    pub fn write(&self, subject: &str, value: &impl Serialize) {
        match serde_json::to_vec_pretty(value) {
            Ok(bytes) => self.write_bytes(subject, bytes),
            Err(error) => self.fail(&self.folder.join(subject), &error.into()),
        }
    }

    /// Writes a subject.
    pub fn write_bytes(&self, subject: &str, bytes: Vec<u8>) {
        self.submit(subject, PendingWrite::Replace(bytes));
    }

    /// Adds an entry to a list.
    pub fn append(&self, subject: &str, value: &impl Serialize) {
        match serde_json::to_vec(value) {
            Ok(line) => {
                // The break comes first, so that what a crash left of the last line stays alone.
                let line = [b"\n", line.as_slice()].concat();
                self.submit(subject, PendingWrite::Append(line));
            }
            Err(error) => self.fail(&self.folder.join(subject), &error.into()),
        }
    }

    /// Removes a subject.
    pub fn remove(&self, subject: &str) {
        self.submit(subject, PendingWrite::Remove);
    }

    /// What went wrong since this was last asked.
    pub fn take_failure(&self) -> Option<Failure> {
        self.lock().failure.take()
    }

    /// Waits until everything is on disk.
    pub fn flush(&self) {
        let mut state = self.lock();
        while !state.writes.is_empty() || state.busy {
            state = self.pending.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fail(&self, path: &Path, error: &std::io::Error) {
        self.lock().failure = Some(Failure::of_journal(path, error));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.pending.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, subject: &str, write: PendingWrite) {
        let path = self.folder.join(subject);
        let mut state = self.lock();
        match (state.writes.get_mut(&path), write) {
            (
                Some(PendingWrite::Append(waiting) | PendingWrite::Replace(waiting)),
                PendingWrite::Append(line),
            ) => {
                waiting.extend(line);
            }
            (_, write) => {
                state.writes.insert(path, write);
            }
        }
        self.pending.changed.notify_all();
    }
}

impl Pending {
    fn write_forever(&self) {
        loop {
            let writes = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.busy = false;
                self.changed.notify_all();
                while state.writes.is_empty() {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                state.busy = true;
                std::mem::take(&mut state.writes)
            };
            for (path, write) in writes {
                if let Err(error) = apply(&path, &write) {
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.failure = Some(Failure::of_journal(&path, &error));
                }
            }
        }
    }
}

fn apply(path: &Path, write: &PendingWrite) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    match write {
        PendingWrite::Replace(bytes) => {
            fs::create_dir_all(folder)?;
            let mut file = NamedTempFile::with_prefix_in(".emberbrush-", folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_data()?;
            file.persist(path).map_err(|error| error.error)?;
        }
        PendingWrite::Append(line) => {
            fs::create_dir_all(folder)?;
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(line)?;
            file.sync_data()?;
        }
        PendingWrite::Remove => match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        },
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path().join("data")).unwrap();
        (folder, journal)
    }

    #[test]
    fn the_newest_state_is_read_back() {
        let (_folder, journal) = journal();
        for number in 0..100 {
            journal.write("session.json", &number);
        }
        journal.flush();
        assert_eq!(journal.read::<i32>("session.json"), Some(99));
        journal.remove("session.json");
        journal.flush();
        assert_eq!(journal.read::<i32>("session.json"), None);
        assert_eq!(journal.take_failure(), None);
    }

    #[test]
    fn lists_grow_and_half_lines_are_passed_over() {
        let (_folder, journal) = journal();
        for number in 0..10 {
            journal.append("prompts.jsonl", &number);
        }
        journal.flush();
        let path = journal.folder().join("prompts.jsonl");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("\n{\"half\":");
        fs::write(&path, text).unwrap();
        journal.append("prompts.jsonl", &10);
        journal.flush();
        assert_eq!(journal.read_list::<i32>("prompts.jsonl"), (0..=10).collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_understood_is_kept_aside() {
        let (_folder, journal) = journal();
        fs::write(journal.folder().join("session.json"), "{ half").unwrap();
        assert_eq!(journal.read::<i32>("session.json"), None);
        let kept = fs::read_to_string(journal.folder().join("session.json.broken")).unwrap();
        assert_eq!(kept, "{ half");
    }

    #[test]
    fn an_unwritable_place_is_told() {
        let (_folder, journal) = journal();
        fs::write(journal.folder().join("canvas"), "a file, not a folder").unwrap();
        journal.write("canvas/mask.json", &1);
        journal.flush();
        assert!(journal.take_failure().unwrap().details.contains("mask.json"));
    }
}
