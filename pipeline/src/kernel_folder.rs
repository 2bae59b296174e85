//! The folder of what is kept about a GPU's kernels, and what is thrown away there.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How long a file is kept that no process opens: a quarter of a year. It belongs to an adapter
/// that is no longer there, or to a driver that has been updated since.
const KEPT_UNUSED: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Bytes of all files at most.
const MOST_BYTES: u64 = 256 << 20;

/// A database with the files beside it.
struct Database {
    is_present: bool,
    /// When one of them was last written to; every process that opens it does.
    used: SystemTime,
    bytes: u64,
    files: Vec<PathBuf>,
}

/// Removes from `folder` what has not been used for a quarter of a year, and what was used longest
/// ago until the rest takes 256 MiB at most. `present`, the name of the file that is about to be
/// used, goes last, and only where it is larger than that by itself.
///
/// What cannot be removed stays: it is there to save time, and no picture depends on it.
pub(crate) fn prune(folder: &Path, present: &str) {
    prune_at(folder, present, SystemTime::now(), MOST_BYTES);
}

fn prune_at(folder: &Path, present: &str, now: SystemTime, most_bytes: u64) {
    let mut databases = databases(folder, present).unwrap_or_default();
    databases.sort_by_key(|database| (database.is_present, database.used));
    let mut bytes: u64 = databases.iter().map(|database| database.bytes).sum();
    for database in databases {
        let unused = now.duration_since(database.used).unwrap_or_default();
        let is_old = unused > KEPT_UNUSED && !database.is_present;
        if is_old || bytes > most_bytes {
            bytes -= database.bytes;
            for file in &database.files {
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// The databases of a folder. Files that are none are left out.
fn databases(folder: &Path, present: &str) -> io::Result<Vec<Database>> {
    let mut databases: BTreeMap<String, Database> = BTreeMap::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else {
            continue;
        };
        // `NAME.db`, `NAME.db-wal` and others.
        let Some((stem, ending)) = name.rsplit_once(".db") else { continue };
        if !metadata.is_file() || !(ending.is_empty() || ending.starts_with('-')) {
            continue;
        }
        let used = metadata.modified()?;
        let database = databases.entry(format!("{stem}.db")).or_insert(Database {
            is_present: false,
            used,
            bytes: 0,
            files: Vec::new(),
        });
        database.used = database.used.max(used);
        database.bytes += metadata.len();
        database.files.push(entry.path());
    }
    if let Some(database) = databases.get_mut(present) {
        database.is_present = true;
    }
    Ok(databases.into_values().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use tempfile::TempDir;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A folder of files, each with a length and the days since it was used, and what is left.
    fn left(files: &[(&str, u64, u32)], present: &str, most_bytes: u64) -> Vec<String> {
        let folder = TempDir::new().unwrap();
        let now = SystemTime::now();
        for &(name, bytes, days) in files {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_len(bytes).unwrap();
            file.set_modified(now - days * DAY).unwrap();
        }
        prune_at(folder.path(), present, now, most_bytes);
        let entries = fs::read_dir(folder.path()).unwrap().flatten();
        let mut left: Vec<String> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        left.sort();
        left
    }

    #[test]
    fn what_nobody_has_used_for_long_goes_with_what_lies_beside_it() {
        let files = [
            ("Old_1.0.db", 10, 400),
            ("Old_1.0.db-wal", 10, 91),
            ("Shared_2.0.db", 10, 400),
            ("Shared_2.0.db-tshm", 10, 89),
            ("Mine_3.0.db", 10, 400),
            ("notes.txt", 10, 400),
            ("Old_1.0.db.copy", 10, 400),
        ];
        assert_eq!(
            left(&files, "Mine_3.0.db", 1000),
            ["Mine_3.0.db", "Old_1.0.db.copy", "Shared_2.0.db", "Shared_2.0.db-tshm", "notes.txt"]
        );
    }

    #[test]
    fn what_was_used_longest_ago_goes_until_the_rest_is_small() {
        let files = [
            ("a.db", 40, 3),
            ("b.db", 20, 2),
            ("b.db-wal", 20, 5),
            ("c.db", 40, 1),
            ("mine.db", 40, 4),
        ];
        assert_eq!(left(&files, "mine.db", 160).len(), 5);
        assert_eq!(left(&files, "mine.db", 159), ["b.db", "b.db-wal", "c.db", "mine.db"]);
        assert_eq!(left(&files, "mine.db", 80), ["c.db", "mine.db"]);
        assert_eq!(left(&files, "mine.db", 40), ["mine.db"]);
        assert!(left(&files, "mine.db", 39).is_empty());
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_error() {
        prune(Path::new("/nonexistent/kernels"), "mine.db");
    }
}
