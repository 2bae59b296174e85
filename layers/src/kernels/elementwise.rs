//! Operations on each element.

use rayon::prelude::*;

use super::{
    Finish,
    buffer::Shared,
    math,
    simd::{Level, Simd, Task},
    winograd::MapSize,
};

/// Elements that one thread takes at a time.
const CHUNK: usize = 32 << 10;

/// `out = function(x)`; both may be the same place.
pub(crate) fn activate(level: Level, function: Finish, x: *const f32, out: &mut [f32]) {
    let x = Source(x);
    each_chunk(out, |start, len, out| {
        // SAFETY: the caller gives as many elements of `x` as of `out`.
        level.run(unsafe { Activate { function, x: x.at(start), out, len } });
    });
}

/// `out = out + x`
pub(crate) fn add(level: Level, x: &[f32], out: &mut [f32]) {
    assert!(x.len() == out.len());
    each_chunk(out, |start, len, out| {
        level.run(Add { x: x[start..start + len].as_ptr(), y: out, out, len });
    });
}

/// `out = x + y`
pub(crate) fn sum(level: Level, x: &[f32], y: &[f32], out: &mut [f32]) {
    assert!(x.len() == out.len() && y.len() == out.len());
    each_chunk(out, |start, len, out| {
        level.run(Add { x: x[start..].as_ptr(), y: y[start..].as_ptr(), out, len });
    });
}

/// `out[row] = x[row][..width] · gelu(x[row][width..])`
pub(crate) fn geglu(level: Level, x: &[f32], width: usize, out: &mut [f32]) {
    assert!(x.len() == 2 * out.len());
    if width == 0 {
        return;
    }
    assert!(out.len().is_multiple_of(width));
    out.par_chunks_exact_mut(width).zip(x.par_chunks_exact(2 * width)).with_min_len(8).for_each(
        |(out, x)| {
            let (hidden, gate) = x.split_at(width);
            level.run(Gated { hidden, gate, out });
        },
    );
}

/// Rows of `first` elements of `x` beside rows of `second` elements of `y`.
pub(crate) fn beside(x: &[f32], first: usize, y: &[f32], second: usize, out: &mut [f32]) {
    assert!(x.len() + y.len() == out.len());
    if first == 0 || second == 0 {
        out.copy_from_slice(if first == 0 { y } else { x });
        return;
    }
    out.par_chunks_exact_mut(first + second)
        .zip(x.par_chunks_exact(first).zip(y.par_chunks_exact(second)))
        .with_min_len(16)
        .for_each(|(out, (x, y))| {
            out[..first].copy_from_slice(x);
            out[first..].copy_from_slice(y);
        });
}

/// The nearest pixel of `x` for each pixel of the result.
pub(crate) fn nearest(x: &[f32], size: MapSize, result: MapSize, out: &mut [f32]) {
    assert!(x.len() == size.len() && out.len() == result.len());
    let channels = size.channels;
    if out.is_empty() {
        return;
    }
    out.par_chunks_exact_mut(result.width * channels).enumerate().for_each(|(line, out)| {
        let (sample, y) = (line / result.height, line % result.height);
        let start = (sample * size.height + y * size.height / result.height) * size.width;
        for (column, pixel) in out.chunks_exact_mut(channels).enumerate() {
            let from = (start + column * size.width / result.width) * channels;
            pixel.copy_from_slice(&x[from..from + channels]);
        }
    });
}

#[derive(Clone, Copy)]
struct Source(*const f32);

// SAFETY: what is read there is written by nobody else meanwhile.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Source {
    /// # Safety
    ///
    /// `index` is within the place.
    unsafe fn at(self, index: usize) -> *const f32 {
        // SAFETY: as the caller vouches.
        unsafe { self.0.add(index) }
    }
}

fn each_chunk(out: &mut [f32], work: impl Fn(usize, usize, *mut f32) + Sync) {
    let len = out.len();
    let out = Shared::new(out);
    (0..len.div_ceil(CHUNK)).into_par_iter().for_each(|chunk| {
        let start = chunk * CHUNK;
        // SAFETY: chunks do not overlap.
        work(start, CHUNK.min(len - start), unsafe { out.at(start) });
    });
}

struct Activate {
    function: Finish,
    x: *const f32,
    out: *mut f32,
    len: usize,
}

impl Task for Activate {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { function, x, out, len } = self;
        let mut at = 0;
        while at < len {
            let count = (len - at).min(S::LANES);
            // SAFETY: both places hold `len` elements; the caller vouches for the processor.
            unsafe {
                let value = S::load_first(x.add(at), count);
                S::store_first(out.add(at), count, math::finish::<S>(function, value));
            }
            at += S::LANES;
        }
    }
}

struct Add {
    x: *const f32,
    y: *const f32,
    out: *mut f32,
    len: usize,
}

impl Task for Add {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, y, out, len } = self;
        let mut at = 0;
        while at < len {
            let count = (len - at).min(S::LANES);
            // SAFETY: all places hold `len` elements; the caller vouches for the processor.
            unsafe {
                let value =
                    S::add(S::load_first(x.add(at), count), S::load_first(y.add(at), count));
                S::store_first(out.add(at), count, value);
            }
            at += S::LANES;
        }
    }
}

struct Gated<'a> {
    hidden: &'a [f32],
    gate: &'a [f32],
    out: &'a mut [f32],
}

impl Task for Gated<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { hidden, gate, out } = self;
        let mut at = 0;
        while at < out.len() {
            let count = (out.len() - at).min(S::LANES);
            // SAFETY: all three are of one length; the caller vouches for the processor.
            unsafe {
                let gate = math::gelu::<S>(S::load_first(gate.as_ptr().add(at), count));
                let value = S::mul(S::load_first(hidden.as_ptr().add(at), count), gate);
                S::store_first(out.as_mut_ptr().add(at), count, value);
            }
            at += S::LANES;
        }
    }
}
