//! Image to image and inpainting against diffusers: the latents after each step, and the picture.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::PathBuf};

use burn::tensor::Tensor;
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{
        Denoising, DiffusionPipeline, ImageInput, LatentBlending, LatentContent, MaskInput,
        StartingImage,
    },
    editing::{self, Sources},
    picture::{self, Mask, MaskSource, Picture},
    request::{
        GenerationRequest, InitImage, Inpaint, MaskArea, MaskMode, MaskedContent, Mode, ResizeMode,
    },
    rng::RngSource,
    schedulers::{Sampler, Schedule},
};
use emberbrush_tests::{Golden, PIPELINE_TOLERANCE, assert_close, checkpoint, fixtures};
use image::{DynamicImage, GrayImage, RgbImage};
use serde_json::Value;

/// The cases that start from a picture, with their place in the file, which seeds their noise.
fn cases() -> Vec<(u64, Value)> {
    let text = std::fs::read(fixtures().join("goldens/pipelines.json")).unwrap();
    let index: Value = serde_json::from_slice(&text).unwrap();
    let cases = index["cases"].as_array().unwrap().clone();
    (0..)
        .zip(cases)
        .filter(|(_, case)| {
            let pipeline = case["pipeline"].as_str().unwrap();
            pipeline.contains("Img2Img") || pipeline.contains("Inpaint")
        })
        .collect()
}

fn bytes(golden: &Golden, key: &str) -> Vec<u8> {
    golden.data(key).convert::<u8>().try_to_vec().unwrap()
}

fn image(golden: &Golden) -> Picture {
    let pixels = RgbImage::from_raw(64, 64, bytes(golden, "image_u8_hwc")).unwrap();
    Picture::new(DynamicImage::ImageRgb8(pixels))
}

fn mask(golden: &Golden) -> Picture {
    let pixels = GrayImage::from_raw(64, 64, bytes(golden, "mask_u8_hw")).unwrap();
    Picture::new(DynamicImage::ImageLuma8(pixels))
}

fn request(case: &Value) -> GenerationRequest {
    let init = InitImage {
        init: PathBuf::from("image.png"),
        strength: case["strength"].as_f64().unwrap(),
        resize: ResizeMode::Stretch,
        raw: true,
    };
    let mode = if case["pipeline"].as_str().unwrap().contains("Inpaint") {
        Mode::Inpaint(Inpaint {
            image: init,
            mask: PathBuf::from("mask.png"),
            invert_mask: false,
            mask_mode: MaskMode::Hard,
            mask_grow: 0,
            feather: 0,
            mask_blur: 0.0,
            masked_content: MaskedContent::Original,
            mask_area: MaskArea::Whole,
            mask_padding: 0,
            match_colours: false,
        })
    } else {
        Mode::ImageToImage(init)
    };
    let karras = case["scheduler_overrides"]["use_karras_sigmas"] == Value::Bool(true);
    GenerationRequest {
        mode,
        prompt: case["prompt"].as_str().unwrap().to_owned(),
        negative_prompt: case["negative_prompt"].as_str().unwrap().to_owned(),
        width: 64,
        height: 64,
        steps: case["num_inference_steps"].as_u64().unwrap() as u32,
        guidance_scale: case["guidance_scale"].as_f64().unwrap(),
        sampler: Sampler::from_class_name(case["scheduler"].as_str().unwrap()).unwrap(),
        schedule: if karras { Schedule::Karras } else { Schedule::Automatic },
        compat: Default::default(),
        conditioning: Default::default(),
        fewer_operations: Default::default(),
        seed: 0,
        rng: RngSource::Torch,
        count: 1,
        adapters: Default::default(),
        control: Default::default(),
    }
}

/// The noise of a case in the order in which it is drawn. Latents that were given stand for the
/// run's noise, which comes after the image's posterior where there is one.
fn draws(golden: &Golden, case: &Value) -> Vec<Tensor<4>> {
    let name = case["name"].as_str().unwrap();
    let recorded = case["noise_sources"].as_array().unwrap().len();
    let mut draws: Vec<_> =
        (0..recorded).map(|draw| golden.tensor(&format!("{name}.noise.{draw}"))).collect();
    if let Some(latents) = case["latents"].as_str() {
        let place = if name.contains("inpaint9") { 0 } else { 1 };
        draws.insert(place, golden.tensor(latents));
    }
    draws
}

fn replay(case: &Value, device: DeviceChoice) {
    let name = case["name"].as_str().unwrap();
    let folder = checkpoint(case["checkpoint"].as_str().unwrap());
    let device = device::open(device).unwrap();
    let golden = Golden::open("pipelines", &device.device);
    let (mut pipeline, report) =
        DiffusionPipeline::load(&folder::locate(&folder).unwrap(), device, ComputeDtype::F32)
            .unwrap();
    assert_eq!(report.unused_keys, [""; 0], "{name}");
    assert_eq!(pipeline.is_inpainting_model(), name.contains("inpaint9"), "{name}");

    let request = request(case);
    let is_inpainting = matches!(request.mode, Mode::Inpaint(_));
    let mask_input = is_inpainting.then(|| {
        let mask: Mask =
            picture::mask_from(&mask(&golden), (64, 64), false, MaskSource::Grey).unwrap();
        MaskInput { mask, content: LatentContent::Image, blending: LatentBlending::Nearest }
    });
    let strength = request.mode.init().unwrap().strength;
    let input = ImageInput {
        image: StartingImage::Pixels(image(&golden).to_raw()),
        strength,
        mask: mask_input,
        first_pass: None,
    };
    let mut noise = draws(&golden, case).into_iter();
    let mut next = |_: [usize; 4]| noise.next().expect("no more noise than diffusers draws");
    let go_on = &mut || ControlFlow::Continue(());
    let conditioning = pipeline.encode_prompt(&request, go_on).unwrap();
    let mut scheduler = pipeline.scheduler(&request).unwrap();
    let start =
        pipeline.start_from_image(&request, &input, scheduler.as_ref(), &mut next, go_on).unwrap();
    let first = start.evaluation;
    let per_step = golden.tensor::<5>(&format!("{name}.latents_per_step"));
    let mut compared = 0;
    pipeline
        .denoise_from(
            start,
            &conditioning,
            &request,
            scheduler.as_mut(),
            &mut next,
            &mut |progress| {
                if let Denoising::Evaluated { evaluation, latents, .. } = progress {
                    let expected = per_step.clone().narrow(0, evaluation - first, 1);
                    let what = format!("{name}, evaluation {evaluation}");
                    assert_close(&what, latents, &expected.squeeze_dim(0), PIPELINE_TOLERANCE);
                    compared += 1;
                }
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    assert_eq!(compared, per_step.dims()[0], "{name}: evaluations");
    assert_eq!(noise.count(), 0, "{name}: all of diffusers' noise is drawn");

    let sources = Sources::new(&request.mode, image(&golden), Some(&mask(&golden))).unwrap();
    let mut noise = draws(&golden, case).into_iter();
    let edited = editing::edit_from(
        &mut pipeline,
        &request,
        Some(&sources),
        &mut |_: [usize; 4]| noise.next().unwrap(),
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    assert_near(name, &edited.picture.pixels, &bytes(&golden, &format!("{name}.image_u8")));
}

fn assert_near(name: &str, image: &DynamicImage, expected: &[u8]) {
    let DynamicImage::ImageRgb8(image) = image else { panic!("{name}: {:?}", image.color()) };
    assert_eq!(image.as_raw().len(), expected.len(), "{name}: size");
    let furthest =
        image.as_raw().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(255);
    assert!(furthest <= 1, "{name}: {furthest} grey levels");
}

#[test]
fn image_to_image_and_inpainting_equal_diffusers() {
    let cases = cases();
    assert_eq!(cases.len(), 15, "cases");
    for (_, case) in &cases {
        replay(case, DeviceChoice::Cpu);
    }
}

/// Where diffusers was given no latents, a seed alone decides.
#[test]
fn a_seed_gives_the_pictures_of_diffusers() {
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let golden = Golden::open("pipelines", &device.device);
    let mut compared = 0;
    for (index, case) in cases().iter().filter(|(_, case)| case["latents"].is_null()) {
        let name = case["name"].as_str().unwrap();
        let folder = checkpoint(case["checkpoint"].as_str().unwrap());
        let (mut pipeline, _) = DiffusionPipeline::load(
            &folder::locate(&folder).unwrap(),
            device.clone(),
            ComputeDtype::F32,
        )
        .unwrap();
        let request = GenerationRequest { seed: 9000 + index, ..request(case) };
        let sources = Sources::new(&request.mode, image(&golden), Some(&mask(&golden))).unwrap();
        let go_on = &mut |_| ControlFlow::Continue(());
        let edited = editing::edit(&mut pipeline, &request, Some(&sources), 0, go_on).unwrap();
        assert_near(name, &edited.picture.pixels, &bytes(&golden, &format!("{name}.image_u8")));
        compared += 1;
    }
    assert_eq!(compared, 9);
}

/// The same through a GPU's driver. Software renderers count: they run the same shaders.
#[cfg(feature = "wgpu")]
#[test]
fn inpainting_on_wgpu_equals_diffusers() {
    emberbrush_tests::with_adapter(|| {
        let case = |name: &str| cases().into_iter().find(|(_, case)| case["name"] == name).unwrap();
        for name in ["sd15_inpaint4_euler", "sd15_inpaint9_ddim"] {
            replay(&case(name).1, DeviceChoice::Wgpu);
        }
    });
}
