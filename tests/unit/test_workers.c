/* Promises of core/plug/workers.h. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/base/f16.h"
#include "core/plug/workers.h"

#define MAX_TASKS 1000

static struct topo topo;
static struct workers *pool;

static void open_pool(uint32_t n)
{
    struct err e = { 0 };
    ck_assert_int_eq(topo_open(&topo, n, TOPO_BIND_YES, UINT64_MAX, &e), 0);
    ck_assert_int_eq(workers_open(&pool, &topo, &e), 0);
}

static void close_pool(void)
{
    workers_close(pool);
    topo_close(&topo);
}

struct tally {
    _Atomic uint32_t runs[MAX_TASKS];
    uint32_t worker[MAX_TASKS];       /* plain: seen by the caller afterwards  */
    uint32_t input[MAX_TASKS], output[MAX_TASKS];
};
static struct tally tally;

static void count(void *arg, uint32_t task, uint32_t worker)
{
    struct tally *t = arg;
    atomic_fetch_add(&t->runs[task], 1);
    t->worker[task] = worker;
    t->output[task] = t->input[task] * 3 + 1;
}

static void run_and_check(uint32_t n_workers, uint32_t n_tasks, uint32_t flags, uint32_t round)
{
    memset(&tally, 0, sizeof tally);
    for (uint32_t t = 0; t < n_tasks; t++)
        tally.input[t] = t * 7 + round;
    workers_run(pool, n_tasks, flags, count, &tally);
    for (uint32_t t = 0; t < n_tasks; t++) {
        ck_assert_uint_eq(atomic_load(&tally.runs[t]), 1);
        ck_assert_uint_lt(tally.worker[t], n_workers);
        ck_assert_uint_eq(tally.output[t], (t * 7 + round) * 3 + 1);
        if (flags & BNP_PAR_STATIC)
            ck_assert_uint_eq(tally.worker[t], (uint64_t)t * n_workers / n_tasks);
    }
}

static const uint32_t sizes[] = { 1, 2, 3, 8 };

START_TEST(workers_run_every_task_once_and_static_ones_at_home)
{
    static const uint32_t n_tasks[] = { 0, 1, 2, 3, 7, 8, 9, 64, MAX_TASKS };
    const uint32_t n = sizes[_i];
    open_pool(n);
    for (uint32_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof n_tasks / sizeof n_tasks[0]; i++) {
            run_and_check(n, n_tasks[i], 0, round);
            run_and_check(n, n_tasks[i], BNP_PAR_STATIC, round);
        }
    }
    close_pool();
}
END_TEST

/* Short jobs back to back, then after a pause in which everybody sleeps. */
START_TEST(workers_lose_no_wake_up)
{
    const uint32_t n = sizes[_i];
    open_pool(n);
    for (uint32_t round = 0; round < 3000; round++) {
        run_and_check(n, n, round % 2 ? BNP_PAR_STATIC : 0, round);
        if (round % 500 == 499)
            usleep(20000);
    }
    close_pool();
}
END_TEST

START_TEST(workers_close_without_work)
{
    open_pool(sizes[_i]);
    close_pool();
    workers_close(NULL);
}
END_TEST

struct denormals {
    volatile float tiny;
    uint32_t half[64];
    bool blocked[64];
};

static void touch_denormals(void *arg, uint32_t task, uint32_t worker)
{
    struct denormals *d = arg;
    sigset_t set;
    d->half[task] = f32_bits(d->tiny * 0.5f);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    d->blocked[task] = worker == 0 || (sigismember(&set, SIGTERM) && sigismember(&set, SIGINT));
}

START_TEST(workers_keep_denormals_even_if_the_caller_lost_them)
{
    struct denormals d = { .tiny = f32_from_bits(0x00400000) };
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);        /* FTZ and DAZ, as crtfastmath sets them */
#endif
    open_pool(4);
    workers_run(pool, 64, BNP_PAR_STATIC, touch_denormals, &d);
    for (unsigned i = 0; i < 64; i++)
        ck_assert_uint_eq(d.half[i], 0x00200000);
    close_pool();
}
END_TEST

START_TEST(workers_float_env_says_when_it_had_to_mend)
{
    (void)workers_float_env();
    ck_assert(!workers_float_env());
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8000);
    ck_assert(workers_float_env());
    ck_assert(!workers_float_env());
    _mm_setcsr(_mm_getcsr() | 0x3f);          /* sticky flags of past exceptions */
    ck_assert(!workers_float_env());
#endif
}
END_TEST

START_TEST(workers_leave_signals_to_the_main_thread)
{
    struct denormals d = { .tiny = 1.0f };
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    open_pool(4);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ck_assert_int_eq(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    workers_run(pool, 64, BNP_PAR_STATIC, touch_denormals, &d);
    for (unsigned i = 0; i < 64; i++)
        ck_assert(d.blocked[i]);
    close_pool();
}
END_TEST

static void *run_from_elsewhere(void *arg)
{
    (void)arg;
    workers_bind_caller(pool);
    for (uint32_t round = 0; round < 50; round++)
        run_and_check(3, 100, round % 2 ? BNP_PAR_STATIC : 0, round);
    return NULL;
}

/* Weights are prepared by the main thread, steps are run by the engine's. */
START_TEST(workers_serve_one_caller_after_another)
{
    pthread_t thread;
    open_pool(3);
    run_and_check(3, 100, 0, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_from_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    run_and_check(3, 100, BNP_PAR_STATIC, 2);
    close_pool();
}
END_TEST

static void spin(void *arg, uint32_t task, uint32_t worker)
{
    volatile uint32_t x = task + worker;
    (void)arg;
    for (uint32_t i = 0; i < 3000000; i++)
        x = x * 3 + 1;
}

/* Jobs and processor time since the last lap, whoever asks. */
static void *laps(void *arg)
{
    (void)arg;
    (void)workers_lap(pool);
    workers_run(pool, 1, 0, spin, NULL);
    const struct workers_lap one = workers_lap(pool);
    ck_assert_uint_eq(one.n_job, 0);                  /* the caller's alone */
    ck_assert_uint_gt(one.cpu_ns, 500000);
    for (unsigned i = 0; i < 8; i++)
        workers_run(pool, 4, BNP_PAR_STATIC, spin, NULL);
    const struct workers_lap many = workers_lap(pool);
    ck_assert_uint_eq(many.n_job, 8);
    ck_assert_uint_gt(many.cpu_ns, 8 * one.cpu_ns);
    ck_assert_uint_lt(workers_lap(pool).cpu_ns, one.cpu_ns);
    return NULL;
}

START_TEST(workers_tell_what_a_lap_took)
{
    pthread_t other;
    open_pool(4);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&other, NULL, laps, NULL), 0);
        ck_assert_int_eq(pthread_join(other, NULL), 0);
        (void)laps(NULL);
    }
    const int before = dup(0);
    workers_end_laps(pool);
    const int after = dup(0);
    ck_assert_int_lt(after, before);                  /* its files are closed */
    close(before);
    close(after);
    close_pool();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("workers");
    TCase *c = tcase_create("workers");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, workers_run_every_task_once_and_static_ones_at_home, 0, 4);
    tcase_add_loop_test(c, workers_lose_no_wake_up, 0, 4);
    tcase_add_loop_test(c, workers_close_without_work, 0, 4);
    tcase_add_test(c, workers_keep_denormals_even_if_the_caller_lost_them);
    tcase_add_test(c, workers_float_env_says_when_it_had_to_mend);
    tcase_add_test(c, workers_leave_signals_to_the_main_thread);
    tcase_add_test(c, workers_serve_one_caller_after_another);
    tcase_add_test(c, workers_tell_what_a_lap_took);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
