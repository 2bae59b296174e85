//! The hash by which A1111 and its readers know a checkpoint.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    checkpoint::{component::ComponentWeights, files::CheckpointFiles, vae_override::VaeOverride},
    places::cache_folder,
};

/// How many hexadecimal digits of the hash are written.
const DIGITS: usize = 10;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// Files of fewer bytes are read in no time, so their hashes are not remembered.
const REMEMBERED_FROM: u64 = 64 << 20;

/// The first ten hexadecimal digits of the SHA-256 of a single file, or of the UNet's weights in a
/// folder, the file itself or its shards one after the other.
///
/// A file of gigabytes takes seconds, so a thread reads it while the model works, and the hash is
/// remembered in the user's cache folder.
#[derive(Debug)]
pub struct ModelHash {
    thread: Mutex<Option<JoinHandle<Option<String>>>>,
    digits: OnceLock<Option<String>>,
}

impl ModelHash {
    /// Begins to read the weights of `files`.
    pub fn start(files: &CheckpointFiles) -> Self {
        let files = files.clone();
        Self::spawn(move |cache| sha256(&files, cache))
    }

    /// Begins to read the weights of an autoencoder.
    pub fn of_vae(vae: &VaeOverride) -> Self {
        let paths = vae.weight_files();
        Self::spawn(move |cache| sha256_of_files(&paths.map_err(io::Error::other)?, cache))
    }

    fn spawn(read: impl FnOnce(&HashCache) -> io::Result<String> + Send + 'static) -> Self {
        let thread = thread::Builder::new()
            .name("model-hash".to_owned())
            .spawn(move || Some(read(&HashCache::of_user()).ok()?[..DIGITS].to_owned()))
            .ok();
        Self { thread: Mutex::new(thread), digits: OnceLock::new() }
    }

    /// The digits, once all is read; `None` where the weights could not be read.
    pub fn get(&self) -> Option<String> {
        let wait = || {
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            thread.join().ok().flatten()
        };
        self.digits.get_or_init(wait).clone()
    }
}

/// The hexadecimal SHA-256 of what [`ModelHash`] reads.
///
/// # Errors
///
/// Where there are no weights or they cannot be read.
pub fn sha256(files: &CheckpointFiles, cache: &HashCache) -> io::Result<String> {
    let names = ComponentWeights::locate(files, "unet").map_err(io::Error::other)?;
    match files {
        CheckpointFiles::Folder(folder) => {
            let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
            sha256_of_files(&paths, cache)
        }
        CheckpointFiles::SingleFile(single) => sha256_of_files(&[single.path().to_owned()], cache),
        CheckpointFiles::Embedded { .. } => {
            let mut hasher = Sha256::new();
            for name in names {
                feed(&mut hasher, files.open(&name)?)?;
            }
            Ok(hexadecimal(hasher))
        }
    }
}

/// The hexadecimal SHA-256 of files, one after the other.
fn sha256_of_files(paths: &[PathBuf], cache: &HashCache) -> io::Result<String> {
    let stamp = Stamp::of(paths).ok();
    if let Some(known) = stamp.as_ref().and_then(|stamp| cache.get(stamp)) {
        return Ok(known);
    }
    let mut hasher = Sha256::new();
    for path in paths {
        feed(&mut hasher, fs::File::open(path)?)?;
    }
    let hash = hexadecimal(hasher);
    if let Some(stamp) = stamp {
        // A hash that is not remembered is read again.
        let _ = cache.put(&stamp, &hash);
    }
    Ok(hash)
}

fn feed(hasher: &mut Sha256, mut file: impl Read) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        hasher.update(&chunk[..length]);
    }
}

fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What tells that files have not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    /// Their paths, one a line.
    paths: String,
    bytes: u64,
    /// Nanoseconds since 1970 of the latest change.
    modified: u128,
}

impl Stamp {
    fn of(paths: &[PathBuf]) -> io::Result<Self> {
        let mut stamp = Self { paths: String::new(), bytes: 0, modified: 0 };
        for path in paths {
            let path = path.canonicalize()?;
            let metadata = fs::metadata(&path)?;
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
            stamp.bytes += metadata.len();
            stamp.modified = stamp.modified.max(modified.unwrap_or_default().as_nanos());
            stamp.paths += &format!("{}\n", path.display());
        }
        Ok(stamp)
    }
}

/// Hashes of files that were read before, in a JSON file.
#[derive(Debug, Clone)]
pub struct HashCache {
    file: Option<PathBuf>,
    /// Bytes below which nothing is remembered.
    from: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    bytes: u64,
    modified: u128,
    sha256: String,
}

impl HashCache {
    /// That of the user, in [`cache_folder`].
    pub fn of_user() -> Self {
        Self { file: Some(cache_folder().join("model-hashes.json")), from: REMEMBERED_FROM }
    }

    fn read(path: &Path) -> BTreeMap<String, Remembered> {
        let text = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn get(&self, stamp: &Stamp) -> Option<String> {
        let mut known = Self::read(self.file.as_deref()?);
        let Remembered { bytes, modified, sha256 } = known.remove(&stamp.paths)?;
        let is_same = (bytes, modified) == (stamp.bytes, stamp.modified);
        (is_same && sha256.len() == 64 && sha256.is_ascii()).then_some(sha256)
    }

    fn put(&self, stamp: &Stamp, hash: &str) -> io::Result<()> {
        let Some(file) = self.file.as_deref().filter(|_| stamp.bytes >= self.from) else {
            return Ok(());
        };
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut known = Self::read(file);
        let Stamp { paths, bytes, modified } = stamp.clone();
        known.insert(paths, Remembered { bytes, modified, sha256: hash.to_owned() });
        let temporary = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&temporary, &known)?;
        temporary.persist(file)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WEIGHTS: &str = "unet/diffusion_pytorch_model.safetensors";

    fn folder() -> (tempfile::TempDir, CheckpointFiles) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("unet")).unwrap();
        let files = CheckpointFiles::Folder(folder.path().to_owned());
        (folder, files)
    }

    /// `sha256sum` of "abc" and of nothing.
    #[test]
    fn the_weights_file_decides() {
        let (folder, files) = folder();
        assert_eq!(ModelHash::start(&files).get(), None);
        for (content, digits) in [("abc", "ba7816bf8f"), ("", "e3b0c44298")] {
            fs::write(folder.path().join(WEIGHTS), content).unwrap();
            let hash = ModelHash::start(&files);
            assert_eq!(hash.get().as_deref(), Some(digits));
            assert_eq!(hash.get().as_deref(), Some(digits), "it is remembered");
        }
    }

    #[test]
    fn hashes_are_remembered_among_the_programs_own_data() {
        let file = HashCache::of_user().file.unwrap();
        assert_eq!(file.parent(), Some(cache_folder().as_path()));
    }

    #[test]
    fn a_hash_is_remembered_until_the_file_changes() {
        let (folder, files) = folder();
        let weights = folder.path().join(WEIGHTS);
        fs::write(&weights, "abc").unwrap();
        let file = folder.path().join("cache/model-hashes.json");
        let cache = HashCache { file: Some(file.clone()), from: 0 };
        let first = sha256(&files, &cache).unwrap();
        assert!(first.starts_with("ba7816bf8f"));

        // What is remembered is believed, as long as size and time are the file's.
        let changed = fs::read_to_string(&file).unwrap().replace("ba7816bf8f", "0000000000");
        fs::write(&file, changed).unwrap();
        assert!(sha256(&files, &cache).unwrap().starts_with("0000000000"));
        fs::write(&weights, "abcd").unwrap();
        assert!(sha256(&files, &cache).unwrap().starts_with("88d4266fd4"), "of the new content");
        fs::write(&file, "no json").unwrap();
        assert!(sha256(&files, &cache).unwrap().starts_with("88d4266fd4"));

        let (_other, elsewhere) = self::folder();
        assert!(sha256(&elsewhere, &cache).is_err(), "there is nothing to read");
        let small = HashCache { file: Some(folder.path().join("none.json")), from: 5 };
        sha256(&files, &small).unwrap();
        assert!(!folder.path().join("none.json").exists());
    }
}
