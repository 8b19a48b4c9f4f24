/* bitnet_convert_tensor.c - one tensor from the encoding it has to the one it
 * gets.
 *
 * Codes stay codes where the model's reader gives codes with one scale.
 * Otherwise the numbers are looked at first: a matrix whose numbers are one
 * value, its negative and zero is ternary whatever holds it, and so is one
 * where that holds for each part that has a scale of its own. Nothing else is
 * made ternary, unless the user asked for the rule of training. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/absmean.h"
#include "core/model/wtype.h"
#include "tools/bitnet_convert.h"

enum { DROP_ROWS = 64 };          /* rows after which a file's pages go        */

/* A tensor on its way. */
struct way {
    struct convert *c;
    const struct convert_item *item;
    const struct wsrc *w;
    struct enc_tensor to;
    float *row;                   /* [cols], and room to decode                */
    int8_t *code;                 /* [cols], up to a multiple of 4             */
    struct err *e;
};

static int to_file(void *ctx, const void *p, size_t n, struct err *e)
{
    return gguf_file_write(ctx, p, n, e);
}

static void row_done(struct way *y, uint32_t row)
{
    struct convert *c = y->c;
    if (row % DROP_ROWS == DROP_ROWS - 1)
        wsrc_drop_rows(y->w, row - (DROP_ROWS - 1), DROP_ROWS);
    c->done += y->w->cols;
    bar_draw(&c->bar, c->done, c->all, NULL);
}

static float magnitude(float v)
{
    return v < 0 ? -v : v;
}

/* Sets the scale of the codes that follow. Some encodings hold it as a half, which
 * is noted, and cannot be where the half is 0 or infinite. */
static int set_scale(struct way *y, float scale)
{
    const float half = f16_to_f32(f16_from_f32(scale)), off = magnitude(half - scale) / scale;
    y->to.scale = scale;
    if (!y->to.enc->half_scale)
        return 0;
    if (!(off < 0.5f))
        return err_set(y->e, ERR_DATA, "%s: tensor %s: its scale is %g, expected 6e-8 to 65504 "
                       "for %s, which holds it as a half", gguf_name(y->c->m->file),
                       y->item->name, (double)scale, y->to.enc->name);
    if (off > y->c->rounded)
        y->c->rounded = off;
    return 0;
}

/* ---------------------------------------------------------------- code to code */

/* A canonical row: four codes in a byte, the first lowest. */
static void spread(const uint8_t *p, uint32_t cols, bool negate, int8_t *code)
{
    for (uint32_t k = 0; k < cols; k += 4, p++)
        for (unsigned i = 0; i < 4; i++) {
            const int w = (*p >> 2 * i & 3) - 1;
            code[k + i] = (int8_t)(negate ? -w : w);
        }
}

static int write_codes(struct way *y, float scale)
{
    int rc = set_scale(y, scale != 0 ? magnitude(scale) : 1);    /* 0: so are all weights */
    for (uint32_t r = 0; r < y->w->rows && !rc; r++) {
        uint8_t *canonical = (uint8_t *)y->row;
        wsrc_read_rows(y->w, r, 1, canonical, wtype_row_size(BNP_FMT_T2, y->w->cols));
        spread(canonical, y->w->cols, scale < 0, y->code);
        rc = enc_codes(&y->to, y->code, y->w->cols, y->e);
        row_done(y, r);
    }
    return rc;
}

/* -------------------------------------------------------------- number to code */

struct scan {
    float one;                    /* the magnitude of the first that is not 0  */
    uint64_t other;               /* numbers of another magnitude, but 0       */
    bool by_part;                 /* one magnitude in each part                */
    struct absmean mean;
};

/* Weights that the encoding gives a scale of their own; 0: all of the tensor. */
static uint32_t part_cols(const struct way *y)
{
    const uint32_t cols = y->to.enc->scale_cols;
    return cols < y->w->cols ? cols : y->w->cols;
}

static void scan_part(struct scan *s, const float *x, uint32_t n)
{
    float first = 0;
    absmean_add(&s->mean, x, n);
    for (uint32_t k = 0; k < n; k++) {
        const float a = magnitude(x[k]);
        if (a == 0)
            continue;
        if (first == 0)
            first = a;
        if (s->one == 0)
            s->one = a;
        s->by_part &= a == first;
        s->other += a != s->one;
    }
}

static struct scan scan(struct way *y)
{
    struct scan s = { .by_part = part_cols(y) != 0 };
    const uint32_t step = part_cols(y) ? part_cols(y) : y->w->cols;
    for (uint32_t r = 0; r < y->w->rows; r++) {
        wsrc_read_f32(y->w, r, y->row);
        for (uint32_t k = 0; k < y->w->cols; k += step)
            scan_part(&s, y->row + k, step < y->w->cols - k ? step : y->w->cols - k);
    }
    return s;
}

static void signs(const float *x, uint32_t n, int8_t *code)
{
    for (uint32_t k = 0; k < n; k++)
        code[k] = (int8_t)((x[k] > 0) - (x[k] < 0));
}

/* Each number's sign. scale 0: each part has its own. */
static int write_signs(struct way *y, float scale)
{
    const uint32_t cols = y->w->cols, step = scale != 0 ? cols : part_cols(y);
    int rc = scale != 0 ? set_scale(y, scale) : 0;
    for (uint32_t r = 0; r < y->w->rows && !rc; r++) {
        wsrc_read_f32(y->w, r, y->row);
        signs(y->row, cols, y->code);
        for (uint32_t k = 0; k < cols && !rc; k += step) {
            uint32_t i = k;
            while (scale == 0 && i < k + step && !y->code[i])
                i++;
            if (scale == 0 && i < k + step)
                rc = set_scale(y, magnitude(y->row[i]));
            if (!rc)
                rc = enc_codes(&y->to, y->code + k, step, y->e);
        }
        row_done(y, r);
    }
    return rc;
}

static int write_absmean(struct way *y, const struct absmean *mean)
{
    struct convert *c = y->c;
    const float s = absmean_scale(mean);
    double xy = 0, xx = 0, yy = 0;
    int rc = set_scale(y, s);
    for (uint32_t r = 0; r < y->w->rows && !rc; r++) {
        wsrc_read_f32(y->w, r, y->row);
        absmean_codes(y->row, y->w->cols, s, y->code);
        for (uint32_t k = 0; k < y->w->cols; k++) {
            xx += (double)y->row[k] * (double)y->row[k];
            xy += (double)y->row[k] * y->code[k];
            yy += y->code[k] * y->code[k];
        }
        rc = enc_codes(&y->to, y->code, y->w->cols, y->e);
        row_done(y, r);
    }
    const double correlation = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 1;
    if (!c->n_absmean++ || correlation < c->worst) {
        c->worst = correlation;
        c->mse = (xx - 2 * (double)s * xy + (double)s * (double)s * yy) / (double)mean->n;
        memcpy(c->worst_name, y->item->name, sizeof c->worst_name);
    }
    return rc;
}

static int refuse(const struct way *y, const struct scan *s)
{
    return err_set(y->e, ERR_DATA, "%s: tensor %s: not ternary: %" PRIu64 " of its %" PRIu64
                   " weights are neither 0 nor %.9g without its sign; --absmean makes it ternary "
                   "as training does, which is right for the weights that were trained and wrong "
                   "for others", gguf_name(y->c->m->file), y->item->name, s->other,
                   (uint64_t)y->w->rows * y->w->cols, (double)s->one);
}

static int write_ternary(struct way *y)
{
    const struct wsrc *w = y->w;
    struct convert *c = y->c;
    c->n_ternary++;
    if (w->format == BNP_FMT_T2 && w->scale_kind == BNP_SCALE_TENSOR && !(w->flags & BNP_W_PLUS2)) {
        float scale;
        wsrc_read_scales(w, 0, 1, &scale);
        return write_codes(y, scale);
    }
    const struct scan s = scan(y);
    if (!s.other)
        return write_signs(y, s.one != 0 ? s.one : 1);
    if (s.by_part)
        return write_signs(y, 0);
    return c->absmean ? write_absmean(y, &s.mean) : refuse(y, &s);
}

/* ------------------------------------------------------------- number to number */

/* Halves, and the scales that are halves, end at 65504. */
static int check_range(const struct way *y, uint32_t row)
{
    for (uint32_t k = 0; k < y->w->cols; k++)
        if (magnitude(y->row[k]) > 65504)
            return err_set(y->e, ERR_DATA, "%s: tensor %s: row %u holds %g, expected at most 65504 "
                           "for %s: choose f32 or bf16", gguf_name(y->c->m->file), y->item->name,
                           row, (double)y->row[k], y->to.enc->name);
    return 0;
}

static int write_numbers(struct way *y)
{
    const bool wide = !strcmp(y->to.enc->name, "f32") || !strcmp(y->to.enc->name, "bf16");
    int rc = 0;
    for (uint32_t r = 0; r < y->w->rows && !rc; r++) {
        wsrc_read_f32(y->w, r, y->row);
        rc = wide ? 0 : check_range(y, r);
        if (!rc)
            rc = enc_floats(&y->to, y->row, y->w->cols, y->e);
        row_done(y, r);
    }
    return rc;
}

static int copy(struct convert *c, const struct convert_item *item, struct err *e)
{
    enum { PIECE = 1 << 20 };
    int rc = 0;
    for (uint64_t at = 0, n; at < item->size && !rc; at += n) {
        n = item->size - at < PIECE ? item->size - at : PIECE;
        rc = gguf_file_write(&c->file, item->t->data + at, (size_t)n, e);
        gguf_drop(c->m->file, item->t, at, n);
    }
    c->done += (uint64_t)item->w->rows * item->w->cols;
    bar_draw(&c->bar, c->done, c->all, NULL);
    return rc;
}

int convert_tensor(struct convert *c, const struct convert_item *item, struct err *e)
{
    if (!item->enc)
        return copy(c, item, e);
    struct way y = { .c = c, .item = item, .w = item->w, .e = e };
    const size_t cols = ((size_t)item->w->cols + 3) / 4 * 4;
    int rc = enc_open(&y.to, item->enc, item->w->rows, item->w->cols, c->out_preset,
                      (struct enc_sink){ to_file, &c->file }, e);
    y.row = malloc(cols * sizeof *y.row);
    y.code = malloc(cols);
    if (!rc && (!y.row || !y.code))
        rc = err_set(e, ERR_NOMEM, "convert: no memory for a row of %s", item->name);
    if (!rc)
        rc = item->enc->ternary ? write_ternary(&y) : write_numbers(&y);
    if (!rc)
        rc = enc_finish(&y.to, e);
    enc_close(&y.to);
    free(y.row);
    free(y.code);
    gguf_drop(c->m->file, item->t, 0, item->t->size);
    return rc;
}
