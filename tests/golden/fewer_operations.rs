//! Ways to make a picture with fewer operations, against the same made in parts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{Denoising, DenoisingStart, DiffusionPipeline},
    prompt::PromptSyntax,
    request::{GenerationRequest, Mode},
    rng::RngSource,
    schedulers::{Sampler, Schedule},
};
use emberbrush_tests::{checkpoint, relative_difference};

const STEPS: usize = 4;

fn load() -> DiffusionPipeline {
    let folder = checkpoint("sd15-tiny");
    let files = folder::locate(&folder).unwrap();
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let (mut pipeline, _) = DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap();
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    pipeline
}

fn request(prompt: &str, guidance_scale: f64, skip_negative_after: f64) -> GenerationRequest {
    let mut request = GenerationRequest {
        mode: Mode::TextToImage,
        prompt: prompt.to_owned(),
        negative_prompt: "blur".to_owned(),
        width: 64,
        height: 64,
        steps: STEPS as u32,
        guidance_scale,
        sampler: Sampler::Ddim,
        schedule: Schedule::Automatic,
        compat: Default::default(),
        conditioning: Default::default(),
        seed: 5,
        rng: RngSource::Torch,
        count: 1,
        adapters: Default::default(),
        control: Default::default(),
    };
    request.conditioning.skip_negative_after = skip_negative_after;
    request
}

/// The latents after each evaluation from `start` on.
fn denoise(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    start: DenoisingStart,
) -> Vec<Tensor<4>> {
    let conditioning = pipeline.encode_prompt(request, &mut || ControlFlow::Continue(())).unwrap();
    let mut scheduler = pipeline.scheduler(request).unwrap();
    let mut after = Vec::new();
    pipeline
        .denoise_from(
            start,
            &conditioning,
            request,
            scheduler.as_mut(),
            &mut |_| panic!("DDIM draws no noise"),
            &mut |denoising| {
                if let Denoising::Evaluated { latents, .. } = denoising {
                    after.push(latents.clone());
                }
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    after
}

fn noise(pipeline: &DiffusionPipeline) -> Tensor<4> {
    let values: Vec<f32> = (0..4 * 8 * 8).map(|index| (index as f32 * 0.7).sin() * 1.4).collect();
    let device = &pipeline.device().device;
    Tensor::from_data(TensorData::new(values, [1, 4, 8, 8]), device)
}

fn run(pipeline: &mut DiffusionPipeline, request: &GenerationRequest) -> Vec<Tensor<4>> {
    let start = DenoisingStart::noise(noise(pipeline));
    denoise(pipeline, request, start)
}

#[test]
fn without_the_negative_prompt_the_rest_is_not_guided() {
    let pipeline = &mut load();
    let guided = run(pipeline, &request("a cat", 5.0, 1.0));
    for (share, kept) in [(0.5, 2), (0.7, 3), (0.0, 0)] {
        let skipped = run(pipeline, &request("a cat", 5.0, share));
        let start = match kept {
            0 => noise(pipeline),
            kept => guided[kept - 1].clone(),
        };
        let mut start = DenoisingStart::noise(start);
        start.evaluation = kept;
        let rest = denoise(pipeline, &request("a cat", 1.0, 1.0), start);
        assert_eq!((skipped.len(), rest.len()), (STEPS, STEPS - kept));
        for (place, latents) in skipped.iter().enumerate() {
            let expected = if place < kept { &guided[place] } else { &rest[place - kept] };
            let difference = relative_difference(latents, expected);
            assert!(difference <= 1e-6, "{share}, evaluation {place}: {difference:e}");
        }
        let last = STEPS - 1;
        assert!(relative_difference(&skipped[last], &guided[last]) > 1e-3, "{share}");
    }
}

#[test]
fn prompts_that_and_joins_keep_the_negative_one() {
    let pipeline = &mut load();
    let whole = run(pipeline, &request("a cat AND a dog", 5.0, 1.0));
    let asked = run(pipeline, &request("a cat AND a dog", 5.0, 0.25));
    assert_eq!(relative_difference(&asked[STEPS - 1], &whole[STEPS - 1]), 0.0);
}
