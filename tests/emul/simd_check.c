/* simd_check.c - one vector header of plugins/kit against plain C: every function
 * of simd.h, lane by lane, on floats that are random bits and on those where
 * roundings, signs and special cases are.
 *
 * Built once for each header, with the flags that make simd.h choose it, and
 * called by simd_main.c, which is for any processor. */
#include <stdio.h>
#include <string.h>

#include "core/base/f16.h"
#include "plugins/kit/simd.h"

unsigned simd_check(void);

static unsigned n_wrong;

static bool is_nan(uint32_t u)
{
    return (u & 0x7fffffffu) > 0x7f800000u;
}

/* Prints the first of every function, and some more. */
static void same(const char *what, int lane, uint32_t got, uint32_t want)
{
    static const char *last;
    if (got == want || (is_nan(got) && is_nan(want)))
        return;
    if (n_wrong++ < 20 || what != last)
        printf("%s: lane %d: %08x, expected %08x\n", what, lane, got, want);
    last = what;
}

/* ------------------------------------------------------------------ inputs */

static uint32_t state = 1;

static uint32_t next_random(void)
{
    state = state * 1664525u + 1013904223u;
    return state ^ state >> 15;
}

static const uint32_t special[] = {
    0, 0x80000000u, 1, 0x80000001u, 0x007fffffu, 0x00800000u, 0x3f800000u, 0xbf800000u,
    0x3f000000u, 0x3fc00000u, 0xbfc00000u, 0x40200000u, 0x7f7fffffu, 0xff7fffffu,
    0x477fe000u /* 65504 */, 0x477ff000u /* 65520 */, 0x33000000u /* 2^-25 */, 0x33000001u,
    0x387fe000u, 0x38800000u, 0x38801000u, 0x38803000u,
};
#define N_SPECIAL (sizeof special / sizeof *special)

static float any_finite(void)
{
    const uint32_t r = next_random();
    if (r % 8 == 0)
        return f32_from_bits(special[r / 8 % N_SPECIAL]);
    const uint32_t u = next_random();
    return f32_from_bits((u & 0x7f800000u) == 0x7f800000u ? u ^ 0x40000000u : u);
}

/* Nothing overflows or is too small to differ. */
static float modest(void)
{
    return f32_from_bits((next_random() & 0x807fffffu) | (120u + next_random() % 16) << 23);
}

/* -------------------------------------------------------------- arithmetic */

#define LANES for (int i = 0; i < VL; i++)
#define SAME(what, v, want) do {                                                  \
        float got_[VL];                                                           \
        vf_store(got_, v);                                                        \
        LANES same(what, i, f32_bits(got_[i]), f32_bits(want));                           \
    } while (0)

static void arithmetic(void)
{
    float a[VL], b[VL], c[VL];
    LANES {
        a[i] = any_finite();
        b[i] = next_random() % 4 ? any_finite() : a[i];
        c[i] = any_finite();
    }
    const vf x = vf_load(a), y = vf_load(b), z = vf_load(c);
    SAME("load", x, a[i]);
    SAME("zero", vf_zero(), 0.0f);
    SAME("set1", vf_set1(a[0]), a[0]);
    SAME("add", vf_add(x, y), a[i] + b[i]);
    SAME("sub", vf_sub(x, y), a[i] - b[i]);
    SAME("mul", vf_mul(x, y), a[i] * b[i]);
    SAME("div", vf_div(x, y), a[i] / b[i]);
    SAME("fma", vf_fma(x, y, z), __builtin_fmaf(a[i], b[i], c[i]));
    SAME("fms", vf_fms(x, y, z), __builtin_fmaf(a[i], b[i], -c[i]));
    SAME("abs", vf_abs(x), f32_from_bits(f32_bits(a[i]) & 0x7fffffffu));
    SAME("neg", vf_neg(x), f32_from_bits(f32_bits(a[i]) ^ 0x80000000u));
    float top[VL], low[VL];
    vf_store(top, vf_max(x, y));
    vf_store(low, vf_min(x, y));
    LANES {                                     /* which zero is not said */
        same("max is the larger", i, top[i] == (a[i] > b[i] ? a[i] : b[i]), 1);
        same("min is the smaller", i, low[i] == (a[i] < b[i] ? a[i] : b[i]), 1);
    }
    a[next_random() % VL] = f32_from_bits(0x7fc00000u);
    SAME("ge", vf_ge(vf_load(a), y, z), a[i] >= b[i] ? c[i] : 0.0f);
}

static void modest_arithmetic(void)
{
    float a[VL], b[VL], c[VL], n[VL];
    LANES {
        a[i] = modest();
        b[i] = modest();
        c[i] = next_random() % 2 ? -a[i] * b[i] : modest();
        n[i] = (float)(int)(next_random() % 64) - 32.0f;
    }
    SAME("fma", vf_fma(vf_load(a), vf_load(b), vf_load(c)), __builtin_fmaf(a[i], b[i], c[i]));
    SAME("scale", vf_scale(vf_load(a), vf_load(n)),
         f32_from_bits(f32_bits(a[i]) + ((uint32_t)(int32_t)n[i] << 23)));
}

static void not_finite(void)
{
    float a[VL];
    LANES a[i] = any_finite();
    same("finite of finite ones", 0, vf_finite(vf_load(a)), 1);
    static const uint32_t bad[] = { 0x7f800000u, 0xff800000u, 0x7fc00000u, 0xff800001u };
    a[next_random() % VL] = f32_from_bits(bad[next_random() % 4]);
    same("finite with one that is not", 0, vf_finite(vf_load(a)), 0);
}

/* ------------------------------------------------------------- conversions */

static void loads(void)
{
    uint16_t h[VL], b[VL];
    int8_t s[VL];
    int32_t w[VL];
    LANES {
        h[i] = (uint16_t)next_random();
        b[i] = (uint16_t)next_random();
        s[i] = (int8_t)next_random();
        w[i] = (int32_t)next_random();
    }
    SAME("load_f16", vf_load_f16(h), f16_to_f32(h[i]));
    SAME("load_bf16", vf_load_bf16(b), f32_from_bits((uint32_t)b[i] << 16));
    SAME("load_i8", vf_load_i8(s), (float)s[i]);
    SAME("load_i32", vf_load_i32(w), (float)w[i]);
}

static void stores(void)
{
    float a[VL], r[VL];
    uint16_t h[VL];
    int32_t w[VL], v[VL];
    int8_t s[VL];
    LANES {
        a[i] = f32_from_bits((next_random() & 0x807fffffu) | (100u + next_random() % 47) << 23);
        if (next_random() % 4 == 0)
            a[i] = f32_from_bits(f32_bits(a[i]) & 0xfffff000u);     /* ties and exact ones */
        r[i] = (float)((int)(next_random() % 4001) - 2000) / 8.0f;
        w[i] = (int32_t)(next_random() % 256) - 128;
    }
    vf_store_f16(h, vf_load(a));
    LANES same("store_f16", i, h[i], f16_from_f32(a[i]));
    vi_store(v, vf_rint(vf_load(r)));
    LANES same("rint", i, (uint32_t)v[i], (uint32_t)(int32_t)__builtin_rintf(r[i]));
    vi_store(v, vi_add(vf_rint(vf_load_i32(w)), vf_rint(vf_load(r))));
    LANES same("vi_add", i, (uint32_t)v[i],
               (uint32_t)(w[i] + (int32_t)__builtin_rintf(r[i])));
    vi_store_i8(s, vf_rint(vf_load_i32(w)));
    LANES same("store_i8", i, (uint32_t)s[i], (uint32_t)w[i]);
    vi_store(v, vi_zero());
    LANES same("vi_zero", i, (uint32_t)v[i], 0);
}

/* Products of bytes and words at their largest, so that an order that leaves 32
 * bits, or a sum that saturates, would show. */
static void words(void)
{
    int8_t b[2 * VL];
    int16_t a[2], h[VL];
    int32_t sum[VL] = { 0 };
    vs v = vs_zero();
    for (int step = 0; step < 256; step++) {
        const bool high = next_random() % 2;
        for (int i = 0; i < 2; i++)
            a[i] = (int16_t)(high ? 32767 : (int)(next_random() % 65535) - 32767);
        for (int i = 0; i < 2 * VL; i++)
            b[i] = (int8_t)(high ? 127 : (int)(next_random() % 255) - 127);
        int32_t two;
        memcpy(&two, a, sizeof two);
        v = vs_dot(vh_set2(two), vh_load_i8(b), v);
        LANES sum[i] += a[0] * b[2 * i] + a[1] * b[2 * i + 1];
    }
    SAME("dot", vs_float(v), (float)sum[i]);
    LANES sum[i] = (int16_t)next_random();
    vi_store_i16(h, vf_rint(vf_load_i32(sum)));
    LANES same("store_i16", i, (uint32_t)h[i], (uint32_t)sum[i]);
}

static void transpose(void)
{
    vf v[VL];
    float row[VL];
    for (int r = 0; r < VL; r++) {
        LANES row[i] = (float)(r * VL + i);
        v[r] = vf_load(row);
    }
    vf_transpose(v);
    for (int r = 0; r < VL; r++)
        SAME("transpose", v[r], (float)(i * VL + r));
}

unsigned simd_check(void)
{
    for (int n = 0; n < 20000; n++) {
        arithmetic();
        modest_arithmetic();
        not_finite();
        loads();
        stores();
        words();
    }
    transpose();
    return n_wrong;
}
