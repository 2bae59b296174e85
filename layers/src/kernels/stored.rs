//! Weights as files hold them.
//!
//! A network's weights stay where they are, in 16 or 32 bits, row by row, and may be part of a
//! mapped file. A product needs them in panels of 32 columns: a few inner positions of a panel at
//! a time are widened to f32, or made pairs of bf16, and transposed, right before they are
//! multiplied, while they are in the cache.

use std::ops::Range;

use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::{
    Precision,
    buffer::Aligned,
    gemm::{PANEL, Packed},
    simd::{Level, Simd, Task, to_bf16},
};
use crate::stored_tensor::StoredTensor;

/// Most lanes of a vector.
const LANES: usize = 16;

/// A weight `[columns, inner]`, as PyTorch stores it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    tensor: StoredTensor,
    element: Element,
    /// What inputs are multiplied in.
    pub(crate) precision: Precision,
    pub(crate) inner: usize,
    pub(crate) columns: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    F32,
    F16,
    Bf16,
}

impl Stored {
    /// A weight whose first dimension are the columns; `None` where its elements are of another
    /// type than f32, f16 and bf16.
    ///
    /// One of f32 that is multiplied in bf16 is rounded once, so that it takes half the memory.
    pub(crate) fn new(tensor: &StoredTensor, precision: Precision) -> Option<Self> {
        let columns = *tensor.shape().first()?;
        let inner = tensor.shape()[1..].iter().product();
        let element = match tensor.dtype() {
            DType::F32 => Element::F32,
            DType::F16 => Element::F16,
            DType::BF16 => Element::Bf16,
            _ => return None,
        };
        if (element, precision) == (Element::F32, Precision::Bf16) {
            let tensor = rounded(tensor)?;
            return Some(Self { tensor, element: Element::Bf16, precision, inner, columns });
        }
        Some(Self { tensor: tensor.clone(), element, precision, inner, columns })
    }

    /// The values in f32, in the given shape, on the CPU.
    pub(crate) fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.columns * self.inner];
        let mut panel = Aligned::zeros(self.inner * PANEL);
        for (index, rows) in values.chunks_mut((PANEL * self.inner).max(1)).enumerate() {
            self.widen(Level::Portable, index, 0..self.inner, panel.as_mut_slice());
            for (column, row) in rows.chunks_mut(self.inner).enumerate() {
                for (position, value) in row.iter_mut().enumerate() {
                    *value = panel.as_slice()[position * PANEL + column];
                }
            }
        }
        values
    }

    pub(crate) fn panels(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// Positions of a panel as they are multiplied: pairs where that is done in bf16.
    pub(crate) fn rows(&self) -> usize {
        self.inner.div_ceil(self.precision.positions())
    }

    /// Writes `rows` of a panel, `[rows, 32]`, as they are multiplied.
    pub(crate) fn panel(&self, level: Level, panel: usize, rows: Range<usize>, to: &mut [f32]) {
        match self.precision {
            Precision::F32 => self.widen(level, panel, rows, to),
            Precision::Bf16 => {
                assert!(panel < self.panels() && rows.end <= self.rows());
                let first = 2 * rows.start;
                let reading = match self.element {
                    Element::F16 => Reading::PairF16,
                    // There are none of f32: see `new`.
                    Element::Bf16 | Element::F32 => Reading::Words,
                };
                let count = (2 * rows.len()).min(self.inner - first);
                let order = |word| word;
                level.run(Columns { stored: self, panel, first, count, reading, order, to });
            }
        }
    }

    /// Writes inner positions of a panel in f32, `[positions, 32]`; zeros in columns that are none.
    pub(crate) fn widen(&self, level: Level, panel: usize, inner: Range<usize>, to: &mut [f32]) {
        let order = |position| position;
        self.widen_in(level, panel, inner, order, to);
    }

    fn widen_in(
        &self,
        level: Level,
        panel: usize,
        inner: Range<usize>,
        order: impl Fn(usize) -> usize,
        to: &mut [f32],
    ) {
        assert!(panel < self.panels() && inner.end <= self.inner);
        let reading = match self.element {
            Element::F32 => Reading::Words,
            Element::F16 => Reading::SplitF16,
            Element::Bf16 => Reading::SplitBf16,
        };
        let (first, count) = (inner.start, inner.len());
        level.run(Columns { stored: self, panel, first, count, reading, order, to });
    }

    /// The whole weight of a convolution of so many taps, packed in f32 with the inner index
    /// `tap · channels + channel`.
    pub(crate) fn packed_by_taps(&self, level: Level, taps: usize) -> Packed {
        let channels = self.inner / taps.max(1);
        assert!(channels * taps == self.inner);
        Packed::new(self.inner, self.columns, |panel, place| {
            let order = |position| position % taps * channels + position / taps;
            self.widen_in(level, panel, 0..self.inner, order, place);
        })
    }
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// The same tensor in bf16.
fn rounded(tensor: &StoredTensor) -> Option<StoredTensor> {
    let values: Vec<u8> = tensor
        .bytes()
        .as_chunks::<4>()
        .0
        .par_iter()
        .with_min_len(1 << 12)
        .flat_map_iter(|&value| to_bf16(f32::from_le_bytes(value)).to_le_bytes())
        .collect();
    TensorData::try_from_bytes_vec(values, tensor.shape().to_vec(), DType::BF16)
        .ok()
        .map(StoredTensor::from)
}

/// Bytes ahead in a row that are asked for: the system's own guesses do not follow so many rows.
const AHEAD: usize = 320;

/// What becomes of the words of 32 bits that rows are read in.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// They are written as they are: f32, or pairs of bf16.
    Words,
    /// Each is two bf16 that become f32.
    SplitBf16,
    /// Each is two f16 that become f32.
    SplitF16,
    /// Each is two f16 that become a pair of bf16.
    PairF16,
}

/// Elements `first..first + count` of the rows of a panel, brought into columns.
struct Columns<'a, O> {
    stored: &'a Stored,
    panel: usize,
    first: usize,
    count: usize,
    reading: Reading,
    /// The row of 32 to which a position, or a word that is not split, is written.
    order: O,
    to: &'a mut [f32],
}

impl<O: Fn(usize) -> usize> Task for Columns<'_, O> {
    type Output = ();

    /// Transposes blocks of as many columns as a vector has lanes, and as many words in each. Zeros
    /// stand for columns and elements that are none.
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let element = self.stored.element.bytes();
        let row = self.stored.inner * element;
        let bytes = self.count * element;
        let words = bytes.div_ceil(4);
        let start = self.stored.tensor.bytes().as_ptr().wrapping_add(self.first * element);
        let mut lane = 0;
        while lane < PANEL {
            let column = self.panel * PANEL + lane;
            let columns = self.stored.columns.saturating_sub(column).min(S::LANES);
            let mut word = 0;
            while word < words {
                // The addresses of columns that are none are not used.
                let from = start.wrapping_add(column * row + word * 4);
                // SAFETY: whoever makes a `Columns` has seen that panel and elements are there.
                // Where words are loaded, there are so many rows with so many words left; where
                // bytes are copied, so many are left in the row, and fit.
                unsafe {
                    let mut vectors = [S::splat(0.0); LANES];
                    if columns == S::LANES && word + S::LANES <= bytes / 4 {
                        for (index, vector) in vectors.iter_mut().enumerate().take(S::LANES) {
                            let from = from.wrapping_add(index * row);
                            S::prefetch(from.wrapping_add(AHEAD));
                            *vector = S::load(from.cast());
                        }
                    } else {
                        let left = (bytes - word * 4).min(S::LANES * 4);
                        for (index, vector) in vectors.iter_mut().enumerate().take(columns) {
                            let mut words = [0_u8; 4 * LANES];
                            let from = from.wrapping_add(index * row);
                            std::ptr::copy_nonoverlapping(from, words.as_mut_ptr(), left);
                            *vector = S::load(words.as_ptr().cast());
                        }
                    }
                    let transposed = S::transpose(vectors);
                    let left = S::LANES.min(words - word);
                    for (index, vector) in transposed.into_iter().enumerate().take(left) {
                        self.take::<S>(word + index, lane, vector);
                    }
                }
                word += S::LANES;
            }
            lane += S::LANES;
        }
    }
}

impl<O: Fn(usize) -> usize> Columns<'_, O> {
    /// # Safety
    ///
    /// The processor must have the instruction set `S`.
    #[inline(always)]
    unsafe fn take<S: Simd>(&mut self, word: usize, lane: usize, vector: S::V) {
        // SAFETY: as the caller vouches.
        unsafe {
            let (even, odd) = match self.reading {
                Reading::Words => return self.store::<S>(word, lane, vector),
                Reading::PairF16 => {
                    let (even, odd) = S::split_f16(vector);
                    return self.store::<S>(word, lane, S::pair_bf16(even, odd));
                }
                Reading::SplitBf16 => S::split_bf16(vector),
                Reading::SplitF16 => S::split_f16(vector),
            };
            self.store::<S>(2 * word, lane, even);
            // Of an odd number the last has no partner.
            if 2 * word + 1 < self.count {
                self.store::<S>(2 * word + 1, lane, odd);
            }
        }
    }

    /// # Safety
    ///
    /// The processor must have the instruction set `S`.
    #[inline(always)]
    unsafe fn store<S: Simd>(&mut self, position: usize, lane: usize, vector: S::V) {
        let place = &mut self.to[(self.order)(position) * PANEL + lane..][..S::LANES];
        // SAFETY: the place is as long as the vector; the caller vouches for the processor.
        unsafe { S::store(place.as_mut_ptr(), vector) };
    }
}
