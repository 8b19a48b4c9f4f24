/* test_logfile.c - promises of tools/bitnet_logfile.h. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bitnet_logfile.h"

enum { N_VOCAB = 301, N_SEQ = 3, MAX_TOK = 20 };     /* an odd vocabulary: padding */

static char dir[32], path[64];
static struct err err;
static int32_t id[N_SEQ][MAX_TOK];
static struct log_seq seq[N_SEQ];
static float logit[40][N_VOCAB];
static uint32_t n_row;

static double lse(const float *x)
{
    double sum = 0;
    for (int i = 0; i < N_VOCAB; i++)
        sum += exp((double)x[i]);
    return log(sum);
}

static void save(enum log_encoding encoding)
{
    struct logfile_out o;
    ck_assert_msg(!logfile_create(&o, path, encoding, N_VOCAB, "{\"a\":1}", seq, N_SEQ, &err), "%s",
                  err.text);
    uint8_t *row = malloc(o.row_size);
    ck_assert_ptr_nonnull(row);
    for (uint32_t i = 0; i < n_row; i++) {
        logfile_encode(&o, logit[i], lse(logit[i]), row);
        ck_assert_int_eq(logfile_write(&o, row, 1, &err), 0);
    }
    ck_assert_int_eq(logfile_commit(&o, &err), 0);
    logfile_abort(&o);
    free(row);
}

static void setup(void)
{
    strcpy(dir, "/tmp/bitnet-logfile-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a", dir);
    n_row = 0;
    for (uint32_t s = 0; s < N_SEQ; s++) {
        seq[s] = (struct log_seq){ .id = id[s], .n_tok = 7 + 2 * s, .first = s, .n_row = 4 + s };
        for (uint32_t i = 0; i < seq[s].n_tok; i++)
            id[s][i] = (int32_t)(i * 31 + s) % N_VOCAB;
        n_row += seq[s].n_row;
    }
    srand(3);
    for (uint32_t i = 0; i < n_row; i++)
        for (int k = 0; k < N_VOCAB; k++)
            logit[i][k] = (float)(rand() % 40000 - 20000) / 1000.0f;
    logit[2][9] = -80;                               /* beyond what 16 bits keep */
    for (int k = 0; k < N_VOCAB; k++)
        logit[3][k] = 2;                             /* nothing to tell apart   */
    err = (struct err){ 0 };
}

static void teardown(void)
{
    unlink(path);
    rmdir(dir);
}

static void check_sequences(const struct logfile *l)
{
    ck_assert_uint_eq(l->n_vocab, N_VOCAB);
    ck_assert_uint_eq(l->n_seq, N_SEQ);
    ck_assert_uint_eq(l->n_row, n_row);
    ck_assert(l->meta.n == 7 && !memcmp(l->meta.p, "{\"a\":1}", 7));
    for (uint32_t s = 0; s < N_SEQ; s++) {
        ck_assert_uint_eq(l->seq[s].n_tok, seq[s].n_tok);
        ck_assert_uint_eq(l->seq[s].first, seq[s].first);
        ck_assert_uint_eq(l->seq[s].n_row, seq[s].n_row);
        ck_assert_mem_eq(l->seq[s].id, id[s], seq[s].n_tok * sizeof **id);
    }
}

START_TEST(logfile_f32_comes_back_bit_by_bit)
{
    struct logfile l;
    double row[N_VOCAB], floor;
    save(LOG_F32);
    ck_assert_msg(!logfile_open(&l, path, N_VOCAB, &err), "%s", err.text);
    check_sequences(&l);
    for (uint32_t i = 0; i < n_row; i++) {
        ck_assert_int_eq(logfile_row(&l, i, row, &floor, &err), 0);
        ck_assert(isinf(floor) && floor < 0);
        for (int k = 0; k < N_VOCAB; k++)
            ck_assert(row[k] == (double)logit[i][k]);
    }
    logfile_close(&l);
}
END_TEST

START_TEST(logfile_u16_keeps_log_probabilities_to_half_a_step)
{
    struct logfile l;
    double row[N_VOCAB], floor;
    const double step = 24.0 / 65535;
    save(LOG_U16);
    ck_assert_msg(!logfile_open(&l, path, N_VOCAB, &err), "%s", err.text);
    check_sequences(&l);
    for (uint32_t i = 0; i < n_row; i++) {
        ck_assert_int_eq(logfile_row(&l, i, row, &floor, &err), 0);
        for (int k = 0; k < N_VOCAB; k++) {
            const double is = (double)logit[i][k] - lse(logit[i]);
            if (is > floor + step)
                ck_assert_double_eq_tol(row[k], is, step / 2 + 1e-5);
            else
                ck_assert_double_le(row[k], floor + step);
        }
    }
    ck_assert_int_eq(logfile_row(&l, 2, row, &floor, &err), 0);
    ck_assert(row[9] == floor && row[9] > (double)logit[2][9] - lse(logit[2]));
    ck_assert_int_eq(logfile_row(&l, 3, row, &floor, &err), 0);
    ck_assert_double_eq_tol(row[5], -log(N_VOCAB), 1e-5);
    logfile_close(&l);
}
END_TEST

static char *whole(size_t *n)
{
    char *p;
    ck_assert_int_eq(file_read(path, 1 << 20, &p, n, &err), 0);
    return p;
}

/* Everything before the rows, and every row, is under a digest. */
START_TEST(logfile_with_one_byte_changed_is_refused)
{
    struct logfile l;
    double row[N_VOCAB], floor;
    size_t n;
    save(LOG_U16);
    char *p = whole(&n);
    for (size_t i = 0; i < n; i++) {
        p[i] ^= 0x11;
        int rc = logfile_parse(&l, p, n, &err);
        if (!rc) {
            for (uint32_t r = 0; r < n_row; r++)
                rc = logfile_row(&l, r, row, &floor, &err) ? ERR_DATA : rc;
            logfile_close(&l);
        }
        ck_assert_msg(rc == ERR_DATA || rc == ERR_UNSUPPORTED, "byte %zu: %d", i, rc);
        p[i] ^= 0x11;
    }
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(logfile_parse(&l, p, i, &err), ERR_DATA);
    free(p);
}
END_TEST

START_TEST(logfile_that_is_none_is_refused_by_name)
{
    struct logfile l;
    bool is;
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("some text, and no logits at all", f);
    fclose(f);
    ck_assert_int_eq(logfile_is(path, &is, &err), 0);
    ck_assert(!is);
    ck_assert_int_eq(logfile_open(&l, path, N_VOCAB, &err), ERR_DATA);
    ck_assert_int_eq(strncmp(err.text, path, strlen(path)), 0);
    ck_assert_int_eq(logfile_open(&l, "/nonexistent/x", N_VOCAB, &err), ERR_IO);
}
END_TEST

START_TEST(logfile_of_another_vocabulary_is_refused)
{
    struct logfile l;
    save(LOG_F32);
    ck_assert_int_eq(logfile_open(&l, path, N_VOCAB + 1, &err), ERR_DATA);
    ck_assert(strstr(err.text, "a vocabulary of ") && strstr(err.text, ", the model's"));
    ck_assert(!l.rows && !l.seq);
}
END_TEST

START_TEST(logfile_that_is_not_finished_leaves_nothing)
{
    struct logfile_out o;
    ck_assert_int_eq(logfile_create(&o, path, LOG_F32, N_VOCAB, "", seq, N_SEQ, &err), 0);
    logfile_abort(&o);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_eq(logfile_create(&o, path, LOG_F32, N_VOCAB, "", seq, N_SEQ, &err), ERR_IO);
}
END_TEST

/* The common tool's file, as its source writes it: two windows of 8 tokens. */
static size_t foreign(uint8_t *p)
{
    const int32_t head[3] = { 8, N_VOCAB, 2 };
    const float scale = 0.001f, least = -30;
    size_t n = 8;
    memcpy(p, "_logits_", 8);
    memcpy(p + n, head, sizeof head);
    n += sizeof head;
    for (int32_t i = 0; i < 16; i++, n += 4)
        memcpy(p + n, &i, 4);
    for (int r = 0; r < 2 * 3; r++) {
        memcpy(p + n, &scale, 4);
        memcpy(p + n + 4, &least, 4);
        for (int k = 0; k < N_VOCAB + 1; k++) {
            const uint16_t q = (uint16_t)(k * 90 + r);
            memcpy(p + n + 8 + 2 * k, &q, 2);
        }
        n += 8 + 2 * (N_VOCAB + 1);
    }
    return n;
}

START_TEST(logfile_of_the_common_tool_is_read)
{
    static uint8_t p[1 << 14];
    struct logfile l;
    double row[N_VOCAB], floor;
    const size_t n = foreign(p);
    ck_assert_msg(!logfile_parse(&l, p, n, &err), "%s", err.text);
    ck_assert(l.foreign && l.n_seq == 2 && l.seq[1].n_tok == 8 && l.seq[1].first == 4 &&
              l.seq[1].n_row == 3 && l.seq[1].row == 3 && l.seq[1].id[2] == 10);
    ck_assert_int_eq(logfile_row(&l, 4, row, &floor, &err), 0);
    ck_assert_double_eq_tol(floor, -30, 1e-9);
    ck_assert_double_eq_tol(row[100], -30 + 0.001 * (100 * 90 + 4), 1e-5);
    logfile_close(&l);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(logfile_parse(&l, p, i, &err), ERR_DATA);
    memset(p + 20 + 8 * 4, 0xff, 4);                 /* a token that is none */
    ck_assert_int_eq(logfile_parse(&l, p, n, &err), ERR_DATA);
    ck_assert_msg(strstr(err.text, "token 8 is -1") != NULL, "%s", err.text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("logfile");
    TCase *c = tcase_create("logfile");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, logfile_f32_comes_back_bit_by_bit);
    tcase_add_test(c, logfile_u16_keeps_log_probabilities_to_half_a_step);
    tcase_add_test(c, logfile_with_one_byte_changed_is_refused);
    tcase_add_test(c, logfile_that_is_none_is_refused_by_name);
    tcase_add_test(c, logfile_of_another_vocabulary_is_refused);
    tcase_add_test(c, logfile_that_is_not_finished_leaves_nothing);
    tcase_add_test(c, logfile_of_the_common_tool_is_read);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
