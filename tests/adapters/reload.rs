//! Networks that read single layers again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Mutex, PoisonError},
};

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use emberbrush_layers::weights::{WeightError, WeightSource, Weights};
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{Golden, checkpoint, values};
use emberbrush_text_encoder::{ClipTextConfig, ClipTextModel};
use emberbrush_unet::{AddedConditions, UNet2DConditionConfig, UNet2DConditionModel, UNetInput};

/// A file of which some tensors are half as large, and what was read of it.
struct Halved {
    file: SafetensorsFile,
    halved: BTreeSet<String>,
    read: Mutex<BTreeSet<String>>,
}

impl Halved {
    fn open(path: &std::path::Path) -> Self {
        let file = SafetensorsFile::open(path).unwrap();
        Self { file, halved: BTreeSet::new(), read: Mutex::default() }
    }

    /// The weights of all linear layers and convolutions.
    fn layers(&self) -> BTreeSet<String> {
        let keys = self.file.metadata().offset_keys().into_iter();
        let is_layer = |key: &String| {
            key.ends_with(".weight")
                && !key.contains("_embedding.weight")
                && self.file.shape(key).is_some_and(|shape| shape.len() > 1)
        };
        keys.filter(is_layer).collect()
    }

    fn take_read(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WeightSource for Halved {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.file.shape(key)
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        let data = self.file.read(key)?;
        if !self.halved.contains(key) {
            return Ok(data);
        }
        let shape = data.shape().clone();
        let values = data.convert::<f32>().try_to_vec::<f32>().unwrap();
        Ok(TensorData::new(values.into_iter().map(|value| value / 2.0).collect(), shape))
    }

    fn origin(&self) -> String {
        self.file.origin()
    }
}

/// Checks that a network whose `changed` layers are read again is the one that is built from the
/// changed source, and that nothing else was read.
fn check<N>(
    mut source: Halved,
    build: impl Fn(&Weights<'_>) -> N,
    reload: impl Fn(&mut N, &Weights<'_>) -> Result<(), WeightError>,
    output: impl Fn(&N) -> Vec<f32>,
) {
    let device = Device::flex();
    let mut network = build(&Weights::new(&source, &device, FloatDType::F32));
    let before = output(&network);
    let all = source.layers();
    let one = all.iter().nth(all.len() / 2).unwrap().clone();
    source.take_read();
    for changed in [BTreeSet::from([one]), all] {
        source.halved = changed.clone();
        {
            let weights = Weights::new(&source, &device, FloatDType::F32);
            reload(&mut network, &weights.with_changed(&changed)).unwrap();
        }
        let weights = |key: &String| key.ends_with(".weight");
        let read: BTreeSet<String> = source.take_read().into_iter().filter(weights).collect();
        assert_eq!(read, changed);
        let built = build(&Weights::new(&source, &device, FloatDType::F32));
        source.take_read();
        let (reloaded, built) = (output(&network), output(&built));
        assert_eq!(reloaded, built);
        assert_ne!(reloaded, before);
    }
}

#[test]
fn every_layer_of_the_unet_can_be_read_again() {
    let device = Device::flex();
    for (name, golden) in
        [("sd15-tiny", "unet_sd15"), ("sd21-tiny", "unet_sd21"), ("sdxl-tiny", "unet_sdxl")]
    {
        let folder = checkpoint(name);
        let config = std::fs::read(folder.join("unet/config.json")).unwrap();
        let config: UNet2DConditionConfig = serde_json::from_slice(&config).unwrap();
        let golden = Golden::open(golden, &device);
        let (sample, text): (Tensor<4>, Tensor<3>) =
            (golden.tensor("b1.sample"), golden.tensor("b1.context"));
        let output = |unet: &UNet2DConditionModel| {
            let added = golden.contains("b1.text_embeds").then(|| AddedConditions {
                text_embeds: golden.tensor("b1.text_embeds"),
                time_ids: &[96.0, 80.0, 4.0, 8.0, 64.0, 64.0],
            });
            let input = UNetInput {
                sample: sample.clone(),
                timesteps: &[981.0],
                encoder_hidden_states: text.clone(),
                added,
                timestep_cond: None,
                residuals: None,
            };
            values(&unet.forward(input, &mut || ControlFlow::Continue(())).unwrap())
        };
        check(
            Halved::open(&folder.join("unet/diffusion_pytorch_model.safetensors")),
            |weights| UNet2DConditionModel::new(&config, weights).unwrap(),
            UNet2DConditionModel::reload,
            output,
        );
    }
}

#[test]
fn every_layer_of_a_text_encoder_can_be_read_again() {
    for (name, part) in [("sd15-tiny", "text_encoder"), ("sdxl-tiny", "text_encoder_2")] {
        let folder = checkpoint(name);
        let part = folder.join(part);
        let config = std::fs::read(part.join("config.json")).unwrap();
        let config: ClipTextConfig = serde_json::from_slice(&config).unwrap();
        let output = |model: &ClipTextModel| {
            let ids = [vec![49406, 320, 2368, 49407]];
            let output = model.forward(&ids, &mut || ControlFlow::Continue(())).unwrap();
            match output.text_embeds() {
                Some(projected) => values(&projected),
                None => values(&output.last_hidden_state()),
            }
        };
        check(
            Halved::open(&part.join("model.safetensors")),
            |weights| ClipTextModel::new(&config, weights).unwrap(),
            ClipTextModel::reload,
            output,
        );
    }
}
