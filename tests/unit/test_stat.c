/* test_stat.c - promises of tools/bitnet_stat.h, against the formulas in libm. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "tools/bitnet_stat.h"

enum { N = 1000 };

static float logit[N];

static void setup(void)
{
    srand(7);
    for (int i = 0; i < N; i++)
        logit[i] = (float)(rand() % 20000 - 10000) / 700.0f;
}

static double sum_exp(const float *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i]);
    return sum;
}

START_TEST(stat_nll_is_the_negative_log_of_softmax)
{
    const double sum = sum_exp(logit, N);
    ck_assert_double_eq_tol(stat_lse(logit, N), log(sum), 1e-12);
    for (int i = 0; i < N; i += 37)
        ck_assert_double_eq_tol(stat_nll(logit, N, i), -log(exp((double)logit[i]) / sum), 1e-11);
    const float far[2] = { 1000, -1000 };           /* beyond what exp can hold */
    ck_assert_double_eq_tol(stat_nll(far, 2, 1), 2000, 1e-9);
    ck_assert_double_eq_tol(stat_nll(far, 2, 0), 0, 1e-12);
}
END_TEST

START_TEST(stat_tells_what_is_no_number)
{
    double x[2] = { -INFINITY, -INFINITY };
    logit[N / 2] = NAN;
    ck_assert(isnan(stat_lse(logit, N)));
    logit[N / 2] = INFINITY;
    ck_assert(isnan(stat_lse(logit, N)));
    logit[N / 2] = -INFINITY;                       /* impossible, and a number */
    ck_assert(isfinite(stat_lse(logit, N)));
    ck_assert(!stat_log_softmax(x, 2));
}
END_TEST

START_TEST(stat_log_softmax_sums_to_one)
{
    double x[N], sum = 0;
    for (int i = 0; i < N; i++)
        x[i] = (double)logit[i];
    ck_assert(stat_log_softmax(x, N));
    for (int i = 0; i < N; i++)
        sum += exp(x[i]);
    ck_assert_double_eq_tol(sum, 1, 1e-12);
    ck_assert_double_eq_tol(x[3], -stat_nll(logit, N, 3), 1e-12);
}
END_TEST

START_TEST(stat_kld_is_none_of_itself_and_more_of_others)
{
    const double p[3] = { log(0.5), log(0.25), log(0.25) }, q[3] = { log(0.25), log(0.5), log(0.25) };
    const double none[3] = { log(0.5), log(0.5), -INFINITY };
    ck_assert_double_eq(stat_kld(p, p, 3, -INFINITY), 0);
    ck_assert_double_eq_tol(stat_kld(p, q, 3, -INFINITY), 0.25 * log(2), 1e-12);
    ck_assert_double_eq_tol(stat_kld(none, q, 3, -INFINITY), 0.5 * log(2), 1e-12);
    /* what stands for "this or less" counts for nothing */
    ck_assert_double_eq_tol(stat_kld(p, q, 3, log(0.25)), 0.5 * log(2), 1e-12);
}
END_TEST

START_TEST(stat_means_and_their_errors)
{
    struct stat_sum s = { 0 };
    const double x[4] = { -3, -1, -5, -7 };
    ck_assert_double_eq(stat_mean(&s), 0);
    for (int i = 0; i < 4; i++)
        stat_add(&s, x[i]);
    ck_assert_double_eq(stat_mean(&s), -4);
    ck_assert_double_eq(s.max, -1);
    ck_assert_double_eq_tol(stat_error(&s), sqrt(5.0 / 3), 1e-12);
    ck_assert_double_eq_tol(stat_share_error(0.5, 101), 0.05, 1e-12);
}
END_TEST

START_TEST(stat_percentiles_lie_between_neighbours)
{
    double x[5] = { 5, 1, 4, 2, 3 };
    stat_sort(x, 5);
    ck_assert_double_eq(stat_percentile(x, 5, 0.5), 3);
    ck_assert_double_eq(stat_percentile(x, 4, 0.5), 2.5);
    ck_assert_double_eq(stat_percentile(x, 5, 0), 1);
    ck_assert_double_eq(stat_percentile(x, 5, 1), 5);
    ck_assert_double_eq(stat_percentile(x, 0, 0.5), 0);
}
END_TEST

START_TEST(stat_pairs_of_parts_are_those_of_the_whole)
{
    double a[N], b[N];
    for (int i = 0; i < N; i++) {
        a[i] = (double)logit[i] + 100;
        b[i] = 3 * a[i] - 20 + (double)(rand() % 100) / 30;
    }
    const struct stat_pair all = stat_pair_of(a, b, N);
    struct stat_pair parts = { 0 };
    for (int at = 0, n; at < N; at += n) {
        n = at + 130 < N ? 130 : N - at;
        const struct stat_pair part = stat_pair_of(a + at, b + at, (uint32_t)n);
        stat_pair_add(&parts, &part);
    }
    ck_assert(parts.n == N && parts.worst == all.worst);
    ck_assert_double_eq_tol(parts.sq / all.sq, 1, 1e-12);
    ck_assert_double_eq_tol(stat_correlation(&parts), stat_correlation(&all), 1e-12);
    ck_assert(stat_correlation(&all) > 0.99 && stat_correlation(&all) < 1);
}
END_TEST

START_TEST(stat_correlation_of_lines)
{
    const double a[4] = { 1, 2, 3, 4 }, down[4] = { 8, 6, 4, 2 }, flat[4] = { 2, 2, 2, 2 };
    struct stat_pair p = stat_pair_of(a, down, 4);
    ck_assert_double_eq_tol(stat_correlation(&p), -1, 1e-12);
    ck_assert_double_eq(p.worst, 7);
    ck_assert_double_eq_tol(p.sq, 49 + 16 + 1 + 4, 1e-12);
    p = stat_pair_of(a, flat, 4);
    ck_assert_double_eq(stat_correlation(&p), 0);
    p = stat_pair_of(flat, flat, 4);
    ck_assert_double_eq(stat_correlation(&p), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stat");
    TCase *c = tcase_create("stat");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, stat_nll_is_the_negative_log_of_softmax);
    tcase_add_test(c, stat_tells_what_is_no_number);
    tcase_add_test(c, stat_log_softmax_sums_to_one);
    tcase_add_test(c, stat_kld_is_none_of_itself_and_more_of_others);
    tcase_add_test(c, stat_means_and_their_errors);
    tcase_add_test(c, stat_percentiles_lie_between_neighbours);
    tcase_add_test(c, stat_pairs_of_parts_are_those_of_the_whole);
    tcase_add_test(c, stat_correlation_of_lines);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
