//! The autoencoder against diffusers, outputs and inner activations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, ops::ControlFlow};

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use emberbrush_layers::weights::{WeightError, WeightSource, Weights};
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{Golden, NETWORK_TOLERANCE, assert_close, checkpoint, load, values};
use emberbrush_vae::{AutoencoderKl, AutoencoderKlConfig, Decoder, Encoder};
use serde_json::{Value, json};

const WEIGHTS: &str = "vae/diffusion_pytorch_model.safetensors";

fn json_config(name: &str) -> Value {
    let text = std::fs::read(checkpoint(name).join("vae/config.json")).expect("config");
    serde_json::from_slice(&text).expect("json")
}

fn config(name: &str) -> AutoencoderKlConfig {
    serde_json::from_value(json_config(name)).expect("config")
}

fn model(name: &str, device: &Device) -> AutoencoderKl {
    load(checkpoint(name).join(WEIGHTS), device, |weights| {
        AutoencoderKl::new(&config(name), weights)
    })
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Every key of the golden file must take part.
fn check(name: &str, golden_name: &str) {
    let device = Device::flex();
    let golden = Golden::open(golden_name, &device);
    let vae = model(name, &device);
    let mut unused = golden.keys().into_iter().collect::<BTreeSet<_>>();
    let mut compare = |key: String, actual: &Tensor<4>| {
        let what = format!("{golden_name} {key}");
        assert_close(&what, actual, &golden.tensor::<4>(&key), NETWORK_TOLERANCE);
        assert!(unused.remove(&key), "{key} was shown twice");
    };
    for case in ["sq", "rect"] {
        let key = |part: &str| format!("{case}.{part}");
        let mut inner = Vec::new();
        let mut observe = |name: &str, x: Tensor<4>| {
            let key = key(&format!("inner.{name}"));
            if golden.contains(&key) {
                inner.push((key, x));
            }
        };
        let image = golden.tensor::<4>(&key("image"));
        let posterior =
            vae.encoder.encode_observed(image.clone(), &mut go_on, &mut observe).unwrap();
        let latents = golden.tensor::<4>(&key("z"));
        let decoded =
            vae.decoder.decode_observed(latents.clone(), &mut go_on, &mut observe).unwrap();
        for (key, actual) in inner {
            compare(key, &actual);
        }
        // The stored logarithms are clamped; the moments are not, but none is out of range here.
        let moments = Tensor::cat(vec![posterior.mean.clone(), posterior.logvar.clone()], 1);
        compare(key("moments"), &moments);
        compare(key("mean"), &posterior.mean);
        compare(key("logvar"), &posterior.logvar);
        compare(key("std"), &posterior.std());
        compare(key("decoded"), &decoded);

        let plain = vae.encoder.encode(image.clone(), &mut go_on).unwrap();
        assert_eq!(values(&plain.mean), values(&posterior.mode()), "observing changed the result");
        let plain = vae.decoder.decode(latents.clone(), &mut go_on).unwrap();
        assert_eq!(values(&plain), values(&decoded), "observing changed the result");
        let expected =
            golden.tensor::<4>(&key("mean")) + golden.tensor(&key("std")) * latents.clone();
        assert_close("sample", &posterior.sample(latents), &expected, NETWORK_TOLERANCE);

        // How the picture becomes the encoder's input.
        let pixels = golden.data(&key("image_u8_hwc")).convert::<f32>();
        let pixels = Tensor::<3>::from_data(pixels, &device).permute([2, 0, 1]).unsqueeze();
        assert_close("image", &(pixels / 127.5 - 1.0), &image, NETWORK_TOLERANCE);
    }
    let image = golden.tensor::<4>("b2.image");
    compare("b2.mean".to_owned(), &vae.encoder.encode(image, &mut go_on).unwrap().mean);
    for case in ["sq", "rect"] {
        for part in ["image", "image_u8_hwc", "z"] {
            unused.remove(&format!("{case}.{part}"));
        }
    }
    unused.remove("b2.image");
    assert!(unused.is_empty(), "goldens that nothing was compared with: {unused:?}");
}

#[test]
fn stable_diffusion_1() {
    check("sd15-tiny", "vae_sd15");
}

#[test]
fn stable_diffusion_2() {
    check("sd21-tiny", "vae_sd21");
}

#[test]
fn stable_diffusion_xl() {
    check("sdxl-tiny", "vae_sdxl");
}

/// The SD1 file, its middle attention stored as 1×1 convolutions.
struct Convolutions(SafetensorsFile);

impl WeightSource for Convolutions {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        let mut shape = self.0.shape(key)?;
        if key.contains("attentions") && shape.len() == 2 {
            shape.extend([1, 1]);
        }
        Some(shape)
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        let data = self.0.read(key)?;
        let shape = self.shape(key).expect("shape");
        Ok(TensorData::from_bytes(data.bytes().clone(), shape, data.dtype()))
    }

    fn origin(&self) -> String {
        self.0.origin()
    }
}

#[test]
fn the_middle_attention_may_be_stored_as_convolutions() {
    let device = Device::flex();
    let golden = Golden::open("vae_sd15", &device);
    let folder = checkpoint("sd15-tiny");
    let source = Convolutions(SafetensorsFile::open(folder.join(WEIGHTS)).expect("weights"));
    let weights = Weights::new(&source, &device, FloatDType::F32);
    let decoder = Decoder::new(&config("sd15-tiny"), &weights).unwrap();
    let decoded = decoder.decode(golden.tensor("sq.z"), &mut go_on).unwrap();
    assert_close("decoded", &decoded, &golden.tensor("sq.decoded"), NETWORK_TOLERANCE);
}

/// A file without the other half.
struct Half(SafetensorsFile, &'static str);

impl WeightSource for Half {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.0.shape(key).filter(|_| key.starts_with(self.1))
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        self.0.read(key)
    }

    fn origin(&self) -> String {
        self.0.origin()
    }
}

#[test]
fn each_half_is_built_without_the_other() {
    let device = Device::flex();
    let folder = checkpoint("sdxl-tiny");
    let config = AutoencoderKlConfig {
        use_quant_conv: false,
        use_post_quant_conv: false,
        ..config("sdxl-tiny")
    };
    let half = |prefix| Half(SafetensorsFile::open(folder.join(WEIGHTS)).expect("weights"), prefix);
    let (encoder, decoder) = (half("encoder."), half("decoder."));
    let weights = |source| Weights::new(source, &device, FloatDType::F32);
    assert!(Encoder::new(&config, &weights(&encoder)).is_ok());
    assert!(Decoder::new(&config, &weights(&decoder)).is_ok());
    let message = Decoder::new(&config, &weights(&encoder)).unwrap_err().to_string();
    assert!(
        message.contains("`decoder.conv_in.weight` is missing") || message.contains("decoder.")
    );
}

#[test]
fn a_cancel_stops_before_the_next_block() {
    let device = Device::flex();
    let golden = Golden::open("vae_sd15", &device);
    let vae = model("sd15-tiny", &device);
    let mut calls = 0;
    let decoded = vae.decoder.decode(golden.tensor("sq.z"), &mut || {
        calls += 1;
        go_on()
    });
    assert!(decoded.is_ok());
    // 12 + 2 residual blocks, the attention, 3 upsamplers, the start and the end.
    assert_eq!(calls, 20);
    let mut seen = 0;
    let cancelled = vae.encoder.encode(golden.tensor("sq.image"), &mut || {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { go_on() }
    });
    assert!(cancelled.is_err());
    assert_eq!(seen, 3);
}

#[test]
fn scaling() {
    let device = Device::flex();
    assert_eq!(config("sd15-tiny").scaling_factor, 0.18215, "absent from the file");
    assert_eq!(config("sdxl-tiny").scaling_factor, 0.13025);
    assert_eq!(config("sd15-tiny").downscale_factor(), 8);
    let latents = Tensor::<4>::from_data([[[[1.0]], [[-2.0]]]], &device);
    for (config, expected) in [
        (json!({"scaling_factor": 0.5}), [0.5, -1.0]),
        (json!({"scaling_factor": 0.5, "shift_factor": 3.0}), [-1.0, -2.5]),
        (
            json!({"scaling_factor": 0.5, "latents_mean": [2.0, 0.0], "latents_std": [1.0, 4.0]}),
            [-0.5, -0.25],
        ),
    ] {
        let config = serde_json::from_value::<AutoencoderKlConfig>(config).expect("config");
        let scaled = config.scale(latents.clone());
        assert_eq!(values(&scaled), expected);
        assert_eq!(values(&config.unscale(scaled)), [1.0, -2.0]);
    }
}

/// Builds the SD2 autoencoder, its configuration changed.
fn build(changes: Value) -> Result<AutoencoderKl, String> {
    let mut config = json_config("sd21-tiny");
    for (key, value) in changes.as_object().expect("object") {
        config[key] = value.clone();
    }
    let config =
        serde_json::from_value::<AutoencoderKlConfig>(config).map_err(|error| error.to_string())?;
    let folder = checkpoint("sd21-tiny");
    let file = SafetensorsFile::open(folder.join(WEIGHTS)).expect("weights");
    let weights = Weights::new(&file, &Device::flex(), FloatDType::F32);
    AutoencoderKl::new(&config, &weights).map_err(|error| error.to_string())
}

#[test]
fn a_configuration_that_cannot_be_is_refused_by_its_key() {
    assert!(build(json!({})).is_ok());
    assert!(build(json!({"mid_block_add_attention": false})).is_ok());
    for (changes, mentioned) in [
        (json!({"block_out_channels": []}), "block_out_channels"),
        (json!({"block_out_channels": [16, 0, 32, 32]}), "block_out_channels"),
        (json!({"block_out_channels": [16, 32]}), "down_block_types"),
        (json!({"layers_per_block": 0}), "layers_per_block"),
        (json!({"latent_channels": 0}), "latent_channels"),
        (json!({"norm_num_groups": 5}), "5 normalisation groups"),
        (json!({"scaling_factor": 0.0}), "scaling_factor"),
        (json!({"latents_mean": [0.0, 0.0, 0.0, 0.0]}), "latents_std"),
        (json!({"latents_mean": [0.0], "latents_std": [1.0]}), "latents_mean"),
        (json!({"act_fn": "mish"}), "mish"),
        (json!({"down_block_types": ["AttnDownEncoderBlock2D"]}), "AttnDownEncoderBlock2D"),
        (json!({"up_block_types": ["AttnUpDecoderBlock2D"]}), "AttnUpDecoderBlock2D"),
    ] {
        let message = build(changes.clone()).err().unwrap_or_else(|| panic!("{changes} accepted"));
        assert!(message.contains(mentioned), "{changes}: {message}");
    }
    let message = build(json!({"latent_channels": 16})).unwrap_err();
    for part in ["quant_conv.weight", "[32, 32, 1, 1]", "[8, 8, 1, 1]"] {
        assert!(message.contains(part), "{message}");
    }
}
