/* test_wsrc.c - every encoding decodes to the values its definition gives.
 *
 * The encoders of gguf_make.c and the plain decoders here are written from the
 * formats' descriptions; test_ternary.c ties the encoders to the programs that
 * write such files. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/wsrc.h"
#include "core/model/wtype.h"
#include "gguf_make.h"

static int8_t *pattern(uint64_t rows, uint64_t cols)
{
    int8_t *w = malloc(rows * cols);
    for (uint64_t m = 0; m < rows; m++)
        for (uint64_t k = 0; k < cols; k++)
            w[m * cols + k] = (int8_t)((31 * m + 17 * k + m * k / 3) % 3) - 1;
    return w;
}

/* A file of one tensor "t.weight", open. */
struct one {
    struct gguf_make made;
    struct buf bytes;
    struct gguf *g;
    struct wsrc w;
};

static int one_open(struct one *o, uint32_t type, enum i2s_layout layout, uint64_t rows,
                    uint64_t cols, const struct buf *data, const float *extra, struct err *e)
{
    *o = (struct one){ .g = NULL };
    gguf_make_tensor(&o->made, "t.weight", type, rows, cols, data->p, data->n);
    if (extra)
        gguf_make_tensor(&o->made, "t.scale", 0, 0, 1, extra, sizeof *extra);
    gguf_make_done(&o->made, &o->bytes);
    ck_assert_msg(!gguf_open_mem(&o->g, o->bytes.p, o->bytes.n, "one", e), "%s", e->text);
    const struct wsrc_opts opts = { .i2s_layout = layout };
    return wsrc_open(&o->w, o->g, gguf_tensor(o->g, "t.weight"), &opts, e);
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

/* Opens rows x cols random trits in an encoding, demands the same trits back,
 * tail codes included, and one scale of 0.5. */
static void check_ternary(uint32_t type, enum i2s_layout layout, uint32_t rows, uint32_t cols)
{
    uint64_t state = rows * 1000003u + cols;
    size_t size = (cols + 3) / 4, stride = size + 5;
    int8_t *w = malloc((size_t)rows * cols);
    uint8_t *got = malloc(rows * stride);
    float *f = malloc(cols * sizeof *f), scale = 0;
    struct buf b = { 0 };
    struct one o;
    struct err e = { 0 };
    for (size_t i = 0; i < (size_t)rows * cols; i++)
        w[i] = (int8_t)(make_random(&state) % 3) - 1;
    gguf_make_ternary(type, layout, rows, cols, w, 0.5f, &b);
    ck_assert_msg(!one_open(&o, type, layout, rows, cols, &b, NULL, &e), "%s", e.text);
    ck_assert(o.w.rows == rows && o.w.cols == cols && o.w.format == BNP_FMT_T2 && !o.w.flags);
    ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_TENSOR);
    ck_assert(!wsrc_read_scales(&o.w, 0, 1, &scale) && scale == 0.5f);
    memset(got, 0xee, rows * stride);
    ck_assert_int_eq(wsrc_read_rows(&o.w, 0, rows, got, stride), 0);
    for (uint32_t m = 0; m < rows; m++) {
        ck_assert_int_eq(wsrc_read_f32(&o.w, m, f), 0);
        for (uint64_t k = 0; k < 4 * size; k++) {
            int v = k < cols ? w[m * (size_t)cols + k] : 0;
            if ((int)code_at(got + m * stride, k) - 1 != v || (k < cols && f[k] != (float)v * 0.5f))
                ck_abort_msg("type %u layout %u %ux%u: row %u column %u", type, (unsigned)layout,
                             rows, cols, m, (unsigned)k);
        }
        for (size_t k = size; k < stride; k++)
            if (got[m * stride + k] != 0xee)
                ck_abort_msg("row %u was written beyond its end", m);
    }
    one_close(&o);
    buf_free(&b);
    free(w);
    free(got);
    free(f);
}

START_TEST(ternary_weights_survive_every_encoding)
{
    check_ternary(34, I2S_A, 3, 512);
    check_ternary(35, I2S_A, 3, 512);
    for (enum i2s_layout l = I2S_A; l <= I2S_C; l++) {
        check_ternary(36, l, 4, 256);
        check_ternary(36, l, 16, 128);
        check_ternary(36, l, 4, 1024);
    }
}
END_TEST

/* Blocks run over the flattened tensor: 8640 and 5460 are widths of published
 * models that no block divides. */
START_TEST(i2s_rows_may_share_blocks)
{
    check_ternary(36, I2S_A, 4, 8640);
    check_ternary(36, I2S_A, 32, 5460);
    check_ternary(36, I2S_A, 128, 33);
    check_ternary(36, I2S_A, 128, 1);
    check_ternary(36, I2S_B, 64, 5461);
    check_ternary(36, I2S_B, 4, 48);
    check_ternary(36, I2S_C, 4, 33);
    check_ternary(36, I2S_C, 8, 6);
}
END_TEST

/* Values of a dense encoding, element by element, from its description. */
static double value_of(uint32_t type, const uint8_t *row, unsigned e)
{
    const uint8_t *p = row + (type == 14 ? e / 256 * 210 : e / 32 * 34);
    uint16_t d;
    if (type == 8) {
        memcpy(&d, p, 2);
        return (double)f16_to_f32(d) * (int8_t)p[2 + e % 32];
    }
    unsigned i = e % 256, half = i / 128, quarter = i % 128 / 32, l = i % 32;
    unsigned low = p[64 * half + 32 * (quarter % 2) + l];
    low = quarter >= 2 ? low >> 4 : low & 15;
    unsigned high = p[128 + 32 * half + l] >> 2 * quarter & 3;
    memcpy(&d, p + 208, 2);
    return (double)f16_to_f32(d) * (int8_t)p[192 + i / 16] * ((int)(low | high << 4) - 32);
}

START_TEST(int8_blocks_are_exact)
{
    static const struct { uint32_t type, block, size, d_at, cols_per_scale; } kind[] = {
        { 8, 32, 34, 0, 32 }, { 14, 256, 210, 208, 16 }
    };
    for (int k = 0; k < 2; k++) {
        const uint32_t rows = 5, cols = 1024, n = rows * cols / kind[k].block;
        uint64_t state = 99;
        struct buf b = { 0 };
        struct one o;
        struct err e = { 0 };
        float f[1024];
        for (uint32_t i = 0; i < n * kind[k].size; i++) {
            uint8_t byte = (uint8_t)make_random(&state);
            buf_add(&b, &byte, 1);
        }
        for (uint32_t i = 0; i < n; i++)            /* any finite half */
            b.p[i * kind[k].size + kind[k].d_at + 1] &= (char)0xbb;
        ck_assert_msg(!one_open(&o, kind[k].type, I2S_A, rows, cols, &b, NULL, &e), "%s", e.text);
        ck_assert_uint_eq(o.w.format, BNP_FMT_I8);
        ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_BLOCK);
        ck_assert_uint_eq(o.w.block_cols, kind[k].cols_per_scale);
        for (uint32_t m = 0; m < rows; m++) {
            int8_t q[1024];
            float scale[64];
            uint32_t per_row = cols / kind[k].cols_per_scale;
            const uint8_t *row = (const uint8_t *)b.p + m * (cols / kind[k].block) * kind[k].size;
            ck_assert_int_eq(wsrc_read_f32(&o.w, m, f), 0);
            ck_assert_int_eq(wsrc_read_rows(&o.w, m, 1, q, 0), 0);
            ck_assert_int_eq(wsrc_read_scales(&o.w, m * per_row, per_row, scale), 0);
            for (uint32_t c = 0; c < cols; c++) {
                double want = value_of(kind[k].type, row, c);
                if ((double)f[c] != (double)(float)want ||
                    (double)scale[c / kind[k].cols_per_scale] * q[c] != want)
                    ck_abort_msg("type %u row %u column %u: %g, expected %g", kind[k].type, m, c,
                                 (double)f[c], want);
            }
        }
        one_close(&o);
        buf_free(&b);
    }
}
END_TEST

START_TEST(float_types_come_as_they_are)
{
    static const struct { uint32_t type, format; size_t size; } kind[] = {
        { 0, BNP_FMT_F32, 4 }, { 1, BNP_FMT_F16, 2 }, { 30, BNP_FMT_BF16, 2 }
    };
    for (int k = 0; k < 3; k++) {
        uint64_t state = 5;
        struct buf b = { 0 };
        struct one o;
        struct err e = { 0 };
        for (int i = 0; i < 3 * 7; i++) {
            uint32_t u = make_random(&state) & ~(kind[k].size == 4 ? 0x04000000u : 0x0400u);
            buf_add(&b, &u, kind[k].size);
        }
        ck_assert_msg(!one_open(&o, kind[k].type, I2S_A, 3, 7, &b, NULL, &e), "%s", e.text);
        ck_assert_uint_eq(o.w.format, kind[k].format);
        ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_NONE);
        uint8_t got[3 * 7 * 4];
        float f[7], scale;
        ck_assert_int_eq(wsrc_read_rows(&o.w, 0, 3, got, 7 * kind[k].size), 0);
        ck_assert_mem_eq(got, b.p, b.n);
        size_t stride = 0;                      /* and lie there as they come */
        const uint8_t *rows = wsrc_rows(&o.w, &stride);
        ck_assert_ptr_eq(rows, o.w.t->data);
        ck_assert_uint_eq(stride, 7 * kind[k].size);
        wsrc_drop_rows(&o.w, 0, 3);
        ck_assert_mem_eq(rows, b.p, b.n);
        ck_assert_int_eq(wsrc_read_f32(&o.w, 2, f), 0);
        for (unsigned i = 0; i < 7; i++) {
            const char *p = b.p + (14 + i) * kind[k].size;
            uint32_t u = 0;
            memcpy(&u, p, kind[k].size);
            float want = k == 0 ? f32_from_bits(u) : k == 1 ? f16_to_f32((uint16_t)u)
                                                            : f32_from_bits(u << 16);
            ck_assert_uint_eq(f32_bits(f[i]), f32_bits(want));
        }
        ck_assert_int_eq(wsrc_read_scales(&o.w, 0, 1, &scale), ERR_ARG);
        one_close(&o);
        buf_free(&b);
    }
}
END_TEST

START_TEST(rows_and_scales_outside_are_refused)
{
    struct buf b = { 0 };
    struct one o;
    struct err e = { 0 };
    int8_t *w = pattern(4, 256);
    uint8_t row[64];
    float scale[2];
    gguf_make_ternary(35, I2S_A, 4, 256, w, 0.5f, &b);
    ck_assert_int_eq(one_open(&o, 35, I2S_A, 4, 256, &b, NULL, &e), 0);
    ck_assert_int_eq(wsrc_read_rows(&o.w, 3, 1, row, 64), 0);
    ck_assert_int_eq(wsrc_read_rows(&o.w, 4, 1, row, 64), ERR_ARG);
    ck_assert_int_eq(wsrc_read_rows(&o.w, 3, 2, row, 64), ERR_ARG);
    ck_assert_int_eq(wsrc_read_rows(&o.w, 0, UINT32_MAX, row, 64), ERR_ARG);
    ck_assert_int_eq(wsrc_read_rows(&o.w, 0, 2, row, 63), ERR_ARG);
    ck_assert_int_eq(wsrc_read_scales(&o.w, 0, 2, scale), ERR_ARG);
    ck_assert_int_eq(wsrc_read_scales(&o.w, UINT64_MAX, 2, scale), ERR_ARG);
    ck_assert_int_eq(wsrc_read_f32(&o.w, 4, scale), ERR_ARG);
    one_close(&o);
    buf_free(&b);
    free(w);
}
END_TEST

/* Two rows of two blocks in TQx_0; sets block b's scale, and its weights to
 * zero if zero. */
static void make_blocks(uint32_t type, const float d[4], const bool zero[4], struct buf *b)
{
    int8_t *w = pattern(2, 512);
    for (int i = 0; i < 4; i++) {
        if (zero[i])
            memset(w + 256 * i, 0, 256);
        gguf_make_ternary(type, I2S_A, 1, 256, w + 256 * i, d[i], b);
    }
    free(w);
}

START_TEST(equal_block_scales_become_one)
{
    static const struct { float d[4]; bool zero[4]; float one; } with[] = {
        { { 0.5f, 0.5f, 0.5f, 0.5f }, { 0 }, 0.5f },
        { { 0.5f, 0, 0.5f, 7 }, { false, true, false, true }, 0.5f },
        { { 9, 0.25f, 0, 0.25f }, { true, false, true, false }, 0.25f },
        { { 0, 0, 0, 0 }, { true, true, true, true }, 0 },
        { { 0.5f, 0.5f, 0.75f, 0.5f }, { 0 }, -1 },       /* -1: block scales stay */
        { { 0.5f, 0.5f, 0, 0.5f }, { 0 }, -1 }
    };
    for (uint32_t type = 34; type <= 35; type++)
        for (size_t i = 0; i < sizeof with / sizeof with[0]; i++) {
            struct buf b = { 0 };
            struct one o;
            struct err e = { 0 };
            float scale[4], f[512];
            make_blocks(type, with[i].d, with[i].zero, &b);
            ck_assert_msg(!one_open(&o, type, I2S_A, 2, 512, &b, NULL, &e), "%s", e.text);
            if (with[i].one >= 0) {
                ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_TENSOR);
                ck_assert(!wsrc_read_scales(&o.w, 0, 1, scale) && scale[0] == with[i].one);
            } else {
                ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_BLOCK);
                ck_assert_uint_eq(o.w.block_cols, 256);
                ck_assert_int_eq(wsrc_read_scales(&o.w, 0, 4, scale), 0);
                ck_assert_mem_eq(scale, with[i].d, sizeof scale);
                ck_assert_int_eq(wsrc_read_f32(&o.w, 1, f), 0);
                int8_t *w = pattern(2, 512);
                for (int k = 0; k < 512; k++)
                    ck_assert(f[k] == (float)w[512 + k] * with[i].d[2 + k / 256]);
                free(w);
            }
            one_close(&o);
            buf_free(&b);
        }
}
END_TEST

START_TEST(code_3_means_plus_two_in_tq2_only)
{
    struct buf b = { 0 };
    struct one o;
    struct err e = { 0 };
    int8_t *w = pattern(1, 256);
    float f[256];
    w[77] = 2;
    gguf_make_ternary(35, I2S_A, 1, 256, w, 0.5f, &b);
    ck_assert_msg(!one_open(&o, 35, I2S_A, 1, 256, &b, NULL, &e), "%s", e.text);
    ck_assert_uint_eq(o.w.flags, BNP_W_PLUS2);
    ck_assert_int_eq(wsrc_read_f32(&o.w, 0, f), 0);
    ck_assert(f[77] == 1.0f);
    one_close(&o);
    buf_clear(&b);
    gguf_make_ternary(36, I2S_A, 1, 256, w, 0.5f, &b);
    ck_assert_int_eq(one_open(&o, 36, I2S_A, 1, 256, &b, NULL, &e), ERR_DATA);
    ck_assert_ptr_nonnull(strstr(e.text, "1 codes are 3"));
    one_close(&o);
    buf_free(&b);
    free(w);
}
END_TEST

START_TEST(a_separate_scale_is_folded_in)
{
    const float extra = 3, d[4] = { 0.5f, 0.25f, 0.5f, 0.5f };
    const bool zero[4] = { 0 };
    struct buf b = { 0 };
    struct one o;
    struct err e = { 0 };
    float scale[4], f[512];
    int8_t *w = pattern(2, 512);
    gguf_make_ternary(36, I2S_A, 2, 512, w, 0.5f, &b);
    ck_assert_msg(!one_open(&o, 36, I2S_A, 2, 512, &b, &extra, &e), "%s", e.text);
    ck_assert(o.w.extra_scale == 3 && o.w.scale == 0.5f);
    ck_assert(!wsrc_read_scales(&o.w, 0, 1, scale) && scale[0] == 1.5f);
    ck_assert(!wsrc_read_f32(&o.w, 1, f) && f[3] == 1.5f * (float)w[515]);
    one_close(&o);
    buf_clear(&b);
    make_blocks(35, d, zero, &b);
    ck_assert_msg(!one_open(&o, 35, I2S_A, 2, 512, &b, &extra, &e), "%s", e.text);
    ck_assert_int_eq(wsrc_read_scales(&o.w, 1, 3, scale), 0);
    ck_assert(scale[0] == 0.75f && scale[1] == 1.5f && scale[2] == 1.5f);
    one_close(&o);
    buf_free(&b);
    free(w);
}
END_TEST

/* The three story files were written by three different programs. */
/* Dropped pages of a file come back as they were; rows of other encodings are
 * not offered, for they are not canonical. */
START_TEST(rows_of_a_mapped_file_survive_being_dropped)
{
    struct gguf *g;
    struct err e = { 0 };
    struct wsrc w;
    size_t stride = 0;
    ck_assert_msg(!gguf_open(&g, "models/story.gguf", &e), "%s", e.text);
    ck_assert_msg(!wsrc_open(&w, g, gguf_tensor(g, "token_embd.weight"), NULL, &e), "%s", e.text);
    const uint8_t *rows = wsrc_rows(&w, &stride);
    ck_assert_ptr_nonnull(rows);
    const size_t size = stride * w.rows;
    uint8_t *copy = malloc(size);
    memcpy(copy, rows, size);
    for (uint32_t r = 0; r < w.rows; r += 64)
        wsrc_drop_rows(&w, r, w.rows - r < 64 ? w.rows - r : 64);
    wsrc_drop_rows(&w, w.rows, 1);              /* outside: nothing */
    ck_assert_mem_eq(rows, copy, size);
    free(copy);
    ck_assert_msg(!wsrc_open(&w, g, gguf_tensor(g, "blk.0.attn_q.weight"), NULL, &e), "%s",
                  e.text);
    ck_assert_ptr_null(wsrc_rows(&w, &stride));
    gguf_close(g);
}
END_TEST

START_TEST(story_files_hold_the_same_weights)
{
    static const char *const path[] = {
        "models/story.gguf", "tests/golden/models/story-tq1_0.gguf",
        "tests/golden/models/story-tq2_0.gguf"
    };
    struct gguf *g[3];
    struct err e = { 0 };
    unsigned ternary = 0;
    for (int i = 0; i < 3; i++)
        ck_assert_msg(!gguf_open(&g[i], path[i], &e), "%s", e.text);
    for (size_t i = 0; i < gguf_n_tensors(g[0]); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g[0], i);
        char name[64] = "";
        uint8_t row[3][4096];
        struct wsrc w[3];
        memcpy(name, t->name.p, t->name.n);
        for (int k = 0; k < 3; k++)
            ck_assert_msg(!wsrc_open(&w[k], g[k], gguf_tensor(g[k], name), NULL, &e), "%s",
                          e.text);
        if (t->type == 36) {
            for (int k = 0; k < 3; k++)
                ck_assert_uint_eq(w[k].scale_kind, BNP_SCALE_TENSOR);
            ck_assert(w[1].t->type == 34 && w[2].t->type == 35);
            ternary++;
        }
        ck_assert(w[1].format == w[0].format && w[2].format == w[0].format);
        for (uint32_t m = 0; m < w[0].rows; m++) {
            for (int k = 0; k < 3; k++)
                wsrc_read_rows(&w[k], m, 1, row[k], 0);
            size_t n = w[0].format == BNP_FMT_T2 ? w[0].cols / 4
                     : w[0].format == BNP_FMT_F32 ? w[0].cols * 4 : w[0].cols * 2;
            if (memcmp(row[0], row[1], n) || memcmp(row[0], row[2], n))
                ck_abort_msg("tensor %s row %u differs", name, m);
        }
    }
    ck_assert_uint_eq(ternary, 42);
    for (int i = 0; i < 3; i++)
        gguf_close(g[i]);
}
END_TEST

/* The story's own matrices, written again in the two other byte orders. */
START_TEST(i2s_layouts_hold_the_same_weights)
{
    struct gguf *g;
    struct err e = { 0 };
    ck_assert_msg(!gguf_open(&g, "models/story.gguf", &e), "%s", e.text);
    static const char *const name[] = { "blk.2.attn_k.weight", "blk.5.ffn_down.weight" };
    for (int i = 0; i < 2; i++) {
        struct wsrc a;
        ck_assert_int_eq(wsrc_open(&a, g, gguf_tensor(g, name[i]), NULL, &e), 0);
        int8_t *w = malloc((size_t)a.rows * a.cols);
        uint8_t x[256], y[256];
        for (uint32_t m = 0; m < a.rows; m++) {
            wsrc_read_rows(&a, m, 1, x, 0);
            for (uint32_t k = 0; k < a.cols; k++)
                w[m * (size_t)a.cols + k] = (int8_t)((int)code_at(x, k) - 1);
        }
        for (enum i2s_layout l = I2S_A; l <= I2S_C; l++) {
            struct buf b = { 0 };
            struct one o;
            gguf_make_ternary(36, l, a.rows, a.cols, w, a.scale, &b);
            ck_assert_int_eq(one_open(&o, 36, l, a.rows, a.cols, &b, NULL, &e), 0);
            if (l == I2S_A)
                ck_assert_mem_eq(b.p, a.t->data, (size_t)a.rows * a.cols / 4 + 4);
            for (uint32_t m = 0; m < a.rows; m++) {
                wsrc_read_rows(&a, m, 1, x, 0);
                wsrc_read_rows(&o.w, m, 1, y, 0);
                if (memcmp(x, y, a.cols / 4))
                    ck_abort_msg("%s layout %u row %u", name[i], (unsigned)l, m);
            }
            one_close(&o);
            buf_free(&b);
        }
        free(w);
    }
    gguf_close(g);
}
END_TEST

START_TEST(types_have_names_and_sizes)
{
    uint64_t n = 0;
    ck_assert_str_eq(wtype_name(36), "I2_S");
    ck_assert_str_eq(wtype_name(12), "Q4_K");
    ck_assert_str_eq(wtype_name(39), "TL2");
    ck_assert_ptr_null(wtype_name(33));
    ck_assert(wtype_bytes(wtype_find(36), 2560, 6912, &n) && n == 2560u * 6912 / 4 + 32);
    ck_assert(wtype_bytes(wtype_find(34), 3, 512, &n) && n == 3 * 2 * 54);
    ck_assert(wtype_bytes(wtype_find(35), 3, 512, &n) && n == 3 * 2 * 66);
    ck_assert(wtype_bytes(wtype_find(14), 3, 512, &n) && n == 3 * 2 * 210);
    ck_assert(wtype_bytes(wtype_find(8), 3, 64, &n) && n == 3 * 2 * 34);
    ck_assert(wtype_bytes(wtype_find(1), 3, 7, &n) && n == 42);
    ck_assert(!wtype_bytes(wtype_find(34), 3, 500, &n));
    ck_assert(!wtype_bytes(wtype_find(36), 3, 3, &n));
    ck_assert_ptr_null(wtype_find(16));
    ck_assert(!wtype_bytes(wtype_find(0), (uint64_t)1 << 40, (uint64_t)1 << 30, &n));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wsrc");
    TCase *t = tcase_create("wsrc");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, ternary_weights_survive_every_encoding);
    tcase_add_test(t, i2s_rows_may_share_blocks);
    tcase_add_test(t, int8_blocks_are_exact);
    tcase_add_test(t, float_types_come_as_they_are);
    tcase_add_test(t, rows_and_scales_outside_are_refused);
    tcase_add_test(t, equal_block_scales_become_one);
    tcase_add_test(t, code_3_means_plus_two_in_tq2_only);
    tcase_add_test(t, a_separate_scale_is_folded_in);
    tcase_add_test(t, rows_of_a_mapped_file_survive_being_dropped);
    tcase_add_test(t, story_files_hold_the_same_weights);
    tcase_add_test(t, i2s_layouts_hold_the_same_weights);
    tcase_add_test(t, types_have_names_and_sizes);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
