/* simd_avx512.h - simd.h for AVX-512 (F, BW, DQ, VL): 16 floats. */
#ifndef BITNET_KIT_SIMD_AVX512_H
#define BITNET_KIT_SIMD_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define VL 16

typedef __m512 vf;
typedef __m512i vi, vh, vs;

static inline vf vf_zero(void) { return _mm512_setzero_ps(); }
static inline vf vf_set1(float x) { return _mm512_set1_ps(x); }
static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }

static inline vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    const __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

static inline vf vf_load_i8(const int8_t *p)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

static inline vf vf_load_i32(const int32_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_loadu_si512(p));
}

static inline void vf_store_f16(uint16_t *p, vf v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_fms(vf a, vf b, vf c) { return _mm512_fmsub_ps(a, b, c); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }

static inline vi vf_bits(vf v) { return _mm512_castps_si512(v); }

static inline vf vf_abs(vf a)
{
    return _mm512_castsi512_ps(_mm512_and_si512(vf_bits(a), _mm512_set1_epi32(INT32_MAX)));
}

static inline vf vf_neg(vf a)
{
    return _mm512_castsi512_ps(_mm512_xor_si512(vf_bits(a), _mm512_set1_epi32(INT32_MIN)));
}

static inline vf vf_ge(vf x, vf lo, vf v)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, lo, _CMP_GE_OQ), v);
}

static inline vi vf_rint(vf v) { return _mm512_cvtps_epi32(v); }

static inline vf vf_scale(vf p, vf n)
{
    const vi up = _mm512_slli_epi32(vf_rint(n), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(vf_bits(p), up));
}

static inline bool vf_finite(vf v)
{
    const vi inf = _mm512_set1_epi32(0x7f800000);
    return !_mm512_cmpeq_epi32_mask(_mm512_and_si512(vf_bits(v), inf), inf);
}

static inline vi vi_zero(void) { return _mm512_setzero_si512(); }
static inline vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline void vi_store(int32_t *p, vi v) { _mm512_storeu_si512(p, v); }

static inline void vi_store_i8(int8_t *p, vi v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(v));
}

static inline void vi_store_i16(int16_t *p, vi v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(v));
}

static inline vh vh_load_i8(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vh vh_set2(int32_t two) { return _mm512_set1_epi32(two); }

static inline vs vs_zero(void) { return _mm512_setzero_si512(); }

static inline vs vs_dot(vh a, vh b, vs c)
{
#ifdef __AVX512VNNI__
    return _mm512_dpwssd_epi32(c, a, b);
#else
    return _mm512_add_epi32(c, _mm512_madd_epi16(a, b));
#endif
}

static inline vf vs_float(vs c) { return _mm512_cvtepi32_ps(c); }

/* Blocks of 4 x 4 first, each within its 128 bits: after two rounds v[i] holds
 * column i % 4 of rows 4*(i/4) .. +3, for every block of four columns; then the
 * blocks change places. */
static inline void vf_transpose(vf v[VL])
{
    vf t[VL];
    for (int i = 0; i < VL; i += 4) {
        const vf a = _mm512_unpacklo_ps(v[i], v[i + 1]), b = _mm512_unpackhi_ps(v[i], v[i + 1]);
        const vf c = _mm512_unpacklo_ps(v[i + 2], v[i + 3]);
        const vf d = _mm512_unpackhi_ps(v[i + 2], v[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    for (int i = 0; i < 4; i++) {
        const vf a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        const vf b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        const vf c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        const vf d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        v[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        v[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        v[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

#endif
