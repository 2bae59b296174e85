//! Whole runs against those of diffusers: the latents after each step, and the picture.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::Path};

use burn::tensor::{Device, Tensor};
use emberbrush_pipeline::{
    adapters::{AdapterSelection, LoraSelection},
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{Denoising, DiffusionPipeline},
    progress::ProgressEvent,
    request::{GenerationRequest, Mode},
    rng::RngSource,
};
use emberbrush_tests::{Golden, PIPELINE_TOLERANCE, assert_close, checkpoint, fixtures, runs};
use serde_json::Value;

/// Whether a case of `pipelines.json` starts from words alone; `editing.rs` has the others.
fn is_text_to_image(case: &Value) -> bool {
    runs::mode(case) == Mode::TextToImage
}

/// The adapters of a case; files whose name is the word of an embedding are put into `folder`.
fn adapters(case: &Value, folder: &Path) -> AdapterSelection {
    let stored = fixtures().join("checkpoints");
    match case["name"].as_str().unwrap() {
        "sd15_lora_kohya_ddim" => {
            let file = stored.join("lora/sd15-kohya.safetensors");
            let lora = vec![LoraSelection { file, unet: 1.0, text: 1.0 }];
            AdapterSelection { lora, ..AdapterSelection::default() }
        }
        "sd15_textual_inversion_ddim" => {
            let stored = stored.join("textual-inversion");
            let style = folder.join("<my-style>.safetensors");
            std::fs::copy(stored.join("sd15-a1111-3vec.safetensors"), &style).unwrap();
            let embedding = vec![style, stored.join("sd15-diffusers-1vec.safetensors")];
            AdapterSelection { embedding, ..AdapterSelection::default() }
        }
        _ => AdapterSelection::default(),
    }
}

fn cases() -> Vec<Value> {
    runs::cases("pipelines")
}

/// Writes the case's scheduler settings into the checkpoint, as diffusers' `from_config` takes
/// them over.
fn override_scheduler(checkpoint: &Path, case: &Value) {
    let path = checkpoint.join("scheduler/scheduler_config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in case["scheduler_overrides"].as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(path, config.to_string()).unwrap();
}

/// Replays picture `index` of a case's batch and compares everything that the goldens hold.
fn replay(case: &Value, index: usize, device: DeviceChoice) {
    let name = case["name"].as_str().unwrap();
    let folder = checkpoint(case["checkpoint"].as_str().unwrap());
    override_scheduler(&folder, case);
    let device = device::open(device).unwrap();
    let golden = Golden::open("pipelines", &device.device);
    let (mut pipeline, report) =
        DiffusionPipeline::load(&folder::locate(&folder).unwrap(), device, ComputeDtype::F32)
            .unwrap();
    assert_eq!(report.unused_keys, [""; 0], "{name}");

    let request =
        GenerationRequest { adapters: adapters(case, &folder), ..runs::request(case, index) };
    assert!(pipeline.use_adapters(&request.adapters).unwrap().is_empty(), "{name}: unused keys");
    let mut draws = vec![pick::<4>(&golden, case["latents"].as_str().unwrap(), 0, index)];
    for draw in 0..case["noise_sources"].as_array().unwrap().len() {
        draws.push(pick(&golden, &format!("{name}.noise.{draw}"), 0, index));
    }
    let mut draws = draws.into_iter();
    let mut noise = |_: [usize; 4]| draws.next().expect("no more noise than diffusers draws");

    let conditioning = pipeline.encode_prompt(&request, &mut || ControlFlow::Continue(())).unwrap();
    let mut scheduler = pipeline.scheduler(&request).unwrap();
    let latents = pipeline.prepare_latents(&request, scheduler.as_ref(), &mut noise);
    let per_step = format!("{name}.latents_per_step");
    let mut compared = 0;
    let latents = pipeline
        .denoise(
            latents,
            &conditioning,
            &request,
            scheduler.as_mut(),
            &mut noise,
            &mut |progress| {
                if let Denoising::Evaluated { evaluation, latents, .. } = progress {
                    let expected =
                        golden.tensor::<5>(&per_step).narrow(0, evaluation, 1).squeeze_dim::<4>(0);
                    let expected = expected.narrow(0, index, 1);
                    assert_close(
                        &format!("{name}, evaluation {evaluation}"),
                        latents,
                        &expected,
                        PIPELINE_TOLERANCE,
                    );
                    compared += 1;
                }
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    assert_eq!(compared, golden.shape(&per_step)[0], "{name}: evaluations");
    assert_eq!(noise_left(&mut draws), 0, "{name}: all of diffusers' noise is drawn");

    let image = pipeline.decode(latents, &mut || ControlFlow::Continue(())).unwrap();
    let expected: Tensor<4> = pick(&golden, &format!("{name}.image"), 0, index);
    let expected = emberbrush_tests::values(&expected);
    let furthest = image
        .as_raw()
        .iter()
        .zip(&expected)
        .map(|(&byte, &value)| (f32::from(byte) - (value * 255.0).round_ties_even()).abs())
        .fold(0.0, f32::max);
    assert_eq!(image.as_raw().len(), expected.len(), "{name}: size");
    assert!(furthest <= 1.0, "{name}: {furthest} grey levels");
}

fn noise_left(draws: &mut impl Iterator) -> usize {
    draws.count()
}

/// Entry `index` of a golden batch, as a batch of one.
fn pick<const D: usize>(golden: &Golden, key: &str, dim: usize, index: usize) -> Tensor<D> {
    golden.tensor::<D>(key).narrow(dim, index, 1)
}

#[test]
fn text_to_image_equals_diffusers() {
    let mut replayed = 0;
    for case in cases().iter().filter(|case| is_text_to_image(case)) {
        let batch = case["prompt"].as_array().map_or(1, Vec::len);
        for index in 0..batch {
            replay(case, index, DeviceChoice::Cpu);
        }
        replayed += 1;
    }
    assert_eq!(replayed, 24, "cases replayed");
}

#[test]
fn a_seed_gives_the_initial_latents_of_torch() {
    let device = Device::flex();
    let golden = Golden::open("pipelines", &device);
    let mut generator = emberbrush_pipeline::rng::NoiseGenerator::new(RngSource::Torch, 7);
    let latents = generator.normal([1, 4, 8, 8], &device);
    assert_close("seed 7", &latents, &golden.tensor("initial_latents"), 1e-6);
}

#[test]
fn images_of_one_request_equal_those_made_alone() {
    let folder = checkpoint("sd15-tiny");
    let load = || {
        let device = device::open(DeviceChoice::Cpu).unwrap();
        DiffusionPipeline::load(&folder::locate(&folder).unwrap(), device, ComputeDtype::Auto)
            .unwrap()
            .0
    };
    let case = runs::case("pipelines", "sd15_euler_a");
    let request = GenerationRequest { seed: 40, count: 3, steps: 2, ..runs::request(&case, 0) };
    let mut pipeline = load();
    let third = (0..3)
        .map(|index| {
            pipeline.generate(&request, index, &mut |_| ControlFlow::Continue(())).unwrap()
        })
        .last()
        .unwrap();
    let alone = GenerationRequest { seed: 42, count: 1, ..request };
    let alone = load().generate(&alone, 0, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(third, alone);
}

#[test]
fn a_cancelled_run_stops_at_the_next_block() {
    let folder = checkpoint("sd15-tiny");
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let (mut pipeline, _) =
        DiffusionPipeline::load(&folder::locate(&folder).unwrap(), device, ComputeDtype::Auto)
            .unwrap();
    let case = runs::case("pipelines", "sd15_ddim");
    let mut asked = 0;
    let error = pipeline
        .generate(&runs::request(&case, 0), 0, &mut |event| {
            if let ProgressEvent::Step { .. } = event {
                panic!("a step was finished after the cancel");
            }
            asked += 1;
            if asked < 30 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "cancelled");
    assert_eq!(asked, 30, "nothing is asked after the answer to stop");
}

/// The same runs through a GPU's driver. Software renderers count: they run the same shaders.
#[cfg(feature = "wgpu")]
#[test]
fn text_to_image_on_wgpu_equals_diffusers() {
    emberbrush_tests::with_adapter(|| {
        let case = runs::case("pipelines", "sd15_ddim");
        replay(&case, 0, DeviceChoice::Wgpu);
    });
}

/// In f16, where the adapter has it: the picture differs from diffusers' in f32 by rounding alone. A
/// software renderer takes minutes to choose its kernels, so there it runs only when it is asked for.
#[cfg(feature = "wgpu")]
#[test]
fn text_to_image_in_f16_on_wgpu_is_near_that_of_diffusers() {
    emberbrush_tests::with_adapter(|| {
        let opened = device::open(DeviceChoice::Wgpu).unwrap();
        if let Err(error) = opened.float_dtype(ComputeDtype::F16) {
            println!("skipped: {error}");
            return;
        }
        let is_software = opened.info.kind == device::DeviceKind::Software;
        if is_software && std::env::var_os("EMBERBRUSH_SOFTWARE_F16").is_none() {
            println!("skipped: a software renderer, and EMBERBRUSH_SOFTWARE_F16 is not set");
            return;
        }
        let golden = Golden::open("pipelines", &opened.device);
        let expected = emberbrush_tests::values(&golden.tensor::<4>("sd15_ddim.image"));
        let folder = checkpoint("sd15-tiny");
        let files = folder::locate(&folder).unwrap();
        let (mut pipeline, _) = DiffusionPipeline::load(&files, opened, ComputeDtype::F16).unwrap();
        let case = runs::case("pipelines", "sd15_ddim");
        let request = GenerationRequest { seed: 7, ..runs::request(&case, 0) };
        let image = pipeline.generate(&request, 0, &mut |_| ControlFlow::Continue(())).unwrap();
        let differences = image.as_raw().iter().zip(expected);
        let furthest = differences
            .map(|(byte, value)| (f32::from(*byte) - value * 255.0).abs())
            .fold(0.0, f32::max);
        // A software renderer came to 3.1.
        assert!(furthest <= 4.0, "{furthest} grey levels");
    });
}

#[test]
fn a_seed_alone_gives_the_picture_of_diffusers() {
    let folder = checkpoint("sd15-tiny");
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let golden = Golden::open("pipelines", &device.device);
    let (mut pipeline, _) =
        DiffusionPipeline::load(&folder::locate(&folder).unwrap(), device, ComputeDtype::Auto)
            .unwrap();
    let case = runs::case("pipelines", "sd15_ddim");
    let request = GenerationRequest { seed: 7, ..runs::request(&case, 0) };
    let image = pipeline.generate(&request, 0, &mut |_| ControlFlow::Continue(())).unwrap();
    let expected = emberbrush_tests::values(&golden.tensor::<4>("sd15_ddim.image"));
    for (byte, value) in image.as_raw().iter().zip(expected) {
        assert!((f32::from(*byte) - value * 255.0).abs() <= 1.5);
    }
}
