//! Each kernel on each instruction set against the plain version in f64, on random shapes.

#![allow(clippy::unwrap_used, clippy::panic)]

use burn::tensor::{
    DType, Device, Tensor, TensorData, activation, module,
    ops::{AttentionModuleOptions, ConvOptions},
};
use proptest::prelude::*;

use super::{
    Affine, Finish, Precision, StoredConvolution, StoredLinear,
    attention::{self, AttentionSize, Rows},
    convolution::{self, Convolution, Method},
    elementwise, flex,
    gemm::{self, Epilogue, Factor},
    norm::{self, GroupNormalisation},
    simd::{self, Level},
    stored::Stored,
    tensors,
    winograd::{Additions, MapSize, Tiles},
};
use crate::{conv::Kernel, feature_map, resample::nearest, stored_tensor::StoredTensor};

/// Values between -1 and 1.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        })
        .collect()
}

/// The types in which weights are stored.
const TYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

fn any_type() -> impl Strategy<Value = DType> {
    prop_oneof![Just(TYPES[0]), Just(TYPES[1]), Just(TYPES[2])]
}

/// Values as they are stored, and what they are then.
fn stored<const D: usize>(
    values: &[f32],
    shape: [usize; D],
    dtype: DType,
) -> (StoredTensor, Vec<f32>) {
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(dtype);
    let values = data.clone().convert::<f32>().try_to_vec::<f32>().unwrap();
    (StoredTensor::from(data), values)
}

/// The values that a precision has for others.
fn rounded(values: &[f32], precision: Precision) -> Vec<f32> {
    match precision {
        Precision::F32 => values.to_vec(),
        Precision::Bf16 => values
            .iter()
            .map(|&value| f32::from_bits(u32::from(simd::to_bf16(value)) << 16))
            .collect(),
    }
}

fn any_precision() -> impl Strategy<Value = Precision> {
    prop_oneof![Just(Precision::F32), Just(Precision::Bf16)]
}

fn f32s<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

/// The same in f64, which no kernel takes.
fn f64s<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().convert::<f64>().try_to_vec::<f64>().unwrap()
}

/// Values of a feature map, channels last.
fn pixels(x: Tensor<4>) -> Vec<f64> {
    values(x.permute([0, 2, 3, 1]))
}

/// A feature map from values that are channels last.
fn map64(values: &[f32], size: MapSize) -> Tensor<4> {
    f64s(values, [size.batch, size.height, size.width, size.channels]).permute([0, 3, 1, 2])
}

fn map32(values: &[f32], size: MapSize) -> Tensor<4> {
    flex::give(flex::map(values.to_vec(), size))
}

#[track_caller]
fn close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    close_beside(1e-3, what, actual, expected, tolerance);
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// As `close`, where `least` is the size of what a sum cancels: of few numbers all may come out near 0, while the
/// error of their parts stays what it is.
fn close_beside(least: f64, what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = largest(expected.iter().copied()).max(least);
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let difference = (f64::from(actual) - expected).abs() / largest;
        assert!(
            difference <= tolerance,
            "{what}: {actual} for {expected} at {index}, {difference:e} of the largest"
        );
    }
}

fn apply<const D: usize>(finish: Finish, x: Tensor<D>) -> Tensor<D> {
    match finish {
        Finish::Keep => x,
        Finish::Silu => x.clone() * activation::sigmoid(x),
        Finish::Gelu => activation::gelu(x),
        Finish::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
        Finish::Relu => activation::relu(x),
    }
}

fn any_finish() -> impl Strategy<Value = Finish> {
    prop_oneof![Just(Finish::Keep), Just(Finish::Silu), Just(Finish::Gelu), Just(Finish::QuickGelu)]
}

fn any_size(channels: impl Strategy<Value = usize>) -> impl Strategy<Value = MapSize> {
    (1..=2_usize, 1..=13_usize, 1..=13_usize, channels)
        .prop_map(|(batch, height, width, channels)| MapSize { batch, height, width, channels })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 24 }, ..ProptestConfig::default() })]

    #[test]
    fn products(
        rows in 1..40_usize,
        inner in prop_oneof![1..70_usize, Just(600), Just(1024)],
        columns in 1..70_usize,
        finish in any_finish(),
        precision in any_precision(),
        dtype in any_type(),
        seed: u64,
    ) {
        let x = rounded(&numbers(rows * inner, seed), precision);
        let (tensor, weight) = stored(&numbers(columns * inner, seed ^ 1), [columns, inner], dtype);
        let weight = rounded(&weight, precision);
        let bias = numbers(columns, seed ^ 2);
        let residual = numbers(rows * columns, seed ^ 3);
        let product = f64s(&x, [rows, inner]).matmul(f64s(&weight, [columns, inner]).transpose());
        let sum = apply(finish, product + f64s(&bias, [1, columns]));
        let expected = values(sum + f64s(&residual, [rows, columns]));
        let factor = Stored::new(&tensor, precision).unwrap();
        for level in Level::available() {
            let mut out = vec![f32::NAN; rows * columns];
            let epilogue = Epilogue { bias: Some(&bias), residual: Some(&residual), finish };
            gemm::multiply(level, &x, Factor::Stored(&factor), &mut out, epilogue);
            close(&format!("{level:?}"), &out, &expected, 2e-6);
        }
        // What is only rounded on its way to a product is kept as it is.
        prop_assert_eq!(rounded(&factor.values(), precision), weight);
    }

    #[test]
    fn convolutions(
        size in any_size(prop_oneof![Just(16_usize), Just(48), Just(80)]),
        outputs in 1..70_usize,
        dtype in any_type(),
        seed: u64,
    ) {
        let pixel_count = size.pixels();
        let x = numbers(size.len(), seed);
        let shape = [outputs, size.channels, 3, 3];
        let (tensor, weight) = stored(&numbers(outputs * size.channels * 9, seed ^ 1), shape, dtype);
        let bias = numbers(size.batch * outputs, seed ^ 2);
        let residual = numbers(pixel_count * outputs, seed ^ 3);
        let convolved = module::conv2d(
            map64(&x, size),
            f64s(&weight, shape),
            None,
            ConvOptions::new([1; 2], [1; 2], [1; 2], 1),
        );
        let shifted = convolved + f64s(&bias, [size.batch, outputs, 1, 1]);
        let result = MapSize { channels: outputs, ..size };
        let expected = pixels(shifted + map64(&residual, result));
        let factor = Stored::new(&tensor, Precision::F32).unwrap();
        for level in Level::available() {
            for (method, tolerance) in [
                (Method::Direct, 2e-6),
                (Method::Winograd(Tiles::Two), 2e-6),
                (Method::Winograd(Tiles::Four), 1e-5),
            ] {
                let mut out = vec![f32::NAN; result.len()];
                let additions =
                    Additions { bias: &bias, bias_batch: size.batch, residual: Some(&residual) };
                let convolution = Convolution {
                    x: &x, size, kernel: Kernel::THREE, weight: &factor, additions,
                };
                convolution::convolve(level, method, convolution, &mut out);
                close(&format!("{level:?} {method:?}"), &out, &expected, tolerance);
            }
        }
    }

    /// Other kernels, and channels that no vector divides.
    #[test]
    fn gathered_convolutions(
        size in any_size(1..20_usize),
        outputs in 1..40_usize,
        kernel in prop_oneof![
            Just(Kernel::ONE), Just(Kernel::THREE), Just(Kernel::HALVE),
            Just(Kernel::HALVE_BOTTOM_RIGHT),
        ],
        precision in any_precision(),
        dtype in any_type(),
        seed: u64,
    ) {
        prop_assume!(kernel.padding.0 > 0 || size.height.min(size.width) > 1 || kernel.size == 1);
        let x = rounded(&numbers(size.len(), seed), precision);
        let shape = [outputs, size.channels, kernel.size, kernel.size];
        let values_given = numbers(shape.iter().product(), seed ^ 1);
        let (tensor, weight) = stored(&rounded(&values_given, precision), shape, dtype);
        let weight = rounded(&weight, precision);
        let (tensor, _) = if dtype == DType::F16 { stored(&weight, shape, dtype) } else { (tensor, vec![]) };
        let bias = numbers(outputs, seed ^ 2);
        let mut options = ConvOptions::new([kernel.stride; 2], [0; 2], [1; 2], 1);
        options.padding = [kernel.padding; 2];
        let expected = module::conv2d(
            map64(&x, size),
            f64s(&weight, shape),
            Some(f64s(&bias, [outputs])),
            options,
        );
        let bias = Some(f32s(&bias, [outputs]));
        let layer = StoredConvolution::new(&tensor, bias.as_ref(), kernel, precision).unwrap();
        let actual = layer.forward(map32(&x, size), None, None).unwrap();
        prop_assert_eq!(actual.dims(), expected.dims());
        let actual: Vec<f32> = pixels(actual).into_iter().map(|value| value as f32).collect();
        close("convolution", &actual, &pixels(expected), 2e-6);
        let (plain, _) = layer.plain();
        let stored: Vec<f64> = weight.iter().map(|&value| f64::from(value)).collect();
        prop_assert_eq!(values(plain), stored);
    }

    #[test]
    fn group_norms(
        size in any_size(prop_oneof![Just(6_usize), Just(30), Just(64), Just(300)]),
        groups in prop_oneof![Just(1_usize), Just(2), Just(3), Just(6)],
        offset in prop_oneof![Just(0.0_f32), Just(5.0)],
        finish in any_finish(),
        seed: u64,
    ) {
        prop_assume!(size.channels.is_multiple_of(groups));
        let x: Vec<f32> = numbers(size.len(), seed).iter().map(|x| x + offset).collect();
        let weight = numbers(size.channels, seed ^ 1);
        let bias = numbers(size.channels, seed ^ 2);
        let MapSize { batch, height, width, channels } = size;
        let grouped = map64(&x, size).reshape([batch, groups, channels / groups * height * width]);
        let centred = grouped.clone() - grouped.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let normalised = (centred / (variance + 1e-5).sqrt()).reshape([batch, channels, height, width]);
        let scaled = normalised * f64s(&weight, [1, channels, 1, 1]) + f64s(&bias, [1, channels, 1, 1]);
        let expected = pixels(apply(finish, scaled));
        for level in Level::available() {
            let norm =
                GroupNormalisation { groups, epsilon: 1e-5, weight: &weight, bias: &bias, finish };
            let mut out = vec![f32::NAN; x.len()];
            norm::group_norm(level, x.as_ptr(), size, norm, &mut out);
            close(&format!("{level:?}"), &out, &expected, 5e-6);
            let mut place = x.clone();
            norm::group_norm(level, place.as_ptr(), size, norm, &mut place);
            prop_assert_eq!(out, place);
        }
    }

    #[test]
    fn layer_norms(rows in 1..20_usize, width in 1..70_usize, seed: u64) {
        let x = numbers(rows * width, seed);
        let weight = numbers(width, seed ^ 1);
        let bias = numbers(width, seed ^ 2);
        let expected = values(module::layer_norm(
            f64s(&x, [rows, width]), f64s(&weight, [width]), Some(f64s(&bias, [width])), 1e-5,
        ));
        for level in Level::available() {
            let mut out = vec![f32::NAN; x.len()];
            norm::layer_norm(level, &x, &weight, &bias, 1e-5, &mut out);
            close(&format!("{level:?}"), &out, &expected, 5e-6);
        }
    }

    #[test]
    fn functions(count in 1..100_usize, scale in prop_oneof![Just(1.0_f32), Just(20.0), Just(200.0)], finish in any_finish(), seed: u64) {
        let x: Vec<f32> = numbers(count, seed).iter().map(|x| x * scale).collect();
        let expected = values(apply(finish, f64s(&x, [count])));
        let inputs = largest(x.iter().map(|&x| f64::from(x)));
        for level in Level::available() {
            let mut out = vec![f32::NAN; count];
            elementwise::activate(level, finish, x.as_ptr(), &mut out);
            close_beside(inputs, &format!("{level:?}"), &out, &expected, 5e-7);
        }
    }

    #[test]
    fn gated(rows in 1..20_usize, width in 1..70_usize, seed: u64) {
        let x: Vec<f32> = numbers(rows * width * 2, seed).iter().map(|x| x * 4.0).collect();
        let whole = f64s(&x, [rows, 2 * width]);
        let (hidden, gate) = (whole.clone().narrow(1, 0, width), whole.narrow(1, width, width));
        let products = largest(values(hidden.clone() * gate.clone()));
        let expected = values(hidden * activation::gelu(gate));
        for level in Level::available() {
            let mut out = vec![f32::NAN; rows * width];
            elementwise::geglu(level, &x, width, &mut out);
            close_beside(products, &format!("{level:?}"), &out, &expected, 5e-7);
        }
    }

    #[test]
    fn attentions(
        batch in 1..=2_usize,
        heads in 1..=3_usize,
        width in prop_oneof![Just(8_usize), Just(33), Just(40), Just(64)],
        queries in 1..60_usize,
        keys in 1..100_usize,
        causal: bool,
        seed: u64,
    ) {
        let keys = if causal { queries } else { keys };
        attention_is_plain(AttentionSize { batch, heads, width, queries, keys, causal }, seed);
    }

    /// Whatever the order of their elements.
    #[test]
    fn feature_maps(size in any_size(1..40_usize), others in 1..20_usize, seed: u64) {
        let MapSize { batch, height, width, channels } = size;
        let x = numbers(size.len(), seed);
        let y = numbers(size.len(), seed ^ 1);
        let z = MapSize { channels: others, ..size };
        let z_values = numbers(z.len(), seed ^ 2);
        for usual in [false, true] {
            let order = |x: Tensor<4>| {
                if usual { x.clone().reshape(x.dims()) + 0.0 } else { x }
            };
            let [x32, y32] = [&x, &y].map(|values| order(map32(values, size)));
            let [x64, y64] = [&x, &y].map(|values| map64(values, size));
            let sum = feature_map::add(x32.clone(), map32(&y, size));
            prop_assert_eq!(pixels(sum), pixels(x64.clone().cast(DType::F32) + y64.cast(DType::F32)));
            let beside = feature_map::cat(y32, map32(&z_values, z));
            let expected = Tensor::cat(vec![map64(&y, size), map64(&z_values, z)], 1);
            prop_assert_eq!(pixels(beside), pixels(expected));
            let tokens = feature_map::to_tokens(x32.clone());
            prop_assert_eq!(values(tokens.clone()), pixels(x64.clone()));
            let again = feature_map::from_tokens(tokens, [height, width]);
            prop_assert_eq!(again.dims(), [batch, channels, height, width]);
            prop_assert_eq!(values(again), values(x64.clone()));
            let to = [2 * height, 2 * width - 1];
            prop_assert_eq!(
                values(nearest(x32, to)),
                values(nearest(x64, to))
            );
        }
    }
}

/// What [`attention::attend`] gives at each level is what burn computes in f64.
fn attention_is_plain(size: AttentionSize, seed: u64) {
    let AttentionSize { batch, heads, width, queries, keys, causal } = size;
    let channels = heads * width;
    let [query, key, value] = [(queries, 1), (keys, 2), (keys, 3)]
        .map(|(rows, part)| numbers(batch * rows * channels, seed ^ part));
    let split = |x: &[f32], rows| f64s(x, [batch, rows, heads, width]).swap_dims(1, 2);
    let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: causal };
    let expected = values(
        module::attention(
            split(&query, queries),
            split(&key, keys),
            split(&value, keys),
            None,
            None,
            options,
        )
        .swap_dims(1, 2),
    );
    for level in Level::available() {
        let mut out = vec![f32::NAN; batch * queries * channels];
        let [query, key, value] =
            [&query, &key, &value].map(|data| Rows { data, stride: channels });
        attention::attend(level, size, query, key, value, &mut out);
        close(&format!("{level:?}"), &out, &expected, 2e-6);
    }
}

/// So many that they are gone through in parts.
#[test]
fn attentions_with_many_keys() {
    let (queries, keys) = (200, 4700);
    let size = AttentionSize { batch: 1, heads: 1, width: 33, queries, keys, causal: false };
    attention_is_plain(size, 7);
}

/// A result is written in the place of its input only where nobody else holds it.
#[test]
fn shared_tensors_stay_as_they_are() {
    let size = MapSize { batch: 1, height: 3, width: 3, channels: 4 };
    let x = numbers(size.len(), 1);
    let affine = Affine::new(&f32s(&[1.0; 4], [4]), &f32s(&[0.0; 4], [4])).unwrap();
    let held = map32(&x, size);
    let before = values(held.clone());
    affine.group_norm(held.clone(), 2, 1e-5, Finish::Silu).unwrap();
    tensors::activate(held.clone(), Finish::Silu).unwrap();
    let part = held.clone().narrow(3, 0, 2);
    tensors::add(part.clone(), part).unwrap();
    tensors::add(held.clone(), held.clone()).unwrap();
    assert_eq!(values(held), before);
}

#[test]
fn other_types_are_given_back() {
    let x = f64s(&[1.0, 2.0], [1, 2]);
    assert!(tensors::activate(x.clone(), Finish::Silu).is_err());
    let wide = StoredTensor::from(TensorData::new(vec![1.0_f64, 2.0], [1, 2]));
    assert!(StoredLinear::new(&wide, None, Precision::F32).is_none());
    let (weight, _) = stored(&[1.0, 2.0], [1, 2], DType::F32);
    let layer = StoredLinear::new(&weight, None, Precision::F32).unwrap();
    assert!(layer.forward(x, Finish::Keep, None).is_err());
}

/// Sums of many channels, as full-size networks have them.
#[test]
#[cfg_attr(miri, ignore)]
fn many_channels() {
    let size = MapSize { batch: 1, height: 8, width: 8, channels: 1280 };
    let x = numbers(size.len(), 1);
    let weight = numbers(32 * size.channels * 9, 2);
    let bias = vec![0.0; 32];
    let expected = pixels(module::conv2d(
        map64(&x, size),
        f64s(&weight, [32, size.channels, 3, 3]),
        None,
        ConvOptions::new([1; 2], [1; 2], [1; 2], 1),
    ));
    let (tensor, _) = stored(&weight, [32, size.channels, 3, 3], DType::F32);
    let factor = Stored::new(&tensor, Precision::F32).unwrap();
    for (tiles, tolerance) in [(Tiles::Two, 3e-6), (Tiles::Four, 1e-5)] {
        let mut out = vec![f32::NAN; expected.len()];
        let additions = Additions { bias: &bias, bias_batch: 1, residual: None };
        let convolution =
            Convolution { x: &x, size, kernel: Kernel::THREE, weight: &factor, additions };
        convolution::convolve(Level::best(), Method::Winograd(tiles), convolution, &mut out);
        close(&format!("{tiles:?}"), &out, &expected, tolerance);
    }
}

/// Every f16 as f32, through a weight with as many columns.
///
/// Subnormals, infinities and what is no number are among them.
#[test]
fn every_f16_is_widened() {
    let step = if cfg!(miri) { 251 } else { 1 };
    let halves: Vec<u8> = (0..=u16::MAX).step_by(step).flat_map(u16::to_le_bytes).collect();
    let rows = 1 << 5;
    let halves = &halves[..halves.len() / (2 * rows) * (2 * rows)];
    let inner = halves.len() / 2 / rows;
    let tensor = StoredTensor::new(
        std::sync::Arc::new(halves.to_vec()),
        0..halves.len(),
        DType::F16,
        vec![rows, inner],
    );
    let weight = Stored::new(&tensor.unwrap(), Precision::F32).unwrap();
    for level in Level::available() {
        let mut panel = vec![0.0; inner * gemm::PANEL];
        weight.widen(level, 0, 0..inner, &mut panel);
        for (index, bytes) in halves.as_chunks::<2>().0.iter().enumerate() {
            let value = panel[index % inner * gemm::PANEL + index / inner];
            let expected = half::f16::from_le_bytes(*bytes).to_f32();
            let same = value.to_bits() == expected.to_bits();
            assert!(same || value.is_nan() && expected.is_nan(), "{level:?}: {bytes:?}, {value}");
        }
    }
}
