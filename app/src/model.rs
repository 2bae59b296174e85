//! Finding and loading the checkpoint that the arguments name.

use std::path::Path;

use emberbrush_pipeline::{
    checkpoint::{CheckpointError, files::CheckpointFiles, folder},
    device::{self, ComputeDtype, OpenDevice},
    diffusion::{DiffusionPipeline, LoadReport},
    error::PipelineError,
    prompt::PromptSyntax,
};

use crate::cli::ModelArguments;

/// The files of the checkpoint at `path`, or of the model in the box.
pub(crate) fn files(path: Option<&Path>) -> Result<CheckpointFiles, CheckpointError> {
    match path {
        Some(path) => folder::locate(path),
        None => Ok(CheckpointFiles::Embedded {
            name: emberbrush_assets::DEFAULT_MODEL_NAME,
            files: emberbrush_assets::DEFAULT_MODEL,
        }),
    }
}

/// Loads the checkpoint that the arguments name onto their device.
pub(crate) fn load(
    arguments: &ModelArguments,
) -> Result<(DiffusionPipeline, LoadReport), PipelineError> {
    let device = device::open(arguments.device)?;
    load_on(device, arguments.model.as_deref(), arguments.dtype.into())
}

/// Loads the checkpoint at `path`, or the model in the box, onto a device.
pub(crate) fn load_on(
    device: OpenDevice,
    path: Option<&Path>,
    dtype: ComputeDtype,
) -> Result<(DiffusionPipeline, LoadReport), PipelineError> {
    let (mut pipeline, report) = DiffusionPipeline::load(&files(path)?, device, dtype)?;
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    Ok((pipeline, report))
}
