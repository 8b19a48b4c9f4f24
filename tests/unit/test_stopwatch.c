/* Promises of core/plug/stopwatch.h, on a clock and workers that a script moves:
 * each lane says what a call of it takes, and at which calls something else ran. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/plug/stopwatch.h"

#define N_ROW 3

struct script {
    double us[N_ROW];             /* a call of 1, 8, 64 rows, undisturbed      */
    double stall_us;              /* of every disturbed call                   */
    bool (*disturbed)(const struct script *, uint32_t call);
    bool idle;                    /* the workers see it: a stall is no work    */
    bool alone;                   /* one worker does it all                    */
    bool half;                    /* two do, each half of the time             */
    bool lazy;                    /* so, because there is no more for them     */
    uint32_t row, n_call, fail_at;
    uint32_t n_of[N_ROW];         /* calls of a row count                      */
};

static int64_t clock_ns;
static struct workers_lap work;       /* since the last lap */
static unsigned n_turn, last;     /* lanes' turns, and whose the last was      */
static struct script script[3];
static struct stopwatch_lane lane[3];
static double extra_us;
static bool workers_known;
static struct err err;

int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    (void)id;
    *t = (struct timespec){ .tv_sec = clock_ns / 1000000000, .tv_nsec = clock_ns % 1000000000 };
    return 0;
}

struct workers_lap __wrap_workers_lap(struct workers *);
struct workers_lap __wrap_workers_lap(struct workers *w)
{
    const struct workers_lap lap = work;
    (void)w;
    work = (struct workers_lap){ 0 };
    return lap;
}

void __wrap_workers_end_laps(struct workers *);
void __wrap_workers_end_laps(struct workers *w)
{
    (void)w;
}

static int set(void *ctx, uint32_t n_tok)
{
    struct script *s = ctx;
    s->row = n_tok == 1 ? 0 : n_tok == 8 ? 1 : 2;
    return 0;
}

/* Noise of 3 %, other in every call. */
static int once(void *ctx)
{
    struct script *s = ctx;
    const bool hit = s->disturbed && s->disturbed(s, s->n_call);
    const double us = s->us[s->row] * (1 + (double)(s->n_call * 7 % 11) * 0.003);
    const unsigned who = (unsigned)(s - script);
    n_turn += who != last;
    last = who;
    s->n_call++;
    s->n_of[s->row]++;
    clock_ns += (int64_t)(1e3 * (us + (hit ? s->stall_us : 0)));
    work.cpu_ns += (uint64_t)(1e3 * (us + (hit && !s->idle ? s->stall_us : 0)) *
                              (s->alone || s->half ? 1 : 2));
    work.wait_ns += (uint64_t)(1e3 * (s->half && !s->lazy ? us / 2
                                      : hit && s->idle ? s->stall_us : 0));
    work.n_job += !s->alone;
    return s->fail_at && s->n_call == s->fail_at ? ERR_PLUGIN : 0;
}

static void setup(void)
{
    clock_ns = 1000000000;
    work = (struct workers_lap){ 0 };
    n_turn = last = 0;
    extra_us = 500e3;
    workers_known = true;
    for (unsigned i = 0; i < 3; i++) {
        script[i] = (struct script){ .us = { 200, 800, 5000 }, .stall_us = 18000 };
        lane[i] = (struct stopwatch_lane){ .set = set, .once = once, .ctx = &script[i] };
    }
}

/* Returns what it took of the scripted clock, in microseconds. */
static double run(unsigned n)
{
    static int any;
    const int64_t start = clock_ns;
    const struct stopwatch w = { .n = N_ROW, .n_tok = { 1, 8, 64 }, .budget_us = 50e3,
                                 .extra_us = &extra_us, .n_worker = 2,
                                 .workers = workers_known ? (void *)&any : NULL };
    ck_assert_int_eq(stopwatch_run(&w, lane, n, &err), 0);
    return (double)(clock_ns - start) * 1e-3;
}

static void expect(unsigned i, unsigned row, double us, bool guessed, bool unsure)
{
    const struct stopwatch_time *t = &lane[i].time[row];
    ck_assert_msg(t->us >= us && t->us <= 1.1 * us, "lane %u, row count %u: %g, expected %g", i,
                  row, t->us, us);
    ck_assert_msg(t->guessed == guessed && t->unsure == unsure, "lane %u, row count %u: %d %d", i,
                  row, t->guessed, t->unsure);
}

START_TEST(stopwatch_measures_what_calls_take)
{
    script[1].us[2] = 7000;
    const double us = run(3);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < N_ROW; k++)
            expect(i, k, script[i].us[k], false, false);
    ck_assert_double_le(us, 3 * 50e3);
    ck_assert_double_eq(extra_us, 500e3);         /* nothing was disturbed */
}
END_TEST

/* What no call fits into is as long a row as before. */
START_TEST(stopwatch_guesses_what_the_budget_does_not_allow)
{
    script[0] = (struct script){ .us = { 16000, 999, 999 }, .alone = true };
    script[1] = (struct script){ .us = { 1000, 8000, 999 } };
    run(2);
    expect(0, 0, 16000, false, false);
    expect(0, 1, 16000 * 8, true, false);
    expect(0, 2, 16000 * 64, true, false);
    expect(1, 1, 8000, false, false);
    expect(1, 2, 64000, true, false);
    ck_assert_uint_eq(script[0].n_of[0], 3);
    ck_assert_uint_eq(script[0].n_of[1] + script[1].n_of[2], 0);
}
END_TEST

/* Turns are short, and every lane has one before any has its next. */
START_TEST(stopwatch_takes_lanes_in_turns)
{
    lane[0].n_turn = 2;
    run(3);
    ck_assert_uint_gt(n_turn, 3 * 3 * 3);
    script[0].us[0] = script[1].us[0] = script[2].us[0] = 10;
    n_turn = 0;
    run(3);
    ck_assert_uint_gt(n_turn, 3 * 3 * 3);
}
END_TEST

static bool first_calls(const struct script *s, uint32_t call)
{
    (void)s;
    return call < 3;
}

static bool first_of_all(const struct script *s, uint32_t call)
{
    (void)call;
    return s->n_of[s->row] < 2;
}

static bool three_of_four(const struct script *s, uint32_t call)
{
    (void)s;
    return call % 4 != 1;
}

/* However the first calls, or most calls, were held up: with workers that tell,
 * or without. Long calls that are mostly held up may end as unsure. */
START_TEST(stopwatch_a_stall_is_no_figure)
{
    static bool (*const when[])(const struct script *, uint32_t) = { first_calls, first_of_all,
                                                                     three_of_four };
    script[1].disturbed = when[_i / 4];
    script[1].idle = _i % 2;
    workers_known = _i / 2 % 2;
    script[1].stall_us = 18000;
    run(3);
    for (unsigned k = 0; k < N_ROW; k++) {
        const struct stopwatch_time *t = &lane[1].time[k];
        ck_assert_msg(!t->guessed && (t->us < 1.1 * script[1].us[k] ||
                                      (k == 2 && _i >= 8 && t->unsure)),
                      "%d: row count %u: %g", _i, k, t->us);
        expect(0, k, script[0].us[k], false, false);
    }
}
END_TEST

static double random_us;

static bool always(const struct script *s, uint32_t call)
{
    ((struct script *)(uintptr_t)s)->stall_us = random_us * (1 + (double)(call * 37 % 64));
    return true;
}

/* Every call held up, each by something else: the figure is called unsure, and
 * what is spent on it has an end. */
START_TEST(stopwatch_what_stays_disturbed_is_unsure)
{
    random_us = 300;
    script[1].disturbed = always;
    script[1].idle = true;
    const double us = run(3);
    ck_assert(lane[1].time[0].unsure);
    expect(0, 0, 200, false, false);
    ck_assert_double_le(us, 3 * 50e3 + 4 * 50e3 + 500e3);
    ck_assert_double_lt(extra_us, 500e3);
}
END_TEST

static bool long_ones(const struct script *s, uint32_t call)
{
    (void)call;
    return s->row == 2;
}

/* Calls that waited count with the work that was done in them, where those of
 * fewer rows show how many workers take part. */
START_TEST(stopwatch_what_was_kept_waiting_is_corrected)
{
    script[1].disturbed = long_ones;
    script[1].idle = true;
    script[1].stall_us = 6000;
    run(2);
    expect(1, 1, 800, false, false);
    expect(1, 2, 5000, false, true);
}
END_TEST

/* Half of each worker's time goes elsewhere, in all calls alike: nothing differs,
 * and still a machine that has the time does it in half of that. A lane for one
 * worker has no such mark. */
START_TEST(stopwatch_workers_that_were_never_there_make_all_unsure)
{
    script[0].alone = true;
    script[1].half = true;
    run(2);
    for (unsigned k = 0; k < N_ROW; k++) {
        expect(0, k, script[0].us[k], false, false);
        expect(1, k, script[1].us[k] / 2, false, true);
    }
    ck_assert_double_eq(extra_us, 500e3);         /* more of the same would not help */
}
END_TEST

/* Work that cannot be split evenly is no disturbance, however many do it. */
START_TEST(stopwatch_idle_workers_are_no_disturbance)
{
    for (unsigned i = 0; i < 3; i++)
        script[i].half = script[i].lazy = true;
    run(3);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < N_ROW; k++)
            expect(i, k, script[i].us[k], false, false);
}
END_TEST

static bool all_but_two(const struct script *s, uint32_t call)
{
    (void)call;
    return s->n_of[s->row] > 2;
}

/* The same work, but one lane had the luck of two calls with both workers. */
START_TEST(stopwatch_luck_does_not_decide)
{
    script[0].half = true;
    script[1].disturbed = all_but_two;
    script[1].idle = true;
    for (unsigned k = 0; k < N_ROW; k++)
        script[0].us[k] *= 2;
    script[1].stall_us = 3000;
    run(2);
    for (unsigned k = 0; k < N_ROW; k++) {
        expect(0, k, script[1].us[k], false, true);
        ck_assert_double_eq_tol(lane[1].time[k].us, script[1].us[k], 0.1 * script[1].us[k]);
    }
}
END_TEST

/* Eight rows never take 100 times as long as one. */
START_TEST(stopwatch_rows_are_work)
{
    script[1].us[1] = 20000;
    run(2);
    ck_assert(lane[1].time[1].unsure);
    setup();
    script[1].us[0] = 3000;                       /* and one row no longer than eight */
    run(2);
    expect(1, 0, 800, false, true);
    expect(1, 1, 800, false, false);
}
END_TEST

START_TEST(stopwatch_a_lane_that_fails_leaves_the_others)
{
    script[1].fail_at = (uint32_t)_i;
    run(3);
    ck_assert_int_eq(lane[1].rc, ERR_PLUGIN);
    ck_assert_uint_eq(script[1].n_call, (uint32_t)_i);
    for (unsigned i = 0; i < 3; i += 2)
        for (unsigned k = 0; k < N_ROW; k++)
            expect(i, k, script[i].us[k], false, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stopwatch");
    TCase *c = tcase_create("stopwatch");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, stopwatch_measures_what_calls_take);
    tcase_add_test(c, stopwatch_guesses_what_the_budget_does_not_allow);
    tcase_add_test(c, stopwatch_takes_lanes_in_turns);
    tcase_add_loop_test(c, stopwatch_a_stall_is_no_figure, 0, 12);
    tcase_add_test(c, stopwatch_what_stays_disturbed_is_unsure);
    tcase_add_test(c, stopwatch_what_was_kept_waiting_is_corrected);
    tcase_add_test(c, stopwatch_workers_that_were_never_there_make_all_unsure);
    tcase_add_test(c, stopwatch_idle_workers_are_no_disturbance);
    tcase_add_test(c, stopwatch_luck_does_not_decide);
    tcase_add_test(c, stopwatch_rows_are_work);
    tcase_add_loop_test(c, stopwatch_a_lane_that_fails_leaves_the_others, 1, 60);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
