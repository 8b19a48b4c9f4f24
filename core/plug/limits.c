/* limits.c - reading memory as fast as it comes.
 *
 * Every worker reads a slice of its own, which it was the first to touch, from
 * one end to the other, a window at a time: as a kernel streams the weights of
 * one layer after the other. Windows are short, because a busy neighbour leaves
 * short ones alone the soonest; half of them are read with prefetches, which some
 * processors need to keep enough lines on their way. */
#include "core/plug/limits.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/plug/cgroup.h"

#define SIZE_MIN  (UINT64_C(256) << 20)   /* bytes read in one pass            */
#define SIZE_TOP (UINT64_C(1) << 30)
#define BLOCK     256u                    /* bytes of one turn of the loop     */
#define AHEAD     2048u                   /* bytes that prefetches lead by     */
#define BUDGET_S  0.15
#define SAMPLE_S  0.03                    /* of limits_sample                  */
#define WINDOWS   16u                     /* of a slice                        */
#define READS     1024u                   /* windows read, at most             */

typedef uint64_t lane __attribute__((vector_size(16)));

struct reading {
    char *p;
    uint64_t slice, window;               /* bytes of one worker, of one read  */
    uint64_t from;                        /* where the window starts           */
    bool ahead;
    _Atomic uint64_t sum;                 /* so that no load can be left out   */
};

static void touch(void *arg, uint32_t task, uint32_t worker)
{
    struct reading *r = arg;
    (void)worker;
    memset(r->p + task * r->slice, 1, r->slice);
}

static lane line(const char *p)
{
    const lane *v = (const lane *)(const void *)p;
    return (v[0] ^ v[1]) ^ (v[2] ^ v[3]);
}

/* Four lines a turn, each into a sum of its own: in registers, written out,
 * because a compiler that keeps an array of them in memory halves the rate. */
static void read_window(void *arg, uint32_t task, uint32_t worker)
{
    struct reading *r = arg;
    (void)worker;
    const char *p = r->p + task * r->slice + r->from;
    const bool ahead = r->ahead;
    lane a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
    for (const char *end = p + r->window; p < end; p += BLOCK) {
        if (ahead) {
            __builtin_prefetch(p + AHEAD);
            __builtin_prefetch(p + AHEAD + 64);
            __builtin_prefetch(p + AHEAD + 128);
            __builtin_prefetch(p + AHEAD + 192);
        }
        a ^= line(p);
        b ^= line(p + 64);
        c ^= line(p + 128);
        d ^= line(p + 192);
    }
    a ^= b ^ c ^ d;
    atomic_fetch_add(&r->sum, a[0] ^ a[1]);
}

/* Four times the last caches together, within reason, and never more than a
 * quarter of the memory that is free. */
static uint64_t read_size(const struct plug *plug)
{
    const uint64_t room = cgroup_memory("") / 4, nodes = plug->topo.abi.n_numa;
    uint64_t size = plug->topo.abi.l3_size;
    size = size > SIZE_TOP / 4 / nodes ? SIZE_TOP : 4 * nodes * size;
    size = size < SIZE_MIN ? SIZE_MIN : size;
    return size < room ? size : room;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of the i-th window. */
static double time_window(struct plug *plug, struct reading *r, unsigned i)
{
    r->ahead = i / WINDOWS % 2 != 0;
    r->from = i % WINDOWS * r->window;
    const double start = clock_s();
    workers_run(plug->workers, plug->topo.abi.n_workers, BNP_PAR_STATIC, read_window, r);
    return clock_s() - start;
}

/* The lowest eighth of all: as kernels are timed. */
static double best_window(struct plug *plug, struct reading *r)
{
    double took[READS], spent = 0;
    unsigned i = 0;
    for (; i < READS && (i < 4 * WINDOWS || spent < BUDGET_S); i++)
        spent += took[i] = time_window(plug, r, i);
    qsort(took, i, sizeof took[0], by_value);
    return took[i / 8];
}

/* The mean, of windows read the better way: with prefetches, or without. */
static double mean_window(struct plug *plug, struct reading *r)
{
    double spent[2] = { 0 };
    unsigned i = 0;
    for (; i < 2 * WINDOWS || (i < READS && spent[0] + spent[1] < SAMPLE_S); i++)
        spent[i / WINDOWS % 2] += time_window(plug, r, i);
    for (; i % (2 * WINDOWS); i++)
        spent[i / WINDOWS % 2] += time_window(plug, r, i);
    return (spent[0] < spent[1] ? spent[0] : spent[1]) / (i / 2);
}

/* 1e9 bytes a second, from the seconds of a window. */
static double read_rate(struct plug *plug, double (*time)(struct plug *, struct reading *))
{
    const uint32_t n = plug->topo.abi.n_workers;
    struct reading r = { .window = read_size(plug) / n / WINDOWS / BLOCK * BLOCK };
    r.slice = r.window * WINDOWS;
    r.p = r.slice ? plug_mem_alloc(plug, r.slice * n, BNP_ALIGN) : NULL;
    if (!r.p)
        return 0;
    workers_run(plug->workers, n, BNP_PAR_STATIC, touch, &r);
    const double s = time(plug, &r);
    plug_mem_free(plug, r.p);
    return s > 0 ? (double)(r.window * n) / s * 1e-9 : 0;
}

double limits_read_gbs(struct plug *plug)
{
    if (!(plug->limits.read_gbs > 0))
        plug->limits.read_gbs = read_rate(plug, best_window);
    return plug->limits.read_gbs;
}

struct limits_now limits_sample(struct plug *plug)
{
    return (struct limits_now){ read_rate(plug, mean_window), limits_int8_mean(plug) };
}
