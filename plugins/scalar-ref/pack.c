/* pack.c - weights: what can be done, how large it is, and taking them in.
 *
 * The prepared form is the canonical form, rows tightly packed and padded with
 * zeros to 4 bytes, then the scales. So the bytes depend on the weights alone
 * and the host may keep them in a file. What comes back from a file is checked
 * like what came from a model. */
#include "num.h"
#include "ref.h"

#include <string.h>

/* |acc| <= cols * 2 * 127, which fits 32 bits up to this many columns. */
#define MAX_COLS (1u << 23)

#define LAYOUT_ID UINT64_C(0x7265662d726f7731)      /* "ref-row1" */

static uint32_t row_bytes(const bnp_weight_desc *w)     /* canonical, unpadded */
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

static uint64_t n_scales(const bnp_weight_desc *w)
{
    switch (w->scale_kind) {
    case BNP_SCALE_NONE: return 0;
    case BNP_SCALE_TENSOR: return 1;
    default: return (uint64_t)w->rows * blocks_in_row(w);
    }
}

static uint64_t data_size(const bnp_weight_desc *w)
{
    return align_up(w->rows * align_up(row_bytes(w), 4), BNP_ALIGN);
}

static uint64_t storage_size(const bnp_weight_desc *w)
{
    return align_up(data_size(w) + n_scales(w) * sizeof(float), BNP_ALIGN);
}

static const char *name_of(const bnp_weight_desc *w)
{
    return w->name ? w->name : "weight";
}

/* UNSUPPORTED is for what this plugin does not know, INVALID for what nobody
 * could know. */
static int desc_check(bnp_device *d, const bnp_weight_desc *w)
{
    if (w->struct_size < sizeof(bnp_weight_desc))
        return ref_fail(d, BNP_E_INVALID, "weight description of %u bytes, expected at least %zu",
                        w->struct_size, sizeof(bnp_weight_desc));
    if (w->format < BNP_FMT_T2 || w->format > BNP_FMT_I8 || w->scale_kind > BNP_SCALE_BLOCK ||
        (w->flags & BNP_MUST & ~BNP_W_PLUS2) || w->cols > MAX_COLS)
        return BNP_E_UNSUPPORTED;
    const bool is_float = w->format != BNP_FMT_T2 && w->format != BNP_FMT_I8;
    if (is_float && w->scale_kind != BNP_SCALE_NONE)
        return BNP_E_UNSUPPORTED;
    if (!w->rows || !w->cols || !w->max_tok)
        return ref_fail(d, BNP_E_INVALID, "%s: %u rows, %u columns, %u tokens: expected none zero",
                        name_of(w), w->rows, w->cols, w->max_tok);
    if (w->scale_kind == BNP_SCALE_BLOCK && !w->block_cols)
        return ref_fail(d, BNP_E_INVALID, "%s: block scales with blocks of 0 columns", name_of(w));
    if ((w->flags & BNP_W_PLUS2) && w->format != BNP_FMT_T2)
        return ref_fail(d, BNP_E_INVALID, "%s: BNP_W_PLUS2 on weights that are not ternary",
                        name_of(w));
    return BNP_OK;
}

int ref_linear_query(bnp_device *d, const bnp_weight_desc *w, bnp_offer *offer)
{
    const int rc = desc_check(d, w);
    if (rc)
        return rc;
    const bnp_offer mine = { .det = BNP_DET_EXACT, .scratch_size = ref_panel_size(w) };
    sized_fill(offer, &mine, sizeof mine);
    return BNP_OK;
}

int ref_linear_layout(bnp_device *d, const bnp_weight_desc *w, bnp_weight_layout *layout)
{
    const int rc = desc_check(d, w);
    if (rc)
        return rc;
    const bnp_weight_layout mine = {
        .act_kind = ref_act_kind(w->format),
        .size = storage_size(w),
        .align = BNP_ALIGN,
        .layout_id = LAYOUT_ID,
    };
    sized_fill(layout, &mine, sizeof mine);
    return BNP_OK;
}

/* Code 3 only where the description allows it, code 1 behind the last column. */
static int ternary_check(bnp_device *d, const bnp_weight_desc *w, const uint8_t *row, uint32_t r)
{
    const uint32_t n = row_bytes(w);
    for (uint32_t i = 0; i < n && !(w->flags & BNP_W_PLUS2); i++) {
        if (row[i] & row[i] >> 1 & 0x55)
            return ref_fail(d, BNP_E_DATA, "%s: row %u columns %u to %u hold code 3, expected 0..2",
                            name_of(w), r, i * 4, i * 4 + 3);
    }
    for (uint32_t i = w->cols; i < n * 4; i++) {
        if ((row[i / 4] >> 2 * (i % 4) & 3) != 1)
            return ref_fail(d, BNP_E_DATA,
                            "%s: row %u has a code other than 1 behind its %u columns", name_of(w),
                            r, w->cols);
    }
    return BNP_OK;
}

static int float_check(bnp_device *d, const bnp_weight_desc *w, const uint8_t *row, uint32_t r)
{
    for (uint32_t i = 0; i < w->cols; i++) {
        uint32_t u32;
        uint16_t u16;
        memcpy(&u32, row + (w->format == BNP_FMT_F32 ? i * 4 : 0), 4);
        memcpy(&u16, row + (w->format == BNP_FMT_F32 ? 0 : i * 2), 2);
        const bool bad = w->format == BNP_FMT_F32 ? (u32 & 0x7f800000u) == 0x7f800000u
                       : w->format == BNP_FMT_F16 ? (u16 & 0x7c00u) == 0x7c00u
                                                  : (u16 & 0x7f80u) == 0x7f80u;
        if (bad)
            return ref_fail(d, BNP_E_DATA, "%s: row %u column %u is NaN or Inf", name_of(w), r, i);
    }
    return BNP_OK;
}

static int data_check(bnp_device *d, const bnp_weight_desc *w, const uint8_t *storage)
{
    const uint64_t row_size = align_up(row_bytes(w), 4);
    int rc = BNP_OK;
    for (uint32_t r = 0; r < w->rows && !rc; r++) {
        if (w->format == BNP_FMT_T2)
            rc = ternary_check(d, w, storage + r * row_size, r);
        else if (w->format != BNP_FMT_I8)
            rc = float_check(d, w, storage + r * row_size, r);
    }
    const float *scale = (const float *)(storage + data_size(w));
    for (uint64_t i = 0; i < n_scales(w) && !rc; i++) {
        if (row_not_finite(&scale[i], 1) >= 0)
            rc = ref_fail(d, BNP_E_DATA, "%s: scale %llu is NaN or Inf", name_of(w),
                          (unsigned long long)i);
    }
    return rc;
}

static int read_all(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                    uint8_t *storage)
{
    const uint64_t row_size = align_up(row_bytes(w), 4);
    const uint32_t step = 256;                  /* rows: a few hundred KB at a time */
    for (uint32_t r = 0; r < w->rows; r += step) {
        const uint32_t n = w->rows - r < step ? w->rows - r : step;
        const int rc = src->read_rows(src->ctx, r, n, storage + r * row_size, row_size);
        if (rc)
            return ref_fail(d, rc, "%s: rows from %u on could not be read", name_of(w), r);
        if (w->rows - r <= step)
            break;                              /* r + step might wrap */
    }
    for (uint32_t r = 0; r < w->rows; r++)
        memset(storage + r * row_size + row_bytes(w), 0, row_size - row_bytes(w));
    const uint64_t used = w->rows * row_size, n = n_scales(w);
    memset(storage + used, 0, data_size(w) - used);
    float *scale = (float *)(storage + data_size(w));
    const int rc = n ? src->read_scales(src->ctx, 0, n, scale) : BNP_OK;
    if (rc)
        return ref_fail(d, rc, "%s: its %llu scales could not be read", name_of(w),
                        (unsigned long long)n);
    memset(scale + n, 0, storage_size(w) - data_size(w) - n * sizeof(float));
    return BNP_OK;
}

/* src NULL: storage is already filled. */
static int weight_open(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                       bnp_span storage, bnp_weight **out)
{
    *out = NULL;
    int rc = desc_check(d, w);
    if (rc)
        return rc;
    const char *why = span_wrong(storage, storage_size(w));
    if (why)
        return ref_fail(d, BNP_E_INVALID, "%s: storage: %s (%llu bytes, expected %llu)", name_of(w),
                        why, (unsigned long long)storage.size,
                        (unsigned long long)storage_size(w));
    uint8_t *data = span_at(storage);
    if (src && (rc = read_all(d, w, src, data)))
        return rc;
    if ((rc = data_check(d, w, data)))
        return rc;
    bnp_weight *h = d->host->alloc(d->host->ctx, sizeof *h, BNP_ALIGN, -1);
    if (!h)
        return ref_fail(d, BNP_E_NOMEM, "%s: no memory for its handle", name_of(w));
    *h = (bnp_weight){
        .dev = d, .format = w->format, .scale_kind = w->scale_kind, .flags = w->flags,
        .rows = w->rows, .cols = w->cols, .max_tok = w->max_tok,
        .block_cols = w->scale_kind == BNP_SCALE_BLOCK ? w->block_cols : w->cols,
        .n_block = blocks_in_row(w), .row_size = align_up(row_bytes(w), 4),
        .data = data, .scale = (const float *)(data + data_size(w)),
    };
    *out = h;
    return BNP_OK;
}

int ref_linear_prepare(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                       bnp_span storage, bnp_weight **out)
{
    return weight_open(d, w, src, storage, out);
}

int ref_linear_adopt(bnp_device *d, const bnp_weight_desc *w, bnp_span storage, bnp_weight **out)
{
    return weight_open(d, w, NULL, storage, out);
}

void ref_linear_release(bnp_weight *h)
{
    if (h)
        h->dev->host->release(h->dev->host->ctx, h);
}
