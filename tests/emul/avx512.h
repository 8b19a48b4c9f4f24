/* avx512.h - the AVX-512 instructions that our kernels use, on any machine with
 * AVX2: SIMDe's portable forms, and what its version 0.7.4 has not.
 *
 * Given to the compiler with -include, before the kernel's source, which then
 * finds every name of immintrin.h that it uses to be something that needs no
 * AVX-512. A name missing here does not compile, for nothing is built with
 * -mavx512f. Own forms follow the description of the instruction, lane by lane
 * or half by half, on SIMDe's unions. */
#ifndef TESTS_EMUL_AVX512_H
#define TESTS_EMUL_AVX512_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wextra"
#include <immintrin.h>
#include <simde/x86/avx512.h>
#pragma GCC diagnostic pop

/* The headers are read: from here on simd.h is to choose AVX-512, and inline
 * assembly is for machines that have the instruction. */
#define __AVX512F__ 1
#define __AVX512BW__ 1
#define TERN_NO_ASM 1
#ifdef EMULATED_VNNI            /* for what asks whether it is there         */
#define __AVX512VNNI__ 1
#endif

#define __m512 simde__m512
#define __m512i simde__m512i

/* GCC and Clang have macros for different ones of these. */
#undef _mm512_add_epi16
#undef _mm512_add_epi32
#undef _mm512_add_ps
#undef _mm512_and_si512
#undef _mm512_andnot_si512
#undef _mm512_castps_si512
#undef _mm512_castsi512_ps
#undef _mm512_cmp_ps_mask
#undef _mm512_cmpeq_epi32_mask
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepi32_epi8
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepi8_epi16
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtps_ph
#undef _mm512_div_ps
#undef _mm512_dpbusd_epi32
#undef _mm512_dpwssd_epi32
#undef _mm512_fmadd_ps
#undef _mm512_fmsub_ps
#undef _mm512_load_si512
#undef _mm512_loadu_ps
#undef _mm512_loadu_si512
#undef _mm512_madd_epi16
#undef _mm512_maddubs_epi16
#undef _mm512_mask_blend_epi8
#undef _mm512_maskz_mov_ps
#undef _mm512_max_ps
#undef _mm512_min_ps
#undef _mm512_movepi8_mask
#undef _mm512_mul_ps
#undef _mm512_mulhi_epu16
#undef _mm512_permutex2var_epi8
#undef _mm512_set1_epi16
#undef _mm512_set1_epi32
#undef _mm512_set1_epi8
#undef _mm512_set1_ps
#undef _mm512_setzero_ps
#undef _mm512_setzero_si512
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_ps
#undef _mm512_slli_epi32
#undef _mm512_srai_epi32
#undef _mm512_srli_epi16
#undef _mm512_storeu_ps
#undef _mm512_storeu_si512
#undef _mm512_sub_epi32
#undef _mm512_sub_ps
#undef _mm512_unpackhi_ps
#undef _mm512_unpacklo_ps
#undef _mm512_xor_si512

/* ------------------------------------------------------------- SIMDe's own */

#define _mm512_add_epi16         simde_mm512_add_epi16
#define _mm512_add_epi32         simde_mm512_add_epi32
#define _mm512_add_ps            simde_mm512_add_ps
#define _mm512_and_si512         simde_mm512_and_si512
#define _mm512_andnot_si512      simde_mm512_andnot_si512
#define _mm512_castps_si512      simde_mm512_castps_si512
#define _mm512_castsi512_ps      simde_mm512_castsi512_ps
#define _mm512_cmp_ps_mask       simde_mm512_cmp_ps_mask
#define _mm512_cmpeq_epi32_mask  simde_mm512_cmpeq_epi32_mask
#define _mm512_cvtepi8_epi16     simde_mm512_cvtepi8_epi16
#define _mm512_div_ps            simde_mm512_div_ps
#define _mm512_dpwssd_epi32      simde_mm512_dpwssd_epi32
#define _mm512_fmadd_ps          simde_mm512_fmadd_ps
#define _mm512_fmsub_ps          simde_mm512_fmsub_ps
#define _mm512_load_si512        simde_mm512_load_si512
#define _mm512_loadu_ps          simde_mm512_loadu_ps
#define _mm512_loadu_si512       simde_mm512_loadu_si512
#define _mm512_madd_epi16        simde_mm512_madd_epi16
#define _mm512_maddubs_epi16     simde_mm512_maddubs_epi16
#define _mm512_mask_blend_epi8   simde_mm512_mask_blend_epi8
#define _mm512_maskz_mov_ps      simde_mm512_maskz_mov_ps
#define _mm512_max_ps            simde_mm512_max_ps
#define _mm512_min_ps            simde_mm512_min_ps
#define _mm512_movepi8_mask      simde_mm512_movepi8_mask
#define _mm512_mul_ps            simde_mm512_mul_ps
#define _mm512_permutex2var_epi8 simde_mm512_permutex2var_epi8
#define _mm512_set1_epi16        simde_mm512_set1_epi16
#define _mm512_set1_epi32        simde_mm512_set1_epi32
#define _mm512_set1_epi8         simde_mm512_set1_epi8
#define _mm512_set1_ps           simde_mm512_set1_ps
#define _mm512_setzero_ps        simde_mm512_setzero_ps
#define _mm512_setzero_si512     simde_mm512_setzero_si512
#define _mm512_shuffle_f32x4     simde_mm512_shuffle_f32x4
#define _mm512_shuffle_ps        simde_mm512_shuffle_ps
#define _mm512_slli_epi32        simde_mm512_slli_epi32
#define _mm512_srli_epi16        simde_mm512_srli_epi16
#define _mm512_storeu_ps         simde_mm512_storeu_ps
#define _mm512_storeu_si512      simde_mm512_storeu_si512
#define _mm512_sub_epi32         simde_mm512_sub_epi32
#define _mm512_sub_ps            simde_mm512_sub_ps
#define _mm512_unpackhi_ps       simde_mm512_unpackhi_ps
#define _mm512_unpacklo_ps       simde_mm512_unpacklo_ps
#define _mm512_xor_si512         simde_mm512_xor_si512

/* ---------------------------------------------------------------- our own */

#define EMUL static inline __attribute__((always_inline))
#define EMUL_I(x) simde__m512i_from_private(x)
#define EMUL_F(x) simde__m512_from_private(x)

/* Shift right by n, 0..31, copies of the sign coming in. */
#define _mm512_srai_epi32 emul_srai_epi32
EMUL simde__m512i emul_srai_epi32(simde__m512i a, int n)
{
    const simde__m512i_private x = simde__m512i_to_private(a);
    simde__m512i_private r;
    for (int i = 0; i < 2; i++)
        r.m256i[i] = _mm256_srai_epi32(x.m256i[i], n);
    return EMUL_I(r);
}

/* src + the four products of unsigned bytes of a with signed bytes of b, in
 * every lane, without saturation. SIMDe has it too, and takes ten times as
 * long; emul_forms.c compares the two. */
#define _mm512_dpbusd_epi32 emul_dpbusd_epi32
EMUL __m256i emul_half_dpbusd(__m256i src, __m256i a, __m256i b)
{
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(255)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(src, _mm256_add_epi32(even, odd));
}

EMUL simde__m512i emul_dpbusd_epi32(simde__m512i src, simde__m512i a, simde__m512i b)
{
    const simde__m512i_private s = simde__m512i_to_private(src);
    const simde__m512i_private x = simde__m512i_to_private(a), y = simde__m512i_to_private(b);
    simde__m512i_private r;
    for (int i = 0; i < 2; i++)
        r.m256i[i] = emul_half_dpbusd(s.m256i[i], x.m256i[i], y.m256i[i]);
    return EMUL_I(r);
}

/* The upper half of products of unsigned 16 bits. */
#define _mm512_mulhi_epu16 emul_mulhi_epu16
EMUL simde__m512i emul_mulhi_epu16(simde__m512i a, simde__m512i b)
{
    const simde__m512i_private x = simde__m512i_to_private(a), y = simde__m512i_to_private(b);
    simde__m512i_private r;
    for (int i = 0; i < 32; i++)
        r.u16[i] = (uint16_t)((uint32_t)x.u16[i] * y.u16[i] >> 16);
    return EMUL_I(r);
}

#define _mm512_cvtepi8_epi32 emul_cvtepi8_epi32
EMUL simde__m512i emul_cvtepi8_epi32(__m128i a)
{
    simde__m512i_private r;
    r.m256i[0] = _mm256_cvtepi8_epi32(a);
    r.m256i[1] = _mm256_cvtepi8_epi32(_mm_srli_si128(a, 8));
    return EMUL_I(r);
}

#define _mm512_cvtepu16_epi32 emul_cvtepu16_epi32
EMUL simde__m512i emul_cvtepu16_epi32(__m256i a)
{
    simde__m512i_private r;
    r.m256i[0] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(a));
    r.m256i[1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1));
    return EMUL_I(r);
}

#define _mm512_cvtepi32_ps emul_cvtepi32_ps
EMUL simde__m512 emul_cvtepi32_ps(simde__m512i a)
{
    const simde__m512i_private x = simde__m512i_to_private(a);
    simde__m512_private r;
    for (int i = 0; i < 2; i++)
        r.m256[i] = _mm256_cvtepi32_ps(x.m256i[i]);
    return EMUL_F(r);
}

#define _mm512_cvtps_epi32 emul_cvtps_epi32
EMUL simde__m512i emul_cvtps_epi32(simde__m512 a)
{
    const simde__m512_private x = simde__m512_to_private(a);
    simde__m512i_private r;
    for (int i = 0; i < 2; i++)
        r.m256i[i] = _mm256_cvtps_epi32(x.m256[i]);
    return EMUL_I(r);
}

/* The low byte of every lane. */
#define _mm512_cvtepi32_epi16 emul_cvtepi32_epi16
EMUL __m256i emul_cvtepi32_epi16(simde__m512i a)
{
    const simde__m512i_private x = simde__m512i_to_private(a);
    int16_t r[16];
    for (int i = 0; i < 16; i++)
        r[i] = (int16_t)x.i32[i];
    return _mm256_loadu_si256((const __m256i *)(const void *)r);
}

#define _mm512_cvtepi32_epi8 emul_cvtepi32_epi8
EMUL __m128i emul_cvtepi32_epi8(simde__m512i a)
{
    const simde__m512i_private x = simde__m512i_to_private(a);
    uint8_t r[16];
    for (int i = 0; i < 16; i++)
        r[i] = (uint8_t)x.u32[i];
    return _mm_loadu_si128((const __m128i *)(const void *)r);
}

#define _mm512_cvtph_ps emul_cvtph_ps
EMUL simde__m512 emul_cvtph_ps(__m256i a)
{
    simde__m512_private r;
    r.m256[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(a));
    r.m256[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1));
    return EMUL_F(r);
}

/* Rounding to nearest even is the only one used. */
#define _mm512_cvtps_ph(a, rounding) emul_cvtps_ph(a)
EMUL __m256i emul_cvtps_ph(simde__m512 a)
{
    const simde__m512_private x = simde__m512_to_private(a);
    return _mm256_set_m128i(_mm256_cvtps_ph(x.m256[1], _MM_FROUND_TO_NEAREST_INT),
                            _mm256_cvtps_ph(x.m256[0], _MM_FROUND_TO_NEAREST_INT));
}

#endif
