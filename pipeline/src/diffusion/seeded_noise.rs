//! The noise of one image, from its seeds.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::NoiseSource;
use crate::{request::GenerationRequest, rng::NoiseGenerator};

/// The noise of one image. The first noise of a run may be mixed with that of another seed.
#[derive(Debug, Clone)]
pub struct SeededNoise {
    request: GenerationRequest,
    generator: NoiseGenerator,
    device: Device,
}

impl SeededNoise {
    /// The noise of image `index` of a request, counted from 0.
    pub fn new(request: &GenerationRequest, index: u32, device: &Device) -> Self {
        let request = request.image(index);
        let generator = NoiseGenerator::new(request.rng, request.seed);
        Self { request, generator, device: device.clone() }
    }
}

impl NoiseSource for SeededNoise {
    fn next(&mut self, shape: [usize; 4]) -> Tensor<4> {
        self.generator.normal(shape, &self.device)
    }

    fn initial(&mut self, shape: [usize; 4]) -> Tensor<4> {
        let noise = self.generator.normal_values(shape);
        let options = &self.request.conditioning;
        let values = if options.varies() {
            let mut generator = NoiseGenerator::new(self.request.rng, options.variation_seed);
            let variation = generator.normal_values(shape);
            slerp(&noise, &variation, options.variation_strength, shape)
        } else {
            noise
        };
        Tensor::from_data(TensorData::new(values, shape), (&self.device, DType::F32))
    }

    fn restart(&mut self) {
        self.generator = NoiseGenerator::new(self.request.rng, self.request.seed);
    }
}

/// Goes on a great circle from one noise to another, as A1111 does (`modules/rng.py`, `slerp`):
/// there each column of each channel is a vector, and vectors that are alike are mixed the other
/// way round.
fn slerp(
    from: &[f32],
    to: &[f32],
    share: f64,
    [images, channels, height, width]: [usize; 4],
) -> Vec<f32> {
    let place = |plane: usize, row: usize, column: usize| (plane * height + row) * width + column;
    let column_sum = |plane: usize, column: usize, one: &[f32], other: &[f32]| -> f64 {
        (0..height)
            .map(|row| place(plane, row, column))
            .map(|place| f64::from(one[place]) * f64::from(other[place]))
            .sum()
    };
    let planes = images * channels;
    let columns = (0..planes).flat_map(|plane| (0..width).map(move |column| (plane, column)));
    let dots: Vec<f64> = columns
        .map(|(plane, column)| {
            let sum = |one: &[f32], other: &[f32]| column_sum(plane, column, one, other);
            sum(from, to) / (sum(from, from).sqrt() * sum(to, to).sqrt())
        })
        .collect();
    let mean = dots.iter().sum::<f64>() / dots.len().max(1) as f64;
    let weights = |plane: usize, column: usize| {
        if mean > 0.9995 {
            return (share, 1.0 - share);
        }
        let angle = dots[plane * width + column].clamp(-1.0, 1.0).acos();
        (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin())
    };
    let mut mixed = vec![0.0; from.len()];
    for plane in 0..planes {
        for column in 0..width {
            let (first, second) = weights(plane, column);
            for row in 0..height {
                let place = place(plane, row, column);
                mixed[place] =
                    (first * f64::from(from[place]) + second * f64::from(to[place])) as f32;
            }
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_vectors() {
        // Two columns at right angles to their partners: sine and cosine of a third of 90°.
        let (from, to) = ([1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 1.0, 0.0]);
        let third = slerp(&from, &to, 1.0 / 3.0, [1, 1, 2, 2]);
        let (cosine, sine) = (3.0_f32.sqrt() / 2.0, 0.5);
        let expected = [cosine, 3.0 * sine, sine, 2.0 * cosine];
        for (found, expected) in third.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{third:?}");
        }
        assert_eq!(slerp(&from, &from, 0.25, [1, 1, 2, 2]), from);
    }
}
