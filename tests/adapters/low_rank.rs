//! Low-rank adapters against networks into which torch and PEFT merged them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::Path, sync::Arc};

use burn::tensor::{Device, FloatDType, Tensor};
use emberbrush_layers::weights::{WeightSource, Weights};
use emberbrush_pipeline::{
    adapters::{
        AdaptedNetwork, AdaptedWeights, AdapterKind, Compatibility, LayerNames, LoraFile,
        LoraSelection, Merge, WeightedLora, list,
    },
    checkpoint::{folder::Family, safetensors_file::SafetensorsFile},
};
use emberbrush_tests::{
    CheckpointFolder, Golden, NETWORK_TOLERANCE, assert_close, checkpoint, fixtures,
};
use emberbrush_text_encoder::{ClipTextConfig, ClipTextModel};
use emberbrush_unet::{UNet2DConditionConfig, UNet2DConditionModel, UNetInput};
use serde::{Deserialize, de::DeserializeOwned};

/// Merging is exact but for f32's rounding.
const WEIGHT_TOLERANCE: f32 = 2e-6;

/// The networks of a tiny checkpoint, with adapters merged into them.
struct Adapted {
    folder: CheckpointFolder,
    device: Device,
    merge: Merge,
}

impl Adapted {
    fn new(name: &str, loras: &[LoraSelection]) -> Self {
        let folder = checkpoint(name);
        let mut names = LayerNames::default();
        for network in [AdaptedNetwork::UNet, AdaptedNetwork::TextEncoder] {
            let file = weights(&folder, network);
            for key in file.metadata().offset_keys() {
                names.add(network, &key, &file.shape(&key).unwrap(), None);
            }
        }
        let open = |lora: &LoraSelection| WeightedLora {
            file: Arc::new(
                LoraFile::open(&fixtures().join("checkpoints/lora").join(&lora.file)).unwrap(),
            ),
            unet: lora.unet,
            text: lora.text,
        };
        let loras: Vec<_> = loras.iter().map(open).collect();
        let merge = Merge::new(&loras, &names, name).unwrap();
        Self { folder, device: Device::flex(), merge }
    }

    fn build<T>(&self, network: AdaptedNetwork, build: impl FnOnce(&Weights<'_>) -> T) -> T {
        let file = weights(&self.folder, network);
        let merge = self.merge.network(network);
        let adapted = AdaptedWeights::new(&file, &merge, &self.device);
        build(&Weights::new(&adapted, &self.device, FloatDType::F32))
    }

    fn config<T: DeserializeOwned>(&self, component: &str) -> T {
        let path = self.folder.join(component).join("config.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn unet(&self, sample: &Tensor<4>, context: &Tensor<3>) -> Tensor<4> {
        let config: UNet2DConditionConfig = self.config("unet");
        let unet = self.build(AdaptedNetwork::UNet, |weights| {
            UNet2DConditionModel::new(&config, weights).unwrap()
        });
        let input = UNetInput {
            sample: sample.clone(),
            timesteps: &[981.0],
            encoder_hidden_states: context.clone(),
            added: None,
            timestep_cond: None,
            residuals: None,
        };
        unet.forward(input, &mut || ControlFlow::Continue(())).unwrap()
    }

    fn text(&self, ids: &[u32]) -> Tensor<3> {
        let config: ClipTextConfig = self.config("text_encoder");
        let model = self.build(AdaptedNetwork::TextEncoder, |weights| {
            ClipTextModel::new(&config, weights).unwrap()
        });
        let ids = [ids.to_vec()];
        let output = model.forward(&ids, &mut || ControlFlow::Continue(())).unwrap();
        output.last_hidden_state()
    }
}

fn weights(folder: &Path, network: AdaptedNetwork) -> SafetensorsFile {
    let file = match network {
        AdaptedNetwork::UNet => "diffusion_pytorch_model.safetensors",
        _ => "model.safetensors",
    };
    SafetensorsFile::open(folder.join(network.component()).join(file)).unwrap()
}

fn ids(golden: &Golden) -> Vec<u32> {
    let data = golden.data("input_ids").convert::<i64>().try_to_vec::<i64>().unwrap();
    data.into_iter().map(|id| id as u32).collect()
}

#[derive(Deserialize)]
struct Case {
    name: String,
    loras: Vec<LoraSelection>,
    /// Network and layer.
    weights: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read(fixtures().join("goldens/adapters.json")).unwrap();
    serde_json::from_slice::<Cases>(&text).unwrap().cases
}

/// LoRA, LoCon, LoHa, LoKr and DoRA in the spellings of kohya, diffusers, PEFT and LyCORIS, alone,
/// at other weights, and several at once.
#[test]
fn every_kind_changes_the_networks_as_torch_does() {
    let golden = Golden::open("adapters", &Device::flex());
    let (sample, context) = (golden.tensor("sample"), golden.tensor("context"));
    let ids = ids(&golden);
    for Case { name, loras, .. } in cases() {
        let adapted = Adapted::new("sd15-tiny", &loras);
        assert!(adapted.merge.unused_keys.is_empty(), "{name}: {:?}", adapted.merge.unused_keys);
        let output = adapted.unet(&sample, &context);
        assert_close(&name, &output, &golden.tensor(&format!("{name}.unet")), NETWORK_TOLERANCE);
        let output = adapted.text(&ids);
        assert_close(&name, &output, &golden.tensor(&format!("{name}.text")), NETWORK_TOLERANCE);
    }
}

/// One layer of each kind and each shape.
#[test]
fn merged_weights_are_those_of_torch() {
    let golden = Golden::open("adapters", &Device::flex());
    let mut compared = 0;
    for Case { name, loras, weights } in cases() {
        let adapted = Adapted::new("sd15-tiny", &loras);
        for (component, layer) in weights {
            let network = AdaptedNetwork::ALL
                .into_iter()
                .find(|network| network.component() == component)
                .unwrap();
            let key = format!("{name}.weight.{component}.{layer}");
            let shape = golden.shape(&key);
            let size = [shape[0], shape[1..].iter().product()];
            let merged: Tensor<2> = adapted.build(network, |weights| {
                let name = format!("{layer}.weight");
                match *shape.as_slice() {
                    [rows, columns] => weights.tensor(&name, [rows, columns]).unwrap(),
                    [a, b, c, d] => weights.tensor(&name, [a, b, c, d]).unwrap().reshape(size),
                    _ => panic!("{key} has shape {shape:?}"),
                }
            });
            let expected = match shape.len() {
                2 => golden.tensor::<2>(&key),
                _ => golden.tensor::<4>(&key).reshape(size),
            };
            assert_close(&key, &merged, &expected, WEIGHT_TOLERANCE);
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared}");
}

/// What diffusers itself makes of kohya's and PEFT's files.
#[test]
fn diffusers_reads_the_same() {
    let golden = Golden::open("lora", &Device::flex());
    let ids = ids(&golden);
    for name in ["sd15-kohya", "sd15-peft"] {
        for (scale, written) in [(0.5, "scale0.5"), (1.0, "scale1.0")] {
            let lora = format!("{name}.safetensors:{scale}").parse().unwrap();
            let adapted = Adapted::new("sd15-tiny", &[lora]);
            let output = adapted.unet(&golden.tensor("sample"), &golden.tensor("context"));
            let key = format!("{name}.{written}");
            let expected = golden.tensor(&format!("{key}.unet_t981"));
            assert_close(&key, &output, &expected, NETWORK_TOLERANCE);
            let expected = golden.tensor(&format!("{key}.text"));
            assert_close(&key, &adapted.text(&ids), &expected, NETWORK_TOLERANCE);
        }
    }
}

/// Linear projections and the text encoder of Stable Diffusion 2.
#[test]
fn stable_diffusion_2_is_adapted() {
    let golden = Golden::open("adapters", &Device::flex());
    let adapted = Adapted::new("sd21-tiny", &["sd21-kohya.safetensors".parse().unwrap()]);
    let output = adapted.unet(&golden.tensor("sample"), &golden.tensor("sd21.context"));
    assert_close("unet", &output, &golden.tensor("sd21-kohya.unet"), NETWORK_TOLERANCE);
}

#[test]
fn the_adapters_of_a_folder_are_listed_with_what_they_are_for() {
    let listed = list(&fixtures().join("checkpoints"));
    let find = |name: &str| listed.iter().find(|adapter| adapter.name == name).unwrap();
    let kohya = find("sdxl-kohya");
    assert!(matches!(kohya.kind, AdapterKind::LowRank { layers: 344 }), "{:?}", kohya.kind);
    assert_eq!(kohya.compatibility(Family::StableDiffusionXl), Compatibility::Fits);
    assert_eq!(kohya.compatibility(Family::StableDiffusion1), Compatibility::OtherFamily);
    // The tiny checkpoints have widths of no family.
    let tiny = find("sd15-loha").compatibility(Family::StableDiffusion1);
    assert_eq!(tiny, Compatibility::Unknown);
    let toy = find("sd15-diffusers-1vec");
    let names = ["sd15-diffusers-1vec", "<cat-toy>"].map(str::to_owned).to_vec();
    assert_eq!(toy.kind, AdapterKind::Embedding { vectors: 1, names });
    assert_eq!(find("sdxl-2vec").family, Some(Family::StableDiffusionXl));
    let AdapterKind::Unusable(reason) = &find("diffusion_pytorch_model").kind else {
        panic!("a checkpoint is no adapter")
    };
    assert!(reason.contains("diffusion_pytorch_model.safetensors"), "{reason}");
}
