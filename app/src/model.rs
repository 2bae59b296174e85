//! Finding and loading the checkpoint that the arguments name.

use std::path::Path;

use bytesize::ByteSize;
use emberbrush_pipeline::{
    checkpoint::{CheckpointError, files::CheckpointFiles, folder},
    device::{self, ComputeDtype, OpenDevice},
    diffusion::{DiffusionPipeline, LoadReport},
    error::PipelineError,
    memory::MemoryPlanner,
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

/// A checkpoint that was found, and not loaded yet.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) files: CheckpointFiles,
    pub(crate) device: OpenDevice,
    pub(crate) dtype: ComputeDtype,
    /// Knows what was free before it is loaded.
    pub(crate) planner: MemoryPlanner,
}

impl Found {
    /// Finds the checkpoint that the arguments name, and opens their device.
    pub(crate) fn new(arguments: &ModelArguments) -> Result<Self, PipelineError> {
        let device = device::open(arguments.device)?;
        let path = arguments.model.as_deref();
        Self::on(device, path, arguments.dtype.into(), arguments.memory_limit)
    }

    /// Finds the checkpoint at `path`, or the model in the box, for a device that is open.
    pub(crate) fn on(
        device: OpenDevice,
        path: Option<&Path>,
        dtype: ComputeDtype,
        memory_limit: Option<ByteSize>,
    ) -> Result<Self, PipelineError> {
        let files = files(path)?;
        let limit = memory_limit.map(|size| size.as_u64());
        let planner = MemoryPlanner::new(&files, &device, dtype, limit)?;
        Ok(Self { files, device, dtype, planner })
    }

    /// Loads it, where its weights fit into memory.
    pub(crate) fn load(self) -> Result<(DiffusionPipeline, LoadReport), PipelineError> {
        let Self { files, device, dtype, planner } = self;
        let (mut pipeline, report) =
            DiffusionPipeline::load_planned(&files, device, dtype, planner)?;
        pipeline.set_prompt_syntax(PromptSyntax::Weighted);
        Ok((pipeline, report))
    }
}

/// Loads the checkpoint that the arguments name onto their device.
pub(crate) fn load(
    arguments: &ModelArguments,
) -> Result<(DiffusionPipeline, LoadReport), PipelineError> {
    Found::new(arguments)?.load()
}

/// Loads the checkpoint at `path`, or the model in the box, onto a device.
pub(crate) fn load_on(
    device: OpenDevice,
    path: Option<&Path>,
    dtype: ComputeDtype,
) -> Result<(DiffusionPipeline, LoadReport), PipelineError> {
    Found::on(device, path, dtype, None)?.load()
}
