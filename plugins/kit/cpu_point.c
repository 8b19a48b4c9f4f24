/* cpu_point.c - pointwise work of a CPU plugin: rows dealt out to the workers,
 * columns where there is but one row. Each element, group and head is computed
 * whole by one kernel call, so who did it does not show. */
#include "plugins/kit/check_point.h"
#include "plugins/kit/cpu.h"
#include "plugins/kit/point.h"

#include <stdatomic.h>
#include <string.h>

/* Elements from which waking the workers costs less than it saves. */
#define PARALLEL_FROM 32768u

struct work {
    bnp_stream *s;
    const struct float_kern *f;
    const bnp_rows *x, *u, *y;
    const bnp_norm *norm;
    const bnp_rope *rope;
    uint32_t group, glu;
    _Atomic(bool) bad;
};

/* fn gets row t and columns from..to - 1, whole units of `unit` columns. */
typedef void piece_fn(struct work *, uint32_t t, uint32_t from, uint32_t to);

struct deal {
    struct work *w;
    piece_fn *fn;
    uint32_t unit;
};

/* A part of all units, counted through the rows. */
static void deal_part(void *arg, uint32_t part, uint32_t n_parts)
{
    const struct deal *d = arg;
    const uint32_t in_row = (d->w->x->cols - 1) / d->unit + 1, cols = d->w->x->cols;
    const uint64_t n = (uint64_t)in_row * d->w->x->n_tok;
    uint64_t at = n * part / n_parts;
    const uint64_t end = n * (part + 1) / n_parts;
    while (at < end) {
        const uint32_t t = (uint32_t)(at / in_row), first = (uint32_t)(at % in_row);
        const uint64_t left = end - at;
        const uint32_t n_unit = left < in_row - first ? (uint32_t)left : in_row - first;
        const uint64_t to = (uint64_t)(first + n_unit) * d->unit;
        d->fn(d->w, t, first * d->unit, to < cols ? (uint32_t)to : cols);
        at += n_unit;
    }
}

static void deal_out(struct work *w, piece_fn *fn, uint32_t unit)
{
    struct deal d = { w, fn, unit };
    w->f = cpu_float(w->s->dev);
    cpu_deal(w->s->dev, (uint64_t)w->x->n_tok * w->x->cols >= PARALLEL_FROM, deal_part, &d);
}

int cpu_point_query(bnp_device *dev, const bnp_point_desc *d, bnp_offer *offer)
{
    return cpu_first(dev) ? kit_point_query(dev, d, offer) : BNP_E_UNSUPPORTED;
}

static void norm_piece(struct work *w, uint32_t t, uint32_t from, uint32_t to)
{
    const float *x = rows_at(w->x, t), *gain = span_at(w->norm->weight);
    float *y = rows_at(w->y, t);
    if (w->f->row->not_finite(x + from, to - from) >= 0) {
        atomic_store_explicit(&w->bad, true, memory_order_relaxed);
        return;
    }
    for (uint32_t at = from; at < to; at += w->group)
        w->f->point->norm(x + at, gain, w->group, w->norm->eps, y + at);
}

/* The pieces that held a NaN or Inf were not written, so it is still there. */
int cpu_point_rmsnorm(bnp_stream *s, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y)
{
    struct work w = { .s = s, .x = x, .y = y, .norm = norm };
    const int rc = kit_norm_check(s, norm, x, y, &w.group);
    if (rc)
        return rc;
    atomic_init(&w.bad, false);
    deal_out(&w, norm_piece, w.group);
    return atomic_load(&w.bad) ? kit_need_finite(s, "rmsnorm", x) : BNP_OK;
}

static void rope_piece(struct work *w, uint32_t t, uint32_t from, uint32_t to)
{
    const float *table = kit_rope_row(w->s, w->rope, t);
    float *x = rows_at(w->x, t);
    for (uint32_t at = from; at < to; at += w->rope->head_dim)
        w->f->point->rope(w->rope->style, w->rope->n_rot, table, x + at);
}

int cpu_point_rope(bnp_stream *s, const bnp_rope *rope, const bnp_rows *x)
{
    const int rc = kit_rope_check(s, rope, x);
    if (rc)
        return rc;
    struct work w = { .s = s, .x = x, .rope = rope };
    deal_out(&w, rope_piece, rope->head_dim);
    return BNP_OK;
}

static void glu_piece(struct work *w, uint32_t t, uint32_t from, uint32_t to)
{
    w->f->point->glu(w->glu, rows_at(w->x, t) + from, rows_at(w->u, t) + from, to - from,
                     rows_at(w->y, t) + from);
}

/* Columns are dealt out by the cache line, so that no two workers share one. */
#define LINE (BNP_ALIGN / sizeof(float))

int cpu_point_glu(bnp_stream *s, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y)
{
    const int rc = kit_glu_check(s, f, gate, up, y);
    if (rc)
        return rc;
    struct work w = { .s = s, .x = gate, .u = up, .y = y, .glu = f };
    deal_out(&w, glu_piece, LINE);
    return BNP_OK;
}

static void add_piece(struct work *w, uint32_t t, uint32_t from, uint32_t to)
{
    w->f->point->add(rows_at(w->x, t) + from, to - from, rows_at(w->y, t) + from);
}

int cpu_point_add(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    const int rc = kit_add_check(s, x, y);
    if (rc)
        return rc;
    struct work w = { .s = s, .x = x, .y = y };
    deal_out(&w, add_piece, LINE);
    return BNP_OK;
}

int cpu_point_pick(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    const int rc = kit_pick_check(s, x, y);
    for (uint32_t i = 0; !rc && i < y->n_tok; i++)
        memcpy(rows_at(y, i), rows_at(x, (uint32_t)s->step.out_row[i]), (size_t)rows_width(x));
    return rc;
}

const bnp_point_ops cpu_point_ops = {
    .struct_size = sizeof(bnp_point_ops),
    .query = cpu_point_query,
    .rmsnorm = cpu_point_rmsnorm,
    .rope = cpu_point_rope,
    .glu = cpu_point_glu,
    .add = cpu_point_add,
    .pick = cpu_point_pick,
};
