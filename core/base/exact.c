/* exact.c - exp, log, sine and cosine in plain double arithmetic, and Philox.
 *
 * Each function reduces its argument by constants split into parts so short
 * that the products are exact, then evaluates a Taylor polynomial whose first
 * dropped term is below 2^-57 of the result. Every operation rounds once, to
 * nearest; nothing depends on libm, on fma or on the compiler, as long as it
 * does not contract (the build says -ffp-contract=off). */
#include "core/base/exact.h"

#include <string.h>

#define LOG2E   0x1.71547652b82fep+0
#define LN2_HI  0x1.62e42fefa3800p-1        /* a multiple of 2^-42: n * LN2_HI is */
#define LN2_LO  0x1.ef35793c76730p-45       /* exact for |n| < 2^11               */

/* Nearest integer, ties to even; |x| < 2^51. Adding 1.5 * 2^52 leaves no bit
 * for a fraction. */
static double round_even(double x)
{
    return (x + 0x1.8p52) - 0x1.8p52;
}

static double pow2(int n)                   /* -1022 <= n <= 1023 */
{
    uint64_t u = (uint64_t)(n + 1023) << 52;
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

/* |r| <= 0.3466 and r^14/14! < 2^-57 there. */
double exact_exp(double x)
{
    static const double inv_fact[] = {      /* 1/13! .. 1/2! */
        1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
        1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2
    };
    if (!(x >= -700))
        return 0;
    if (x > 700)
        x = 700;
    double n = round_even(x * LOG2E);
    double r = (x - n * LN2_HI) - n * LN2_LO;
    double p = inv_fact[0];
    for (int i = 1; i < 12; i++)
        p = p * r + inv_fact[i];
    return (1.0 + (r + r * r * p)) * pow2((int)n);
}

/* x = m * 2^e, m in [sqrt(1/2), sqrt(2)); f = m - 1 (exact), s = f / (2 + f):
 *   log m = 2 atanh s = f - s * (f - 2 (s^2/3 + s^4/5 + ...))
 * s^2 < 0.0295, and s^22/23 < 2^-60. f itself enters without an error, which
 * keeps the relative error small next to x = 1. */
double exact_log(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    int e = (int)(u >> 52 & 0x7ff) - 1023;
    u = (u & 0xfffffffffffff) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &u, sizeof m);
    if (m >= 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        e++;
    }
    double f = m - 1.0, s = f / (2.0 + f), z = s * s;
    double p = 1.0 / 21;
    for (int k = 19; k >= 3; k -= 2)
        p = p * z + 1.0 / k;
    double tail = s * (f - 2.0 * z * p);
    return e * LN2_HI + (f - (tail - e * LN2_LO));
}

struct two {
    double hi, lo;
};

/* a + b without an error: hi is the rounded sum, lo what it lacks. */
static struct two two_sum(double a, double b)
{
    double hi = a + b, t = hi - a;
    return (struct two){ hi, (a - (hi - t)) + (b - t) };
}

/* x - n * pi/2, |n| < 2^30, as a sum of two doubles good to 2^-110. The first
 * four parts of pi/2 hold 23 bits each, so their products with n are exact;
 * so are the first two differences, whose terms are multiples of 2^-45 (or of
 * x's last bit) below 2^8. */
static struct two reduce(double x, double n)
{
    double t = x - n * 0x1.921fb4p+0;
    t = t - n * 0x1.4442dp-24;
    struct two a = two_sum(t, -(n * 0x1.84698p-48));
    struct two b = two_sum(a.hi, -(n * 0x1.3198ap-69));
    return two_sum(b.hi, (a.lo + b.lo) - n * 0x1.701b839a25205p-92);
}

/* Sine and cosine of hi + lo, |hi| < 0.79: the dropped terms, hi^19/19! and
 * hi^20/20!, are below 2^-62 of the results. The leading terms are added last,
 * so that only one rounding of full size is left. */
static void kernel(struct two r, double *s, double *c)
{
    static const double cs[] = {            /* 1/17!, -1/15!, .. -1/3! */
        1.0 / 355687428096000, -1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800,
        1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6
    };
    static const double cc[] = {            /* -1/18!, 1/16!, .. 1/4! */
        -1.0 / 6402373705728000, 1.0 / 20922789888000, -1.0 / 87178291200, 1.0 / 479001600,
        -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24
    };
    double x = r.hi, z = x * x, p = cs[0], q = cc[0];
    for (int i = 1; i < 8; i++) {
        p = p * z + cs[i];
        q = q * z + cc[i];
    }
    double half = 0.5 * z, w = 1.0 - half;
    *s = x + (x * z * p + r.lo * w);
    *c = w + (((1.0 - w) - half) + (z * z * q - x * r.lo));
}

void exact_sincos(double x, double *s, double *c)
{
    double n = round_even(x * 0x1.45f306dc9c883p-1), a, b;
    kernel(reduce(x, n), &a, &b);
    switch ((int)((int64_t)n & 3)) {
    case 0: *s = a;  *c = b;  break;
    case 1: *s = b;  *c = -a; break;
    case 2: *s = -a; *c = -b; break;
    default: *s = -b; *c = a; break;
    }
}

/* Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (2011). */
void exact_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53 * c0, b = (uint64_t)0xcd9e8d57 * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9e3779b9;
        k1 += 0xbb67ae85;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

double exact_uniform(uint64_t seed, uint64_t n)
{
    const uint32_t counter[4] = { (uint32_t)n, (uint32_t)(n >> 32), 0, 0 };
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t out[4];
    exact_philox(counter, key, out);
    uint64_t bits = (uint64_t)out[1] << 32 | out[0];
    return (double)(bits >> 11) * 0x1p-53;
}
