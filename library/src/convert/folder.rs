//! Checkpoint folders.

use std::{fs, path::Path};

use emberbrush_pipeline::checkpoint::{
    CheckpointError, component::ComponentWeights, files::CheckpointFiles,
};

use super::{
    WeightType,
    single_file::{NETWORKS, flatten_attention, small_files},
    weights::{Writing, planned},
};
use crate::{
    error::LibraryError,
    folder::sync_folder,
    progress::{OnProgress, Progress, tell},
};

/// Endings of the files beside weights that belong to a checkpoint.
const BESIDE: [&str; 4] = ["json", "txt", "model", "md"];

/// Writes a checkpoint folder as a folder; shards of a network become one file.
pub(super) fn from_folder(
    model: &Path,
    files: &CheckpointFiles,
    written: &Path,
    dtype: Option<WeightType>,
    on_progress: OnProgress<'_>,
) -> Result<(), LibraryError> {
    fs::create_dir(written).map_err(LibraryError::io(written))?;
    copy_beside(model, written, false)?;
    let mut networks = Vec::new();
    for part in parts(model)? {
        let target = written.join(&part);
        fs::create_dir(&target).map_err(LibraryError::io(&target))?;
        copy_beside(&model.join(&part), &target, true)?;
        match ComponentWeights::open(files, &part) {
            Ok(weights) => networks.push((part, weights)),
            // Schedulers and tokenizers have none.
            Err(CheckpointError::NoWeights { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    write_networks(&networks, written, dtype, false, on_progress)
}

/// Writes a single file as the folder that holds the same.
pub(super) fn from_single_file(
    files: &CheckpointFiles,
    written: &Path,
    dtype: Option<WeightType>,
    on_progress: OnProgress<'_>,
) -> Result<(), LibraryError> {
    for (name, content) in small_files(files)? {
        let path = written.join(name);
        let folder = path.parent().unwrap_or(written);
        fs::create_dir_all(folder).map_err(LibraryError::io(folder))?;
        fs::write(&path, content).map_err(LibraryError::io(&path))?;
    }
    let networks = NETWORKS
        .into_iter()
        .filter(|part| files.contains(&format!("{part}/config.json")))
        .map(|part| Ok((part.to_owned(), ComponentWeights::open(files, part)?)))
        .collect::<Result<Vec<_>, LibraryError>>()?;
    write_networks(&networks, written, dtype, true, on_progress)
}

fn write_networks(
    networks: &[(String, ComponentWeights)],
    written: &Path,
    dtype: Option<WeightType>,
    is_of_single_file: bool,
    on_progress: OnProgress<'_>,
) -> Result<(), LibraryError> {
    let total = networks.iter().map(|(_, weights)| weights.stored_bytes()).sum();
    let mut writing = Writing { done: 0, total, on_progress };
    for (part, weights) in networks {
        tell(writing.on_progress, Progress::File { name: part })?;
        let mut tensors: Vec<_> = planned(weights, dtype).collect();
        if is_of_single_file && part == "vae" {
            tensors.iter_mut().for_each(flatten_attention);
        }
        let folder = written.join(part);
        writing.write(tensors, &folder.join(weights_name(part)))?;
        sync_folder(&folder);
    }
    sync_folder(written);
    Ok(())
}

/// What the file of a network's weights is called, by transformers or by diffusers.
fn weights_name(part: &str) -> &'static str {
    let is_of_transformers = ["text_encoder", "safety_checker", "image_encoder"]
        .iter()
        .any(|begin| part.starts_with(begin));
    if is_of_transformers { "model.safetensors" } else { "diffusion_pytorch_model.safetensors" }
}

/// The folders in a checkpoint, in order.
fn parts(model: &Path) -> Result<Vec<String>, LibraryError> {
    let entries = fs::read_dir(model).map_err(LibraryError::io(model))?;
    let mut parts: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    parts.sort();
    Ok(parts)
}

/// Copies what belongs to a checkpoint beside its weights; an index of shards does not.
fn copy_beside(from: &Path, to: &Path, has_weights: bool) -> Result<(), LibraryError> {
    let entries = fs::read_dir(from).map_err(LibraryError::io(from))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_index = has_weights && name.contains(".index.") && name.ends_with(".json");
        let ending = path.extension().and_then(|ending| ending.to_str());
        let belongs = ending.map_or(name == "LICENSE", |ending| BESIDE.contains(&ending));
        if path.is_file() && belongs && !is_index && !name.starts_with('.') {
            fs::copy(&path, to.join(name)).map_err(LibraryError::io(&path))?;
        }
    }
    Ok(())
}
