//! 3×3 convolutions of stride 1 with fewer multiplications (Winograd 1980; Lavin and Gray 2016).
//!
//! A tile of m×m outputs is a product, point by point, of its (m + 2)×(m + 2) inputs and of the
//! kernel, both transformed; the sum over channels makes each point a matrix product. Kernels are
//! transformed panel by panel for each call, so that no second copy of the weights is held.

// Columns of small matrices are clearest by their number.
#![allow(clippy::needless_range_loop)]

use std::slice;

use rayon::prelude::*;

use super::{
    Finish, Precision,
    buffer::{Aligned, Shared},
    gemm::{Begin, PANEL, PanelProduct},
    minimal_filtering::{Four, Minimal, SIDE, Two},
    simd::{Level, Simd, Task},
    stored::Stored,
};

/// Bytes of transformed inputs that are held at once.
const INPUT_BYTES: usize = 12 << 20;

/// Tiles that are multiplied before their sums are transformed back.
const TILES_AT_ONCE: usize = 48;

/// Bytes of transformed kernels that are held at once: what fits a second-level cache beside the
/// inputs and sums of [`TILES_AT_ONCE`] tiles.
const KERNEL_BYTES: usize = 400 << 10;

/// Tiles from which on it pays to transform all channels' kernels once, into slower memory, and to
/// leave their sums in registers.
const MANY_TILES: usize = 3 * TILES_AT_ONCE;

/// Channels whose kernels are read at once: what fits a first-level cache.
const CHANNELS_AT_ONCE: usize = 16;

/// Which algorithm computes a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tiles {
    /// F(2×2, 3×3)
    Two,
    /// F(4×4, 3×3)
    Four,
}

/// A feature map, channels last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MapSize {
    pub(crate) batch: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl MapSize {
    pub(crate) fn pixels(&self) -> usize {
        self.batch * self.height * self.width
    }

    pub(crate) fn len(&self) -> usize {
        self.pixels() * self.channels
    }
}

/// What is added to a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Additions<'a> {
    /// One number for each output channel, or, with `bias_batch` more than 1, for each sample and
    /// output channel.
    pub(crate) bias: &'a [f32],
    pub(crate) bias_batch: usize,
    /// A feature map of the result's size.
    pub(crate) residual: Option<&'a [f32]>,
}

/// `out = convolution(x) + additions`, zeros around `x`. The weight's inner index is
/// `channel · 9 + tap`; `channels` must be a multiple of 16.
pub(crate) fn convolve(
    level: Level,
    tiles: Tiles,
    x: &[f32],
    size: MapSize,
    weight: &Stored,
    additions: Additions<'_>,
    out: &mut [f32],
) {
    let zeros = Aligned::zeros(size.channels);
    let zeros = zeros.as_slice();
    match tiles {
        Tiles::Two => Plan::<Two>::new(level, x, zeros, size, weight, additions).run(out),
        Tiles::Four => Plan::<Four>::new(level, x, zeros, size, weight, additions).run(out),
    }
}

struct Plan<'a, M> {
    level: Level,
    x: &'a [f32],
    /// A pixel outside of the map.
    zeros: &'a [f32],
    size: MapSize,
    weight: &'a Stored,
    additions: Additions<'a>,
    across: usize,
    down: usize,
    /// Elements from one tile to the next in a point's matrix.
    row: usize,
    minimal: std::marker::PhantomData<M>,
}

// By hand: a derived one would ask it of `M`.
impl<M> Clone for Plan<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M> Copy for Plan<'_, M> {}
// SAFETY: `M` is a type without values.
unsafe impl<M> Sync for Plan<'_, M> {}

impl<'a, M: Minimal> Plan<'a, M> {
    fn new(
        level: Level,
        x: &'a [f32],
        zeros: &'a [f32],
        size: MapSize,
        weight: &'a Stored,
        additions: Additions<'a>,
    ) -> Self {
        let channels = size.channels;
        assert!(channels.is_multiple_of(16) && channels > 0);
        assert!(x.len() == size.len() && zeros.len() >= channels && weight.inner == 9 * channels);
        assert!(additions.bias.len() == additions.bias_batch * weight.columns);
        assert!(additions.bias_batch == 1 || additions.bias_batch == size.batch);
        Self {
            level,
            x,
            zeros,
            size,
            weight,
            additions,
            across: size.width.div_ceil(M::OUTPUTS),
            down: size.height.div_ceil(M::OUTPUTS),
            // No multiple of a page, for rows would share lines of the first cache.
            row: if channels.is_multiple_of(512) { channels + 16 } else { channels },
            minimal: std::marker::PhantomData,
        }
    }

    fn run(self, out: &mut [f32]) {
        let columns = self.weight.columns;
        assert!(out.len() == self.size.pixels() * columns);
        assert!(self.additions.residual.is_none_or(|residual| residual.len() == out.len()));
        let points = M::POINTS * M::POINTS;
        let tiles = self.size.batch * self.down * self.across;
        let most = (INPUT_BYTES / (points * self.row * 4)).max(12);
        let blocks = tiles.div_ceil(most);
        let block = tiles.div_ceil(blocks.max(1)).next_multiple_of(12).min(tiles);
        let plane = block * self.row + 16;
        let mut transformed = Aligned::scratch(points * plane);
        let threads = rayon::current_num_threads();
        let panels = self.weight.panels();
        // Parts of the tiles beside parts of the outputs, where there are too few of the latter.
        let parts = (2 * threads).div_ceil(panels.max(1)).min(block.div_ceil(TILES_AT_ONCE)).max(1);
        let part = block.div_ceil(parts);
        let out = Shared::new(out);
        let channels = if part >= MANY_TILES {
            self.size.channels
        } else {
            let most = KERNEL_BYTES / (points * PANEL * 4);
            self.size.channels.min(most.next_multiple_of(16))
        };
        let kernel_plane = channels * PANEL + 16;
        let sums_plane =
            if channels < self.size.channels { part } else { TILES_AT_ONCE } * PANEL + 16;
        for first in (0..tiles).step_by(block.max(1)) {
            let count = block.min(tiles - first);
            let inputs = Shared::new(transformed.as_mut_slice());
            (0..count).into_par_iter().with_min_len(4).for_each(|tile| {
                // SAFETY: each tile writes rows of its own.
                self.level.run(unsafe {
                    Input { plan: self, tile: first + tile, to: inputs.at(tile * self.row), plane }
                });
            });
            (0..panels * parts).into_par_iter().for_each_init(
                || {
                    let kernels = Aligned::scratch(points * kernel_plane);
                    let taps = Aligned::scratch(CHANNELS_AT_ONCE * 9 * PANEL);
                    (kernels, taps, Aligned::scratch(points * sums_plane))
                },
                |(kernels, taps, sums), task| {
                    let begin = (task % parts) * part;
                    // SAFETY: inputs are only read now, and each task writes columns and tiles of
                    // its own.
                    self.level.run(unsafe {
                        Outputs {
                            plan: self,
                            panel: task / parts,
                            first: first + begin,
                            count: part.min(count.saturating_sub(begin)),
                            inputs: inputs.at(begin * self.row),
                            plane,
                            channels,
                            kernels: kernels.as_mut_slice().as_mut_ptr(),
                            kernel_plane,
                            taps: taps.as_mut_slice().as_mut_ptr(),
                            sums: sums.as_mut_slice().as_mut_ptr(),
                            sums_plane,
                            out,
                        }
                    });
                },
            );
        }
    }

    /// Sample, and the first row and column of a tile's outputs.
    fn place(&self, tile: usize) -> [usize; 3] {
        let in_sample = tile % (self.down * self.across);
        [
            tile / (self.down * self.across),
            in_sample / self.across * M::OUTPUTS,
            in_sample % self.across * M::OUTPUTS,
        ]
    }
}

/// Transforms one tile of the input.
struct Input<'a, M> {
    plan: Plan<'a, M>,
    tile: usize,
    to: *mut f32,
    plane: usize,
}

impl<M: Minimal> Task for Input<'_, M> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Plan { size, x, zeros, .. } = self.plan;
        let [sample, top, left] = self.plan.place(self.tile);
        let mut pixels = [[zeros.as_ptr(); SIDE]; SIDE];
        for (y, line) in pixels.iter_mut().enumerate().take(M::POINTS) {
            for (column, pixel) in line.iter_mut().enumerate().take(M::POINTS) {
                // One more than the position, so that the zeros before are no negative numbers.
                let (y, column) = (top + y, left + column);
                if (1..=size.height).contains(&y) && (1..=size.width).contains(&column) {
                    let index = (sample * size.height + y - 1) * size.width + column - 1;
                    *pixel = x[index * size.channels..].as_ptr();
                }
            }
        }
        let mut channel = 0;
        while channel < size.channels {
            // SAFETY: pixels are within `x`, and the caller vouches for processor and `to`.
            unsafe {
                let mut values = [[S::splat(0.0); SIDE]; SIDE];
                for (line, values) in pixels.iter().zip(&mut values).take(M::POINTS) {
                    for (pixel, value) in line.iter().zip(values.iter_mut()).take(M::POINTS) {
                        *value = S::load(pixel.add(channel));
                    }
                    *values = M::input::<S>(*values);
                }
                for column in 0..M::POINTS {
                    let line = M::input::<S>(std::array::from_fn(|y| values[y][column]));
                    for (y, value) in line.into_iter().enumerate().take(M::POINTS) {
                        S::store(
                            self.to.add((y * M::POINTS + column) * self.plane + channel),
                            value,
                        );
                    }
                }
            }
            channel += S::LANES;
        }
    }
}

/// Multiplies tiles with one panel of the kernels and transforms the sums back.
struct Outputs<'a, M> {
    plan: Plan<'a, M>,
    panel: usize,
    first: usize,
    count: usize,
    inputs: *const f32,
    plane: usize,
    /// Channels whose kernels are transformed at once.
    channels: usize,
    kernels: *mut f32,
    kernel_plane: usize,
    /// Kernels of a few channels before they are transformed.
    taps: *mut f32,
    sums: *mut f32,
    sums_plane: usize,
    out: Shared<'a>,
}

impl<M: Minimal> Task for Outputs<'_, M> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        if self.count == 0 {
            return;
        }
        // SAFETY: the caller vouches for processor and addresses.
        unsafe {
            let all = self.plan.size.channels;
            // Either all channels at once and a few tiles after each other, or all tiles at once.
            let tiles_at_once = if self.channels < all { self.count } else { TILES_AT_ONCE };
            let mut channel = 0;
            while channel < all {
                let channels = self.channels.min(all - channel);
                self.transform_kernels::<S>(channel, channels);
                let mut done = 0;
                while done < self.count {
                    let tiles = tiles_at_once.min(self.count - done);
                    for point in 0..M::POINTS * M::POINTS {
                        let row = point * self.plane + done * self.plan.row;
                        S::LEVEL.run(PanelProduct {
                            rows: tiles,
                            inner: channels,
                            width: PANEL,
                            a: self.inputs.add(row + channel),
                            a_stride: self.plan.row,
                            b: self.kernels.add(point * self.kernel_plane),
                            precision: Precision::F32,
                            out: self.sums.add(point * self.sums_plane),
                            out_stride: PANEL,
                            begin: if channel == 0 { Begin::Zero } else { Begin::Stored },
                            bias: None,
                            residual: None,
                            finish: Finish::Keep,
                        });
                    }
                    if channel + channels == all {
                        for tile in 0..tiles {
                            self.transform_back::<S>(self.first + done + tile, tile);
                        }
                    }
                    done += tiles;
                }
                channel += channels;
            }
        }
    }
}

impl<M: Minimal> Outputs<'_, M> {
    /// # Safety
    ///
    /// As [`Task::run`].
    #[inline(always)]
    unsafe fn transform_kernels<S: Simd>(&self, first: usize, count: usize) {
        for begin in (0..count).step_by(CHANNELS_AT_ONCE) {
            let channels = CHANNELS_AT_ONCE.min(count - begin);
            let inner = (first + begin) * 9..(first + begin + channels) * 9;
            // SAFETY: each task has taps of its own, `CHANNELS_AT_ONCE * 9 * PANEL` of them; the
            // caller vouches for the rest.
            unsafe {
                let taps = slice::from_raw_parts_mut(self.taps, CHANNELS_AT_ONCE * 9 * PANEL);
                self.plan.weight.widen(S::LEVEL, self.panel, inner, taps);
                for channel in 0..channels {
                    let mut lane = 0;
                    while lane < PANEL {
                        let at = |tap: usize| (channel * 9 + tap) * PANEL + lane;
                        let values = std::array::from_fn(|tap| S::load(self.taps.add(at(tap))));
                        self.transform_kernel::<S>(values, begin + channel, lane);
                        lane += S::LANES;
                    }
                }
            }
        }
    }

    /// Transforms the kernels of one channel, tap by tap.
    ///
    /// # Safety
    ///
    /// As [`Task::run`].
    #[inline(always)]
    unsafe fn transform_kernel<S: Simd>(&self, taps: [S::V; 9], channel: usize, lane: usize) {
        // SAFETY: as the caller vouches.
        unsafe {
            let mut lines = [[S::splat(0.0); SIDE]; 3];
            for (y, line) in lines.iter_mut().enumerate() {
                *line = M::kernel::<S>([taps[3 * y], taps[3 * y + 1], taps[3 * y + 2]]);
            }
            for column in 0..M::POINTS {
                let points = M::kernel::<S>(std::array::from_fn(|line| lines[line][column]));
                for (y, value) in points.into_iter().enumerate().take(M::POINTS) {
                    let point = y * M::POINTS + column;
                    let at = point * self.kernel_plane + channel * PANEL + lane;
                    S::store(self.kernels.add(at), value);
                }
            }
        }
    }

    /// # Safety
    ///
    /// As [`Task::run`].
    #[inline(always)]
    unsafe fn transform_back<S: Simd>(&self, tile: usize, row: usize) {
        let Plan { size, additions, weight, .. } = self.plan;
        let [sample, top, left] = self.plan.place(tile);
        let columns = weight.columns;
        let first = self.panel * PANEL;
        let width = PANEL.min(columns - first);
        let bias = if additions.bias_batch > 1 { sample * columns } else { 0 } + first;
        let rows = M::OUTPUTS.min(size.height - top);
        let across = M::OUTPUTS.min(size.width - left);
        let mut lane = 0;
        while lane < width {
            let count = (width - lane).min(S::LANES);
            // SAFETY: rows and columns are within the result; the caller vouches for the rest.
            unsafe {
                let mut lines = [[S::splat(0.0); SIDE]; SIDE];
                for (y, line) in lines.iter_mut().enumerate().take(M::POINTS) {
                    let mut points = [S::splat(0.0); SIDE];
                    for (x, value) in points.iter_mut().enumerate().take(M::POINTS) {
                        let point = y * M::POINTS + x;
                        *value =
                            S::load(self.sums.add(point * self.sums_plane + row * PANEL + lane));
                    }
                    *line = M::output::<S>(points);
                }
                let bias = S::load_first(additions.bias.as_ptr().add(bias + lane), count);
                for x in 0..M::OUTPUTS {
                    let outputs = M::output::<S>(std::array::from_fn(|line| lines[line][x]));
                    if x >= across {
                        continue;
                    }
                    for (y, value) in outputs.into_iter().enumerate().take(M::OUTPUTS) {
                        if y >= rows {
                            continue;
                        }
                        let pixel = (sample * size.height + top + y) * size.width + left + x;
                        let at = pixel * columns + first + lane;
                        let mut value = S::add(value, bias);
                        if let Some(residual) = additions.residual {
                            value = S::add(value, S::load_first(residual.as_ptr().add(at), count));
                        }
                        S::store_first(self.out.at(at), count, value);
                    }
                }
            }
            lane += S::LANES;
        }
    }
}
