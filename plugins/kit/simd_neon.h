/* simd_neon.h - simd.h for AArch64: four floats.
 *
 * Everything here is in the baseline of the architecture: fused multiply-add,
 * conversion from and to f16, rounding to nearest even in one instruction. */
#ifndef BITNET_KIT_SIMD_NEON_H
#define BITNET_KIT_SIMD_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VL 4

typedef float32x4_t vf;
typedef int32x4_t vi;
typedef int16x8_t vh;
typedef int32x4x2_t vs;         /* products 0..3 and 4..7, not yet added     */

static inline vf vf_zero(void) { return vdupq_n_f32(0.0f); }
static inline vf vf_set1(float x) { return vdupq_n_f32(x); }
static inline vf vf_load(const float *p) { return vld1q_f32(p); }
static inline void vf_store(float *p, vf v) { vst1q_f32(p, v); }

static inline vf vf_load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}

static inline vf vf_load_i8(const int8_t *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}

static inline vf vf_load_i32(const int32_t *p) { return vcvtq_f32_s32(vld1q_s32(p)); }

static inline void vf_store_f16(uint16_t *p, vf v)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

static inline vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf vf_fms(vf a, vf b, vf c) { return vfmaq_f32(vnegq_f32(c), a, b); }
static inline vf vf_max(vf a, vf b) { return vmaxq_f32(a, b); }
static inline vf vf_min(vf a, vf b) { return vminq_f32(a, b); }
static inline vf vf_abs(vf a) { return vabsq_f32(a); }
static inline vf vf_neg(vf a) { return vnegq_f32(a); }

static inline vf vf_ge(vf x, vf lo, vf v)
{
    return vreinterpretq_f32_u32(vandq_u32(vcgeq_f32(x, lo), vreinterpretq_u32_f32(v)));
}

static inline vf vf_scale(vf p, vf n)
{
    const int32x4_t exponent = vshlq_n_s32(vcvtq_s32_f32(n), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), exponent));
}

static inline bool vf_finite(vf v)
{
    return vmaxvq_u32(vreinterpretq_u32_f32(vabsq_f32(v))) < 0x7f800000u;
}

static inline vi vf_rint(vf v) { return vcvtnq_s32_f32(v); }

static inline vi vi_zero(void) { return vdupq_n_s32(0); }
static inline vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
static inline void vi_store(int32_t *p, vi v) { vst1q_s32(p, v); }

static inline void vi_store_i8(int8_t *p, vi v)
{
    const int16x4_t half = vmovn_s32(v);
    const uint32x2_t four = vreinterpret_u32_s8(vmovn_s16(vcombine_s16(half, half)));
    const uint32_t word = vget_lane_u32(four, 0);
    memcpy(p, &word, sizeof word);
}

static inline void vi_store_i16(int16_t *p, vi v) { vst1_s16(p, vmovn_s32(v)); }

static inline vh vh_load_i8(const int8_t *p) { return vmovl_s8(vld1_s8(p)); }

static inline vh vh_set2(int32_t two) { return vreinterpretq_s16_s32(vdupq_n_s32(two)); }

static inline vs vs_zero(void) { return (vs){ { vi_zero(), vi_zero() } }; }

static inline vs vs_dot(vh a, vh b, vs c)
{
    return (vs){ { vmlal_s16(c.val[0], vget_low_s16(a), vget_low_s16(b)),
                   vmlal_high_s16(c.val[1], a, b) } };
}

static inline vf vs_float(vs c) { return vcvtq_f32_s32(vpaddq_s32(c.val[0], c.val[1])); }

static inline void vf_transpose(vf *v)
{
    const float32x4_t a = vtrn1q_f32(v[0], v[1]), b = vtrn2q_f32(v[0], v[1]);
    const float32x4_t c = vtrn1q_f32(v[2], v[3]), d = vtrn2q_f32(v[2], v[3]);
    v[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
    v[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    v[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
    v[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}

#endif
