//! Where the program keeps what is not pictures.

use std::path::PathBuf;

use directories::ProjectDirs;

/// Where the program keeps its own data: `EMBERBRUSH_DATA_DIR`, or the place that the system has
/// for that.
pub fn data_folder() -> PathBuf {
    match std::env::var_os("EMBERBRUSH_DATA_DIR") {
        Some(folder) => folder.into(),
        None => {
            of_system().map_or_else(|| ".emberbrush".into(), |folders| folders.data_dir().into())
        }
    }
}

/// Where the program keeps what it can work out again: `cache` in `EMBERBRUSH_DATA_DIR`, or the
/// place that the system has for that.
pub fn cache_folder() -> PathBuf {
    match std::env::var_os("EMBERBRUSH_DATA_DIR") {
        Some(folder) => PathBuf::from(folder).join("cache"),
        None => of_system()
            .map_or_else(|| ".emberbrush/cache".into(), |folders| folders.cache_dir().into()),
    }
}

fn of_system() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "emberbrush")
}
