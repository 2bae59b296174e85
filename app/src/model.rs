//! Finding and loading the checkpoint that the arguments name.

use std::path::Path;

use emberbrush_library::folder::Library;
use emberbrush_pipeline::{
    checkpoint::{CheckpointError, files::CheckpointFiles, folder, vae_override::VaeOverride},
    device::{self, ComputeDtype, OpenDevice},
    diffusion::{DiffusionPipeline, LoadReport},
    error::PipelineError,
    memory::{MemoryAllowance, MemoryPlanner},
    prompt::PromptSyntax,
};

use crate::cli::ModelArguments;

/// Where a checkpoint is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ModelPlace<'a> {
    /// A folder or a single file, or the name of a model of the library; `None` for the model in
    /// the box.
    pub(crate) path: Option<&'a Path>,
    /// The folder that holds a single file's configurations.
    pub(crate) config: Option<&'a Path>,
    /// What stands in for its autoencoder.
    pub(crate) vae: Option<&'a Path>,
}

impl<'a> From<Option<&'a Path>> for ModelPlace<'a> {
    fn from(path: Option<&'a Path>) -> Self {
        Self { path, ..Self::default() }
    }
}

/// The files of a checkpoint.
pub(crate) fn files<'a>(
    place: impl Into<ModelPlace<'a>>,
) -> Result<CheckpointFiles, CheckpointError> {
    let ModelPlace { path, config, .. } = place.into();
    match path {
        Some(path) => folder::locate_with_config(&Library::of_person().resolve(path), config),
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
    /// What stands in for its autoencoder.
    vae: Option<VaeOverride>,
    pub(crate) device: OpenDevice,
    pub(crate) dtype: ComputeDtype,
    /// Knows what was free before it is loaded.
    pub(crate) planner: MemoryPlanner,
}

impl Found {
    /// Finds the checkpoint that the arguments name, and opens their device.
    pub(crate) fn new(arguments: &ModelArguments) -> Result<Self, PipelineError> {
        let device = device::open(arguments.device)?;
        Self::on(device, arguments.place(), arguments.dtype.into(), arguments.memory.allowance())
    }

    /// Finds a checkpoint for a device that is open.
    pub(crate) fn on<'a>(
        device: OpenDevice,
        place: impl Into<ModelPlace<'a>>,
        dtype: ComputeDtype,
        allowance: MemoryAllowance,
    ) -> Result<Self, PipelineError> {
        let place = place.into();
        let files = files(place)?;
        let vae = place.vae.map(|path| VaeOverride::open(path, &files)).transpose()?;
        let planner = MemoryPlanner::new(&files, vae.as_ref(), &device, dtype, allowance)?;
        Ok(Self { files, vae, device, dtype, planner })
    }

    /// Loads it, where its weights fit into memory.
    pub(crate) fn load(self) -> Result<(DiffusionPipeline, LoadReport), PipelineError> {
        let Self { files, vae, device, dtype, planner } = self;
        let (mut pipeline, report) =
            DiffusionPipeline::load_planned(&files, vae, device, dtype, planner)?;
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

/// Loads a checkpoint onto a device.
pub(crate) fn load_on<'a>(
    device: OpenDevice,
    place: impl Into<ModelPlace<'a>>,
    dtype: ComputeDtype,
) -> Result<(DiffusionPipeline, LoadReport), PipelineError> {
    Found::on(device, place, dtype, MemoryAllowance::default())?.load()
}
