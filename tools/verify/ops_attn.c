/* ops_attn.c - two sequences grow side by side in uneven steps, then a third
 * one forks from the first in the middle of a page and goes its own way.
 *
 * Page numbers are scattered over the pool. What is read out is every row that
 * was ever attended, by sequence and position, so how the rows were batched
 * must not show. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/verify/ops.h"
#include "tools/verify/ops_help.h"

enum { N_FORK = 5 };                        /* rows of the fork */

struct attn_run {
    struct sut *s;
    const bnp_attn_ops *ops;
    const struct attn_case *c;
    uint32_t n_page;                        /* of a sequence */
    int32_t *table;                         /* [3][n_page] */
    bnp_span pool, scratch;
    bnp_rows out[3];                        /* by position */
    bnp_offer offer;
    struct result *result;
};

struct piece { uint32_t seq, pos, n; };     /* rows of one sequence in a step */

/* Of sequences 0 and 1. */
static uint32_t len_of(const struct attn_case *c, uint32_t seq)
{
    return seq ? c->kv_len * 2 / 3 + 1 : c->kv_len;
}

static uint32_t width(const struct attn_case *c, enum attn_part part)
{
    return c->desc.head_dim * (part == ATTN_Q ? c->desc.n_head : c->desc.n_head_kv);
}

void attn_input(const struct attn_case *c, enum attn_part part, uint32_t seq, uint32_t pos,
                float *x)
{
    gen_fill(c->fill, c->seed * 131 + part * 7919 + seq * 104729 + pos, c->max, x, width(c, part));
}

static int open_pool(struct attn_run *r, const char **failed)
{
    const bnp_attn_desc *d = &r->c->desc;
    uint64_t size = 0;
    r->offer.struct_size = sizeof r->offer;
    TRY("query", r->ops->query(r->s->dev, d, &r->offer));
    TRY("page_size", r->ops->page_size(r->s->dev, d, &size));
    r->n_page = (r->c->kv_len + N_FORK) / d->page_tok + 1;
    const uint32_t n = 3 * r->n_page;
    r->table = calloc(n, sizeof *r->table);
    if (!r->table) {
        *failed = "memory";
        return BNP_E_NOMEM;
    }
    for (uint32_t i = 0; i < n; i++)
        r->table[i] = (int32_t)i;
    for (uint32_t i = n - 1; i; i--) {
        const uint32_t j = (uint32_t)(gen_u64(r->c->seed ^ 0xa9e, i) % (i + 1));
        const int32_t t = r->table[i];
        r->table[i] = r->table[j];
        r->table[j] = t;
    }
    r->pool = span_new(size * n);
    r->scratch = span_new(r->offer.scratch_size);
    for (uint32_t q = 0; q < 3; q++)
        r->out[q] = rows_new(q < 2 ? len_of(r->c, q) : N_FORK, width(r->c, ATTN_Q));
    return BNP_OK;
}

static int begin(struct attn_run *r, const struct piece *p, uint32_t n_piece)
{
    int32_t id[SUT_MAX_TOK] = { 0 }, pos[SUT_MAX_TOK], start[4], kv_len[3];
    int32_t page[3 * SUT_MAX_PAGES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_piece; i++) {
        start[i] = (int32_t)n;
        kv_len[i] = (int32_t)(p[i].pos + p[i].n);
        memcpy(page + i * r->n_page, r->table + p[i].seq * r->n_page, r->n_page * sizeof *page);
        for (uint32_t k = 0; k < p[i].n; k++)
            pos[n++] = (int32_t)(p[i].pos + k);
    }
    start[n_piece] = (int32_t)n;
    const bnp_step st = { .struct_size = sizeof st, .n_tok = n, .n_seq = n_piece,
                          .max_pages = r->n_page, .id = id, .pos = pos, .seq_start = start,
                          .kv_len = kv_len, .page = page };
    return r->s->p->device->step_begin(r->s->stream, &st);
}

static bnp_rows gather(const struct attn_case *c, enum attn_part part, const struct piece *p,
                       uint32_t n_piece)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_piece; i++)
        n += p[i].n;
    const bnp_rows x = rows_new(n, width(c, part));
    n = 0;
    for (uint32_t i = 0; i < n_piece; i++)
        for (uint32_t k = 0; k < p[i].n; k++)
            attn_input(c, part, p[i].seq, p[i].pos + k, row_of(&x, n++));
    return x;
}

/* append and attend inside the step, q and out the same rows every other time. */
static int work(struct attn_run *r, const struct piece *p, uint32_t n_piece, const char **failed)
{
    const bnp_rows q = gather(r->c, ATTN_Q, p, n_piece), k = gather(r->c, ATTN_K, p, n_piece);
    const bnp_rows v = gather(r->c, ATTN_V, p, n_piece), apart = rows_new(q.n_tok, q.cols);
    const bnp_rows *out = p[0].pos % 2 ? &q : &apart;
    const long n_alloc = r->s->n_alloc;
    *failed = "append";
    int rc = r->ops->append(r->s->stream, &r->c->desc, r->pool, &k, &v);
    if (!rc) {
        *failed = "attend";
        rc = TIMED(r->result, r->ops->attend(r->s->stream, &r->c->desc, r->pool, &q, out,
                                             r->scratch));
    }
    if (!rc && r->s->n_alloc != n_alloc) {
        *failed = "allocating inside a step";
        rc = BNP_E_INTERNAL;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_piece && !rc; i++) {
        const uint32_t at = p[i].seq < 2 ? p[i].pos : p[i].pos - r->c->kv_len;
        for (uint32_t j = 0; j < p[i].n; j++)
            memcpy(row_of(&r->out[p[i].seq], at + j), row_of(out, n++), q.cols * 4ull);
    }
    span_free(q.mem);
    span_free(k.mem);
    span_free(v.mem);
    span_free(apart.mem);
    return rc;
}

static int step(struct attn_run *r, const struct piece *p, uint32_t n_piece, const char **failed)
{
    TRY("step_begin", begin(r, p, n_piece));
    const int rc = work(r, p, n_piece, failed), end = sut_step_end(r->s);
    return rc ? rc : end;
}

static int grow(struct attn_run *r, const char **failed)
{
    uint32_t done[2] = { 0, 0 };
    for (uint64_t i = 0; done[0] < len_of(r->c, 0) || done[1] < len_of(r->c, 1); i++) {
        struct piece p[2];
        uint32_t n_piece = 0;
        for (uint32_t q = 0; q < 2; q++) {
            const uint32_t left = len_of(r->c, q) - done[q];
            const uint64_t want = gen_u64(r->c->seed ^ 0x9e0, 2 * i + q) % r->c->chunk + 1;
            const uint32_t n = want < left ? (uint32_t)want : left;
            if (!n)
                continue;
            p[n_piece++] = (struct piece){ q, done[q], n };
            done[q] += n;
        }
        const int rc = step(r, p, n_piece, failed);
        if (rc)
            return rc;
    }
    return BNP_OK;
}

/* Sequence 2 shares the full pages of sequence 0 and gets a copy of the page
 * that is only partly full. */
static int fork_sequence(struct attn_run *r, const char **failed)
{
    const bnp_attn_desc *d = &r->c->desc;
    const uint32_t len = r->c->kv_len, full = len / d->page_tok, rest = len % d->page_tok;
    int32_t *mine = r->table + 2 * r->n_page;
    memcpy(mine, r->table, full * sizeof *mine);
    const struct piece p = { 2, len, N_FORK };
    TRY("step_begin", begin(r, &p, 1));
    int rc = BNP_OK;
    if (rest && r->ops->copy_page) {
        *failed = "copy_page";
        rc = r->ops->copy_page(r->s->stream, d, r->pool, (uint32_t)mine[full],
                               (uint32_t)r->table[full], rest);
    } else if (rest) {
        const uint64_t size = r->pool.size / (3 * r->n_page);
        char *base = r->pool.base;
        memcpy(base + (uint32_t)mine[full] * size, base + (uint32_t)r->table[full] * size, size);
    }
    if (!rc)
        rc = work(r, &p, 1, failed);
    const int end = sut_step_end(r->s);
    return rc ? rc : end;
}

int run_attn(struct sut *s, const struct attn_case *c, struct result *out, const char **failed)
{
    struct attn_run r = { .s = s, .ops = s->p->attn, .c = c, .result = out };
    if (!r.ops)
        return BNP_E_UNSUPPORTED;
    int rc = open_pool(&r, failed);
    out->offer = r.offer;
    if (!rc)
        rc = grow(&r, failed);
    if (!rc)
        rc = fork_sequence(&r, failed);
    static const char *const op[3] = { "attend", "attend of a second sequence",
                                       "attend of a fork" };
    for (unsigned q = 0; q < 3; q++) {
        if (!rc)
            result_add(out, op[q], &r.out[q]);
        span_free(r.out[q].mem);
    }
    span_free(r.pool);
    span_free(r.scratch);
    free(r.table);
    return rc;
}
