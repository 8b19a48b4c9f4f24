/* test_quant.c - block formats with scales decode to what other programs read.
 *
 * Random blocks are decoded whole and held against the checksum of what
 * gguf-py 0.18 (quants.py, function dequantize) gives for the same bytes, so
 * every bit pattern of every field counts. Formats it does not know are held
 * against their descriptions. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/iq2_grid.h"
#include "core/model/wsrc.h"
#include "gguf_make.h"

enum { ROWS = 5, COLS = 1024 };

struct one {                      /* a file of one tensor "t.weight", open     */
    struct gguf_make made;
    struct buf data, bytes;
    struct gguf *g;
    struct wsrc w;
};

static int one_open(struct one *o, uint32_t type, const float *extra, struct err *e)
{
    gguf_make_tensor(&o->made, "t.weight", type, ROWS, COLS, o->data.p, o->data.n);
    if (extra)
        gguf_make_tensor(&o->made, "t.scale", 0, 0, 1, extra, sizeof *extra);
    gguf_make_done(&o->made, &o->bytes);
    ck_assert_msg(!gguf_open_mem(&o->g, o->bytes.p, o->bytes.n, "one", e), "%s", e->text);
    return wsrc_open(&o->w, o->g, gguf_tensor(o->g, "t.weight"), NULL, e);
}

static void one_close(struct one *o)
{
    gguf_close(o->g);
    gguf_make_free(&o->made);
    buf_free(&o->bytes);
    buf_free(&o->data);
}

static const struct kind {
    uint32_t type, block, size;
    int half[2];                  /* bytes where a scale lies; -1: none        */
    uint32_t format, scale_cols;
    uint32_t crc;                 /* of the decoded f32, row after row         */
} kinds[] = {
    { 2, 32, 18, { 0, -1 }, BNP_FMT_I8, 32, 0x277e4286 },
    { 3, 32, 20, { 0, 2 }, BNP_FMT_F32, 0, 0xd71d0a32 },
    { 6, 32, 22, { 0, -1 }, BNP_FMT_I8, 32, 0x0dfcfefe },
    { 7, 32, 24, { 0, 2 }, BNP_FMT_F32, 0, 0x41d08448 },
    { 8, 32, 34, { 0, -1 }, BNP_FMT_I8, 32, 0x528a1a48 },
    { 20, 32, 18, { 0, -1 }, BNP_FMT_I8, 32, 0x2ec77313 },
    { 10, 256, 84, { 80, 82 }, BNP_FMT_F32, 0, 0x2e7e96ba },
    { 11, 256, 110, { 108, -1 }, BNP_FMT_I8, 16, 0xd7ae114c },
    { 12, 256, 144, { 0, 2 }, BNP_FMT_F32, 0, 0xf6133553 },
    { 13, 256, 176, { 0, 2 }, BNP_FMT_F32, 0, 0x95774cba },
    { 14, 256, 210, { 208, -1 }, BNP_FMT_I8, 16, 0x2c706aa7 },
    { 17, 256, 74, { 0, -1 }, BNP_FMT_I8, 16, 0x2f22f5a4 },
    { 22, 256, 82, { 0, -1 }, BNP_FMT_I8, 16, 0x860c121d },
};
enum { N_KIND = sizeof kinds / sizeof kinds[0] };

/* Random bytes, the scales any finite half. */
static void fill(const struct kind *k, struct buf *b)
{
    const uint32_t n = ROWS * COLS / k->block;
    uint64_t state = 99;
    for (uint32_t i = 0; i < n * k->size; i++) {
        const uint8_t byte = (uint8_t)make_random(&state);
        buf_add(b, &byte, 1);
    }
    for (uint32_t i = 0; i < n; i++)
        for (int h = 0; h < 2 && k->half[h] >= 0; h++)
            b->p[i * k->size + (uint32_t)k->half[h] + 1] &= (char)0xbb;
}

/* An int8 row's integers times their scales are the values, unrounded. */
static void check_int8(const struct one *o, const struct kind *k, uint32_t row, const float *f)
{
    int8_t q[COLS];
    float scale[COLS / 16];
    const uint32_t per_row = COLS / k->scale_cols;
    ck_assert_uint_eq(o->w.block_cols, k->scale_cols);
    ck_assert_int_eq(wsrc_read_rows(&o->w, row, 1, q, 0), 0);
    ck_assert_int_eq(wsrc_read_scales(&o->w, row * per_row, per_row, scale), 0);
    for (uint32_t c = 0; c < COLS; c++)
        if ((double)scale[c / k->scale_cols] * q[c] != (double)f[c])
            ck_abort_msg("type %u row %u column %u", k->type, row, c);
}

START_TEST(blocks_decode_as_elsewhere)
{
    const struct kind *k = &kinds[_i];
    struct one o = { .g = NULL };
    struct err e = { 0 };
    float f[ROWS][COLS];
    fill(k, &o.data);
    ck_assert_msg(!one_open(&o, k->type, NULL, &e), "%s", e.text);
    ck_assert_uint_eq(o.w.format, k->format);
    ck_assert_uint_eq(o.w.scale_kind, k->scale_cols ? BNP_SCALE_BLOCK : BNP_SCALE_NONE);
    for (uint32_t m = 0; m < ROWS; m++) {
        ck_assert_int_eq(wsrc_read_f32(&o.w, m, f[m]), 0);
        if (k->format == BNP_FMT_I8) {
            check_int8(&o, k, m, f[m]);
        } else {
            float row[COLS];
            ck_assert_int_eq(wsrc_read_rows(&o.w, m, 1, row, 0), 0);
            ck_assert_mem_eq(row, f[m], sizeof row);
        }
    }
    const uint32_t crc = make_crc32(f, sizeof f);
    ck_assert_msg(crc == k->crc, "type %u: checksum %08x, expected %08x", k->type, crc, k->crc);
    one_close(&o);
}
END_TEST

START_TEST(a_scale_that_is_no_number_is_refused)
{
    const struct kind *k = &kinds[_i];
    for (int h = 0; h < 2 && k->half[h] >= 0; h++)
        for (int inf = 0; inf < 2; inf++) {
            struct one o = { .g = NULL };
            struct err e = { 0 };
            fill(k, &o.data);
            const uint16_t bad = inf ? 0xfc00 : 0x7e01;
            memcpy(o.data.p + 3 * k->size + k->half[h], &bad, 2);
            memset(o.data.p + 3 * k->size + (k->size == 210 ? 192 : 96) % k->size, 1, 1);
            ck_assert_msg(one_open(&o, k->type, NULL, &e) == ERR_DATA, "type %u", k->type);
            ck_assert_ptr_nonnull(strstr(e.text, "scale"));
            ck_assert_ptr_nonnull(strstr(e.text, "NaN or infinite"));
            one_close(&o);
        }
}
END_TEST

/* A projection's separate scale multiplies whatever holds the weights. */
START_TEST(a_separate_scale_multiplies)
{
    const struct kind *k = &kinds[_i];
    const float extra = 3;
    struct one plain = { .g = NULL }, scaled = { .g = NULL };
    struct err e = { 0 };
    float a[COLS], b[COLS];
    fill(k, &plain.data);
    fill(k, &scaled.data);
    ck_assert_msg(!one_open(&plain, k->type, NULL, &e), "%s", e.text);
    ck_assert_msg(!one_open(&scaled, k->type, &extra, &e), "%s", e.text);
    for (uint32_t m = 0; m < ROWS; m++) {
        ck_assert_int_eq(wsrc_read_f32(&plain.w, m, a), 0);
        ck_assert_int_eq(wsrc_read_f32(&scaled.w, m, b), 0);
        for (uint32_t c = 0; c < COLS; c++) {
            const double want = 3 * (double)a[c], off = (double)b[c] - want;
            if (off * off > want * want * 0x1p-46)          /* scale and product round once each */
                ck_abort_msg("type %u row %u column %u: %g, expected %g", k->type, m, c,
                             (double)b[c], want);
        }
    }
    one_close(&plain);
    one_close(&scaled);
}
END_TEST

START_TEST(code_books_are_the_published_ones)
{
    ck_assert_uint_eq(make_crc32(iq2_grid_s, sizeof iq2_grid_s), 0xf8ad4e5e);
    ck_assert_uint_eq(make_crc32(iq2_grid_xs, sizeof iq2_grid_xs), 0x622e679a);
}
END_TEST

/* ------------------------------------------------------------- Q1_0, Q2_0 */

static const struct group { uint32_t type, cols, size; } groups[] = {
    { 41, 128, 18 }, { 42, 64, 18 }, { 42, 128, 34 }
};

static double group_value(const struct group *g, const struct buf *b, uint32_t i)
{
    const uint8_t *p = (const uint8_t *)b->p + i / g->cols * g->size;
    const uint32_t e = i % g->cols;
    const double d = (double)f16_to_f32((uint16_t)(p[0] | p[1] << 8));
    if (g->type == 41)
        return p[2 + e / 8] >> e % 8 & 1 ? d : -d;
    return d * ((int)(p[2 + e / 4] >> 2 * (e % 4) & 3) - 1);
}

/* one: all groups have one scale. three: code 3 occurs. */
static void check_group(const struct group *g, bool one, bool three)
{
    struct one o = { .g = NULL };
    struct err e = { 0 };
    const struct kind k = { g->type, g->cols, g->size, { 0, -1 }, 0, 0, 0 };
    float f[COLS];
    fill(&k, &o.data);
    for (uint32_t i = 0; i < o.data.n; i++) {
        const uint8_t byte = (uint8_t)o.data.p[i];
        if (i % g->size >= 2 && g->type == 42 && !three)    /* 3 becomes 2 */
            o.data.p[i] = (char)(byte & ~(byte >> 1 & 0x55));
        if (i % g->size < 2 && one)
            o.data.p[i] = o.data.p[i % g->size];
    }
    ck_assert_msg(!one_open(&o, g->type, NULL, &e), "%s", e.text);
    ck_assert_uint_eq(o.w.format, BNP_FMT_T2);
    ck_assert_uint_eq(o.w.flags, g->type == 42 && three ? BNP_W_PLUS2 : 0);
    ck_assert_uint_eq(o.w.scale_kind, one ? BNP_SCALE_TENSOR : BNP_SCALE_BLOCK);
    if (!one)
        ck_assert_uint_eq(o.w.block_cols, g->cols);
    for (uint32_t m = 0; m < ROWS; m++) {
        ck_assert_int_eq(wsrc_read_f32(&o.w, m, f), 0);
        for (uint32_t c = 0; c < COLS; c++)
            if ((double)f[c] != group_value(g, &o.data, m * COLS + c))
                ck_abort_msg("type %u of %u, row %u column %u: %g", g->type, g->cols, m, c,
                             (double)f[c]);
    }
    one_close(&o);
}

START_TEST(groups_decode_as_described)
{
    for (int i = 0; i < 4; i++)
        check_group(&groups[_i], i & 1, i & 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("quant");
    TCase *t = tcase_create("quant");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, blocks_decode_as_elsewhere, 0, N_KIND);
    tcase_add_loop_test(t, a_scale_that_is_no_number_is_refused, 0, N_KIND);
    tcase_add_loop_test(t, a_separate_scale_multiplies, 0, N_KIND);
    tcase_add_test(t, code_books_are_the_published_ones);
    tcase_add_loop_test(t, groups_decode_as_described, 0, 3);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
