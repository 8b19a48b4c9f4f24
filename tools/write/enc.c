/* enc.c - a run of weights cut into what an encoding takes at once: a block, or
 * a row. */
#include "tools/write/enc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct enc *find_in(const struct enc *e, const char *name)
{
    for (; e->name; e++)
        if (!strcmp(name, e->name))
            return e;
    return NULL;
}

const struct enc *enc_find(const char *name)
{
    static const struct enc *const tables[] = { enc_ternary, enc_tl, enc_dense };
    const struct enc *e = NULL;
    for (unsigned i = 0; !e && i < sizeof tables / sizeof *tables; i++)
        e = find_in(tables[i], name);
    return e;
}

static size_t tail_size(const struct enc *c)
{
    uint8_t tail[ENC_MAX_TAIL];
    return c->tail ? c->tail(1, tail) : 0;
}

bool enc_size(const struct enc *c, uint32_t rows, uint32_t cols, uint64_t *size)
{
    const uint64_t n = (uint64_t)rows * cols;
    if (!n)
        return false;
    if (c->whole) {
        if (!c->whole(rows, cols, size))
            return false;
    } else {
        if ((c->flat ? n : cols) % c->block)
            return false;
        *size = n / c->block * c->block_size;
    }
    *size += tail_size(c);
    return true;
}

static int find_tiles(const struct enc *c, uint32_t rows, uint32_t cols, const char *tl_preset,
                      struct wsrc_tiles *t, struct err *e)
{
    bool guessed;                 /* auto takes what the programs write today  */
    return c->tiled ? tl_tiles_find(t, &guessed, c->kind, rows, cols, tl_preset, e) : 0;
}

int enc_check(const struct enc *c, uint32_t rows, uint32_t cols, const char *tl_preset,
              uint64_t *size, struct err *e)
{
    struct wsrc_tiles tiles;
    if (!enc_size(c, rows, cols, size))
        return err_set(e, ERR_ARG, "%u x %u elements do not fill the blocks of %s, expected whole "
                       "ones", rows, cols, c->name);
    return find_tiles(c, rows, cols, tl_preset, &tiles, e);
}

int enc_open(struct enc_tensor *t, const struct enc *c, uint32_t rows, uint32_t cols,
             const char *tl_preset, struct enc_sink sink, struct err *e)
{
    *t = (struct enc_tensor){ .enc = c, .rows = rows, .cols = cols, .scale = 1, .sink = sink };
    int rc = enc_check(c, rows, cols, tl_preset, &t->size, e);
    if (!rc)
        rc = find_tiles(c, rows, cols, tl_preset, &t->tiles, e);
    if (rc)
        return rc;
    t->unit = c->whole ? cols : c->block;
    t->n_out = c->whole ? (size_t)t->size - tail_size(c) : 0;
    t->part = malloc(t->unit * sizeof(float));
    t->out = c->whole ? calloc(1, t->n_out) : malloc(ENC_PIECE);
    if (!t->part || !t->out) {
        enc_close(t);
        return err_set(e, ERR_NOMEM, "no memory for a tensor in %s", c->name);
    }
    return 0;
}

static int flush(struct enc_tensor *t, struct err *e)
{
    const size_t n = t->n_out;
    t->n_out = 0;
    return n ? t->sink.write(t->sink.ctx, t->out, n, e) : 0;
}

/* Room for a block's bytes, or NULL and *rc. */
static uint8_t *room(struct enc_tensor *t, int *rc, struct err *e)
{
    if (t->n_out + t->enc->block_size > ENC_PIECE && (*rc = flush(t, e)) != 0)
        return NULL;
    t->n_out += t->enc->block_size;
    return t->out + t->n_out - t->enc->block_size;
}

static int code_unit(struct enc_tensor *t, const void *unit, struct err *e)
{
    const struct enc *c = t->enc;
    const int8_t *w = unit;
    int rc = 0;
    if (c->row) {
        c->row(t, t->n_row++, w, t->out);
        return 0;
    }
    uint8_t *out = room(t, &rc, e);
    if (out && c->codes)
        c->codes(w, t->scale, out);
    else if (out) {
        float x[ENC_MAX_BLOCK];
        for (unsigned i = 0; i < c->block; i++)
            x[i] = (float)w[i] * t->scale;
        c->floats(x, out);
    }
    return rc;
}

static int float_unit(struct enc_tensor *t, const void *unit, struct err *e)
{
    int rc = 0;
    uint8_t *out = room(t, &rc, e);
    if (out)
        t->enc->floats(unit, out);
    return rc;
}

/* n elements of `width` bytes. */
static int put(struct enc_tensor *t, const void *p, size_t n, size_t width,
               int (*unit)(struct enc_tensor *, const void *, struct err *), struct err *e)
{
    const uint8_t *from = p;
    int rc = 0;
    while (n && !rc) {
        size_t take = t->unit - t->n_part;
        if (n < take || t->n_part) {
            take = n < take ? n : take;
            memcpy((uint8_t *)t->part + t->n_part * width, from, take * width);
            t->n_part += (uint32_t)take;
            if (t->n_part == t->unit) {
                rc = unit(t, t->part, e);
                t->n_part = 0;
            }
        } else {
            rc = unit(t, from, e);
        }
        from += take * width;
        n -= take;
    }
    return rc;
}

int enc_codes(struct enc_tensor *t, const int8_t *w, size_t n, struct err *e)
{
    return put(t, w, n, sizeof *w, code_unit, e);
}

int enc_floats(struct enc_tensor *t, const float *x, size_t n, struct err *e)
{
    assert(!t->enc->ternary);
    return put(t, x, n, sizeof *x, float_unit, e);
}

int enc_finish(struct enc_tensor *t, struct err *e)
{
    uint8_t tail[ENC_MAX_TAIL];
    assert(!t->n_part);
    int rc = flush(t, e);
    if (!rc && t->enc->tail)
        rc = t->sink.write(t->sink.ctx, tail, t->enc->tail(t->scale, tail), e);
    return rc;
}

void enc_close(struct enc_tensor *t)
{
    free(t->part);
    free(t->out);
    t->part = NULL;
    t->out = NULL;
}
