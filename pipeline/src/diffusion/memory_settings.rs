//! Trading memory for time.

use std::{cell::RefCell, ops::ControlFlow};

use emberbrush_layers::attention::AttentionSlicing;

use super::{DiffusionPipeline, LoadReport, VaeTiling};
use crate::{
    checkpoint::{files::CheckpointFiles, vae_override::VaeOverride},
    device::{ComputeDtype, OpenDevice},
    editing::Sources,
    error::PipelineError,
    memory::{
        Additions, MemoryPlan, MemoryPlanner, MemorySettings, TextEncoderUse, retry_with_less,
    },
    progress::{ProgressEvent, tell},
    request::GenerationRequest,
};

impl DiffusionPipeline {
    /// [`load_with`](Self::load_with), unless the weights alone do not fit into the memory that there is.
    /// Every run is then planned before it starts.
    ///
    /// # Errors
    ///
    /// Those of [`load_with`](Self::load_with), and [`PipelineError::Memory`].
    pub fn load_planned(
        files: &CheckpointFiles,
        vae: Option<VaeOverride>,
        device: OpenDevice,
        dtype: ComputeDtype,
        planner: MemoryPlanner,
    ) -> Result<(Self, LoadReport), PipelineError> {
        planner.check_loading()?;
        let (mut pipeline, report) = Self::load_with(files, vae, device, dtype)?;
        pipeline.memory = Some(planner);
        Ok((pipeline, report))
    }

    /// Plans its runs; `None` where nothing is known about memory.
    pub fn memory_planner(&self) -> Option<&MemoryPlanner> {
        self.memory.as_ref()
    }

    /// What runs are made with where memory allows it. Runs that are not planned are always made
    /// with it.
    pub fn wanted_memory(&self) -> &MemorySettings {
        &self.wanted_memory
    }

    /// Chooses what runs are made with where memory allows it.
    pub fn set_wanted_memory(&mut self, wanted: MemorySettings) {
        self.wanted_memory = wanted;
        self.use_memory(&wanted);
    }

    /// Chooses how the autoencoder works on pictures.
    pub fn set_vae_tiling(&mut self, tiling: VaeTiling) {
        self.set_wanted_memory(MemorySettings { vae_tiling: tiling, ..self.wanted_memory });
    }

    /// Plans a run of so many pictures at once; `None` where nothing is known about memory.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Memory`] where it cannot fit, and where a prompt, an adapter or a ControlNet cannot be
    /// read.
    pub fn plan_memory(
        &self,
        request: &GenerationRequest,
        sources: Option<&Sources>,
        batch: usize,
    ) -> Result<Option<MemoryPlan>, PipelineError> {
        let Some(planner) = &self.memory else { return Ok(None) };
        let batch = u32::try_from(batch).unwrap_or(u32::MAX);
        let wanted = MemorySettings { batch, ..self.wanted_memory };
        let additions = Additions {
            prompts: self.prompt_plan(request, None)?.size(),
            adapters: self.adapter_memory(request)?,
            preview: self.preview_decoder.as_ref().map(|(_, decoder)| decoder.size().clone()),
        };
        planner.plan_with(request, sources, self.native_side, additions, wanted).map(Some)
    }

    /// Plans a run of `batch` pictures at once and makes it, again with less each time that the
    /// device has no memory left. Ways in which it takes less than the run before are told.
    ///
    /// # Errors
    ///
    /// Those of `make`, and [`PipelineError::Memory`] where the run cannot fit.
    pub(crate) fn within_memory<T>(
        &mut self,
        request: &GenerationRequest,
        sources: Option<&Sources>,
        batch: usize,
        on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
        mut make: impl FnMut(
            &mut Self,
            &MemorySettings,
            &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
        ) -> Result<T, PipelineError>,
    ) -> Result<T, PipelineError> {
        let mut settings = match self.plan_memory(request, sources, batch)? {
            Some(plan) => {
                if !self.used_memory.spares_as(&plan.settings) {
                    for step in plan.stepped_down {
                        tell(ProgressEvent::SteppedDown(step), on_event)?;
                    }
                }
                plan.settings
            }
            None => MemorySettings { batch: batch as u32, ..self.wanted_memory },
        };
        let on_event = RefCell::new(on_event);
        let mut is_retry = false;
        retry_with_less(
            &mut settings,
            &mut |step| {
                // The answer is heeded at the next block.
                let _ = on_event.borrow_mut()(ProgressEvent::SteppedDown(step));
            },
            |settings| {
                if std::mem::replace(&mut is_retry, true) {
                    // What was made without memory is not what it seems to be.
                    self.kept_prompts.clear();
                }
                self.use_memory(settings);
                make(self, settings, &mut |event| on_event.borrow_mut()(event))
            },
        )
    }

    fn use_memory(&mut self, settings: &MemorySettings) {
        self.used_memory = *settings;
        let slicing = settings.attention_slicing;
        self.unet.set_attention_slicing(slicing);
        self.slice_attention_of_controlnets();
        self.vae.set_attention_slicing(slicing);
        if let Some(encoder) = &mut self.vae_encoder {
            encoder.set_attention_slicing(slicing);
        }
    }

    /// How the autoencoder works on the pictures of this run.
    pub(super) fn vae_tiling(&self) -> VaeTiling {
        self.used_memory.vae_tiling
    }

    /// How many queries of an attention this run answers at once.
    pub(super) fn attention_slicing(&self) -> AttentionSlicing {
        self.used_memory.attention_slicing
    }

    /// Whether this run does without the text encoders once prompts are encoded.
    pub(super) fn drops_text_encoders(&self) -> bool {
        self.used_memory.text_encoder == TextEncoderUse::DropAfterEncoding
    }

    /// Gives up the text encoders' weights where this run is to do without them.
    pub(super) fn finish_with_text_encoders(&self) {
        if self.drops_text_encoders() {
            self.text.drop_weights();
        }
    }
}
