/* test_engine_recover.c - what goes on while a step is under way, and after a
 * device was lost. The devices are scalar-ref three times, under other names; at
 * the end the two of devmem, whose errors come late and whose memory is gone. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/ask.h"
#include "tests/unit/plug_dir.h"

#define FIRST "org.test.first"
#define OTHER "org.test.other"
#define MEM   "org.bitnetd.test.devmem"

enum { N_TWIN = 2 };

static struct plug_entry entry[N_TWIN];
static struct dev twin[N_TWIN], *street[N_TWIN + 1], **real_dev;
static unsigned n_real;
static struct err err;

/* Who takes over is measured once, for all tests. */
static char timings[] = "/tmp/bitnet-recover-XXXXXX";

static struct forward_conf house_conf(void)
{
    struct forward_conf c = rig_conf(&(struct rig_opts){ .n_ctx = N_CTX, .max_tok = 32,
                                                         .max_seq = N_REQ, .max_out = N_REQ });
    c.route.timings = timings;
    return c;
}

static void open_house(const char *attn, bool strict)
{
    struct forward_conf c = house_conf();
    c.route.pin_linear = c.route.pin_point = FIRST;
    c.route.pin_attn = attn;
    c.route.strict = strict;
    rig = (struct rig){ .model = rig_model(NULL),
                        .plug = rig_plug(&(struct rig_opts){ .n_threads = 1 }) };
    for (uint32_t i = 0; i < N_TWIN; i++) {
        twin[i] = *rig.plug->ref;
        entry[i] = *rig.plug->ref->plugin;
        snprintf(entry[i].note.raw.id, sizeof entry[i].note.raw.id, i ? OTHER : FIRST);
        twin[i].plugin = &entry[i];
        street[i] = &twin[i];
    }
    street[N_TWIN] = rig.plug->ref;
    real_dev = rig.plug->dev;
    n_real = rig.plug->n_dev;
    rig.plug->dev = street;
    rig.plug->n_dev = N_TWIN + 1;
    ck_assert_msg(!forward_open(&rig.f, rig.model, rig.plug, &c, &err), "%s", err.text);
    atomic_store(&bend_favourite, -1);
}

static void setup(void)
{
    open_house(FIRST, false);
}

static void teardown(void)
{
    if (engine)
        engine_stop();
    forward_close(rig.f);
    if (real_dev) {
        rig.plug->dev = real_dev;
        rig.plug->n_dev = n_real;
    }
    real_dev = NULL;
    plug_close(rig.plug);
    model_close(rig.model);
}

/* What each request gets alone, computed once for all tests. */
static void alone_once(void)
{
    setup();
    engine_start(N_REQ, 32, 32, 8);
    alone_run();
    teardown();
}

/* The requests, one after the other, for the prefix cache. */
static void fill_cache(void)
{
    for (int i = 0; i < N_REQ; i++) {
        struct ask a;
        ask_kind(&a, i);
        ask_submit(&a);
        ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
        ask_close(&a);
    }
}

static void lose(int in, enum route_family f, bool late, int times)
{
    atomic_store(&bend_lose_family, (int)f);
    atomic_store(&bend_lose_late, late);
    atomic_store(&bend_lose_times, times);
    atomic_store(&bend_lose_in, in);
}

/* The step after a loss begins with others on its mind: what is drawn must be
 * what it was. Prompts are read in pieces of 8: the first steps are in the midst
 * of the long ones, the later ones in the midst of answers. */
static const struct {
    int in, times;
    enum route_family family;
    bool late;
} loss[] = {
    { 1, 1, ROUTE_ATTN, false }, { 2, 1, ROUTE_LINEAR, true }, { 7, 1, ROUTE_POINT, false },
    { 8, 1, ROUTE_ATTN, true },  { 2, 2, ROUTE_ATTN, false },  { 6, 2, ROUTE_ATTN, true },
};

enum { N_LOSS = sizeof loss / sizeof loss[0] };

/* The last two with a prefix cache, full of what is lost. */
START_TEST(engine_a_lost_device_costs_nothing_but_time)
{
    struct ask a[N_REQ];
    struct engine_stats before, after;
    uint64_t n = 0;
    const bool cache = _i >= (int)N_LOSS;
    const unsigned at = (unsigned)_i % N_LOSS;
    engine_start_conf(&(struct engine_conf){ .max_seq = 3, .row_budget = 16, .prefill_chunk = 8,
                                             .max_queue = N_REQ, .prefix_cache = cache });
    if (cache)
        fill_cache();
    engine_stats(engine, &before);
    atomic_store(&bend_hold, true);         /* they gather, and three of them wait */
    for (int i = 0; i < N_REQ; i++) {
        ask_kind(&a[i], i);
        ask_submit(&a[i]);
    }
    lose(loss[at].in, loss[at].family, loss[at].late, loss[at].times);
    atomic_store(&bend_hold, false);
    for (int i = 0; i < N_REQ; i++) {
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
        alone_check(&a[i], i);
        n += a[i].n_got;
        ask_close(&a[i]);
    }
    engine_stats(engine, &after);
    ck_assert_uint_eq(after.n_recover, (unsigned)loss[at].times);
    ck_assert_uint_eq(after.n_new_tok - before.n_new_tok, n);    /* each drawn once */
    ck_assert_uint_eq(after.n_error, 0);
    ck_assert_uint_eq(after.kv_page_used, 0);
    ck_assert_uint_eq(after.n_cross, 0);          /* all of them share the host's memory */
    ck_assert_int_eq(engine_fault(engine, NULL), 0);
    ck_assert_int_eq(atomic_load(&bend_lose_in), 0);
    ck_assert(twin[0].disabled);
}
END_TEST

/* Read again is counted again; what was not lost is not read again. */
START_TEST(engine_reads_again_only_what_was_lost)
{
    struct engine_stats s;
    struct ask a;
    teardown();
    open_house(_i ? FIRST : OTHER, false);
    engine_start(1, 16, 8, 4);
    ask_open(&a, "Once upon a time there was a little girl", 6);
    lose((int)(a.prompt.n + 7) / 8 + 3, ROUTE_LINEAR, false, 1);
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_prompt_tok, (unsigned)(_i + 1) * a.prompt.n);
    ck_assert_uint_eq(s.n_recover, 1);
    ask_close(&a);
}
END_TEST

/* Everyone who is served or waits hears of it, and nothing runs any more. */
START_TEST(engine_with_nobody_left_is_lost)
{
    struct ask a[2];
    engine_start(1, 32, 32, 8);
    lose(3, ROUTE_ATTN, true, 3);
    for (int i = 0; i < 2; i++) {
        ask_kind(&a[i], i);
        ask_submit(&a[i]);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_ERROR);
        ck_assert_int_eq(a[i].r.err.code, ERR_DEVICE);
        ask_close(&a[i]);
    }
    ck_assert_int_eq(engine_fault(engine, &err), ERR_DEVICE);
    ck_assert_msg(strstr(err.text, "lost on command; nobody can take over: ") != NULL, "%s",
                  err.text);
}
END_TEST

START_TEST(engine_strict_goes_on_with_nobody_unproven)
{
    struct ask a;
    teardown();
    open_house(FIRST, true);
    engine_start(1, 32, 32, 8);
    lose(2, ROUTE_LINEAR, false, 1);
    ask_kind(&a, 0);
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_ERROR);
    ask_close(&a);
    ck_assert_int_eq(engine_fault(engine, &err), ERR_DEVICE);
    ck_assert_msg(strstr(err.text, "strict") != NULL, "%s", err.text);
}
END_TEST

/* -------------------------------------------------------------------- devmem */

static const char *fail_at, *fail_late;

static const char *option(void *ctx, const char *id, const char *key)
{
    (void)ctx;
    if (strcmp(id, MEM))
        return NULL;
    return !strcmp(key, "fail-at") ? fail_at : !strcmp(key, "fail-late") ? fail_late
         : !strcmp(key, "fail-with") ? "device" : !strcmp(key, "delay") ? "random" : NULL;
}

static void open_devmem(void)
{
    struct forward_conf c = house_conf();
    struct plug_opts o;
    plug_dir_setup();
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(PLUG_DIR_TEST("devmem"), "devmem.so");
    o = plug_dir_opts();
    o.option = option;
    o.no_test = true;
    c.route.pin_linear = c.route.pin_attn = c.route.pin_point = MEM "#0";
    rig = (struct rig){ .model = rig_model(NULL), .plug = plug_dir_open(&o) };
    ck_assert_msg(!forward_open(&rig.f, rig.model, rig.plug, &c, &err), "%s", err.text);
    fail_at = NULL;               /* whatever takes over does not fail */
}

/* Calls of the first device's stream: in a prompt, and in answers. */
static const char *const call[] = { "200", "2501" };

START_TEST(engine_private_memory_can_be_lost)
{
    struct ask a[N_REQ];
    struct engine_stats s;
    teardown();
    fail_at = call[_i / 2];
    fail_late = _i % 2 ? "1" : NULL;
    open_devmem();
    engine_start(3, 16, 8, N_REQ);
    for (int i = 0; i < N_REQ; i++) {
        ask_kind(&a[i], i);
        ask_submit(&a[i]);
    }
    for (int i = 0; i < N_REQ; i++) {
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
        alone_check(&a[i], i);
        ask_close(&a[i]);
    }
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_recover, 1);
    if (_i / 2) {                         /* after steps that brought their outputs */
        ck_assert_uint_gt(s.n_cross, 0);
        ck_assert_uint_ge(s.cross_size, 4 * s.n_cross);
    }
    ck_assert(plug_dir_dev(rig.plug, MEM)->disabled);
    plug_dir_teardown();
}
END_TEST

/* ------------------------------------------------------- a step is under way */

/* Once the engine stands before a step, then in the midst of it. */
static void stop_before(void)
{
    atomic_store(&bend_held, false);
    atomic_store(&bend_hold, true);
    while (!atomic_load(&bend_held))
        nap();
}

static void go_on_into_it(void)
{
    atomic_store(&bend_slowed, false);
    atomic_store(&bend_slow, true);
    atomic_store(&bend_hold, false);
    while (!atomic_load(&bend_slowed))
        nap();
}

START_TEST(engine_takes_and_admits_while_a_step_is_under_way)
{
    struct ask a, b, c;
    struct engine_stats s;
    engine_start(2, 32, 32, 8);
    ask_open(&a, "Once", 80);
    ask_open(&b, "The bear", 10);
    ask_open(&c, "x", 10);
    ask_submit(&a);
    ask_wait_tokens(&a, 1);
    stop_before();
    ask_submit(&b);
    ask_submit(&c);
    engine_cancel(engine, &c.r);
    engine_cancel(engine, &a.r);
    go_on_into_it();
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_running, 2);                        /* b has its place      */
    ck_assert_int_eq(atomic_load(&c.r.done), FINISH_CANCELLED);
    ck_assert_int_eq(atomic_load(&a.r.done), FINISH_NONE);    /* its rows are in it   */
    atomic_store(&bend_slow, false);
    ck_assert_int_eq(ask_wait(&a), FINISH_CANCELLED);
    ck_assert_int_eq(ask_wait(&b), FINISH_LENGTH);
    ck_assert_int_eq(ask_wait(&c), FINISH_CANCELLED);
    ck_assert_uint_eq(b.n_got, 10);
    ask_close(&a);
    ask_close(&b);
    ask_close(&c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine_recover");
    TCase *t = tcase_create("engine_recover");
    tcase_add_unchecked_fixture(t, alone_once, alone_close);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, engine_a_lost_device_costs_nothing_but_time, 0,
                        N_LOSS + 2);
    tcase_add_loop_test(t, engine_reads_again_only_what_was_lost, 0, 2);
    tcase_add_test(t, engine_with_nobody_left_is_lost);
    tcase_add_test(t, engine_strict_goes_on_with_nobody_unproven);
    tcase_add_loop_test(t, engine_private_memory_can_be_lost, 0, 2 * sizeof call / sizeof call[0]);
    tcase_add_test(t, engine_takes_and_admits_while_a_step_is_under_way);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    const int fd = mkstemp(timings);      /* a name that nobody else has */
    if (fd < 0 || close(fd) || unlink(timings))
        return 1;
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    unlink(timings);
    return bad != 0;
}
