/* test_enc.c - what tools/write writes: the published vectors' bytes, and what
 * core/model reads back. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/wsrc.h"
#include "enc_rig.h"
#include "gguf_make.h"
#include "ternary_make.h"

/* ------------------------------------------------------------------- vectors */

START_TEST(enc_writes_the_published_vectors)
{
    const struct ternary_vector *v = &ternary_vector[_i];
    int8_t *w = malloc((size_t)v->rows * v->cols);
    char preset[64];
    struct buf b = { 0 };
    ck_assert_ptr_nonnull(w);
    for (uint32_t m = 0; m < v->rows; m++)
        for (uint32_t k = 0; k < v->cols; k++)
            w[m * v->cols + k] = ternary_weight(v->row + m, k);
    enc_rig_codes(v->name, ternary_preset(v, preset), v->rows, v->cols, w, 0.5f, &b);
    ck_assert_uint_le(v->bytes, b.n);
    ck_assert_mem_eq(b.p, v->first, 16);
    ck_assert_msg(make_crc32(b.p, v->bytes) == v->crc32, "%s %ux%u: crc32 %08x, not %08x", v->name,
                  v->rows, v->cols, make_crc32(b.p, v->bytes), v->crc32);
    buf_free(&b);
    free(w);
}
END_TEST

/* A Q2_0 block has no published checksum: the bytes follow from its layout. */
START_TEST(enc_writes_q2_0_scale_first_and_low_bits_first)
{
    int8_t w[128] = { 0 };
    struct buf b = { 0 };
    w[5] = 1;
    w[6] = -1;
    enc_rig_codes("q2_0", NULL, 1, 128, w, 0.5f, &b);
    uint8_t want[36];
    memset(want, 0x55, sizeof want);
    want[0] = 0, want[1] = 0x38, want[3] = 0x49;     /* 0.5; codes 1, 2, 0, 1 */
    want[18] = want[19] = 0;                         /* nothing but zeros: d = 0 */
    ck_assert_uint_eq(b.n, sizeof want);
    ck_assert_mem_eq(b.p, want, sizeof want);
    buf_free(&b);
}
END_TEST

/* -------------------------------------------------------------------- reading */

static const char *const ternary[] = { "i2_s", "i2_s-b", "i2_s-c", "tq1_0", "tq2_0", "q2_0",
                                       "iq1_bn", "iq2_bn", "iq2_bn_r4" };
enum { N_TERNARY = sizeof ternary / sizeof *ternary, ROWS = 8, COLS = 768, N = ROWS * COLS };

static void random_codes(uint64_t seed, int8_t *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        w[i] = (int8_t)(make_random(&seed) % 3) - 1;
}

/* One row is all zeros, and so has no scale where rows have their own. */
START_TEST(enc_ternary_weights_come_back_exactly)
{
    const float scale = 0.046875f;                   /* exact as a half */
    static int8_t w[N];
    float row[COLS];
    struct buf b = { 0 };
    struct enc_rig o;
    random_codes(7, w, N);
    memset(w + 3 * COLS, 0, COLS);
    enc_rig_codes(ternary[_i], NULL, ROWS, COLS, w, scale, &b);
    enc_rig_open(&o, enc_find(ternary[_i]), NULL, ROWS, COLS, &b);
    ck_assert_uint_eq(o.w.format, BNP_FMT_T2);
    for (uint32_t r = 0; r < ROWS; r++) {
        ck_assert_int_eq(wsrc_read_f32(&o.w, r, row), 0);
        for (uint32_t k = 0; k < COLS; k++)
            ck_assert_msg(row[k] == (float)w[r * COLS + k] * scale, "%s: row %u column %u is %g",
                          ternary[_i], r, k, (double)row[k]);
    }
    enc_rig_close(&o);
    buf_free(&b);
}
END_TEST

static int pieces(void *ctx, const void *p, size_t n, struct err *e)
{
    (void)e;
    buf_add(ctx, p, n);
    return 0;
}

/* However the weights are handed over, the bytes are the same. */
START_TEST(enc_pieces_of_any_size_give_the_same_bytes)
{
    static int8_t w[N];
    struct buf whole = { 0 }, cut = { 0 };
    struct enc_tensor t;
    struct err e = { 0 };
    uint64_t seed = 5;
    random_codes(1, w, N);
    enc_rig_codes(ternary[_i], NULL, ROWS, COLS, w, 1, &whole);
    ck_assert_int_eq(enc_open(&t, enc_find(ternary[_i]), ROWS, COLS, NULL,
                              (struct enc_sink){ pieces, &cut }, &e), 0);
    for (size_t at = 0, n; at < N; at += n) {
        n = 1 + make_random(&seed) % 1000;
        n = n < N - at ? n : N - at;
        ck_assert_int_eq(enc_codes(&t, w + at, n, &e), 0);
    }
    ck_assert_int_eq(enc_finish(&t, &e), 0);
    enc_close(&t);
    ck_assert_uint_eq(whole.n, cut.n);
    ck_assert_mem_eq(whole.p, cut.p, cut.n);
    buf_free(&whole);
    buf_free(&cut);
}
END_TEST

START_TEST(enc_refuses_what_fills_no_blocks)
{
    static const struct { const char *enc; uint32_t rows, cols; } bad[] = {
        { "i2_s", 1, 64 }, { "i2_s-b", 1, 32 }, { "i2_s-c", 3, 256 }, { "tq1_0", 4, 128 },
        { "tq2_0", 1, 384 }, { "q2_0", 1, 96 }, { "iq1_bn", 2, 96 }, { "iq2_bn", 2, 32 },
        { "iq2_bn_r4", 2, 64 }, { "q8_0", 1, 48 }, { "q6_k", 2, 128 }, { "i2_s", 0, 128 },
    };
    struct err e = { 0 };
    struct enc_tensor t;
    uint64_t size;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct enc *c = enc_find(bad[i].enc);
        ck_assert_msg(!enc_size(c, bad[i].rows, bad[i].cols, &size), "%s", bad[i].enc);
        ck_assert_int_eq(enc_open(&t, c, bad[i].rows, bad[i].cols, NULL,
                                  (struct enc_sink){ NULL, NULL }, &e), ERR_ARG);
        enc_close(&t);
    }
    ck_assert_ptr_null(enc_find("q9_9"));
    ck_assert(enc_size(enc_find("i2_s"), 2, 64, &size));    /* a block over two rows */
    ck_assert_uint_eq(size, 64);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("enc");
    TCase *c = tcase_create("enc");
    tcase_add_loop_test(c, enc_writes_the_published_vectors, 0, (int)n_ternary_vector);
    tcase_add_test(c, enc_writes_q2_0_scale_first_and_low_bits_first);
    tcase_add_loop_test(c, enc_ternary_weights_come_back_exactly, 0, N_TERNARY);
    tcase_add_loop_test(c, enc_pieces_of_any_size_give_the_same_bytes, 0, N_TERNARY);
    tcase_add_test(c, enc_refuses_what_fills_no_blocks);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
