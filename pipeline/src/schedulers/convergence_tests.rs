//! The order of convergence on a problem with a known solution.
//!
//! Where images are normally distributed with mean μ and variance 1, the best image for a sample
//! `x` at sigma is `(x + sigma² μ) / (1 + sigma²)`. The distance from μ then falls as the square
//! root of `1 + sigma²`, and its mean as `1 + sigma²` where noise is added on the way.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor, TensorData};

use super::{config::BetaSchedule, *};

const MEAN: f64 = 0.25;
const START: f64 = 0.9;

/// How far a run with `steps` steps ends from the solution, relative to the distance from the
/// mean there. Noise that is drawn is zero.
fn error(sampler: Sampler, steps: usize, order: Option<usize>) -> f64 {
    let config = SchedulerConfig {
        beta_start: Some(0.00085),
        beta_end: Some(0.012),
        beta_schedule: Some(BetaSchedule::ScaledLinear),
        solver_order: order,
        ..SchedulerConfig::default()
    };
    // A schedule that ends at a sigma above zero: the last step to zero is of first order.
    let mut run = build(sampler, Schedule::KlOptimal, &config, steps).unwrap();
    let device = Device::flex();
    let one = Tensor::<4>::from_data(TensorData::new(vec![1.0_f32], [1, 1, 1, 1]), &device);
    let zero = one.zeros_like();
    let number = |tensor: &Tensor<4>| f64::from(tensor.to_data().try_to_vec::<f32>().unwrap()[0]);
    let sigmas: Vec<f64> = run.plan().sigmas().collect();
    let image_share = |run: &dyn Scheduler, evaluation| {
        number(&run.add_noise(one.clone(), zero.clone(), evaluation))
    };
    let first = sigmas[0];
    let deviation = START * first;
    let mut sample = one.clone().mul_scalar((MEAN + deviation) * image_share(run.as_ref(), 0));
    for (evaluation, &sigma) in sigmas.iter().enumerate() {
        let share = image_share(run.as_ref(), evaluation);
        let noisy = number(&sample) / share;
        let image = (noisy + sigma * sigma * MEAN) / (1.0 + sigma * sigma);
        let output = one.clone().mul_scalar((noisy - image) / sigma);
        sample = run.step(evaluation, output, sample, &mut || zero.clone());
    }
    let end = noise_schedule::NoiseSchedule::with_sigmas(&config).unwrap()[0];
    let share = match sampler {
        // These count in variance preserving levels.
        Sampler::Dpmpp2s
        | Sampler::Dpmpp2m
        | Sampler::Dpmpp2mSde
        | Sampler::Dpmpp3mSde
        | Sampler::UniPc
        | Sampler::Deis => 1.0 / (1.0 + end * end).sqrt(),
        _ => 1.0,
    };
    let kept = ((1.0 + end * end) / (1.0 + first * first)).sqrt();
    let stochastic = matches!(
        sampler,
        Sampler::EulerAncestral
            | Sampler::Dpm2Ancestral
            | Sampler::Dpmpp2sAncestral
            | Sampler::DpmppSde
            | Sampler::Dpmpp2mSde
            | Sampler::Dpmpp3mSde
    );
    let solution = deviation * if stochastic { kept * kept } else { kept };
    (number(&sample) / share - MEAN - solution).abs() / solution
}

#[test]
fn errors_shrink_with_the_order_of_the_sampler() {
    // Multistep methods start with steps of lower order, so third order shows as a smaller error.
    let mut slow = Vec::new();
    for (sampler, solver_order, least) in [
        (Sampler::Euler, None, 1.8),
        (Sampler::EulerAncestral, None, 1.8),
        (Sampler::Heun, None, 3.6),
        (Sampler::Restart, None, 3.6),
        (Sampler::Lms, None, 3.6),
        (Sampler::Dpm2, None, 3.6),
        (Sampler::Dpm2Ancestral, None, 1.8),
        (Sampler::Dpmpp2s, None, 3.2),
        (Sampler::Dpmpp2s, Some(3), 3.6),
        (Sampler::Dpmpp2sAncestral, None, 1.8),
        (Sampler::Dpmpp2m, None, 3.4),
        (Sampler::Dpmpp2m, Some(3), 6.0),
        (Sampler::DpmppSde, None, 1.8),
        (Sampler::Dpmpp2mSde, None, 3.2),
        (Sampler::Dpmpp3mSde, None, 3.2),
        (Sampler::UniPc, Some(3), 3.4),
        (Sampler::Deis, None, 3.2),
        (Sampler::Deis, Some(3), 3.6),
    ] {
        // Runs of Restart are Heun's up to 19 steps.
        let steps = if sampler == Sampler::Restart { 9 } else { 40 };
        let (coarse, fine) =
            (error(sampler, steps, solver_order), error(sampler, 2 * steps, solver_order));
        let gain = coarse / fine;
        // With noise the best image stays the same on the way, so some have nothing to learn from
        // smaller steps: what is left is the rounding of f32.
        let solved = coarse < 5e-6 && fine < 5e-6;
        let what = format!("{sampler} {solver_order:?}: {coarse:.2e} {fine:.2e}, gain {gain:.2}");
        println!("{what}");
        if !(gain > least || solved) {
            slow.push(what);
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}

/// UniPC's error is so small here that it passes through zero, and a ratio says nothing.
#[test]
fn the_corrector_of_unipc_gains_on_its_predictor() {
    for steps in [40, 80] {
        let (unipc, multistep) =
            (error(Sampler::UniPc, steps, None), error(Sampler::Dpmpp2m, steps, None));
        assert!(5.0 * unipc < multistep, "{steps} steps: {unipc:.2e} and {multistep:.2e}");
    }
}
