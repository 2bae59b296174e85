//! The hash by which A1111 and its readers know a checkpoint.

use std::{
    io::{self, Read},
    sync::{Mutex, OnceLock, PoisonError},
    thread::{self, JoinHandle},
};

use sha2::{Digest, Sha256};

use crate::checkpoint::{component::ComponentWeights, files::CheckpointFiles};

/// How many hexadecimal digits of the hash are written.
const DIGITS: usize = 10;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// The first ten hexadecimal digits of the SHA-256 of a checkpoint's UNet weights, the file itself
/// or its shards one after the other.
///
/// A file of gigabytes takes seconds, so a thread reads it while the model works.
#[derive(Debug)]
pub struct ModelHash {
    thread: Mutex<Option<JoinHandle<Option<String>>>>,
    digits: OnceLock<Option<String>>,
}

impl ModelHash {
    /// Begins to read the weights of `files`.
    pub fn start(files: &CheckpointFiles) -> Self {
        let files = files.clone();
        let thread = thread::Builder::new()
            .name("model-hash".to_owned())
            .spawn(move || hash(&files).ok())
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

fn hash(files: &CheckpointFiles) -> io::Result<String> {
    let names = ComponentWeights::locate(files, "unet").map_err(io::Error::other)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    for name in names {
        let mut file = files.open(&name)?;
        loop {
            let length = file.read(&mut chunk)?;
            if length == 0 {
                break;
            }
            hasher.update(&chunk[..length]);
        }
    }
    let digits: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digits[..DIGITS].to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `sha256sum` of "abc" and of nothing.
    #[test]
    fn the_weights_file_decides() {
        let folder = tempfile::tempdir().unwrap();
        let unet = folder.path().join("unet");
        std::fs::create_dir(&unet).unwrap();
        let files = CheckpointFiles::Folder(folder.path().to_owned());
        assert_eq!(ModelHash::start(&files).get(), None);
        for (content, digits) in [("abc", "ba7816bf8f"), ("", "e3b0c44298")] {
            std::fs::write(unet.join("diffusion_pytorch_model.safetensors"), content).unwrap();
            let hash = ModelHash::start(&files);
            assert_eq!(hash.get().as_deref(), Some(digits));
            assert_eq!(hash.get().as_deref(), Some(digits), "it is remembered");
        }
    }
}
