/* probe_run.c - streams and memory for all probes.
 *
 * The two kinds of device differ only in how bytes come in and out; everything
 * above this file is the same for both. */
#include "core/base/clock.h"
#include "core/plug/probe_run.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"
#include "core/plug/hostsvc.h"

#define WAIT_NS UINT64_C(60000000000)

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

static int timed(int (*once)(void *ctx), void *ctx, double *us)
{
    const double start = (double)clock_ns() * 1e-3;
    const int rc = once(ctx);
    *us = (double)clock_ns() * 1e-3 - start;
    return rc;
}

void probe_bench_close(struct probe_bench *b)
{
    if (b->close)
        b->close(b->ctx);
    *b = (struct probe_bench){ .e = b->e };
}

int run_best(double budget_us, int (*once)(void *ctx), void *ctx, double *us)
{
    const double start = (double)clock_ns() * 1e-3;
    for (uint32_t n = 0; n < RUN_BEST && (n < 3 || (double)clock_ns() * 1e-3 - start < budget_us); n++) {
        double one;
        const int rc = timed(once, ctx, &one);
        if (rc)
            return rc;
        *us = n && *us < one ? *us : one;
    }
    *us = *us > 0 ? *us : 1e-3;                       /* under the clock's resolution */
    return 0;
}
