//! Latents that are enlarged as torch does it, and mixed as A1111's soft inpainting does it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::tensor::{Device, Tensor};
use emberbrush_pipeline::{
    diffusion::SoftInpainting,
    editing::{LatentInterpolation, upscale_latents},
};
use emberbrush_tests::{Golden, assert_close};

/// Largest allowed `max|Δ| / max|golden|`: some sums of f32.
const TOLERANCE: f32 = 2e-6;

fn golden() -> Golden {
    Golden::open("editing", &Device::flex())
}

#[test]
fn latents_are_enlarged_as_torch_does_it() {
    let golden = golden();
    let latents: Tensor<4> = golden.tensor("latents");
    let ways = [
        ("nearest", LatentInterpolation::Nearest),
        ("nearest-exact", LatentInterpolation::NearestExact),
        ("bilinear", LatentInterpolation::Bilinear { antialias: false }),
        ("bilinear-antialias", LatentInterpolation::Bilinear { antialias: true }),
        ("bicubic", LatentInterpolation::Bicubic { antialias: false }),
        ("bicubic-antialias", LatentInterpolation::Bicubic { antialias: true }),
    ];
    for (name, interpolation) in ways {
        for size in [(14, 9), (18, 12), (31, 6), (5, 4)] {
            let key = format!("{name}.{}x{}", size.0, size.1);
            let enlarged = upscale_latents(latents.clone(), size, interpolation).unwrap();
            assert_close(&key, &enlarged, &golden.tensor(&key), TOLERANCE);
        }
    }
}

#[test]
fn soft_inpainting_mixes_latents_as_a1111_does() {
    let golden = golden();
    let tensor = |key: &str| golden.tensor::<4>(&format!("soft.{key}"));
    let (known, predicted, mask) = (tensor("known"), tensor("predicted"), tensor("mask"));
    for sigma in [14.6146, 2.0, 0.3] {
        for (bias, strength, boost) in [(1.0, 0.5, 4.0), (2.0, 1.5, 1.0), (0.5, 0.25, 32.0)] {
            let soft = SoftInpainting {
                schedule_bias: bias,
                preservation_strength: strength,
                transition_contrast_boost: boost,
            };
            let case = format!("{sigma:?}.{bias}.{strength}.{boost}");
            let weight = soft.weight(mask.clone(), sigma);
            assert_close(&case, &weight, &tensor(&format!("{case}.weight")), TOLERANCE * 10.0);
            let blend = soft.blend(known.clone(), predicted.clone(), weight);
            assert_close(&case, &blend, &tensor(&format!("{case}.blend")), TOLERANCE * 100.0);
        }
    }
}
