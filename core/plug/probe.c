/* probe.c - streams, memory, inputs and comparison for all probes.
 *
 * Inputs come from a counter-based generator by integer and bit operations
 * only, so every machine makes the same ones. */
#include "core/plug/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/f16.h"
#include "core/plug/hostsvc.h"
#include "core/plug/probe_run.h"

#define TIME_BUDGET_US 25000.0
#define MAX_REPS       64u
#define WAIT_NS        UINT64_C(60000000000)

/* splitmix64's finalizer over a Weyl sequence. */
uint64_t probe_number(uint64_t seed, uint64_t i)
{
    uint64_t z = seed * UINT64_C(0xd1342543de82ef95) + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

const char *probe_fill_name(enum probe_fill fill)
{
    static const char *const name[] = {
        "random", "zero", "max", "min", "spike", "denormal", "alternate", "mixed",
    };
    return fill < PROBE_N_FILL ? name[fill] : "unknown";
}

/* In [-2, 2), a multiple of 2^-22: exact in f32. */
static float small_number(uint64_t h)
{
    return (float)((int32_t)(h >> 40) - (1 << 23)) * 0x1p-22f;
}

/* Every value and every sum that the contract forms of them is finite, and f16
 * can hold each: 4096 at most in magnitude. */
float probe_value(enum probe_fill fill, uint64_t seed, uint64_t i)
{
    const uint64_t h = probe_number(seed, i);
    const uint32_t sign = (uint32_t)(h >> 63) << 31, frac = (uint32_t)h & 0x7fffff;
    switch (fill) {
    case PROBE_ZERO:
        return 0.0f;
    case PROBE_MAX:
        return 1000.0f;
    case PROBE_MIN:
        return -1000.0f;
    case PROBE_SPIKE:
        return i % 97 == 41 ? 3000.0f : small_number(h) * 0x1p-6f;
    case PROBE_DENORMAL:            /* denormal in f32, then denormal in f16 only */
        return f32_from_bits(sign | frac | (i % 2 ? (127u - 18) << 23 : 0));
    case PROBE_ALTERNATE:
        return i % 2 ? -500.0f - (float)(h % 16) : 500.0f + (float)(h % 16);
    case PROBE_MIXED:               /* 2^-12 to 2^12: sums lose bits if reordered */
        return f32_from_bits(sign | (uint32_t)(127 - 12 + (h >> 32) % 24) << 23 | frac);
    default:
        return small_number(h);
    }
}

int run_status(struct probe_run *r, int status, const char *what)
{
    return status == BNP_OK ? 0 : plug_fail(r->dev->plugin, status, what, r->e);
}

static bool host_mem(const struct probe_run *r)
{
    return (r->dev->info.flags & BNP_DEV_HOST_MEM) != 0;
}

int run_open(struct probe_run *r, struct dev *dev, struct probe *probe, const bnp_limits *limits,
             struct err *e)
{
    *r = (struct probe_run){ .dev = dev, .probe = probe, .e = e };
    probe->us = 0;
    probe->n_part = 0;
    if (!probe->n_tok)
        return err_set(e, ERR_ARG, "probe of %s: no rows", dev->plugin->note.raw.id);
    const int rc = run_status(r, dev->ops->stream_open(dev->d, limits, &r->stream), "stream_open");
    if (!rc && !r->stream)
        return run_status(r, BNP_E_INTERNAL, "stream_open");
    return rc;
}

void run_abandon(struct probe_run *r)
{
    r->e = NULL;
    if (r->in_step)
        (void)run_end(r);
}

void run_close(struct probe_run *r)
{
    run_abandon(r);
    if (r->stream)
        r->dev->ops->stream_close(r->stream);
    while (r->n_span) {
        const bnp_span s = r->span[--r->n_span];
        if (host_mem(r))
            mem_put(&r->dev->plugin->host->mem, s.base);
        else
            r->dev->ops->mem_free(r->dev->d, s);
    }
}

int run_span(struct probe_run *r, uint32_t kind, uint64_t size, uint64_t align, bnp_span *out)
{
    *out = (bnp_span){ 0 };
    if (!size)
        return 0;
    if (r->n_span == RUN_SPANS)
        return err_set(r->e, ERR_INTERNAL, "probe: more than %d pieces of memory", RUN_SPANS);
    if (host_mem(r)) {
        *out = (bnp_span){ .base = mem_get(&r->dev->plugin->host->mem, size, align, -1),
                           .size = size };
        if (!out->base)
            return err_set(r->e, ERR_NOMEM, "%s: probe: no memory for %ju bytes on a boundary of "
                           "%ju", r->dev->plugin->note.raw.id, (uintmax_t)size, (uintmax_t)align);
    } else {
        const int status = r->dev->ops->mem_alloc(r->dev->d, kind, size, align, out);
        if (status)
            return run_status(r, status, "mem_alloc");
    }
    r->span[r->n_span++] = *out;
    return 0;
}

int run_put(struct probe_run *r, bnp_span dst, const void *src)
{
    if (!host_mem(r))
        return run_status(r, r->dev->ops->copy_in(r->stream, dst, src), "copy_in");
    memcpy((char *)dst.base + dst.offset, src, dst.size);
    return 0;
}

int run_get(struct probe_run *r, void *dst, bnp_span src)
{
    if (host_mem(r)) {
        memcpy(dst, (const char *)src.base + src.offset, src.size);
        return 0;
    }
    int rc = run_status(r, r->dev->ops->copy_out(r->stream, dst, src), "copy_out");
    const bnp_step none = { .struct_size = sizeof none };
    if (!rc)
        rc = run_begin(r, &none);           /* the ticket that copy_out asks for */
    return rc ? rc : run_end(r);
}

int run_rows(struct probe_run *r, uint32_t n_tok, uint32_t cols, bnp_rows *out)
{
    const uint64_t stride = ((uint64_t)cols * sizeof(float) + 63) / 64 * 64;
    *out = (bnp_rows){ .stride = stride, .n_tok = n_tok, .cols = cols };
    return run_span(r, BNP_MEM_WORK, stride * n_tok, BNP_ALIGN, &out->mem);
}

int run_fill(struct probe_run *r, const bnp_rows *x, enum probe_fill fill, uint64_t seed)
{
    const size_t width = x->stride / sizeof(float);
    float *v = malloc(x->mem.size);
    if (!v)
        return err_set(r->e, ERR_NOMEM, "probe: no memory for %u rows", x->n_tok);
    for (uint32_t t = 0; t < x->n_tok; t++)
        for (size_t i = 0; i < width; i++)
            v[t * width + i] = i < x->cols ? probe_value(fill, seed, (uint64_t)t * x->cols + i)
                                           : f32_from_bits(0x7fc00001u);
    const int rc = run_put(r, x->mem, v);
    free(v);
    return rc;
}

static int note_part(struct probe_run *r, const char *op, uint32_t n_row, uint32_t cols)
{
    struct probe *p = r->probe;
    if (p->n_part == PROBE_MAX_PART)
        return err_set(r->e, ERR_INTERNAL, "probe: more than %d parts", PROBE_MAX_PART);
    p->part[p->n_part++] = (struct probe_part){ .op = op, .n_row = n_row, .cols = cols };
    return 0;
}

int run_take(struct probe_run *r, const bnp_rows *y, const char *op, struct buf *out)
{
    char *v = malloc(y->mem.size);
    if (!v)
        return err_set(r->e, ERR_NOMEM, "probe: no memory for %u rows", y->n_tok);
    int rc = run_get(r, v, y->mem);
    for (uint32_t t = 0; t < y->n_tok && !rc; t++)
        buf_add(out, v + t * y->stride, y->cols * sizeof(float));
    free(v);
    if (!rc && out->failed)
        rc = err_set(r->e, ERR_NOMEM, "probe: no memory for its result");
    return rc ? rc : note_part(r, op, y->n_tok, y->cols);
}

int run_take_span(struct probe_run *r, bnp_span s, const char *op, uint32_t n_row, uint32_t cols,
                  struct buf *out)
{
    /* A span is one long row. */
    const bnp_rows y = { .mem = s, .stride = s.size, .n_tok = 1, .cols = n_row * cols };
    const int rc = run_take(r, &y, op, out);
    if (!rc)
        r->probe->part[r->probe->n_part - 1] =
            (struct probe_part){ .op = op, .n_row = n_row, .cols = cols };
    return rc;
}

int run_begin(struct probe_run *r, const bnp_step *step)
{
    const int rc = run_status(r, r->dev->ops->step_begin(r->stream, step), "step_begin");
    r->in_step = !rc;
    return rc;
}

int run_end(struct probe_run *r)
{
    uint64_t ticket = 0;
    r->in_step = false;
    const int rc = run_status(r, r->dev->ops->step_end(r->stream, &ticket), "step_end");
    if (rc || !r->dev->ops->wait)
        return rc;
    return run_status(r, r->dev->ops->wait(r->stream, ticket, WAIT_NS), "wait");
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int run_time(struct probe_run *r, int (*once)(void *ctx), void *ctx)
{
    double us[MAX_REPS], spent = 0;
    uint32_t n = 0;
    while (n < r->probe->reps && n < MAX_REPS && spent < TIME_BUDGET_US) {
        const double start = now_us();
        const int rc = once(ctx);
        if (rc)
            return rc;
        us[n] = now_us() - start;
        spent += us[n++];
    }
    qsort(us, n, sizeof us[0], by_value);
    r->probe->us = n ? us[n / 2] : 0;
    return 0;
}

static float value_at(const struct buf *b, size_t i)
{
    float f;
    memcpy(&f, b->p + i * sizeof f, sizeof f);
    return f;
}

/* How far got may be from row `want[at .. at+len)`. */
static double row_bound(const struct buf *want, size_t at, size_t len, const struct bnp_offer *o)
{
    double m = 0;
    for (size_t i = 0; i < len; i++)
        m = fmax(m, fabs((double)value_at(want, at + i)));
    return (double)o->abs_err + (double)o->rel_err * m;
}

int64_t probe_diff(const struct buf *want, const struct buf *got, const struct bnp_offer *o,
                   uint32_t row_len)
{
    const size_t n = (want->n < got->n ? want->n : got->n) / sizeof(float);
    const bool exact = o->det == BNP_DET_EXACT || !row_len;
    double bound = 0;
    for (size_t i = 0; i < n; i++) {
        if (!exact && i % row_len == 0)
            bound = row_bound(want, i, n - i < row_len ? n - i : row_len, o);
        if (!memcmp(want->p + i * 4, got->p + i * 4, 4))
            continue;
        /* Written so that a NaN differs. */
        if (exact || !(fabs((double)value_at(want, i) - (double)value_at(got, i)) <= bound))
            return (int64_t)i;
    }
    return want->n == got->n ? -1 : (int64_t)n;
}

static int say_difference(const struct probe_part *part, size_t at, const struct buf *want,
                          const struct buf *got, struct err *e)
{
    const size_t row = part->cols ? at / part->cols : 0, col = part->cols ? at % part->cols : 0;
    return err_set(e, ERR_PLUGIN, "%s: row %zu, column %zu: got %.9g (%08x), expected %.9g (%08x)",
                   part->op, row, col, (double)value_at(got, at), f32_bits(value_at(got, at)),
                   (double)value_at(want, at), f32_bits(value_at(want, at)));
}

int probe_agree(const struct probe *p, const struct buf *want, const struct buf *got,
                const struct bnp_offer *o, struct err *e)
{
    size_t at = 0;
    if (want->n != got->n)
        return err_set(e, ERR_PLUGIN, "%zu bytes of results, expected %zu", got->n, want->n);
    for (uint32_t i = 0; i < p->n_part; i++) {
        const struct probe_part *part = &p->part[i];
        const size_t size = (size_t)part->n_row * part->cols * 4;
        if (size > want->n - at)
            return err_set(e, ERR_INTERNAL, "%s: the result is shorter than its parts", part->op);
        const struct buf a = { .p = want->p + at, .n = size }, b = { .p = got->p + at, .n = size };
        /* Near ties may be ordered differently by those that are not exact. */
        const bool skip = o->det != BNP_DET_EXACT && !strcmp(part->op, "topk id");
        const int64_t diff = skip ? -1 : probe_diff(&a, &b, o, part->cols);
        if (diff >= 0)
            return say_difference(part, (size_t)diff, &a, &b, e);
        at += size;
    }
    return 0;
}
