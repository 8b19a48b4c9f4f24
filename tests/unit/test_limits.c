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

int main(void)
{
    Suite *suite = suite_create("limits");
    TCase *c = tcase_create("limits");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, limits_reading_is_a_plausible_number_and_measured_once);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
