/* check.c - weights, activations and the calls of the linear family. */
#include "plugins/kit/check.h"

#include <string.h>

/* |acc| <= cols * 2 * 127, which fits 32 bits up to this many columns. */
#define MAX_COLS (1u << 23)

#define ACT_MAGIC 0x61637432u

int kit_need_finite(bnp_stream *s, const char *what, const bnp_rows *r)
{
    for (uint32_t t = 0; t < r->n_tok; t++) {
        const int64_t i = row_not_finite(rows_at(r, t), r->cols);
        if (i >= 0)
            return kit_fail(s->dev, BNP_E_NUMERIC,
                            "%s: row %u column %lld is NaN or Inf, expected finite input", what, t,
                            (long long)i);
    }
    return BNP_OK;
}

/* ---------------------------------------------------------------- weights */

const char *kit_weight_name(const bnp_weight_desc *w)
{
    return w->name ? w->name : "weight";
}

uint32_t kit_row_bytes(const bnp_weight_desc *w)
{
    switch (w->format) {
    case BNP_FMT_T2: return (w->cols + 3) / 4;
    case BNP_FMT_F32: return w->cols * 4;
    case BNP_FMT_F16:
    case BNP_FMT_BF16: return w->cols * 2;
    default: return w->cols;
    }
}

static uint32_t blocks_in_row(const bnp_weight_desc *w)
{
    return w->scale_kind == BNP_SCALE_BLOCK ? (w->cols - 1) / w->block_cols + 1 : 1;
}

uint64_t kit_n_scales(const bnp_weight_desc *w)
{
    switch (w->scale_kind) {
    case BNP_SCALE_NONE: return 0;
    case BNP_SCALE_TENSOR: return 1;
    default: return (uint64_t)w->rows * blocks_in_row(w);
    }
}

void kit_weight_fill(struct kit_weight *k, bnp_device *dev, const bnp_weight_desc *w)
{
    *k = (struct kit_weight){
        .dev = dev, .format = w->format, .scale_kind = w->scale_kind, .role = w->role,
        .flags = w->flags, .rows = w->rows, .cols = w->cols, .max_tok = w->max_tok,
        .block_cols = w->scale_kind == BNP_SCALE_BLOCK ? w->block_cols : w->cols,
        .n_block = blocks_in_row(w),
    };
}

/* UNSUPPORTED is for what no plugin here knows, INVALID for what nobody could
 * know. */
int kit_desc_check(bnp_device *d, const bnp_weight_desc *w)
{
    if (w->struct_size < sizeof(bnp_weight_desc))
        return kit_fail(d, BNP_E_INVALID, "weight description of %u bytes, expected at least %zu",
                        w->struct_size, sizeof(bnp_weight_desc));
    if (w->format < BNP_FMT_T2 || w->format > BNP_FMT_I8 || w->scale_kind > BNP_SCALE_BLOCK ||
        (w->flags & BNP_MUST & ~BNP_W_PLUS2) || w->cols > MAX_COLS)
        return BNP_E_UNSUPPORTED;
    const bool is_float = w->format != BNP_FMT_T2 && w->format != BNP_FMT_I8;
    if (is_float && w->scale_kind != BNP_SCALE_NONE)
        return BNP_E_UNSUPPORTED;
    if (!w->rows || !w->cols || !w->max_tok)
        return kit_fail(d, BNP_E_INVALID, "%s: %u rows, %u columns, %u tokens: expected none zero",
                        kit_weight_name(w), w->rows, w->cols, w->max_tok);
    if (w->scale_kind == BNP_SCALE_BLOCK && !w->block_cols)
        return kit_fail(d, BNP_E_INVALID, "%s: block scales with blocks of 0 columns",
                        kit_weight_name(w));
    if ((w->flags & BNP_W_PLUS2) && w->format != BNP_FMT_T2)
        return kit_fail(d, BNP_E_INVALID, "%s: BNP_W_PLUS2 on weights that are not ternary",
                        kit_weight_name(w));
    return BNP_OK;
}

/* Code 3 only where the description allows it, code 1 behind the last column. */
static int ternary_check(bnp_device *d, const bnp_weight_desc *w, const uint8_t *row, uint32_t r)
{
    const uint32_t n = kit_row_bytes(w);
    for (uint32_t i = 0; i < n && !(w->flags & BNP_W_PLUS2); i++) {
        if (row[i] & row[i] >> 1 & 0x55)
            return kit_fail(d, BNP_E_DATA, "%s: row %u columns %u to %u hold code 3, expected 0..2",
                            kit_weight_name(w), r, i * 4, i * 4 + 3);
    }
    for (uint32_t i = w->cols; i < n * 4; i++) {
        if ((row[i / 4] >> 2 * (i % 4) & 3) != 1)
            return kit_fail(d, BNP_E_DATA,
                            "%s: row %u has a code other than 1 behind its %u columns",
                            kit_weight_name(w), r, w->cols);
    }
    return BNP_OK;
}

static int float_check(bnp_device *d, const bnp_weight_desc *w, const uint8_t *row, uint32_t r)
{
    for (uint32_t i = 0; i < w->cols; i++) {
        uint32_t u32 = 0;
        uint16_t u16 = 0;
        if (w->format == BNP_FMT_F32)
            memcpy(&u32, row + (size_t)i * 4, 4);
        else
            memcpy(&u16, row + (size_t)i * 2, 2);
        const bool bad = w->format == BNP_FMT_F32 ? (u32 & 0x7f800000u) == 0x7f800000u
                       : w->format == BNP_FMT_F16 ? (u16 & 0x7c00u) == 0x7c00u
                                                  : (u16 & 0x7f80u) == 0x7f80u;
        if (bad)
            return kit_fail(d, BNP_E_DATA, "%s: row %u column %u is NaN or Inf", kit_weight_name(w),
                            r, i);
    }
    return BNP_OK;
}

/* Whether an exponent field of the row is all ones, 64 bits at a time: adding
 * its lowest bit then carries into the sign's place, which was cleared. */
static bool floats_ok(const bnp_weight_desc *w, const uint8_t *row)
{
    const uint64_t inf = w->format == BNP_FMT_F32   ? UINT64_C(0x7f8000007f800000)
                         : w->format == BNP_FMT_F16 ? UINT64_C(0x7c007c007c007c00)
                                                    : UINT64_C(0x7f807f807f807f80);
    const uint64_t top = w->format == BNP_FMT_F32 ? UINT64_C(0x8000000080000000)
                                                  : UINT64_C(0x8000800080008000);
    const uint64_t low = top - inf;
    const size_t size = kit_row_bytes(w);
    uint64_t bad = 0, v;
    size_t i = 0;
    for (; size - i >= sizeof v; i += sizeof v) {
        memcpy(&v, row + i, sizeof v);
        bad |= (v & inf) + low;
    }
    v = 0;
    memcpy(&v, row + i, size - i);
    bad |= (v & inf) + low;
    return !(bad & top);
}

bool kit_row_ok(const bnp_weight_desc *w, const void *row)
{
    const uint8_t *at = row;
    const uint32_t n = kit_row_bytes(w);
    if (w->format == BNP_FMT_I8)
        return true;
    if (w->format != BNP_FMT_T2)
        return floats_ok(w, at);
    uint64_t three = 0;
    uint32_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t v;
        memcpy(&v, at + i, sizeof v);
        three |= v & v >> 1;
    }
    for (; i < n; i++)
        three |= at[i] & at[i] >> 1;
    const unsigned tail = w->cols % 4 ? at[n - 1] >> 2 * (w->cols % 4) : 0x55;
    const unsigned ones = w->cols % 4 ? 0x55u >> 2 * (w->cols % 4) : 0x55;
    return (!(three & 0x5555555555555555) || (w->flags & BNP_W_PLUS2)) && tail == ones;
}

int kit_row_check(bnp_device *d, const bnp_weight_desc *w, const void *row, uint32_t r)
{
    switch (w->format) {
    case BNP_FMT_T2: return ternary_check(d, w, row, r);
    case BNP_FMT_I8: return BNP_OK;
    default: return float_check(d, w, row, r);
    }
}

int kit_scales_check(bnp_device *d, const bnp_weight_desc *w, const float *scale, uint64_t first,
                     uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (row_not_finite(&scale[i], 1) >= 0)
            return kit_fail(d, BNP_E_DATA, "%s: scale %llu is NaN or Inf", kit_weight_name(w),
                            (unsigned long long)(first + i));
    }
    return BNP_OK;
}

/* ------------------------------------------------------------ activations */

bool kit_act_fits(uint64_t stride, uint32_t n_tok, uint64_t *size)
{
    return stride && !__builtin_mul_overflow(stride, (uint64_t)n_tok, size) &&
           !__builtin_add_overflow(*size, sizeof(struct kit_act), size);
}

int kit_act_begin(bnp_stream *s, uint32_t kind, uint64_t stride, const bnp_rows *x, bnp_span act)
{
    uint64_t size;
    int rc = kit_need_step(s, "act_prepare");
    if (rc || (rc = kit_need_rows(s, "act_prepare: x", x)))
        return rc;
    if (!kit_act_fits(stride, x->n_tok, &size))
        return kit_fail(s->dev, BNP_E_INVALID, "act_prepare: kind %u, %u columns, %u rows", kind,
                        x->cols, x->n_tok);
    if ((rc = kit_need_span(s, "act_prepare: act", act, size)))
        return rc;
    const struct kit_act head = { .magic = ACT_MAGIC, .kind = kind, .n_tok = x->n_tok,
                                  .cols = x->cols, .stride = stride };
    memcpy(span_at(act), &head, sizeof head);
    return BNP_OK;
}

const struct kit_act *kit_act_of(bnp_stream *s, bnp_span act, uint32_t kind, uint32_t cols,
                                 uint32_t n_tok)
{
    if (kit_need_span(s, "mul: act", act, sizeof(struct kit_act)))
        return NULL;
    const struct kit_act *a = span_at(act);
    if (a->magic == ACT_MAGIC && a->kind == kind && a->cols == cols && a->n_tok == n_tok &&
        (act.size - sizeof *a) / a->stride >= n_tok)
        return a;
    kit_fail(s->dev, BNP_E_INVALID,
             "mul: activations of kind %u, %u rows of %u columns; expected kind %u, %u rows of %u",
             a->kind, a->n_tok, a->cols, kind, n_tok, cols);
    return NULL;
}

/* ------------------------------------------------------------ linear calls */

int kit_item_check(bnp_stream *s, const struct kit_weight *w, const bnp_linear_item *it)
{
    if (it->flags & BNP_MUST & ~BNP_ADD)
        return BNP_E_UNSUPPORTED;
    if (!(w->flags & BNP_W_MUL))
        return kit_fail(s->dev, BNP_E_INVALID, "mul: this weight was described without BNP_W_MUL");
    if (it->y.cols != w->rows || it->y.n_tok > w->max_tok)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "mul: y is %u rows of %u columns, expected at most %u rows of %u",
                        it->y.n_tok, it->y.cols, w->max_tok, w->rows);
    return kit_need_rows(s, "mul: y", &it->y);
}

int kit_gather_check(bnp_stream *s, const struct kit_weight *w, const bnp_rows *y)
{
    int rc = kit_need_step(s, "gather");
    if (rc || (rc = kit_need_rows(s, "gather: y", y)))
        return rc;
    if (!(w->flags & BNP_W_GATHER) || y->cols != w->cols || y->n_tok != s->step.n_tok)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "gather: y is %u rows of %u columns, expected the step's %u rows of %u and "
                        "a weight described with BNP_W_GATHER", y->n_tok, y->cols, s->step.n_tok,
                        w->cols);
    for (uint32_t t = 0; t < y->n_tok; t++) {
        const int32_t id = s->step.id[t];
        if (id < 0 || (uint32_t)id >= w->rows)
            return kit_fail(s->dev, BNP_E_INVALID, "gather: row %u asks for token %d of %u", t, id,
                            w->rows);
    }
    return BNP_OK;
}

int kit_topk_check(bnp_stream *s, const struct kit_weight *w, const bnp_topk *top)
{
    int rc = kit_need_step(s, "topk");
    if (rc)
        return rc;
    const uint64_t n = (uint64_t)top->n_tok * top->k;
    if (top->struct_size < sizeof(bnp_topk) || !(w->flags & BNP_W_TOPK) || !top->k ||
        top->k > w->rows || top->n_tok > w->max_tok || w->rows > INT32_MAX)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "topk: %u largest of %u, %u rows; expected a weight described with "
                        "BNP_W_TOPK, 1 to all of its rows, at most %u tokens", top->k, w->rows,
                        top->n_tok, w->max_tok);
    if ((rc = kit_need_span(s, "topk: id", top->id, n * sizeof(int32_t))) ||
        (rc = kit_need_span(s, "topk: logit", top->logit, n * sizeof(float))))
        return rc;
    return top->n_exact.size ? kit_need_span(s, "topk: n_exact", top->n_exact, top->n_tok * 4ull)
                             : BNP_OK;
}
