/* test_enc_accuracy.c - how much of a matrix an encoding keeps.
 *
 * Every figure is measured on the way that a file takes: encoded, put into a
 * container, opened, read back. docs/convert.md says what they mean; the
 * program prints them. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/absmean.h"
#include "core/model/wsrc.h"
#include "enc_rig.h"
#include "gguf_make.h"
#include "tools/bitnet_synth.h"

enum { ROWS = 256, COLS = 512, N = ROWS * COLS };

static const struct { const char *enc, *preset; double least; } ternary[] = {
    { "i2_s", NULL, 0.998 },      { "i2_s-b", NULL, 0.998 },    { "i2_s-c", NULL, 0.998 },
    { "tq1_0", NULL, 0.998 },     { "tq2_0", NULL, 0.998 },     { "q2_0", NULL, 0.998 },
    { "iq1_bn", NULL, 0.998 },    { "iq2_bn", NULL, 0.998 },    { "iq2_bn_r4", NULL, 0.998 },
    { "tl1", "256x512:128/64/32", 0.996 },
    { "tl2", "256x512:128/96/32", 0.996 },
};
enum { N_TERNARY = sizeof ternary / sizeof *ternary };

static float want[N], got[N];
static int8_t code[N];

/* A bell: mean 0, deviation 1. */
static void bell(uint64_t seed, float *x, size_t n)
{
    struct synth_random r = synth_random_at(seed, 0, 0);
    synth_random_floats(&r, 0, 1, x, n);
}

static void bell_shaped(uint64_t seed)
{
    bell(seed, want, N);
    for (size_t k = 0; k < N; k++)
        want[k] *= 0.02f;
}

static void read_back(const struct enc *c, const char *preset, const struct buf *b)
{
    struct enc_rig o;
    enc_rig_open(&o, c, preset, ROWS, COLS, b);
    for (uint32_t r = 0; r < ROWS; r++)
        ck_assert_int_eq(wsrc_read_f32(&o.w, r, got + (size_t)r * COLS), 0);
    enc_rig_close(&o);
}

/* Made ternary by absmean, as `bitnet convert --absmean` does it. */
static void through_absmean(unsigned i)
{
    struct buf b = { 0 };
    struct absmean m = { .n = 0 };
    absmean_add(&m, want, N);
    const float scale = absmean_scale(&m);
    absmean_codes(want, N, scale, code);
    enc_rig_codes(ternary[i].enc, ternary[i].preset, ROWS, COLS, code, scale, &b);
    read_back(enc_find(ternary[i].enc), ternary[i].preset, &b);
    buf_free(&b);
}

static double correlation(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static double mse(void)
{
    double sum = 0;
    for (size_t i = 0; i < N; i++)
        sum += ((double)want[i] - (double)got[i]) * ((double)want[i] - (double)got[i]);
    return sum / N;
}

/* What a layer makes of the matrices: outputs for one random input, which the
 * second gets as its int8 form. */
static double output_correlation(void)
{
    static float x[COLS], y[2][ROWS];
    float most = 0;
    bell(77, x, COLS);
    for (unsigned k = 0; k < COLS; k++)
        most = fabsf(x[k]) > most ? fabsf(x[k]) : most;
    for (unsigned r = 0; r < ROWS; r++) {
        double exact = 0, quantized = 0;
        for (unsigned k = 0; k < COLS; k++) {
            exact += (double)want[r * COLS + k] * (double)x[k];
            quantized += (double)got[r * COLS + k] * rint((double)x[k] * 127 / (double)most);
        }
        y[0][r] = (float)exact;
        y[1][r] = (float)(quantized * (double)most / 127);
    }
    return correlation(y[0], y[1], ROWS);
}

static void print(const char *enc, const char *what)
{
    printf("%-10s %-28s weights %.6f, outputs %.6f, mean squared error %.3g\n", enc, what,
           correlation(want, got, N), output_correlation(), mse());
}

/* Any scale: exact where the encoding holds it in full, else within the rounding
 * of a half. The trits are exact everywhere. */
START_TEST(enc_accuracy_ternary_weights_lose_nothing)
{
    const struct enc *c = enc_find(ternary[_i].enc);
    const float scale = 0.0123456f;
    struct buf b = { 0 };
    uint64_t seed = 3;
    for (size_t k = 0; k < N; k++) {
        code[k] = (int8_t)(make_random(&seed) % 3) - 1;
        want[k] = (float)code[k] * scale;
    }
    enc_rig_codes(c->name, ternary[_i].preset, ROWS, COLS, code, scale, &b);
    read_back(c, ternary[_i].preset, &b);
    const float held = fabsf(got[0] != 0 ? got[0] : got[1] != 0 ? got[1] : got[2]);
    ck_assert(c->half_scale ? fabsf(held - scale) <= scale / 2048 : held == scale);
    for (size_t k = 0; k < N; k++)
        ck_assert_msg(got[k] == (float)code[k] * held, "%s: element %zu", c->name, k);
    print(c->name, "ternary");
    ck_assert_double_ge(output_correlation(), 0.9999);
    buf_free(&b);
}
END_TEST

/* Weights that were ternary, with noise of a twentieth of their scale on them. */
START_TEST(enc_accuracy_noisy_ternary_weights_keep_what_the_formats_promise)
{
    uint64_t seed = 11;
    bell(11, want, N);
    for (size_t k = 0; k < N; k++)
        want[k] = 0.02f * ((float)(make_random(&seed) % 3) - 1 + 0.05f * want[k]);
    through_absmean((unsigned)_i);
    print(ternary[_i].enc, "ternary with 5 % noise");
    ck_assert_double_ge(correlation(want, got, N), ternary[_i].least);
    ck_assert_double_ge(output_correlation(), ternary[_i].least);
}
END_TEST

/* Bell-shaped weights, far from ternary: three values with thresholds at half the
 * mean magnitude keep 2 phi(t) / sqrt(P(|x| > t)), t = 0.3989: 0.887. */
START_TEST(enc_accuracy_bell_shaped_weights_keep_what_three_values_can)
{
    bell_shaped(19);
    through_absmean((unsigned)_i);
    print(ternary[_i].enc, "bell-shaped");
    ck_assert_double_eq_tol(correlation(want, got, N), 0.887, 0.01);
}
END_TEST

static const struct { const char *enc; double least; } dense[] = {
    { "f32", 1 },        { "f16", 0.9999999 }, { "bf16", 0.99999 }, { "q8_0", 0.99997 },
    { "q6_k", 0.9995 },  { "q5_1", 0.999 },    { "q4_0", 0.995 },
};

START_TEST(enc_accuracy_dense_encodings_stay_close)
{
    const struct enc *c = enc_find(dense[_i].enc);
    struct buf b = { 0 };
    bell_shaped(19);
    enc_rig_floats(c, ROWS, COLS, want, &b);
    read_back(c, NULL, &b);
    print(c->name, "bell-shaped");
    ck_assert_double_ge(correlation(want, got, N), dense[_i].least - 1e-12);
    buf_free(&b);
}
END_TEST

/* The search is worth its time: against the nearest step of the largest number. */
START_TEST(enc_accuracy_q6_k_search_beats_plain_rounding)
{
    double error[2];
    for (int way = 0; way < 2; way++) {
        const struct enc *c = way ? enc_find("q6_k") : synth_enc_find("q6_k");
        struct buf b = { 0 };
        bell_shaped(23);
        enc_rig_floats(c, ROWS, COLS, want, &b);
        read_back(c, NULL, &b);
        print(c->name, way ? "searched" : "plain");
        error[way] = mse();
        buf_free(&b);
    }
    ck_assert_double_lt(error[1], 0.95 * error[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("enc_accuracy");
    TCase *c = tcase_create("enc_accuracy");
    tcase_add_loop_test(c, enc_accuracy_ternary_weights_lose_nothing, 0, N_TERNARY);
    tcase_add_loop_test(c, enc_accuracy_noisy_ternary_weights_keep_what_the_formats_promise, 0,
                        N_TERNARY);
    tcase_add_loop_test(c, enc_accuracy_bell_shaped_weights_keep_what_three_values_can, 0,
                        N_TERNARY);
    tcase_add_loop_test(c, enc_accuracy_dense_encodings_stay_close, 0,
                        sizeof dense / sizeof *dense);
    tcase_add_test(c, enc_accuracy_q6_k_search_beats_plain_rounding);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
