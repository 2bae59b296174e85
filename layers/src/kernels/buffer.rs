//! Memory that kernels share between threads.

use std::{
    marker::PhantomData,
    slice,
    sync::{Mutex, PoisonError},
};

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
///
/// Buffers are kept when they are dropped, for the next of about that size: memory that is new to
/// the process is cleared by the system, page by page, which takes a tenth of a UNet's time.
#[derive(Debug)]
pub(crate) struct Aligned {
    lines: Vec<Line>,
}

/// Buffers that nobody uses.
static KEPT: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// Bytes of all kept buffers, at most.
const MOST_KEPT_BYTES: usize = 64 << 20;

/// Buffers with less than that are left to the allocator, which keeps them itself.
const FEWEST_KEPT_BYTES: usize = 32 << 10;

impl Aligned {
    /// `len` zeros, rounded up to whole cache lines.
    pub(crate) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line::ZEROS; len.div_ceil(LINE)] }
    }

    /// Room for `len` elements whose values are not known.
    pub(crate) fn scratch(len: usize) -> Self {
        let count = len.div_ceil(LINE);
        let mut lines = Self::kept(count).unwrap_or_else(|| Vec::with_capacity(count));
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

    /// The smallest kept buffer with room for `count` lines, unless it is far too large.
    fn kept(count: usize) -> Option<Vec<Line>> {
        if count * size_of::<Line>() < FEWEST_KEPT_BYTES {
            return None;
        }
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, _) = kept
            .iter()
            .enumerate()
            .filter(|(_, lines)| (count..=2 * count).contains(&lines.capacity()))
            .min_by_key(|(_, lines)| lines.capacity())?;
        Some(kept.swap_remove(index))
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

impl Drop for Aligned {
    fn drop(&mut self) {
        let bytes = |lines: &Vec<Line>| lines.capacity() * size_of::<Line>();
        let lines = std::mem::take(&mut self.lines);
        if !(FEWEST_KEPT_BYTES..=MOST_KEPT_BYTES).contains(&bytes(&lines)) {
            return;
        }
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(lines);
        let mut all: usize = kept.iter().map(bytes).sum();
        // The oldest go first.
        let surplus = kept.iter().take_while(|lines| {
            let is_surplus = all > MOST_KEPT_BYTES;
            all -= bytes(lines);
            is_surplus
        });
        let surplus = surplus.count();
        kept.drain(..surplus);
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
