//! Every trace that diffusers made with a scheduler class, replayed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::tensor::{Device, Tensor};
use emberbrush_pipeline::schedulers::{
    SamplerOptions, Schedule, Scheduler, SchedulerConfig, build_with, noise_schedule::NoiseSchedule,
};
use emberbrush_tests::{Golden, assert_close, fixtures, values};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Largest allowed `max|Δ| / max|golden|`: diffusers computes the steps' factors in f32.
const TOLERANCE: f32 = 1e-5;

/// The rounding error of diffusers' own f32, relative to the sample after a step.
///
/// From sigma 4096 (zero terminal SNR) to 18 the sample shrinks two hundredfold by a difference of
/// large numbers, and what was rounded away before is missing afterwards. Replayed in f64 that
/// golden is 1.5e-5 off, too.
fn cancellation(before: &Tensor<4>, after: &Tensor<4>) -> f32 {
    let largest = |tensor| values(tensor).iter().fold(0_f32, |most, value| most.max(value.abs()));
    f32::EPSILON * largest(before) / largest(after)
}

#[derive(Deserialize)]
struct Traces {
    base_config: Map<String, Value>,
    cases: Vec<Trace>,
}

#[derive(Deserialize)]
struct Trace {
    name: String,
    cls: String,
    steps: usize,
    overrides: Map<String, Value>,
    step_kwargs: Map<String, Value>,
    init_noise_sigma: f64,
    timesteps: Vec<f64>,
    sigmas: Option<Vec<f64>>,
    noise_draws_per_step: Vec<usize>,
    add_noise_index: usize,
}

fn traces() -> Traces {
    let path = fixtures().join("goldens/schedulers.json");
    let text = std::fs::read_to_string(path).expect("schedulers.json");
    serde_json::from_str(&text.replace("-Infinity", "null")).expect("traces")
}

fn options(keys: &Map<String, Value>) -> SamplerOptions {
    let mut options = SamplerOptions::default();
    for (key, value) in keys {
        let value = value.as_f64().expect("a number");
        match key.as_str() {
            "eta" => options.eta = Some(value),
            "s_churn" => options.s_churn = value,
            other => panic!("unknown step argument `{other}`"),
        }
    }
    options
}

fn scheduler(base: &Map<String, Value>, trace: &Trace) -> Box<dyn Scheduler> {
    let mut config = base.clone();
    config.insert("_class_name".to_owned(), Value::String(trace.cls.clone()));
    let mut overrides = trace.overrides.clone();
    // The choice of a person and the key of the file must mean the same.
    let schedule = match overrides.remove("use_karras_sigmas") {
        Some(Value::Bool(true)) => Schedule::Karras,
        _ => Schedule::Automatic,
    };
    config.extend(overrides);
    let config = SchedulerConfig::from_json(&Value::Object(config).to_string()).expect("config");
    let sampler = config.sampler().unwrap_or_else(|| panic!("{}: its sampler", trace.name));
    build_with(sampler, schedule, &config, trace.steps, &options(&trace.step_kwargs))
        .unwrap_or_else(|error| panic!("{}: {error}", trace.name))
}

#[track_caller]
fn assert_numbers(what: &str, actual: &[f64], golden: &[f64]) {
    assert_eq!(actual.len(), golden.len(), "{what}: {actual:?} is not {golden:?}");
    let largest = golden.iter().fold(0_f64, |largest, value| largest.max(value.abs()));
    for (actual, golden) in actual.iter().zip(golden) {
        let difference = (actual - golden).abs() / largest;
        assert!(
            difference <= f64::from(TOLERANCE),
            "{what}: {actual} is not {golden}, difference {difference:.2e}"
        );
    }
}

fn row(stack: &Tensor<4>, index: usize) -> Tensor<4> {
    stack.clone().narrow(0, index, 1)
}

fn replay(goldens: &Golden, base: &Map<String, Value>, trace: &Trace) {
    let name = &trace.name;
    let mut run = scheduler(base, trace);
    assert_eq!(run.steps(), trace.steps, "{name}");
    assert_numbers(&format!("{name} timesteps"), run.timesteps(), &trace.timesteps);
    assert_numbers(
        &format!("{name} init_noise_sigma"),
        &[run.init_noise_sigma()],
        &[trace.init_noise_sigma],
    );
    if let Some(golden) = &trace.sigmas {
        // The last ones are where the run ends, and are seen in the last sample.
        let sigmas: Vec<f64> = run.plan().sigmas().collect();
        if trace.cls.starts_with("KDPM2") {
            // diffusers keeps the sigmas of the second evaluations in another list.
            let first =
                |sigmas: &[f64]| -> Vec<f64> { sigmas.iter().step_by(2).copied().collect() };
            let golden = first(&golden[..sigmas.len()]);
            assert_numbers(&format!("{name} sigmas"), &first(&sigmas), &golden);
        } else {
            assert_numbers(&format!("{name} sigmas"), &sigmas, &golden[..sigmas.len()]);
        }
    }
    let added = run.add_noise(
        goldens.tensor("add_noise.x0"),
        goldens.tensor("add_noise.noise"),
        trace.add_noise_index,
    );
    let golden = goldens.tensor(&format!("{name}.add_noise"));
    assert_close(&format!("{name} add_noise"), &added, &golden, TOLERANCE);

    let inputs: Tensor<4> = goldens.tensor(&format!("{name}.model_in"));
    let samples: Tensor<4> = goldens.tensor(&format!("{name}.samples"));
    let total_draws: usize = trace.noise_draws_per_step.iter().sum();
    let noises: Option<Tensor<4>> =
        (total_draws > 0).then(|| goldens.tensor(&format!("{name}.noise")));
    let mut drawn = 0;
    let mut tolerance = TOLERANCE;
    let mut sample = goldens.tensor::<4>("initial").mul_scalar(run.init_noise_sigma());
    for (evaluation, &draws) in trace.noise_draws_per_step.iter().enumerate() {
        let what = format!("{name} evaluation {evaluation}");
        let input = run.scale_model_input(sample.clone(), evaluation);
        assert_close(&format!("{what} input"), &input, &row(&inputs, evaluation), tolerance);
        let timestep = run.timesteps()[evaluation];
        let output = input.mul_scalar(0.3).add_scalar(0.01 * timestep / 1000.0);
        let before = drawn;
        let golden = row(&samples, evaluation);
        tolerance = tolerance.max(cancellation(&sample, &golden));
        sample = run.step(evaluation, output, sample, &mut || {
            drawn += 1;
            row(noises.as_ref().expect("a draw that diffusers does not make"), drawn - 1)
        });
        assert_eq!(drawn - before, draws, "{what}: draws of noise");
        assert_close(&what, &sample, &golden, tolerance);
    }
}

#[test]
fn every_trace_replays() {
    let goldens = Golden::open("schedulers", &Device::flex());
    let traces = traces();
    assert_eq!(traces.cases.len(), 96, "traces in the file");
    for trace in &traces.cases {
        replay(&goldens, &traces.base_config, trace);
    }
}

#[test]
fn the_training_noise_levels_are_torch_s() {
    let goldens = Golden::open("schedulers", &Device::flex());
    let base = Value::Object(traces().base_config).to_string();
    let config = SchedulerConfig::from_json(&base).expect("config");
    for (key, zero_snr) in [("alphas_cumprod", false), ("alphas_cumprod_zero_snr", true)] {
        let golden = values(&goldens.tensor::<1>(key));
        let schedule = NoiseSchedule::new(&config, zero_snr).expect("schedule");
        assert_eq!(schedule.len(), golden.len());
        for (timestep, golden) in golden.into_iter().enumerate() {
            let ours = schedule.alpha_cumprod(timestep);
            // Only the rescaling takes square roots. torch's are off in the last place, and near
            // the end the rescaling's difference leaves little else. A table computed in f64
            // would be 4e-5 off.
            let tolerance = if zero_snr { 5e-6 } else { 0.0 };
            let difference = (ours - f64::from(golden)).abs();
            assert!(
                difference <= tolerance * f64::from(golden),
                "{key} {timestep}: {ours} is not {golden}"
            );
        }
    }
}
