//! Full-size networks against diffusers, where attention and convolutions take the paths for
//! large tensors. `docs/testing.md` tells how to make what these tests need.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::PathBuf, time::Instant};

use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use emberbrush_layers::weights::WeightSource;
use emberbrush_pipeline::{
    checkpoint::safetensors_file::SafetensorsFile,
    device::{self, ComputeDtype, DeviceChoice, OpenDevice},
};
use emberbrush_tests::{load, load_in, relative_difference};
use emberbrush_text_encoder::{ClipTextConfig, ClipTextModel};
use emberbrush_unet::{UNet2DConditionConfig, UNet2DConditionModel, UNetInput};
use emberbrush_vae::{AutoencoderKlConfig, Decoder};

/// Largest allowed `max|Δ| / max|golden|`: sums of many more terms than in the tiny networks.
const TOLERANCE: f32 = 2e-4;

/// The folder that `full_size.py` filled.
fn folder() -> PathBuf {
    std::env::var_os("EMBERBRUSH_FULL_SIZE")
        .expect("EMBERBRUSH_FULL_SIZE names the folder that tests/full-size/full_size.py filled")
        .into()
}

fn device() -> OpenDevice {
    let choice = std::env::var("EMBERBRUSH_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    device::open(choice.parse::<DeviceChoice>().unwrap()).unwrap()
}

fn config<T: serde::de::DeserializeOwned>(component: &str) -> T {
    let path = folder().join("checkpoint").join(component).join("config.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn weights(component: &str, file: &str) -> PathBuf {
    folder().join("checkpoint").join(component).join(file)
}

fn golden(key: &str) -> TensorData {
    SafetensorsFile::open(folder().join("goldens.safetensors")).unwrap().read(key).unwrap()
}

fn tensor<const D: usize>(key: &str, device: &OpenDevice) -> Tensor<D> {
    Tensor::from_data(golden(key), (&device.device, DType::F32))
}

#[track_caller]
fn compare<const D: usize>(what: &str, actual: &Tensor<D>, golden: &Tensor<D>) {
    let difference = relative_difference(actual, golden);
    println!("{what}: relative difference {difference:.2e}");
    assert!(difference <= TOLERANCE, "{what}: {difference:.2e} above {TOLERANCE:.0e}");
}

#[test]
#[ignore = "needs the full-size checkpoint, see docs/testing.md"]
fn text_encoder() {
    let device = device();
    let config: ClipTextConfig = config("text_encoder");
    let model = load(weights("text_encoder", "model.safetensors"), &device.device, |weights| {
        ClipTextModel::new(&config, weights)
    });
    let ids = golden("input_ids").convert::<i64>().try_to_vec::<i64>().unwrap();
    let ids: Vec<Vec<u32>> =
        ids.chunks(77).map(|ids| ids.iter().map(|&id| id as u32).collect()).collect();
    let output = model.forward(&ids, &mut || ControlFlow::Continue(())).unwrap();
    compare("text encoder", &output.last_hidden_state(), &tensor("text", &device));
}

#[test]
#[ignore = "needs the full-size checkpoint, see docs/testing.md"]
fn unet() {
    let device = device();
    let config: UNet2DConditionConfig = config("unet");
    let path = weights("unet", "diffusion_pytorch_model.safetensors");
    let model = load(path, &device.device, |weights| UNet2DConditionModel::new(&config, weights));
    for size in [256, 512] {
        let input = UNetInput {
            sample: tensor(&format!("unet{size}.sample"), &device),
            timesteps: &[500.0],
            encoder_hidden_states: tensor("text", &device),
            added: None,
            timestep_cond: None,
            residuals: None,
        };
        let output = model.forward(input, &mut || ControlFlow::Continue(())).unwrap();
        compare(
            &format!("UNet at {size}"),
            &output,
            &tensor(&format!("unet{size}.output"), &device),
        );
    }
}

#[test]
#[ignore = "needs the full-size checkpoint, see docs/testing.md"]
fn vae() {
    let device = device();
    let config: AutoencoderKlConfig = config("vae");
    let path = weights("vae", "diffusion_pytorch_model.safetensors");
    let decoder = load(path, &device.device, |weights| Decoder::new(&config, weights));
    for size in [256, 512] {
        let latents = tensor(&format!("vae{size}.latents"), &device);
        let output = decoder.decode(latents, &mut || ControlFlow::Continue(())).unwrap();
        compare(&format!("VAE at {size}"), &output, &tensor(&format!("vae{size}.output"), &device));
    }
}

/// The UNet in half precision, which keeps near f32 as diffusers does: on the same GPU that differs by
/// 2.0e-3 in f16 and 1.6e-2 in bf16.
#[test]
#[ignore = "needs the full-size checkpoint, see docs/testing.md"]
fn unet_in_half_precision() {
    let device = device();
    let config: UNet2DConditionConfig = config("unet");
    for (dtype, tolerance) in [(ComputeDtype::F16, 6e-3), (ComputeDtype::Bf16, 5e-2)] {
        let dtype = match device.float_dtype(dtype) {
            Ok(dtype) => dtype,
            Err(error) => {
                println!("left out: {error}");
                continue;
            }
        };
        let path = weights("unet", "diffusion_pytorch_model.safetensors");
        let model = load_in(path, &device.device, dtype, |weights| {
            UNet2DConditionModel::new(&config, weights)
        });
        let activations = DType::from(device.activation_dtype(dtype));
        for size in [256, 512] {
            let input = UNetInput {
                sample: tensor::<4>(&format!("unet{size}.sample"), &device).cast(activations),
                timesteps: &[500.0],
                encoder_hidden_states: tensor::<3>("text", &device).cast(activations),
                added: None,
                timestep_cond: None,
                residuals: None,
            };
            let output = model.forward(input, &mut || ControlFlow::Continue(())).unwrap();
            let golden = tensor(&format!("unet{size}.output"), &device);
            let difference = relative_difference(&output.cast(DType::F32), &golden);
            let what = format!("UNet at {size} in {dtype:?}");
            println!("{what}: relative difference {difference:.2e}");
            assert!(difference <= tolerance, "{what}: {difference:.2e} above {tolerance:.0e}");
        }
    }
}

/// Runs once to warm up and `count` times, and gives the median of the seconds.
fn median_seconds(count: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut seconds: Vec<f64> = (0..count)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[count / 2]
}

/// The type of text encoder and UNet that `EMBERBRUSH_FULL_SIZE_DTYPE` names, `f32` or `bf16`.
fn dtype() -> FloatDType {
    match std::env::var("EMBERBRUSH_FULL_SIZE_DTYPE").as_deref() {
        Ok("bf16") => FloatDType::BF16,
        _ => FloatDType::F32,
    }
}

/// Prints what `full_size.py time` prints of diffusers, for the size that
/// `EMBERBRUSH_FULL_SIZE_SIDE` names.
#[test]
#[ignore = "measures, see docs/performance.md"]
fn times() {
    let device = device();
    let side = std::env::var("EMBERBRUSH_FULL_SIZE_SIDE").map_or(256, |side| side.parse().unwrap());
    let mut go_on = || ControlFlow::Continue(());

    let start = Instant::now();
    let text_config: ClipTextConfig = config("text_encoder");
    let dtype = dtype();
    let path = weights("text_encoder", "model.safetensors");
    let text =
        load_in(path, &device.device, dtype, |weights| ClipTextModel::new(&text_config, weights));
    let unet_config: UNet2DConditionConfig = config("unet");
    let path = weights("unet", "diffusion_pytorch_model.safetensors");
    let unet = load_in(path, &device.device, dtype, |weights| {
        UNet2DConditionModel::new(&unet_config, weights)
    });
    let vae_config: AutoencoderKlConfig = config("vae");
    let path = weights("vae", "diffusion_pytorch_model.safetensors");
    let decoder = load(path, &device.device, |weights| Decoder::new(&vae_config, weights));
    let loaded = start.elapsed().as_secs_f64();

    let ids = vec![vec![1; 77]; 2];
    let text_seconds = median_seconds(5, || {
        text.forward(&ids, &mut go_on).unwrap().last_hidden_state();
    });
    let latents = Tensor::<4>::ones([2, 4, side / 8, side / 8], (&device.device, DType::F32));
    let encoded = text.forward(&ids, &mut go_on).unwrap().last_hidden_state();
    let unet_seconds = median_seconds(if side <= 256 { 5 } else { 3 }, || {
        let input = UNetInput {
            sample: latents.clone(),
            timesteps: &[500.0],
            encoder_hidden_states: encoded.clone(),
            added: None,
            timestep_cond: None,
            residuals: None,
        };
        unet.forward(input, &mut go_on).unwrap();
    });
    let latents = latents.narrow(0, 0, 1);
    let vae_seconds = median_seconds(if side <= 256 { 3 } else { 1 }, || {
        decoder.decode(latents.clone(), &mut go_on).unwrap();
    });
    println!(
        "{{\"size\": {side}, \"load_s\": {loaded:.3}, \"text_s\": {text_seconds:.3}, \
         \"unet_step_s\": {unet_seconds:.3}, \"vae_decode_s\": {vae_seconds:.3}}}"
    );
}
