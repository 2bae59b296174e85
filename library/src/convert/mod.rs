//! Writing models anew, tensor by tensor, so that memory holds one tensor at a time.

mod folder;
mod single_file;
mod weights;

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use emberbrush_pipeline::checkpoint::folder::locate_with_config;
use safetensors::Dtype;

use self::{single_file::Networks, weights::Writing};
use crate::{
    error::LibraryError,
    folder::{bytes_below, check_room, sync_folder},
    progress::OnProgress,
};

/// The type of weights in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// 16 bits, 5 of them exponent.
    F16,
    /// 16 bits, 8 of them exponent.
    Bf16,
    /// 32 bits.
    F32,
}

impl WeightType {
    fn dtype(self) -> Dtype {
        match self {
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
            Self::F32 => Dtype::F32,
        }
    }
}

impl FromStr for WeightType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            "f32" => Ok(Self::F32),
            _ => Err("the types are f16, bf16 and f32".to_owned()),
        }
    }
}

/// Writes the model at `model` to `output`, with its floating point weights in another type.
/// `output` is a single file where its name ends in `.safetensors`, else a folder in Hugging Face
/// layout; `model` may be either, or a pickle. The configuration files in the folder `config` go
/// before those that a single file is taken to have.
///
/// Types are rounded to the nearest, ties to even, as PyTorch does; `output` gets its name when it
/// is whole.
///
/// # Errors
///
/// Where `output` exists, a value is too large for the type, a tensor has no place in the other
/// layout, or a file cannot be read or written.
pub fn convert(
    model: &Path,
    config: Option<&Path>,
    output: &Path,
    dtype: Option<WeightType>,
    on_progress: OnProgress<'_>,
) -> Result<(), LibraryError> {
    if fs::symlink_metadata(output).is_ok() {
        return Err(LibraryError::Convert {
            what: output.display().to_string(),
            reason: "it exists, and is left as it is. Give another place with --output".to_owned(),
        });
    }
    let files = locate_with_config(model, config)?;
    let parent = folder_of(output);
    fs::create_dir_all(&parent).map_err(LibraryError::io(&parent))?;
    check_room(&parent, expected_bytes(model, dtype))?;
    let staging = tempfile::TempDir::new_in(&parent).map_err(LibraryError::io(&parent))?;
    let written = staging.path().join("model");
    let is_file_wanted = output.extension().is_some_and(|ending| ending == "safetensors");
    match (model.is_dir(), is_file_wanted) {
        (true, false) => folder::from_folder(model, &files, &written, dtype, on_progress)?,
        (false, false) => folder::from_single_file(&files, &written, dtype, on_progress)?,
        (_, true) => {
            let networks = Networks::open(&files)?;
            let mut writing = Writing { done: 0, total: networks.bytes(), on_progress };
            writing.write(networks.planned(dtype)?, &written)?;
        }
    }
    fs::rename(&written, output).map_err(LibraryError::io(output))?;
    sync_folder(&parent);
    Ok(())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// At most so many bytes are written.
fn expected_bytes(model: &Path, dtype: Option<WeightType>) -> u64 {
    let bytes = bytes_below(model);
    if dtype == Some(WeightType::F32) { bytes.saturating_mul(2) } else { bytes }
}
