/* test_exact.c - exact.h against long double libm and published vectors.
 *
 * The x87 or quad long double has at least 11 bits more than a double, and
 * libm's long double functions err by about one of its last places: enough to
 * measure 2^-50. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/exact.h"

#define BOUND 0x1p-50L
#define N 100000

static uint64_t state = 1;

/* Uniform in [0, 1), independent of what is tested. */
static double draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) * 0x1p-53;
}

static long double relative(double got, long double want)
{
    return fabsl((long double)got - want) / fabsl(want);
}

START_TEST(exp_is_within_its_bound)
{
    long double worst = 0;
    for (int i = 0; i < N; i++) {
        double x = i % 2 ? (draw() - 0.5) * 1400 : (draw() - 0.5) * 2;
        long double r = relative(exact_exp(x), expl((long double)x));
        worst = r > worst ? r : worst;
    }
    ck_assert_msg(worst < BOUND, "worst relative error %Lg", worst);
    ck_assert(exact_exp(0) == 1);
    ck_assert(exact_exp(-701) == 0);
    ck_assert(exact_exp(-INFINITY) == 0);
    ck_assert(exact_exp(1e300) == exact_exp(700));
    ck_assert(relative(exact_exp(-700), expl(-700)) < BOUND);
}
END_TEST

START_TEST(log_is_within_its_bound)
{
    long double worst = 0;
    for (int i = 0; i < N; i++) {
        double x = i % 3 == 0 ? ldexp(1 + draw(), (int)(draw() * 2044) - 1022)
                 : i % 3 == 1 ? 1 + (draw() - 0.5) * 0.9
                              : 1 + (draw() - 0.5) * ldexp(1, -(int)(draw() * 50));
        if (x == 1)
            continue;
        long double r = relative(exact_log(x), logl((long double)x));
        worst = r > worst ? r : worst;
    }
    ck_assert_msg(worst < BOUND, "worst relative error %Lg", worst);
    ck_assert(exact_log(1) == 0);
    ck_assert(relative(exact_log(DBL_MIN), logl(DBL_MIN)) < BOUND);
    ck_assert(relative(exact_log(DBL_MAX), logl(DBL_MAX)) < BOUND);
}
END_TEST

static long double worst_sincos(double x, long double worst)
{
    double s, c;
    exact_sincos(x, &s, &c);
    long double a = x == 0 ? 0 : relative(s, sinl((long double)x));
    long double b = relative(c, cosl((long double)x));
    worst = a > worst ? a : worst;
    return b > worst ? b : worst;
}

START_TEST(sincos_is_within_its_bound)
{
    long double worst = 0;
    static const double range[] = { 0.8, 7, 1000, 400000, 0x1p30 };
    for (int i = 0; i < N; i++)
        worst = worst_sincos((draw() - 0.5) * 2 * range[i % 5], worst);
    ck_assert_msg(worst < BOUND, "worst relative error %Lg", worst);
    double s, c;
    exact_sincos(0, &s, &c);
    ck_assert(s == 0 && c == 1);
}
END_TEST

/* Next to the zeros the reduced argument is all that is left of x. */
START_TEST(sincos_is_within_its_bound_next_to_multiples_of_half_pi)
{
    long double worst = 0;
    const long double half_pi = acosl(-1) / 2;
    for (int i = 1; i < N; i++) {
        double x = (double)(floorl((long double)draw() * (i % 2 ? 6.8e8L : 2e5L)) * half_pi);
        worst = worst_sincos(x, worst);
        worst = worst_sincos(nextafter(x, 0), worst);
    }
    ck_assert_msg(worst < BOUND, "worst relative error %Lg", worst);
}
END_TEST

/* The known-answer vectors that Random123 publishes for philox4x32, 10 rounds. */
START_TEST(philox_gives_the_published_vectors)
{
    static const uint32_t in[3][6] = {
        { 0, 0, 0, 0, 0, 0 },
        { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0 }
    };
    static const uint32_t want[3][4] = {
        { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 }
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        exact_philox(in[i], in[i] + 4, out);
        ck_assert_mem_eq(out, want[i], sizeof out);
    }
}
END_TEST

START_TEST(uniform_is_keyed_by_seed_and_counter)
{
    ck_assert(exact_uniform(0, 0) == (double)(0xe169c58d6627e8d5u >> 11) / 0x1p53);
    double sum = 0, low = 1, high = 0;
    for (uint64_t n = 0; n < 100000; n++) {
        double u = exact_uniform(42, n);
        ck_assert(u >= 0 && u < 1);
        sum += u;
        low = u < low ? u : low;
        high = u > high ? u : high;
    }
    ck_assert_double_eq_tol(sum / 100000, 0.5, 0.005);
    ck_assert(low < 1e-3 && high > 1 - 1e-3);
    ck_assert(exact_uniform(1, 0) != exact_uniform(2, 0));
    ck_assert(exact_uniform(1, 1) != exact_uniform((uint64_t)1 << 32 | 1, 1));
    ck_assert(exact_uniform(1, 1) != exact_uniform(1, (uint64_t)1 << 32 | 1));
}
END_TEST

/* Fixed bits: what any machine must give. A change of one operation in
 * exact.c shows here even when the accuracy survives it. */
START_TEST(results_have_the_same_bits_everywhere)
{
    uint64_t h = 14695981039346656037u;
    for (int i = 0; i < 20000; i++) {
        double v[4], x = ((i * 7919) % 20000 - 10000) * 0.0437;
        v[0] = exact_exp(x);
        v[1] = exact_log(fabs(x) + 0x1p-40);
        exact_sincos(x * 900, &v[2], &v[3]);
        for (unsigned k = 0; k < 4; k++) {
            uint64_t u;
            memcpy(&u, &v[k], sizeof u);
            h = (h ^ u) * 1099511628211u;
        }
    }
    ck_assert_msg(h == 0x9a3a52329a76c118u, "hash is 0x%016llx", (unsigned long long)h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("exact");
    TCase *t = tcase_create("exact");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, exp_is_within_its_bound);
    tcase_add_test(t, log_is_within_its_bound);
    tcase_add_test(t, sincos_is_within_its_bound);
    tcase_add_test(t, sincos_is_within_its_bound_next_to_multiples_of_half_pi);
    tcase_add_test(t, philox_gives_the_published_vectors);
    tcase_add_test(t, uniform_is_keyed_by_seed_and_counter);
    tcase_add_test(t, results_have_the_same_bits_everywhere);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
