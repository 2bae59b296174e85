//! Memory that kernels share between threads.

use std::{marker::PhantomData, slice};

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line {
    /// Reached through the slices of [`Aligned`].
    #[expect(dead_code)]
    values: [f32; LINE],
}

impl Line {
    const ZEROS: Self = Self { values: [0.0; LINE] };
}

const LINE: usize = 16;

/// f32 that begin on a cache line, so that no vector crosses two.
#[derive(Debug, Clone)]
pub(crate) struct Aligned {
    lines: Vec<Line>,
}

impl Aligned {
    /// `len` zeros, rounded up to whole cache lines.
    pub(crate) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line::ZEROS; len.div_ceil(LINE)] }
    }

    /// Room for `len` elements whose values are not known.
    pub(crate) fn scratch(len: usize) -> Self {
        let count = len.div_ceil(LINE);
        let mut lines = Vec::<Line>::with_capacity(count);
        if cfg!(miri) {
            lines.resize(count, Line::ZEROS);
        } else {
            // SAFETY: every bit pattern is an f32, the capacity is there, and kernels write what
            // they read: filling it first would cost as much as filling it.
            #[allow(clippy::uninit_vec)]
            unsafe {
                lines.set_len(count);
            }
        }
        Self { lines }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a `Line` is `LINE` f32 without padding.
        unsafe { slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: a `Line` is `LINE` f32 without padding.
        unsafe {
            slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * LINE)
        }
    }
}

/// A place of which several threads write parts that do not overlap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: only `at` gives access, and its callers vouch for parts that do not overlap.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(place: &'a mut [f32]) -> Self {
        Self { start: place.as_mut_ptr(), len: place.len(), lifetime: PhantomData }
    }

    /// The address of element `index`.
    ///
    /// # Safety
    ///
    /// `index` is within the place, and no other thread uses what is written or read there.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize) -> *mut f32 {
        debug_assert!(index <= self.len);
        // SAFETY: within the allocation, as the caller vouches.
        unsafe { self.start.add(index) }
    }
}
