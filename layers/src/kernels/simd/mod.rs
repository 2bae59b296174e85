//! Vectors of f32 on the instruction sets that the kernels know, chosen when the program runs.
//!
//! A kernel is a [`Task`] whose body is generic over [`Simd`]; [`Level::run`] compiles it once for
//! each instruction set and calls the one asked for.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use portable::Portable;

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Plain Rust, on every processor.
    Portable,
    /// NEON, which every processor of 64-bit ARM has.
    #[cfg(target_arch = "aarch64")]
    Neon,
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
        #[cfg(target_arch = "aarch64")]
        return vec![Self::Portable, Self::Neon];
        #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
        vec![Self::Portable]
    }

    /// Runs `task` with this instruction set.
    #[inline]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            // SAFETY: plain Rust needs no processor feature.
            Self::Portable => unsafe { task.run::<Portable>() },
            // SAFETY: where this is compiled, so is everything else with NEON.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { task.run::<neon::Neon>() },
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

/// Two bf16 in the place of an f32.
#[inline(always)]
pub(crate) fn pair(first: f32, second: f32) -> f32 {
    f32::from_bits(u32::from(to_bf16(first)) | u32::from(to_bf16(second)) << 16)
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
