//! Runs and sigmas of A1111, against `make_a1111.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{Denoising, DiffusionPipeline, NoiseSource, SeededNoise},
    prompt::PromptSyntax,
    request::GenerationRequest,
    rng::RngSource,
    schedulers::{Compat, SamplerOptions, SchedulerConfig, build_with},
};
use emberbrush_tests::{Golden, PIPELINE_TOLERANCE, assert_close, checkpoint, fixtures};
use serde_json::Value;

fn goldens() -> Value {
    let text = std::fs::read(fixtures().join("goldens/a1111.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

fn pipeline() -> DiffusionPipeline {
    let folder = checkpoint("sd15-tiny");
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let (mut pipeline, _) =
        DiffusionPipeline::load(&folder::locate(&folder).unwrap(), device, ComputeDtype::F32)
            .unwrap();
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    pipeline
}

fn request(prompt: &str, negative: &str, sampler: &str, steps: u32) -> GenerationRequest {
    GenerationRequest {
        negative_prompt: negative.to_owned(),
        width: 64,
        height: 64,
        steps,
        sampler: sampler.parse().unwrap(),
        compat: Compat::A1111,
        rng: RngSource::Philox,
        ..GenerationRequest::new(prompt)
    }
}

#[test]
fn sigmas_are_those_of_a1111() {
    let config = r#"{"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "timestep_spacing": "leading", "steps_offset": 1, "use_karras_sigmas": true}"#;
    let config = SchedulerConfig::from_json(config).unwrap();
    let options = SamplerOptions { compat: Compat::A1111, ..SamplerOptions::default() };
    let goldens = goldens();
    let cases = goldens["sigmas"].as_array().unwrap();
    for case in cases {
        let (sampler, schedule) = (text(case, "sampler"), text(case, "schedule"));
        let steps = case["steps"].as_u64().unwrap() as usize;
        let run = build_with(
            sampler.parse().unwrap(),
            schedule.parse().unwrap(),
            &config,
            steps,
            &options,
        )
        .unwrap();
        let plan = run.plan();
        let mut starts: Vec<f64> = Vec::new();
        for (evaluation, sigma) in plan.sigmas().enumerate() {
            if evaluation == 0 || plan.step_of(evaluation) != plan.step_of(evaluation - 1) {
                starts.push(sigma);
            }
        }
        let expected: Vec<f64> = case["sigmas"]
            .as_array()
            .unwrap()
            .iter()
            .map(|sigma| sigma.as_f64().unwrap())
            .collect();
        let name = format!("{sampler} {schedule} {steps}");
        assert_eq!(starts.len() + 1, expected.len(), "{name}");
        for (found, expected) in starts.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5 * expected, "{name}: {found} {expected}");
        }
        assert_eq!(plan.init_noise_sigma(), starts[0], "{name}");
    }
    assert!(cases.len() > 50);
}

#[test]
fn variations_lie_between_the_noises_of_two_seeds() {
    let device = Device::flex();
    let golden = Golden::open("a1111", &device);
    let mut request = request("", "", "euler", 1);
    request.seed = 5;
    request.rng = RngSource::Torch;
    let shape = [1, 4, 8, 8];
    let plain = emberbrush_tests::values(&SeededNoise::new(&request, 0, &device).initial(shape));
    request.conditioning.variation_seed = 8;
    request.conditioning.variation_strength = 0.3;
    // The second picture has the same seed, and the next variation.
    let mut noise = SeededNoise::new(&request, 1, &device);
    assert_close("variation", &noise.initial(shape), &golden.tensor("variation"), 1e-5);
    let next = emberbrush_tests::values(&noise.next(shape));
    assert_ne!(next, plain);
    noise.restart();
    assert_eq!(emberbrush_tests::values(&noise.next(shape)), plain);
}

#[test]
fn prompts_change_at_the_steps_that_they_name() {
    let mut pipeline = pipeline();
    let go_on = &mut || ControlFlow::Continue(());
    let mut states = |request: &GenerationRequest, positions: std::ops::Range<u32>| {
        let conditioning = pipeline.encode_prompt(request, go_on).unwrap();
        let states = |position| {
            let batch = conditioning.at(position).batches.remove(0);
            emberbrush_tests::values(&batch.encoder_hidden_states)
        };
        positions.map(states).collect::<Vec<_>>()
    };
    let texts = |positions: &[Vec<f32>], one: &[f32], other: &[f32]| -> String {
        let letter = |states: &Vec<f32>| match () {
            () if states == one => 'c',
            () if states == other => 'd',
            () => '?',
        };
        positions.iter().map(letter).collect()
    };
    let mut of = |prompt: &str, compat: Compat, positions: std::ops::Range<u32>| {
        let mut request = request(prompt, "", "euler", 5);
        request.compat = compat;
        states(&request, positions)
    };
    let cat = of("a cat", Compat::Diffusers, 1..2).remove(0);
    let dog = of("a dog", Compat::Diffusers, 1..2).remove(0);
    for (prompt, ours, theirs) in [
        ("a [cat:dog:2]", "ccddd", "cccdd"),
        ("a [cat:dog:0.4]", "ccddd", "cccdd"),
        ("a [cat|dog]", "cdcdc", "ccdcd"),
        ("a [cat:dog:5]", "ccccc", "ccccc"),
    ] {
        let diffusers = of(prompt, Compat::Diffusers, 1..6);
        assert_eq!(texts(&diffusers, &cat, &dog), ours, "{prompt}");
        let a1111 = of(prompt, Compat::A1111, 0..5);
        assert_eq!(texts(&a1111, &cat, &dog), theirs, "{prompt}");
    }
}

#[test]
fn runs_are_those_of_a1111() {
    let golden = Golden::open("a1111", &Device::flex());
    let mut pipeline = pipeline();
    let go_on = &mut || ControlFlow::Continue(());
    let goldens = goldens();
    for case in goldens["runs"].as_array().unwrap() {
        let name = text(case, "name");
        let mut request = request(
            text(case, "prompt"),
            text(case, "negative"),
            text(case, "sampler"),
            case["steps"].as_u64().unwrap() as u32,
        );
        request.guidance_scale = case["cfg"].as_f64().unwrap();
        request.schedule = text(case, "schedule").parse().unwrap();
        let mut draws = 0;
        let mut noise = |_: [usize; 4]| {
            draws += 1;
            match draws {
                1 => golden.tensor("initial"),
                _ => golden.tensor::<4>("noise").narrow(0, draws - 2, 1),
            }
        };
        let conditioning = pipeline.encode_prompt(&request, go_on).unwrap();
        let mut scheduler = pipeline.scheduler(&request).unwrap();
        let latents = pipeline.prepare_latents(&request, scheduler.as_ref(), &mut noise);
        let (mut evaluations, mut steps) = (0, 0);
        let expected: Tensor<4> = golden.tensor(name);
        pipeline
            .denoise(
                latents,
                &conditioning,
                &request,
                scheduler.as_mut(),
                &mut noise,
                &mut |done| {
                    if let Denoising::Evaluated { step, latents, .. } = done {
                        evaluations += 1;
                        if step.is_some() {
                            let expected = expected.clone().narrow(0, steps, 1);
                            let what = format!("{name}, step {steps}");
                            assert_close(&what, latents, &expected, PIPELINE_TOLERANCE);
                            steps += 1;
                        }
                    }
                    ControlFlow::Continue(())
                },
            )
            .unwrap();
        assert_eq!(steps, expected.dims()[0], "{name}");
        assert_eq!(evaluations, case["evaluations"].as_u64().unwrap(), "{name}");
    }
}
