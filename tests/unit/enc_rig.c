/* enc_rig.c - one matrix through an encoder and through the reader. */
#include "enc_rig.h"

#include <check.h>
#include <string.h>

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
    (void)e;
    buf_add(ctx, p, n);
    return 0;
}

static void begin(struct enc_tensor *t, const struct enc *c, const char *preset, uint32_t rows,
                  uint32_t cols, float scale, struct buf *out)
{
    struct err e = { 0 };
    ck_assert_ptr_nonnull(c);
    ck_assert_msg(!enc_open(t, c, rows, cols, preset, (struct enc_sink){ to_buf, out }, &e), "%s: %s",
                  c->name, e.text);
    t->scale = scale;
}

/* rc: of handing the elements over. */
static void end(struct enc_tensor *t, int rc, size_t before, const struct buf *out)
{
    struct err e = { 0 };
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(enc_finish(t, &e), 0);
    ck_assert(!out->failed);
    ck_assert_uint_eq(out->n - before, t->size);
    enc_close(t);
}

void enc_rig_codes(const char *enc, const char *preset, uint32_t rows, uint32_t cols,
                   const int8_t *w, float scale, struct buf *out)
{
    struct enc_tensor t;
    struct err e = { 0 };
    const size_t before = out->n;
    begin(&t, enc_find(enc), preset, rows, cols, scale, out);
    end(&t, enc_codes(&t, w, (size_t)rows * cols, &e), before, out);
}

void enc_rig_floats(const struct enc *c, uint32_t rows, uint32_t cols, const float *x,
                    struct buf *out)
{
    struct enc_tensor t;
    struct err e = { 0 };
    const size_t before = out->n;
    begin(&t, c, NULL, rows, cols, 0, out);
    end(&t, enc_floats(&t, x, (size_t)rows * cols, &e), before, out);
}

void enc_rig_open(struct enc_rig *o, const struct enc *c, const char *preset, uint32_t rows,
                  uint32_t cols, const struct buf *bytes)
{
    struct err e = { 0 };
    const struct wsrc_opts opts = {
        .i2s_layout = !strcmp(c->name, "i2_s-b")   ? I2S_B
                      : !strcmp(c->name, "i2_s-c") ? I2S_C
                                                   : I2S_A,
        .tl_preset = preset
    };
    *o = (struct enc_rig){ 0 };
    gguf_make_tensor(&o->made, "t.weight", c->id, rows, cols, bytes->p, bytes->n);
    gguf_make_done(&o->made, &o->bytes);
    ck_assert_msg(!gguf_open_mem(&o->g, o->bytes.p, o->bytes.n, c->name, &e), "%s", e.text);
    ck_assert_msg(!wsrc_open(&o->w, o->g, gguf_tensor(o->g, "t.weight"), &opts, &e), "%s", e.text);
}

void enc_rig_close(struct enc_rig *o)
{
    gguf_close(o->g);
    buf_free(&o->bytes);
    gguf_make_free(&o->made);
}
