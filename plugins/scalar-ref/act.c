/* act.c - activations: int8 with one factor for ternary weights, f32 as they
 * are for dense ones.
 *
 * A prepared row of int8 is 64 bytes that begin with the factor s, then the
 * values. Every row knows nothing of the others: a row has the same bytes
 * whatever it is batched with. */
#include "num.h"
#include "ref.h"

#include <string.h>

uint32_t ref_act_kind(uint32_t format)
{
    return format == BNP_FMT_T2 ? REF_ACT_INT8 : REF_ACT_F32;
}

static uint64_t row_stride(uint32_t kind, uint32_t cols)
{
    return kind == REF_ACT_INT8 ? BNP_ALIGN + align_up(cols, BNP_ALIGN)
                                : align_up((uint64_t)cols * sizeof(float), BNP_ALIGN);
}

static bool kind_known(uint32_t kind)
{
    return kind == REF_ACT_INT8 || kind == REF_ACT_F32;
}

int ref_act_size(bnp_device *d, uint32_t kind, uint32_t cols, uint32_t n_tok, uint64_t *size)
{
    if (!kind_known(kind) || !cols || !kit_act_fits(row_stride(kind, cols), n_tok, size))
        return kit_fail(d, BNP_E_INVALID, "act_size: kind %u, %u columns, %u rows", kind, cols,
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
    if (!kind_known(kind))
        return kit_fail(s->dev, BNP_E_INVALID, "act_prepare: kind %u", kind);
    int rc = kit_act_begin(s, kind, row_stride(kind, x->cols), x, act);
    if (rc || (rc = kit_need_finite(s, "act_prepare", x)))
        return rc;
    const struct kit_act *a = span_at(act);
    for (uint32_t t = 0; t < x->n_tok; t++) {
        if (kind == REF_ACT_INT8)
            quantize(rows_at(x, t), x->cols, kit_act_row(a, t));
        else
            memcpy(kit_act_row(a, t), rows_at(x, t), x->cols * sizeof(float));
    }
    return BNP_OK;
}

const int8_t *ref_act_int8(const struct kit_act *a, uint32_t t, float *s)
{
    memcpy(s, kit_act_row(a, t), sizeof *s);
    return (const int8_t *)kit_act_row(a, t) + BNP_ALIGN;
}

const float *ref_act_f32(const struct kit_act *a, uint32_t t)
{
    return (const float *)kit_act_row(a, t);
}
