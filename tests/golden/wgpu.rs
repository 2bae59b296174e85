//! The networks against diffusers through a GPU's driver, in f32.
//!
//! Software renderers count, for they run the same shaders. Where there is no adapter the tests
//! are skipped with a reason, unless `EMBERBRUSH_REQUIRE_WGPU` is set.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::Device;
use emberbrush_pipeline::device::{self, DeviceChoice, DeviceKind};
use emberbrush_tests::{
    Golden, NETWORK_TOLERANCE, assert_close, checkpoint, load, tolerance_of_rounding, values,
    with_adapter,
};
use emberbrush_text_encoder::ClipTextModel;
use emberbrush_unet::{AddedConditions, UNet2DConditionModel, UNetInput};
use emberbrush_vae::AutoencoderKl;

fn adapter() -> Device {
    device::open(DeviceChoice::Wgpu).unwrap().device
}

fn config<T: serde::de::DeserializeOwned>(checkpoint: &std::path::Path, component: &str) -> T {
    let text = std::fs::read(checkpoint.join(component).join("config.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Runs are planned for what a card has.
#[test]
fn the_memory_of_wgpu_adapters_is_known() {
    with_adapter(|| {
        for device in device::list().iter().filter(|device| device.kind != DeviceKind::Cpu) {
            let bytes = device.memory.unwrap_or_else(|| panic!("{}: unknown", device.name));
            assert!(bytes >= 1 << 28, "{}: {bytes} bytes", device.name);
        }
    });
}

#[test]
fn text_encoders_equal_diffusers() {
    with_adapter(|| {
        let device = adapter();
        for (golden, name, folder) in [
            ("text_sd15", "sd15-tiny", "text_encoder"),
            ("text_sd21", "sd21-tiny", "text_encoder"),
            ("text_sdxl_te1", "sdxl-tiny", "text_encoder"),
            ("text_sdxl_te2", "sdxl-tiny", "text_encoder_2"),
        ] {
            let checkpoint = checkpoint(name);
            let config = config(&checkpoint, folder);
            let weights = checkpoint.join(folder).join("model.safetensors");
            let model = load(weights, &device, |weights| ClipTextModel::new(&config, weights));
            let golden = Golden::open(golden, &device);
            let ids = golden.data("input_ids").convert::<i64>().try_to_vec::<i64>().unwrap();
            let ids: Vec<Vec<u32>> =
                ids.chunks(77).map(|ids| ids.iter().map(|&id| id as u32).collect()).collect();
            let output = model.forward(&ids, &mut go_on).unwrap();
            let expected = golden.tensor("last_hidden_state");
            assert_close(name, &output.last_hidden_state(), &expected, NETWORK_TOLERANCE);
            let expected = golden.tensor("penultimate");
            assert_close(name, &output.hidden_layer(1).unwrap(), &expected, NETWORK_TOLERANCE);
        }
    });
}

#[test]
fn unets_equal_diffusers() {
    with_adapter(|| {
        let device = adapter();
        let doubles = Golden::open("unet_f64", &device);
        for (golden_name, name) in [
            ("unet_sd15", "sd15-tiny"),
            ("unet_sd15_inpaint", "sd15-inpaint-tiny"),
            ("unet_sd21", "sd21-tiny"),
            ("unet_sdxl", "sdxl-tiny"),
        ] {
            let checkpoint = checkpoint(name);
            let config = config(&checkpoint, "unet");
            let weights = checkpoint.join("unet/diffusion_pytorch_model.safetensors");
            let model =
                load(weights, &device, |weights| UNet2DConditionModel::new(&config, weights));
            let golden = Golden::open(golden_name, &device);
            for case in ["b1", "b1_t0", "b2", "b2_tvec", "b1_t_frac", "nonsquare", "odd"] {
                let key = |part: &str| format!("{case}.{part}");
                let numbers = |key: &str| -> Vec<f64> {
                    let data = golden.data(key).convert::<f64>();
                    data.try_to_vec::<f64>().unwrap()
                };
                let timesteps = numbers(&key("timestep"));
                let time_ids = golden.contains(&key("time_ids")).then(|| numbers(&key("time_ids")));
                let input = UNetInput {
                    sample: golden.tensor(&key("sample")),
                    timesteps: &timesteps,
                    encoder_hidden_states: golden.tensor(&key("context")),
                    added: time_ids.as_deref().map(|time_ids| AddedConditions {
                        text_embeds: golden.tensor(&key("text_embeds")),
                        time_ids,
                    }),
                    timestep_cond: None,
                    residuals: None,
                };
                let first = model.forward(input.clone(), &mut go_on).unwrap();
                let what = format!("{name} {case}");
                let expected = golden.tensor(&key("out"));
                let exact =
                    doubles.tensor(&format!("{}.{case}.out", golden_name.replace("unet_", "")));
                let tolerance = tolerance_of_rounding(&expected, &exact);
                assert_close(&what, &first, &expected, tolerance);
                // Kernels that were tuned and cached in the first pass must give the same again.
                let again = model.forward(input, &mut go_on).unwrap();
                assert_close(&format!("{what} again"), &again, &expected, tolerance);
            }
        }
    });
}

#[test]
fn autoencoders_equal_diffusers() {
    with_adapter(|| {
        let device = adapter();
        for (golden, name) in
            [("vae_sd15", "sd15-tiny"), ("vae_sd21", "sd21-tiny"), ("vae_sdxl", "sdxl-tiny")]
        {
            let checkpoint = checkpoint(name);
            let config = config(&checkpoint, "vae");
            let weights = checkpoint.join("vae/diffusion_pytorch_model.safetensors");
            let vae = load(weights, &device, |weights| AutoencoderKl::new(&config, weights));
            let golden = Golden::open(golden, &device);
            for case in ["sq", "rect"] {
                let key = |part: &str| format!("{case}.{part}");
                let posterior =
                    vae.encoder.encode(golden.tensor(&key("image")), &mut go_on).unwrap();
                let expected = golden.tensor(&key("mean"));
                assert_close(name, &posterior.mean, &expected, NETWORK_TOLERANCE);
                let decoded = vae.decoder.decode(golden.tensor(&key("z")), &mut go_on).unwrap();
                assert!(values(&decoded).iter().all(|value| value.is_finite()), "{name} {case}");
                let expected = golden.tensor(&key("decoded"));
                assert_close(name, &decoded, &expected, NETWORK_TOLERANCE);
            }
        }
    });
}
