//! The random numbers of torch's CPU generator and of A1111's "NV" source.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::tensor::Device;
use emberbrush_pipeline::rng::{
    NoiseGenerator, RngSource, philox::PhiloxGenerator, torch::TorchGenerator,
};
use emberbrush_tests::{Golden, fixtures, values};
use serde::Deserialize;

/// torch's vector instructions round logarithm and cosine less exactly than we do: largest
/// allowed difference of a normal number of a large draw, itself below 6.
const VECTOR_TOLERANCE: f32 = 1e-6;

fn numbers(goldens: &Golden, key: &str) -> Vec<f32> {
    goldens.data(key).try_to_vec::<f32>().expect("f32")
}

#[track_caller]
fn assert_near(what: &str, actual: &[f32], golden: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), golden.len(), "{what}");
    for (index, (actual, golden)) in actual.iter().zip(golden).enumerate() {
        let difference = (actual - golden).abs();
        assert!(difference <= tolerance, "{what} {index}: {actual} is not {golden}");
    }
}

#[test]
fn torch_numbers_of_every_golden() {
    let goldens = Golden::open("rng", &Device::flex());
    let mut checked = 0;
    for key in goldens.keys() {
        let golden = numbers(&goldens, &key);
        let parts: Vec<&str> = key.split('.').collect();
        let seed = parts[1].strip_prefix("seed").expect("seed").parse().expect("number");
        let mut generator = TorchGenerator::new(seed);
        match parts.as_slice() {
            // Bits become f32 without rounding.
            ["rand", _, _] => assert_eq!(generator.uniform(golden.len()), golden, "{key}"),
            ["randn", _, "two_draws", draw] => {
                let first = generator.normal(256);
                if *draw == "0" {
                    assert_near(&key, &first, &golden, VECTOR_TOLERANCE);
                } else {
                    assert_eq!(generator.normal(golden.len()), golden, "{key}");
                }
            }
            // Small draws are computed in f64, which leaves no room for differences.
            ["randn", _, _] if golden.len() < 16 => {
                assert_eq!(generator.normal(golden.len()), golden, "{key}");
            }
            ["randn", _, _] => {
                assert_near(&key, &generator.normal(golden.len()), &golden, VECTOR_TOLERANCE);
            }
            _ => panic!("unknown golden `{key}`"),
        }
        checked += 1;
    }
    assert_eq!(checked, 28);
}

#[test]
fn latents_are_one_draw() {
    let goldens = Golden::open("rng", &Device::flex());
    let mut generator = NoiseGenerator::new(RngSource::Torch, 42);
    let latents = generator.normal([1, 4, 8, 8], &Device::flex());
    let golden = numbers(&goldens, "randn.seed42.1x4x8x8");
    assert_near("latents", &values(&latents), &golden, VECTOR_TOLERANCE);
}

#[derive(Deserialize)]
struct PhiloxCase {
    seed: u64,
    draws: Vec<Vec<f32>>,
}

#[test]
fn philox_numbers_of_an_independent_program() {
    let text = std::fs::read_to_string(fixtures().join("goldens/philox.json")).expect("goldens");
    let cases: Vec<PhiloxCase> = serde_json::from_str(&text).expect("cases");
    assert_eq!(cases.len(), 7);
    for case in cases {
        let mut generator = PhiloxGenerator::new(case.seed);
        for (index, draw) in case.draws.iter().enumerate() {
            let what = format!("seed {} draw {index}", case.seed);
            assert_near(&what, &generator.normal(draw.len()), draw, 3e-7);
        }
    }
}
