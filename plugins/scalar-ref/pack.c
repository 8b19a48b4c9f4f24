/* pack.c - weights: what can be done, how large it is, and taking them in.
 *
 * The prepared form is the canonical form, rows tightly packed and padded with
 * zeros to 4 bytes, then the scales. So the bytes depend on the weights alone
 * and the host may keep them in a file. What comes back from a file is checked
 * like what came from a model. */
#include "num.h"
#include "ref.h"

#include <string.h>

#define LAYOUT_ID UINT64_C(0x7265662d726f7731)      /* "ref-row1" */

static uint64_t data_size(const bnp_weight_desc *w)
{
    return align_up(w->rows * align_up(kit_row_bytes(w), 4), BNP_ALIGN);
}

static uint64_t storage_size(const bnp_weight_desc *w)
{
    return align_up(data_size(w) + kit_n_scales(w) * sizeof(float), BNP_ALIGN);
}

int ref_linear_query(bnp_device *d, const bnp_weight_desc *w, bnp_offer *offer)
{
    const int rc = kit_desc_check(d, w);
    if (rc)
        return rc;
    const bnp_offer mine = { .det = BNP_DET_EXACT, .scratch_size = ref_panel_size(w) };
    sized_fill(offer, &mine, sizeof mine);
    return BNP_OK;
}

int ref_linear_layout(bnp_device *d, const bnp_weight_desc *w, bnp_weight_layout *layout)
{
    const int rc = kit_desc_check(d, w);
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

static int data_check(bnp_device *d, const bnp_weight_desc *w, const uint8_t *storage)
{
    const uint64_t row_size = align_up(kit_row_bytes(w), 4);
    int rc = BNP_OK;
    for (uint32_t r = 0; r < w->rows && !rc; r++)
        rc = kit_row_check(d, w, storage + r * row_size, r);
    const float *scale = (const float *)(storage + data_size(w));
    return rc ? rc : kit_scales_check(d, w, scale, 0, kit_n_scales(w));
}

static int read_all(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                    uint8_t *storage)
{
    const uint64_t row_size = align_up(kit_row_bytes(w), 4);
    const uint32_t step = 256;                  /* rows: a few hundred KB at a time */
    for (uint32_t r = 0; r < w->rows; r += step) {
        const uint32_t n = w->rows - r < step ? w->rows - r : step;
        const int rc = src->read_rows(src->ctx, r, n, storage + r * row_size, row_size);
        if (rc)
            return kit_fail(d, rc, "%s: rows from %u on could not be read", kit_weight_name(w), r);
        if (w->rows - r <= step)
            break;                              /* r + step might wrap */
    }
    for (uint32_t r = 0; r < w->rows; r++)
        memset(storage + r * row_size + kit_row_bytes(w), 0, row_size - kit_row_bytes(w));
    const uint64_t used = w->rows * row_size, n = kit_n_scales(w);
    memset(storage + used, 0, data_size(w) - used);
    float *scale = (float *)(storage + data_size(w));
    const int rc = n ? src->read_scales(src->ctx, 0, n, scale) : BNP_OK;
    if (rc)
        return kit_fail(d, rc, "%s: its %llu scales could not be read", kit_weight_name(w),
                        (unsigned long long)n);
    memset(scale + n, 0, storage_size(w) - data_size(w) - n * sizeof(float));
    return BNP_OK;
}

/* src NULL: storage is already filled. */
static int weight_open(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                       bnp_span storage, bnp_weight **out)
{
    *out = NULL;
    int rc = kit_desc_check(d, w);
    if (rc)
        return rc;
    const char *why = span_wrong(storage, storage_size(w));
    if (why)
        return kit_fail(d, BNP_E_INVALID, "%s: storage: %s (%llu bytes, expected %llu)", kit_weight_name(w),
                        why, (unsigned long long)storage.size,
                        (unsigned long long)storage_size(w));
    uint8_t *data = span_at(storage);
    if (src && (rc = read_all(d, w, src, data)))
        return rc;
    if ((rc = data_check(d, w, data)))
        return rc;
    bnp_weight *h = d->host->alloc(d->host->ctx, sizeof *h, BNP_ALIGN, -1);
    if (!h)
        return kit_fail(d, BNP_E_NOMEM, "%s: no memory for its handle", kit_weight_name(w));
    kit_weight_fill(&h->k, d, w);
    h->row_size = align_up(kit_row_bytes(w), 4);
    h->data = data;
    h->scale = (const float *)(data + data_size(w));
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
        h->k.dev->host->release(h->k.dev->host->ctx, h);
}
