//! Runs that take less memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, ops::ControlFlow};

use emberbrush_layers::attention::AttentionSlicing;
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    error::PipelineError,
    memory::{MemorySettings, TextEncoderUse},
    request::GenerationRequest,
    schedulers::Sampler,
};
use emberbrush_tests::{CheckpointFolder, checkpoint, runs};
use image::RgbImage;

fn load(checkpoint: &CheckpointFolder) -> DiffusionPipeline {
    let files = folder::locate(checkpoint).unwrap();
    let device = device::open(DeviceChoice::Cpu).unwrap();
    DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap().0
}

fn make(pipeline: &mut DiffusionPipeline, prompt: &str) -> Result<RgbImage, PipelineError> {
    let request = GenerationRequest {
        width: 64,
        height: 64,
        steps: 2,
        guidance_scale: 5.0,
        sampler: Sampler::Ddim,
        seed: 3,
        ..GenerationRequest::new(prompt)
    };
    pipeline.generate(&request, 0, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn text_encoders_are_given_up_and_read_again_for_a_new_prompt() {
    let checkpoint = checkpoint("sd15-tiny");
    let mut pipeline = load(&checkpoint);
    let expected = ["a cat", "a dog"].map(|prompt| make(&mut pipeline, prompt).unwrap());

    let mut pipeline = load(&checkpoint);
    let text_encoder = TextEncoderUse::DropAfterEncoding;
    pipeline.set_wanted_memory(MemorySettings { text_encoder, ..MemorySettings::FULL });
    assert_eq!(make(&mut pipeline, "a cat").unwrap(), expected[0]);
    let (there, away) = (checkpoint.join("text_encoder"), checkpoint.join("away"));
    fs::rename(&there, &away).unwrap();
    assert_eq!(make(&mut pipeline, "a cat").unwrap(), expected[0], "what is encoded is kept");
    let error = make(&mut pipeline, "a dog").unwrap_err().to_string();
    assert!(error.contains("text_encoder"), "{error}");
    fs::rename(&away, &there).unwrap();
    assert_eq!(make(&mut pipeline, "a dog").unwrap(), expected[1]);
}

#[test]
fn slices_of_attention_give_the_same_picture() {
    let checkpoint = checkpoint("sd15-tiny");
    let mut pipeline = load(&checkpoint);
    let expected = make(&mut pipeline, "a cat").unwrap();
    let attention_slicing = AttentionSlicing::Scores(1);
    pipeline.set_wanted_memory(MemorySettings { attention_slicing, ..MemorySettings::FULL });
    let sliced = make(&mut pipeline, "a cat").unwrap();
    assert!(runs::furthest(&expected, &sliced) <= 1);
}
