/* ops_point.c - the pointwise ops on one set of rows, and results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "tools/verify/ops.h"
#include "tools/verify/ops_help.h"

enum { N_POS = 64 + SUT_MAX_TOK };          /* rows of the rope table */

void result_time(struct result *out)
{
    out->since = (double)clock_ns() * 1e-3;
}

int result_timed(struct result *out, int rc)
{
    out->us += (double)clock_ns() * 1e-3 - out->since;
    return rc;
}

void result_add_words(struct result *out, const char *op, const void *words, uint32_t rows,
                      uint32_t cols)
{
    const size_t size = (size_t)rows * cols * 4;
    struct plane *p = &out->plane[out->n++];
    *p = (struct plane){ .op = op, .rows = rows, .cols = cols, .us = out->us,
                         .bits = malloc(size ? size : 1) };
    out->us = 0;
    if (!p->bits) {
        fprintf(stderr, "no memory for a result\n");
        exit(2);
    }
    memcpy(p->bits, words, size);
}

void result_add(struct result *out, const char *op, const bnp_rows *r)
{
    const bnp_rows tight = { .mem = span_new((uint64_t)r->n_tok * r->cols * 4), .cols = r->cols };
    for (uint32_t t = 0; t < r->n_tok; t++)
        memcpy((float *)tight.mem.base + (size_t)t * r->cols, row_of(r, t), r->cols * 4ull);
    result_add_words(out, op, tight.mem.base, r->n_tok, r->cols);
    span_free(tight.mem);
}

void result_free(struct result *r)
{
    for (unsigned i = 0; i < r->n; i++)
        free(r->plane[i].bits);
    r->n = 0;
}

void point_input(const struct point_case *c, enum point_part part, uint32_t row, float *x)
{
    gen_fill(c->fill, c->seed * 31 + part * 1009 + row * 7, c->max, x, c->cols);
}

void point_weight(const struct point_case *c, uint32_t n, float *w)
{
    for (uint32_t i = 0; i < n; i++)
        w[i] = 1.0f + gen_unit(c->seed ^ 0x3e1, i);
}

/* Any numbers of a cosine's size will do: an angle is the core's business. */
float point_table(const struct point_case *c, uint32_t pos, uint32_t i)
{
    if (!pos && i < c->n_rot / 2)
        return 1.0f;
    return gen_unit(c->seed ^ 0x20e, (uint64_t)pos * c->n_rot + i);
}

static bnp_rows input(const struct point_case *c, enum point_part part)
{
    const bnp_rows x = rows_new(c->n_tok, c->cols);
    for (uint32_t t = 0; t < x.n_tok; t++)
        point_input(c, part, t, row_of(&x, t));
    return x;
}

static int norms(struct sut *s, const struct point_case *c, const bnp_rows *x, struct result *out)
{
    bnp_norm norm = { .struct_size = sizeof norm, .eps = c->eps,
                      .weight = span_new(c->cols * 4ull) };
    const bnp_rows y = rows_new(c->n_tok, c->cols), in_place = input(c, POINT_X);
    point_weight(c, c->cols, norm.weight.base);
    int rc = TIMED(out, s->p->point->rmsnorm(s->stream, &norm, x, &y));
    if (!rc) {
        result_add(out, "rmsnorm", &y);
        norm.group_cols = c->group_cols;
        rc = TIMED(out, s->p->point->rmsnorm(s->stream, &norm, &in_place, &in_place));
    }
    if (!rc)
        result_add(out, "rmsnorm of groups in place", &in_place);
    span_free(norm.weight);
    span_free(y.mem);
    span_free(in_place.mem);
    return rc;
}

static int ropes(struct sut *s, const struct point_case *c, struct result *out)
{
    bnp_rope rope = { .struct_size = sizeof rope, .head_dim = c->group_cols, .n_rot = c->n_rot,
                      .n_pos = N_POS, .table = span_new(4ull * N_POS * c->n_rot) };
    for (uint32_t i = 0; i < N_POS * c->n_rot; i++)
        ((float *)rope.table.base)[i] = point_table(c, i / c->n_rot, i % c->n_rot);
    int rc = BNP_OK;
    for (rope.style = BNP_ROPE_HALVES; rope.style <= BNP_ROPE_PAIRS && !rc; rope.style++) {
        const bnp_rows x = input(c, POINT_X);
        rc = TIMED(out, s->p->point->rope(s->stream, &rope, &x));
        if (!rc)
            result_add(out, rope.style == BNP_ROPE_HALVES ? "rope halves" : "rope pairs", &x);
        span_free(x.mem);
    }
    span_free(rope.table);
    return rc;
}

static int glu(struct sut *s, uint32_t f, const char *op, const bnp_rows *x, const bnp_rows *y,
               struct result *out)
{
    const bnp_rows z = rows_new(x->n_tok, x->cols);
    const int rc = TIMED(out, s->p->point->glu(s->stream, f, x, y, &z));
    if (!rc)
        result_add(out, op, &z);
    span_free(z.mem);
    return rc;
}

static int glus(struct sut *s, const bnp_rows *x, const bnp_rows *y, struct result *out)
{
    const int rc = glu(s, BNP_GLU_RELU2, "glu relu2", x, y, out);
    return rc ? rc : glu(s, BNP_GLU_SILU, "glu silu", x, y, out);
}

/* Last, for a plugin older than it lacks it. */
static int gelu(struct sut *s, const struct point_case *c, const bnp_rows *x, struct result *out)
{
    const bnp_rows y = input(c, POINT_Y);
    const int rc = glu(s, BNP_GLU_GELU, "glu gelu", x, &y, out);
    span_free(y.mem);
    return rc;
}

static int add_and_pick(struct sut *s, const bnp_rows *x, const bnp_rows *y, struct result *out)
{
    const bnp_rows z = rows_new(x->n_tok, x->cols);
    int rc = TIMED(out, s->p->point->pick(s->stream, x, &z));
    if (!rc)
        result_add(out, "pick", &z);
    if (!rc && !(rc = TIMED(out, s->p->point->add(s->stream, x, y))))
        result_add(out, "add", y);
    span_free(z.mem);
    return rc;
}

int run_point(struct sut *s, const struct point_case *c, struct result *out, const char **failed)
{
    if (!s->p->point)
        return BNP_E_UNSUPPORTED;
    bnp_point_desc d = { .struct_size = sizeof d, .cols = c->cols, .max_tok = SUT_MAX_TOK,
                         .ops = BNP_POINT_RMSNORM | BNP_POINT_ROPE | BNP_POINT_RELU2 |
                                BNP_POINT_SILU | BNP_POINT_ADD | BNP_POINT_PICK };
    out->offer = (bnp_offer){ .struct_size = sizeof out->offer };
    TRY("query", s->p->point->query(s->dev, &d, &out->offer));
    bnp_offer newer = { .struct_size = sizeof newer };
    d.ops |= BNP_POINT_GELU;
    const bool has_gelu = s->p->point->query(s->dev, &d, &newer) == BNP_OK;
    TRY("step_begin", sut_step(s, c->n_tok, c->pos, c->seed, 1));
    const bnp_rows x = input(c, POINT_X), y = input(c, POINT_Y);
    const long n_alloc = s->n_alloc;
    int rc;
    if ((rc = norms(s, c, &x, out)))
        *failed = "rmsnorm";
    else if ((rc = ropes(s, c, out)))
        *failed = "rope";
    else if ((rc = glus(s, &x, &y, out)))
        *failed = "glu";
    else if ((rc = add_and_pick(s, &x, &y, out)))
        *failed = "add or pick";
    else if (has_gelu && (rc = gelu(s, c, &x, out)))
        *failed = "glu";
    else if (s->n_alloc != n_alloc)
        *failed = "allocating inside a step", rc = BNP_E_INTERNAL;
    span_free(x.mem);
    span_free(y.mem);
    const int end = sut_step_end(s);
    return rc ? rc : end;
}
