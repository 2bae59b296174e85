//! Products of matrices: rows of activations times a weight.
//!
//! A tile of [`Simd::ROWS`] rows and [`Simd::COLUMNS`] vectors of columns stays in registers while
//! the inner dimension runs by (Goto and van de Geijn 2008). The weight is brought into panels of
//! [`PANEL`] columns, so that the inner loop reads it from front to back.

use rayon::prelude::*;

use super::{
    Finish, Precision,
    buffer::{Aligned, Shared},
    math,
    simd::{Level, Simd, Task, pair},
    stored::Stored,
};

/// Columns of a panel.
pub(crate) const PANEL: usize = 32;

/// Inner positions of a panel that are multiplied before the next rows: what fits a second-level
/// cache beside the rows.
const INNER_BLOCK: usize = 512;

/// Bytes of rows that are multiplied with all panels before the next rows.
const ROW_BLOCK_BYTES: usize = 2 << 20;

/// A matrix `[inner, columns]` in panels `[columns / 32, inner, 32]`, the last filled with zeros.
#[derive(Debug)]
pub(crate) struct Packed {
    data: Aligned,
    inner: usize,
    columns: usize,
}

impl Precision {
    /// Inner positions in the place of an f32.
    pub(crate) fn positions(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }
}

impl Packed {
    /// Has each panel, by its number, written by `fill`.
    pub(crate) fn new(
        inner: usize,
        columns: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let panel = (inner * PANEL).max(1);
        let mut data = Aligned::scratch(columns.div_ceil(PANEL) * panel);
        let panels = data.as_mut_slice().par_chunks_exact_mut(panel);
        panels
            .take(columns.div_ceil(PANEL))
            .enumerate()
            .for_each(|(index, place)| fill(index, place));
        Self { data, inner, columns }
    }

    pub(crate) fn panels(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// `[inner, 32]`
    pub(crate) fn panel(&self, index: usize) -> &[f32] {
        let len = self.inner * PANEL;
        &self.data.as_slice()[index * len..][..len]
    }
}

/// What rows are multiplied with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Factor<'a> {
    Packed(&'a Packed),
    Stored(&'a Stored),
}

impl Factor<'_> {
    fn precision(self) -> Precision {
        match self {
            Self::Packed(_) => Precision::F32,
            Self::Stored(stored) => stored.precision,
        }
    }

    fn inner(self) -> usize {
        match self {
            Self::Packed(packed) => packed.inner,
            Self::Stored(stored) => stored.inner,
        }
    }

    fn columns(self) -> usize {
        match self {
            Self::Packed(packed) => packed.columns,
            Self::Stored(stored) => stored.columns,
        }
    }

    /// Inner positions, or pairs of them, that are multiplied one after the other.
    fn rows(self) -> usize {
        self.inner().div_ceil(self.precision().positions())
    }

    /// Those of which a panel is made ready at once.
    fn block(self) -> usize {
        let rows = self.rows();
        match self {
            Self::Packed(_) => rows,
            Self::Stored(_) => rows.div_ceil(rows.div_ceil(INNER_BLOCK).max(1)),
        }
    }
}

/// `[rows, inner]` in f32 as pairs of bf16, `[rows, stride]` with zeros at odd ends.
fn narrow_rows(rows: &[f32], inner: usize, narrow: &mut [f32], stride: usize) {
    let pairs = narrow.par_chunks_exact_mut(stride).zip(rows.par_chunks_exact(inner));
    pairs.with_min_len(4).for_each(|(narrow, row)| narrow_row(row, narrow));
}

/// One row as pairs of bf16.
fn narrow_row(row: &[f32], narrow: &mut [f32]) {
    let (whole, rest) = row.as_chunks::<2>();
    for (place, [first, second]) in narrow.iter_mut().zip(whole) {
        *place = pair(*first, *second);
    }
    if let ([last], Some(place)) = (rest, narrow.get_mut(whole.len())) {
        *place = pair(*last, 0.0);
    }
}

/// What is added to a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    /// One number for each column.
    pub(crate) bias: Option<&'a [f32]>,
    /// A matrix of the result's shape.
    pub(crate) residual: Option<&'a [f32]>,
    /// What is done to the sum of product and bias, before the residual is added.
    pub(crate) finish: Finish,
}

/// Where a product begins: rows are added to what is there, or replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    Zero,
    Stored,
}

/// Rows `[rows, inner]` times one panel, `[inner, 32]`, of which `width` columns are stored.
pub(crate) struct PanelProduct<'a> {
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) width: usize,
    pub(crate) a: *const f32,
    /// Elements from one row to the next.
    pub(crate) a_stride: usize,
    pub(crate) b: *const f32,
    /// Whether `a` and `b` are pairs of bf16; `inner` counts pairs then.
    pub(crate) precision: Precision,
    pub(crate) out: *mut f32,
    pub(crate) out_stride: usize,
    pub(crate) begin: Begin,
    /// Bias of these columns.
    pub(crate) bias: Option<&'a [f32]>,
    /// The address that belongs to `out`.
    pub(crate) residual: Option<*const f32>,
    pub(crate) finish: Finish,
}

impl PanelProduct<'_> {
    fn has_epilogue(&self) -> bool {
        self.bias.is_some() || self.residual.is_some() || self.finish != Finish::Keep
    }
}

impl Task for PanelProduct<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: whoever makes a `PanelProduct` vouches for the addresses.
        unsafe { panel_product::<S>(&self) }
    }
}

/// # Safety
///
/// The addresses hold as many elements as the product needs, `out` is not used elsewhere, and the
/// processor has the instruction set `S`.
#[inline(always)]
unsafe fn panel_product<S: Simd>(product: &PanelProduct<'_>) {
    // SAFETY: the caller vouches for addresses and processor.
    unsafe {
        let blocks = product.inner.div_ceil(INNER_BLOCK).max(1);
        let block = product.inner.div_ceil(blocks);
        for index in 0..blocks {
            let first = index * block;
            let inner = block.min(product.inner - first);
            let is_last = index + 1 == blocks;
            let mut row = 0;
            while row < product.rows {
                let rows = (product.rows - row).min(S::ROWS);
                let mut column = 0;
                while column < product.width {
                    let tile = Tile {
                        inner,
                        width: (product.width - column).min(S::COLUMNS * S::LANES),
                        a: product.a.add(row * product.a_stride + first),
                        a_stride: product.a_stride,
                        b: product.b.add(first * PANEL + column),
                        precision: product.precision,
                        out: product.out.add(row * product.out_stride + column),
                        out_stride: product.out_stride,
                        begin: if index == 0 { product.begin } else { Begin::Stored },
                    };
                    by_rows::<S>(rows, &tile);
                    column += S::COLUMNS * S::LANES;
                }
                if is_last && product.has_epilogue() {
                    for row in row..row + rows {
                        finish_row::<S>(product, row);
                    }
                }
                row += rows;
            }
        }
    }
}

struct Tile {
    inner: usize,
    width: usize,
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    precision: Precision,
    out: *mut f32,
    out_stride: usize,
    begin: Begin,
}

/// # Safety
///
/// As [`panel_product`].
#[inline(always)]
unsafe fn by_rows<S: Simd>(rows: usize, tile: &Tile) {
    // SAFETY: the caller vouches for addresses and processor.
    unsafe {
        match (rows, tile.width.div_ceil(S::LANES)) {
            (1, 1) => multiply_tile::<S, 1, 1>(tile),
            (1, _) => multiply_tile::<S, 1, 2>(tile),
            (2, 1) if S::ROWS >= 2 => multiply_tile::<S, 2, 1>(tile),
            (2, _) if S::ROWS >= 2 => multiply_tile::<S, 2, 2>(tile),
            (3, 1) if S::ROWS >= 3 => multiply_tile::<S, 3, 1>(tile),
            (3, _) if S::ROWS >= 3 => multiply_tile::<S, 3, 2>(tile),
            (4, 1) if S::ROWS >= 4 => multiply_tile::<S, 4, 1>(tile),
            (4, _) if S::ROWS >= 4 => multiply_tile::<S, 4, 2>(tile),
            (5, 1) if S::ROWS >= 5 => multiply_tile::<S, 5, 1>(tile),
            (5, _) if S::ROWS >= 5 => multiply_tile::<S, 5, 2>(tile),
            (6, 1) if S::ROWS >= 6 => multiply_tile::<S, 6, 1>(tile),
            (6, _) if S::ROWS >= 6 => multiply_tile::<S, 6, 2>(tile),
            (7, 1) if S::ROWS >= 7 => multiply_tile::<S, 7, 1>(tile),
            (7, _) if S::ROWS >= 7 => multiply_tile::<S, 7, 2>(tile),
            (8, 1) if S::ROWS >= 8 => multiply_tile::<S, 8, 1>(tile),
            (8, _) if S::ROWS >= 8 => multiply_tile::<S, 8, 2>(tile),
            (9, 1) if S::ROWS >= 9 => multiply_tile::<S, 9, 1>(tile),
            (9, _) if S::ROWS >= 9 => multiply_tile::<S, 9, 2>(tile),
            (10, 1) if S::ROWS >= 10 => multiply_tile::<S, 10, 1>(tile),
            (10, _) if S::ROWS >= 10 => multiply_tile::<S, 10, 2>(tile),
            (11, 1) if S::ROWS >= 11 => multiply_tile::<S, 11, 1>(tile),
            (11, _) if S::ROWS >= 11 => multiply_tile::<S, 11, 2>(tile),
            (12, 1) if S::ROWS >= 12 => multiply_tile::<S, 12, 1>(tile),
            (12, _) if S::ROWS >= 12 => multiply_tile::<S, 12, 2>(tile),
            // No more than `ROWS` are multiplied at once.
            _ => {}
        }
    }
}

/// Rows that share one address register, at distances that x86 can address.
const ROWS_A_BASE: usize = 3;

/// # Safety
///
/// As [`panel_product`].
#[inline(always)]
unsafe fn multiply_tile<S: Simd, const R: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: the caller vouches for addresses and processor.
    unsafe {
        let sums = match tile.precision {
            Precision::F32 => sums::<S, R, VECTORS, false>(tile),
            Precision::Bf16 => sums::<S, R, VECTORS, true>(tile),
        };
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                let column = vector * S::LANES;
                if column >= tile.width {
                    continue;
                }
                let count = (tile.width - column).min(S::LANES);
                let place = tile.out.add(row * tile.out_stride + column);
                let mut sum = sum;
                if tile.begin == Begin::Stored {
                    sum = S::add(sum, S::load_first(place, count));
                }
                S::store_first(place, count, sum);
            }
        }
    }
}

/// # Safety
///
/// As [`panel_product`].
#[inline(always)]
unsafe fn sums<S: Simd, const R: usize, const VECTORS: usize, const PAIRS: bool>(
    tile: &Tile,
) -> [[S::V; VECTORS]; R] {
    // SAFETY: the caller vouches for addresses and processor.
    unsafe {
        let mut sums = [[S::splat(0.0); VECTORS]; R];
        let stride = tile.a_stride;
        let mut bases: [*const f32; 4] =
            std::array::from_fn(|base| tile.a.wrapping_add(base * ROWS_A_BASE * stride));
        let mut b = tile.b;
        for _ in 0..tile.inner {
            let columns: [*const f32; VECTORS] =
                std::array::from_fn(|vector| b.add(vector * S::LANES));
            if PAIRS {
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = *bases[row / ROWS_A_BASE].add(row % ROWS_A_BASE * stride);
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = S::dot(*sum, a.to_bits(), column.cast());
                    }
                }
            } else {
                let columns: [S::V; VECTORS] =
                    std::array::from_fn(|vector| S::load(columns[vector]));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = *bases[row / ROWS_A_BASE].add(row % ROWS_A_BASE * stride);
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = S::fma(S::splat(a), column, *sum);
                    }
                }
            }
            b = b.wrapping_add(PANEL); // past the end after the last row
            for base in &mut bases {
                *base = base.wrapping_add(1);
            }
        }
        sums
    }
}

/// Adds and applies what follows a product, while the row is still in the first cache.
///
/// # Safety
///
/// As [`panel_product`].
#[inline(always)]
unsafe fn finish_row<S: Simd>(product: &PanelProduct<'_>, row: usize) {
    // SAFETY: the caller vouches for addresses and processor.
    unsafe {
        let mut column = 0;
        while column < product.width {
            let count = (product.width - column).min(S::LANES);
            let at = row * product.out_stride + column;
            let place = product.out.add(at);
            let mut sum = S::load_first(place, count);
            if let Some(bias) = product.bias {
                sum = S::add(sum, S::load_first(bias.as_ptr().add(column), count));
            }
            sum = math::finish::<S>(product.finish, sum);
            if let Some(residual) = product.residual {
                sum = S::add(sum, S::load_first(residual.add(at), count));
            }
            S::store_first(place, count, sum);
            column += S::LANES;
        }
    }
}

/// `out = a · b + epilogue` with `a` `[rows, inner]`, `out` `[rows, columns]`.
pub(crate) fn multiply(
    level: Level,
    a: &[f32],
    b: Factor<'_>,
    out: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let (inner, columns, precision) = (b.inner(), b.columns(), b.precision());
    let rows = out.len() / columns.max(1);
    assert!(a.len() >= rows * inner && out.len() == rows * columns);
    assert!(epilogue.residual.is_none_or(|residual| residual.len() == out.len()));
    assert!(epilogue.bias.is_none_or(|bias| bias.len() == columns));
    // Rows whose distance is a multiple of a page fall on the same lines of the first cache.
    let stride_of = |inner: usize| if inner.is_multiple_of(1024) { inner + 16 } else { inner };
    let copy;
    let (a, a_stride) = if precision == Precision::Bf16 {
        let stride = stride_of(b.rows());
        let mut narrow = Aligned::scratch(rows * stride);
        narrow_rows(&a[..rows * inner], inner, &mut narrow.as_mut_slice()[..rows * stride], stride);
        copy = narrow;
        (copy.as_slice(), stride)
    } else if rows > 1 && stride_of(inner) != inner {
        let stride = stride_of(inner);
        let mut padded = Aligned::scratch(rows * stride);
        let place = &mut padded.as_mut_slice()[..rows * stride];
        place
            .par_chunks_exact_mut(stride)
            .zip(a.par_chunks_exact(inner))
            .for_each(|(to, from)| to[..inner].copy_from_slice(from));
        copy = padded;
        (copy.as_slice(), stride)
    } else {
        (a, inner)
    };
    let inner = b.rows();
    let ready = b.block();
    let block = row_block(rows, inner);
    let blocks = rows.div_ceil(block);
    let panels = columns.div_ceil(PANEL);
    let shared = Shared::new(out);
    let scratch = match b {
        Factor::Packed(_) => 0,
        Factor::Stored(_) => ready * PANEL,
    };
    (0..blocks * panels).into_par_iter().for_each_init(
        || Aligned::scratch(scratch),
        |scratch, task| {
            let (index, panel) = (task / panels, task % panels);
            let first = index * block;
            let column = panel * PANEL;
            let width = PANEL.min(columns - column);
            let at = first * columns + column;
            let mut position = 0;
            // At least once, for sums of nothing are zeros.
            loop {
                let count = ready.min(inner - position);
                let is_last = position + count == inner;
                let panel = match b {
                    Factor::Packed(packed) => packed.panel(panel),
                    Factor::Stored(stored) => {
                        let range = position..position + count;
                        stored.panel(level, panel, range, scratch.as_mut_slice());
                        scratch.as_slice()
                    }
                };
                // SAFETY: the asserts above hold the sizes, `panel` holds `count` rows, and each
                // task has rows and columns of its own.
                level.run(unsafe {
                    PanelProduct {
                        rows: block.min(rows - first),
                        inner: count,
                        width,
                        a: a.as_ptr().add(first * a_stride + position),
                        a_stride,
                        b: panel.as_ptr(),
                        precision,
                        out: shared.at(at),
                        out_stride: columns,
                        begin: if position == 0 { Begin::Zero } else { Begin::Stored },
                        bias: epilogue
                            .bias
                            .filter(|_| is_last)
                            .map(|bias| &bias[column..column + width]),
                        residual: epilogue
                            .residual
                            .filter(|_| is_last)
                            .map(|residual| residual.as_ptr().add(at)),
                        finish: if is_last { epilogue.finish } else { Finish::Keep },
                    }
                });
                if is_last {
                    break;
                }
                position += count;
            }
        },
    );
}

/// Rows of a block: a multiple of what is multiplied at once, and blocks of about one size.
fn row_block(rows: usize, inner: usize) -> usize {
    let most = (ROW_BLOCK_BYTES / (inner.max(1) * 4)).max(48);
    let blocks = rows.div_ceil(most).max(1);
    rows.div_ceil(blocks).next_multiple_of(24).max(24)
}
