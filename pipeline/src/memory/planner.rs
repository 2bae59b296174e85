//! Planning the runs of one checkpoint.

use burn::tensor::FloatDType;
use emberbrush_unet::KeptTensors;

use super::{
    Additions, KeptWeights, MemoryAllowance, MemoryPlan, MemorySettings, MemorySpace, ModelMemory,
    PlanContext, PromptSize, Workload,
};
use crate::{
    checkpoint::{files::CheckpointFiles, vae_override::VaeOverride},
    device::{ComputeDtype, DeviceKind, OpenDevice},
    diffusion::{adapter_memory, prompt_size},
    editing::Sources,
    error::PipelineError,
    preview::PreviewDecoder,
    request::GenerationRequest,
};

/// What a checkpoint takes, and the memory that its runs have. Made before the checkpoint is
/// loaded, so that what is free then is known.
#[derive(Debug, Clone)]
pub struct MemoryPlanner {
    files: CheckpointFiles,
    model: ModelMemory,
    space: MemorySpace,
}

impl MemoryPlanner {
    /// Reads the checkpoint's configuration and headers. `vae` stands in for its own autoencoder;
    /// `allowance` is what a person allows its runs.
    ///
    /// # Errors
    ///
    /// Where files cannot be read, or the device does not compute in `dtype`.
    pub fn new(
        files: &CheckpointFiles,
        vae: Option<&VaeOverride>,
        device: &OpenDevice,
        dtype: ComputeDtype,
        allowance: MemoryAllowance,
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
        let space = MemorySpace::now(&device.info, allowance);
        Ok(Self { files: files.clone(), model, space })
    }

    /// Plans the run of a request with the checkpoint not loaded. `sources` are the pictures that it starts
    /// from, `native_side` is the checkpoint's.
    ///
    /// # Errors
    ///
    /// Those of [`MemoryPlan::new`], and where a prompt cannot be read, or an adapter, a ControlNet or the
    /// decoder of previews cannot be read or does not fit the checkpoint.
    pub fn plan_request(
        &self,
        request: &GenerationRequest,
        sources: Option<&Sources>,
        native_side: u32,
        context: &PlanContext,
        wanted: MemorySettings,
    ) -> Result<MemoryPlan, PipelineError> {
        let syntax = context.prompt_syntax;
        let additions = Additions {
            prompts: prompt_size(&self.files, request, syntax)?,
            adapters: adapter_memory(&self.files, &context.adapter_folders, request, syntax)?,
            preview: match &context.preview_decoder {
                None => None,
                Some(path) => {
                    let channels = self.model.vae_config.latent_channels();
                    Some(PreviewDecoder::memory(path, &self.files, channels)?)
                }
            },
        };
        self.plan_with(request, sources, native_side, additions, wanted)
    }

    /// Plans the run of a request of which it is known what it adds to the checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`MemoryPlan::new`], and where a ControlNet cannot be read or does not fit the
    /// checkpoint.
    pub(crate) fn plan_with(
        &self,
        request: &GenerationRequest,
        sources: Option<&Sources>,
        native_side: u32,
        Additions { prompts, adapters, preview }: Additions,
        wanted: MemorySettings,
    ) -> Result<MemoryPlan, PipelineError> {
        let paths: Vec<_> = request.control.0.iter().map(|unit| unit.model.clone()).collect();
        let model = self.model.clone().with_controlnets(&paths)?.with_additions(adapters, preview);
        let workload = Workload::new(request, sources, native_side, prompts)?;
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
            prompts: PromptSize::SHORT,
            picture_bytes: 0,
        };
        MemoryPlan::new(&self.model, &nothing, MemorySettings::FULL, &self.space).map(drop)
    }
}
