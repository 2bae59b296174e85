//! Kernels against loops that say what is meant, on so few numbers that an interpreter (Miri) comes to their end.

#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, TensorData};

use super::{
    Finish, Precision,
    attention::{self, AttentionSize, Rows},
    convolution::{self, Convolution, Method},
    gemm::{self, Epilogue, Factor},
    norm::{self, GroupNormalisation},
    simd::Level,
    stored::Stored,
    winograd::{Additions, MapSize, Tiles},
};
use crate::{conv::Kernel, stored_tensor::StoredTensor};

/// Values between -1 and 1.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| (((index + 1) * (2 * seed + 7)) as f32 * 0.737).sin()).collect()
}

fn stored<const D: usize>(values: &[f32], shape: [usize; D]) -> Stored {
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(DType::F32);
    Stored::new(&StoredTensor::from(data), Precision::F32).unwrap()
}

#[track_caller]
fn close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let difference = (f64::from(actual) - expected).abs();
        assert!(difference <= tolerance, "{what}: {actual} for {expected} at {index}");
    }
}

fn dot(x: impl Iterator<Item = f32>, y: impl Iterator<Item = f32>) -> f64 {
    x.zip(y).map(|(x, y)| f64::from(x) * f64::from(y)).sum()
}

#[test]
fn products_by_definition() {
    for (rows, inner, columns) in [(1, 1, 1), (5, 7, 33), (9, 3, 4)] {
        let (x, weight) = (numbers(rows * inner, 1), numbers(columns * inner, 2));
        let (bias, residual) = (numbers(columns, 3), numbers(rows * columns, 4));
        let expected: Vec<f64> = (0..rows * columns)
            .map(|index| {
                let (row, column) = (index / columns, index % columns);
                let x = x[row * inner..][..inner].iter().copied();
                let sum = dot(x, weight[column * inner..][..inner].iter().copied());
                sum + f64::from(bias[column]) + f64::from(residual[index])
            })
            .collect();
        let factor = stored(&weight, [columns, inner]);
        for level in Level::available() {
            let mut out = vec![f32::NAN; rows * columns];
            let epilogue =
                Epilogue { bias: Some(&bias), residual: Some(&residual), finish: Finish::Keep };
            gemm::multiply(level, &x, Factor::Stored(&factor), &mut out, epilogue);
            close(&format!("{level:?}"), &out, &expected, 1e-5);
        }
    }
}

#[test]
fn convolutions_by_definition() {
    let size = MapSize { batch: 1, height: 3, width: 5, channels: 16 };
    let outputs = 3;
    let x = numbers(size.len(), 1);
    let weight = numbers(outputs * size.channels * 9, 2);
    let bias = numbers(outputs, 3);
    let at = |row: usize, column: usize, channel: usize| {
        x[(row * size.width + column) * size.channels + channel]
    };
    let mut expected = Vec::new();
    for row in 0..size.height {
        for column in 0..size.width {
            for output in 0..outputs {
                let mut sum = f64::from(bias[output]);
                for (channel, tap) in
                    (0..size.channels).flat_map(|c| (0..9).map(move |tap| (c, tap)))
                {
                    let (y, x) = (row + tap / 3, column + tap % 3);
                    let inside = (1..=size.height).contains(&y) && (1..=size.width).contains(&x);
                    let weight = weight[(output * size.channels + channel) * 9 + tap];
                    let pixel = if inside { at(y - 1, x - 1, channel) } else { 0.0 };
                    sum += f64::from(weight) * f64::from(pixel);
                }
                expected.push(sum);
            }
        }
    }
    let factor = stored(&weight, [outputs, size.channels, 3, 3]);
    for level in Level::available() {
        for method in [Method::Direct, Method::Winograd(Tiles::Two), Method::Winograd(Tiles::Four)]
        {
            let mut out = vec![f32::NAN; size.pixels() * outputs];
            let additions = Additions { bias: &bias, bias_batch: 1, residual: None };
            let convolution =
                Convolution { x: &x, size, kernel: Kernel::THREE, weight: &factor, additions };
            convolution::convolve(level, method, convolution, &mut out);
            close(&format!("{level:?} {method:?}"), &out, &expected, 5e-5);
        }
    }
}

#[test]
fn group_norms_by_definition() {
    let size = MapSize { batch: 2, height: 2, width: 3, channels: 6 };
    let groups = 2;
    let x = numbers(size.len(), 1);
    let (weight, bias) = (numbers(size.channels, 2), numbers(size.channels, 3));
    let members = |index: usize| {
        let (batch, group) = (index / (size.len() / size.batch), index % size.channels / 3);
        let x = &x;
        (0..size.len()).filter_map(move |other| {
            let same = other / (size.len() / size.batch) == batch;
            (same && other % size.channels / 3 == group).then(|| f64::from(x[other]))
        })
    };
    let expected: Vec<f64> = (0..size.len())
        .map(|index| {
            let count = members(index).count() as f64;
            let mean = members(index).sum::<f64>() / count;
            let variance = members(index).map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let channel = index % size.channels;
            let normalised = (f64::from(x[index]) - mean) / (variance + 1e-5).sqrt();
            normalised * f64::from(weight[channel]) + f64::from(bias[channel])
        })
        .collect();
    for level in Level::available() {
        let finish = Finish::Keep;
        let norm =
            GroupNormalisation { groups, epsilon: 1e-5, weight: &weight, bias: &bias, finish };
        let mut out = vec![f32::NAN; x.len()];
        norm::group_norm(level, x.as_ptr(), size, norm, &mut out);
        close(&format!("{level:?}"), &out, &expected, 2e-5);
    }
}

/// Once with all keys at once, once in parts.
#[test]
fn attentions_by_definition() {
    let many = if cfg!(miri) { 40 } else { 4100 };
    let cases = [(3, 5, 3, false), (4, 4, 2, true), (2, many, 1, false), (many, many, 1, true)];
    for (queries, keys, width, causal) in cases {
        let size = AttentionSize { batch: 1, heads: 2, width, queries, keys, causal };
        let channels = 2 * width;
        let [query, key, value] =
            [(queries, 1), (keys, 2), (keys, 3)].map(|(rows, seed)| numbers(rows * channels, seed));
        // Later keys are larger, so that the largest score is found late.
        let larger = |(index, key): (usize, f32)| key * (1 + 8 * index / (keys * channels)) as f32;
        let key: Vec<f32> = key.into_iter().enumerate().map(larger).collect();
        let row = |x: &[f32], row: usize, head: usize| {
            x[row * channels + head * width..][..width].to_vec()
        };
        let mut expected = vec![0.0; queries * channels];
        for (at, head) in (0..queries).flat_map(|at| [(at, 0), (at, 1)]) {
            let seen = if causal { at + 1 } else { keys };
            let scores: Vec<f64> = (0..seen)
                .map(|other| {
                    let product =
                        dot(row(&query, at, head).into_iter(), row(&key, other, head).into_iter());
                    (product / (width as f64).sqrt()).exp()
                })
                .collect();
            let sum: f64 = scores.iter().sum();
            for (other, score) in scores.iter().enumerate() {
                for (channel, value) in row(&value, other, head).into_iter().enumerate() {
                    expected[at * channels + head * width + channel] +=
                        score / sum * f64::from(value);
                }
            }
        }
        for level in Level::available() {
            let mut out = vec![f32::NAN; queries * channels];
            let [query, key, value] =
                [&query, &key, &value].map(|data| Rows { data, stride: channels });
            attention::attend(level, size, query, key, value, &mut out);
            close(&format!("{level:?}"), &out, &expected, 1e-5);
        }
    }
}
