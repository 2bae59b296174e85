//! A device that has no memory left in the middle of a run: the run is made with less, and no
//! picture is lost.
//!
//! Backends tell of a failed allocation by a panic inside an operation. Here it comes from the
//! question whether to go on, which the networks ask between their blocks, so that it passes
//! through the same frames.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    cell::Cell,
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::atomic::{AtomicUsize, Ordering},
};

use emberbrush_pipeline::{
    batch::{self, BatchPlan, BatchSize, Job, JobModel, Manifest, PlanSettings, RunEvent, Shard},
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    editing::{self, GroupPicture},
    error::PipelineError,
    memory::StepDown,
    picture::{Effort, FileFormat},
    progress::{ProgressEvent, Stage},
    prompt::{NoWildcards, PromptSyntax},
    request::GenerationRequest,
    schedulers::Sampler,
};
use emberbrush_tests::{CheckpointFolder, checkpoint};
use image::RgbImage;
use serde_json::json;
use tempfile::TempDir;

fn load(checkpoint: &CheckpointFolder) -> DiffusionPipeline {
    let files = folder::locate(checkpoint).unwrap();
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let (mut pipeline, _) = DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap();
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    pipeline
}

fn request(prompt: &str, seed: u64) -> GenerationRequest {
    GenerationRequest {
        width: 64,
        height: 64,
        steps: 3,
        guidance_scale: 5.0,
        sampler: Sampler::EulerAncestral,
        seed,
        ..GenerationRequest::new(prompt)
    }
}

/// A device whose memory fails some times, each in the middle of a stage.
struct Failing {
    stage: Stage,
    /// Times that are to come.
    left: Cell<usize>,
    /// Blocks that have begun since the stage did; `None` before it.
    blocks: Cell<Option<usize>>,
}

impl Failing {
    fn during(stage: Stage, times: usize) -> Self {
        Self { stage, left: Cell::new(times), blocks: Cell::new(None) }
    }

    fn on_event(&self, event: &ProgressEvent) {
        match event {
            ProgressEvent::Stage(stage) => {
                self.blocks.set((*stage == self.stage).then_some(0));
            }
            ProgressEvent::Checkpoint => {
                let Some(blocks) = self.blocks.get() else { return };
                self.blocks.set(Some(blocks + 1));
                if blocks == 7 && self.left.get() > 0 {
                    self.left.set(self.left.get() - 1);
                    panic!("Validation Error: Not enough memory left. Out of Memory");
                }
            }
            _ => {}
        }
    }
}

/// The pictures of a group on such a device, with how many were made at once, and how the run
/// came to take less.
fn made(
    pipeline: &mut DiffusionPipeline,
    requests: &[GenerationRequest],
    failing: &Failing,
) -> (Vec<(usize, RgbImage)>, Vec<StepDown>) {
    let group: Vec<_> = requests.iter().map(|request| (request, None)).collect();
    let (mut pictures, mut steps) = (Vec::new(), Vec::new());
    editing::edit_group(
        pipeline,
        &group,
        &mut |event| {
            failing.on_event(&event);
            if let ProgressEvent::SteppedDown(step) = event {
                steps.push(step);
            }
            ControlFlow::Continue(())
        },
        &mut |GroupPicture { place, batch, edited, .. }| {
            assert_eq!(place, pictures.len());
            pictures.push((batch.size, edited.unwrap().picture.pixels.into_rgb8()));
        },
    )
    .unwrap();
    (pictures, steps)
}

fn tiles(tile: u32) -> StepDown {
    StepDown::TiledVae { tile }
}

#[test]
fn a_group_is_made_in_smaller_groups() {
    let checkpoint = checkpoint("sd15-tiny");
    let requests: Vec<_> = (0..4).map(|seed| request("a cat", seed)).collect();
    let (whole, no_steps) =
        made(&mut load(&checkpoint), &requests, &Failing::during(Stage::Denoise, 0));
    assert_eq!(no_steps, []);
    assert!(whole.iter().all(|(size, _)| *size == 4));
    let halves: Vec<_> = requests
        .chunks(2)
        .flat_map(|half| made(&mut load(&checkpoint), half, &Failing::during(Stage::Denoise, 0)).0)
        .collect();

    let failing = Failing::during(Stage::Denoise, 3);
    let (pictures, steps) = made(&mut load(&checkpoint), &requests, &failing);
    assert_eq!(failing.left.get(), 0);
    assert_eq!(steps, [tiles(512), tiles(256), StepDown::SmallerBatch { batch: 2 }]);
    assert!(pictures == halves, "the pictures are those that are made two at once");
}

#[test]
fn a_picture_that_did_not_fit_is_the_same_with_less() {
    let checkpoint = checkpoint("sd15-tiny");
    let requests = [request("a cat", 5)];
    let never = Failing::during(Stage::Denoise, 0);
    let (expected, _) = made(&mut load(&checkpoint), &requests, &never);
    for (stage, times) in [(Stage::Denoise, 1), (Stage::Denoise, 2)] {
        let failing = Failing::during(stage, times);
        let mut pipeline = load(&checkpoint);
        let (pictures, steps) = made(&mut pipeline, &requests, &failing);
        assert_eq!((failing.left.get(), steps.len()), (0, times));
        // Tiles are larger than the picture.
        assert!(pictures == expected, "{stage}, {times}");
        let (again, steps) = made(&mut pipeline, &requests, &never);
        assert!(again == expected && steps.is_empty(), "the next run begins anew");
    }
}

#[test]
fn nothing_smaller_left_fails_that_picture_alone() {
    let checkpoint = checkpoint("sd15-tiny");
    let mut pipeline = load(&checkpoint);
    let failing = Failing::during(Stage::Denoise, usize::MAX);
    let error = pipeline
        .generate(&request("a cat", 5), 0, &mut |event| {
            failing.on_event(&event);
            ControlFlow::Continue(())
        })
        .unwrap_err();
    assert!(matches!(error, PipelineError::OutOfDeviceMemory { .. }), "{error}");
    assert!(pipeline.generate(&request("a cat", 5), 0, &mut |_| ControlFlow::Continue(())).is_ok());
}

#[test]
fn a_job_set_loses_no_picture() {
    let checkpoint = checkpoint("sd15-tiny");
    let model = JobModel {
        path: Some(checkpoint.to_path_buf()),
        vae: None,
        name: "sd15-tiny".to_owned(),
        base: request("", 0),
    };
    let settings = PlanSettings {
        model: model.clone(),
        model_of: &|_| model.clone(),
        seed: Some(3),
        prompt_syntax: PromptSyntax::Weighted,
        wildcards: &NoWildcards,
        pattern: "{index}".parse().unwrap(),
        format: FileFormat::Png,
    };
    let jobs: Vec<Job> = ["a cat", "a dog", "an apple", "a house"]
        .into_iter()
        .enumerate()
        .map(|(line, prompt)| {
            let fields = json!({ "prompt": prompt }).as_object().unwrap().clone();
            Job { line: line + 1, fields }
        })
        .collect();
    // The hashes of all pictures, where the memory fails in each of the first runs of the UNet.
    let run = |failures: usize, batch_size: usize| -> Vec<String> {
        let folder = TempDir::new().unwrap();
        let mut plan = BatchPlan::new(&jobs, &settings).unwrap();
        let date = Manifest::claim(folder.path(), &plan, "2026-01-02").unwrap();
        plan.name_files(&settings, &date);
        let mut manifest = Manifest::open(folder.path(), Shard::default()).unwrap();
        let items: Vec<_> = plan.items().iter().collect();
        let (denoising, steps) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let on_event = |event: RunEvent<'_>| {
            match event {
                RunEvent::Progress(ProgressEvent::Step { .. })
                    if denoising.fetch_add(1, Ordering::Relaxed) < failures =>
                {
                    panic!("out of device memory allocating 4194304 bytes");
                }
                RunEvent::Progress(ProgressEvent::SteppedDown(_)) => {
                    steps.fetch_add(1, Ordering::Relaxed);
                }
                RunEvent::Failed { error, .. } => panic!("{error}"),
                _ => {}
            }
            ControlFlow::Continue(())
        };
        let run = batch::RunSettings {
            format: FileFormat::Png,
            effort: Effort::default(),
            batch_size: BatchSize::AtMost(NonZeroUsize::new(batch_size).unwrap()),
            load: &|_| Ok(load(&checkpoint)),
        };
        let failed = batch::run(&plan, &items, &mut manifest, &run, &on_event).unwrap();
        assert_eq!((failed, manifest.entries().len()), (0, jobs.len()));
        assert_eq!(steps.into_inner(), failures);
        manifest.entries().values().map(|entry| entry.sha256.clone()).collect()
    };
    let expected = run(0, 1);
    assert_eq!(run(2, 1), expected);
    // Two pictures are made anew one by one once no other step is left.
    assert_eq!(run(3, 2).len(), 4);
}
