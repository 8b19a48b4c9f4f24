/* fma32.c - the software fma, the rounding and the half floats of scalar-ref
 * against libm and against their definitions.
 *
 *   fma32_exact  equals libm's fmaf (the instruction, where there is one) on
 *                random operands of every size, and on sums built to hurt:
 *                ties, near ties, cancellation, results below the normal
 *                floats, infinities
 *   rint32       equals rintf for |x| <= 2^22
 *   f16          all 65536 halves widen to their value and back to themselves;
 *                floats round to the nearest half, ties to even
 *
 * fma32 [MILLIONS], 100 by default. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "plugins/scalar-ref/num.h"
#include "tools/verify/gen.h"

static unsigned long n_wrong;

static void check_fma(float a, float b, float c)
{
    const float want = fmaf(a, b, c), got = fma32_exact(a, b, c);
    if (bits_of(want) == bits_of(got) || (isnan(want) && isnan(got)))
        return;
    if (n_wrong++ < 10)
        printf("fma32(%a, %a, %a) = %a, expected %a\n", (double)a, (double)b, (double)c,
               (double)got, (double)want);
}

static float anything(uint64_t r)
{
    return f32_of((uint32_t)r);
}

/* Sizes within 2^-8 .. 2^8 of each other, so that all three matter. */
static float near_one(uint64_t r)
{
    return f32_of((uint32_t)(r & 0x807fffff) | (uint32_t)(119 + (r >> 40 & 15)) << 23);
}

static void random_sums(uint64_t n)
{
    uint64_t s = 88172645463325252u;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t r[3];
        for (int k = 0; k < 3; k++) {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            r[k] = s * UINT64_C(2685821657736338717);
            r[k] ^= r[k] >> 32;
        }
        const float a = near_one(r[0]), b = near_one(r[1]);
        switch (i % 6) {
        case 0: check_fma(anything(r[0]), anything(r[1]), anything(r[2])); break;
        case 1: check_fma(a, b, near_one(r[2])); break;
        /* cancels to the rounding error of the product, or next to it */
        case 2: check_fma(a, b, -(a * b)); break;
        case 3: check_fma(a, b, f32_of(bits_of(-(a * b)) + (uint32_t)(r[2] & 7))); break;
        /* few bits: exact halves are common; and a push far below the tie */
        case 4: check_fma(f32_of(bits_of(a) & 0xfffff000), f32_of(bits_of(b) & 0xfffff800),
                          f32_of(bits_of(near_one(r[2])) & 0xffffff00)); break;
        /* around and below the smallest normal */
        default: check_fma(a * 0x1p-70f, b * 0x1p-70f, ldexpf(near_one(r[2]), -140)); break;
        }
    }
}

/* c is 1 or its neighbours; the product is half an ulp of it, give or take its
 * own last bit: the ties where rounding twice goes wrong. */
static void directed_sums(void)
{
    static const uint32_t base[] = { 0x3f800000, 0x3f800001, 0x3f7fffff, 0x3fffffff, 0x40000000,
                                     0x00800000, 0x00800001, 0x007fffff, 0x00000001, 0x00000000,
                                     0x7f7fffff, 0x7f800000, 0x7fc00000 };
    for (unsigned i = 0; i < sizeof base / sizeof *base; i++) {
        for (int e = -60; e <= 30; e++) {
            for (unsigned k = 0; k < 64; k++) {
                const float c = f32_of(base[i] | (k & 1) << 31);
                const float a = f32_of(bits_of(ldexpf(1.0f, e)) + (k >> 1 & 3) - 1);
                const float b = f32_of(0x3f800000u + (k >> 3 & 7) - 3);
                check_fma(a, b, c);
                check_fma(-a, b, c);
                check_fma(a * 0x1p-60f, b * 0x1p-60f, c);
                check_fma(a * 0x1p100f, b * 0x1p28f, c);
            }
        }
    }
}

static void check(int ok, const char *what, double at)
{
    if (!ok && n_wrong++ < 20)
        printf("%s at %.9g\n", what, at);
}

static void rounding(void)
{
    for (uint64_t i = 0; i < 4000000; i++) {
        const float x = gen_unit(7, i) * (i % 3 ? 200.0f : 4194304.0f);
        check(rint32(x) == rintf(x), "rint32", (double)x);
        const float half = (float)((int)(i % 8000001) - 4000000) + 0.5f;
        check(rint32(half) == rintf(half), "rint32", (double)half);
    }
}

static double half_value(uint32_t h)        /* by the definition of binary16 */
{
    const int e = (int)(h >> 10 & 31), m = (int)(h & 0x3ff);
    return ldexp(e ? 1024 + m : m, (e ? e : 1) - 25) * (h & 0x8000 ? -1 : 1);
}

static void halves(void)
{
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = f32_of_f16((uint16_t)h);
        if ((h & 0x7c00) == 0x7c00) {
            check(h & 0x3ff ? isnan(f) : isinf(f) && !signbit(f) == !(h >> 15), "f16 to f32", h);
            continue;
        }
        check((double)f == half_value(h) && !signbit(f) == !(h >> 15), "f16 to f32", h);
        check(f16_of_f32(f) == h, "f16 round trip", h);
        if ((h & 0x7fff) == 0x7bff)
            continue;
        const float up = f32_of_f16((uint16_t)(h + 1)), mid = (f + up) / 2;
        check(f16_of_f32(mid) == h + (h & 1), "f16 tie", (double)mid);
        check(f16_of_f32(f32_of(bits_of(mid) - 1)) == h, "f16 below a tie", (double)mid);
        check(f16_of_f32(f32_of(bits_of(mid) + 1)) == h + 1, "f16 above a tie", (double)mid);
    }
    check(f16_of_f32(65519.996f) == 0x7bff && f16_of_f32(65520.0f) == 0x7c00 &&
              f16_of_f32(-1e30f) == 0xfc00, "f16 overflow", 65520);
}

int main(int argc, char **argv)
{
    const uint64_t millions = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    directed_sums();
    random_sums(millions * 1000000);
    rounding();
    halves();
    printf("%llu million random sums: %lu wrong\n", (unsigned long long)millions, n_wrong);
    return n_wrong != 0;
}
