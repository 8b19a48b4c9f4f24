/* Promises of core/model/sums.h: the sums are XXH3 of the chunks, whoever took them,
 * and what cannot be read has none. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "core/base/aside.h"
#include "core/model/sums.h"
#include "gguf_make.h"

enum { N_TENSOR = 4, N_HELPER = 3 };

/* Elements of each: a chunk and a bit, none more than whole chunks, and little. */
static const uint64_t n_elem[N_TENSOR] = { SUMS_CHUNK / 4 * 2 + 3, SUMS_CHUNK / 4, 1, 700 };

static char path[] = "/tmp/bitnet-sums-XXXXXX";
static struct gguf_make made;
static struct buf bytes;
static struct gguf *file;
static struct err err;

static void setup(void)
{
    made = (struct gguf_make){ .n_kv = 0 };
    bytes = (struct buf){ 0 };
    for (unsigned i = 0; i < N_TENSOR; i++) {
        float *v = malloc(n_elem[i] * sizeof *v);
        char name[16];
        ck_assert_ptr_nonnull(v);
        for (uint64_t k = 0; k < n_elem[i]; k++)
            v[k] = (float)(k * 7 % 1013) + (float)i;
        snprintf(name, sizeof name, "t%u", i);
        gguf_make_tensor(&made, name, 0, 0, n_elem[i], v, n_elem[i] * sizeof *v);
        free(v);
    }
    gguf_make_done(&made, &bytes);
    strcpy(path + strlen(path) - 6, "XXXXXX");
    const int fd = mkstemp(path);
    ck_assert(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
    close(fd);
}

static void teardown(void)
{
    gguf_close(file);
    file = NULL;
    unlink(path);
    gguf_make_free(&made);
    buf_free(&bytes);
}

static void expect_sums(const struct sums *s)
{
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(file, i);
        uint64_t n;
        const uint64_t *sum = sums_of(s, t, &n);
        ck_assert_ptr_nonnull(sum);
        ck_assert_uint_eq(n, (t->size + SUMS_CHUNK - 1) / SUMS_CHUNK);
        for (uint64_t k = 0; k < n; k++) {
            const uint64_t left = t->size - k * SUMS_CHUNK;
            ck_assert_uint_eq(sum[k], XXH3_64bits(t->data + k * SUMS_CHUNK,
                                                  left < SUMS_CHUNK ? left : SUMS_CHUNK));
        }
    }
}

START_TEST(they_are_the_hashes_of_chunks)
{
    ck_assert_msg(!(_i ? gguf_open_mem(&file, bytes.p, bytes.n, "memory", &err)
                       : gguf_open(&file, path, &err)), "%s", err.text);
    struct sums *s = sums_open(file);
    ck_assert_ptr_nonnull(s);
    sums_finish(s);
    expect_sums(s);
    sums_finish(s);                            /* again: nothing is left to do */
    expect_sums(s);
    sums_close(s);
}
END_TEST

static void help(void *s)
{
    sums_help(s);
}

START_TEST(many_may_help)
{
    struct aside aside[N_HELPER];
    ck_assert_msg(!gguf_open(&file, path, &err), "%s", err.text);
    struct sums *s = sums_open(file);
    ck_assert_ptr_nonnull(s);
    for (unsigned i = 0; i < N_HELPER; i++)
        aside_start(&aside[i], help, s);
    for (unsigned i = 0; i < N_HELPER; i++)
        aside_wait(&aside[i]);
    sums_finish(s);
    expect_sums(s);
    sums_close(s);
}
END_TEST

/* The map of a file that was cut raises a signal when it is read; this does not. */
START_TEST(a_file_that_was_cut_has_none)
{
    ck_assert_msg(!gguf_open(&file, path, &err), "%s", err.text);
    const struct gguf_tensor *last = gguf_tensor(file, "t3"), *first = gguf_tensor(file, "t2");
    ck_assert_int_eq(truncate(path, (off_t)last->offset + 8), 0);
    struct sums *s = sums_open(file);
    uint64_t n;
    ck_assert_ptr_nonnull(s);
    sums_finish(s);
    ck_assert_ptr_null(sums_of(s, last, &n));
    ck_assert_ptr_nonnull(sums_of(s, first, &n));
    sums_close(s);
}
END_TEST

START_TEST(it_may_be_closed_in_the_middle)
{
    ck_assert_msg(!gguf_open(&file, path, &err), "%s", err.text);
    struct sums *s = sums_open(file);
    ck_assert_ptr_nonnull(s);
    sums_close(s);
    sums_close(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sums");
    TCase *c = tcase_create("sums");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_loop_test(c, they_are_the_hashes_of_chunks, 0, 2);
    tcase_add_test(c, many_may_help);
    tcase_add_test(c, a_file_that_was_cut_has_none);
    tcase_add_test(c, it_may_be_closed_in_the_middle);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
