//! What the networks of a checkpoint take, without loading them.

use std::path::PathBuf;

use emberbrush_text_encoder::ClipTextConfig;
use emberbrush_unet::{ControlNetConfig, UNet2DConditionConfig};
use emberbrush_vae::{AutoencoderConfig, AutoencoderTinyConfig};

use super::AdapterMemory;
use crate::checkpoint::{
    CheckpointError,
    component::{ComponentWeights, TensorHeader},
    controlnet::ControlNetFiles,
    files::CheckpointFiles,
    vae_override::VaeOverride,
};

/// Bytes of an f32.
const F32_BYTES: u64 = 4;

/// What becomes of weights when a network is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptWeights {
    /// They stay as they are in the file, which is mapped: on the CPU.
    AsStored,
    /// They are brought into the type that is computed in: on a GPU.
    Converted,
}

/// The weights of one network, or of a half of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkWeights {
    /// Number of parameters.
    pub parameters: u64,
    /// Bytes of a parameter in the type that is computed in.
    pub element_bytes: u64,
    /// Bytes of all of them once loaded.
    pub kept_bytes: u64,
    /// The most bytes that are needed for a moment to bring a tensor from the stored type to the
    /// one that is computed in.
    pub conversion_bytes: u64,
}

impl NetworkWeights {
    /// Bytes once loaded.
    pub fn bytes(&self) -> u64 {
        self.kept_bytes
    }

    fn add(&mut self, tensor: &TensorHeader, kept: KeptWeights) {
        self.parameters = self.parameters.saturating_add(tensor.elements);
        let bytes = match (kept, tensor.element_bytes) {
            (KeptWeights::AsStored, stored @ (2 | 4)) => stored.min(self.element_bytes),
            (KeptWeights::AsStored, _) => F32_BYTES,
            (KeptWeights::Converted, _) => self.element_bytes,
        };
        self.kept_bytes = self.kept_bytes.saturating_add(tensor.elements.saturating_mul(bytes));
        if kept == KeptWeights::Converted && tensor.element_bytes != self.element_bytes {
            // The stored tensor, and it in f32, beside the one that is kept.
            let beside = tensor.elements.saturating_mul(tensor.element_bytes + F32_BYTES);
            self.conversion_bytes = self.conversion_bytes.max(beside);
        }
    }
}

/// A small autoencoder's decoder, which shows unfinished pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewMemory {
    pub(super) config: AutoencoderTinyConfig,
    pub(super) weights: NetworkWeights,
}

impl PreviewMemory {
    /// The sizes of its weights in f32.
    pub(crate) fn new(config: AutoencoderTinyConfig, source: &ComponentWeights) -> Self {
        let is_decoder = |key: &str| key.starts_with("decoder.");
        Self { config, weights: sum(source, F32_BYTES, KeptWeights::Converted, is_decoder) }
    }
}

/// The networks of a checkpoint: their configurations, and the sizes of their weights.
#[derive(Debug, Clone)]
pub struct ModelMemory {
    pub(super) text: Vec<(ClipTextConfig, NetworkWeights)>,
    pub(super) unet_config: UNet2DConditionConfig,
    pub(super) unet: NetworkWeights,
    /// Those of a run, which are loaded for it.
    pub(super) controlnets: Vec<(ControlNetConfig, NetworkWeights)>,
    pub(super) vae_config: AutoencoderConfig,
    pub(super) decoder: NetworkWeights,
    pub(super) encoder: NetworkWeights,
    /// What shows unfinished pictures.
    pub(super) preview: Option<PreviewMemory>,
    /// What is merged into the weights.
    pub(super) adapters: AdapterMemory,
    /// Bytes of weights that are part of the program, which is in memory as far as it was read.
    pub(super) embedded_bytes: u64,
    pub(super) kept: KeptWeights,
}

impl ModelMemory {
    /// Reads configurations and headers. `vae` stands in for the checkpoint's own autoencoder; `element_bytes` are those of the type that text encoders
    /// and UNet compute in, 4 for f32; the autoencoder always computes in f32.
    ///
    /// # Errors
    ///
    /// Where a configuration or the header of a weight file cannot be read, or a configuration is
    /// impossible.
    pub fn read(
        files: &CheckpointFiles,
        vae: Option<&VaeOverride>,
        element_bytes: u64,
        kept: KeptWeights,
    ) -> Result<Self, CheckpointError> {
        let weights = |name: &str| {
            Ok::<_, CheckpointError>(sum(
                &ComponentWeights::open(files, name)?,
                element_bytes,
                kept,
                |_| true,
            ))
        };
        let mut text = Vec::new();
        for name in ["text_encoder", "text_encoder_2"] {
            let config = format!("{name}/config.json");
            if files.contains(&config) {
                let weights = weights(name)?;
                let config: ClipTextConfig = files.json(&config)?;
                config.check()?;
                text.push((config, weights));
            }
        }
        let vae_config: AutoencoderConfig = match vae {
            Some(vae) => vae.config().clone(),
            None => files.json("vae/config.json")?,
        };
        vae_config.check()?;
        let embedded_bytes = match files {
            CheckpointFiles::Folder(_) | CheckpointFiles::SingleFile(_) => 0,
            // Where they stay, they are the networks' weights.
            CheckpointFiles::Embedded { .. } if kept == KeptWeights::AsStored => 0,
            CheckpointFiles::Embedded { files, .. } => {
                files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
            }
        };
        let vae_weights = match vae {
            Some(vae) => vae.weights()?,
            None => ComponentWeights::open(files, "vae")?,
        };
        let belongs_to_encoder =
            |key: &str| key.starts_with("encoder.") || key.starts_with("quant_conv.");
        Ok(Self {
            text,
            unet_config: files.json("unet/config.json")?,
            unet: weights("unet")?,
            controlnets: Vec::new(),
            vae_config,
            decoder: sum(&vae_weights, F32_BYTES, kept, |key| !belongs_to_encoder(key)),
            encoder: sum(&vae_weights, F32_BYTES, kept, belongs_to_encoder),
            preview: None,
            adapters: AdapterMemory::default(),
            embedded_bytes,
            kept,
        })
    }

    /// Whether the UNet takes a mask and the latents of a masked image, so that every run encodes
    /// a picture.
    pub fn is_inpainting_model(&self) -> bool {
        self.unet_config.in_channels > self.vae_config.latent_channels()
    }

    /// The same checkpoint with the ControlNets at `paths`, each once.
    ///
    /// # Errors
    ///
    /// Where one of them cannot be read or does not fit the checkpoint.
    pub fn with_controlnets(mut self, paths: &[PathBuf]) -> Result<Self, CheckpointError> {
        let element_bytes = self.unet.element_bytes;
        for (index, path) in paths.iter().enumerate() {
            let files = ControlNetFiles::open(path, &self.unet_config)?;
            let mut weights = NetworkWeights { element_bytes, ..NetworkWeights::default() };
            if !paths[..index].contains(path) {
                files.headers().for_each(|tensor| weights.add(&tensor, self.kept));
            }
            self.controlnets.push((files.config().clone(), weights));
        }
        Ok(self)
    }

    /// The same checkpoint with these adapters merged into it, and this to show unfinished pictures.
    pub(super) fn with_additions(
        self,
        adapters: AdapterMemory,
        preview: Option<PreviewMemory>,
    ) -> Self {
        Self { adapters, preview, ..self }
    }

    /// What adapters take in the text encoders and in the rest. On a CPU merged weights are held in
    /// f32 and the adapters' files are mapped; the pages that merged weights have in the checkpoint's
    /// file are not read again, and the system takes them back. On a GPU they are in its place.
    pub(super) fn merged_bytes(&self) -> (u64, u64) {
        let AdapterMemory { text_elements, unet_elements, file_bytes, .. } = self.adapters;
        if self.kept == KeptWeights::Converted {
            return (0, 0);
        }
        let beyond = |elements: u64, networks: &[NetworkWeights]| {
            let sum = |of: fn(&NetworkWeights) -> u64| networks.iter().map(of).sum::<u64>();
            let (stored, parameters) =
                (sum(|weights| weights.kept_bytes), sum(|weights| weights.parameters));
            let replaced =
                u128::from(elements) * u128::from(stored) / u128::from(parameters.max(1));
            elements.saturating_mul(F32_BYTES).saturating_sub(replaced as u64)
        };
        let text: Vec<_> = self.text.iter().map(|(_, weights)| *weights).collect();
        (beyond(text_elements, &text), beyond(unet_elements, &[self.unet]) + file_bytes)
    }

    /// Bytes of the decoder of previews.
    pub(super) fn preview_bytes(&self) -> u64 {
        self.preview.as_ref().map_or(0, |preview| preview.weights.bytes())
    }

    /// Bytes of the ControlNets once loaded.
    pub(super) fn controlnet_bytes(&self) -> u64 {
        self.controlnets.iter().map(|(_, weights)| weights.bytes()).sum()
    }

    /// Bytes of the text encoders once loaded.
    pub fn text_bytes(&self) -> u64 {
        self.text.iter().map(|(_, weights)| weights.bytes()).sum()
    }
}

/// The tensors of `source` that are used.
fn sum(
    source: &ComponentWeights,
    element_bytes: u64,
    kept: KeptWeights,
    is_used: impl Fn(&str) -> bool,
) -> NetworkWeights {
    let mut weights = NetworkWeights { element_bytes, ..NetworkWeights::default() };
    for tensor in source.headers().filter(|tensor| is_used(tensor.key)) {
        weights.add(&tensor, kept);
    }
    weights
}
