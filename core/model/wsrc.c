/* wsrc.c - opening a tensor and reading its rows, whatever its encoding. */
#include "core/model/wsrc.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/buf.h"
#include "core/base/f16.h"
#include "core/model/wtype.h"

static int fail_type(const struct wsrc *w, const char *name, struct err *e)
{
    struct buf read = { 0 };
    wtype_put_names(&read);
    int rc = err_set(e, ERR_UNSUPPORTED, "tensor %s: its type is %u%s%s%s, expected one of %s",
                     w->name, w->t->type, name ? " (" : "", name ? name : "", name ? ")" : "",
                     read.p ? read.p : "docs/formats.md");
    buf_free(&read);
    return rc;
}

/* No reading of the number takes the bytes that the file has for the tensor. */
static int fail_size(const struct wsrc *w, struct err *e)
{
    const struct gguf_tensor *t = w->t;
    const bool last = t->offset + t->gap == gguf_file_size(w->file);
    struct buf b = { 0 };
    wtype_put_readings(&b, t->type, w->rows, w->cols, t->gap, gguf_align(w->file));
    int rc = err_set(e, ERR_UNSUPPORTED, "tensor %s: type %u, %u x %u, in %" PRIu64 " bytes: as %s; "
                     "expected one of these sizes%s", w->name, t->type, w->rows, w->cols, t->gap,
                     b.p ? b.p : "", last ? ", or the file is truncated" : "");
    buf_free(&b);
    return rc;
}

/* Finds the one row of the table that everything else goes through. */
static int find_type(struct wsrc *w, struct err *e)
{
    const struct gguf_tensor *t = w->t;
    uint64_t size;
    w->type = wtype_asked(t->type, w->layout);
    if (w->type && (!wtype_bytes(w->type, w->rows, w->cols, &size) || size > t->gap ||
                    t->gap - size >= gguf_align(w->file)))
        return err_set(e, ERR_UNSUPPORTED, "tensor %s: type %u, %u x %u, in %" PRIu64 " bytes, which "
                       "is not the size of %s, expected a file for which model.i2s_layout asks for "
                       "it", w->name, t->type, w->rows, w->cols, t->gap, w->type->name);
    if (!w->type)
        w->type = wtype_pick(t->type, w->rows, w->cols, t->size, 1);
    if (w->type && w->type->open)
        return 0;
    if (!w->type && wtype_is_shared(t->type))
        return fail_size(w, e);
    return fail_type(w, w->type ? w->type->name : wtype_name(t->type), e);
}

/* 2024 files hold a projection's scale in a tensor of its own: blk.N.x.scale
 * beside blk.N.x.weight. */
static int find_extra_scale(struct wsrc *w, const struct gguf *g, struct err *e)
{
    static const char weight[] = ".weight";
    size_t n = strlen(w->name), tail = sizeof weight - 1;
    w->extra_scale = 1;
    if ((n < tail || strcmp(w->name + n - tail, weight)) && !w->type->needs_scale)
        return 0;
    char name[sizeof w->name];
    snprintf(name, sizeof name, "%.*s.scale", (int)(n < tail ? n : n - tail), w->name);
    const struct gguf_tensor *t = gguf_tensor(g, name);
    if (!t && w->type->needs_scale)
        return err_set(e, ERR_DATA, "tensor %s: missing, expected the scale of %s, which %s does "
                       "not hold itself", name, w->name, w->type->name);
    if (!t)
        return 0;
    if (t->type != 0 || t->size != sizeof(float))
        return err_set(e, ERR_DATA, "tensor %s: expected one F32 number", name);
    uint32_t bits;
    memcpy(&bits, t->data, sizeof bits);
    w->extra_scale = f32_from_bits(bits);
    if (!isfinite(w->extra_scale))
        return err_set(e, ERR_DATA, "tensor %s: NaN or infinite, expected a number", name);
    return 0;
}

static uint64_t n_scales(const struct wsrc *w)
{
    switch (w->scale_kind) {
    case BNP_SCALE_TENSOR: return 1;
    case BNP_SCALE_ROW:    return w->rows;
    case BNP_SCALE_BLOCK:
        return (uint64_t)w->rows * ((w->cols + w->block_cols - 1) / w->block_cols);
    default: return 0;
    }
}

static int check_scales(const struct wsrc *w, struct err *e)
{
    float part[256];
    uint64_t n = n_scales(w);
    for (uint64_t at = 0; at < n; at += 256) {
        uint64_t step = n - at < 256 ? n - at : 256;
        wsrc_read_scales(w, at, step, part);
        for (uint64_t i = 0; i < step; i++)
            if (!isfinite(part[i]))
                return err_set(e, ERR_DATA, "tensor %s: scale %" PRIu64 " of %" PRIu64 " is NaN or "
                               "infinite, expected a number", w->name, at + i, n);
    }
    return 0;
}

/* Elements without a scale of their own, and a separate one: rows are f32, each
 * element times that, rounded once. */
static bool is_scaled(const struct wsrc *w)
{
    return w->scale_kind == BNP_SCALE_NONE && w->extra_scale != 1.0f;
}

static int open_matrix(struct wsrc *w, const struct gguf *g, struct err *e)
{
    const struct gguf_tensor *t = w->t;
    if (t->ne[2] != 1 || t->ne[3] != 1)
        return err_set(e, ERR_UNSUPPORTED, "tensor %s: %u dimensions, expected a matrix or a "
                       "vector", w->name, t->n_dims);
    if (t->ne[0] > INT32_MAX || t->ne[1] > INT32_MAX)
        return err_set(e, ERR_UNSUPPORTED, "tensor %s: %" PRIu64 " x %" PRIu64 " elements, "
                       "expected under 2^31 either way", w->name, t->ne[1], t->ne[0]);
    w->cols = (uint32_t)t->ne[0];
    w->rows = (uint32_t)t->ne[1];
    int rc = find_type(w, e);
    if (rc)
        return rc;
    w->format = w->type->format;
    if (t->head_rows && (w->rows % t->head_rows || t->head_rows % 2 || w->type->scales))
        return err_set(e, ERR_DATA, "tensor %s: %u rows in heads of %u, expected whole heads of an "
                       "even number, and one scale", w->name, w->rows, t->head_rows);
    rc = find_extra_scale(w, g, e);
    if (!rc)
        rc = w->type->open(w, e);
    if (!rc && is_scaled(w))
        w->format = BNP_FMT_F32;
    return rc ? rc : check_scales(w, e);
}

int wsrc_open(struct wsrc *w, const struct gguf *g, const struct gguf_tensor *t,
              const struct wsrc_opts *opts, struct err *e)
{
    assert(t);
    *w = (struct wsrc){ .t = t, .file = g, .extra_scale = 1 };
    if (opts) {
        w->layout = opts->i2s_layout;
        w->tl_preset = opts->tl_preset;
    }
    snprintf(w->name, sizeof w->name, "%.*s", (int)t->name.n, t->name.p);
    int rc = open_matrix(w, g, e);
    w->tl_preset = NULL;
    if (rc)
        err_prefix(e, "%s", gguf_name(g));
    else if (!opts || !opts->unchecked)
        rc = wsrc_check(w, e);
    if (rc)
        w->t = NULL;
    return rc;
}

int wsrc_check(const struct wsrc *w, struct err *e)
{
    const int rc = w->type->check ? w->type->check(w, e) : 0;
    return rc ? err_prefix(e, "%s", gguf_name(w->file)), rc : 0;
}

/* Where row `row` lies. Rope turns halves of a head against each other, or
 * neighbours; row 2i + j of the latter is row j * half + i of the former. */
static uint32_t row_of(const struct wsrc *w, uint32_t row)
{
    const uint32_t n = w->t->head_rows, r = n ? row % n : 0;
    return n ? row - r + r % 2 * (n / 2) + r / 2 : row;
}

/* Element i of a canonical row at p, before its scale. */
static float element(uint32_t format, const uint8_t *p, uint32_t i)
{
    uint32_t u;
    switch (format) {
    case BNP_FMT_T2:   return (float)((int)(p[i / 4] >> 2 * (i % 4) & 3) - 1);
    case BNP_FMT_I8:   return (float)(int8_t)p[i];
    case BNP_FMT_F16:  return f16_to_f32(wtype_u16(p + 2 * (size_t)i));
    case BNP_FMT_BF16: return bf16_to_f32(wtype_u16(p + 2 * (size_t)i));
    default:
        memcpy(&u, p + 4 * (size_t)i, sizeof u);
        return f32_from_bits(u);
    }
}

/* The row is decoded into the end of dst and widened from the front: element i
 * is written at 4i, and what is still to be read never lies below, for an
 * element takes at most 4 bytes. */
static void scaled_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const uint32_t format = w->type->format;
    uint8_t *p = (uint8_t *)dst + (size_t)w->cols * sizeof(float) - wtype_row_size(format, w->cols);
    w->type->row(w, row, p);
    for (uint32_t i = 0; i < w->cols; i++) {
        const float v = element(format, p, i) * w->extra_scale;
        memcpy((uint8_t *)dst + sizeof v * i, &v, sizeof v);
    }
}

int wsrc_read_rows(const struct wsrc *w, uint32_t row, uint32_t n, void *dst, size_t stride)
{
    if (row > w->rows || n > w->rows - row ||
        (n > 1 && stride < wtype_row_size(w->format, w->cols)))
        return ERR_ARG;
    void (*one)(const struct wsrc *, uint32_t, void *) = is_scaled(w) ? scaled_row : w->type->row;
    for (uint32_t i = 0; i < n; i++)
        one(w, row_of(w, row + i), (uint8_t *)dst + i * stride);
    return 0;
}

const void *wsrc_rows(const struct wsrc *w, size_t *stride)
{
    if (w->type->row != float_row || is_scaled(w) || (uintptr_t)w->t->data % 4 || w->t->head_rows)
        return NULL;
    *stride = wtype_row_size(w->format, w->cols);
    return w->t->data;
}

void wsrc_drop_rows(const struct wsrc *w, uint32_t row, uint32_t n)
{
    const uint64_t size = w->t->size / w->rows;
    if (!w->type->flat && !w->t->head_rows && row <= w->rows && n <= w->rows - row)
        gguf_drop(w->file, w->t, row * size, n * size);
}

int wsrc_read_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    uint64_t all = n_scales(w);
    if (first > all || n > all - first)
        return ERR_ARG;
    if (w->scale_kind == BNP_SCALE_BLOCK || w->scale_kind == BNP_SCALE_ROW)
        w->type->scales(w, first, n, dst);
    else if (n)
        *dst = w->scale;
    for (uint64_t i = 0; i < n; i++)
        dst[i] *= w->extra_scale;
    return 0;
}

/* Widened in place, as scaled_row does. */
int wsrc_read_f32(const struct wsrc *w, uint32_t row, float *dst)
{
    size_t size = wtype_row_size(w->format, w->cols);
    uint8_t *p = (uint8_t *)dst + (size_t)w->cols * sizeof *dst - size;
    int rc = wsrc_read_rows(w, row, 1, p, size);
    if (rc)
        return rc;
    uint64_t per_row = w->scale_kind == BNP_SCALE_BLOCK ? n_scales(w) / w->rows : 0;
    float scale = 1;
    if (w->scale_kind == BNP_SCALE_TENSOR || w->scale_kind == BNP_SCALE_ROW)
        wsrc_read_scales(w, w->scale_kind == BNP_SCALE_ROW ? row : 0, 1, &scale);
    for (uint32_t i = 0; i < w->cols; i++) {
        if (per_row && i % w->block_cols == 0)
            wsrc_read_scales(w, row * per_row + i / w->block_cols, 1, &scale);
        dst[i] = element(w->format, p, i) * scale;
    }
    return 0;
}
