//! ControlNets against diffusers: what they put out, and what the UNet makes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use burn::tensor::{Device, FloatDType, Tensor};
use emberbrush_layers::weights::Weights;
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{
    Golden, NETWORK_TOLERANCE, assert_close, checkpoint, controlnet, fixtures, relative_difference,
    values,
};
use emberbrush_unet::{
    AddedConditions, ControlNetConfig, ControlNetModel, ControlNetOutput, ControlStrength,
    UNet2DConditionConfig, UNet2DConditionModel, UNetInput, controlnet::keys::LdmLayout,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn config<T: DeserializeOwned>(folder: &Path) -> T {
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn model(folder: &Path, device: &Device) -> ControlNetModel {
    let config: ControlNetConfig = config(folder);
    emberbrush_tests::load(folder.join(WEIGHTS), device, |weights| {
        ControlNetModel::new(&config, weights)
    })
}

fn unet(name: &str, device: &Device) -> UNet2DConditionModel {
    let checkpoint = checkpoint(name);
    let folder = checkpoint.join("unet");
    let config: UNet2DConditionConfig = config(&folder);
    emberbrush_tests::load(folder.join(WEIGHTS), device, |weights| {
        UNet2DConditionModel::new(&config, weights)
    })
}

/// A case's tensor; those that cases share stand with the first.
fn tensor<const D: usize>(golden: &Golden, name: &str, case: &str, part: &str) -> Tensor<D> {
    let own = format!("{name}.{case}.{part}");
    golden.tensor(&if golden.contains(&own) { own } else { format!("sd15.{case}.{part}") })
}

fn check(name: &str, controlnet: &ControlNetModel, unet: &UNet2DConditionModel, guess: bool) {
    let device = Device::flex();
    let golden = Golden::open("controlnet", &device);
    let cases: Vec<&str> = ["b1", "b2", "odd"]
        .into_iter()
        .filter(|case| golden.contains(&format!("{name}.{case}.mid")))
        .collect();
    assert!(!cases.is_empty());
    for case in cases {
        let numbers = |part: &str| -> Vec<f64> {
            values(&tensor::<1>(&golden, name, case, part)).into_iter().map(f64::from).collect()
        };
        let (timesteps, scale) = (numbers("timestep"), numbers("scale")[0]);
        let ids_key = format!("{name}.{case}.time_ids");
        let time_ids: Option<Vec<f64>> = golden
            .contains(&ids_key)
            .then(|| values(&golden.tensor::<2>(&ids_key)).into_iter().map(f64::from).collect());
        let input = UNetInput {
            sample: tensor(&golden, name, case, "sample"),
            timesteps: &timesteps,
            encoder_hidden_states: tensor(&golden, name, case, "context"),
            added: time_ids.as_deref().map(|time_ids| AddedConditions {
                text_embeds: tensor(&golden, name, case, "text_embeds"),
                time_ids,
            }),
            timestep_cond: None,
            residuals: None,
        };
        controlnet.check(&input).unwrap();
        let go_on = &mut || ControlFlow::Continue(());
        let map = tensor::<4>(&golden, name, case, "map_u8") / 255.0;
        let embedded = controlnet.embed(map);
        let strength = ControlStrength { scale, guess };
        let output = controlnet.forward(input.clone(), embedded, strength, go_on).unwrap();
        for (index, residual) in output.down.iter().enumerate() {
            let part = format!("down.{index}");
            let expected = tensor(&golden, name, case, &part);
            assert_close(&format!("{name} {case} {part}"), residual, &expected, NETWORK_TOLERANCE);
        }
        assert!(!golden.contains(&format!("{name}.{case}.down.{}", output.down.len())));
        let mid = tensor(&golden, name, case, "mid");
        assert_close(&format!("{name} {case} mid"), &output.mid, &mid, NETWORK_TOLERANCE);
        let plain = unet.forward(input.clone(), go_on).unwrap();
        let input = UNetInput { residuals: Some(output), ..input };
        unet.check(&input).unwrap();
        let steered = unet.forward(input, go_on).unwrap();
        let expected = tensor(&golden, name, case, "out");
        assert_close(&format!("{name} {case} out"), &steered, &expected, NETWORK_TOLERANCE);
        assert!(relative_difference(&steered, &plain) > 0.01, "{name} {case} changes nothing");
    }
}

#[test]
fn stable_diffusion_1() {
    let device = Device::flex();
    let unet = unet("sd15-tiny", &device);
    let plain = model(&controlnet("sd15-tiny", &Map::new()), &device);
    check("sd15", &plain, &unet, false);
    check("sd15_guess", &plain, &unet, true);
    let changes = object(json!({ "controlnet_conditioning_channel_order": "bgr" }));
    check("sd15_bgr", &model(&controlnet("sd15-tiny", &changes), &device), &unet, false);
    let changes = object(json!({ "global_pool_conditions": true }));
    let pooled = model(&controlnet("sd15-tiny", &changes), &device);
    check("sd15_pooled", &pooled, &unet, false);
}

#[test]
fn stable_diffusion_2() {
    let device = Device::flex();
    let changes = object(json!({
        "attention_head_dim": [2, 4, 4, 6], "use_linear_projection": true, "upcast_attention": true,
    }));
    let controlnet = model(&controlnet("sd15-tiny", &changes), &device);
    check("sd21", &controlnet, &unet("sd21-tiny", &device), false);
}

#[test]
fn stable_diffusion_xl() {
    let device = Device::flex();
    let controlnet = model(&controlnet("sdxl-tiny", &Map::new()), &device);
    check("sdxl", &controlnet, &unet("sdxl-tiny", &device), false);
}

#[test]
fn residuals_of_another_network_are_refused() {
    let device = Device::flex();
    let golden = Golden::open("controlnet", &device);
    let unet = unet("sd15-tiny", &device);
    let part = |part: &str| golden.tensor::<4>(&format!("sdxl.b1.{part}"));
    let residuals = ControlNetOutput {
        down: (0..9).map(|index| part(&format!("down.{index}"))).collect(),
        mid: part("mid"),
    };
    let input = UNetInput {
        sample: golden.tensor("sd15.b1.sample"),
        timesteps: &[981.0],
        encoder_hidden_states: golden.tensor("sd15.b1.context"),
        added: None,
        timestep_cond: None,
        residuals: Some(residuals),
    };
    let message = unet.check(&input).unwrap_err().to_string();
    for part in ["the residuals", "[16, 16, 16, 16, 32, 32, 32, 32, 32, 32, 48, 48] and 48"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Names of the layout that diffusers' converter understands.
fn ldm_names(family: &str) -> BTreeMap<String, String> {
    let path = fixtures().join(format!("goldens/controlnet_ldm_{family}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn names_of_the_ldm_layout_are_known() {
    for family in ["sd15", "sdxl"] {
        let names = ldm_names(family);
        let bare: Vec<&str> =
            names.values().map(|name| name.strip_prefix("control_model.").unwrap()).collect();
        let layout = LdmLayout::recognise(|name| bare.contains(&name)).unwrap();
        assert_eq!(layout, LdmLayout { layers_per_block: 2, embedding_blocks: 6 });
        for (key, name) in &names {
            let ours = layout.key(key).map(|name| format!("control_model.{name}"));
            assert_eq!(ours.as_ref(), Some(name), "{family}: {key}");
        }
        assert_eq!(layout.key("up_blocks.0.resnets.0.conv1.weight"), None);
        assert!(LdmLayout::recognise(|name| names.contains_key(name)).is_none());
    }
}

#[test]
fn shapes_tell_the_configuration() {
    let device = Device::flex();
    let golden_folder = |name: &str| controlnet(name, &Map::new());
    for (name, other, complaint) in [
        ("sd15-tiny", "sdxl-tiny", "[16, 32, 32, 48] channels, but the model's have [16, 32, 48]"),
        ("sdxl-tiny", "sd15-tiny", "[16, 32, 48] channels, but the model's have [16, 32, 32, 48]"),
    ] {
        let folder = golden_folder(name);
        let file = SafetensorsFile::open(folder.join(WEIGHTS)).unwrap();
        let shape = |key: &str| emberbrush_layers::weights::WeightSource::shape(&file, key);
        let own: UNet2DConditionConfig = config(&checkpoint(name).join("unet"));
        let derived = ControlNetConfig::from_shapes(&shape, &own).unwrap();
        derived.check_fits(&own).unwrap();
        let weights = Weights::new(&file, &device, FloatDType::F32);
        let model = ControlNetModel::new(&derived, &weights).unwrap();
        check(&name.replace("-tiny", ""), &model, &unet(name, &device), false);
        let other: UNet2DConditionConfig = config(&checkpoint(other).join("unet"));
        let message = ControlNetConfig::from_shapes(&shape, &other).unwrap_err().to_string();
        assert!(message.contains(complaint), "{message}");
        let published: ControlNetConfig = config(&folder);
        assert!(published.check_fits(&own).is_ok());
        assert!(published.check_fits(&other).is_err());
    }
}

#[test]
fn other_families_are_refused_by_what_differs() {
    let unet = UNet2DConditionConfig::default();
    let with = |changes: Value| -> Result<(), String> {
        let controlnet: ControlNetConfig = serde_json::from_value(changes).unwrap();
        controlnet.check_fits(&unet).map_err(|error| error.to_string())
    };
    assert_eq!(with(json!({})), Ok(()));
    for (changes, part) in [
        (json!({ "cross_attention_dim": 768 }), "width 768 (Stable Diffusion 1.x)"),
        (json!({ "layers_per_block": 1 }), "8 skip connections"),
        (json!({ "block_out_channels": [320, 640, 1280, 960] }), "960"),
        (
            json!({
                "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            }),
            "2816",
        ),
    ] {
        let message = with(changes.clone()).unwrap_err();
        assert!(message.contains(part), "{changes}: {message}");
    }
}
