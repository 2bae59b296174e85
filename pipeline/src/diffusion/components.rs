//! Opening the parts of a checkpoint: whatever changes a network's weights on their way from the
//! files does so here, for the first reading and for every later one.

use std::{collections::BTreeSet, sync::Arc};

use burn::tensor::{Device, FloatDType};
use emberbrush_layers::weights::{WeightError, Weights};
use emberbrush_text_encoder::{Tokenizer, TokenizerSettings};
use emberbrush_vae::AutoencoderConfig;
use serde::de::DeserializeOwned;

use super::adapters::Merged;
use crate::{
    adapters::AdaptedWeights,
    checkpoint::{
        CheckpointError, component::ComponentWeights, files::CheckpointFiles,
        vae_override::VaeOverride,
    },
    device::OpenDevice,
};

/// The folder of the autoencoder.
const VAE: &str = "vae";

/// The parts of one checkpoint, for one device.
#[derive(Debug, Clone)]
pub(super) struct Components {
    files: CheckpointFiles,
    device: OpenDevice,
    /// What stands in for the files' own autoencoder.
    vae: Option<Arc<VaeOverride>>,
    merged: Merged,
}

/// A network, and what its files hold beside it.
#[derive(Debug)]
pub(super) struct Built<T> {
    pub(super) network: T,
    /// Tensors that nothing needs, as `unet: some.key`.
    pub(super) unused_keys: Vec<String>,
}

impl Components {
    pub(super) fn new(
        files: CheckpointFiles,
        vae: Option<VaeOverride>,
        device: OpenDevice,
    ) -> Self {
        Self { files, device, vae: vae.map(Arc::new), merged: Merged::default() }
    }

    /// The configuration of the autoencoder.
    pub(super) fn vae_config(&self) -> Result<AutoencoderConfig, CheckpointError> {
        match &self.vae {
            Some(vae) => Ok(vae.config().clone()),
            None => self.config(VAE),
        }
    }

    fn weights(&self, component: &str) -> Result<ComponentWeights, CheckpointError> {
        match &self.vae {
            Some(vae) if component == VAE => vae.weights(),
            _ => ComponentWeights::open(&self.files, component),
        }
    }

    /// The configuration of the network in the folder `component`.
    pub(super) fn config<T: DeserializeOwned>(
        &self,
        component: &str,
    ) -> Result<T, CheckpointError> {
        self.files.json(&format!("{component}/config.json"))
    }

    /// Builds the network in the folder `component` from its weights.
    pub(super) fn build<T>(
        &self,
        component: &str,
        dtype: FloatDType,
        build: impl FnOnce(&Weights<'_>) -> Result<T, WeightError>,
    ) -> Result<Built<T>, CheckpointError> {
        let source = self.weights(component)?;
        let merge = self.merged.of(component);
        let adapted = AdaptedWeights::new(&source, &merge, &self.device.device);
        let network = build(&Weights::new(&adapted, &self.device.device, dtype))?;
        let unused_keys = source
            .unused_keys()
            .into_iter()
            .filter(|key| !is_expected_unused(component, key))
            .map(|key| format!("{component}: {key}"))
            .collect();
        Ok(Built { network, unused_keys })
    }

    /// Reads the tensors of `changed` of the network in the folder `component` again.
    pub(super) fn reload(
        &self,
        component: &str,
        dtype: FloatDType,
        changed: &BTreeSet<String>,
        reload: impl FnOnce(&Weights<'_>) -> Result<(), WeightError>,
    ) -> Result<(), CheckpointError> {
        let read = |weights: &Weights<'_>| reload(&weights.with_changed(changed));
        self.build(component, dtype, read).map(|_| ())
    }

    /// The device of the networks.
    pub(super) fn device(&self) -> &Device {
        &self.device.device
    }

    /// What is merged into the weights.
    pub(super) fn merged(&self) -> &Merged {
        &self.merged
    }

    /// The files of the checkpoint.
    pub(super) fn files(&self) -> &CheckpointFiles {
        &self.files
    }

    /// Tensors of the files that belong to no network.
    pub(super) fn stray_keys(&self) -> Vec<String> {
        let mut stray = match &self.files {
            CheckpointFiles::SingleFile(single) => single.unused_keys().to_vec(),
            _ => Vec::new(),
        };
        if let Some(vae) = &self.vae {
            stray.extend(vae.stray_keys().iter().map(|key| format!("{VAE}: {key}")));
        }
        stray
    }

    /// The tokenizer in the folder `name`.
    pub(super) fn tokenizer(&self, name: &str) -> Result<Tokenizer, CheckpointError> {
        load_tokenizer(&self.files, name)
    }
}

/// Reads the tokenizer in a folder of a checkpoint: `tokenizer`, or SDXL's `tokenizer_2`.
///
/// # Errors
///
/// Where a file is missing or not understood.
pub fn load_tokenizer(files: &CheckpointFiles, name: &str) -> Result<Tokenizer, CheckpointError> {
    let broken = |reason: String| CheckpointError::Tokenizer { path: files.display(name), reason };
    let read = |file: &str| {
        let path = format!("{name}/{file}");
        match files.read_optional(&path)?.map(String::from_utf8) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(broken(format!("{file} is not UTF-8 text"))),
        }
    };
    let settings = TokenizerSettings::new(
        read("tokenizer_config.json")?.as_deref(),
        read("special_tokens_map.json")?.as_deref(),
    )
    .map_err(|error| broken(error.to_string()))?;
    let tokenizer = match (read("vocab.json")?, read("merges.txt")?, read("tokenizer.json")?) {
        (Some(vocab), Some(merges), _) => {
            Tokenizer::from_vocab_and_merges(&vocab, &merges, &settings)
        }
        (_, _, Some(json)) => Tokenizer::from_tokenizer_json(&json, &settings),
        _ => {
            return Err(broken(
                "neither vocab.json with merges.txt nor tokenizer.json is there".to_owned(),
            ));
        }
    };
    tokenizer.map_err(|error| broken(error.to_string()))
}

/// Tensors that published files carry and a run does not need.
fn is_expected_unused(component: &str, key: &str) -> bool {
    match component {
        "vae" => key.starts_with("encoder.") || key.starts_with("quant_conv."),
        "unet" => false,
        _ => emberbrush_text_encoder::keys::expected_unused(key),
    }
}
