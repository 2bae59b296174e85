//! Pictures that go through the UNet at once against the same pictures alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::Path};

use emberbrush_pipeline::{
    checkpoint::{files::CheckpointFiles, folder},
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{Conditioning, DiffusionPipeline},
    editing::{self, GroupPicture, Sources},
    progress::{ProgressEvent, Stage},
    prompt::PromptSyntax,
    request::{GenerationRequest, HiresFix, Mode, Upscaler},
    schedulers::{Sampler, Schedule},
};
use emberbrush_tests::{checkpoint, runs};
use image::{DynamicImage, GrayImage, RgbImage};
use serde_json::{Value, json};

fn load(files: &CheckpointFiles) -> DiffusionPipeline {
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let (mut pipeline, _) = DiffusionPipeline::load(files, device, ComputeDtype::Auto).unwrap();
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    pipeline
}

fn default_model() -> CheckpointFiles {
    CheckpointFiles::Embedded {
        name: emberbrush_assets::DEFAULT_MODEL_NAME,
        files: emberbrush_assets::DEFAULT_MODEL,
    }
}

/// Requests that differ in everything that pictures of a group may differ in.
fn requests(sampler: Sampler, side: u32) -> Vec<GenerationRequest> {
    let request = |prompt: &str, negative: &str, guidance_scale, seed| GenerationRequest {
        negative_prompt: negative.to_owned(),
        width: side,
        height: side,
        steps: 4,
        guidance_scale,
        sampler,
        seed,
        ..GenerationRequest::new(prompt)
    };
    vec![
        request("a (red:1.3) apple", "", 3.0, 1),
        request("a lighthouse at night", "blur", 5.5, u64::MAX),
        request("", "a pear", 1.5, 7),
    ]
}

fn at_once(pipeline: &mut DiffusionPipeline, requests: &[GenerationRequest]) -> Vec<RgbImage> {
    let shape = pipeline.group_shape(&requests[0]);
    assert!(shape.is_some());
    assert!(requests.iter().all(|request| pipeline.group_shape(request) == shape));
    let sources: Vec<_> =
        requests.iter().map(|request| Sources::read(&request.mode).unwrap()).collect();
    let group: Vec<_> = requests.iter().zip(sources.iter().map(Option::as_ref)).collect();
    let (mut pictures, mut denoised) = (Vec::new(), 0);
    let on_event = &mut |event| {
        denoised += u32::from(matches!(event, ProgressEvent::Stage(Stage::Denoise)));
        ControlFlow::Continue(())
    };
    let on_picture = &mut |GroupPicture { place, edited, .. }| {
        assert_eq!(place, pictures.len());
        let DynamicImage::ImageRgb8(picture) = edited.unwrap().picture.pixels else { panic!() };
        pictures.push(picture);
    };
    editing::edit_group(pipeline, &group, on_event, on_picture).unwrap();
    assert_eq!(denoised, 1, "all at once");
    pictures
}

fn assert_near(name: &str, picture: &RgbImage, alone: &RgbImage) {
    let furthest = runs::furthest(picture, alone);
    assert!(furthest <= 1, "{name}: {furthest} grey levels");
}

fn compare(name: &str, files: &CheckpointFiles, side: u32) {
    let (mut pipeline, mut other) = (load(files), load(files));
    for sampler in [Sampler::EulerAncestral, Sampler::Dpmpp2m, Sampler::Pndm] {
        let requests = requests(sampler, side);
        let pictures = at_once(&mut pipeline, &requests);
        assert_eq!(pictures.len(), requests.len());
        let mut before: Option<RgbImage> = None;
        for (request, picture) in requests.iter().zip(&pictures) {
            let go_on = &mut |_| ControlFlow::Continue(());
            let alone = other.generate(request, 0, go_on).unwrap();
            assert_near(&format!("{name}, {sampler}, seed {}", request.seed), picture, &alone);
            assert_ne!(before.as_ref(), Some(&alone));
            before = Some(alone);
        }
    }
}

#[test]
fn pictures_of_the_default_model_are_those_made_alone() {
    compare("default", &default_model(), 64);
}

#[test]
fn pictures_of_tiny_checkpoints_are_those_made_alone() {
    for name in ["sd15-tiny", "sdxl-tiny", "sd15-inpaint-tiny"] {
        let folder = checkpoint(name);
        compare(name, &folder::locate(&folder).unwrap(), 64);
    }
}

/// The same picture repainted in part, in another part, and as a whole.
fn edits(folder: &Path) -> Vec<GenerationRequest> {
    let init = folder.join("init.png");
    let gradient = |x: u32, y: u32| image::Rgb([x as u8 * 3, y as u8 * 2, 90]);
    RgbImage::from_fn(80, 72, gradient).save(&init).unwrap();
    let mask = |name: &str, left: u32| {
        let path = folder.join(name);
        let white = |x: u32, y: u32| (left..left + 30).contains(&x) && (20..50).contains(&y);
        let mask = GrayImage::from_fn(80, 72, |x, y| image::Luma([u8::from(white(x, y)) * 255]));
        mask.save(&path).unwrap();
        path
    };
    let masks = [mask("left.png", 8), mask("right.png", 40)];
    let mut requests = requests(Sampler::EulerAncestral, 64);
    let fields = |value: Value| value.as_object().unwrap().clone();
    for (request, mask) in requests.iter_mut().zip(&masks) {
        let fields = fields(json!({ "init": init, "mask": mask, "strength": 0.5 }));
        *request = request.with_fields(&fields).unwrap();
    }
    let whole = fields(json!({ "init": init, "strength": 0.5 }));
    requests[2] = requests[2].with_fields(&whole).unwrap();
    requests
}

#[test]
fn edits_made_at_once_are_those_made_alone() {
    for name in ["sd15-tiny", "sd15-inpaint-tiny"] {
        let folder = checkpoint(name);
        let files = folder::locate(&folder).unwrap();
        let (mut pipeline, mut other) = (load(&files), load(&files));
        let pictures = tempfile::tempdir().unwrap();
        let requests = edits(pictures.path());
        let at_once = at_once(&mut pipeline, &requests);
        for (request, picture) in requests.iter().zip(&at_once) {
            let sources = Sources::read(&request.mode).unwrap();
            let go_on = &mut |_| ControlFlow::Continue(());
            let alone = editing::edit(&mut other, request, sources.as_ref(), 0, go_on).unwrap();
            let alone = alone.picture.pixels.into_rgb8();
            assert_near(&format!("{name}, seed {}", request.seed), picture, &alone);
        }
        assert_eq!(at_once[0].dimensions(), (80, 72));
        let other_strength =
            requests[2].with_fields(json!({ "strength": 0.75 }).as_object().unwrap());
        let shape = pipeline.group_shape(&requests[2]);
        assert_ne!(pipeline.group_shape(&other_strength.unwrap()), shape);
    }
}

#[test]
fn what_cannot_go_together_has_another_shape() {
    let pipeline = load(&default_model());
    let request = requests(Sampler::Euler, 64).remove(0);
    let shape = pipeline.group_shape(&request);
    let long = "a very long prompt of many words ".repeat(20);
    for other in [
        GenerationRequest { width: 72, ..request.clone() },
        GenerationRequest { steps: 5, ..request.clone() },
        GenerationRequest { guidance_scale: 1.0, ..request.clone() },
        GenerationRequest { sampler: Sampler::Ddim, ..request.clone() },
        GenerationRequest { schedule: Schedule::Karras, ..request.clone() },
        GenerationRequest { prompt: long.clone(), ..request.clone() },
        GenerationRequest { negative_prompt: long, ..request.clone() },
    ] {
        assert_ne!(pipeline.group_shape(&other), shape, "{other:?}");
    }
    let upscaler = Upscaler::default();
    let hires = Mode::HiresFix(HiresFix { scale: 2.0, strength: 0.5, steps: 2, upscaler });
    let hires = GenerationRequest { mode: hires, ..request };
    assert_eq!(pipeline.group_shape(&hires), None);
}

#[test]
fn prompts_that_were_encoded_ahead_are_not_encoded_again() {
    let mut pipeline = load(&default_model());
    let requests = requests(Sampler::Euler, 64);
    let requests: Vec<_> = requests.iter().collect();
    let alone = load(&default_model())
        .encode_prompts(&requests, &mut || ControlFlow::Continue(()))
        .unwrap();
    let ahead = pipeline.prompts_ahead(&requests);
    let encoded = std::thread::spawn(move || ahead.encode(&mut || ControlFlow::Continue(())));
    pipeline.keep_prompts(encoded.join().unwrap().unwrap());
    assert!(pipeline.prompts_ahead(&requests).is_empty());
    // The text encoder would ask before its first layer.
    let kept = pipeline.encode_prompts(&requests, &mut || ControlFlow::Break(())).unwrap();
    let values = emberbrush_tests::values;
    let states = |conditioning: Conditioning| {
        let batches = conditioning.at(1).batches;
        assert_eq!(batches.len(), 1);
        values(&batches[0].encoder_hidden_states)
    };
    assert_eq!(states(kept), states(alone));
}

#[test]
fn a_cancelled_group_stops_at_the_next_block() {
    let mut pipeline = load(&default_model());
    let requests = requests(Sampler::Euler, 64);
    let group: Vec<_> = requests.iter().map(|request| (request, None)).collect();
    let mut asked = 0;
    let stopped = editing::edit_group(
        &mut pipeline,
        &group,
        &mut |_| {
            asked += 1;
            if asked < 30 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
        &mut |_| panic!("nothing was finished"),
    );
    assert!(stopped.is_err());
    assert_eq!(asked, 30, "nothing is asked after the answer to stop");
}

#[test]
fn what_fails_together_is_made_alone() {
    let mut pipeline = load(&default_model());
    let mut requests = requests(Sampler::Euler, 64);
    requests[1].steps = 0;
    let group: Vec<_> = requests.iter().map(|request| (request, None)).collect();
    let mut finished = Vec::new();
    editing::edit_group(
        &mut pipeline,
        &group,
        &mut |_| ControlFlow::Continue(()),
        &mut |GroupPicture { place, edited, .. }| finished.push((place, edited.is_ok())),
    )
    .unwrap();
    assert_eq!(finished, [(0, true), (1, false), (2, true)]);
}
