/* test_ternary.c - ternary tensors of other programs decode to the weights that
 * went in, and what those programs never write is refused.
 *
 * The bytes are made by ternary_make.c, whose checksums for known weights are
 * those of the original programs. I2_S, TQ1_0 and TQ2_0 are in test_wsrc.c. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/wsrc.h"
#include "gguf_make.h"
#include "ternary_make.h"

/* A file of one tensor "t.weight", and "t.scale" if extra is not 0. */
struct one {
    struct gguf_make made;
    struct buf bytes;
    struct gguf *g;
    struct wsrc w;
    struct err e;
};

static int one_open(struct one *o, uint32_t type, const struct wsrc_opts *opts, uint32_t rows,
                    uint32_t cols, const struct buf *data, float extra)
{
    *o = (struct one){ .g = NULL };
    gguf_make_tensor(&o->made, "t.weight", type, rows, cols, data->p, data->n);
    if (extra != 0)
        gguf_make_tensor(&o->made, "t.scale", 0, 0, 1, &extra, sizeof extra);
    gguf_make_done(&o->made, &o->bytes);
    ck_assert_msg(!gguf_open_mem(&o->g, o->bytes.p, o->bytes.n, "one", &o->e), "%s", o->e.text);
    return wsrc_open(&o->w, o->g, gguf_tensor(o->g, "t.weight"), opts, &o->e);
}

static void one_close(struct one *o)
{
    gguf_close(o->g);
    gguf_make_free(&o->made);
    buf_free(&o->bytes);
}

static unsigned code_at(const uint8_t *row, uint64_t k)
{
    return row[k / 4] >> 2 * (k % 4) & 3u;
}

static void demand(const struct one *o, const int8_t *w, const char *what)
{
    const uint32_t cols = o->w.cols;
    uint8_t *row = malloc(cols / 4 + 16);
    for (uint32_t m = 0; m < o->w.rows; m++) {
        memset(row, 0xee, cols / 4 + 16);
        ck_assert_int_eq(wsrc_read_rows(&o->w, m, 1, row, 0), 0);
        for (uint32_t k = 0; k < cols; k++)
            if ((int)code_at(row, k) - 1 != w[(uint64_t)m * cols + k])
                ck_abort_msg("%s, %u x %u: row %u, column %u", what, o->w.rows, cols, m, k);
        for (uint32_t k = 0; k < 16; k++)
            if (row[cols / 4 + k] != 0xee)
                ck_abort_msg("%s: row %u was written beyond its end", what, m);
    }
    free(row);
}

static enum ternary_make kind_of(uint32_t id)
{
    return id == 38 ? MAKE_TL1 : id == 39 || id == 42 ? MAKE_TL2 : id == 134 ? MAKE_IQ1_BN
           : id == 135 ? MAKE_IQ2_BN : MAKE_IQ2_BN_R4;
}

/* model.tl_preset for one shape. */
static const char *preset_of(char out[64], uint32_t rows, uint32_t cols,
                             const struct ternary_tiles *t)
{
    snprintf(out, 64, "%ux%u:%u/%u/%u", rows, cols, t->rows, t->cols, t->step);
    return out;
}

START_TEST(streams_of_the_original_programs_are_the_weights)
{
    const struct ternary_vector *v = &ternary_vector[_i];
    int8_t *w = malloc((size_t)v->rows * v->cols);
    const float scale[4] = { 0.5f, 0.5f, 0.5f, 0.5f };
    float got = 0;
    char tmp[64];
    struct buf b = { 0 };
    struct one o;
    for (uint32_t m = 0; m < v->rows; m++)
        for (uint32_t k = 0; k < v->cols; k++)
            w[(size_t)m * v->cols + k] = ternary_weight(v->row + m, k);
    if (v->id <= 36)
        gguf_make_ternary(v->id, (enum i2s_layout)v->layout, v->rows, v->cols, w, 0.5f, &b);
    else
        ternary_make(kind_of(v->id), v->rows, v->cols, &v->tiles, w, scale, &b);
    ck_assert_uint_ge(b.n, v->bytes);
    ck_assert_msg(!memcmp(b.p, v->first, 16), "%s: the first bytes differ", v->name);
    ck_assert_msg(make_crc32(b.p, v->bytes) == v->crc32, "%s: the checksum differs", v->name);
    const struct wsrc_opts opts = { .i2s_layout = (enum i2s_layout)v->layout,
                                    .tl_preset = ternary_preset(v, tmp) };
    ck_assert_msg(!one_open(&o, v->id, &opts, v->rows, v->cols, &b, 0), "%s", o.e.text);
    demand(&o, w, v->name);
    ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_TENSOR);
    ck_assert(!wsrc_read_scales(&o.w, 0, 1, &got) && got == 0.5f);
    one_close(&o);
    buf_free(&b);
    free(w);
}
END_TEST

static int8_t *random_weights(uint32_t rows, uint32_t cols)
{
    uint64_t state = rows * UINT64_C(1000003) + cols;
    int8_t *w = malloc((size_t)rows * cols);
    for (size_t i = 0; i < (size_t)rows * cols; i++)
        w[i] = (int8_t)(make_random(&state) % 3) - 1;
    return w;
}

static float *same_scales(uint32_t rows, float v)
{
    float *s = malloc(rows * sizeof *s);
    for (uint32_t i = 0; i < rows; i++)
        s[i] = v;
    return s;
}

/* Random weights in, the same out; extra: of files whose rows have no scale. */
static void check_random(uint32_t id, enum ternary_make kind, uint32_t rows, uint32_t cols,
                         const struct ternary_tiles *t, const char *preset, float extra)
{
    int8_t *w = random_weights(rows, cols);
    float *scale = same_scales(rows, 0.75f), got = 0;
    struct buf b = { 0 };
    struct one o;
    const struct wsrc_opts opts = { .tl_preset = preset };
    ternary_make(kind, rows, cols, t, w, scale, &b);
    ck_assert_msg(!one_open(&o, id, &opts, rows, cols, &b, extra), "%s", o.e.text);
    ck_assert(o.w.format == BNP_FMT_T2 && !o.w.flags && o.w.scale_kind == BNP_SCALE_TENSOR);
    ck_assert(!wsrc_read_scales(&o.w, 0, 1, &got) && got == (extra != 0 ? extra : 0.75f));
    demand(&o, w, wtype_name(id));
    one_close(&o);
    buf_free(&b);
    free(scale);
    free(w);
}

START_TEST(random_weights_survive_rows_of_ik)
{
    for (uint32_t cols = 64; cols <= 1344; cols += 320) {
        check_random(134, MAKE_IQ1_BN, 12, cols, NULL, NULL, 0);
        check_random(135, MAKE_IQ2_BN, 12, cols, NULL, NULL, 0);
        check_random(335, MAKE_IQ2_BN_R4, 12, cols, NULL, NULL, 0);
        check_random(134, MAKE_BARE_IQ1_BN, 20, cols, NULL, NULL, 0.25f);
        check_random(135, MAKE_BARE_IQ2_BN, 12, cols, NULL, NULL, 0.25f);
        check_random(31, MAKE_BARE_IQ1_BN, 12, cols, NULL, NULL, 0.25f);
        check_random(32, MAKE_BARE_IQ2_BN, 12, cols, NULL, NULL, 0.25f);
        check_random(34, MAKE_BARE_IQ1_BN, 12, 64 + 320, NULL, NULL, 0.25f);
        check_random(35, MAKE_BARE_IQ2_BN, 12, 64 + 320, NULL, NULL, 0.25f);
    }
    check_random(34, MAKE_BARE_IQ1_BN, 64, 512, NULL, NULL, 0.25f);  /* TQ1_0 holds this shape too */
    check_random(35, MAKE_BARE_IQ2_BN, 64, 512, NULL, NULL, 0.25f);
}
END_TEST

/* The smaller of the published shapes, without a word about tiles; number 42 is
 * what newer programs give TL2. */
START_TEST(published_shapes_need_no_preset)
{
    static const struct { uint32_t id, rows, cols; struct ternary_tiles t; const char *preset; } c[] = {
        { 38, 1536, 1536, { 128, 64, 64 }, NULL }, { 38, 1024, 4096, { 256, 128, 32 }, NULL },
        { 38, 1024, 4096, { 128, 64, 64 }, "ini" }, { 38, 1536, 1536, { 128, 64, 64 }, "ini" },
        { 38, 1024, 4096, { 256, 128, 32 }, "setup_env" },
        { 38, 4096, 1536, { 256, 128, 32 }, "auto" },
        { 39, 1536, 1536, { 128, 192, 32 }, NULL }, { 42, 1024, 4096, { 256, 96, 32 }, NULL },
        { 39, 4096, 1536, { 256, 96, 32 }, "setup_env" },
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        check_random(c[i].id, c[i].id == 38 ? MAKE_TL1 : MAKE_TL2, c[i].rows, c[i].cols, &c[i].t,
                     c[i].preset, 0);
}
END_TEST

START_TEST(tiles_may_be_given)
{
    static const struct { uint32_t id, rows, cols; struct ternary_tiles t; } c[] = {
        { 38, 64, 128, { 64, 64, 32 } }, { 38, 192, 256, { 64, 128, 64 } },
        { 38, 320, 192, { 160, 64, 32 } }, { 39, 64, 256, { 32, 96, 32 } },
        { 39, 96, 320, { 96, 48, 32 } }, { 42, 160, 416, { 160, 192, 32 } },
        { 39, 32, 288, { 32, 96, 32 } }, { 39, 64, 480, { 64, 24, 32 } },
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        char one[64], list[160];
        snprintf(list, sizeof list, "1x1:1/1/1,%s,7x7:7/7/7",
                 preset_of(one, c[i].rows, c[i].cols, &c[i].t));
        check_random(c[i].id, c[i].id == 38 ? MAKE_TL1 : MAKE_TL2, c[i].rows, c[i].cols, &c[i].t,
                     list, 0);
    }
}
END_TEST

START_TEST(only_shapes_with_two_presets_are_guessed)
{
    static const struct { uint32_t rows, cols; struct ternary_tiles t; const char *preset;
                          bool guessed; } c[] = {
        { 1024, 4096, { 256, 128, 32 }, NULL, true },
        { 1024, 4096, { 256, 128, 32 }, "setup_env", false },
        { 1024, 4096, { 256, 128, 32 }, "ini", false },
        { 1536, 1536, { 128, 64, 64 }, NULL, false },
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        int8_t *w = random_weights(c[i].rows, c[i].cols);
        const float scale = 1;
        const struct wsrc_opts opts = { .tl_preset = c[i].preset };
        struct buf b = { 0 };
        struct one o;
        ternary_make(MAKE_TL1, c[i].rows, c[i].cols, &c[i].t, w, &scale, &b);
        ck_assert_msg(!one_open(&o, 38, &opts, c[i].rows, c[i].cols, &b, 0), "%s", o.e.text);
        ck_assert(o.w.guessed == c[i].guessed);
        one_close(&o);
        buf_free(&b);
        free(w);
    }
}
END_TEST

/* ------------------------------------------------------------- row scales */

START_TEST(equal_row_scales_become_one)
{
    static const struct { float d[4]; unsigned zero; float one; } with[] = {
        { { 0.5f, 0.5f, 0.5f, 0.5f }, 0, 0.5f },
        { { 0.5f, 0, 0.5f, 7 }, 1 << 1 | 1 << 3, 0.5f },
        { { 9, 0.25f, 0, 0.25f }, 1 << 0 | 1 << 2, 0.25f },
        { { 0, 0, 0, 0 }, 15, 0 },
        { { 0.5f, 0.5f, 0.75f, 0.5f }, 0, -1 },         /* -1: row scales stay */
        { { 0.5f, 0.5f, 0, 0.5f }, 0, -1 },
    };
    static const uint32_t id[] = { 134, 135, 335 };
    for (size_t n = 0; n < 3 * sizeof with / sizeof *with; n++) {
        const uint32_t type = id[n % 3];
        const size_t i = n / 3;
        int8_t *w = random_weights(4, 192);
        struct buf b = { 0 };
        struct one o;
        float scale[4], f[192];
        for (unsigned m = 0; m < 4; m++)
            if (with[i].zero >> m & 1)
                memset(w + 192 * m, 0, 192);
        ternary_make(kind_of(type), 4, 192, NULL, w, with[i].d, &b);
        ck_assert_msg(!one_open(&o, type, NULL, 4, 192, &b, i == 0 ? 2 : 0), "%s", o.e.text);
        demand(&o, w, wtype_name(type));
        const float extra = i == 0 ? 2 : 1;
        if (with[i].one >= 0) {
            ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_TENSOR);
            ck_assert(!wsrc_read_scales(&o.w, 0, 1, scale) && scale[0] == extra * with[i].one);
        } else {
            ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_ROW);
            ck_assert_int_eq(wsrc_read_scales(&o.w, 0, 4, scale), 0);
            ck_assert_mem_eq(scale, with[i].d, sizeof scale);
            ck_assert_int_eq(wsrc_read_scales(&o.w, 1, 4, scale), ERR_ARG);
            for (uint32_t m = 0; m < 4; m++) {
                ck_assert_int_eq(wsrc_read_f32(&o.w, m, f), 0);
                for (unsigned k = 0; k < 192; k++)
                    ck_assert(f[k] == (float)w[192 * m + k] * with[i].d[m]);
            }
        }
        one_close(&o);
        buf_free(&b);
        free(w);
    }
}
END_TEST

/* -------------------------------------------------------------- BitNet.rs */

START_TEST(encodings_of_bitnet_rs_are_read_when_asked_for)
{
    enum { ROWS = 6, COLS = 320, N = ROWS * COLS };
    static const int8_t step[4] = { -2, -1, 1, 2 };
    uint64_t state = 3;
    int8_t w[N];
    float scale[N / 32], f[COLS], row[1];
    struct buf b = { 0 };
    struct one o;
    struct wsrc_opts opts = { .i2s_layout = I2S_RS_INLINE32 };
    for (unsigned i = 0; i < N; i++)
        w[i] = (int8_t)((int)(make_random(&state) % 4) - 2);
    for (unsigned i = 0; i < N / 32; i++)
        scale[i] = 0.125f * (float)(i + 1);
    ternary_make(MAKE_RS_INLINE32, ROWS, COLS, NULL, w, scale, &b);
    ck_assert_msg(!one_open(&o, 36, &opts, ROWS, COLS, &b, 0), "%s", o.e.text);
    ck_assert(o.w.format == BNP_FMT_T2 && o.w.flags == BNP_W_PLUS2 && o.w.block_cols == 32);
    for (uint32_t m = 0; m < ROWS; m++) {
        ck_assert_int_eq(wsrc_read_f32(&o.w, m, f), 0);
        for (unsigned k = 0; k < COLS; k++)
            ck_assert(f[k] == (float)w[COLS * m + k] * scale[(COLS * m + k) / 32]);
    }
    one_close(&o);
    ck_assert_int_eq(one_open(&o, 36, NULL, ROWS, COLS, &b, 0), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(o.e.text, "rs-inline32 (BitNet.rs) fits"));
    one_close(&o);

    buf_clear(&b);
    opts.i2s_layout = I2S_RS_QK256;
    for (unsigned i = 0; i < N; i++)
        w[i] = step[make_random(&state) % 4];
    ternary_make(MAKE_RS_QK256, ROWS, COLS, NULL, w, NULL, &b);
    ck_assert_msg(!one_open(&o, 36, &opts, ROWS, COLS, &b, 3), "%s", o.e.text);
    ck_assert(o.w.format == BNP_FMT_I8 && o.w.scale_kind == BNP_SCALE_TENSOR);
    ck_assert(!wsrc_read_scales(&o.w, 0, 1, row) && row[0] == 3);
    for (uint32_t m = 0; m < ROWS; m++) {
        ck_assert_int_eq(wsrc_read_f32(&o.w, m, f), 0);
        for (unsigned k = 0; k < COLS; k++)
            ck_assert(f[k] == (float)w[COLS * m + k] * 3);
    }
    one_close(&o);
    ck_assert_int_eq(one_open(&o, 36, NULL, ROWS, COLS, &b, 0), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(o.e.text, "rs-qk256 (BitNet.rs) fits"));
    one_close(&o);
    opts.i2s_layout = I2S_RS_INLINE32;
    ck_assert_int_eq(one_open(&o, 36, &opts, ROWS, COLS, &b, 0), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(o.e.text, "not the size of rs-inline32"));
    one_close(&o);
    buf_free(&b);
}
END_TEST

/* --------------------------------------------------------------- refusals */

static void refuse(uint32_t id, const char *preset, uint32_t rows, uint32_t cols,
                   const struct buf *b, int code, const char *says)
{
    struct one o;
    const struct wsrc_opts opts = { .tl_preset = preset };
    ck_assert_int_eq(one_open(&o, id, &opts, rows, cols, b, 0), code);
    ck_assert_msg(strstr(o.e.text, says) != NULL, "%s, expected: %s", o.e.text, says);
    ck_assert_ptr_null(strchr(o.e.text, '\n'));
    one_close(&o);
}

/* Good bytes, of which one is changed; put back when the test is over. */
static void spoil(uint32_t id, struct buf *b, size_t at, uint8_t byte, uint32_t rows,
                  uint32_t cols, const char *preset, const char *says)
{
    const char was = b->p[at];
    b->p[at] = (char)byte;
    refuse(id, preset, rows, cols, b, ERR_DATA, says);
    b->p[at] = was;
}

START_TEST(what_ik_never_writes_is_refused)
{
    static const uint8_t never[] = { 1, 20, 40, 60, 79, 99, 119, 138, 158, 178, 197, 217, 237 };
    const float d[4] = { 1, 1, 1, 1 }, nan_row[4] = { 1, NAN, 1, 1 };
    int8_t *w = random_weights(4, 128);
    struct buf b = { 0 };
    ternary_make(MAKE_IQ1_BN, 4, 128, NULL, w, d, &b);
    for (size_t i = 0; i < sizeof never; i++) {
        spoil(134, &b, 28 + 2 + 13 + 3, never[i], 4, 128, NULL, "1 bytes are none that IQ1_BN");
        spoil(134, &b, 2 + 12, never[i], 4, 128, NULL, "1 bytes are none that IQ1_BN");
    }
    spoil(134, &b, 2 + 12, 86, 4, 128, NULL, "1 bytes are none");    /* a fifth digit */
    spoil(134, &b, 28 + 1, 0x7c, 4, 128, NULL, "scale of row 1 is NaN or infinite");
    buf_clear(&b);
    ternary_make(MAKE_IQ2_BN, 4, 128, NULL, w, d, &b);
    spoil(135, &b, 36 + 4 + 7, 0xff, 4, 128, NULL, "4 codes are 3, which IQ2_BN never holds");
    buf_clear(&b);
    ternary_make(MAKE_IQ2_BN, 4, 128, NULL, w, nan_row, &b);
    refuse(135, NULL, 4, 128, &b, ERR_DATA, "scale of row 1 is NaN");
    buf_clear(&b);
    ternary_make(MAKE_IQ2_BN_R4, 4, 128, NULL, w, d, &b);
    spoil(335, &b, 16 + 100, 0x3f, 4, 128, NULL, "codes are 3, which IQ2_BN_R4 never holds");
    buf_clear(&b);
    ternary_make(MAKE_BARE_IQ2_BN, 4, 128, NULL, w, NULL, &b);
    refuse(32, NULL, 4, 128, &b, ERR_DATA, "t.scale: missing, expected the scale of t.weight");
    buf_free(&b);
    free(w);
}
END_TEST

START_TEST(what_table_kernels_never_write_is_refused)
{
    static const struct ternary_tiles one = { 64, 64, 32 }, two = { 32, 96, 32 };
    const char *tl1 = "64x128:64/64/32", *tl2 = "32x256:32/96/32";
    const float scale = 1, zero = 0, nan_scale = NAN;
    int8_t w[64 * 256] = { 0 };
    struct buf b = { 0 };
    ternary_make(MAKE_TL1, 64, 128, &one, w, &scale, &b);
    spoil(38, &b, 100, 0x49, 64, 128, tl1, "1 indexes are over 8, which TL1 never holds");
    spoil(38, &b, 100, 0xff, 64, 128, tl1, "2 indexes are over 8");
    buf_clear(&b);
    ternary_make(MAKE_TL1, 64, 128, &one, w, &zero, &b);
    refuse(38, tl1, 64, 128, &b, ERR_DATA, "TL1 scale is 0");
    buf_clear(&b);
    ternary_make(MAKE_TL2, 32, 256, &two, w, &scale, &b);    /* 192 as triples, 64 as pairs */
    spoil(39, &b, 3, 0x0e, 32, 256, tl2, "1 indexes are over 13, which TL2 never holds");
    spoil(39, &b, 32 * 192 / 6 + 9, 0x10, 32, 256, tl2, "zeros with a sign in 1 places");
    spoil(39, &b, 32 * 192 / 6 + 32 * 192 / 24 + 9, 0x94, 32, 256, tl2, "1 indexes are over 8");
    buf_clear(&b);
    ternary_make(MAKE_TL2, 32, 256, &two, w, &nan_scale, &b);
    refuse(39, tl2, 32, 256, &b, ERR_DATA, "TL2 scale is nan");
    buf_free(&b);
}
END_TEST

START_TEST(tiles_that_cannot_be_are_refused)
{
    static const struct ternary_tiles one = { 64, 64, 32 }, two = { 32, 96, 32 };
    static const char *const bad[] = { "", ",", "64x128", "64x128:64/64", "64x128:64/64/32/1", "x",
        "64x128:64/64/32 ", "0x128:64/64/32", "64x128:-1/64/32", "99999999999x1:1/1/1", "Ini" };
    static const char *const cannot[] = { "64x128:48/64/32", "64x128:64/64/16", "64x128:64/65/32",
                                          "64x128:64/60/64", "64x128:96/64/32" };
    const float scale = 1;
    int8_t w[64 * 256] = { 0 };
    struct buf b = { 0 };
    ternary_make(MAKE_TL1, 64, 128, &one, w, &scale, &b);
    refuse(38, NULL, 64, 128, &b, ERR_UNSUPPORTED, "64x128 in TL1: its tiles are not known, expected "
           "one of 1536x4096, ");
    refuse(38, "7x7:7/7/7", 64, 128, &b, ERR_UNSUPPORTED, "or model.tl_preset = 64x128:BM/BY/bm");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse(38, bad[i], 64, 128, &b, ERR_ARG, "model.tl_preset: \"");
    for (size_t i = 0; i < sizeof cannot / sizeof *cannot; i++)
        refuse(38, cannot[i], 64, 128, &b, ERR_ARG, "BM divides the rows");
    buf_clear(&b);
    ternary_make(MAKE_TL2, 32, 256, &two, w, &scale, &b);
    refuse(39, "32x256:32/100/32", 32, 256, &b, ERR_ARG, "BY a multiple of 24");
    refuse(39, "32x256:16/96/32", 32, 256, &b, ERR_ARG, "BM is a multiple of 32");
    refuse(39, "32x256:32/96/64", 32, 256, &b, ERR_ARG, "BM/BY/32");
    buf_free(&b);
}
END_TEST

/* Bytes that are no reading's of a number: every reading is named. */
START_TEST(a_size_that_fits_nothing_names_all_readings)
{
    static const struct { uint32_t id; const char *says; } c[] = {
        { 31, "IQ1_BN (ik_llama.cpp in June 2024) takes 832, Q4_0_4_4 (llama.cpp in 2024) takes 2304" },
        { 34, "TQ1_0 takes 864, IQ1_BN (ik_llama.cpp in August 2024) takes 832" },
        { 35, "TQ2_0 takes 1056, IQ2_BN (ik_llama.cpp in August 2024) takes 1024" },
        { 36, "I2_S takes 1056, IQ4_NL_4_4 (llama.cpp in 2024) takes 2304" },
        { 38, "TL1 takes 1056, IQ4_NL_8_8 (llama.cpp in 2024) takes 2304" },
        { 39, "TL2 (bitnet.cpp before July 2026) does not hold this shape, MXFP4 takes 2176" },
        { 134, "IQ1_BN takes 864, IQ1_BN (without scales, before October 2024) takes 832" },
        { 135, "IQ2_BN takes 1088, IQ2_BN (without scales, before October 2024) takes 1024" },
    };
    struct buf b = { 0 };
    for (unsigned i = 0; i < 500; i++)
        buf_add(&b, "", 1);
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        refuse(c[i].id, NULL, 16, 256, &b, ERR_UNSUPPORTED, c[i].says);
        refuse(c[i].id, NULL, 16, 256, &b, ERR_UNSUPPORTED, "or the file is truncated");
    }
    buf_free(&b);
}
END_TEST

START_TEST(what_is_only_recognised_is_refused_by_name)
{
    static const struct { uint32_t id; size_t size; const char *says; } c[] = {
        { 39, 2176, "its type is 39 (MXFP4), expected one of F32" },
        { 36, 2304, "its type is 36 (IQ4_NL_4_4), expected one of F32" },
        { 32, 2304, "its type is 32 (Q4_0_4_8), expected one of F32" },
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct buf b = { 0 };
        while (b.n < c[i].size)
            buf_add(&b, "", 1);
        refuse(c[i].id, NULL, 16, 256, &b, ERR_UNSUPPORTED, c[i].says);
        buf_free(&b);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ternary");
    TCase *t = tcase_create("ternary");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, streams_of_the_original_programs_are_the_weights, 0,
                        (int)n_ternary_vector);
    tcase_add_test(t, random_weights_survive_rows_of_ik);
    tcase_add_test(t, published_shapes_need_no_preset);
    tcase_add_test(t, tiles_may_be_given);
    tcase_add_test(t, only_shapes_with_two_presets_are_guessed);
    tcase_add_test(t, equal_row_scales_become_one);
    tcase_add_test(t, encodings_of_bitnet_rs_are_read_when_asked_for);
    tcase_add_test(t, what_ik_never_writes_is_refused);
    tcase_add_test(t, what_table_kernels_never_write_is_refused);
    tcase_add_test(t, tiles_that_cannot_be_are_refused);
    tcase_add_test(t, a_size_that_fits_nothing_names_all_readings);
    tcase_add_test(t, what_is_only_recognised_is_refused_by_name);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
