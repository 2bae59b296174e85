//! Planning the runs of one checkpoint.

use burn::tensor::FloatDType;
use emberbrush_unet::KeptTensors;

use super::{KeptWeights, MemoryPlan, MemorySettings, MemorySpace, ModelMemory, Workload};
use crate::{
    checkpoint::{files::CheckpointFiles, vae_override::VaeOverride},
    device::{ComputeDtype, DeviceKind, OpenDevice},
    editing::Sources,
    error::PipelineError,
    request::GenerationRequest,
};

/// What a checkpoint takes, and the memory that its runs have. Made before the checkpoint is
/// loaded, so that what is free then is known.
#[derive(Debug, Clone)]
pub struct MemoryPlanner {
    model: ModelMemory,
    space: MemorySpace,
}

impl MemoryPlanner {
    /// Reads the checkpoint's configuration and headers. `vae` stands in for its own autoencoder; `limit` is the most bytes that a person
    /// allows.
    ///
    /// # Errors
    ///
    /// Where files cannot be read, or the device does not compute in `dtype`.
    pub fn new(
        files: &CheckpointFiles,
        vae: Option<&VaeOverride>,
        device: &OpenDevice,
        dtype: ComputeDtype,
        limit: Option<u64>,
    ) -> Result<Self, PipelineError> {
        let element_bytes = match device.float_dtype(dtype)? {
            FloatDType::F64 => 8,
            FloatDType::F16 | FloatDType::BF16 => 2,
            _ => 4,
        };
        let kept = match device.info.kind {
            DeviceKind::Cpu => KeptWeights::AsStored,
            _ => KeptWeights::Converted,
        };
        let model = ModelMemory::read(files, vae, element_bytes, kept)?;
        Ok(Self { model, space: MemorySpace::now(&device.info, limit) })
    }

    /// Plans a run: [`MemoryPlan::new`].
    ///
    /// # Errors
    ///
    /// Those of [`MemoryPlan::new`].
    pub fn plan(
        &self,
        workload: &Workload,
        wanted: MemorySettings,
    ) -> Result<MemoryPlan, PipelineError> {
        MemoryPlan::new(&self.model, workload, wanted, &self.space)
    }

    /// Plans the run of a request. `sources` are the pictures that it starts from, `native_side` is the
    /// checkpoint's.
    ///
    /// # Errors
    ///
    /// Those of [`MemoryPlan::new`], and where a ControlNet cannot be read or does not fit the
    /// checkpoint.
    pub fn plan_request(
        &self,
        request: &GenerationRequest,
        sources: Option<&Sources>,
        native_side: u32,
        wanted: MemorySettings,
    ) -> Result<MemoryPlan, PipelineError> {
        let paths: Vec<_> = request.control.0.iter().map(|unit| unit.model.clone()).collect();
        let model = self.model.clone().with_controlnets(&paths)?;
        let workload = Workload::new(request, sources, native_side)?;
        MemoryPlan::new(&model, &workload, wanted, &self.space)
    }

    /// Whether the checkpoint can be loaded at all.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Memory`] where its weights alone do not fit.
    pub fn check_loading(&self) -> Result<(), PipelineError> {
        let nothing = Workload {
            passes: Vec::new(),
            enlargement: None,
            guided: false,
            kept: KeptTensors::default(),
            picture_bytes: 0,
        };
        self.plan(&nothing, MemorySettings::FULL).map(drop)
    }
}
