//! Normalisation, channels last.

use rayon::prelude::*;

use super::{
    Finish,
    buffer::Shared,
    math,
    simd::{Level, Simd, Task},
    winograd::MapSize,
};

/// Pixels whose sums are kept in f32 before they are added up in f64.
const PIXELS: usize = 64;

/// Channels whose sums are kept at once.
const CHANNELS: usize = 256;

/// Group normalisation with what follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupNormalisation<'a> {
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
    pub(crate) finish: Finish,
}

/// `out = finish(normalised x)`; `x` and `out` may be the same place.
pub(crate) fn group_norm(
    level: Level,
    x: *const f32,
    size: MapSize,
    norm: GroupNormalisation<'_>,
    out: &mut [f32],
) {
    let channels = size.channels;
    let pixels = size.height * size.width;
    assert!(out.len() == size.len());
    assert!(norm.weight.len() == channels && norm.bias.len() == channels);
    assert!(norm.groups > 0 && channels.is_multiple_of(norm.groups));
    let out = Shared::new(out);
    let x = Input { x, out };
    let chunks = pixels.div_ceil(PIXELS);
    for sample in 0..size.batch {
        let start = sample * pixels * channels;
        // SAFETY: as many elements as `out` has.
        let first = unsafe { x.at(start) };
        let moments = (0..chunks)
            .into_par_iter()
            .fold(
                || vec![[0.0_f64; 2]; channels],
                |mut moments, chunk| {
                    let begin = chunk * PIXELS;
                    // SAFETY: pixels of this sample, which are only read now.
                    level.run(unsafe {
                        Moments {
                            origin: x.at(start),
                            x: x.at(start + begin * channels),
                            pixels: PIXELS.min(pixels - begin),
                            moments: &mut moments,
                        }
                    });
                    moments
                },
            )
            .reduce_with(|mut sums, other| {
                for (sum, other) in sums.iter_mut().zip(other) {
                    sum[0] += other[0];
                    sum[1] += other[1];
                }
                sums
            })
            .unwrap_or_default();
        // SAFETY: the first pixel of the sample.
        let origin = unsafe { std::slice::from_raw_parts(first, channels) };
        let affine = channel_affine(&moments, origin, pixels, norm);
        (0..chunks).into_par_iter().for_each(|chunk| {
            let begin = chunk * PIXELS;
            let at = start + begin * channels;
            // SAFETY: each chunk reads and writes pixels of its own.
            level.run(unsafe {
                Scale {
                    x: x.at(at),
                    out: out.at(at),
                    pixels: PIXELS.min(pixels - begin),
                    affine: &affine,
                    finish: norm.finish,
                }
            });
        });
    }
}

/// Where the input is: another place, or that of the result.
#[derive(Clone, Copy)]
struct Input<'a> {
    x: *const f32,
    out: Shared<'a>,
}

// SAFETY: as `Shared`: callers of `at` vouch for parts that do not overlap.
unsafe impl Send for Input<'_> {}
// SAFETY: as above.
unsafe impl Sync for Input<'_> {}

impl Input<'_> {
    /// # Safety
    ///
    /// As [`Shared::at`].
    unsafe fn at(self, index: usize) -> *const f32 {
        // SAFETY: as the caller vouches; through `out` where the places are the same.
        unsafe {
            if std::ptr::eq(self.x, self.out.at(0)) {
                self.out.at(index)
            } else {
                self.x.add(index)
            }
        }
    }
}

/// What is done to each channel: `(x - mean) · scale + shift`.
///
/// The mean is taken off first: where a group hardly varies, `x · scale` and `mean · scale` are far
/// larger than their difference.
struct ChannelAffine {
    mean: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// From the sums and sums of squares of the differences from `origin`.
fn channel_affine(
    moments: &[[f64; 2]],
    origin: &[f32],
    pixels: usize,
    norm: GroupNormalisation<'_>,
) -> ChannelAffine {
    let channels = moments.len();
    let width = channels / norm.groups;
    let count = pixels as f64;
    let mut affine = ChannelAffine {
        mean: Vec::with_capacity(channels),
        scale: Vec::with_capacity(channels),
        shift: Vec::with_capacity(channels),
    };
    for (group, moments) in moments.chunks_exact(width.max(1)).enumerate() {
        let channel_mean =
            |index: usize| f64::from(origin[group * width + index]) + moments[index][0] / count;
        let mean = (0..width).map(channel_mean).sum::<f64>() / width as f64;
        // Chan, Golub and LeVeque 1979: the spread within each channel and that of their means.
        let spread: f64 = moments
            .iter()
            .enumerate()
            .map(|(index, [sum, squares])| {
                let difference = channel_mean(index) - mean;
                squares - sum * sum / count + count * difference * difference
            })
            .sum();
        let variance = (spread / (count * width as f64)).max(0.0);
        let factor = (variance + norm.epsilon).sqrt().recip();
        // What f32 cannot hold of the mean goes into the shift.
        let rounding = f64::from(mean as f32) - mean;
        for index in group * width..(group + 1) * width {
            let scale = f64::from(norm.weight[index]) * factor;
            affine.mean.push(mean as f32);
            affine.scale.push(scale as f32);
            affine.shift.push((f64::from(norm.bias[index]) + rounding * scale) as f32);
        }
    }
    affine
}

/// Adds up differences from `origin`, and their squares.
struct Moments<'a> {
    origin: *const f32,
    x: *const f32,
    pixels: usize,
    moments: &'a mut [[f64; 2]],
}

impl Task for Moments<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { origin, x, pixels, moments } = self;
        let channels = moments.len();
        for first in (0..channels).step_by(CHANNELS) {
            let width = CHANNELS.min(channels - first);
            let mut sums = [0.0_f32; CHANNELS];
            let mut squares = [0.0_f32; CHANNELS];
            let mut lane = 0;
            while lane < width {
                let count = (width - lane).min(S::LANES);
                // SAFETY: `x` holds `pixels` rows of `channels`; the caller vouches for the rest.
                unsafe {
                    let origin = S::load_first(origin.add(first + lane), count);
                    let mut sum = S::splat(0.0);
                    let mut square = S::splat(0.0);
                    for pixel in 0..pixels {
                        let value = S::load_first(x.add(pixel * channels + first + lane), count);
                        let difference = S::sub(value, origin);
                        sum = S::add(sum, difference);
                        square = S::fma(difference, difference, square);
                    }
                    S::store_first(sums.as_mut_ptr().add(lane), count, sum);
                    S::store_first(squares.as_mut_ptr().add(lane), count, square);
                }
                lane += S::LANES;
            }
            for (moments, (sum, square)) in
                moments[first..first + width].iter_mut().zip(sums.iter().zip(&squares))
            {
                moments[0] += f64::from(*sum);
                moments[1] += f64::from(*square);
            }
        }
    }
}

struct Scale<'a> {
    x: *const f32,
    out: *mut f32,
    pixels: usize,
    affine: &'a ChannelAffine,
    finish: Finish,
}

impl Task for Scale<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, out, pixels, affine: ChannelAffine { mean, scale, shift }, finish } = self;
        let channels = scale.len();
        for pixel in 0..pixels {
            let mut lane = 0;
            while lane < channels {
                let count = (channels - lane).min(S::LANES);
                let at = pixel * channels + lane;
                // SAFETY: both places hold `pixels` rows; the caller vouches for the processor.
                unsafe {
                    let difference = S::sub(
                        S::load_first(x.add(at), count),
                        S::load_first(mean.as_ptr().add(lane), count),
                    );
                    let value = S::fma(
                        difference,
                        S::load_first(scale.as_ptr().add(lane), count),
                        S::load_first(shift.as_ptr().add(lane), count),
                    );
                    S::store_first(out.add(at), count, math::finish::<S>(finish, value));
                }
                lane += S::LANES;
            }
        }
    }
}

/// `out[row] = normalised x[row] · weight + bias`
pub(crate) fn layer_norm(
    level: Level,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    epsilon: f64,
    out: &mut [f32],
) {
    let width = weight.len();
    assert!(bias.len() == width && x.len() == out.len());
    if width == 0 {
        return;
    }
    out.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width)).with_min_len(8).for_each(
        |(out, x)| {
            level.run(LayerRow { x, weight, bias, epsilon: epsilon as f32, out });
        },
    );
}

struct LayerRow<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Task for LayerRow<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, weight, bias, epsilon, out } = self;
        let width = x.len();
        let whole = width / S::LANES * S::LANES;
        // SAFETY: all are of one length; the caller vouches for the processor.
        unsafe {
            let mut sum = S::splat(0.0);
            for at in (0..whole).step_by(S::LANES) {
                sum = S::add(sum, S::load(x.as_ptr().add(at)));
            }
            let mean = (S::sum(sum) + x[whole..].iter().sum::<f32>()) / width as f32;
            let mut squares = S::splat(0.0);
            for at in (0..whole).step_by(S::LANES) {
                let difference = S::sub(S::load(x.as_ptr().add(at)), S::splat(mean));
                squares = S::fma(difference, difference, squares);
            }
            let rest: f32 = x[whole..].iter().map(|x| (x - mean) * (x - mean)).sum();
            let variance = (S::sum(squares) + rest) / width as f32;
            let factor = (variance + epsilon).sqrt().recip();
            let mut at = 0;
            while at < width {
                let count = (width - at).min(S::LANES);
                let difference = S::sub(S::load_first(x.as_ptr().add(at), count), S::splat(mean));
                let value = S::fma(
                    S::mul(difference, S::splat(factor)),
                    S::load_first(weight.as_ptr().add(at), count),
                    S::load_first(bias.as_ptr().add(at), count),
                );
                S::store_first(out.as_mut_ptr().add(at), count, value);
                at += S::LANES;
            }
        }
    }
}
