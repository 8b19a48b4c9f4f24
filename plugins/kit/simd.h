/* simd.h - the vector of floats that the kernel templates are written with.
 *
 * The arithmetic contract has lanes run over outputs, so every float kernel is
 * the same text for every vector width. Included by kernel files only, which
 * are compiled with the flags of one instruction set; those flags choose the
 * header behind. Each defines, as static inline functions:
 *
 *   VL                          floats in a vector: 4, 8 or 16
 *   vf, vi                      VL floats; VL int32
 *   vh, vs                      2 VL int16; VL int32, each of which adds up the
 *                               products of two neighbours of a vh
 *
 *   vf_zero() vf_set1(x)        loads and stores need no alignment
 *   vf_load(p) vf_store(p, v)
 *   vf_load_f16(p)              VL f16, widened (exact)
 *   vf_load_bf16(p)             VL bf16, widened (exact)
 *   vf_load_i8(p)               VL int8 as floats
 *   vf_load_i32(p)              VL int32 as floats, nearest even
 *   vf_store_f16(p, v)          to f16, nearest even; too large: Inf
 *   vf_add sub mul div (a, b)   one rounding each
 *   vf_fma(a, b, c)             a*b + c, one rounding
 *   vf_fms(a, b, c)             a*b - c, one rounding
 *   vf_max vf_min (a, b)        for operands that are not NaN
 *   vf_abs(a) vf_neg(a)
 *   vf_ge(x, lo, v)             v where x >= lo, +0 elsewhere (also for NaN x)
 *   vf_scale(p, n)              p * 2^n, by adding integer-valued n to the
 *                               exponent field
 *   vf_finite(v)                true when no lane is NaN or Inf
 *   vf_rint(v)                  vi: to the nearest integer, ties to even
 *   vi_zero() vi_add(a, b)
 *   vi_store(p, v)              VL int32
 *   vi_store_i8(p, v)           VL values of -128..127 as int8
 *   vi_store_i16(p, v)          VL values of -32768..32767 as int16
 *   vh_load_i8(p)               2 VL int8, widened
 *   vh_set2(two)                VL times the two int16 of a word of memory
 *   vs_zero()
 *   vs_dot(a, b, c)             c + a*b, exact below 2^31
 *   vs_float(c)                 vf: the sums, nearest even
 *   vf_transpose(v)             vf v[VL], a VL x VL matrix of rows, in place
 *
 * All floats are binary32, round to nearest even, denormals kept. */
#ifndef BITNET_KIT_SIMD_H
#define BITNET_KIT_SIMD_H

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include "plugins/kit/simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "plugins/kit/simd_avx2.h"
#elif defined(__aarch64__)
#include "plugins/kit/simd_neon.h"
#else
#error "kernel files need the flags of their instruction set"
#endif

#endif
