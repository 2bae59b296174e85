//! AutoencoderTiny against diffusers, in every naming, and the published one on photographs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use emberbrush_layers::weights::{WeightError, WeightSource, Weights};
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{Golden, NETWORK_TOLERANCE, assert_close, fixtures, values};
use emberbrush_vae::{AutoencoderTinyConfig, DecoderTiny, EncoderTiny, TinyNaming};
use serde_json::{Value, json};

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn file(name: &str) -> SafetensorsFile {
    SafetensorsFile::open(fixtures().join("decoders").join(name)).expect("fixture")
}

/// The configuration that a file's shapes give, and how it is named.
fn recognised(source: &dyn WeightSource) -> (AutoencoderTinyConfig, TinyNaming) {
    let naming = TinyNaming::recognise(source).expect("an AutoencoderTiny");
    (AutoencoderTinyConfig::from_weights(source, naming).unwrap(), naming)
}

fn decoder(source: &dyn WeightSource) -> DecoderTiny {
    let (config, naming) = recognised(source);
    let weights = Weights::new(source, &Device::flex(), FloatDType::F32);
    DecoderTiny::new(&config, &weights, naming).unwrap()
}

fn encoder(source: &dyn WeightSource) -> EncoderTiny {
    let (config, naming) = recognised(source);
    let weights = Weights::new(source, &Device::flex(), FloatDType::F32);
    EncoderTiny::new(&config, &weights, naming).unwrap()
}

/// A file whose names begin otherwise.
struct Renamed(SafetensorsFile, &'static str, &'static str);

impl Renamed {
    fn original(&self, key: &str) -> Option<String> {
        Some(format!("{}{}", self.2, key.strip_prefix(self.1)?))
    }
}

impl WeightSource for Renamed {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.0.shape(&self.original(key)?)
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        self.0.read(&self.original(key).expect("a key that has a shape"))
    }

    fn origin(&self) -> String {
        self.0.origin()
    }
}

fn assert_golden(decoder: Option<&DecoderTiny>, encoder: Option<&EncoderTiny>) {
    let golden = Golden::open("decoders", &Device::flex());
    for case in ["square", "wide"] {
        let tensor = |part: &str| golden.tensor::<4>(&format!("tiny.{case}.{part}"));
        if let Some(decoder) = decoder {
            let decoded = decoder.decode(tensor("latents"), &mut go_on).unwrap();
            assert_close("decoded", &decoded, &tensor("decoded"), NETWORK_TOLERANCE);
        }
        if let Some(encoder) = encoder {
            let encoded = encoder.encode(tensor("image"), &mut go_on).unwrap();
            assert_close("encoded", &encoded, &tensor("encoded"), NETWORK_TOLERANCE);
        }
    }
}

#[test]
fn every_naming_gives_what_diffusers_gives() {
    let both = file("tiny/diffusion_pytorch_model.safetensors");
    assert_eq!(recognised(&both).1, TinyNaming::Diffusers);
    assert_golden(Some(&decoder(&both)), Some(&encoder(&both)));
    for (file, naming) in
        [("tiny_decoder", TinyNaming::Halves), ("tiny_encoder", TinyNaming::Halves)]
            .map(|(name, naming)| (self::file(&format!("{name}.safetensors")), naming))
    {
        assert_eq!(recognised(&file).1, naming);
        match naming.has_decoder(&file) {
            true => assert_golden(Some(&decoder(&file)), None),
            false => assert_golden(None, Some(&encoder(&file))),
        }
    }
    for (decoders, encoders, naming) in [
        ("decoder.", "encoder.", TinyNaming::Upstream),
        ("taesd_decoder.", "taesd_encoder.", TinyNaming::ComfyUi),
    ] {
        let file = Renamed(self::file("tiny_decoder.safetensors"), decoders, "");
        assert_eq!(recognised(&file).1, naming);
        assert_golden(Some(&decoder(&file)), None);
        let file = Renamed(self::file("tiny_encoder.safetensors"), encoders, "");
        assert_eq!(recognised(&file).1, naming);
        assert_golden(None, Some(&encoder(&file)));
    }
}

#[test]
fn shapes_give_the_published_configuration() {
    let text = std::fs::read(fixtures().join("decoders/tiny/config.json")).unwrap();
    let config: AutoencoderTinyConfig = serde_json::from_slice(&text).unwrap();
    for name in [
        "tiny/diffusion_pytorch_model.safetensors",
        "tiny_decoder.safetensors",
        "tiny_encoder.safetensors",
    ] {
        assert_eq!(recognised(&file(name)).0, config, "{name}");
    }
    assert_eq!(config.downscale_factor(), 8);
}

#[test]
fn what_no_tiny_autoencoder_has_is_refused() {
    let refused = |change: Value| {
        let mut config = json!({"_class_name": "AutoencoderTiny"});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        match serde_json::from_value::<AutoencoderTinyConfig>(config) {
            Err(error) => error.to_string(),
            Ok(config) => config.check().expect_err("refused").to_string(),
        }
    };
    for (change, mentioned) in [
        (json!({"num_decoder_blocks": []}), "num_decoder_blocks"),
        (json!({"num_encoder_blocks": [1, 2]}), "num_encoder_blocks"),
        (json!({"decoder_block_out_channels": [64, 32, 64, 64]}), "equally many"),
        (
            json!({"encoder_block_out_channels": [0, 0, 0, 0], "decoder_block_out_channels": [0, 0, 0, 0]}),
            "decoder_block_out_channels",
        ),
        (json!({"latent_channels": 0}), "latent_channels"),
        (json!({"act_fn": "silu"}), "relu"),
        (json!({"upsample_fn": "bilinear"}), "bilinear"),
        (json!({"upsampling_scaling_factor": 3}), "upsampling_scaling_factor"),
        (json!({"scaling_factor": 0.5}), "scaling_factor"),
    ] {
        let message = refused(change.clone());
        assert!(message.contains(mentioned), "{change}: {message}");
    }
    // The decoder of a Stable Diffusion autoencoder is not one.
    let kl = SafetensorsFile::open(fixtures().join("decoders/kl-ldm.safetensors")).unwrap();
    assert_eq!(TinyNaming::recognise(&kl), None);
}

#[test]
fn a_cancel_stops_before_the_next_layer() {
    let golden = Golden::open("decoders", &Device::flex());
    let mut calls = 0;
    let cancelled = decoder(&file("tiny_decoder.safetensors")).decode(
        golden.tensor("tiny.square.latents"),
        &mut || {
            calls += 1;
            if calls == 4 { ControlFlow::Break(()) } else { go_on() }
        },
    );
    assert!(cancelled.is_err());
    assert_eq!(calls, 4);
}

/// The folder that holds `taesd` with the published weights and `photos`: `EMBERBRUSH_SHARED`, or
/// `../shared` beside the project.
fn published() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("EMBERBRUSH_SHARED").map_or(beside, PathBuf::from);
    let is_there = folder.join("taesd/taesd_decoder.safetensors").is_file();
    (is_there && folder.join("photos").is_dir()).then_some(folder)
}

/// Peak signal-to-noise ratio in dB of values from 0 to 1.
fn psnr(one: &[f32], other: &[f32]) -> f64 {
    let sum: f64 = one
        .iter()
        .zip(other)
        .map(|(a, b)| f64::from(a.clamp(0.0, 1.0) - b.clamp(0.0, 1.0)).powi(2))
        .sum();
    -10.0 * (sum / one.len() as f64).log10()
}

/// The middle 192² of each photograph, and the ratio that diffusers 0.35.2 reaches on it.
const PHOTOGRAPHS: [(&str, f64); 4] = [
    ("astronaut.png", 24.62),
    ("chelsea.png", 25.60),
    ("coffee.png", 25.40),
    ("rocket.jpg", 28.60),
];

#[test]
fn photographs_come_back_from_the_published_weights() {
    let Some(folder) = published() else {
        eprintln!(
            "skipped: the published TAESD is not there; name the folder that holds `taesd` and \
             `photos` with EMBERBRUSH_SHARED"
        );
        return;
    };
    let open =
        |half: &str| SafetensorsFile::open(folder.join(format!("taesd/taesd_{half}.safetensors")));
    let (encoders, decoders) = (open("encoder").unwrap(), open("decoder").unwrap());
    let expected = AutoencoderTinyConfig::default();
    assert_eq!(recognised(&encoders).0, expected);
    assert_eq!(recognised(&decoders).0, expected);
    let (encoder, decoder) = (encoder(&encoders), decoder(&decoders));
    for (name, expected) in PHOTOGRAPHS {
        let photo = image::open(folder.join("photos").join(name)).unwrap();
        let middle = ((photo.width() - 192) / 2, (photo.height() - 192) / 2);
        let photo = photo.crop_imm(middle.0, middle.1, 192, 192);
        let pixels = TensorData::new(photo.to_rgb32f().into_raw(), [1, 192, 192, 3]);
        let pixels = Tensor::<4>::from_data(pixels, &Device::flex()).permute([0, 3, 1, 2]);
        let latents = encoder.encode(pixels.clone() * 2.0 - 1.0, &mut go_on).unwrap();
        let decoded = decoder.decode(latents, &mut go_on).unwrap() / 2.0 + 0.5;
        let ratio = psnr(&values(&decoded), &values(&pixels));
        eprintln!("{name}: {ratio:.2} dB");
        assert!(ratio >= 21.0 && (ratio - expected).abs() < 0.05, "{name}: {ratio:.2} dB");
    }
}
