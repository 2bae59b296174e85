//! Image to image and inpainting against diffusers: the latents after each step, and the picture.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{Denoising, DiffusionPipeline, ImageInput, StartingImage},
    editing::{self, Sources},
    request::{GenerationRequest, Mode},
};
use emberbrush_tests::{Golden, PIPELINE_TOLERANCE, assert_close, checkpoint, runs};
use image::DynamicImage;
use serde_json::Value;

/// The cases that start from a picture, with their place in the file, which seeds their noise.
fn cases() -> Vec<(u64, Value)> {
    (0..)
        .zip(runs::cases("pipelines"))
        .filter(|(_, case)| runs::mode(case) != Mode::TextToImage)
        .collect()
}

/// The picture that cases start from, and its mask.
const IMAGE: &str = "image_u8_hwc";
const MASK: &str = "mask_u8_hw";

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

    let request = runs::request(case, 0);
    let (image, mask) = (golden.picture(IMAGE), golden.mask(MASK));
    let is_inpainting = matches!(request.mode, Mode::Inpaint(_));
    let input = ImageInput {
        image: StartingImage::Pixels(image.to_raw()),
        strength: request.mode.init().unwrap().strength,
        mask: is_inpainting.then(|| runs::mask_input(&mask)),
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

    let sources = Sources::new(&request.mode, image, Some(&mask)).unwrap();
    let mut noise = draws(&golden, case).into_iter();
    let edited = editing::edit_from(
        &mut pipeline,
        &request,
        Some(&sources),
        &mut |_: [usize; 4]| noise.next().unwrap(),
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    assert_near(name, &edited.picture.pixels, &golden.bytes(&format!("{name}.image_u8")));
}

fn assert_near(name: &str, image: &DynamicImage, expected: &[u8]) {
    let DynamicImage::ImageRgb8(image) = image else { panic!("{name}: {:?}", image.color()) };
    let furthest = runs::furthest(image.as_raw(), expected);
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
        let request = GenerationRequest { seed: 9000 + index, ..runs::request(case, 0) };
        let (image, mask) = (golden.picture(IMAGE), golden.mask(MASK));
        let sources = Sources::new(&request.mode, image, Some(&mask)).unwrap();
        let go_on = &mut |_| ControlFlow::Continue(());
        let edited = editing::edit(&mut pipeline, &request, Some(&sources), 0, go_on).unwrap();
        assert_near(name, &edited.picture.pixels, &golden.bytes(&format!("{name}.image_u8")));
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
