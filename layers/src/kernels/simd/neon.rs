//! NEON of 64-bit ARM.

use std::arch::{aarch64::*, asm};

use super::{Level, Simd, by_halves};

/// Two registers, so that panels and pairs are as wide as those of AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eight(float32x4_t, float32x4_t);

#[derive(Debug, Clone, Copy)]
pub(super) struct Neon;

impl Eight {
    #[inline(always)]
    fn map(self, f: impl Fn(float32x4_t) -> float32x4_t) -> Self {
        Self(f(self.0), f(self.1))
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Self {
        Self(f(self.0, other.0), f(self.1, other.1))
    }
}

/// Rows and columns of four vectors exchanged.
#[inline(always)]
unsafe fn transpose4([a, b, c, d]: [float32x4_t; 4]) -> [float32x4_t; 4] {
    // SAFETY: as every function of `Simd`.
    unsafe {
        let (low, high) = (vzip1q_f32(a, c), vzip2q_f32(a, c));
        let (low_after, high_after) = (vzip1q_f32(b, d), vzip2q_f32(b, d));
        [
            vzip1q_f32(low, low_after),
            vzip2q_f32(low, low_after),
            vzip1q_f32(high, high_after),
            vzip2q_f32(high, high_after),
        ]
    }
}

/// The values of f16 in the lower halves of the lanes; the upper halves are zeros.
#[inline(always)]
unsafe fn widen_f16(halves: uint32x4_t) -> float32x4_t {
    // SAFETY: as every function of `Simd`. The instruction reads the four f16 that are left when
    // each lane is narrowed to its lower half.
    unsafe {
        let halves = vmovn_u32(halves);
        let wide: float32x4_t;
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) wide, in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags));
        wide
    }
}

/// Rounded to bf16, which is left in the upper half: to the nearest, of two the even one.
#[inline(always)]
unsafe fn round_bf16(x: float32x4_t) -> uint32x4_t {
    // SAFETY: as every function of `Simd`.
    unsafe {
        let bits = vreinterpretq_u32_f32(x);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), odd)
    }
}

// SAFETY of every block below: the functions are `unsafe` with the terms that `Simd` states, and
// NEON is part of the architecture.
impl Simd for Neon {
    type V = Eight;
    const LEVEL: Level = Level::Neon;
    const LANES: usize = 8;
    // With two vectors of columns 24 of the 32 registers hold sums.
    const ROWS: usize = 6;
    const COLUMNS: usize = 2;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Eight {
        unsafe { Eight(vdupq_n_f32(x), vdupq_n_f32(x)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Eight {
        unsafe { Eight(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Eight) {
        unsafe {
            vst1q_f32(to, v.0);
            vst1q_f32(to.add(4), v.1);
        }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Eight {
        unsafe {
            if count >= Self::LANES {
                return Self::load(from);
            }
            let mut lanes = [0.0_f32; Self::LANES];
            from.copy_to_nonoverlapping(lanes.as_mut_ptr(), count);
            Self::load(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, v: Eight) {
        unsafe {
            if count >= Self::LANES {
                return Self::store(to, v);
            }
            let mut lanes = [0.0_f32; Self::LANES];
            Self::store(lanes.as_mut_ptr(), v);
            lanes.as_ptr().copy_to_nonoverlapping(to, count);
        }
    }
    #[inline(always)]
    unsafe fn add(a: Eight, b: Eight) -> Eight {
        a.zip(b, |a, b| unsafe { vaddq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn sub(a: Eight, b: Eight) -> Eight {
        a.zip(b, |a, b| unsafe { vsubq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn mul(a: Eight, b: Eight) -> Eight {
        a.zip(b, |a, b| unsafe { vmulq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn div(a: Eight, b: Eight) -> Eight {
        a.zip(b, |a, b| unsafe { vdivq_f32(a, b) })
    }
    // Of a number and no number the second, as on the other processors; `vminq_f32` gives neither.
    #[inline(always)]
    unsafe fn min(a: Eight, b: Eight) -> Eight {
        a.zip(b, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }
    #[inline(always)]
    unsafe fn max(a: Eight, b: Eight) -> Eight {
        a.zip(b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }
    #[inline(always)]
    unsafe fn fma(a: Eight, b: Eight, c: Eight) -> Eight {
        unsafe { Eight(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn round(a: Eight) -> Eight {
        a.map(|a| unsafe { vrndnq_f32(a) })
    }
    #[inline(always)]
    unsafe fn exp2_of_whole(a: Eight) -> Eight {
        a.map(|a| unsafe {
            let exponent = vaddq_s32(vcvtnq_s32_f32(a), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
        })
    }
    #[inline(always)]
    unsafe fn with_sign(a: Eight, sign: Eight) -> Eight {
        a.zip(sign, |a, sign| unsafe { vbslq_f32(vdupq_n_u32(1 << 31), sign, a) })
    }
    #[inline(always)]
    unsafe fn sum(a: Eight) -> f32 {
        unsafe { vaddvq_f32(vaddq_f32(a.0, a.1)) }
    }
    #[inline(always)]
    unsafe fn largest(a: Eight) -> f32 {
        unsafe { vmaxnmvq_f32(vmaxnmq_f32(a.0, a.1)) }
    }
    #[inline(always)]
    unsafe fn split_bf16(pairs: Eight) -> (Eight, Eight) {
        unsafe {
            let first = |v| vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(v)));
            let upper = vdupq_n_u32(0xFFFF_0000);
            let second = |v| vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), upper));
            (pairs.map(first), pairs.map(second))
        }
    }
    #[inline(always)]
    unsafe fn split_f16(pairs: Eight) -> (Eight, Eight) {
        unsafe {
            let first = |v| widen_f16(vreinterpretq_u32_f32(v));
            let second = |v| widen_f16(vshrq_n_u32::<16>(vreinterpretq_u32_f32(v)));
            (pairs.map(first), pairs.map(second))
        }
    }
    #[inline(always)]
    unsafe fn pair_bf16(first: Eight, second: Eight) -> Eight {
        first.zip(second, |first, second| unsafe {
            // The upper half of `first` goes to the lower half, that of `second` stays.
            vreinterpretq_f32_u32(vsriq_n_u32::<16>(round_bf16(second), round_bf16(first)))
        })
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) from, options(readonly, nostack, preserves_flags));
        }
    }
    #[inline(always)]
    unsafe fn transpose(rows: [Eight; 16]) -> [Eight; 16] {
        unsafe {
            let [upper_left, lower_left] =
                [0, 4].map(|first| transpose4(std::array::from_fn(|i| rows[first + i].0)));
            let [upper_right, lower_right] =
                [0, 4].map(|first| transpose4(std::array::from_fn(|i| rows[first + i].1)));
            let mut out = rows;
            for i in 0..4 {
                out[i] = Eight(upper_left[i], lower_left[i]);
                out[i + 4] = Eight(upper_right[i], lower_right[i]);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: Eight, a: u32, b: *const u32) -> Eight {
        unsafe { by_halves::<Self>(sum, a, b) }
    }
}
