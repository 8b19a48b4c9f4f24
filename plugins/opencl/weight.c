/* weight.c - weights on their way to the device.
 *
 * Storage: panels of OCL_PANEL rows, filled up with what counts as nothing;
 * ternary ones hold 16 bytes of each row after the other (drawn in ternary.cl),
 * dense ones an element of each row after the other (dense.cl). Then the scales:
 * one f32 (1 where there are none), one for each row, or by panel, block after
 * block of its rows. Ternary codes stay as they are in the canonical form: what
 * the kernels want permuted is permuted in the activations, once for all
 * matrices. The bytes depend on the weights alone: the host may keep them. */
#include "ocl.h"

#include <string.h>

#define LAYOUT_ID UINT64_C(0x6f636c2d70616e32)      /* "ocl-pan2" */
#define CHUNK     16u                               /* bytes */
#define BATCH     (UINT64_C(4) << 20)               /* bytes packed at a time, or one panel */

static uint32_t n_panel(const bnp_weight_desc *w)
{
    return (w->rows - 1) / OCL_PANEL + 1;
}

static uint32_t n_chunk(const bnp_weight_desc *w)      /* of a ternary row */
{
    return (kit_row_bytes(w) - 1) / CHUNK + 1;
}

static uint64_t panel_size(const bnp_weight_desc *w)
{
    const uint64_t row = w->format == BNP_FMT_T2 ? (uint64_t)n_chunk(w) * CHUNK : kit_row_bytes(w);
    return row * OCL_PANEL;
}

static uint64_t data_size(const bnp_weight_desc *w)
{
    return n_panel(w) * panel_size(w);
}

static uint64_t stored_scales(const bnp_weight_desc *w)
{
    switch (w->scale_kind) {
    case BNP_SCALE_ROW: return (uint64_t)n_panel(w) * OCL_PANEL;
    case BNP_SCALE_BLOCK: return kit_n_scales(w) / w->rows * n_panel(w) * OCL_PANEL;
    default: return 1;
    }
}

static uint64_t storage_size(const bnp_weight_desc *w)
{
    return align_up(data_size(w) + stored_scales(w) * sizeof(float), BNP_ALIGN);
}

int ocl_linear_query(bnp_device *d, const bnp_weight_desc *w, bnp_offer *offer)
{
    const int rc = kit_desc_check(d, w);
    if (rc)
        return rc;
    if (storage_size(w) > ocl_of(d)->f.max_alloc)
        return BNP_E_UNSUPPORTED;
    const bnp_offer mine = { .det = BNP_DET_EXACT, .scratch_size = ocl_topk_scratch(w) };
    sized_fill(offer, &mine, sizeof mine);
    return BNP_OK;
}

int ocl_linear_layout(bnp_device *d, const bnp_weight_desc *w, bnp_weight_layout *layout)
{
    const int rc = kit_desc_check(d, w);
    if (rc)
        return rc;
    const bnp_weight_layout mine = {
        .act_kind = w->format == BNP_FMT_T2 ? OCL_ACT_INT8 : OCL_ACT_F32,
        .size = storage_size(w), .align = BNP_ALIGN, .layout_id = LAYOUT_ID,
    };
    sized_fill(layout, &mine, sizeof mine);
    return BNP_OK;
}

static int write(struct ocl_device *o, struct ocl_ref to, const void *from, uint64_t size)
{
    const cl_int err = cl.clEnqueueWriteBuffer(o->setup, to.mem, CL_TRUE, (size_t)to.at,
                                               (size_t)size, from, 0, NULL, NULL);
    return err ? ocl_fail(&o->d, err, "prepare") : BNP_OK;
}

static void pack_ternary(const bnp_weight_desc *w, const char *rows, size_t stride, uint32_t n,
                         char *out)
{
    const uint32_t size = kit_row_bytes(w), chunks = n_chunk(w);
    for (uint32_t r = 0; r < n; r++) {
        for (uint32_t c = 0; c < chunks; c++) {
            const uint32_t left = size - c * CHUNK;
            memcpy(out + (c * (size_t)OCL_PANEL + r) * CHUNK, rows + r * stride + c * CHUNK,
                   left < CHUNK ? left : CHUNK);
        }
    }
}

static void pack_dense(const bnp_weight_desc *w, const char *rows, size_t stride, uint32_t n,
                       char *out)
{
    const size_t size = kit_row_bytes(w) / w->cols;
    for (uint32_t i = 0; i < w->cols; i++)
        for (uint32_t r = 0; r < n; r++)
            memcpy(out + (i * (size_t)OCL_PANEL + r) * size, rows + r * stride + i * size, size);
}

/* n canonical rows of a panel, stride bytes apart. Code 1 is the 0 of a ternary
 * row; zero bytes are the 0 of all others. */
static void pack_panel(const bnp_weight_desc *w, const char *rows, size_t stride, uint32_t n,
                       char *out)
{
    const bool ternary = w->format == BNP_FMT_T2;
    memset(out, ternary ? 0x55 : 0, (size_t)panel_size(w));
    (ternary ? pack_ternary : pack_dense)(w, rows, stride, n, out);
}

struct taking {                 /* a weight that comes in                    */
    struct ocl_device *o;
    const bnp_weight_desc *w;
    const bnp_weight_src *src;
    struct ocl_ref to;
    char *rows, *packed;        /* one panel's rows; `batch` packed panels   */
    size_t stride;
    uint32_t batch;
};

static int take_panel(struct taking *t, uint32_t panel, char *out)
{
    const uint32_t first = panel * OCL_PANEL, left = t->w->rows - first;
    const uint32_t n = left < OCL_PANEL ? left : OCL_PANEL;
    int rc = t->src->read_rows(t->src->ctx, first, n, t->rows, t->stride);
    if (rc)
        return kit_fail(&t->o->d, rc, "%s: rows from %u on could not be read",
                        kit_weight_name(t->w), first);
    for (uint32_t r = 0; r < n && !rc; r++)
        if (!kit_row_ok(t->w, t->rows + r * t->stride))
            rc = kit_row_check(&t->o->d, t->w, t->rows + r * t->stride, first + r);
    if (!rc)
        pack_panel(t->w, t->rows, t->stride, n, out);
    return rc;
}

static int take_rows(struct taking *t)
{
    const uint64_t size = panel_size(t->w);
    int rc = BNP_OK;
    for (uint32_t p = 0; p < n_panel(t->w) && !rc; p += t->batch) {
        const uint32_t left = n_panel(t->w) - p, n = left < t->batch ? left : t->batch;
        for (uint32_t i = 0; i < n && !rc; i++)
            rc = take_panel(t, p + i, t->packed + i * size);
        if (!rc)
            rc = write(t->o, (struct ocl_ref){ t->to.mem, t->to.at + p * size }, t->packed,
                       n * size);
    }
    return rc;
}

/* Block scales [row][block] to [panel][block][row of panel]. */
static void turn_scales(const bnp_weight_desc *w, const float *from, float *to)
{
    const uint64_t n = kit_n_scales(w) / w->rows;
    for (uint64_t r = 0; r < w->rows; r++)
        for (uint64_t g = 0; g < n; g++)
            to[(r / OCL_PANEL * n + g) * OCL_PANEL + r % OCL_PANEL] = from[r * n + g];
}

static int take_scales(struct taking *t)
{
    const bnp_host *host = t->o->d.host;
    const uint64_t n = kit_n_scales(t->w), stored = stored_scales(t->w);
    const bool block = t->w->scale_kind == BNP_SCALE_BLOCK;
    float *s = host->alloc(host->ctx, (size_t)(stored + (block ? n : 0)) * sizeof *s, BNP_ALIGN,
                           -1);
    if (!s)
        return kit_fail(&t->o->d, BNP_E_NOMEM, "%s: no memory for its scales",
                        kit_weight_name(t->w));
    float *from = block ? s + stored : s;
    int rc = BNP_OK;
    if (!n)
        s[0] = 1.0f;
    else if ((rc = t->src->read_scales(t->src->ctx, 0, n, from)))
        rc = kit_fail(&t->o->d, rc, "%s: its %llu scales could not be read",
                      kit_weight_name(t->w), (unsigned long long)n);
    if (!rc && !(rc = kit_scales_check(&t->o->d, t->w, from, 0, n)) && block)
        turn_scales(t->w, from, s);
    if (!rc)
        rc = write(t->o, (struct ocl_ref){ t->to.mem, t->to.at + data_size(t->w) }, s,
                   stored * sizeof *s);
    host->release(host->ctx, s);
    return rc;
}

static int take(struct ocl_device *o, const bnp_weight_desc *w, const bnp_weight_src *src,
                struct ocl_ref to)
{
    const bnp_host *host = o->d.host;
    const uint64_t size = panel_size(w);
    struct taking t = { .o = o, .w = w, .src = src, .to = to,
                        .stride = (size_t)align_up(kit_row_bytes(w), 4),
                        .batch = size < BATCH ? (uint32_t)(BATCH / size) : 1 };
    t.batch = t.batch < n_panel(w) ? t.batch : n_panel(w);
    t.rows = host->alloc(host->ctx, t.stride * OCL_PANEL, BNP_ALIGN, -1);
    t.packed = host->alloc(host->ctx, (size_t)(t.batch * size), BNP_ALIGN, -1);
    int rc = t.rows && t.packed ? take_rows(&t)
                                : kit_fail(&o->d, BNP_E_NOMEM, "%s: no memory to pack its rows",
                                           kit_weight_name(w));
    host->release(host->ctx, t.rows);
    host->release(host->ctx, t.packed);
    return rc ? rc : take_scales(&t);
}

/* What comes back from a file: whatever its codes are, a sum over them stays
 * inside the buffers; a scale must be a number, as in prepare. */
static int adopted_scales_check(struct ocl_device *o, const bnp_weight_desc *w, struct ocl_ref at)
{
    const bnp_host *host = o->d.host;
    const uint64_t n = stored_scales(w);
    float *s = host->alloc(host->ctx, (size_t)n * sizeof *s, BNP_ALIGN, -1);
    if (!s)
        return kit_fail(&o->d, BNP_E_NOMEM, "%s: no memory for its scales", kit_weight_name(w));
    const cl_int err = cl.clEnqueueReadBuffer(o->setup, at.mem, CL_TRUE,
                                              (size_t)(at.at + data_size(w)),
                                              (size_t)n * sizeof *s, s, 0, NULL, NULL);
    const int rc = err ? ocl_fail(&o->d, err, "adopt") : kit_scales_check(&o->d, w, s, 0, n);
    host->release(host->ctx, s);
    return rc;
}

int ocl_weight_fill(bnp_device *d, const bnp_weight_desc *w, bnp_span storage, bnp_weight *h)
{
    struct ocl_ref at;
    const int rc = ocl_ref(d, kit_weight_name(w), storage, storage_size(w), &at);
    if (rc)
        return rc;
    kit_weight_fill(&h->k, d, w);
    h->data = at;
    h->scale_at = at.at + data_size(w);
    h->n_chunk = n_chunk(w);
    return BNP_OK;
}

/* src NULL: storage is already filled. */
static int weight_open(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                       bnp_span storage, bnp_weight **out)
{
    struct ocl_ref at;
    *out = NULL;
    int rc = kit_desc_check(d, w);
    if (rc || (rc = ocl_ref(d, kit_weight_name(w), storage, storage_size(w), &at)))
        return rc;
    const char *why = span_wrong(storage, storage_size(w));
    if (why)
        return kit_fail(d, BNP_E_INVALID, "%s: storage: %s (%llu bytes, expected %llu)",
                        kit_weight_name(w), why, (unsigned long long)storage.size,
                        (unsigned long long)storage_size(w));
    rc = src ? take(ocl_of(d), w, src, at) : adopted_scales_check(ocl_of(d), w, at);
    if (rc)
        return rc;
    bnp_weight *h = d->host->alloc(d->host->ctx, sizeof *h, BNP_ALIGN, -1);
    if (!h)
        return kit_fail(d, BNP_E_NOMEM, "%s: no memory for its handle", kit_weight_name(w));
    *out = h;
    return ocl_weight_fill(d, w, storage, h);
}

int ocl_linear_prepare(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                       bnp_span storage, bnp_weight **out)
{
    return weight_open(d, w, src, storage, out);
}

int ocl_linear_adopt(bnp_device *d, const bnp_weight_desc *w, bnp_span storage, bnp_weight **out)
{
    return weight_open(d, w, NULL, storage, out);
}

void ocl_linear_release(bnp_weight *h)
{
    if (h)
        h->k.dev->host->release(h->k.dev->host->ctx, h);
}
