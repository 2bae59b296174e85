//! Finding and loading the checkpoint that the arguments name.

use std::path::Path;

use emberbrush_pipeline::{
    checkpoint::{CheckpointError, files::CheckpointFiles, folder},
    device,
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

/// Loads the checkpoint onto the device.
pub(crate) fn load(
    arguments: &ModelArguments,
) -> Result<(DiffusionPipeline, LoadReport), PipelineError> {
    let files = files(arguments.model.as_deref())?;
    let device = device::open(arguments.device)?;
    let (mut pipeline, report) = DiffusionPipeline::load(&files, device, arguments.dtype.into())?;
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    Ok((pipeline, report))
}
