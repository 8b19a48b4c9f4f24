/* probe_point.c - the small ops, each in the variants that models use.
 *
 * Every variant writes rows of its own, all in one step, so the timed call is
 * the step of everything that the description asks for. */
#include "core/plug/probe.h"

#include <stdlib.h>
#include <string.h>

#include "core/plug/probe_run.h"

#define FIRST_POS 3               /* the step's rows do not start a sequence   */
#define MAX_CASE  11

struct point_run;

struct variant {
    const char *op;
    int (*call)(struct point_run *, const struct variant *);
    uint32_t arg;                 /* group, rotated part or function           */
    uint32_t style;
    bnp_rows y;
};

struct point_run {
    struct probe_run run;
    const bnp_point_desc *d;
    uint32_t head_dim;
    bnp_rows x, gate;
    bnp_span weight, table;
    int32_t *id, *pos, *out_row;  /* [n_tok], [n_tok], [n_out]                 */
    uint32_t n_out;
    struct variant variant[MAX_CASE];
    unsigned n_variant;
};

static int call_norm(struct point_run *t, const struct variant *v)
{
    struct probe_run *r = &t->run;
    bnp_span weight = t->weight;
    weight.size = (uint64_t)(v->arg ? v->arg : t->d->cols) * sizeof(float);
    const bnp_norm norm = { .struct_size = sizeof norm, .group_cols = v->arg, .eps = 0x1p-17f,
                            .weight = weight };
    return run_status(r, r->dev->point->rmsnorm(r->stream, &norm, &t->x, &v->y), "point.rmsnorm");
}

/* In place: y was filled like x. */
static int call_rope(struct point_run *t, const struct variant *v)
{
    struct probe_run *r = &t->run;
    const uint32_t n_pos = FIRST_POS + r->probe->n_tok;
    bnp_span table = t->table;
    table.size = (uint64_t)n_pos * v->arg * sizeof(float);
    const bnp_rope rope = { .struct_size = sizeof rope, .style = v->style, .head_dim = t->head_dim,
                            .n_rot = v->arg, .n_pos = n_pos, .table = table };
    return run_status(r, r->dev->point->rope(r->stream, &rope, &v->y), "point.rope");
}

static int call_glu(struct point_run *t, const struct variant *v)
{
    struct probe_run *r = &t->run;
    return run_status(r, r->dev->point->glu(r->stream, v->arg, &t->gate, &t->x, &v->y),
                      "point.glu");
}

static int call_add(struct point_run *t, const struct variant *v)
{
    struct probe_run *r = &t->run;
    return run_status(r, r->dev->point->add(r->stream, &t->x, &v->y), "point.add");
}

static int call_pick(struct point_run *t, const struct variant *v)
{
    struct probe_run *r = &t->run;
    return run_status(r, r->dev->point->pick(r->stream, &t->x, &v->y), "point.pick");
}

static void list(struct point_run *t, const char *op,
                 int (*call)(struct point_run *, const struct variant *), uint32_t arg,
                 uint32_t style)
{
    t->variant[t->n_variant++] = (struct variant){ .op = op, .call = call, .arg = arg,
                                                   .style = style };
}

static void list_variants(struct point_run *t)
{
    const uint32_t ops = t->d->ops, head = t->head_dim;
    if (ops & BNP_POINT_RMSNORM) {
        list(t, "rmsnorm", call_norm, 0, 0);
        if (head)
            list(t, "rmsnorm of heads", call_norm, head, 0);
    }
    if ((ops & BNP_POINT_ROPE) && head) {
        list(t, "rope of halves", call_rope, head, BNP_ROPE_HALVES);
        list(t, "rope of pairs", call_rope, head, BNP_ROPE_PAIRS);
        list(t, "rope of part of a head", call_rope, head / 2, BNP_ROPE_HALVES);
    }
    if (ops & BNP_POINT_RELU2)
        list(t, "glu relu2", call_glu, BNP_GLU_RELU2, 0);
    if (ops & BNP_POINT_SILU)
        list(t, "glu silu", call_glu, BNP_GLU_SILU, 0);
    if (ops & BNP_POINT_GELU)
        list(t, "glu gelu", call_glu, BNP_GLU_GELU, 0);
    if (ops & BNP_POINT_ADD)
        list(t, "add", call_add, 0, 0);
    if (ops & BNP_POINT_PICK)
        list(t, "pick", call_pick, 0, 0);
}

/* Any numbers serve as cosines and sines. */
static int fill_span(struct point_run *t, bnp_span *s, uint64_t n, uint64_t seed)
{
    struct probe_run *r = &t->run;
    int rc = run_span(r, BNP_MEM_WORK, n * sizeof(float), BNP_ALIGN, s);
    if (rc || !n)
        return rc;
    float *v = malloc(n * sizeof *v);
    if (!v)
        return err_set(r->e, ERR_NOMEM, "probe: no memory for %ju numbers", (uintmax_t)n);
    for (uint64_t i = 0; i < n; i++)
        v[i] = probe_value(PROBE_RANDOM, seed, i) * 0.5f;
    rc = run_put(r, *s, v);
    free(v);
    return rc;
}

static int make_memory(struct point_run *t)
{
    struct probe_run *r = &t->run;
    const struct probe *p = r->probe;
    const uint32_t n = p->n_tok, cols = t->d->cols;
    int rc;
    if ((rc = run_rows(r, n, cols, &t->x)) || (rc = run_fill(r, &t->x, p->fill, p->seed)) ||
        (rc = run_rows(r, n, cols, &t->gate)) ||
        (rc = run_fill(r, &t->gate, p->fill, p->seed + 1)) ||
        (rc = fill_span(t, &t->weight, cols, p->seed + 2)) ||
        (rc = fill_span(t, &t->table, ((uint64_t)n + FIRST_POS) * t->head_dim, p->seed + 3)))
        return rc;
    t->n_out = (n + 1) / 2;
    t->id = calloc(n, sizeof *t->id);
    t->pos = calloc(n, sizeof *t->pos);
    t->out_row = calloc(t->n_out, sizeof *t->out_row);
    if (!t->id || !t->pos || !t->out_row)
        return err_set(r->e, ERR_NOMEM, "probe: no memory for %u rows", n);
    for (uint32_t i = 0; i < n; i++)
        t->pos[i] = (int32_t)(FIRST_POS + i);
    for (uint32_t i = 0; i < t->n_out; i++)
        t->out_row[i] = (int32_t)(n - 1 - 2 * i);
    for (unsigned i = 0; i < t->n_variant && !rc; i++) {
        struct variant *v = &t->variant[i];
        rc = run_rows(r, v->call == call_pick ? t->n_out : n, cols, &v->y);
        if (!rc)
            rc = run_fill(r, &v->y, p->fill, p->seed + 4);
    }
    return rc;
}

static int one_step(void *ctx)
{
    struct point_run *t = ctx;
    const uint32_t n = t->run.probe->n_tok;
    static const int32_t page = -1;
    const int32_t start[2] = { 0, (int32_t)n }, kv_len = (int32_t)(FIRST_POS + n);
    int rc = run_begin(&t->run, &(bnp_step){
        .struct_size = sizeof(bnp_step), .n_tok = n, .n_seq = 1, .max_pages = 1,
        .n_out = t->n_out, .id = t->id, .pos = t->pos, .seq_start = start, .kv_len = &kv_len,
        .page = &page, .out_row = t->out_row });
    for (unsigned i = 0; i < t->n_variant && !rc; i++)
        rc = t->variant[i].call(t, &t->variant[i]);
    return rc ? rc : run_end(&t->run);
}

static int open_run(struct point_run *t, struct dev *dev, const struct bnp_point_desc *d,
                    struct probe *p, struct err *e)
{
    const char *id = dev->plugin->note.raw.id;
    if (!dev->point)
        return err_set(e, ERR_UNSUPPORTED, "%s: does not offer the pointwise family", id);
    if (!d->cols || p->n_tok > d->max_tok || p->n_tok > INT32_MAX - FIRST_POS)
        return err_set(e, ERR_ARG, "%s: probe of %u columns and %u rows of at most %u", id, d->cols,
                       p->n_tok, d->max_tok);
    *t = (struct point_run){ .d = d };
    for (uint32_t head = 128; head >= 16 && !t->head_dim; head /= 2)
        if (d->cols % head == 0)
            t->head_dim = head;
    list_variants(t);
    const bnp_limits limits = { .struct_size = sizeof limits, .max_tok = p->n_tok, .max_seq = 1,
                                .max_pages = 1, .max_out = p->n_tok };
    return run_open(&t->run, dev, p, &limits, e);
}

static int get_ready(struct point_run *t)
{
    struct probe_run *r = &t->run;
    bnp_offer offer = { .struct_size = sizeof offer };
    const int rc = run_status(r, r->dev->point->query(r->dev->d, t->d, &offer), "point.query");
    return rc ? rc : make_memory(t);
}

static void close_run(struct point_run *t)
{
    run_close(&t->run);
    free(t->id);
    free(t->pos);
    free(t->out_row);
    *t = (struct point_run){ 0 };
}

int probe_point(struct dev *dev, const struct bnp_point_desc *d, struct probe *p, struct buf *out,
                struct err *e)
{
    struct point_run t = { 0 };
    int rc = open_run(&t, dev, d, p, e);
    if (!rc)
        rc = get_ready(&t);
    if (!rc)
        rc = one_step(&t);
    for (unsigned i = 0; i < t.n_variant && !rc; i++)
        rc = run_take(&t.run, &t.variant[i].y, t.variant[i].op, out);
    close_run(&t);
    return rc;
}

/* ---------------------------------------------------------------- timed calls */

struct point_bench {
    struct point_run run;         /* first: calls are its                      */
    struct dev *dev;
    bnp_point_desc d;
    struct probe probe;
    struct err *e;
};

static int set_rows(void *ctx, uint32_t n_tok)
{
    struct point_bench *b = ctx;
    close_run(&b->run);
    b->probe = (struct probe){ .seed = 1, .fill = PROBE_RANDOM, .n_tok = n_tok };
    const int rc = open_run(&b->run, b->dev, &b->d, &b->probe, b->e);
    return rc ? rc : get_ready(&b->run);
}

static void close_bench(void *ctx)
{
    close_run(ctx);
    free(ctx);
}

int probe_bench_point(struct probe_bench *b, struct dev *dev, const struct bnp_point_desc *d)
{
    struct point_bench *own = calloc(1, sizeof *own);
    *b = (struct probe_bench){ .set = set_rows, .once = one_step, .n_copy = 1,
                               .close = own ? close_bench : NULL, .ctx = own };
    if (!own)
        return err_set(&b->e, ERR_NOMEM, "probe: no memory for a stopwatch");
    *own = (struct point_bench){ .dev = dev, .d = *d, .e = &b->e };
    return 0;
}
