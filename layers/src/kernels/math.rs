//! Functions of vectors.

use super::{Finish, simd::Simd};

/// The slope of the sigmoid with which OpenAI's CLIP approximates GELU.
pub(super) const QUICK_GELU: f32 = 1.702;

/// `eˣ` to about 2 units in the last place; 0 below -87, largest finite power above 88.
///
/// # Safety
///
/// The processor must have the instruction set `S`.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // ln 2 in two parts, so that a multiple is taken away without rounding (Cody and Waite 1980).
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Taylor's coefficients from 1/2! to 1/7!; |r| is at most ln 2 / 2.
    const COEFFICIENTS: [f32; 6] =
        [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
    // SAFETY: the caller vouches for the processor.
    unsafe {
        let x = S::max(S::min(x, S::splat(88.0)), S::splat(-87.3));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fma(n, S::splat(-LN2_HIGH), x);
        let r = S::fma(n, S::splat(-LN2_LOW), r);
        let mut p = S::splat(COEFFICIENTS[0]);
        for &coefficient in &COEFFICIENTS[1..] {
            p = S::fma(p, r, S::splat(coefficient));
        }
        let p = S::fma(S::mul(p, r), r, S::add(r, S::splat(1.0)));
        S::mul(p, S::exp2_of_whole(n))
    }
}

/// `x / (1 + e^(-x · slope))`: SiLU where the slope is 1.
///
/// # Safety
///
/// The processor must have the instruction set `S`.
#[inline(always)]
pub(super) unsafe fn sigmoid_gated<S: Simd>(x: S::V, slope: f32) -> S::V {
    // SAFETY: the caller vouches for the processor.
    unsafe { S::div(x, S::add(S::splat(1.0), exp::<S>(S::mul(x, S::splat(-slope))))) }
}

/// `x · Φ(x)`, by the error function of Abramowitz and Stegun 7.1.26, whose error is 1.5e-7.
///
/// # Safety
///
/// The processor must have the instruction set `S`.
#[inline(always)]
pub(super) unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_72, 0.254_829_6];
    // SAFETY: the caller vouches for the processor.
    unsafe {
        let one = S::splat(1.0);
        let z = S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let size = S::max(z, S::sub(S::splat(0.0), z));
        let t = S::div(one, S::fma(size, S::splat(P), one));
        let mut p = S::splat(A[0]);
        for &coefficient in &A[1..] {
            p = S::fma(p, t, S::splat(coefficient));
        }
        let tail = S::mul(S::mul(p, t), exp::<S>(S::sub(S::splat(0.0), S::mul(size, size))));
        let erf = S::with_sign(S::sub(one, tail), z);
        S::mul(S::mul(x, S::splat(0.5)), S::add(one, erf))
    }
}

/// Applies a function that follows a product.
///
/// # Safety
///
/// The processor must have the instruction set `S`.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd>(function: Finish, x: S::V) -> S::V {
    // SAFETY: the caller vouches for the processor.
    unsafe {
        match function {
            Finish::Keep => x,
            Finish::Silu => sigmoid_gated::<S>(x, 1.0),
            Finish::QuickGelu => sigmoid_gated::<S>(x, QUICK_GELU),
            Finish::Gelu => gelu::<S>(x),
            Finish::Relu => S::max(x, S::splat(0.0)),
        }
    }
}
