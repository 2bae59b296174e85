//! Vectors of f32 on the instruction sets that the kernels know, chosen when the program runs.
//!
//! A kernel is a [`Task`] whose body is generic over [`Simd`]; [`Level::run`] compiles it once for
//! each instruction set and calls the one asked for.

use std::sync::OnceLock;

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Plain Rust, on every processor.
    Portable,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same with products of bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

impl Level {
    /// The best one that this processor has.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().last().copied().unwrap_or(Self::Portable))
    }

    /// All that this processor has, the best last.
    pub(crate) fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let mut levels = vec![Self::Portable];
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 {
                levels.push(Self::Avx2);
            }
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                levels.push(Self::Avx512);
                if is_x86_feature_detected!("avx512bf16") {
                    levels.push(Self::Avx512Bf16);
                }
            }
            levels
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::Portable]
    }

    /// Runs `task` with this instruction set.
    #[inline]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            // SAFETY: plain Rust needs no processor feature.
            Self::Portable => unsafe { task.run::<Portable>() },
            // SAFETY: a level is only made by `available`, which has asked the processor.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::avx512(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => unsafe { x86::avx512_bf16(task) },
        }
    }
}

/// A kernel, with what it works on.
pub(crate) trait Task {
    type Output;

    /// The body, to be marked `#[inline(always)]` so that it becomes part of a function that is
    /// compiled for `S`.
    ///
    /// # Safety
    ///
    /// The processor must have the instruction set `S`.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// A vector of [`Simd::LANES`] f32.
///
/// # Safety
///
/// Every function needs a processor with the instruction set; those with pointers need
/// [`Simd::LANES`] (or `count`) valid elements there, without any alignment.
pub(crate) trait Simd: Copy {
    type V: Copy;
    /// For what is called and not made a part of the caller.
    const LEVEL: Level;
    const LANES: usize;
    /// Rows of a matrix that are multiplied at once.
    const ROWS: usize;
    /// Vectors of columns that are multiplied at once.
    const COLUMNS: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    /// Loads `count` elements, at most [`Simd::LANES`], and zeros.
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V;
    /// Stores the first `count` elements.
    unsafe fn store_first(to: *mut f32, count: usize, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn round(a: Self::V) -> Self::V;
    /// 2 to the power of a whole number from -126 to 127.
    unsafe fn exp2_of_whole(a: Self::V) -> Self::V;
    /// `a` with the sign of `sign`, where `a` is not negative.
    unsafe fn with_sign(a: Self::V, sign: Self::V) -> Self::V;
    unsafe fn sum(a: Self::V) -> f32;
    unsafe fn largest(a: Self::V) -> f32;
    /// [`Simd::LANES`] pairs of bf16 as f32: the first and the second of each.
    unsafe fn split_bf16(pairs: Self::V) -> (Self::V, Self::V);
    /// The same of f16.
    unsafe fn split_f16(pairs: Self::V) -> (Self::V, Self::V);
    /// Two vectors rounded to bf16, as pairs; not for NaN.
    unsafe fn pair_bf16(first: Self::V, second: Self::V) -> Self::V;
    /// Asks for the cache line at an address, which need not be there, to be read soon.
    unsafe fn prefetch(from: *const u8);
    /// Rows and columns of the first [`Simd::LANES`] vectors exchanged; the others mean nothing.
    unsafe fn transpose(rows: [Self::V; 16]) -> [Self::V; 16];
    /// `sum + a · b` of pairs of bf16: `b` are those that lie at [`Simd::LANES`] places.
    unsafe fn dot(sum: Self::V, a: u32, b: *const u32) -> Self::V;
}

/// The bf16 that is nearest to an f32, of two the even one; not for NaN.
pub(crate) fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16
}

const PORTABLE_LANES: usize = 8;

/// Arrays that the compiler vectorises as it can.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

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

/// Two bf16 in the place of an f32.
#[inline(always)]
pub(crate) fn pair(first: f32, second: f32) -> f32 {
    f32::from_bits(u32::from(to_bf16(first)) | u32::from(to_bf16(second)) << 16)
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

/// [`Simd::dot`] in f32.
///
/// # Safety
///
/// As [`Simd::dot`].
#[inline(always)]
unsafe fn by_halves<S: Simd>(sum: S::V, a: u32, b: *const u32) -> S::V {
    // SAFETY: as the caller vouches.
    unsafe {
        let (first, second) = S::split_bf16(S::load(b.cast()));
        let sum = S::fma(S::splat(f32::from_bits(a << 16)), first, sum);
        S::fma(S::splat(f32::from_bits(a & 0xFFFF_0000)), second, sum)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Level, Simd, Task, by_halves};

    /// # Safety
    ///
    /// The processor must have AVX2, FMA and F16C.
    #[target_feature(enable = "avx,avx2,fma,f16c")]
    pub(super) unsafe fn avx2<T: Task>(task: T) -> T::Output {
        // SAFETY: the caller vouches for the processor.
        unsafe { task.run::<Avx2>() }
    }

    /// # Safety
    ///
    /// The processor must have AVX-512 F, BW, DQ and VL.
    #[target_feature(enable = "avx,avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn avx512<T: Task>(task: T) -> T::Output {
        // SAFETY: the caller vouches for the processor.
        unsafe { task.run::<Avx512<false>>() }
    }

    /// # Safety
    ///
    /// The processor must have AVX-512 F, BW, DQ, VL and BF16.
    #[target_feature(enable = "avx,avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn avx512_bf16<T: Task>(task: T) -> T::Output {
        // SAFETY: the caller vouches for the processor.
        unsafe { task.run::<Avx512<true>>() }
    }

    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2;

    /// The first `count` lanes set.
    #[inline(always)]
    unsafe fn mask8(count: usize) -> __m256i {
        // SAFETY: as every function of `Simd`.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
        }
    }

    // SAFETY of every block below: the functions are `unsafe` with the terms that `Simd` states.
    impl Simd for Avx2 {
        type V = __m256;
        const LEVEL: Level = Level::Avx2;
        const LANES: usize = 8;
        const ROWS: usize = 6;
        const COLUMNS: usize = 2;

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m256) {
            unsafe { _mm256_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> __m256 {
            unsafe { _mm256_maskload_ps(from, mask8(count)) }
        }
        #[inline(always)]
        unsafe fn store_first(to: *mut f32, count: usize, v: __m256) {
            unsafe { _mm256_maskstore_ps(to, mask8(count), v) }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn round(a: __m256) -> __m256 {
            unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        unsafe fn exp2_of_whole(a: __m256) -> __m256 {
            unsafe {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            }
        }
        #[inline(always)]
        unsafe fn with_sign(a: __m256, sign: __m256) -> __m256 {
            unsafe { _mm256_or_ps(a, _mm256_and_ps(sign, _mm256_set1_ps(-0.0))) }
        }
        #[inline(always)]
        unsafe fn sum(a: __m256) -> f32 {
            unsafe {
                let mut lanes = [0.0_f32; 8];
                _mm256_storeu_ps(lanes.as_mut_ptr(), a);
                lanes.iter().sum()
            }
        }
        #[inline(always)]
        unsafe fn largest(a: __m256) -> f32 {
            unsafe {
                let mut lanes = [0.0_f32; 8];
                _mm256_storeu_ps(lanes.as_mut_ptr(), a);
                lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
            }
        }
        #[inline(always)]
        unsafe fn split_bf16(pairs: __m256) -> (__m256, __m256) {
            unsafe {
                let pairs = _mm256_castps_si256(pairs);
                let second = _mm256_and_si256(pairs, _mm256_set1_epi32(0xFFFF_0000_u32 as i32));
                (_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(second))
            }
        }
        #[inline(always)]
        unsafe fn split_f16(pairs: __m256) -> (__m256, __m256) {
            unsafe {
                let pairs = _mm256_castps_si256(pairs);
                let first = _mm256_and_si256(pairs, _mm256_set1_epi32(0xFFFF));
                let second = _mm256_srli_epi32::<16>(pairs);
                let halves = _mm256_permute4x64_epi64::<0xD8>(_mm256_packus_epi32(first, second));
                (
                    _mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                    _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(halves)),
                )
            }
        }
        #[inline(always)]
        unsafe fn pair_bf16(first: __m256, second: __m256) -> __m256 {
            unsafe {
                // To the nearest, of two the even one, as `to_bf16`.
                let rounded = |x: __m256| {
                    let bits = _mm256_castps_si256(x);
                    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                    _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd)
                };
                let second =
                    _mm256_and_si256(rounded(second), _mm256_set1_epi32(0xFFFF_0000_u32 as i32));
                let first = _mm256_srli_epi32::<16>(rounded(first));
                _mm256_castsi256_ps(_mm256_or_si256(first, second))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(from: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn transpose(r: [__m256; 16]) -> [__m256; 16] {
            unsafe {
                // Pairs, then fours of each half, then halves.
                let mut out = r;
                let (mut pairs, mut fours) = ([r[0]; 8], [r[0]; 8]);
                for i in 0..4 {
                    pairs[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                    pairs[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
                }
                for i in 0..2 {
                    let [a, b, c, d] = [4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3];
                    fours[a] = _mm256_shuffle_ps::<0x44>(pairs[a], pairs[c]);
                    fours[b] = _mm256_shuffle_ps::<0xEE>(pairs[a], pairs[c]);
                    fours[c] = _mm256_shuffle_ps::<0x44>(pairs[b], pairs[d]);
                    fours[d] = _mm256_shuffle_ps::<0xEE>(pairs[b], pairs[d]);
                }
                for i in 0..4 {
                    out[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
                    out[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
                }
                out
            }
        }
        #[inline(always)]
        unsafe fn dot(sum: __m256, a: u32, b: *const u32) -> __m256 {
            unsafe { by_halves::<Self>(sum, a, b) }
        }
    }

    /// With or without products of bf16.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx512<const BF16: bool>;

    /// The first `count` lanes set.
    #[inline(always)]
    fn mask16(count: usize) -> __mmask16 {
        ((1_u32 << count.min(16)) - 1) as __mmask16
    }

    impl<const BF16: bool> Simd for Avx512<BF16> {
        type V = __m512;
        const LEVEL: Level = if BF16 { Level::Avx512Bf16 } else { Level::Avx512 };
        const LANES: usize = 16;
        const ROWS: usize = 12;
        const COLUMNS: usize = 2;

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> __m512 {
            unsafe { _mm512_maskz_loadu_ps(mask16(count), from) }
        }
        #[inline(always)]
        unsafe fn store_first(to: *mut f32, count: usize, v: __m512) {
            unsafe { _mm512_mask_storeu_ps(to, mask16(count), v) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn round(a: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        unsafe fn exp2_of_whole(a: __m512) -> __m512 {
            unsafe {
                let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
            }
        }
        #[inline(always)]
        unsafe fn with_sign(a: __m512, sign: __m512) -> __m512 {
            unsafe { _mm512_or_ps(a, _mm512_and_ps(sign, _mm512_set1_ps(-0.0))) }
        }
        #[inline(always)]
        unsafe fn sum(a: __m512) -> f32 {
            unsafe { _mm512_reduce_add_ps(a) }
        }
        #[inline(always)]
        unsafe fn largest(a: __m512) -> f32 {
            unsafe { _mm512_reduce_max_ps(a) }
        }
        #[inline(always)]
        unsafe fn split_bf16(pairs: __m512) -> (__m512, __m512) {
            unsafe {
                let pairs = _mm512_castps_si512(pairs);
                let second = _mm512_and_si512(pairs, _mm512_set1_epi32(0xFFFF_0000_u32 as i32));
                (_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(second))
            }
        }
        #[inline(always)]
        unsafe fn split_f16(pairs: __m512) -> (__m512, __m512) {
            unsafe {
                let pairs = _mm512_castps_si512(pairs);
                let second = _mm512_srli_epi32::<16>(pairs);
                (
                    _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs)),
                    _mm512_cvtph_ps(_mm512_cvtepi32_epi16(second)),
                )
            }
        }
        #[inline(always)]
        unsafe fn pair_bf16(first: __m512, second: __m512) -> __m512 {
            unsafe {
                // To the nearest, of two the even one, as `to_bf16`.
                let rounded = |x: __m512| {
                    let bits = _mm512_castps_si512(x);
                    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                    _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd)
                };
                let second =
                    _mm512_and_si512(rounded(second), _mm512_set1_epi32(0xFFFF_0000_u32 as i32));
                let first = _mm512_srli_epi32::<16>(rounded(first));
                _mm512_castsi512_ps(_mm512_or_si512(first, second))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(from: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn transpose(r: [__m512; 16]) -> [__m512; 16] {
            unsafe {
                // Pairs, then fours of each quarter, then quarters.
                let (mut pairs, mut fours, mut out) = (r, r, r);
                for i in 0..8 {
                    pairs[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                    pairs[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
                }
                for i in 0..4 {
                    let [a, b, c, d] = [4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3];
                    fours[a] = _mm512_shuffle_ps::<0x44>(pairs[a], pairs[c]);
                    fours[b] = _mm512_shuffle_ps::<0xEE>(pairs[a], pairs[c]);
                    fours[c] = _mm512_shuffle_ps::<0x44>(pairs[b], pairs[d]);
                    fours[d] = _mm512_shuffle_ps::<0xEE>(pairs[b], pairs[d]);
                }
                for i in 0..4 {
                    let [a, b, c, d] = [fours[i], fours[i + 4], fours[i + 8], fours[i + 12]];
                    let (ab, cd) =
                        (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
                    out[i] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
                    out[i + 8] = _mm512_shuffle_f32x4::<0xDD>(ab, cd);
                    let (ab, cd) =
                        (_mm512_shuffle_f32x4::<0xDD>(a, b), _mm512_shuffle_f32x4::<0xDD>(c, d));
                    out[i + 4] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
                    out[i + 12] = _mm512_shuffle_f32x4::<0xDD>(ab, cd);
                }
                out
            }
        }
        #[inline(always)]
        unsafe fn dot(sum: __m512, a: u32, b: *const u32) -> __m512 {
            unsafe {
                if !BF16 {
                    return by_halves::<Self>(sum, a, b);
                }
                // The same 512 bits, which the instruction takes for pairs of bf16.
                let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(a as i32));
                let b: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.cast()));
                _mm512_dpbf16_ps(sum, a, b)
            }
        }
    }
}
