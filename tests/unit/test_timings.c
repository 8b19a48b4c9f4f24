/* Promises of core/plug/timings.h: what is found again, and that no bytes of a
 * file can do more than be ignored. */
#include <check.h>
#include <limits.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/log.h"
#include "core/plug/timings.h"

static char dir[64], path[128];
static struct timings *t;
static struct err err;

static void setup(void)
{
    strcpy(dir, "/tmp/bitnet-timings-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/timings", dir);
    log_setup(LOG_LEVEL_ERROR, false);
    ck_assert_int_eq(timings_open(&t, path, &err), 0);
}

static void teardown(void)
{
    char command[128];
    timings_close(t);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static const uint8_t *key(uint32_t n)
{
    static uint8_t k[TIMINGS_KEY];
    memset(k, 7, sizeof k);
    memcpy(k, &n, sizeof n);
    return k;
}

static struct timings_value value(float us)
{
    return (struct timings_value){ .us = { us, 2 * us }, .guessed = 2, .unsure = 1, .cold = 1,
                                   .doubt = 0.5f, .weight_size = 12345 };
}

static void put(uint32_t n)
{
    const struct timings_value v = value((float)n);
    timings_put(t, key(n), &v);
}

static bool has(uint32_t n)
{
    struct timings_value v;
    if (!timings_find(t, key(n), &v))
        return false;
    const struct timings_value want = value((float)n);
    ck_assert_mem_eq(&v, &want, sizeof v);
    return true;
}

static void open_again(void)
{
    timings_close(t);
    ck_assert_int_eq(timings_open(&t, path, &err), 0);
}

START_TEST(timings_what_was_put_is_found_in_the_next_process)
{
    put(1);
    put(2);
    ck_assert(has(1) && has(2) && !has(3));
    ck_assert_int_eq(timings_save(t, &err), 0);
    open_again();
    ck_assert(has(1) && has(2) && !has(3));
    const struct timings_value v = value(9);
    timings_put(t, key(2), &v);                   /* replaced, not doubled */
    ck_assert_int_eq(timings_save(t, &err), 0);
    struct stat st;
    ck_assert(!stat(path, &st) && st.st_size == 16 + 2 * 64 + 32);
}
END_TEST

START_TEST(timings_nothing_new_is_not_written)
{
    struct stat st;
    ck_assert_int_eq(timings_save(t, &err), 0);
    ck_assert_int_ne(stat(path, &st), 0);
}
END_TEST

/* The least recently asked for make room. */
START_TEST(timings_the_file_has_a_limit)
{
    for (uint32_t i = 0; i < TIMINGS_MAX; i++)
        put(i);
    ck_assert_int_eq(timings_save(t, &err), 0);
    open_again();
    ck_assert(has(TIMINGS_MAX - 1) && has(5));
    for (uint32_t i = 0; i < 100; i++)
        put(TIMINGS_MAX + i);
    ck_assert_int_eq(timings_save(t, &err), 0);
    open_again();
    ck_assert(has(TIMINGS_MAX - 1) && has(5) && has(TIMINGS_MAX) && has(TIMINGS_MAX + 99));
    unsigned n = 0;
    for (uint32_t i = 0; i < TIMINGS_MAX + 100; i++)
        n += has(i);
    ck_assert_uint_eq(n, TIMINGS_MAX);
}
END_TEST

START_TEST(timings_impossible_values_are_not_kept)
{
    struct timings_value v = value(1);
    v.us[2] = NAN;
    timings_put(t, key(1), &v);
    v.us[2] = -1;
    timings_put(t, key(1), &v);
    ck_assert(!has(1));
}
END_TEST

/* A file of three entries, its digest made right again after `change`. */
static char *file_of(size_t *n, void (*change)(char *bytes, size_t n))
{
    char *bytes;
    for (uint32_t i = 1; i < 4; i++)
        put(i);
    ck_assert_int_eq(timings_save(t, &err), 0);
    ck_assert_int_eq(file_read(path, 1 << 20, &bytes, n, &err), 0);
    if (change) {
        change(bytes, *n);
        crypto_generichash((unsigned char *)bytes + *n - 32, 32, (unsigned char *)bytes, *n - 32,
                           NULL, 0);
    }
    return bytes;
}

static void many(char *bytes, size_t n)
{
    (void)n;
    memset(bytes + 12, 0xff, 4);
}

static void one_less(char *bytes, size_t n)
{
    (void)n;
    bytes[12] = 2;
}

static void other_version(char *bytes, size_t n)
{
    (void)n;
    bytes[8]++;
}

static void a_nan(char *bytes, size_t n)
{
    memset(bytes + n - 32 - 32, 0xff, 4);         /* the first time of the last entry */
}

static void a_flag(char *bytes, size_t n)
{
    bytes[n - 32 - 16] = 16;                      /* guessed: a fifth time */
}

static void a_doubt(char *bytes, size_t n)
{
    bytes[n - 32 - 15] = 16;                      /* unsure of it */
}

static void chosen_twice(char *bytes, size_t n)
{
    bytes[n - 32 - 13] = 2;
}

static void no_doubt(char *bytes, size_t n)
{
    memset(bytes + n - 32 - 12, 0x7f, 4);         /* more than all of it */
}

START_TEST(timings_a_hostile_file_is_ignored)
{
    static void (*const change[])(char *, size_t) = { many, one_less, other_version, a_nan,
                                                      a_flag, a_doubt, chosen_twice, no_doubt };
    size_t n;
    char *bytes = file_of(&n, change[_i]);
    struct timings *other;
    ck_assert_int_eq(timings_open(&other, NULL, &err), 0);
    ck_assert_int_eq(timings_parse(other, bytes, n, &err), ERR_DATA);
    struct timings_value v;
    for (uint32_t i = 0; i < 5; i++)
        ck_assert(!timings_find(other, key(i), &v));
    timings_close(other);
    free(bytes);
}
END_TEST

START_TEST(timings_a_damaged_file_is_ignored)
{
    size_t n;
    char *bytes = file_of(&n, NULL);
    struct timings *other;
    ck_assert_int_eq(timings_open(&other, NULL, &err), 0);
    ck_assert_int_eq(timings_parse(other, bytes, n, &err), 0);
    for (size_t cut = 0; cut < n; cut++)
        ck_assert_int_eq(timings_parse(other, bytes, cut, &err), ERR_DATA);
    for (size_t at = 0; at < n; at++) {
        bytes[at] ^= 0x10;
        ck_assert_int_eq(timings_parse(other, bytes, n, &err), ERR_DATA);
        bytes[at] ^= 0x10;
    }
    timings_close(other);
    free(bytes);
    ck_assert_int_eq(truncate(path, 100), 0);
    open_again();
    ck_assert(!has(1));
    put(4);
    ck_assert_int_eq(timings_save(t, &err), 0);
    open_again();
    ck_assert(has(4));
}
END_TEST

START_TEST(timings_a_folder_that_is_not_there_is_an_error_of_save)
{
    timings_close(t);
    ck_assert_int_eq(timings_open(&t, "/nonexistent/timings", &err), 0);
    put(1);
    ck_assert(has(1));
    ck_assert_int_eq(timings_save(t, &err), ERR_IO);
}
END_TEST

START_TEST(timings_the_path_is_what_the_configuration_says)
{
    char out[PATH_MAX], want[256];
    ck_assert_ptr_null(timings_path("off", out));
    ck_assert_str_eq(timings_path("/x/y", out), "/x/y");
    ck_assert(!unsetenv("CACHE_DIRECTORY") && !setenv("XDG_CACHE_HOME", dir, 1));
    snprintf(want, sizeof want, "%s/bitnet/timings", dir);
    ck_assert_str_eq(timings_path("", out), want);
    ck_assert_int_eq(setenv("XDG_CACHE_HOME", "/proc/nowhere", 1), 0);
    ck_assert_ptr_null(timings_path("", out));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timings");
    TCase *c = tcase_create("timings");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, timings_what_was_put_is_found_in_the_next_process);
    tcase_add_test(c, timings_nothing_new_is_not_written);
    tcase_add_test(c, timings_the_file_has_a_limit);
    tcase_add_test(c, timings_impossible_values_are_not_kept);
    tcase_add_loop_test(c, timings_a_hostile_file_is_ignored, 0, 8);
    tcase_add_test(c, timings_a_damaged_file_is_ignored);
    tcase_add_test(c, timings_a_folder_that_is_not_there_is_an_error_of_save);
    tcase_add_test(c, timings_the_path_is_what_the_configuration_says);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
