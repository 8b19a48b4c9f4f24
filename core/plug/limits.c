/* limits.c - reading memory as fast as it comes.
 *
 * Every worker reads a slice of its own, which it was the first to touch, from
 * one end to the other, a window at a time: as a kernel streams the weights of
 * one layer after the other. The best of many windows counts, because a busy
 * neighbour can only add time and leaves short windows alone the soonest; half
 * of them are read with prefetches, which some processors need to keep enough
 * lines on their way. */
#include "core/plug/limits.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "core/plug/cgroup.h"

#define SIZE_MIN  (UINT64_C(256) << 20)   /* bytes read in one pass            */
#define SIZE_TOP (UINT64_C(1) << 30)
#define BLOCK     256u                    /* bytes of one turn of the loop     */
#define AHEAD     2048u                   /* bytes that prefetches lead by     */
#define BUDGET_S  0.15
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

static void read_window(void *arg, uint32_t task, uint32_t worker)
{
    struct reading *r = arg;
    (void)worker;
    const char *p = r->p + task * r->slice + r->from;
    lane sum[BLOCK / sizeof(lane)] = { { 0 } };
    for (uint64_t at = 0; at < r->window; at += BLOCK) {
        const lane *v = (const lane *)(const void *)(p + at);
        for (unsigned i = 0; r->ahead && i < BLOCK; i += 64)
            __builtin_prefetch(p + at + AHEAD + i);
        for (unsigned i = 0; i < BLOCK / sizeof(lane); i++)
            sum[i] ^= v[i];
    }
    for (unsigned i = 1; i < BLOCK / sizeof(lane); i++)
        sum[0] ^= sum[i];
    atomic_fetch_add(&r->sum, sum[0][0] ^ sum[0][1]);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
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

/* Seconds of the fastest window. */
static double fastest(struct plug *plug, struct reading *r)
{
    const uint32_t n = plug->topo.abi.n_workers;
    double best = 0, spent = 0;
    workers_run(plug->workers, n, BNP_PAR_STATIC, touch, r);
    for (unsigned i = 0; i < READS && (i < 4 * WINDOWS || spent < BUDGET_S); i++) {
        r->ahead = i / WINDOWS % 2 != 0;
        r->from = i % WINDOWS * r->window;
        const double start = now_s();
        workers_run(plug->workers, n, BNP_PAR_STATIC, read_window, r);
        const double took = now_s() - start;
        spent += took;
        best = i && best < took ? best : took;
    }
    return best;
}

double limits_read_gbs(struct plug *plug)
{
    const uint32_t n = plug->topo.abi.n_workers;
    if (plug->limits.read_gbs > 0)
        return plug->limits.read_gbs;
    struct reading r = { .window = read_size(plug) / n / WINDOWS / BLOCK * BLOCK };
    r.slice = r.window * WINDOWS;
    r.p = r.slice ? plug_mem_alloc(plug, r.slice * n, BNP_ALIGN) : NULL;
    if (!r.p)
        return 0;
    const double s = fastest(plug, &r);
    plug_mem_free(plug, r.p);
    plug->limits.read_gbs = s > 0 ? (double)(r.window * n) / s * 1e-9 : 0;
    return plug->limits.read_gbs;
}
