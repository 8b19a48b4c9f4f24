/* probe_attn.c - two sequences growing together through scattered pages.
 *
 * Chunks are uneven, so page and chunk borders are crossed at odd places; the
 * first time a sequence stands inside a page, that page is copied and the
 * sequence goes on in the copy, as it does when a shared prefix ends. */
#include "core/plug/probe.h"

#include <stdlib.h>
#include <string.h>

#include "core/plug/probe_run.h"

#define KV_MAX   (1u << 20)       /* tokens of one probed sequence             */
#define POOL_MAX (UINT64_C(1) << 40)

struct attn_run {
    struct probe_run run;
    const bnp_attn_desc *d;
    uint32_t kv_len;              /* where both sequences end                  */
    uint32_t max_pages;           /* of one sequence                           */
    bnp_span pool, scratch;
    uint64_t page_size;
    bnp_rows q, k, v, out;        /* of n_tok rows; a step may use fewer       */
    int32_t *id, *pos, *page;     /* [n_tok], [n_tok], [2][max_pages]          */
    uint32_t len[2];              /* keys so far                               */
    uint32_t turn;                /* steps so far                              */
    bool copied[2];
    bnp_step step;
    int32_t start[3], n_kv[2], out_row;
};

/* Pages 1, 3, 5... forwards for one, 0, 2, 4... backwards for the other; the
 * last two of the pool are for the copies. */
static void deal_pages(struct attn_run *a)
{
    for (uint32_t i = 0; i < a->max_pages; i++) {
        a->page[i] = (int32_t)(2 * i + 1);
        a->page[a->max_pages + i] = (int32_t)(2 * (a->max_pages - 1 - i));
    }
}

static int make_memory(struct attn_run *a)
{
    struct probe_run *r = &a->run;
    const uint32_t n = r->probe->n_tok, q_cols = a->d->n_head * a->d->head_dim,
                   kv_cols = a->d->n_head_kv * a->d->head_dim;
    bnp_offer offer = { .struct_size = sizeof offer };
    int rc = run_status(r, r->dev->attn->query(r->dev->d, a->d, &offer), "attn.query");
    if (!rc)
        rc = run_status(r, r->dev->attn->page_size(r->dev->d, a->d, &a->page_size),
                        "attn.page_size");
    if (rc)
        return rc;
    const uint64_t n_page = 2 * (uint64_t)a->max_pages + 2;
    if (!a->page_size || a->page_size > POOL_MAX / n_page || offer.scratch_size > POOL_MAX)
        return err_set(r->e, ERR_PLUGIN, "%s: attn.page_size: %ju bytes, expected some",
                       r->dev->plugin->note.raw.id, (uintmax_t)a->page_size);
    if ((rc = run_span(r, BNP_MEM_KV, n_page * a->page_size, BNP_ALIGN, &a->pool)) ||
        (rc = run_span(r, BNP_MEM_WORK, offer.scratch_size, BNP_ALIGN, &a->scratch)) ||
        (rc = run_rows(r, n, q_cols, &a->q)) || (rc = run_rows(r, n, kv_cols, &a->k)) ||
        (rc = run_rows(r, n, kv_cols, &a->v)) || (rc = run_rows(r, n, q_cols, &a->out)))
        return rc;
    a->id = calloc(n, sizeof *a->id);
    a->pos = calloc(n, sizeof *a->pos);
    a->page = calloc(2 * (size_t)a->max_pages, sizeof *a->page);
    if (!a->id || !a->pos || !a->page)
        return err_set(r->e, ERR_NOMEM, "probe: no memory for %u rows", n);
    deal_pages(a);
    return 0;
}

/* How many of the step's rows each sequence gets: halves, the odd one in turn. */
static void share_rows(const struct attn_run *a, uint32_t n[2])
{
    const uint32_t n_tok = a->run.probe->n_tok;
    const uint32_t left[2] = { a->kv_len - a->len[0], a->kv_len - a->len[1] };
    const unsigned first = a->turn % 2;
    n[first] = (n_tok + 1) / 2 < left[first] ? (n_tok + 1) / 2 : left[first];
    n[!first] = n_tok - n[first] < left[!first] ? n_tok - n[first] : left[!first];
    if (n_tok - n[!first] > n[first])
        n[first] = n_tok - n[!first] < left[first] ? n_tok - n[!first] : left[first];
}

/* A sequence without rows in this step is not part of it. */
static void make_step(struct attn_run *a)
{
    uint32_t n[2], rows = 0, seq = 0, only = 0;
    share_rows(a, n);
    for (uint32_t s = 0; s < 2; s++) {
        if (!n[s])
            continue;
        for (uint32_t i = 0; i < n[s]; i++)
            a->pos[rows + i] = (int32_t)(a->len[s] + i);
        rows += n[s];
        a->len[s] += n[s];
        a->n_kv[seq++] = (int32_t)a->len[s];
        a->start[seq] = (int32_t)rows;
        only = s;
    }
    a->turn++;
    a->out_row = (int32_t)rows - 1;
    a->q.n_tok = a->k.n_tok = a->v.n_tok = a->out.n_tok = rows;
    a->step = (bnp_step){
        .struct_size = sizeof a->step, .n_tok = rows, .n_seq = seq, .max_pages = a->max_pages,
        .n_out = 1, .id = a->id, .pos = a->pos, .seq_start = a->start, .kv_len = a->n_kv,
        .page = a->page + (seq == 1 ? only * a->max_pages : 0), .out_row = &a->out_row };
}

static int copy_bytes(struct attn_run *a, uint32_t dst, uint32_t src)
{
    struct probe_run *r = &a->run;
    bnp_span from = a->pool, to = a->pool;
    from.offset += src * a->page_size;
    to.offset += dst * a->page_size;
    from.size = to.size = a->page_size;
    void *bytes = malloc(a->page_size);
    if (!bytes)
        return err_set(r->e, ERR_NOMEM, "probe: no memory for a page");
    int rc = run_get(r, bytes, from);
    if (!rc)
        rc = run_put(r, to, bytes);
    free(bytes);
    return rc;
}

/* Moves sequence s, which stands inside a page, to a copy of that page: by the
 * plugin's function, in the step that follows, or by copying bytes before it. */
static int plan_copy(struct attn_run *a, uint32_t s, uint32_t *dst, uint32_t *src, uint32_t *n)
{
    *n = a->copied[s] ? 0 : a->len[s] % a->d->page_tok;
    if (!*n)
        return 0;
    int32_t *page = &a->page[s * a->max_pages + a->len[s] / a->d->page_tok];
    *src = (uint32_t)*page;
    *dst = 2 * a->max_pages + s;
    *page = (int32_t)*dst;
    a->copied[s] = true;
    return a->run.dev->attn->copy_page ? 0 : copy_bytes(a, *dst, *src);
}

static int attend(struct attn_run *a)
{
    struct probe_run *r = &a->run;
    return run_status(r, r->dev->attn->attend(r->stream, a->d, a->pool, &a->q, &a->out, a->scratch),
                      "attn.attend");
}

static int submit(struct attn_run *a, const uint32_t dst[2], const uint32_t src[2],
                  const uint32_t n[2], bool attended)
{
    struct probe_run *r = &a->run;
    const struct bnp_attn_ops *ops = r->dev->attn;
    int rc = run_begin(r, &a->step);
    for (uint32_t s = 0; s < 2 && !rc; s++)
        if (n[s] && ops->copy_page)
            rc = run_status(r, ops->copy_page(r->stream, a->d, a->pool, dst[s], src[s], n[s]),
                            "attn.copy_page");
    if (!rc)
        rc = run_status(r, ops->append(r->stream, a->d, a->pool, &a->k, &a->v), "attn.append");
    if (!rc && attended)
        rc = attend(a);
    return rc ? rc : run_end(r);
}

static int one_step(struct attn_run *a, bool attended)
{
    struct probe_run *r = &a->run;
    const struct probe *p = r->probe;
    uint32_t dst[2] = { 0 }, src[2] = { 0 }, n[2] = { 0 };
    int rc = 0;
    for (uint32_t s = 0; s < 2 && !rc; s++)
        if (a->len[s] < a->kv_len)
            rc = plan_copy(a, s, &dst[s], &src[s], &n[s]);
    if (rc)
        return rc;
    make_step(a);
    const uint64_t seed = p->seed + 16 * (uint64_t)a->turn;
    if ((rc = run_fill(r, &a->q, p->fill, seed)) || (rc = run_fill(r, &a->k, p->fill, seed + 1)) ||
        (rc = run_fill(r, &a->v, p->fill, seed + 2)) ||
        (rc = run_fill(r, &a->out, PROBE_ALTERNATE, seed + 3)))
        return rc;
    return submit(a, dst, src, n, attended);
}

static int timed_call(void *ctx)
{
    struct attn_run *a = ctx;
    int rc = run_begin(&a->run, &a->step);
    if (!rc)
        rc = attend(a);
    return rc ? rc : run_end(&a->run);
}

/* Up to kv_len. The chunks' outputs are many; they are one part, named once.
 * Without `out` only the last chunk is attended. */
static int grow(struct attn_run *a, struct buf *out)
{
    struct probe *p = a->run.probe;
    uint32_t rows = 0;
    int rc = make_memory(a);
    while (!rc && (a->len[0] < a->kv_len || a->len[1] < a->kv_len)) {
        const uint64_t left = 2 * (uint64_t)a->kv_len - a->len[0] - a->len[1];
        rc = one_step(a, out || left <= p->n_tok);
        if (rc || !out)
            continue;
        rc = run_take(&a->run, &a->out, "attend", out);
        rows += a->out.n_tok;
        p->n_part = 0;
    }
    if (!rc)
        p->part[p->n_part++] = (struct probe_part){ .op = "attend", .n_row = rows,
                                                    .cols = a->out.cols };
    return rc;
}

static int open_run(struct attn_run *a, struct dev *dev, const struct bnp_attn_desc *d,
                    uint32_t kv_len, struct probe *p, struct err *e)
{
    const char *id = dev->plugin->note.raw.id;
    if (!dev->attn)
        return err_set(e, ERR_UNSUPPORTED, "%s: does not offer the attention family", id);
    if (!kv_len || kv_len > d->max_kv || kv_len > KV_MAX || !d->page_tok || p->n_tok > d->max_tok ||
        !d->head_dim || d->n_head > UINT32_MAX / d->head_dim ||
        d->n_head_kv > UINT32_MAX / d->head_dim)
        return err_set(e, ERR_ARG, "%s: probe of attention over %u tokens of at most %u, %u rows "
                       "of at most %u", id, kv_len, d->max_kv, p->n_tok, d->max_tok);
    *a = (struct attn_run){ .d = d, .kv_len = kv_len, .max_pages = (kv_len - 1) / d->page_tok + 1 };
    const bnp_limits limits = { .struct_size = sizeof limits, .max_tok = p->n_tok, .max_seq = 2,
                                .max_pages = a->max_pages, .max_out = 1 };
    return run_open(&a->run, dev, p, &limits, e);
}

static void close_run(struct attn_run *a)
{
    run_close(&a->run);
    free(a->id);
    free(a->pos);
    free(a->page);
    *a = (struct attn_run){ 0 };
}

int probe_attn(struct dev *dev, const struct bnp_attn_desc *d, uint32_t kv_len, struct probe *p,
               struct buf *out, struct err *e)
{
    struct attn_run a = { 0 };
    int rc = open_run(&a, dev, d, kv_len, p, e);
    if (!rc)
        rc = grow(&a, out);
    close_run(&a);
    return rc;
}

/* ---------------------------------------------------------------- timed calls */

struct attn_bench {
    struct attn_run run;          /* first: calls are its                      */
    struct dev *dev;
    bnp_attn_desc d;
    uint32_t kv_len;
    struct probe probe;
    struct err *e;
};

/* Other rows stand at other places of the sequences: all is made anew. */
static int set_rows(void *ctx, uint32_t n_tok)
{
    struct attn_bench *b = ctx;
    close_run(&b->run);
    b->probe = (struct probe){ .seed = 1, .fill = PROBE_RANDOM, .n_tok = n_tok };
    const int rc = open_run(&b->run, b->dev, &b->d, b->kv_len, &b->probe, b->e);
    return rc ? rc : grow(&b->run, NULL);
}

static void close_bench(void *ctx)
{
    close_run(ctx);
    free(ctx);
}

int probe_bench_attn(struct probe_bench *b, struct dev *dev, const struct bnp_attn_desc *d,
                     uint32_t kv_len)
{
    struct attn_bench *own = calloc(1, sizeof *own);
    *b = (struct probe_bench){ .set = set_rows, .once = timed_call, .n_copy = 1,
                               .close = own ? close_bench : NULL, .ctx = own };
    if (!own)
        return err_set(&b->e, ERR_NOMEM, "probe: no memory for a stopwatch");
    *own = (struct attn_bench){ .dev = dev, .d = *d, .kv_len = kv_len, .e = &b->e };
    return 0;
}
