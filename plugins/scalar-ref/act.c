/* act.c - activations: int8 with one factor for ternary weights, f32 as they
 * are for dense ones.
 *
 * A prepared row of int8 is 64 bytes that begin with the factor s, then the
 * values. Every row knows nothing of the others: a row has the same bytes
 * whatever it is batched with. */
#include "num.h"
#include "ref.h"

#include <string.h>

#define ACT_MAGIC 0x61637431u

uint32_t ref_act_kind(uint32_t format)
{
    return format == BNP_FMT_T2 ? REF_ACT_INT8 : REF_ACT_F32;
}

static uint64_t row_stride(uint32_t kind, uint32_t cols)
{
    return kind == REF_ACT_INT8 ? BNP_ALIGN + align_up(cols, BNP_ALIGN)
                                : align_up((uint64_t)cols * sizeof(float), BNP_ALIGN);
}

static bool act_fits(uint32_t kind, uint32_t cols, uint32_t n_tok, uint64_t *size)
{
    return (kind == REF_ACT_INT8 || kind == REF_ACT_F32) && cols &&
           !__builtin_mul_overflow(row_stride(kind, cols), (uint64_t)n_tok, size) &&
           !__builtin_add_overflow(*size, sizeof(struct ref_act), size);
}

int ref_act_size(bnp_device *d, uint32_t kind, uint32_t cols, uint32_t n_tok, uint64_t *size)
{
    if (!act_fits(kind, cols, n_tok, size))
        return ref_fail(d, BNP_E_INVALID, "act_size: kind %u, %u columns, %u rows", kind, cols,
                        n_tok);
    return BNP_OK;
}

/* m = max(max|x|, 1e-5), s = 127 / m, q = clamp(rint(x * s), -128, 127). |x*s|
 * is at most a rounding above 127, well inside what rint32 takes. */
static void quantize(const float *x, uint32_t n, char *row)
{
    float m = 1e-5f;
    for (uint32_t i = 0; i < n; i++) {
        const float a = f32_of(bits_of(x[i]) & 0x7fffffffu);
        m = a > m ? a : m;
    }
    const float s = 127.0f / m;
    memcpy(row, &s, sizeof s);
    int8_t *q = (int8_t *)row + BNP_ALIGN;
    for (uint32_t i = 0; i < n; i++) {
        float v = rint32(x[i] * s);
        v = v > 127.0f ? 127.0f : v;
        v = v < -128.0f ? -128.0f : v;
        q[i] = (int8_t)v;
    }
}

int ref_act_prepare(bnp_stream *s, uint32_t kind, const bnp_rows *x, bnp_span act)
{
    uint64_t size;
    int rc = ref_need_step(s, "act_prepare");
    if (rc || (rc = ref_need_rows(s, "act_prepare: x", x)))
        return rc;
    if (!act_fits(kind, x->cols, x->n_tok, &size))
        return ref_fail(s->dev, BNP_E_INVALID, "act_prepare: kind %u, %u columns, %u rows", kind,
                        x->cols, x->n_tok);
    if ((rc = ref_need_span(s, "act_prepare: act", act, size)) ||
        (rc = ref_need_finite(s, "act_prepare", x)))
        return rc;
    char *at = span_at(act);
    const struct ref_act head = { .magic = ACT_MAGIC, .kind = kind, .n_tok = x->n_tok,
                                  .cols = x->cols, .stride = row_stride(kind, x->cols) };
    memcpy(at, &head, sizeof head);
    for (uint32_t t = 0; t < x->n_tok; t++) {
        char *row = at + sizeof head + t * head.stride;
        if (kind == REF_ACT_INT8)
            quantize(rows_at(x, t), x->cols, row);
        else
            memcpy(row, rows_at(x, t), x->cols * sizeof(float));
    }
    return BNP_OK;
}

const struct ref_act *ref_act_of(bnp_stream *s, bnp_span act, const bnp_weight *w, uint32_t n_tok)
{
    if (ref_need_span(s, "mul: act", act, sizeof(struct ref_act)))
        return NULL;
    const struct ref_act *a = span_at(act);
    if (a->magic == ACT_MAGIC && a->kind == ref_act_kind(w->format) && a->cols == w->cols &&
        a->n_tok == n_tok && (act.size - sizeof *a) / a->stride >= n_tok)
        return a;
    ref_fail(s->dev, BNP_E_INVALID,
             "mul: activations of kind %u, %u rows of %u columns; expected kind %u, %u rows of %u",
             a->kind, a->n_tok, a->cols, ref_act_kind(w->format), n_tok, w->cols);
    return NULL;
}

static const char *act_row(const struct ref_act *a, uint32_t t)
{
    return (const char *)a + sizeof *a + t * a->stride;
}

const int8_t *ref_act_int8(const struct ref_act *a, uint32_t t, float *s)
{
    memcpy(s, act_row(a, t), sizeof *s);
    return (const int8_t *)act_row(a, t) + BNP_ALIGN;
}

const float *ref_act_f32(const struct ref_act *a, uint32_t t)
{
    return (const float *)act_row(a, t);
}
