//! Runs and sigmas of A1111, against `make_a1111.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{Denoising, DiffusionPipeline},
    prompt::PromptSyntax,
    request::{GenerationRequest, Mode},
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
fn runs_are_those_of_a1111() {
    let golden = Golden::open("a1111", &Device::flex());
    let folder = checkpoint("sd15-tiny");
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let (mut pipeline, _) =
        DiffusionPipeline::load(&folder::locate(&folder).unwrap(), device, ComputeDtype::F32)
            .unwrap();
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    let go_on = &mut || ControlFlow::Continue(());
    let goldens = goldens();
    for case in goldens["runs"].as_array().unwrap() {
        let name = text(case, "name");
        let request = GenerationRequest {
            mode: Mode::TextToImage,
            prompt: text(case, "prompt").to_owned(),
            negative_prompt: text(case, "negative").to_owned(),
            width: 64,
            height: 64,
            steps: case["steps"].as_u64().unwrap() as u32,
            guidance_scale: case["cfg"].as_f64().unwrap(),
            sampler: text(case, "sampler").parse().unwrap(),
            schedule: text(case, "schedule").parse().unwrap(),
            compat: Compat::A1111,
            conditioning: Default::default(),
            adapters: Default::default(),
            seed: 0,
            rng: RngSource::Philox,
            count: 1,
        };
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
