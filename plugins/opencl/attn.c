/* attn.c - attention: a group for every chunk of every head of every row, then
 * one for every head of every row.
 *
 * What the chunks found stands in scratch until it is joined. Rows go in tiles
 * as large as scratch allows: with few keys all at once, with many a few. */
#include "ocl.h"
#include "plugins/kit/check_attn.h"

#define SCRATCH (UINT64_C(32) << 20)        /* bytes, unless one row needs more */

/* As attn.cl lays a page out. */
static uint64_t page_bytes(const bnp_attn_desc *d)
{
    const uint64_t elems = 2 * kit_kv_width(d) * d->page_tok;
    const uint64_t steps = 2 * (uint64_t)d->n_head_kv * d->page_tok * sizeof(float);
    return align_up(d->kv_format == BNP_KV_I8 ? align_up(elems, 4) + steps : 2 * elems, BNP_ALIGN);
}

static uint32_t chunks_at_most(const bnp_attn_desc *d)
{
    const uint32_t all = (d->max_kv - 1) / BNP_ATTN_CHUNK + 1;
    const uint32_t seen = d->window / BNP_ATTN_CHUNK + 2;
    return d->window && seen < all ? seen : all;
}

static uint64_t chunk_bytes(const bnp_attn_desc *d)     /* of one chunk of one row */
{
    return (uint64_t)d->n_head * (d->head_dim + 2ull) * sizeof(float);
}

static uint64_t scratch_bytes(const bnp_attn_desc *d)
{
    const uint64_t row = chunks_at_most(d) * chunk_bytes(d), all = d->max_tok * row;
    return align_up(all < SCRATCH ? all : row > SCRATCH ? row : SCRATCH, BNP_ALIGN);
}

int ocl_attn_query(bnp_device *dev, const bnp_attn_desc *d, bnp_offer *offer)
{
    return kit_attn_query(dev, d, scratch_bytes, offer);
}

int ocl_attn_page_size(bnp_device *dev, const bnp_attn_desc *d, uint64_t *size)
{
    return kit_attn_page_size(dev, d, page_bytes, size);
}

/* The arguments that say where rows, sequences and pages of the step are. */
static void arg_pages(struct ocl_call *c)
{
    const struct ocl_stream *o = ocl_own(c->s);
    ocl_arg_step(c);
    ocl_arg_u32(c, o->pos_at);
    ocl_arg_u32(c, o->seq_at);
    ocl_arg_u32(c, o->page_at);
    ocl_arg_u32(c, c->s->step.max_pages);
}

static int store(bnp_stream *s, const bnp_attn_desc *d, struct ocl_ref pool, const bnp_rows *x,
                 struct ocl_ref xr, uint32_t value)
{
    struct ocl_call c = ocl_call(s, OCL_append);
    arg_pages(&c);
    ocl_arg_ref(&c, pool);
    ocl_arg_u64(&c, page_bytes(d));
    ocl_arg_rows(&c, xr, x);
    ocl_arg_u32(&c, d->n_head_kv);
    ocl_arg_u32(&c, d->head_dim);
    ocl_arg_u32(&c, d->page_tok);
    ocl_arg_u32(&c, d->kv_format == BNP_KV_I8);
    ocl_arg_u32(&c, value);
    return ocl_run(&c, ocl_groups(d->n_head_kv, x->n_tok));
}

int ocl_attn_append(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *k,
                    const bnp_rows *v)
{
    struct kit_attn a;
    struct ocl_ref pr, kr, vr;
    int rc = kit_attn_desc_check(s->dev, d);
    if (rc || (rc = kit_append_check(s, d, pool, page_bytes(d), k, v, &a)) ||
        (rc = ocl_ref(s->dev, "append: pool", pool, pool.size, &pr)) ||
        (rc = ocl_rows_ref(s->dev, "append: k", k, &kr)) ||
        (rc = ocl_rows_ref(s->dev, "append: v", v, &vr)) || !k->n_tok)
        return rc;
    rc = store(s, d, pr, k, kr, 0);
    return rc ? rc : store(s, d, pr, v, vr, 1);
}

/* Chunks of the row that sees most. */
static uint32_t chunks_of_step(const bnp_stream *s, const bnp_attn_desc *d)
{
    uint32_t most = 1;
    for (uint32_t r = 0; r < s->step.n_tok; r++) {
        const uint32_t pos = (uint32_t)s->step.pos[r];
        const uint32_t n = pos / BNP_ATTN_CHUNK - kit_first_visible(d, pos) / BNP_ATTN_CHUNK + 1;
        most = n > most ? n : most;
    }
    return most;
}

static int chunks(bnp_stream *s, const bnp_attn_desc *d, struct ocl_ref pool, const bnp_rows *q,
                  struct ocl_ref qr, struct ocl_ref scratch, uint32_t row, uint32_t n_row,
                  uint32_t n_chunk)
{
    struct ocl_call c = ocl_call(s, OCL_attend_chunk);
    arg_pages(&c);
    ocl_arg_ref(&c, pool);
    ocl_arg_u64(&c, page_bytes(d));
    ocl_arg_rows(&c, qr, q);
    ocl_arg_ref(&c, scratch);
    ocl_arg_u32(&c, row);
    ocl_arg_u32(&c, n_chunk);
    ocl_arg_u32(&c, d->n_head);
    ocl_arg_u32(&c, d->n_head_kv);
    ocl_arg_u32(&c, d->head_dim);
    ocl_arg_u32(&c, d->page_tok);
    ocl_arg_u32(&c, d->window);
    ocl_arg_f32(&c, d->scale);
    ocl_arg_u32(&c, d->kv_format == BNP_KV_I8);
    return ocl_run(&c, ocl_groups(d->n_head, n_row * n_chunk));
}

static int join(bnp_stream *s, const bnp_attn_desc *d, const bnp_rows *out, struct ocl_ref outr,
                struct ocl_ref scratch, uint32_t row, uint32_t n_row, uint32_t n_chunk)
{
    struct ocl_call c = ocl_call(s, OCL_attend_join);
    ocl_arg_step(&c);
    ocl_arg_u32(&c, ocl_own(s)->pos_at);
    ocl_arg_ref(&c, scratch);
    ocl_arg_rows(&c, outr, out);
    ocl_arg_u32(&c, row);
    ocl_arg_u32(&c, n_chunk);
    ocl_arg_u32(&c, d->n_head);
    ocl_arg_u32(&c, d->head_dim);
    ocl_arg_u32(&c, d->window);
    return ocl_run(&c, ocl_groups(d->n_head, n_row));
}

int ocl_attn_attend(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                    const bnp_rows *out, bnp_span scratch)
{
    struct kit_attn a;
    struct ocl_ref pr, qr, outr, sr;
    int rc = kit_attn_desc_check(s->dev, d);
    if (rc || (rc = kit_attend_check(s, d, pool, page_bytes(d), q, out, &a)) ||
        (rc = kit_need_span(s, "attend: scratch", scratch, scratch_bytes(d))) ||
        (rc = ocl_ref(s->dev, "attend: pool", pool, pool.size, &pr)) ||
        (rc = ocl_rows_ref(s->dev, "attend: q", q, &qr)) ||
        (rc = ocl_rows_ref(s->dev, "attend: out", out, &outr)) ||
        (rc = ocl_ref(s->dev, "attend: scratch", scratch, scratch_bytes(d), &sr)))
        return rc;
    const uint32_t n_chunk = chunks_of_step(s, d);
    const uint64_t fit = scratch_bytes(d) / (n_chunk * chunk_bytes(d));
    const uint32_t tile = fit < 1 ? 1 : fit > q->n_tok ? q->n_tok : (uint32_t)fit;
    for (uint32_t row = 0; row < q->n_tok && !rc; row += tile) {
        const uint32_t n = q->n_tok - row < tile ? q->n_tok - row : tile;
        rc = chunks(s, d, pr, q, qr, sr, row, n, n_chunk);
        rc = rc ? rc : join(s, d, out, outr, sr, row, n, n_chunk);
    }
    return rc;
}

/* The whole page: what lies behind the n_tok tokens means nothing. */
int ocl_attn_copy_page(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, uint32_t dst,
                       uint32_t src, uint32_t n_tok)
{
    struct kit_attn a;
    struct ocl_ref pr;
    const uint64_t size = page_bytes(d);
    int rc = kit_attn_desc_check(s->dev, d);
    if (rc || (rc = kit_copy_page_check(s, d, pool, size, dst, src, n_tok, &a)) ||
        (rc = ocl_ref(s->dev, "copy_page: pool", pool, pool.size, &pr)) || dst == src || !n_tok)
        return rc;
    const cl_int err = cl.clEnqueueCopyBuffer(ocl_own(s)->queue, pr.mem, pr.mem,
                                              (size_t)(pr.at + src * size),
                                              (size_t)(pr.at + dst * size), (size_t)size, 0, NULL,
                                              NULL);
    return err ? ocl_fail(s->dev, err, "copy_page") : BNP_OK;
}
