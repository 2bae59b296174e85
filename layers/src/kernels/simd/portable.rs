//! Plain Rust, on every processor.

use super::{Level, Simd, by_halves, pair};

const PORTABLE_LANES: usize = 8;

/// Arrays that the compiler vectorises as it can.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Portable {
    #[inline(always)]
    fn map(a: [f32; 8], f: impl Fn(f32) -> f32) -> [f32; 8] {
        std::array::from_fn(|lane| f(a[lane]))
    }

    #[inline(always)]
    fn zip(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
        std::array::from_fn(|lane| f(a[lane], b[lane]))
    }
}

impl Simd for Portable {
    type V = [f32; PORTABLE_LANES];
    const LEVEL: Level = Level::Portable;
    const LANES: usize = PORTABLE_LANES;
    const ROWS: usize = 4;
    const COLUMNS: usize = 2;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; PORTABLE_LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for the elements.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for the elements.
        unsafe { to.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        let mut v = [0.0; PORTABLE_LANES];
        for (lane, value) in v.iter_mut().take(count).enumerate() {
            // SAFETY: the caller vouches for `count` elements.
            *value = unsafe { from.add(lane).read() };
        }
        v
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, v: Self::V) {
        for (lane, value) in v.into_iter().take(count).enumerate() {
            // SAFETY: the caller vouches for `count` elements.
            unsafe { to.add(lane).write(value) };
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not `mul_add`, which is a call to a library where the processor has no such instruction.
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::V {
        // Adding and taking away 1.5 · 2²³ rounds where |a| < 2²², as all exponents are here.
        const SHIFT: f32 = 12_582_912.0;
        Self::map(a, |a| (a + SHIFT) - SHIFT)
    }
    #[inline(always)]
    unsafe fn exp2_of_whole(a: Self::V) -> Self::V {
        Self::map(a, |a| f32::from_bits(((a as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn with_sign(a: Self::V, sign: Self::V) -> Self::V {
        Self::zip(a, sign, f32::copysign)
    }
    #[inline(always)]
    unsafe fn sum(a: Self::V) -> f32 {
        a.iter().sum()
    }
    #[inline(always)]
    unsafe fn largest(a: Self::V) -> f32 {
        a.iter().copied().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn split_bf16(pairs: Self::V) -> (Self::V, Self::V) {
        let pairs = pairs.map(f32::to_bits);
        (
            std::array::from_fn(|lane| f32::from_bits(pairs[lane] << 16)),
            std::array::from_fn(|lane| f32::from_bits(pairs[lane] & 0xFFFF_0000)),
        )
    }
    #[inline(always)]
    unsafe fn split_f16(pairs: Self::V) -> (Self::V, Self::V) {
        let pairs = pairs.map(f32::to_bits);
        (
            std::array::from_fn(|lane| widen_f16(pairs[lane] as u16)),
            std::array::from_fn(|lane| widen_f16((pairs[lane] >> 16) as u16)),
        )
    }
    #[inline(always)]
    unsafe fn pair_bf16(first: Self::V, second: Self::V) -> Self::V {
        Self::zip(first, second, pair)
    }
    #[inline(always)]
    unsafe fn prefetch(_from: *const u8) {}
    #[inline(always)]
    unsafe fn transpose(rows: [Self::V; 16]) -> [Self::V; 16] {
        std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column % PORTABLE_LANES]))
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::V, a: u32, b: *const u32) -> Self::V {
        // SAFETY: the caller vouches for the elements.
        unsafe { by_halves::<Self>(sum, a, b) }
    }
}

/// The value of an f16, given by its bits.
#[inline(always)]
fn widen_f16(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7FFF);
    let bits = if magnitude >= 0x7C00 {
        // Infinity, or no number.
        magnitude << 13 | 0x7F80_0000
    } else {
        // 2¹¹² makes up for the difference of the exponents' offsets, for subnormals as well.
        (f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000)).to_bits()
    };
    f32::from_bits(bits | sign)
}
