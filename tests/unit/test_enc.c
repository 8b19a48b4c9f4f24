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

/* ------------------------------------------------------------------- vectors
 *
 * Weights by a rule, scale 0.5; crc32 of the bytes (zlib's), which were made by
 * the encodings' own programs. The TL streams are taken without what follows
 * them. */

static int8_t vector_weight(uint32_t m, uint32_t k)
{
    return (int8_t)((31 * m + 17 * k + m * k / 3) % 3) - 1;
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static const struct vector {
    const char *enc, *preset;
    uint32_t first_row, rows, cols;
    size_t n;                     /* bytes that the crc is of                  */
    uint32_t crc;
    uint8_t head[16];
} vectors[] = {
    { "i2_s", NULL, 0, 4, 256, 288, 0x1962c609,
      { 0x18, 0x86, 0x61, 0x18, 0x86, 0x61, 0x18, 0x86, 0x61, 0x18, 0x86, 0x61, 0x18, 0x86, 0x61,
        0x18 } },
    { "i2_s-b", NULL, 0, 4, 256, 288, 0x6a32c00d,
      { 0x24, 0x92, 0x49, 0x24, 0x92, 0x49, 0x24, 0x92, 0x49, 0x24, 0x92, 0x49, 0x24, 0x92, 0x49,
        0x24 } },
    { "i2_s-c", NULL, 0, 4, 256, 288, 0xf98f4c25,
      { 0x18, 0x84, 0x64, 0x24, 0x90, 0x40, 0x00, 0xa8, 0x58, 0x18, 0x84, 0x64, 0x24, 0x90, 0x40,
        0x00 } },
    { "tq2_0", NULL, 1, 1, 256, 66, 0xde6225a0,
      { 0x01, 0xa0, 0x6a, 0x56, 0x05, 0x80, 0xa8, 0x5a, 0x15, 0x01, 0xa0, 0x6a, 0x56, 0x05, 0x80,
        0xa8 } },
    { "tq1_0", NULL, 1, 1, 256, 54, 0x7e61941f,
      { 0x58, 0x1c, 0xfb, 0xd4, 0x72, 0x09, 0x54, 0xf2, 0x7c, 0x58, 0x1c, 0xfb, 0xd4, 0x72, 0x09,
        0x54 } },
    { "iq2_bn", NULL, 1, 1, 256, 68, 0x810184f8,
      { 0x00, 0x00, 0x00, 0x3f, 0x89, 0x44, 0x26, 0x12, 0x99, 0x48, 0x64, 0x22, 0x91, 0x89, 0x44,
        0x26 } },
    { "iq1_bn", NULL, 1, 1, 256, 54, 0x2cf6eab8,
      { 0x00, 0x38, 0xa3, 0x85, 0x36, 0xba, 0xb0, 0xe8, 0x85, 0x36, 0x2d, 0xb0, 0xe8, 0x90, 0x33,
        0x36 } },
    { "iq2_bn_r4", NULL, 0, 4, 256, 272, 0x659154eb,
      { 0x00, 0x00, 0x00, 0x3f, 0x00, 0x00, 0x00, 0x3f, 0x00, 0x00, 0x00, 0x3f, 0x00, 0x00, 0x00,
        0x3f } },
    { "tl1", NULL, 0, 1536, 1536, 589824, 0xcc196b7e,
      { 0x23, 0x38, 0x74, 0x00, 0x45, 0x81, 0x16, 0x52, 0x67, 0x23, 0x38, 0x74, 0x00, 0x45, 0x81,
        0x16 } },
    { "tl1", "512x256:256/128/32", 0, 512, 256, 32768, 0x19caf28c,
      { 0x23, 0x38, 0x74, 0x00, 0x45, 0x81, 0x16, 0x52, 0x67, 0x23, 0x38, 0x74, 0x00, 0x45, 0x81,
        0x16 } },
    { "tl2", NULL, 0, 1536, 4096, 1327104, 0xf42452b7,
      { 0x66, 0x28, 0x94, 0xdd, 0x0d, 0xb1, 0x88, 0x26, 0x26, 0x73, 0x66, 0x28, 0x94, 0xdd, 0x0d,
        0xb1 } },
    { "tl2", "512x512:256/96/32", 0, 512, 512, 60074, 0xa0cfebba,
      { 0x66, 0x28, 0x94, 0xdd, 0x0d, 0xb1, 0x88, 0x26, 0x26, 0x73, 0x66, 0x28, 0x94, 0xdd, 0x0d,
        0xb1 } },
};
enum { N_VECTORS = sizeof vectors / sizeof *vectors };

START_TEST(enc_writes_the_published_vectors)
{
    const struct vector *v = &vectors[_i];
    int8_t *w = malloc((size_t)v->rows * v->cols);
    struct buf b = { 0 };
    ck_assert_ptr_nonnull(w);
    for (uint32_t m = 0; m < v->rows; m++)
        for (uint32_t k = 0; k < v->cols; k++)
            w[m * v->cols + k] = vector_weight(v->first_row + m, k);
    enc_rig_codes(v->enc, v->preset, v->rows, v->cols, w, 0.5f, &b);
    ck_assert_uint_le(v->n, b.n);
    ck_assert_mem_eq(b.p, v->head, sizeof v->head);
    ck_assert_msg(crc32_of((const uint8_t *)b.p, v->n) == v->crc, "%s %ux%u: crc32 %08x, not %08x",
                  v->enc, v->rows, v->cols, crc32_of((const uint8_t *)b.p, v->n), v->crc);
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
    enc_rig_open(&o, ternary[_i], NULL, ROWS, COLS, &b);
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
    tcase_add_loop_test(c, enc_writes_the_published_vectors, 0, N_VECTORS);
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
