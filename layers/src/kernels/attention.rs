//! Scaled dot-product attention.
//!
//! Keys and values of a head are packed once; then each thread answers a few queries at a time,
//! with their scores in its own cache. Where there are many keys, more queries go through them
//! together, a part of the keys at a time, with a running softmax (Milakov and Gimelshein 2018,
//! algorithm 3), so that neither scores nor keys come from memory over and over.

use rayon::prelude::*;

use super::{
    Finish, Precision,
    buffer::{Aligned, Shared},
    gemm::{Begin, PANEL, PanelProduct},
    math,
    simd::{Level, Simd, Task},
};

/// Queries whose scores are held together.
const QUERIES: usize = 24;

/// Up to so many keys are looked at in one go. An interpreter cannot wait for as many.
const KEYS_AT_ONCE: usize = if cfg!(miri) { 32 } else { 4096 };

/// Where there are more: keys of one part, a multiple of a panel, and queries that share it.
const KEYS_OF_PART: usize = if cfg!(miri) { 32 } else { 512 };
const QUERIES_OF_PART: usize = 8 * QUERIES;

/// Shapes of an attention; rows of queries, keys and values are `heads · width` long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionSize {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    pub(crate) width: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Whether a query sees no later key.
    pub(crate) causal: bool,
}

/// Rows of one tensor: where each begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    /// Elements from one row to the next.
    pub(crate) stride: usize,
}

/// `out = softmax(query · keyᵀ / √width) · value` for each head.
pub(crate) fn attend(
    level: Level,
    size: AttentionSize,
    query: Rows<'_>,
    key: Rows<'_>,
    value: Rows<'_>,
    out: &mut [f32],
) {
    let AttentionSize { batch, heads, width, queries, keys, .. } = size;
    let channels = heads * width;
    let holds = |rows: Rows<'_>, count: usize| {
        count == 0 || rows.data.len() >= (count - 1) * rows.stride + channels
    };
    assert!(
        holds(query, batch * queries) && holds(key, batch * keys) && holds(value, batch * keys)
    );
    assert!(out.len() == batch * queries * channels);
    if out.is_empty() {
        return;
    }
    if keys == 0 {
        out.fill(0.0);
        return;
    }
    let key_panels = keys.div_ceil(PANEL);
    let value_panels = width.div_ceil(PANEL);
    let key_len = key_panels * width * PANEL;
    let value_len = value_panels * keys * PANEL;
    let mut packed_keys = Aligned::scratch(batch * heads * key_len);
    let mut packed_values = Aligned::scratch(batch * heads * value_len);
    packed_keys.as_mut_slice()[..batch * heads * key_len]
        .par_chunks_exact_mut(width * PANEL)
        .enumerate()
        .for_each(|(index, panel)| {
            let (head, first) = (index / key_panels, index % key_panels * PANEL);
            let start = head / heads * keys * key.stride + head % heads * width;
            for lane in 0..PANEL {
                if first + lane < keys {
                    let row = &key.data[start + (first + lane) * key.stride..][..width];
                    for (position, value) in row.iter().enumerate() {
                        panel[position * PANEL + lane] = *value;
                    }
                } else {
                    panel.iter_mut().skip(lane).step_by(PANEL).for_each(|value| *value = 0.0);
                }
            }
        });
    packed_values.as_mut_slice()[..batch * heads * value_len]
        .par_chunks_exact_mut(keys * PANEL)
        .enumerate()
        .for_each(|(index, panel)| {
            let (head, first) = (index / value_panels, index % value_panels * PANEL);
            let start = head / heads * keys * value.stride + head % heads * width + first;
            let count = PANEL.min(width - first);
            for (row, place) in panel.chunks_exact_mut(PANEL).enumerate() {
                let from = &value.data[start + row * value.stride..][..count];
                place[..count].copy_from_slice(from);
                place[count..].fill(0.0);
            }
        });
    let (packed_keys, packed_values) = (packed_keys.as_slice(), packed_values.as_slice());
    let (part, together) = if keys <= KEYS_AT_ONCE {
        (key_panels * PANEL, QUERIES)
    } else {
        (KEYS_OF_PART, QUERIES_OF_PART)
    };
    // No multiple of a page, for rows would share lines of the first cache.
    let row = part + 16;
    let blocks = queries.div_ceil(together);
    let out = Shared::new(out);
    (0..batch * heads * blocks).into_par_iter().for_each_init(
        || (Aligned::scratch(QUERIES * row), Aligned::scratch(together * width)),
        |(scores, scaled), task| {
            let (head, first) = (task / blocks, task % blocks * together);
            let (sample, column) = (head / heads, head % heads * width);
            let at = (sample * queries + first) * channels + column;
            let start = (sample * queries + first) * query.stride + column;
            // SAFETY: the asserts above hold the sizes, and each task has queries of its own.
            level.run(unsafe {
                Queries {
                    size,
                    first,
                    count: together.min(queries - first),
                    part,
                    query: &query.data[start..],
                    query_stride: query.stride,
                    keys: &packed_keys[head * key_len..][..key_len],
                    values: &packed_values[head * value_len..][..value_len],
                    scores: scores.as_mut_slice(),
                    scaled: scaled.as_mut_slice(),
                    row,
                    out: out.at(at),
                    out_stride: channels,
                }
            });
        },
    );
}

struct Queries<'a> {
    size: AttentionSize,
    first: usize,
    /// At most [`QUERIES_OF_PART`].
    count: usize,
    /// Keys that are looked at in one go, whole panels.
    part: usize,
    query: &'a [f32],
    query_stride: usize,
    keys: &'a [f32],
    values: &'a [f32],
    scores: &'a mut [f32],
    scaled: &'a mut [f32],
    row: usize,
    out: *mut f32,
    out_stride: usize,
}

impl Task for Queries<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let AttentionSize { width, keys, causal, .. } = self.size;
        let scale = (width as f32).sqrt().recip();
        for (to, from) in self
            .scaled
            .chunks_exact_mut(width)
            .zip(self.query.chunks(self.query_stride))
            .take(self.count)
        {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from * scale);
        }
        let seen = if causal { keys.min(self.first + self.count) } else { keys };
        let mut softmax = [Running { largest: f32::NEG_INFINITY, sum: 0.0 }; QUERIES_OF_PART];
        // SAFETY: panels, scores and queries are as long as the products need; the caller vouches
        // for `out` and the processor.
        unsafe {
            for start in (0..seen).step_by(self.part) {
                let len = self.part.min(seen - start);
                for (group, softmax) in softmax[..self.count].chunks_mut(QUERIES).enumerate() {
                    let first = group * QUERIES;
                    for panel in 0..len.div_ceil(PANEL) {
                        S::LEVEL.run(PanelProduct {
                            rows: softmax.len(),
                            inner: width,
                            width: PANEL,
                            a: self.scaled.as_ptr().add(first * width),
                            a_stride: width,
                            b: self.keys.as_ptr().add((start + panel * PANEL) * width),
                            precision: Precision::F32,
                            out: self.scores.as_mut_ptr().add(panel * PANEL),
                            out_stride: self.row,
                            begin: Begin::Zero,
                            bias: None,
                            residual: None,
                            finish: Finish::Keep,
                        });
                    }
                    for (index, softmax) in softmax.iter_mut().enumerate() {
                        let query = first + index;
                        let visible = if causal { keys.min(self.first + query + 1) } else { keys };
                        let visible = visible.saturating_sub(start).min(len);
                        let row = self.scores.as_mut_ptr().add(index * self.row);
                        let before = softmax.take_in::<S>(row, visible);
                        if start > 0 && before < 1.0 {
                            scale_row::<S>(self.out.add(query * self.out_stride), width, before);
                        }
                        for hidden in visible..len {
                            row.add(hidden).write(0.0);
                        }
                    }
                    let mut column = 0;
                    while column < width {
                        S::LEVEL.run(PanelProduct {
                            rows: softmax.len(),
                            inner: len,
                            width: PANEL.min(width - column),
                            a: self.scores.as_ptr(),
                            a_stride: self.row,
                            b: self.values.as_ptr().add(column * keys + start * PANEL),
                            precision: Precision::F32,
                            out: self.out.add(first * self.out_stride + column),
                            out_stride: self.out_stride,
                            begin: if start == 0 { Begin::Zero } else { Begin::Stored },
                            bias: None,
                            residual: None,
                            finish: Finish::Keep,
                        });
                        column += PANEL;
                    }
                }
            }
            for (query, softmax) in softmax[..self.count].iter().enumerate() {
                let row = self.out.add(query * self.out_stride);
                scale_row::<S>(row, width, softmax.sum.recip());
            }
        }
    }
}

/// What is known of a query's scores so far.
#[derive(Debug, Clone, Copy)]
struct Running {
    largest: f32,
    /// Of `e` to the power of each score's distance from the largest.
    sum: f32,
}

impl Running {
    /// Replaces `count` further scores by `e` to the power of their distance from the largest so
    /// far, and gives what earlier ones are to be multiplied with.
    ///
    /// # Safety
    ///
    /// `row` holds `count` elements, and the processor has the instruction set `S`.
    #[inline(always)]
    unsafe fn take_in<S: Simd>(&mut self, row: *mut f32, count: usize) -> f32 {
        if count == 0 {
            return 1.0;
        }
        // SAFETY: as the caller vouches.
        let (largest, sum) = unsafe { exponentials::<S>(row, count, self.largest) };
        let before = (self.largest - largest).exp();
        *self = Self { largest, sum: self.sum * before + sum };
        before
    }
}

/// Multiplies `width` elements.
///
/// # Safety
///
/// `row` holds them, and the processor has the instruction set `S`.
#[inline(always)]
unsafe fn scale_row<S: Simd>(row: *mut f32, width: usize, factor: f32) {
    for at in (0..width).step_by(S::LANES) {
        let count = (width - at).min(S::LANES);
        // SAFETY: as the caller vouches.
        unsafe {
            let value = S::mul(S::load_first(row.add(at), count), S::splat(factor));
            S::store_first(row.add(at), count, value);
        }
    }
}

/// Replaces `count` scores by `e` to the power of their distance from the largest of them and
/// `floor`, and gives that largest and the sum.
///
/// # Safety
///
/// `row` holds `count` elements, at least one, and the processor has the instruction set `S`.
#[inline(always)]
unsafe fn exponentials<S: Simd>(row: *mut f32, count: usize, floor: f32) -> (f32, f32) {
    let whole = count / S::LANES * S::LANES;
    // SAFETY: as the caller vouches.
    unsafe {
        let mut largest = S::splat(floor);
        for at in (0..whole).step_by(S::LANES) {
            largest = S::max(largest, S::load(row.add(at)));
        }
        let mut largest = S::largest(largest);
        for at in whole..count {
            largest = largest.max(row.add(at).read());
        }
        let origin = S::splat(largest);
        let mut sum = S::splat(0.0);
        for at in (0..whole).step_by(S::LANES) {
            let value = math::exp::<S>(S::sub(S::load(row.add(at)), origin));
            S::store(row.add(at), value);
            sum = S::add(sum, value);
        }
        let mut sum = S::sum(sum);
        if whole < count {
            let rest = S::load_first(row.add(whole), count - whole);
            S::store_first(row.add(whole), count - whole, math::exp::<S>(S::sub(rest, origin)));
            for at in whole..count {
                sum += row.add(at).read();
            }
        }
        (largest, sum)
    }
}
