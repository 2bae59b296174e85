//! Scaled dot-product attention.
//!
//! Keys and values of a head are packed once; then each thread answers a few queries at a time,
//! with their scores in its own cache.

use rayon::prelude::*;

use super::{
    Finish, Precision,
    buffer::{Aligned, Shared},
    gemm::{Begin, PANEL, PanelProduct},
    math,
    simd::{Level, Simd, Task},
};

/// Queries that are answered together.
const QUERIES: usize = 24;

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
    // No multiple of a page, for rows would share lines of the first cache.
    let row = key_panels * PANEL + 16;
    let blocks = queries.div_ceil(QUERIES);
    let out = Shared::new(out);
    (0..batch * heads * blocks).into_par_iter().for_each_init(
        || (Aligned::scratch(QUERIES * row), Aligned::scratch(QUERIES * width)),
        |(scores, scaled), task| {
            let (head, first) = (task / blocks, task % blocks * QUERIES);
            let (sample, column) = (head / heads, head % heads * width);
            let at = (sample * queries + first) * channels + column;
            let start = (sample * queries + first) * query.stride + column;
            // SAFETY: the asserts above hold the sizes, and each task has queries of its own.
            level.run(unsafe {
                Queries {
                    size,
                    first,
                    count: QUERIES.min(queries - first),
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
    count: usize,
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
        let mut factors = [0.0_f32; QUERIES];
        // SAFETY: panels, scores and queries are as long as the products need; the caller vouches
        // for `out` and the processor.
        unsafe {
            for panel in 0..seen.div_ceil(PANEL) {
                S::LEVEL.run(PanelProduct {
                    rows: self.count,
                    inner: width,
                    width: PANEL,
                    a: self.scaled.as_ptr(),
                    a_stride: width,
                    b: self.keys.as_ptr().add(panel * width * PANEL),
                    precision: Precision::F32,
                    out: self.scores.as_mut_ptr().add(panel * PANEL),
                    out_stride: self.row,
                    begin: Begin::Zero,
                    bias: None,
                    residual: None,
                    finish: Finish::Keep,
                });
            }
            for (index, factor) in factors.iter_mut().enumerate().take(self.count) {
                let visible = if causal { keys.min(self.first + index + 1) } else { keys };
                let row = self.scores.as_mut_ptr().add(index * self.row);
                *factor = exponentials::<S>(row, visible).recip();
                for hidden in visible..seen {
                    row.add(hidden).write(0.0);
                }
            }
            let mut column = 0;
            while column < width {
                S::LEVEL.run(PanelProduct {
                    rows: self.count,
                    inner: seen,
                    width: PANEL.min(width - column),
                    a: self.scores.as_ptr(),
                    a_stride: self.row,
                    b: self.values.as_ptr().add(column * keys),
                    precision: Precision::F32,
                    out: self.out.add(column),
                    out_stride: self.out_stride,
                    begin: Begin::Zero,
                    bias: None,
                    residual: None,
                    finish: Finish::Keep,
                });
                column += PANEL;
            }
            for (index, factor) in factors.iter().enumerate().take(self.count) {
                let row = self.out.add(index * self.out_stride);
                let mut at = 0;
                while at < width {
                    let count = (width - at).min(S::LANES);
                    let value = S::mul(S::load_first(row.add(at), count), S::splat(*factor));
                    S::store_first(row.add(at), count, value);
                    at += S::LANES;
                }
            }
        }
    }
}

/// Replaces `count` scores by `e` to the power of their distance from the largest, and gives the
/// sum.
///
/// # Safety
///
/// `row` holds `count` elements, at least one, and the processor has the instruction set `S`.
#[inline(always)]
unsafe fn exponentials<S: Simd>(row: *mut f32, count: usize) -> f32 {
    let whole = count / S::LANES * S::LANES;
    // SAFETY: as the caller vouches.
    unsafe {
        let mut largest = S::splat(f32::NEG_INFINITY);
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
        sum
    }
}
