//! Previews show what the picture becomes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use emberbrush_pipeline::{
    checkpoint::files::CheckpointFiles,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    progress::ProgressEvent,
    request::GenerationRequest,
};
use image::{RgbImage, imageops};

/// The mean difference of two pictures of one size, in grey levels.
fn mean_difference(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let sum: u64 =
        one.as_raw().iter().zip(other.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / one.as_raw().len() as f64
}

#[test]
fn the_last_preview_is_the_picture_made_small() {
    let files = CheckpointFiles::Embedded {
        name: emberbrush_assets::DEFAULT_MODEL_NAME,
        files: emberbrush_assets::DEFAULT_MODEL,
    };
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let (mut pipeline, _) = DiffusionPipeline::load(&files, device, ComputeDtype::Auto).unwrap();
    let request: GenerationRequest = serde_json::from_value(serde_json::json!({
        "mode": "text-to-image", "prompt": "a red apple on a blue background", "negative": "",
        "width": 128, "height": 128, "steps": 8, "cfg": 4.0, "sampler": "ddim",
        "schedule": "automatic", "seed": 0, "rng": "torch", "count": 1,
    }))
    .unwrap();
    let mut previews = Vec::new();
    let picture = pipeline
        .generate(&request, 0, &mut |event| {
            if let ProgressEvent::Step { preview, .. } = event {
                previews.push(preview.expect("a preview of each step"));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(previews.len(), 8);
    let small = imageops::resize(&picture, 16, 16, imageops::FilterType::Triangle);
    let last = mean_difference(previews.last().unwrap(), &small);
    assert!(last < 16.0, "{last} grey levels");
    let mirrored = imageops::flip_horizontal(&small);
    let turned: RgbImage = imageops::rotate90(&mirrored);
    assert!(last < mean_difference(previews.last().unwrap(), &turned), "any picture would do");
}
