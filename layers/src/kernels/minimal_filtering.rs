//! Winograd's minimal filtering of three taps: the transforms of one line of a tile.

use super::simd::Simd;

/// Points along a side of the largest tile.
pub(super) const SIDE: usize = 6;

/// A choice of m, with the transforms of one line.
///
/// # Safety
///
/// Every function needs a processor with the instruction set `S`.
pub(super) trait Minimal {
    /// m.
    const OUTPUTS: usize;
    /// m + 2.
    const POINTS: usize;

    unsafe fn input<S: Simd>(d: [S::V; SIDE]) -> [S::V; SIDE];
    unsafe fn kernel<S: Simd>(g: [S::V; 3]) -> [S::V; SIDE];
    unsafe fn output<S: Simd>(m: [S::V; SIDE]) -> [S::V; SIDE];
}

/// F(2×2, 3×3) at the points 0, ±1 and infinity: 2.25 times fewer multiplications.
pub(super) struct Two;

impl Minimal for Two {
    const OUTPUTS: usize = 2;
    const POINTS: usize = 4;

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::V; SIDE]) -> [S::V; SIDE] {
        // SAFETY: the caller vouches for the processor.
        unsafe {
            let zero = S::splat(0.0);
            [
                S::sub(d[0], d[2]),
                S::add(d[1], d[2]),
                S::sub(d[2], d[1]),
                S::sub(d[1], d[3]),
                zero,
                zero,
            ]
        }
    }

    #[inline(always)]
    unsafe fn kernel<S: Simd>(g: [S::V; 3]) -> [S::V; SIDE] {
        // SAFETY: the caller vouches for the processor.
        unsafe {
            let zero = S::splat(0.0);
            let half = S::splat(0.5);
            let even = S::mul(S::add(g[0], g[2]), half);
            let odd = S::mul(g[1], half);
            [g[0], S::add(even, odd), S::sub(even, odd), g[2], zero, zero]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::V; SIDE]) -> [S::V; SIDE] {
        // SAFETY: the caller vouches for the processor.
        unsafe {
            let zero = S::splat(0.0);
            let first = S::add(S::add(m[0], m[1]), m[2]);
            let second = S::sub(S::sub(m[1], m[2]), m[3]);
            [first, second, zero, zero, zero, zero]
        }
    }
}

/// F(4×4, 3×3) at the points 0, ±3/4, ±3/2 and infinity: 4 times fewer multiplications. At these
/// points the sums lose a third of what they lose at the customary 0, ±1, ±2, and the constants are
/// exact in f32.
pub(super) struct Four;

impl Four {
    const A: f32 = 0.75;
    const B: f32 = 1.5;
    const A2: f32 = Self::A * Self::A;
    const B2: f32 = Self::B * Self::B;
    const PRODUCT: f32 = Self::A2 * Self::B2;
    const SUM: f32 = Self::A2 + Self::B2;
}

impl Minimal for Four {
    const OUTPUTS: usize = 4;
    const POINTS: usize = 6;

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::V; SIDE]) -> [S::V; SIDE] {
        // SAFETY: the caller vouches for the processor.
        unsafe {
            let ends = |d0, d2, d4| {
                S::fma(d0, S::splat(Self::PRODUCT), S::fma(d2, S::splat(-Self::SUM), d4))
            };
            let even_a = S::fma(d[2], S::splat(-Self::B2), d[4]);
            let odd_a = S::mul(S::fma(d[1], S::splat(-Self::B2), d[3]), S::splat(Self::A));
            let even_b = S::fma(d[2], S::splat(-Self::A2), d[4]);
            let odd_b = S::mul(S::fma(d[1], S::splat(-Self::A2), d[3]), S::splat(Self::B));
            [
                ends(d[0], d[2], d[4]),
                S::add(even_a, odd_a),
                S::sub(even_a, odd_a),
                S::add(even_b, odd_b),
                S::sub(even_b, odd_b),
                ends(d[1], d[3], d[5]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn kernel<S: Simd>(g: [S::V; 3]) -> [S::V; SIDE] {
        const AT_A: f32 = 1.0 / (2.0 * Four::A2 * (Four::A2 - Four::B2));
        const AT_B: f32 = 1.0 / (2.0 * Four::B2 * (Four::B2 - Four::A2));
        // SAFETY: the caller vouches for the processor.
        unsafe {
            let even_a = S::mul(S::fma(g[2], S::splat(Self::A2), g[0]), S::splat(AT_A));
            let odd_a = S::mul(g[1], S::splat(Self::A * AT_A));
            let even_b = S::mul(S::fma(g[2], S::splat(Self::B2), g[0]), S::splat(AT_B));
            let odd_b = S::mul(g[1], S::splat(Self::B * AT_B));
            [
                S::mul(g[0], S::splat(1.0 / Self::PRODUCT)),
                S::add(even_a, odd_a),
                S::sub(even_a, odd_a),
                S::add(even_b, odd_b),
                S::sub(even_b, odd_b),
                g[2],
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::V; SIDE]) -> [S::V; SIDE] {
        // SAFETY: the caller vouches for the processor.
        unsafe {
            let zero = S::splat(0.0);
            let (even_a, odd_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even_b, odd_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            let [a, b] = [Self::A, Self::B];
            [
                S::add(S::add(m[0], even_a), even_b),
                S::fma(odd_a, S::splat(a), S::mul(odd_b, S::splat(b))),
                S::fma(even_a, S::splat(a * a), S::mul(even_b, S::splat(b * b))),
                S::fma(odd_a, S::splat(a * a * a), S::fma(odd_b, S::splat(b * b * b), m[5])),
                zero,
                zero,
            ]
        }
    }
}
