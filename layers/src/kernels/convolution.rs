//! Convolutions over feature maps, channels last.

use rayon::prelude::*;

use super::{
    Finish, Precision,
    buffer::{Aligned, Shared},
    gemm::{self, Begin, Epilogue, Factor, PANEL, PanelProduct},
    simd::Level,
    stored::Stored,
    winograd::{self, Additions, MapSize, Tiles},
};
use crate::conv::Kernel;

/// Bytes of gathered inputs that one thread holds.
const GATHERED_BYTES: usize = 512 << 10;

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// The inputs of each output are gathered into a row and multiplied with the weight.
    Direct,
    /// By fewer multiplications.
    Winograd(Tiles),
}

impl Method {
    /// The fastest for a shape.
    pub(crate) fn fastest(size: MapSize, kernel: Kernel, outputs: usize) -> Self {
        let can = kernel == Kernel::THREE && size.channels.is_multiple_of(16) && size.channels > 0;
        if !can || outputs < PANEL / 2 {
            return Self::Direct;
        }
        let tiles =
            |side: usize| size.batch * size.height.div_ceil(side) * size.width.div_ceil(side);
        // Multiplications for each pair of channels. What it takes to transform the kernel was
        // measured, in the same unit.
        let direct = 9 * size.pixels();
        let two = 16 * tiles(2) + 130;
        let four = 36 * tiles(4) + 240;
        if direct <= two.min(four) {
            Self::Direct
        } else if two < four {
            Self::Winograd(Tiles::Two)
        } else {
            Self::Winograd(Tiles::Four)
        }
    }
}

/// The size of a convolution's result.
pub(crate) fn result_size(size: MapSize, kernel: Kernel, outputs: usize) -> MapSize {
    let side = |side: usize| {
        (side + kernel.padding.0 + kernel.padding.1).saturating_sub(kernel.size) / kernel.stride + 1
    };
    MapSize {
        batch: size.batch,
        height: side(size.height),
        width: side(size.width),
        channels: outputs,
    }
}

/// What is convolved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Convolution<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) size: MapSize,
    pub(crate) kernel: Kernel,
    /// Its inner index is `channel · taps + tap`.
    pub(crate) weight: &'a Stored,
    pub(crate) additions: Additions<'a>,
}

/// `out = convolution(x) + additions`.
pub(crate) fn convolve(
    level: Level,
    method: Method,
    convolution: Convolution<'_>,
    out: &mut [f32],
) {
    let Convolution { x, size, weight, additions, .. } = convolution;
    match method {
        Method::Winograd(tiles) => {
            winograd::convolve(level, tiles, x, size, weight, additions, out);
        }
        Method::Direct => {
            let one_bias = additions.bias_batch == 1;
            let epilogue = Epilogue {
                bias: Some(additions.bias).filter(|_| one_bias),
                residual: additions.residual,
                finish: Finish::Keep,
            };
            direct(level, convolution, epilogue, out);
            if !one_bias {
                let columns = weight.columns;
                let sample = (out.len() / size.batch.max(1)).max(1);
                out.par_chunks_exact_mut(sample)
                    .zip(additions.bias.par_chunks_exact(columns))
                    .for_each(|(sample, bias)| {
                        for pixel in sample.chunks_exact_mut(columns) {
                            pixel.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                        }
                    });
            }
        }
    }
}

fn direct(level: Level, convolution: Convolution<'_>, epilogue: Epilogue<'_>, out: &mut [f32]) {
    let Convolution { x, size, kernel, weight, .. } = convolution;
    if kernel == Kernel::ONE {
        return gemm::multiply(level, x, Factor::Stored(weight), out, epilogue);
    }
    let result = result_size(size, kernel, weight.columns);
    let inner = weight.inner;
    assert!(x.len() == size.len() && out.len() == result.len());
    assert!(inner == kernel.size * kernel.size * size.channels);
    assert!(epilogue.residual.is_none_or(|residual| residual.len() == out.len()));
    assert!(epilogue.bias.is_none_or(|bias| bias.len() == weight.columns));
    // Few convolutions of a network are computed so: none of what is gained by bf16 would show.
    let packed = weight.packed_by_taps(level, kernel.size * kernel.size);
    // See `gemm::multiply`.
    let stride = if inner.is_multiple_of(512) { inner + 16 } else { inner };
    let pixels = result.pixels();
    let block = (GATHERED_BYTES / (inner * 4)).next_multiple_of(24);
    if pixels.div_ceil(block) < 2 * rayon::current_num_threads() {
        let mut gathered = Aligned::scratch(pixels * inner);
        let place = &mut gathered.as_mut_slice()[..pixels * inner];
        place.par_chunks_exact_mut(inner).enumerate().for_each(|(pixel, row)| {
            gather(x, size, kernel, result, pixel, row);
        });
        return gemm::multiply(level, place, Factor::Packed(&packed), out, epilogue);
    }
    let columns = weight.columns;
    let out = Shared::new(out);
    (0..pixels.div_ceil(block)).into_par_iter().for_each_init(
        || Aligned::scratch(block * stride),
        |gathered, index| {
            let first = index * block;
            let rows = block.min(pixels - first);
            let places = gathered.as_mut_slice().chunks_exact_mut(stride).take(rows);
            for (index, place) in places.enumerate() {
                gather(x, size, kernel, result, first + index, &mut place[..inner]);
            }
            for panel in 0..packed.panels() {
                let column = panel * PANEL;
                let width = PANEL.min(columns - column);
                let at = first * columns + column;
                // SAFETY: the asserts above hold the sizes, and each task has rows of its own.
                level.run(unsafe {
                    PanelProduct {
                        rows,
                        inner,
                        width,
                        a: gathered.as_slice().as_ptr(),
                        a_stride: stride,
                        b: packed.panel(panel).as_ptr(),
                        precision: Precision::F32,
                        out: out.at(at),
                        out_stride: columns,
                        begin: Begin::Zero,
                        bias: epilogue.bias.map(|bias| &bias[column..column + width]),
                        residual: epilogue.residual.map(|residual| residual.as_ptr().add(at)),
                        finish: epilogue.finish,
                    }
                });
            }
        },
    );
}

/// The inputs of one output, tap by tap.
fn gather(
    x: &[f32],
    size: MapSize,
    kernel: Kernel,
    result: MapSize,
    pixel: usize,
    row: &mut [f32],
) {
    let channels = size.channels;
    let sample = pixel / (result.height * result.width);
    let top = pixel / result.width % result.height * kernel.stride;
    let left = pixel % result.width * kernel.stride;
    let mut taps = row.chunks_exact_mut(channels);
    for y in top..top + kernel.size {
        for x_place in left..left + kernel.size {
            let Some(tap) = taps.next() else { return };
            let inside = (kernel.padding.0..size.height + kernel.padding.0).contains(&y)
                && (kernel.padding.0..size.width + kernel.padding.0).contains(&x_place);
            if inside {
                let line = sample * size.height + y - kernel.padding.0;
                let start = (line * size.width + x_place - kernel.padding.0) * channels;
                tap.copy_from_slice(&x[start..start + channels]);
            } else {
                tap.fill(0.0);
            }
        }
    }
}
