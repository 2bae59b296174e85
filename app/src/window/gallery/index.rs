//! The index of the pictures in a folder: what the files themselves say, for quick search.
//!
//! It can be lost at any time: the folder is read again. Only stars are nowhere else.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use emberbrush_pipeline::metadata;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde_json::{Map, Value};

/// The form of the table; an index of another form is made anew.
const VERSION: i64 = 1;

/// How long one part of the program waits for another to finish writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits before it tries again.
const RETRY: Duration = Duration::from_millis(10);

/// Endings of files that are looked at.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "tiff", "bmp"];

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database refused.
    #[error("the gallery's index: {0}")]
    Database(#[from] rusqlite::Error),
    /// The folder of pictures cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// A picture of the gallery.
#[derive(Debug, Clone, PartialEq)]
pub struct GalleryPicture {
    /// Its number in the index.
    pub id: i64,
    /// Its file.
    pub path: PathBuf,
    /// When the file was last changed, in nanoseconds since 1970.
    pub modified: i64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The settings that the file carries, by the names of the flags; empty where it has none.
    pub fields: Map<String, Value>,
    /// Whether a person gave it a star.
    pub starred: bool,
}

impl GalleryPicture {
    /// Its prompt.
    pub fn prompt(&self) -> &str {
        self.fields.get("prompt").and_then(Value::as_str).unwrap_or_default()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let fields: String = row.get(5)?;
        Ok(Self {
            id: row.get(0)?,
            path: PathBuf::from(row.get::<_, String>(1)?),
            modified: row.get(2)?,
            width: row.get(3)?,
            height: row.get(4)?,
            fields: serde_json::from_str(&fields).unwrap_or_default(),
            starred: row.get(6)?,
        })
    }
}

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Words that prompt or settings hold, all of them, in any case of letters.
    pub text: String,
    /// Whether only those with a star are shown.
    pub starred_only: bool,
}

/// The index of the pictures in folders.
#[derive(Debug)]
pub struct GalleryIndex {
    connection: Connection,
}

impl GalleryIndex {
    /// Opens the index, or begins a new one where there is none or it is no database any more.
    ///
    /// # Errors
    ///
    /// Where it cannot be read or written, and where others keep it locked.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let started = Instant::now();
        loop {
            let error = match Self::try_open(path) {
                Ok(index) => return Ok(index),
                Err(error) => error,
            };
            match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                    let _ = fs::rename(path, path.with_extension("broken"));
                    for log in ["sqlite-wal", "sqlite-shm"] {
                        let _ = fs::remove_file(path.with_extension(log));
                    }
                    return Ok(Self::try_open(path)?);
                }
                // The busy timeout does not cover the change to a write-ahead log.
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
                    if started.elapsed() < PATIENCE =>
                {
                    thread::sleep(RETRY);
                }
                _ => return Err(error.into()),
            }
        }
    }

    fn try_open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != VERSION {
            connection.execute_batch("DROP TABLE IF EXISTS pictures;")?;
        }
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS pictures (
                 id INTEGER PRIMARY KEY,
                 path TEXT NOT NULL UNIQUE,
                 modified INTEGER NOT NULL,
                 bytes INTEGER NOT NULL,
                 width INTEGER NOT NULL,
                 height INTEGER NOT NULL,
                 fields TEXT NOT NULL,
                 text TEXT NOT NULL,
                 starred INTEGER NOT NULL DEFAULT 0
             );
             CREATE INDEX IF NOT EXISTS by_time ON pictures (modified DESC, id DESC);",
        )?;
        connection.pragma_update(None, "user_version", VERSION)?;
        Ok(Self { connection })
    }

    /// Takes in what was added to a folder and those below it, changed or taken away. Gives
    /// whether anything was.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be read, or the index not written. A folder that does not exist is
    /// an empty one.
    pub fn update_from_folder(&mut self, folder: &Path) -> Result<bool, IndexError> {
        let mut known: HashMap<String, (i64, i64, i64)> = HashMap::new();
        {
            let mut statement =
                self.connection.prepare("SELECT id, path, modified, bytes FROM pictures")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, String>(1)?, (row.get(0)?, row.get(2)?, row.get(3)?)))
            })?;
            for row in rows {
                let (path, state) = row?;
                known.insert(path, state);
            }
        }
        let mut changed = false;
        let transaction = self.connection.transaction()?;
        for file in files(folder)? {
            let Some(state) = FileState::of(&file) else { continue };
            let name = file.to_string_lossy().into_owned();
            if let Some((_, modified, bytes)) = known.remove(&name)
                && (modified, bytes) == (state.modified, state.bytes)
            {
                continue;
            }
            changed |= insert(&transaction, &file, &state)?;
        }
        for (id, ..) in known.values() {
            transaction.execute("DELETE FROM pictures WHERE id = ?1", [id])?;
            changed = true;
        }
        transaction.commit()?;
        Ok(changed)
    }

    /// Takes in a file that was just written.
    ///
    /// # Errors
    ///
    /// Where the index cannot be written.
    pub fn add_file(&self, path: &Path) -> Result<(), IndexError> {
        if let Some(state) = FileState::of(path) {
            insert(&self.connection, path, &state)?;
        }
        Ok(())
    }

    /// What is known of a file.
    ///
    /// # Errors
    ///
    /// Where the index cannot be read.
    pub fn get(&self, path: &Path) -> Result<Option<GalleryPicture>, IndexError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, path, modified, width, height, fields, starred FROM pictures
             WHERE path = ?1",
        )?;
        let path = path.to_string_lossy();
        Ok(statement.query_row([path], GalleryPicture::from_row).optional()?)
    }

    /// The pictures that a filter lets through, newest first.
    ///
    /// # Errors
    ///
    /// Where the index cannot be read.
    pub fn search(&self, filter: &Filter) -> Result<Vec<GalleryPicture>, IndexError> {
        let words: Vec<String> = filter
            .text
            .split_whitespace()
            .map(|word| {
                let word = word.to_lowercase();
                let escaped: String = word
                    .chars()
                    .flat_map(|letter| {
                        let escape = matches!(letter, '%' | '_' | '\\').then_some('\\');
                        escape.into_iter().chain([letter])
                    })
                    .collect();
                format!("%{escaped}%")
            })
            .collect();
        let mut query = "SELECT id, path, modified, width, height, fields, starred FROM pictures \
                         WHERE 1"
            .to_owned();
        for _ in &words {
            query.push_str(" AND text LIKE ? ESCAPE '\\'");
        }
        if filter.starred_only {
            query.push_str(" AND starred = 1");
        }
        query.push_str(" ORDER BY modified DESC, id DESC");
        let mut statement = self.connection.prepare_cached(&query)?;
        let rows =
            statement.query_map(rusqlite::params_from_iter(words), GalleryPicture::from_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest picture that a checkpoint made, by the checkpoint's name.
    ///
    /// # Errors
    ///
    /// Where the index cannot be read.
    pub fn newest_of_model(&self, name: &str) -> Result<Option<(PathBuf, i64)>, IndexError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT path, modified FROM pictures WHERE json_extract(fields, '$.model') = ?1
             ORDER BY modified DESC LIMIT 1",
        )?;
        let found = statement
            .query_row([name], |row| Ok((PathBuf::from(row.get::<_, String>(0)?), row.get(1)?)))
            .optional()?;
        Ok(found)
    }

    /// Gives a picture a star, or takes it.
    ///
    /// # Errors
    ///
    /// Where the index cannot be written.
    pub fn set_starred(&self, id: i64, starred: bool) -> Result<(), IndexError> {
        self.connection
            .execute("UPDATE pictures SET starred = ?2 WHERE id = ?1", params![id, starred])?;
        Ok(())
    }

    /// Takes a picture off the index; its file is another matter.
    ///
    /// # Errors
    ///
    /// Where the index cannot be written.
    pub fn remove(&self, id: i64) -> Result<(), IndexError> {
        self.connection.execute("DELETE FROM pictures WHERE id = ?1", [id])?;
        Ok(())
    }
}

struct FileState {
    modified: i64,
    bytes: i64,
}

impl FileState {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            modified: i64::try_from(modified.as_nanos()).ok()?,
            bytes: i64::try_from(metadata.len()).ok()?,
        })
    }
}

/// Adds a picture, or replaces what was known of it; its star stays. A file that is no picture is
/// passed over.
fn insert(connection: &Connection, path: &Path, state: &FileState) -> Result<bool, IndexError> {
    let Ok((width, height)) = image::image_dimensions(path) else { return Ok(false) };
    let fields = metadata::read(path).map(|settings| settings.fields).unwrap_or_default();
    let mut text = String::new();
    for (name, value) in &fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&path.file_name().unwrap_or_default().to_string_lossy());
    let name = path.to_string_lossy();
    let starred: Option<bool> = connection
        .query_row("SELECT starred FROM pictures WHERE path = ?1", [&name], |row| row.get(0))
        .optional()?;
    connection.execute(
        "INSERT OR REPLACE INTO pictures
             (path, modified, bytes, width, height, fields, text, starred)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            name,
            state.modified,
            state.bytes,
            width,
            height,
            Value::Object(fields).to_string(),
            text.to_lowercase(),
            starred.unwrap_or(false),
        ],
    )?;
    Ok(true)
}

/// The picture files in a folder and those below it.
fn files(folder: &Path) -> Result<Vec<PathBuf>, IndexError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(IndexError::Folder { path: folder.display().to_string(), source });
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            // Links are not followed, so that a loop of them ends.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !hidden => folders.push(path),
                Ok(kind) if kind.is_file() && !hidden && is_picture(&path) => files.push(path),
                _ => {}
            }
        }
    }
    Ok(files)
}

fn is_picture(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.to_lowercase().as_str()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use emberbrush_pipeline::output::write_png;
    use image::RgbImage;

    use super::*;

    struct Studio {
        folder: tempfile::TempDir,
    }

    impl Studio {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("pictures")).unwrap();
            Self { folder }
        }

        fn pictures(&self) -> PathBuf {
            self.folder.path().join("pictures")
        }

        fn database(&self) -> PathBuf {
            self.folder.path().join("gallery.sqlite")
        }

        fn make(&self, name: &str, prompt: &str) -> PathBuf {
            let text = format!(
                "{prompt}\nNegative prompt: \nSteps: 4, Sampler: Euler, CFG scale: 2, Seed: 5, Size: 8x8"
            );
            let image = RgbImage::new(8, 8);
            write_png(&image, &[("parameters", text)], &self.pictures().join(name)).unwrap()
        }

        fn open(&self) -> GalleryIndex {
            let mut index = GalleryIndex::open(&self.database()).unwrap();
            index.update_from_folder(&self.pictures()).unwrap();
            index
        }
    }

    fn found(index: &GalleryIndex, text: &str) -> Vec<String> {
        let filter = Filter { text: text.to_owned(), starred_only: false };
        let mut prompts: Vec<String> = index
            .search(&filter)
            .unwrap()
            .iter()
            .map(|picture| picture.prompt().to_owned())
            .collect();
        prompts.sort();
        prompts
    }

    #[test]
    fn the_folder_is_the_truth() {
        let studio = Studio::new();
        studio.make("a.png", "a red apple");
        let gone = studio.make("b.png", "a blue cup");
        fs::write(studio.pictures().join("notes.txt"), "no picture").unwrap();
        fs::write(studio.pictures().join("broken.png"), "no picture").unwrap();
        assert_eq!(found(&studio.open(), ""), ["a blue cup", "a red apple"]);
        fs::remove_file(gone).unwrap();
        studio.make("c.png", "a green tree");
        let mut index = GalleryIndex::open(&studio.database()).unwrap();
        assert!(index.update_from_folder(&studio.pictures()).unwrap());
        assert!(!index.update_from_folder(&studio.pictures()).unwrap(), "nothing changed since");
        assert_eq!(found(&index, ""), ["a green tree", "a red apple"]);
        drop(index);
        fs::remove_file(studio.database()).unwrap();
        assert_eq!(found(&studio.open(), ""), ["a green tree", "a red apple"]);
    }

    #[test]
    fn prompts_and_settings_are_searched() {
        let studio = Studio::new();
        studio.make("a.png", "a Red apple, 100% sharp");
        studio.make("b.png", "a red cup");
        studio.make("c.png", "고양이");
        let index = studio.open();
        assert_eq!(found(&index, "RED"), ["a Red apple, 100% sharp", "a red cup"]);
        assert_eq!(found(&index, "red cup"), ["a red cup"]);
        assert_eq!(found(&index, "100%"), ["a Red apple, 100% sharp"]);
        assert_eq!(found(&index, "_"), Vec::<String>::new());
        assert_eq!(found(&index, "고양"), ["고양이"]);
        assert_eq!(found(&index, "sampler: euler").len(), 3);
        assert_eq!(found(&index, "ddim").len(), 0);
    }

    #[test]
    fn stars_stay_when_a_file_changes() {
        let studio = Studio::new();
        let path = studio.make("a.png", "a");
        studio.make("b.png", "b");
        let index = studio.open();
        let filter = Filter { text: String::new(), starred_only: true };
        let id = |prompt: &str| {
            let all = index.search(&Filter::default()).unwrap();
            all.iter().find(|picture| picture.prompt() == prompt).unwrap().id
        };
        index.set_starred(id("a"), true).unwrap();
        fs::remove_file(&path).unwrap();
        studio.make("a.png", "a, again");
        index.add_file(&path).unwrap();
        let starred = index.search(&filter).unwrap();
        assert_eq!(starred.len(), 1);
        assert_eq!(starred[0].prompt(), "a, again");
        index.set_starred(starred[0].id, false).unwrap();
        assert!(index.search(&filter).unwrap().is_empty());
    }

    #[test]
    fn a_broken_index_is_made_anew() {
        let studio = Studio::new();
        studio.make("a.png", "a");
        fs::write(studio.database(), vec![7; 5000]).unwrap();
        assert_eq!(found(&studio.open(), ""), ["a"]);
    }

    #[test]
    fn an_index_that_is_in_use_is_waited_for_and_keeps_its_stars() {
        let studio = Studio::new();
        studio.make("a.png", "a");
        let index = studio.open();
        let id = index.search(&Filter::default()).unwrap()[0].id;
        index.set_starred(id, true).unwrap();
        drop(index);
        let busy = Connection::open(studio.database()).unwrap();
        busy.pragma_update(None, "journal_mode", "DELETE").unwrap();
        busy.execute_batch("BEGIN IMMEDIATE").unwrap();
        let opening = thread::spawn({
            let database = studio.database();
            move || GalleryIndex::open(&database).map(|index| index.search(&Filter::default()))
        });
        thread::sleep(Duration::from_millis(100));
        busy.execute_batch("COMMIT").unwrap();
        drop(busy);
        let pictures = opening.join().unwrap().unwrap().unwrap();
        assert!(pictures[0].starred);
        assert!(!studio.database().with_extension("broken").exists());
    }
}
