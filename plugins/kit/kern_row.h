/* kern_row.h - struct row_kern of kern.h: a template over the vector of simd.h.
 *
 * Rows of y end where they end: the last vector is stored in part. What comes
 * from the plugin's own memory (acc, scales, sums of a panel) has whole
 * multiples of 16 and is read in whole vectors. */
#ifndef BITNET_KIT_KERN_ROW_H
#define BITNET_KIT_KERN_ROW_H

#include "plugins/kit/kern.h"
#include "plugins/kit/kern_math.h"

/* x * 0 is 0 or -0, of a NaN or Inf it is NaN, and that stays one in a sum. */
static int64_t row_first_bad(const float *x, uint32_t n)
{
    vf sick[4] = { vf_zero(), vf_zero(), vf_zero(), vf_zero() };
    uint32_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (uint32_t k = 0; k < 4; k++)
            sick[k] = vf_fma(vf_load(x + i + k * VL), vf_zero(), sick[k]);
    for (; i < n; i += VL)
        sick[0] = vf_fma(vf_load_upto(x + i, n - i), vf_zero(), sick[0]);
    if (vf_finite(vf_add(vf_add(sick[0], sick[1]), vf_add(sick[2], sick[3]))))
        return -1;
    for (i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        if ((u & 0x7f800000u) == 0x7f800000u)
            return i;
    }
    return -1;
}

/* |x * s| is at most 127 and a rounding, so rint needs no clamp. */
static void row_quantize(const float *x, uint32_t n, int8_t *q, float *s, int32_t *sum)
{
    uint32_t i = 0;
    *s = 127.0f / vf_largest(x, n, 1e-5f);
    vi total = vi_zero();
    for (; i < n; i += VL) {               /* +0 behind n gives 0 */
        const vi v = vf_rint(vf_mul(vf_load_upto(x + i, n - i), vf_set1(*s)));
        vi_store_i8(q + i, v);
        total = vi_add(total, v);
    }
    for (; i % 64; i++)
        q[i] = 0;
    int32_t t[VL];
    vi_store(t, total);
    *sum = 0;
    for (int k = 0; k < VL; k++)
        *sum += t[k];
}

static inline void row_put(float *y, vf v, bool add, uint32_t left)
{
    vf_store_upto(y, add ? vf_add(vf_load_upto(y, left), v) : v, left);
}

static void row_finish(const int32_t *acc, const float *scale, uint32_t step, float s, bool add,
                       float *y, uint32_t n)
{
    const vf one = vf_set1(scale[0] / s), by = vf_set1(s);
    for (uint32_t r = 0; r < n; r += VL) {
        const vf f = step ? vf_div(vf_load(scale + r), by) : one;
        row_put(y + r, vf_mul(vf_load_i32(acc + r), f), add, n - r);
    }
}

static void row_block(const int32_t *acc, const float *d, float *t, uint32_t n)
{
    for (uint32_t r = 0; r < n; r += VL)
        vf_store(t + r, vf_fma(vf_load_i32(acc + r), vf_load(d + r), vf_load(t + r)));
}

static void row_block_end(const float *t, float inv_s, bool add, float *y, uint32_t n)
{
    for (uint32_t r = 0; r < n; r += VL)
        row_put(y + r, vf_mul(vf_load(t + r), vf_set1(inv_s)), add, n - r);
}

static const struct row_kern row_kern = {
    .not_finite = row_first_bad,
    .quantize = row_quantize,
    .finish = row_finish,
    .block = row_block,
    .block_end = row_block_end,
};

#endif
