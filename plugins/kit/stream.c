/* stream.c - see stream.h. */
#include "plugins/kit/stream.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int kit_fail(bnp_device *d, int status, const char *fmt, ...)
{
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    d->host->report(d->host->ctx, status, why);
    return status;
}

int kit_need_step(bnp_stream *s, const char *what)
{
    if (s->in_step)
        return BNP_OK;
    return kit_fail(s->dev, BNP_E_INVALID, "%s: called outside a step, expected step_begin before",
                    what);
}

int kit_need_rows(bnp_stream *s, const char *what, const bnp_rows *r)
{
    const char *why = rows_wrong(r);
    if (!why)
        return BNP_OK;
    return kit_fail(s->dev, BNP_E_INVALID,
                    "%s: %s (%u rows of %u columns, stride %llu, %llu bytes)", what, why, r->n_tok,
                    r->cols, (unsigned long long)r->stride, (unsigned long long)r->mem.size);
}

int kit_need_span(bnp_stream *s, const char *what, bnp_span span, uint64_t size)
{
    const char *why = span_wrong(span, size);
    if (!why)
        return BNP_OK;
    return kit_fail(s->dev, BNP_E_INVALID, "%s: %s (%llu bytes, expected %llu)", what, why,
                    (unsigned long long)span.size, (unsigned long long)size);
}

int kit_device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    *out = NULL;
    bnp_device *d = host->alloc(host->ctx, sizeof *d, BNP_ALIGN, -1);
    if (!d) {
        host->report(host->ctx, BNP_E_NOMEM, "no memory for the device");
        return BNP_E_NOMEM;
    }
    d->host = host;
    d->index = index;
    *out = d;
    return BNP_OK;
}

void kit_device_close(bnp_device *d)
{
    if (d)
        d->host->release(d->host->ctx, d);
}

static void stream_close(bnp_stream *s)
{
    if (s)
        s->dev->host->release(s->dev->host->ctx, s);
}

/* One allocation: the stream, then the arrays of the largest step. */
static int stream_open(bnp_device *d, const bnp_limits *lim, bnp_stream **out)
{
    *out = NULL;
    if (lim->struct_size < sizeof(bnp_limits) || !lim->max_tok)
        return kit_fail(d, BNP_E_INVALID, "stream_open: limits without rows");
    size_t n_page, n = 3 * (size_t)lim->max_tok + lim->max_out;
    if (__builtin_mul_overflow((size_t)lim->max_seq, (size_t)lim->max_pages, &n_page) ||
        __builtin_add_overflow(n, n_page, &n) || n > PTRDIFF_MAX / sizeof(int32_t) / 2)
        return kit_fail(d, BNP_E_NOMEM, "stream_open: %u sequences of %u pages are too many",
                        lim->max_seq, lim->max_pages);
    const size_t head = (size_t)align_up(sizeof(bnp_stream), BNP_ALIGN);
    bnp_stream *s = d->host->alloc(d->host->ctx, head + n * sizeof(int32_t), BNP_ALIGN, -1);
    if (!s)
        return kit_fail(d, BNP_E_NOMEM, "stream_open: no memory for %zu numbers", n);
    s->dev = d;
    s->lim = *lim;
    s->id = (int32_t *)((char *)s + head);
    s->pos = s->id + lim->max_tok;
    s->seq_of = s->pos + lim->max_tok;
    s->out_row = s->seq_of + lim->max_tok;
    s->page = s->out_row + lim->max_out;
    *out = s;
    return BNP_OK;
}

static int step_counts(const bnp_stream *s, const bnp_step *st)
{
    const bnp_limits *lim = &s->lim;
    if (st->struct_size < sizeof(bnp_step))
        return kit_fail(s->dev, BNP_E_INVALID, "step_begin: struct_size %u, expected at least %zu",
                        st->struct_size, sizeof(bnp_step));
    if (st->n_tok > lim->max_tok || st->n_seq > lim->max_seq || st->n_out > lim->max_out ||
        (st->n_seq && st->max_pages > lim->max_pages))
        return kit_fail(s->dev, BNP_E_INVALID,
                        "step_begin: %u rows, %u sequences, %u outputs, %u pages exceed the "
                        "stream's limits %u, %u, %u, %u", st->n_tok, st->n_seq, st->n_out,
                        st->max_pages, lim->max_tok, lim->max_seq, lim->max_out, lim->max_pages);
    if ((st->n_tok && (!st->id || !st->pos)) || (st->n_out && !st->out_row) ||
        (st->n_seq && (!st->seq_start || !st->kv_len || (st->max_pages && !st->page))))
        return kit_fail(s->dev, BNP_E_INVALID, "step_begin: an array is missing");
    return BNP_OK;
}

/* Rows of sequence q: inside the step, at consecutive positions, the last of
 * them the last key. */
static int step_sequence(const bnp_stream *s, const bnp_step *st, uint32_t q)
{
    const int32_t from = st->seq_start[q], to = st->seq_start[q + 1];
    if (from < 0 || to < from || (uint32_t)to > st->n_tok)
        return kit_fail(s->dev, BNP_E_INVALID, "step_begin: sequence %u has rows %d to %d of %u", q,
                        from, to, st->n_tok);
    for (int32_t r = from; r < to; r++) {
        if (st->pos[r] < 0 || (r > from && st->pos[r] - 1 != st->pos[r - 1]))
            return kit_fail(s->dev, BNP_E_INVALID,
                            "step_begin: row %d of sequence %u at position %d, expected "
                            "consecutive positions from 0 on", r, q, st->pos[r]);
    }
    if (to > from && (int64_t)st->kv_len[q] - 1 != st->pos[to - 1])
        return kit_fail(s->dev, BNP_E_INVALID,
                        "step_begin: sequence %u has %d keys and a last row at position %d", q,
                        st->kv_len[q], st->pos[to - 1]);
    return BNP_OK;
}

static int step_check(const bnp_stream *s, const bnp_step *st)
{
    int rc = step_counts(s, st);
    if (rc)
        return rc;
    if (st->n_seq && (st->seq_start[0] != 0 || (uint32_t)st->seq_start[st->n_seq] != st->n_tok))
        return kit_fail(s->dev, BNP_E_INVALID, "step_begin: sequences cover rows %d to %d of %u",
                        st->seq_start[0], st->seq_start[st->n_seq], st->n_tok);
    for (uint32_t q = 0; q < st->n_seq; q++) {
        if ((rc = step_sequence(s, st, q)))
            return rc;
    }
    for (uint32_t i = 0; i < st->n_out; i++) {
        if (st->out_row[i] < 0 || (uint32_t)st->out_row[i] >= st->n_tok)
            return kit_fail(s->dev, BNP_E_INVALID, "step_begin: output %u is row %d of %u", i,
                            st->out_row[i], st->n_tok);
    }
    return BNP_OK;
}

static void copy_ids(int32_t *dst, const int32_t *src, size_t n)
{
    if (n)
        memcpy(dst, src, n * sizeof *dst);
}

static int step_begin(bnp_stream *s, const bnp_step *st)
{
    if (s->in_step)
        return kit_fail(s->dev, BNP_E_INVALID, "step_begin: the step before has not ended");
    const int rc = step_check(s, st);
    if (rc)
        return rc;
    copy_ids(s->id, st->id, st->n_tok);
    copy_ids(s->pos, st->pos, st->n_tok);
    copy_ids(s->out_row, st->out_row, st->n_out);
    copy_ids(s->page, st->page, (size_t)st->n_seq * st->max_pages);
    for (uint32_t r = 0; r < st->n_tok; r++)
        s->seq_of[r] = -1;                      /* rows of a step without sequences */
    for (uint32_t q = 0; q < st->n_seq; q++)
        for (int32_t r = st->seq_start[q]; r < st->seq_start[q + 1]; r++)
            s->seq_of[r] = (int32_t)q;
    s->step = *st;
    s->step.id = s->id;
    s->step.pos = s->pos;
    s->step.page = s->page;
    s->step.out_row = s->out_row;
    s->step.seq_start = s->step.kv_len = NULL;  /* checked, and not needed again */
    s->in_step = true;
    return BNP_OK;
}

static int step_end(bnp_stream *s, uint64_t *ticket)
{
    const int rc = kit_need_step(s, "step_end");
    if (rc)
        return rc;
    s->in_step = false;
    *ticket = ++s->ticket;
    return BNP_OK;
}

/* Memory is the host's and work is done when a call returns: no mem_alloc, no
 * copies, nothing to wait for. */
const bnp_device_ops kit_device_ops = {
    .struct_size = sizeof(bnp_device_ops),
    .stream_open = stream_open,
    .stream_close = stream_close,
    .step_begin = step_begin,
    .step_end = step_end,
};
