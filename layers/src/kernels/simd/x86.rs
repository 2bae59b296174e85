//! AVX2 and AVX-512.

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
