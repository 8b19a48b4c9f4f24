/* exp32.c - exp32 over every float of its domain, [-87, 88].
 *
 *   - within 1 ulp of the true value, as libm's double exp knows it
 *   - where it falls as x rises (the last roundings allow that), by one float
 *   - 1 at +0 and -0, +0 below -87, the value of 88 above 88
 *
 * exp32 [--stride N] tests every N-th float; the default is all 2.2 thousand
 * million. Threads share the range; built with the fma instruction where the
 * compiler's target has it, which gives the same bits (fma32.c). */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/scalar-ref/num.h"

enum { N_THREAD = 2, BLOCK = 1 << 10 };

struct part {
    pthread_t thread;
    uint32_t from, to, stride;      /* positions on the line of floats */
    double worst;                   /* ulp */
    float worst_at;
    unsigned long n, n_falling, n_plunging;
};

/* Floats in ascending order as integers: -87 is the first. */
#define FIRST 0u
#define N_NEG (0x42ae0000u + 1)     /* -87 .. -0 */
#define N_POS (0x42b00000u + 1)     /* +0 .. 88 */

static float nth(uint32_t i)
{
    return i < N_NEG ? f32_of(0x80000000u | (N_NEG - 1 - i)) : f32_of(i - N_NEG);
}

static double ulp_of(double t)      /* of the binade that t is in, as floats see it */
{
    uint64_t u;
    memcpy(&u, &t, sizeof u);
    u = (u & UINT64_C(0x7ff0000000000000)) - (UINT64_C(23) << 52);
    memcpy(&t, &u, sizeof t);
    return t;
}

/* Three floats of four are so small that 1 + x is right to 2^-41. */
static double true_exp(double x)
{
    return fabs(x) < 0x1p-20 ? 1 + x : exp(x);
}

/* In blocks, results first: neither loop then waits for the other. */
static void *run(void *arg)
{
    struct part *p = arg;
    float y[BLOCK], before = exp32(nth(p->from));
    for (uint64_t at = p->from; at < p->to; at += (uint64_t)BLOCK * p->stride) {
        const uint64_t left = (p->to - at - 1) / p->stride + 1;
        const uint32_t n = left < BLOCK ? (uint32_t)left : BLOCK;
        for (uint32_t i = 0; i < n; i++)
            y[i] = exp32(nth((uint32_t)(at + (uint64_t)i * p->stride)));
        for (uint32_t i = 0; i < n; i++) {
            const float x = nth((uint32_t)(at + (uint64_t)i * p->stride));
            const double t = true_exp((double)x), error = fabs((double)y[i] - t) / ulp_of(t);
            if (error > p->worst) {
                p->worst = error;
                p->worst_at = x;
            }
        }
        for (uint32_t i = 0; i < n; i++) {
            p->n_falling += y[i] < before;
            p->n_plunging += bits_of(y[i]) + 1 < bits_of(before);
            before = y[i];
        }
        p->n += n;
    }
    return NULL;
}

static bool edges_hold(void)
{
    const float below = nextafterf(-87.0f, -88.0f), inf = f32_of(0x7f800000u);
    return bits_of(exp32(0.0f)) == bits_of(1.0f) && bits_of(exp32(-0.0f)) == bits_of(1.0f) &&
           bits_of(exp32(below)) == 0 && bits_of(exp32(-inf)) == 0 && exp32(-87.0f) > 0 &&
           bits_of(exp32(nextafterf(88.0f, 89.0f))) == bits_of(exp32(88.0f)) &&
           bits_of(exp32(inf)) == bits_of(exp32(88.0f));
}

int main(int argc, char **argv)
{
    uint32_t stride = 1;
    if (argc == 3 && !strcmp(argv[1], "--stride"))
        stride = (uint32_t)strtoul(argv[2], NULL, 10);
    if (!stride || (argc != 1 && argc != 3)) {
        fprintf(stderr, "usage: exp32 [--stride N]\n");
        return 2;
    }
    static struct part part[N_THREAD];
    const uint32_t all = N_NEG + N_POS;
    for (uint32_t i = 0; i < N_THREAD; i++) {       /* one float of overlap, for the order */
        part[i] = (struct part){ .from = i ? all / N_THREAD * i - 1 : FIRST, .stride = stride,
                                 .to = i + 1 < N_THREAD ? all / N_THREAD * (i + 1) : all };
        if (pthread_create(&part[i].thread, NULL, run, &part[i])) {
            fprintf(stderr, "no thread\n");
            return 2;
        }
    }
    struct part sum = { 0 };
    for (int i = 0; i < N_THREAD; i++) {
        pthread_join(part[i].thread, NULL);
        sum.n += part[i].n;
        sum.n_falling += part[i].n_falling;
        sum.n_plunging += part[i].n_plunging;
        if (part[i].worst > sum.worst) {
            sum.worst = part[i].worst;
            sum.worst_at = part[i].worst_at;
        }
    }
    const bool edges = edges_hold();
    printf("%lu floats: worst error %.5f ulp at %.9g, falls %lu times, %lu times by "
           "more than one float, edges %s\n", sum.n, sum.worst, (double)sum.worst_at,
           sum.n_falling, sum.n_plunging, edges ? "hold" : "FAIL");
    return !(sum.worst <= 1.0 && !sum.n_plunging && edges);
}
