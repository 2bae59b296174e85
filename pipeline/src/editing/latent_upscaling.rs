//! Latents at another size, as torch's `interpolate` makes them (`aten/src/ATen/native/UpSample.h`;
//! `align_corners` false), which A1111's "Latent" upscalers call.

use burn::tensor::{DType, Tensor, TensorData};

use crate::{
    error::PipelineError,
    request::{HiresUpscaler, Upscaler},
};

/// How values between known ones are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatentInterpolation {
    /// The value at `⌊at · ratio⌋`.
    Nearest,
    /// The value at `⌊(at + 1/2) · ratio⌋`.
    NearestExact,
    /// Linear between the two nearest values each way.
    Bilinear {
        /// Whether the kernel is widened by the ratio where the picture shrinks.
        antialias: bool,
    },
    /// Keys' cubic over the four nearest values each way, with a = −0.75, or −0.5 with
    /// antialiasing.
    Bicubic {
        /// Whether the kernel is widened by the ratio where the picture shrinks.
        antialias: bool,
    },
}

impl LatentInterpolation {
    /// What an upscaler does with latents; `None` where it takes pixels.
    pub fn of(upscaler: &Upscaler) -> Option<Self> {
        let Upscaler::Interpolation(upscaler) = upscaler else { return None };
        Some(match upscaler {
            HiresUpscaler::Lanczos => return None,
            HiresUpscaler::Latent => Self::Bilinear { antialias: false },
            HiresUpscaler::LatentAntialiased => Self::Bilinear { antialias: true },
            HiresUpscaler::LatentBicubic => Self::Bicubic { antialias: false },
            HiresUpscaler::LatentBicubicAntialiased => Self::Bicubic { antialias: true },
            HiresUpscaler::LatentNearest => Self::Nearest,
            HiresUpscaler::LatentNearestExact => Self::NearestExact,
        })
    }

    /// For each of `output` positions along a side of `input` values: which of them count, and by
    /// how much. The weights of a position add up to 1.
    fn kernels(self, input: usize, output: usize) -> Vec<Vec<(usize, f32)>> {
        let ratio = input as f64 / output as f64;
        let last = input as i64 - 1;
        let clamped = |at: i64| at.clamp(0, last) as usize;
        (0..output)
            .map(|position| {
                let centre = (position as f64 + 0.5) * ratio;
                match self {
                    Self::Nearest => vec![(clamped((position as f64 * ratio) as i64), 1.0)],
                    Self::NearestExact => vec![(clamped(centre as i64), 1.0)],
                    Self::Bilinear { antialias: false } => {
                        let at = (centre - 0.5).max(0.0);
                        let part = (at - at.floor()) as f32;
                        let first = at.floor() as i64;
                        vec![(clamped(first), 1.0 - part), (clamped(first + 1), part)]
                    }
                    Self::Bicubic { antialias: false } => {
                        let at = centre - 0.5;
                        let first = at.floor() as i64 - 1;
                        (first..first + 4)
                            .map(|near| (clamped(near), cubic(at - near as f64, -0.75) as f32))
                            .collect()
                    }
                    Self::Bilinear { antialias: true } => {
                        widened(centre, ratio, last, 1.0, |x| (1.0 - x.abs()).max(0.0))
                    }
                    Self::Bicubic { antialias: true } => {
                        widened(centre, ratio, last, 2.0, |x| cubic(x, -0.5))
                    }
                }
            })
            .collect()
    }
}

/// The values within `support` times the ratio of `centre`, by a kernel that is as much wider. What
/// lies beyond the edges is left out, and the rest counts for more.
fn widened(
    centre: f64,
    ratio: f64,
    last: i64,
    support: f64,
    kernel: impl Fn(f64) -> f64,
) -> Vec<(usize, f32)> {
    let scale = ratio.max(1.0);
    let first = ((centre - support * scale + 0.5) as i64).max(0);
    let end = ((centre + support * scale + 0.5) as i64).min(last + 1);
    let weights: Vec<(usize, f64)> =
        (first..end).map(|at| (at as usize, kernel((at as f64 - centre + 0.5) / scale))).collect();
    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
    weights.into_iter().map(|(at, weight)| (at, (weight / sum) as f32)).collect()
}

/// Keys, "Cubic convolution interpolation for digital image processing", 1981, equation 15 with
/// its free parameter.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

/// Latents at another size, on their device and in f32.
///
/// # Shapes
///
/// - latents: `[batch, channels, height, width]`
/// - size: the new width and height, each from 1
/// - output: `[batch, channels, size.1, size.0]`
///
/// # Errors
///
/// [`PipelineError::NotANumber`] where the device does not give the latents back.
pub fn upscale_latents(
    latents: Tensor<4>,
    size: (usize, usize),
    interpolation: LatentInterpolation,
) -> Result<Tensor<4>, PipelineError> {
    let [batch, channels, height, width] = latents.dims();
    let device = latents.device();
    let values = latents
        .to_data()
        .convert_dtype(DType::F32)
        .try_to_vec::<f32>()
        .map_err(|_| PipelineError::NotANumber)?;
    let columns = interpolation.kernels(width, size.0);
    let rows = interpolation.kernels(height, size.1);
    let mut output = Vec::with_capacity(batch * channels * size.0 * size.1);
    for plane in values.chunks_exact(height * width) {
        let narrow: Vec<f32> = plane
            .chunks_exact(width)
            .flat_map(|line| columns.iter().map(|kernel| weighted(kernel, |at| line[at])))
            .collect();
        for kernel in &rows {
            output.extend(
                (0..size.0).map(|column| weighted(kernel, |row| narrow[row * size.0 + column])),
            );
        }
    }
    let data = TensorData::new(output, [batch, channels, size.1, size.0]);
    Ok(Tensor::from_data(data, (&device, DType::F32)))
}

fn weighted(kernel: &[(usize, f32)], value: impl Fn(usize) -> f32) -> f32 {
    kernel.iter().map(|&(at, weight)| weight * value(at)).sum()
}
