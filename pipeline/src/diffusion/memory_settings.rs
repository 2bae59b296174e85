//! Trading memory for time.

use emberbrush_layers::attention::AttentionSlicing;

use super::{DiffusionPipeline, VaeTiling};
use crate::memory::MemorySettings;

impl DiffusionPipeline {
    /// Does what a [`crate::memory::MemoryPlan`] has settled, apart from the number of pictures at
    /// once, which is up to the caller.
    pub fn set_memory_settings(&mut self, settings: &MemorySettings) {
        self.set_vae_tiling(settings.vae_tiling);
        self.set_attention_slicing(settings.attention_slicing);
    }

    /// Chooses how the autoencoder works on pictures.
    pub fn set_vae_tiling(&mut self, tiling: VaeTiling) {
        self.vae_tiling = tiling;
    }

    /// Chooses how many queries of an attention the UNet and the autoencoder answer at once.
    pub fn set_attention_slicing(&mut self, slicing: AttentionSlicing) {
        self.attention_slicing = slicing;
        self.unet.set_attention_slicing(slicing);
        self.vae.set_attention_slicing(slicing);
        if let Some(encoder) = &mut self.vae_encoder {
            encoder.set_attention_slicing(slicing);
        }
    }
}
