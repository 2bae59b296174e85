//! Files as memory.
//!
//! A checkpoint is mapped, not read: the system brings its pages in when a kernel first touches
//! them, shares them with its cache of the disk, and may drop them again where memory is short.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
};

use memmap2::Mmap;

use crate::stored_tensor::SharedBytes;

/// The content of a file, mapped where the file system can do that and read where it cannot.
///
/// # Errors
///
/// Where it cannot be read.
pub fn file_contents(mut file: File) -> io::Result<SharedBytes> {
    // SAFETY: the bytes are only read, as numbers of which every pattern is valid. A program that
    // writes into the file meanwhile changes weights, and one that shortens it ends this one; there
    // is no way to hold weights of many gigabytes without trusting the file. What this program
    // itself writes takes its place under a new file.
    if let Ok(map) = unsafe { Mmap::map(&file) } {
        return Ok(Arc::new(map));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Arc::new(bytes))
}
