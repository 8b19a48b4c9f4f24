/* linear.c - matrix times rows, rows of a matrix, the k largest products.
 *
 * A prepared activation has no head: kind, columns and rows give its size, and
 * its rows are as act.cl writes them. */
#include "ocl.h"

#define DENSE_GROUP 32u         /* items of eight rows                       */
#define TOPK_TILE 8u            /* tokens whose logits stand in scratch      */

static uint64_t act_stride(uint32_t kind, uint32_t cols)
{
    return kind == OCL_ACT_INT8 ? BNP_ALIGN + align_up(cols, BNP_ALIGN)
                                : align_up((uint64_t)cols * sizeof(float), BNP_ALIGN);
}

static bool kind_known(uint32_t kind)
{
    return kind == OCL_ACT_INT8 || kind == OCL_ACT_F32;
}

int ocl_linear_act_size(bnp_device *d, uint32_t kind, uint32_t cols, uint32_t n_tok,
                        uint64_t *size)
{
    if (kind_known(kind) && cols &&
        !__builtin_mul_overflow(act_stride(kind, cols), (uint64_t)n_tok, size))
        return BNP_OK;
    return kit_fail(d, BNP_E_INVALID, "act_size: kind %u, %u columns, %u rows", kind, cols, n_tok);
}

int ocl_linear_act_prepare(bnp_stream *s, uint32_t kind, const bnp_rows *x, bnp_span act)
{
    struct ocl_ref xr, ar;
    uint64_t size = 0;
    int rc = kit_need_step(s, "act_prepare");
    if (rc || (rc = kit_need_rows(s, "act_prepare: x", x)) ||
        (rc = ocl_linear_act_size(s->dev, kind, x->cols, x->n_tok, &size)) ||
        (rc = kit_need_span(s, "act_prepare: act", act, size)) ||
        (rc = ocl_rows_ref(s->dev, "act_prepare: x", x, &xr)) ||
        (rc = ocl_ref(s->dev, "act_prepare: act", act, size, &ar)) || !x->n_tok)
        return rc;
    const bool int8 = kind == OCL_ACT_INT8;
    struct ocl_call c = ocl_call(s, int8 ? OCL_act_int8 : OCL_act_f32);
    ocl_arg_step(&c);
    ocl_arg_rows(&c, xr, x);
    ocl_arg_ref(&c, ar);
    ocl_arg_u64(&c, act_stride(kind, x->cols));
    ocl_arg_u32(&c, x->cols);
    return ocl_run(&c, int8 ? ocl_groups(x->n_tok, 1) : ocl_over(x->cols, x->n_tok));
}

/* ------------------------------------------------------------ the products */

struct product {                /* a matrix times rows, into rows            */
    const bnp_weight *w;
    struct ocl_ref act, y;
    uint64_t y_stride;
    uint32_t n_tok, add_old;
};

static uint64_t stride_of(const bnp_weight *w)
{
    return act_stride(w->k.format == BNP_FMT_T2 ? OCL_ACT_INT8 : OCL_ACT_F32, w->k.cols);
}

static void arg_weight(struct ocl_call *c, const bnp_weight *w)
{
    ocl_arg_ref(c, w->data);
    ocl_arg_u32(c, w->n_chunk);
    ocl_arg_u32(c, w->k.rows);
    ocl_arg_u64(c, w->scale_at);
}

static void arg_y(struct ocl_call *c, const struct product *p)
{
    ocl_arg_ref(c, p->y);
    ocl_arg_u64(c, p->y_stride);
    ocl_arg_u32(c, p->add_old);
}

static void arg_act(struct ocl_call *c, const struct product *p)
{
    ocl_arg_ref(c, p->act);
    ocl_arg_u64(c, stride_of(p->w));
}

static int mul_blocks(bnp_stream *s, const struct product *p)
{
    struct ocl_call c = ocl_call(s, OCL_mul_tern_block);
    arg_weight(&c, p->w);
    ocl_arg_u32(&c, p->w->k.cols);
    ocl_arg_u32(&c, p->w->k.block_cols);
    ocl_arg_u32(&c, p->w->k.n_block);
    arg_act(&c, p);
    arg_y(&c, p);
    return ocl_run(&c, ocl_over(p->w->k.rows, p->n_tok));
}

/* Many tokens in tiles of eight, and one tile of the rest that fits best. */
static int mul_ternary(bnp_stream *s, const struct product *p)
{
    const struct ocl_tune *tune = &ocl_of(s->dev)->tune;
    const uint32_t tile = p->n_tok > 4 ? 8 : p->n_tok > 2 ? 4 : p->n_tok;
    const struct ocl_shape g = p->n_tok == 1 ? tune->one : tune->tile;
    struct ocl_call c = ocl_call(s, tile == 8 ? OCL_mul_tern_8 : tile == 4 ? OCL_mul_tern_4
                                  : tile == 2 ? OCL_mul_tern_2 : OCL_mul_tern_1);
    arg_weight(&c, p->w);
    ocl_arg_u32(&c, p->w->k.scale_kind == BNP_SCALE_ROW);
    arg_act(&c, p);
    ocl_arg_u32(&c, p->n_tok);
    arg_y(&c, p);
    ocl_arg(&c, NULL, sizeof(cl_int) * tile * g.rows * g.parts);
    return ocl_run(&c, (struct ocl_range){ { p->w->k.rows, g.parts, (p->n_tok - 1) / tile + 1 },
                                           { g.rows, g.parts, 1 } });
}

int ocl_linear_try(bnp_stream *s, const bnp_weight *w, struct ocl_ref act, struct ocl_ref y,
                   uint32_t n_tok)
{
    return mul_ternary(s, &(struct product){ .w = w, .act = act, .y = y, .n_tok = n_tok,
                                             .y_stride = w->k.rows * sizeof(float) });
}

static int mul_dense(bnp_stream *s, const struct product *p)
{
    static const enum ocl_kernel kernel[][2] = {
        [BNP_FMT_F32] = { OCL_mul_f32_1, OCL_mul_f32_4 },
        [BNP_FMT_F16] = { OCL_mul_f16_1, OCL_mul_f16_4 },
        [BNP_FMT_BF16] = { OCL_mul_bf16_1, OCL_mul_bf16_4 },
        [BNP_FMT_I8] = { OCL_mul_i8_1, OCL_mul_i8_4 },
    };
    const bool many = p->n_tok > 1;
    struct ocl_call c = ocl_call(s, kernel[p->w->k.format][many]);
    arg_weight(&c, p->w);
    ocl_arg_u32(&c, p->w->k.scale_kind);
    ocl_arg_u32(&c, p->w->k.cols);
    ocl_arg_u32(&c, p->w->k.block_cols);
    ocl_arg_u32(&c, p->w->k.n_block);
    arg_act(&c, p);
    ocl_arg_u32(&c, p->n_tok);
    arg_y(&c, p);
    const uint32_t items = (p->w->k.rows - 1) / 8 + 1;
    return ocl_run(&c, (struct ocl_range){ { items, many ? (p->n_tok - 1) / 4 + 1 : 1, 1 },
                                           { DENSE_GROUP, 1, 1 } });
}

static int mul_one(bnp_stream *s, const struct product *p)
{
    if (!p->n_tok)
        return BNP_OK;
    if (p->w->k.format != BNP_FMT_T2)
        return mul_dense(s, p);
    return p->w->k.scale_kind == BNP_SCALE_BLOCK ? mul_blocks(s, p) : mul_ternary(s, p);
}

static int act_ref(bnp_stream *s, const char *what, const bnp_weight *w, bnp_span act,
                   uint32_t n_tok, struct ocl_ref *out)
{
    const uint64_t size = n_tok * stride_of(w);
    const int rc = kit_need_span(s, what, act, size);
    return rc ? rc : ocl_ref(s->dev, what, act, size, out);
}

static int item_check(bnp_stream *s, const bnp_linear_item *it, bnp_span act, uint32_t n_tok,
                      struct product *p)
{
    *p = (struct product){ .w = it->weight, .y_stride = it->y.stride, .n_tok = it->y.n_tok,
                           .add_old = (it->flags & BNP_ADD) != 0 };
    int rc = kit_item_check(s, &it->weight->k, it);
    if (rc || (rc = act_ref(s, "mul: act", it->weight, act, it->y.n_tok, &p->act)))
        return rc;
    if (it->y.n_tok != n_tok)
        return kit_fail(s->dev, BNP_E_INVALID, "mul: items of %u and %u rows, expected as many in "
                        "each", n_tok, it->y.n_tok);
    return ocl_rows_ref(s->dev, "mul: y", &it->y, &p->y);
}

/* All are checked before the first is submitted. */
int ocl_linear_mul(bnp_stream *s, bnp_span act, uint32_t n_items, const bnp_linear_item *item,
                   bnp_span scratch)
{
    (void)scratch;
    struct product p;
    int rc = kit_need_step(s, "mul");
    for (uint32_t i = 0; i < n_items && !rc; i++)
        rc = item_check(s, &item[i], act, item[0].y.n_tok, &p);
    for (uint32_t i = 0; i < n_items && !rc; i++) {
        rc = item_check(s, &item[i], act, item[0].y.n_tok, &p);
        rc = rc ? rc : mul_one(s, &p);
    }
    return rc;
}

int ocl_linear_gather(bnp_stream *s, const bnp_weight *w, const bnp_rows *y)
{
    struct ocl_ref yr;
    int rc = kit_gather_check(s, &w->k, y);
    if (rc || (rc = ocl_rows_ref(s->dev, "gather: y", y, &yr)) || !y->n_tok)
        return rc;
    struct ocl_call c = ocl_call(s, OCL_gather);
    ocl_arg_step(&c);
    ocl_arg_u32(&c, ocl_own(s)->id_at);
    ocl_arg_ref(&c, w->data);
    ocl_arg_u32(&c, w->n_chunk);
    ocl_arg_u64(&c, w->scale_at);
    ocl_arg_u32(&c, w->k.scale_kind);
    ocl_arg_u32(&c, w->k.format);
    ocl_arg_u32(&c, w->k.cols);
    ocl_arg_u32(&c, w->k.block_cols);
    ocl_arg_u32(&c, w->k.n_block);
    ocl_arg_rows(&c, yr, y);
    return ocl_run(&c, ocl_over(y->cols, y->n_tok));
}

/* ------------------------------------------------------------------- top-k */

/* Scratch: the logits of a tile of tokens, then the best of each. */
static uint64_t logits_stride(uint32_t rows)
{
    return align_up(rows * 4ull, BNP_ALIGN);
}

static uint64_t best_stride(uint32_t rows)
{
    return align_up(rows * 8ull, BNP_ALIGN);
}

static uint64_t topk_scratch(uint32_t rows, uint32_t max_tok)
{
    const uint32_t tile = max_tok < TOPK_TILE ? max_tok : TOPK_TILE;
    return tile * (logits_stride(rows) + best_stride(rows));
}

uint64_t ocl_topk_scratch(const bnp_weight_desc *w)
{
    return w->flags & BNP_W_TOPK ? topk_scratch(w->rows, w->max_tok) : 0;
}

struct top {                    /* where the k best of token 0 go            */
    struct ocl_ref id, logit, exact;
    const bnp_topk *call;
};

static int select_best(bnp_stream *s, const struct product *p, struct ocl_ref best,
                       const struct top *top, uint32_t first)
{
    const uint64_t skip = (uint64_t)first * top->call->k * 4;
    struct ocl_call c = ocl_call(s, OCL_topk);
    ocl_arg_ref(&c, p->y);
    ocl_arg_u64(&c, p->y_stride);
    ocl_arg_ref(&c, best);
    ocl_arg_u64(&c, best_stride(p->w->k.rows));
    ocl_arg_u32(&c, p->w->k.rows);
    ocl_arg_u32(&c, top->call->k);
    ocl_arg_ref(&c, (struct ocl_ref){ top->id.mem, top->id.at + skip });
    ocl_arg_ref(&c, (struct ocl_ref){ top->logit.mem, top->logit.at + skip });
    ocl_arg_ref(&c, (struct ocl_ref){ top->exact.mem, top->exact.at + first * 4ull });
    ocl_arg_u32(&c, top->call->n_exact.size != 0);
    return ocl_run(&c, (struct ocl_range){ { 256, p->n_tok, 1 }, { 256, 1, 1 } });
}

int ocl_linear_topk(bnp_stream *s, bnp_span act, const bnp_weight *w, const bnp_topk *call,
                    bnp_span scratch)
{
    struct top top = { .call = call };
    struct ocl_ref ar, sr;
    const uint64_t size = topk_scratch(w->k.rows, w->k.max_tok);
    int rc = kit_topk_check(s, &w->k, call);
    const uint64_t n = (uint64_t)call->n_tok * call->k * 4;
    if (rc || (rc = act_ref(s, "topk: act", w, act, call->n_tok, &ar)) ||
        (rc = kit_need_span(s, "topk: scratch", scratch, size)) ||
        (rc = ocl_ref(s->dev, "topk: scratch", scratch, size, &sr)) ||
        (rc = ocl_ref(s->dev, "topk: id", call->id, n, &top.id)) ||
        (rc = ocl_ref(s->dev, "topk: logit", call->logit, n, &top.logit)))
        return rc;
    top.exact = sr;                             /* not written when not wanted */
    if (call->n_exact.size &&
        (rc = ocl_ref(s->dev, "topk: n_exact", call->n_exact, call->n_tok * 4ull, &top.exact)))
        return rc;
    const struct ocl_ref best = { sr.mem, sr.at + size / (logits_stride(w->k.rows) +
                                          best_stride(w->k.rows)) * logits_stride(w->k.rows) };
    struct product p = { .w = w, .act = ar, .y = sr, .y_stride = logits_stride(w->k.rows) };
    for (uint32_t t = 0; t < call->n_tok && !rc; t += p.n_tok) {
        p.n_tok = call->n_tok - t < TOPK_TILE ? call->n_tok - t : TOPK_TILE;
        rc = mul_one(s, &p);
        rc = rc ? rc : select_best(s, &p, best, &top, t);
        p.act.at += p.n_tok * stride_of(w);
    }
    return rc;
}
