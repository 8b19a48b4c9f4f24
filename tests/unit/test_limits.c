/* Promises of core/plug/limits.h. */
#include <check.h>
#include <time.h>

#include "core/plug/limits.h"
#include "plug_dir.h"

static struct plug *plug;

static void setup(void)
{
    plug_dir_setup();
    struct plug_opts o = plug_dir_opts();
    o.n_threads = 2;
    plug = plug_dir_open(&o);
}

static void teardown(void)
{
    plug_close(plug);
    plug_dir_teardown();
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Every machine that we know reads between 0.5 and 2,000 GB/s; an emulated or
 * instrumented one may be slower. */
START_TEST(limits_reading_is_a_plausible_number_and_measured_once)
{
    const double first = limits_read_gbs(plug);
    ck_assert_msg(first > 0.01 && first < 2000, "%g GB/s", first);
    const double start = seconds();
    ck_assert_double_eq(limits_read_gbs(plug), first);
    ck_assert_double_lt(seconds() - start, 0.01);
    ck_assert_uint_eq(atomic_load(&plug->mem.n), 0);
}
END_TEST

/* No core that we know multiplies more than 4,096 bytes in a cycle. */
START_TEST(limits_int8_is_a_plausible_number_and_measured_once)
{
    const double first = limits_int8_gmacs(plug);
    ck_assert_msg(first > 0.01 && first < 2 * 4096 * 10.0, "%g GMAC/s", first);
    const double start = seconds();
    ck_assert_double_eq(limits_int8_gmacs(plug), first);
    ck_assert_double_lt(seconds() - start, 0.01);
    ck_assert_str_ne(limits_int8_name(plug), "");
}
END_TEST

/* Both of a sample; its memory is given back. */
START_TEST(limits_sample_is_plausible)
{
    const struct limits_now now = limits_sample(plug);
    ck_assert_msg(now.read_gbs > 0.001 && now.read_gbs < 2000, "%g GB/s", now.read_gbs);
    ck_assert_msg(now.int8_gmacs > 0.001 && now.int8_gmacs < 2 * 4096 * 10.0, "%g GMAC/s",
                  now.int8_gmacs);
    ck_assert_uint_eq(atomic_load(&plug->mem.n), 0);
}
END_TEST

/* Each mask that this processor has runs a loop of its own. */
START_TEST(limits_int8_keeps_to_the_mask)
{
    const uint64_t has = plug->topo.abi.isa;
    const char *best = limits_int8_name(plug), *least;
    plug->topo.abi.isa = 0;
    least = limits_int8_name(plug);
    if (has)
        ck_assert_str_ne(best, least);
    for (unsigned bit = 0; bit < 64; bit++) {
        plug->topo.abi.isa = has & ((UINT64_C(2) << bit) - 1);
        plug->limits.int8_gmacs = 0;
        ck_assert_double_gt(limits_int8_gmacs(plug), 0.01);
        while (bit < 63 && !(has >> (bit + 1) & 1))
            bit++;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits");
    TCase *c = tcase_create("limits");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, limits_reading_is_a_plausible_number_and_measured_once);
    tcase_add_test(c, limits_int8_is_a_plausible_number_and_measured_once);
    tcase_add_test(c, limits_sample_is_plausible);
    tcase_add_test(c, limits_int8_keeps_to_the_mask);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
