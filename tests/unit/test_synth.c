/* test_synth.c - what `bitnet synth` writes is what core/model reads, and the
 * published models' sizes. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/wsrc.h"
#include "core/model/wtype.h"
#include "gguf_make.h"
#include "tools/bitnet_synth.h"

enum { ROWS = 3, COLS = 512, N = ROWS * COLS };

static const struct enc *enc_named(const char *name)
{
    const struct enc *c = synth_enc_find(name);
    ck_assert_msg(c != NULL, "%s", name);
    return c;
}

/* Bytes as a file of one tensor, open. */
struct one {
    struct gguf_make made;
    struct buf bytes;
    struct gguf *g;
    struct wsrc w;
};

static void one_open(struct one *o, const struct enc *c, const uint8_t *p, size_t n)
{
    struct err e = { 0 };
    *o = (struct one){ 0 };
    gguf_make_tensor(&o->made, "t.weight", c->id, ROWS, COLS, p, n);
    gguf_make_done(&o->made, &o->bytes);
    ck_assert_msg(!gguf_open_mem(&o->g, o->bytes.p, o->bytes.n, c->name, &e), "%s", e.text);
    ck_assert_msg(!wsrc_open(&o->w, o->g, gguf_tensor(o->g, "t.weight"), NULL, &e), "%s", e.text);
}

static void one_close(struct one *o)
{
    gguf_close(o->g);
    buf_free(&o->bytes);
    gguf_make_free(&o->made);
}

/* A tensor's bytes. */
struct bytes {
    uint8_t p[N * 4 + ENC_MAX_TAIL];
    size_t n;
};

static int to_bytes(void *ctx, const void *p, size_t n, struct err *e)
{
    struct bytes *b = ctx;
    (void)e;
    ck_assert_uint_le(n, sizeof b->p - b->n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return 0;
}

/* Codes, or numbers, of N elements: checked against the type's size. */
static void encode(const struct enc *c, const int8_t *w, float scale, const float *x,
                   struct bytes *b)
{
    struct err e = { 0 };
    struct enc_tensor t;
    uint64_t size = 0;
    b->n = 0;
    ck_assert_int_eq(enc_open(&t, c, ROWS, COLS, NULL, (struct enc_sink){ to_bytes, b }, &e), 0);
    t.scale = scale;
    ck_assert_int_eq(x ? enc_floats(&t, x, N, &e) : enc_codes(&t, w, N, &e), 0);
    ck_assert_int_eq(enc_finish(&t, &e), 0);
    enc_close(&t);
    ck_assert(wtype_bytes(wtype_find(c->id), ROWS, COLS, &size));
    ck_assert_uint_eq(b->n, size);
}

START_TEST(synth_codes_come_back_from_every_encoding)
{
    static const char *const name[] = { "i2_s", "tq1_0", "tq2_0", "f32", "f16", "q8_0", "q6_k" };
    const float scale = 0.046875f;                     /* exact in f16, also over 127 * 31 */
    int8_t w[N];
    struct bytes out;
    float row[COLS];
    struct synth_random r = synth_random_at(1, 2, 3);
    synth_random_codes(&r, w, N);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        const struct enc *c = enc_named(name[i]);
        struct one o;
        encode(c, w, scale, NULL, &out);
        one_open(&o, c, out.p, out.n);
        ck_assert_uint_eq(o.w.format == BNP_FMT_T2, c->ternary);
        if (c->ternary) {
            ck_assert_uint_eq(o.w.scale_kind, BNP_SCALE_TENSOR);
            ck_assert_float_eq(o.w.scale, scale);
        }
        for (uint32_t k = 0; k < N; k++) {
            if (k % COLS == 0)
                ck_assert_int_eq(wsrc_read_f32(&o.w, k / COLS, row), 0);
            const float got = row[k % COLS], want = (float)w[k] * scale;
            ck_assert_msg(c->ternary || c->block == 1 ? got == want
                          : got > want - scale / 500 && got < want + scale / 500,
                          "%s: element %u is %g, want %g", c->name, k, (double)got, (double)want);
        }
        one_close(&o);
    }
}
END_TEST

/* The other encoder, which follows the formats' descriptions element by element. */
START_TEST(synth_ternary_bytes_equal_the_plain_encoders)
{
    static const char *const name[] = { "i2_s", "tq1_0", "tq2_0" };
    int8_t w[N];
    struct bytes out;
    struct synth_random r = synth_random_at(9, 0, 0);
    synth_random_codes(&r, w, N);
    for (size_t i = 0; i < 3; i++) {
        const struct enc *c = enc_named(name[i]);
        struct buf b = { 0 };
        encode(c, w, 0.5f, NULL, &out);
        gguf_make_ternary(c->id, I2S_A, ROWS, COLS, w, 0.5f, &b);
        ck_assert_uint_eq(out.n, b.n);
        ck_assert_mem_eq(out.p, b.p, b.n);
        buf_free(&b);
    }
}
END_TEST

/* Within half a step of the number: a step is the 127th part of a block's
 * largest number, or the 31st of a group's; rounding the scales takes a bit
 * more. */
START_TEST(synth_quantized_floats_stay_within_a_step)
{
    static const struct { const char *name; unsigned group; float levels; } want[] = {
        { "f32", 1, 1e30f }, { "f16", 1, 1024 }, { "q8_0", 32, 127 }, { "q6_k", 16, 31 }
    };
    float x[N], row[COLS];
    struct bytes out;
    struct synth_random r = synth_random_at(5, 1, 0);
    synth_random_floats(&r, 0, 0.03f, x, N);
    memset(x, 0, 256 * sizeof *x);                     /* a block of zeros */
    for (size_t i = 0; i < 4; i++) {
        const struct enc *c = enc_named(want[i].name);
        struct one o;
        encode(c, NULL, 0, x, &out);
        one_open(&o, c, out.p, out.n);
        for (uint32_t k = 0; k < N; k++) {
            if (k % COLS == 0)
                ck_assert_int_eq(wsrc_read_f32(&o.w, k / COLS, row), 0);
            float most = 0;
            for (unsigned g = k / want[i].group * want[i].group, n = 0; n < want[i].group; n++)
                most = x[g + n] > most ? x[g + n] : -x[g + n] > most ? -x[g + n] : most;
            const float off = row[k % COLS] - x[k], step = most / want[i].levels;
            ck_assert_msg(off <= 0.75f * step && off >= -0.75f * step, "%s: element %u is %g, not "
                          "%g", c->name, k, (double)row[k % COLS], (double)x[k]);
        }
        one_close(&o);
    }
}
END_TEST

START_TEST(synth_numbers_depend_on_seed_tensor_and_piece_only)
{
    enum { MANY = 1 << 16 };
    static int8_t w[4][MANY];
    const uint64_t at[4][3] = { { 1, 2, 3 }, { 2, 2, 3 }, { 1, 3, 3 }, { 1, 2, 4 } };
    for (int i = 0; i < 4; i++) {
        struct synth_random r = synth_random_at(at[i][0], (uint32_t)at[i][1], at[i][2]);
        synth_random_codes(&r, w[i], MANY);
        ck_assert(!i || memcmp(w[0], w[i], MANY));
    }
    struct synth_random again = synth_random_at(1, 2, 3);
    synth_random_codes(&again, w[1], MANY);
    ck_assert_mem_eq(w[0], w[1], MANY);
    unsigned count[3] = { 0 };
    for (int i = 0; i < MANY; i++)
        count[w[0][i] + 1]++;
    /* 74, 108 and 74 of 256; the deviation is 128 at most. */
    ck_assert_int_le(abs((int)count[0] - MANY / 256 * 74), 640);
    ck_assert_int_le(abs((int)count[1] - MANY / 256 * 108), 640);
    ck_assert_int_le(abs((int)count[2] - MANY / 256 * 74), 640);
}
END_TEST

START_TEST(synth_floats_have_their_mean_and_deviation)
{
    enum { MANY = 1 << 16 };
    static float x[MANY];
    double sum = 0, square = 0;
    struct synth_random r = synth_random_at(3, 1, 4);
    synth_random_floats(&r, 1, 0.1f, x, MANY);
    for (int i = 0; i < MANY; i++) {
        sum += (double)x[i] - 1;
        square += ((double)x[i] - 1) * ((double)x[i] - 1);
    }
    ck_assert_double_eq_tol(sum / MANY, 0, 0.002);
    ck_assert_double_eq_tol(square / MANY, 0.01, 0.0003);
}
END_TEST

/* Tensor data of published I2_S files with F16 tables. */
START_TEST(synth_shapes_have_the_published_sizes)
{
    static const struct { const char *shape; uint32_t n; uint64_t size; } want[] = {
        { "2b4t", 332, 1179449920 },       { "8b", 291, 3847248896 },
        { "falcon-e-1b", 219, 665203968 }, { "falcon3-7b", 255, 3273836672 },
        /* One table; the guide's 699 MiB are those of two. */
        { "embedding-0.6b", 506, 421429376 },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct err e = { 0 };
        struct synth_tensor *t = NULL;
        uint32_t n = 0;
        const struct synth_shape *p = synth_shape_find(want[i].shape, &e);
        ck_assert_msg(p && !synth_tensors(p, enc_named("i2_s"), enc_named("f16"), &t, &n, &e),
                      "%s", e.text);
        ck_assert_uint_eq(n, want[i].n);
        uint64_t size = 0;
        for (uint32_t k = 0; k < n; k++) {
            ck_assert_uint_eq(t[k].size % 32, 0);      /* nothing between two tensors */
            size += t[k].size;
        }
        ck_assert_uint_eq(size, want[i].size);
        free(t);
    }
}
END_TEST

START_TEST(synth_columns_that_fill_no_blocks_are_refused)
{
    static const char *const type[] = { "tq1_0", "tq2_0", "q6_k" };
    struct err e = { 0 };
    for (size_t i = 0; i < 3; i++) {
        struct synth_tensor *t = NULL;
        uint32_t n = 0;
        const struct synth_shape *p = synth_shape_find("3b", &e);
        ck_assert_int_eq(synth_tensors(p, enc_named(type[i]), enc_named("q8_0"), &t, &n, &e),
                         ERR_ARG);
        ck_assert_ptr_nonnull(strstr(e.text, "choose another --type"));
        free(t);
    }
    ck_assert_ptr_null(synth_shape_find("4b", &e));
    ck_assert_ptr_null(synth_enc_find("none"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("synth");
    TCase *c = tcase_create("synth");
    tcase_add_test(c, synth_codes_come_back_from_every_encoding);
    tcase_add_test(c, synth_ternary_bytes_equal_the_plain_encoders);
    tcase_add_test(c, synth_quantized_floats_stay_within_a_step);
    tcase_add_test(c, synth_numbers_depend_on_seed_tensor_and_piece_only);
    tcase_add_test(c, synth_floats_have_their_mean_and_deviation);
    tcase_add_test(c, synth_shapes_have_the_published_sizes);
    tcase_add_test(c, synth_columns_that_fill_no_blocks_are_refused);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
