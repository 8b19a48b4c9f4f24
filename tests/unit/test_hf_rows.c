/* test_hf_rows.c - the weights of Hugging Face checkpoints, matrix by matrix, and
 * containers made of parts, which is how they are opened here. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"
#include "core/model/absmean.h"
#include "core/model/wtype.h"
#include "gguf_make.h"
#include "hf_dir.h"

/* A container of one tensor, and a scale where the type has none. */
static struct gguf *one_tensor(uint32_t type, uint64_t rows, uint64_t cols, const void *p, size_t n,
                               void (*closed)(void *))
{
    static float half = 0.5f;
    const struct gguf_tensor t[] = {
        { .name = { "x.weight", 8 }, .type = type, .n_dims = 2, .ne = { cols, rows, 1, 1 },
          .size = n, .gap = n, .data = p },
        { .name = { "x.scale", 7 }, .n_dims = 1, .ne = { 1, 1, 1, 1 }, .size = 4, .gap = 4,
          .data = (const uint8_t *)&half }
    };
    const struct gguf_parts parts = { .name = "parts", .file_size = n, .tensor = t,
                                      .n_tensor = type == HF_U8 ? 2 : 1, .close = closed };
    struct gguf *g;
    struct err e = { 0 };
    ck_assert_msg(!gguf_open_parts(&g, &parts, &e), "%s", e.text);
    return g;
}

static struct wsrc open_one(const struct gguf *g)
{
    struct wsrc w;
    struct err e = { 0 };
    ck_assert_msg(!wsrc_open(&w, g, gguf_tensor(g, "x.weight"), NULL, &e), "%s", e.text);
    return w;
}

/* The published vector: 64 x 256 weights by a formula. */
START_TEST(hf_packed_rows_are_the_published_ones)
{
    static const uint8_t first[16] = { 0x24, 0x2a, 0x01, 0x18, 0x12, 0x25, 0x00, 0x06,
                                       0x19, 0x24, 0x2a, 0x01, 0x18, 0x12, 0x25, 0x00 };
    enum { M = 64, K = 256 };
    static int8_t w[M * K];
    float row[K];
    struct buf b = { 0 };
    for (int m = 0; m < M; m++)
        for (int k = 0; k < K; k++)
            w[m * K + k] = (int8_t)((31 * m + 17 * k + m * k / 3) % 3 - 1);
    hf_dir_pack(M, K, w, &b);
    ck_assert(b.n == 4096 && make_crc32(b.p, b.n) == 0x319cb0c8 && !memcmp(b.p, first, 16));
    struct gguf *g = one_tensor(HF_U8, M, K, b.p, b.n, NULL);
    const struct wsrc s = open_one(g);
    for (uint32_t m = 0; m < M; m++) {
        ck_assert(!wsrc_read_f32(&s, m, row));
        for (int k = 0; k < K; k++)
            ck_assert_float_eq(row[k], 0.5f * (float)w[m * K + (uint32_t)k]);
    }
    gguf_close(g);
    buf_free(&b);
}
END_TEST

/* Columns that do not fill bytes: the tail is coded as zeros. */
START_TEST(hf_packed_rows_end_anywhere)
{
    for (uint32_t cols = 1; cols <= 9; cols++) {
        int8_t w[8 * 9];
        uint8_t row[3];
        uint64_t state = cols;
        struct buf b = { 0 };
        for (uint32_t i = 0; i < 8 * cols; i++)
            w[i] = (int8_t)(make_random(&state) % 3 - 1);
        hf_dir_pack(8, cols, w, &b);
        struct gguf *g = one_tensor(HF_U8, 8, cols, b.p, b.n, NULL);
        const struct wsrc s = open_one(g);
        for (uint32_t i = 0; i < 8; i++) {
            ck_assert(!wsrc_read_rows(&s, i, 1, row, 0));
            for (uint32_t k = 0; k < (cols + 3) / 4 * 4; k++)
                ck_assert_int_eq((row[k / 4] >> 2 * (k % 4) & 3) - 1,
                                 k < cols ? w[i * cols + k] : 0);
        }
        gguf_close(g);
        buf_free(&b);
    }
}
END_TEST

/* One row of every finite value of a 16-bit type, against the formula. */
static void check_latent16(uint32_t type)
{
    static uint16_t v[65536];
    static uint8_t row[65536 / 4];
    const bool half = type == HF_LATENT_F16;
    uint32_t n = 0;
    double sum = 0;
    for (uint32_t i = 0; i < 65536; i++) {
        const float f = half ? f16_to_f32((uint16_t)i) : bf16_to_f32((uint16_t)i);
        if (isfinite(f) && fabsf(f) < 1e4f)
            v[n++] = (uint16_t)i;
    }
    for (uint32_t i = 0; i < n; i++)
        sum += (double)fabsf(half ? f16_to_f32(v[i]) : bf16_to_f32(v[i]));
    struct gguf *g = one_tensor(type, 1, n, v, n * sizeof v[0], NULL);
    const struct wsrc w = open_one(g);
    ck_assert_double_eq_tol((double)w.scale, sum / n, 1e-6 * sum / n);
    ck_assert(!wsrc_read_rows(&w, 0, 1, row, 0));
    for (uint32_t i = 0; i < n; i++) {
        const float f = half ? f16_to_f32(v[i]) : bf16_to_f32(v[i]);
        const float q = rintf(f / w.scale);
        ck_assert_msg((row[i / 4] >> 2 * (i % 4) & 3) - 1 == (q > 1 ? 1 : q < -1 ? -1 : (int)q),
                      "%.9g at scale %.9g", (double)f, (double)w.scale);
    }
    gguf_close(g);
}

START_TEST(hf_latent_weights_round_to_the_nearest)
{
    check_latent16(HF_LATENT_BF16);
    check_latent16(HF_LATENT_F16);
    /* f32, around half a scale: the mean of these is 2, and ties go to zero. */
    float v[68] = { 1.0f, nextafterf(1, 2), -1.0f, -nextafterf(1, 2), nextafterf(1, 0), 0.0f, -0.0f,
                    3 };
    double rest = 2 * 68;
    for (int i = 0; i < 8; i++)
        rest -= (double)fabsf(v[i]);
    for (int i = 8; i < 68; i++)
        v[i] = (float)(rest / 60);
    static const int want[8] = { 0, 1, 0, -1, 0, 0, 0, 1 };
    uint8_t row[17];
    struct gguf *g = one_tensor(HF_LATENT_F32, 1, 68, v, sizeof v, NULL);
    const struct wsrc w = open_one(g);
    ck_assert_float_eq(w.scale, 2);
    ck_assert(!wsrc_read_rows(&w, 0, 1, row, 0));
    for (unsigned i = 0; i < 68; i++)
        ck_assert_int_eq((row[i / 4] >> 2 * (i % 4) & 3) - 1, i < 8 ? want[i] : 1);
    gguf_close(g);
    /* Nothing but zeros: a scale, and no weight. */
    static const uint16_t zero[20] = { 0 };
    g = one_tensor(HF_LATENT_BF16, 1, 20, zero, sizeof zero, NULL);
    const struct wsrc z = open_one(g);
    ck_assert(z.scale == 1e-5f && !wsrc_read_rows(&z, 0, 1, row, 0));
    ck_assert(row[0] == 0x55 && row[4] == 0x55);
    gguf_close(g);
}
END_TEST

/* Wherever it stands, in the last few elements too. */
START_TEST(hf_latent_weights_are_numbers)
{
    static const struct {
        uint32_t type;
        unsigned size;
        uint32_t bits[3];        /* Inf, NaN, -NaN                            */
    } c[] = {
        { HF_LATENT_BF16, 2, { 0x7f80, 0x7fc0, 0xffc1 } },
        { HF_LATENT_F16, 2, { 0x7c00, 0x7e00, 0xfc01 } },
        { HF_LATENT_F32, 4, { 0x7f800000, 0x7fc00000, 0xff800001 } },
    };
    for (unsigned t = 0; t < 3; t++)
        for (unsigned at = 0; at < 37; at++)
            for (unsigned k = 0; k < 3; k++) {
                uint8_t v[37 * 4] = { 0 };
                struct wsrc w;
                struct err e = { 0 };
                memcpy(v + at * c[t].size, &c[t].bits[k], c[t].size);
                struct gguf *g = one_tensor(c[t].type, 1, 37, v, 37 * c[t].size, NULL);
                ck_assert_int_eq(wsrc_open(&w, g, gguf_tensor(g, "x.weight"), NULL, &e), ERR_DATA);
                ck_assert(strstr(e.text, "a value is NaN or infinite") != NULL);
                gguf_close(g);
            }
}
END_TEST

/* ----------------------------------------------------------------- absmean */

START_TEST(absmean_rounds_halves_to_zero_and_has_a_least_scale)
{
    const float x[6] = { 0.5f, -0.5f, 0.50000006f, -0.50000006f, 3, -0.0f };
    static const int8_t expected[6] = { 0, 0, 1, -1, 1, 0 };
    const float three[2] = { -5, 1 }, none[2] = { 0, -0.0f };
    struct absmean a = { .n = 0 }, b = { .n = 0 };
    int8_t w[6];
    absmean_codes(x, 6, 1, w);
    ck_assert_mem_eq(w, expected, 6);
    absmean_add(&a, none, 2);
    ck_assert_float_eq(absmean_scale(&a), 1e-5f);
    absmean_add(&b, three, 2);
    ck_assert_float_eq(absmean_scale(&b), 3);
}
END_TEST

/* A directory's weights and the same in a file that is converted: the sum of
 * these is a tie of two floats but for what is too small to be added one by one,
 * so another order of additions gives another scale. */
START_TEST(absmean_is_one_scale_however_it_is_read)
{
    float v[64] = { 0x1p24f, -1 };
    double in_turn = 0;
    for (unsigned i = 2; i < 64; i++)
        v[i] = i % 2 ? 0x1p-30f : -0x1p-30f;
    for (unsigned i = 0; i < 64; i++)
        in_turn += (double)fabsf(v[i]);
    for (uint32_t cols = 1; cols <= 64; cols *= 2) {
        struct absmean m = { .n = 0 };
        struct gguf *g = one_tensor(HF_LATENT_F32, 64 / cols, cols, v, sizeof v, NULL);
        for (uint32_t i = 0; i < 64; i += cols)
            absmean_add(&m, v + i, cols);
        ck_assert_float_eq(open_one(g).scale, absmean_scale(&m));
        ck_assert_float_ne(absmean_scale(&m), (float)(in_turn / 64));
        gguf_close(g);
    }
}
END_TEST

/* -------------------------------------------------------------------- parts */

static int n_closed;

static void count_closed(void *owner)
{
    (void)owner;
    n_closed++;
}

START_TEST(gguf_parts_belong_to_the_container)
{
    static const float v[2] = { 1, 2 };
    struct gguf *g = one_tensor(0, 1, 2, v, sizeof v, count_closed);
    ck_assert(gguf_n_tensors(g) == 1 && gguf_n_kv(g) == 0 && gguf_file_size(g) == 8);
    ck_assert_int_eq(n_closed, 0);
    gguf_close(g);
    ck_assert_int_eq(n_closed, 1);
    /* Refused, and closed all the same: keys that are cut, a name twice. */
    struct err e = { 0 };
    struct gguf_parts parts = { .name = "parts", .kv = "\1\0\0\0", .kv_size = 4, .n_kv = 1,
                                .close = count_closed };
    ck_assert_int_eq(gguf_open_parts(&g, &parts, &e), ERR_DATA);
    const struct gguf_tensor twice[2] = { { .name = { "a", 1 } }, { .name = { "a", 1 } } };
    parts = (struct gguf_parts){ .name = "parts", .tensor = twice, .n_tensor = 2,
                                 .close = count_closed };
    ck_assert_int_eq(gguf_open_parts(&g, &parts, &e), ERR_DATA);
    ck_assert(strstr(e.text, "occurs twice") && n_closed == 3 && !g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hf_rows");
    TCase *c = tcase_create("hf_rows");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, hf_packed_rows_are_the_published_ones);
    tcase_add_test(c, hf_packed_rows_end_anywhere);
    tcase_add_test(c, hf_latent_weights_round_to_the_nearest);
    tcase_add_test(c, hf_latent_weights_are_numbers);
    tcase_add_test(c, absmean_rounds_halves_to_zero_and_has_a_least_scale);
    tcase_add_test(c, absmean_is_one_scale_however_it_is_read);
    tcase_add_test(c, gguf_parts_belong_to_the_container);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
