//! The sinusoidal timestep embedding against diffusers.

use burn::tensor::{Device, FloatDType};
use emberbrush_tests::{Golden, values};
use emberbrush_unet::Timesteps;

#[test]
fn timestep_embedding() {
    let device = Device::flex();
    let golden = Golden::open("timestep_embedding", &device);
    let timesteps =
        values(&golden.tensor::<1>("timesteps")).into_iter().map(f64::from).collect::<Vec<_>>();
    let mut keys = golden.keys();
    keys.retain(|key| key != "timesteps");
    keys.sort();
    let cases = [
        ("dim16_flip_shift0", 16, true, 0.0),
        ("dim16_noflip_shift1", 16, false, 1.0),
        ("dim320_flip_shift0", 320, true, 0.0),
    ];
    assert_eq!(keys, cases.map(|(key, ..)| key));
    for (key, dim, flip_sin_to_cos, freq_shift) in cases {
        let embedding = Timesteps { dim, flip_sin_to_cos, freq_shift };
        let actual = values(&embedding.forward(&timesteps, &device, FloatDType::F32));
        let expected = values(&golden.tensor::<2>(key));
        assert_eq!(actual.len(), expected.len(), "{key}");
        for (row, &timestep) in timesteps.iter().enumerate() {
            // Frequencies are at most 1 and f32: their last digit moves the angle by this much.
            let tolerance = f32::EPSILON * (timestep as f32).max(1.0);
            for column in row * dim..(row + 1) * dim {
                let difference = (actual[column] - expected[column]).abs();
                assert!(difference <= tolerance, "{key} at {timestep}: {difference:e}");
            }
        }
    }
}

#[test]
fn an_odd_width_ends_with_a_zero() {
    let embedding = Timesteps { dim: 5, flip_sin_to_cos: true, freq_shift: 0.0 };
    let values = embedding.values(&[0.0, 1.0]);
    assert_eq!(values.len(), 10);
    assert_eq!(values[..5], [1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(values[9], 0.0);
}
