/* tune.c - group sizes of the ternary kernels, by the clock.
 *
 * How many rows a group takes, and how many parts it cuts their columns into, is
 * tried on a matrix of a usual size, once for one row and once for a tile of
 * rows; the fastest stays, here and in the cache, so the next start knows. Any
 * choice gives the same sums. Drivers for CPUs compile a kernel for each size,
 * which takes long, and gain nothing from parts: they are offered little. */
#include "ocl.h"

#include <string.h>
#include <time.h>

enum { ROWS = 2560, COLS = 2560, CALLS = 4, ROUNDS = 3 };

static const struct ocl_shape for_cpu[] = { { 32, 1 }, { 128, 1 } };
static const struct ocl_shape for_others[] = { { 32, 4 }, { 32, 1 }, { 64, 1 }, { 64, 4 },
                                               { 32, 8 }, { 128, 2 } };

struct trial {
    bnp_stream *s;
    bnp_span weight, act, y;
    bnp_weight w;
    struct ocl_ref act_at, y_at;
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* The least of some rounds, after one that compiles. */
static int clock_it(struct trial *t, uint32_t n_tok, double *us)
{
    int rc = BNP_OK;
    *us = 1e30;
    for (unsigned round = 0; round <= ROUNDS && !rc; round++) {
        const double start = now_us();
        for (unsigned i = 0; i < CALLS && !rc; i++)
            rc = ocl_linear_try(t->s, &t->w, t->act_at, t->y_at, n_tok);
        if (!rc && cl.clFinish(ocl_own(t->s)->queue))
            rc = ocl_fail(t->s->dev, CL_OUT_OF_RESOURCES, "measuring");
        const double took = now_us() - start;
        *us = round && took < *us ? took : *us;
    }
    return rc;
}

static int choose(struct trial *t, uint32_t n_tok, struct ocl_shape *out)
{
    const struct ocl_device *o = ocl_of(t->s->dev);
    const bool cpu = o->f.type & CL_DEVICE_TYPE_CPU;
    const struct ocl_shape *shape = cpu ? for_cpu : for_others;
    const size_t n = cpu ? sizeof for_cpu / sizeof *for_cpu
                         : sizeof for_others / sizeof *for_others;
    struct ocl_shape best = shape[0];
    double least = 1e30;
    int rc = BNP_OK;
    for (size_t i = 0; i < n && !rc; i++) {
        double us;
        if ((size_t)shape[i].rows * shape[i].parts > o->f.max_group)
            continue;
        *out = shape[i];
        rc = clock_it(t, n_tok, &us);
        best = us < least ? shape[i] : best;
        least = us < least ? us : least;
    }
    *out = best;
    return rc;
}

static int measure(struct trial *t)
{
    struct ocl_device *o = ocl_of(t->s->dev);
    uint64_t act_size = 0;
    const bnp_weight_desc desc = { .struct_size = sizeof desc, .format = BNP_FMT_T2, .rows = ROWS,
                                   .cols = COLS, .max_tok = 8, .flags = BNP_W_MUL };
    bnp_weight_layout layout = { .struct_size = sizeof layout };
    int rc = ocl_linear_layout(&o->d, &desc, &layout);
    if (rc || (rc = ocl_linear_act_size(&o->d, OCL_ACT_INT8, COLS, 8, &act_size)) ||
        (rc = ocl_mem_alloc(&o->d, BNP_MEM_WORK, layout.size, BNP_ALIGN, &t->weight)) ||
        (rc = ocl_mem_alloc(&o->d, BNP_MEM_WORK, act_size, BNP_ALIGN, &t->act)) ||
        (rc = ocl_mem_alloc(&o->d, BNP_MEM_WORK, 8 * ROWS * 4ull, BNP_ALIGN, &t->y)) ||
        (rc = ocl_ref(&o->d, "measuring", t->act, act_size, &t->act_at)) ||
        (rc = ocl_ref(&o->d, "measuring", t->y, t->y.size, &t->y_at)))
        return rc;
    rc = ocl_weight_fill(&o->d, &desc, t->weight, &t->w);
    rc = rc ? rc : choose(t, 1, &o->tune.one);
    return rc ? rc : choose(t, 8, &o->tune.tile);
}

int ocl_tune(bnp_stream *s)
{
    struct ocl_device *o = ocl_of(s->dev);
    const char *use = ocl_option(s->dev->host, "tune");
    if (o->tuned)
        return BNP_OK;
    struct trial t = { .s = s };
    o->tune.one = o->tune.tile = (struct ocl_shape){ 32, 1 };
    const int rc = use && !strcmp(use, "off") ? BNP_OK : measure(&t);
    ocl_mem_free(&o->d, t.weight);
    ocl_mem_free(&o->d, t.act);
    ocl_mem_free(&o->d, t.y);
    if (rc)
        return rc;
    o->tuned = true;
    ocl_cache_store(o);
    return BNP_OK;
}
