//! Samplers and schedules that diffusers lacks, against the program of their definitions in
//! `fixtures/make_samplers.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::tensor::{Device, Tensor, TensorData};
use emberbrush_pipeline::schedulers::{Sampler, Schedule, SchedulerConfig, build, config};
use emberbrush_tests::{fixtures, values};
use serde::Deserialize;

/// Largest allowed `max|Δ| / max|golden|`: the samplers compute in f32.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Runs {
    initial: [f64; 4],
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    sampler: Sampler,
    schedule: Schedule,
    steps: usize,
    noise: Vec<[f64; 4]>,
    /// After each evaluation of the model.
    samples: Vec<[f64; 4]>,
    /// One for each step and the last one's end, where the schedule is the subject.
    sigmas: Option<Vec<f64>>,
}

fn tensor(values: [f64; 4]) -> Tensor<4> {
    let values = values.map(|value| value as f32).to_vec();
    Tensor::from_data(TensorData::new(values, [1, 1, 2, 2]), &Device::flex())
}

#[track_caller]
fn assert_near(what: &str, actual: impl IntoIterator<Item = f64>, golden: &[f64]) {
    let largest = golden.iter().fold(0_f64, |most, value| most.max(value.abs()));
    let mut count = 0;
    for (actual, golden) in actual.into_iter().zip(golden) {
        let difference = (actual - golden).abs() / largest;
        assert!(difference <= TOLERANCE, "{what}: {actual} is not {golden}, {difference:.1e}");
        count += 1;
    }
    assert_eq!(count, golden.len(), "{what}");
}

#[test]
fn every_run_replays() {
    let text = std::fs::read(fixtures().join("goldens/samplers.json")).unwrap();
    let runs: Runs = serde_json::from_slice(&text).unwrap();
    assert_eq!(runs.cases.len(), 42);
    let config = SchedulerConfig {
        beta_start: Some(0.00085),
        beta_end: Some(0.012),
        beta_schedule: Some(config::BetaSchedule::ScaledLinear),
        ..SchedulerConfig::default()
    };
    for case in runs.cases {
        let name = format!("{} {} {}", case.sampler, case.schedule, case.steps);
        let mut run = build(case.sampler, case.schedule, &config, case.steps).unwrap();
        assert_eq!(run.steps(), case.steps, "{name}");
        assert_eq!(run.plan().evaluations(), case.samples.len(), "{name}");
        if let Some(sigmas) = &case.sigmas {
            assert_near(&format!("{name} sigmas"), run.plan().sigmas(), &sigmas[..case.steps]);
        }
        let mut noise = case.noise.into_iter().map(tensor);
        let mut sample = tensor(runs.initial).mul_scalar(run.init_noise_sigma());
        for (evaluation, golden) in case.samples.iter().enumerate() {
            let timestep = run.timesteps()[evaluation];
            let input = run.scale_model_input(sample.clone(), evaluation);
            let output = input.mul_scalar(0.3).add_scalar(0.01 * timestep / 1000.0);
            sample = run.step(evaluation, output, sample, &mut || {
                noise.next().expect("no more noise than the definition draws")
            });
            let actual = values(&sample).into_iter().map(f64::from);
            assert_near(&format!("{name} evaluation {evaluation}"), actual, golden);
        }
        assert!(noise.next().is_none(), "{name}: all noise is drawn");
    }
}
