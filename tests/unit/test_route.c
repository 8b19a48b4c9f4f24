/* Promises of core/plug/route.h. Devices are scalar-ref under other names, made
 * slower, less exact or farther away as a test needs. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "plug_dir.h"
#include "street.h"

static int counted_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                       bnp_span scratch)
{
    n_mul++;
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

/* 2 ms for one row, 2.4 ms for eight: 2.3 ms by the cost of docs/architecture.md. */
static int even_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                    bnp_span scratch)
{
    wait_us(item[0].y.n_tok == 1 ? 2000 : 2400);
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

static int less_slow_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                         bnp_span scratch)
{
    wait_us(3300);
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

/* 1 ms for one row, 16 ms for eight: 3 ms. */
static int single_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                      bnp_span scratch)
{
    wait_us(item[0].y.n_tok == 1 ? 1000 : 16000);
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

static int idle_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                    bnp_span scratch)
{
    (void)s;
    (void)act;
    (void)n;
    (void)item;
    (void)scratch;
    wait_us(4000);
    return BNP_OK;
}

static int broken_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                      bnp_span scratch)
{
    (void)s;
    (void)act;
    (void)n;
    (void)item;
    (void)scratch;
    return BNP_E_INTERNAL;
}

static int bounded_query(bnp_device *d, const bnp_weight_desc *w, bnp_offer *o)
{
    const int rc = plug->ref->linear->query(d, w, o);
    o->det = BNP_DET_BOUNDED;
    o->rel_err = 1e-3f;
    return rc;
}

static int no_query(bnp_device *d, const bnp_weight_desc *w, bnp_offer *o)
{
    (void)d;
    (void)w;
    (void)o;
    return BNP_E_UNSUPPORTED;
}

static int ask(void)
{
    chosen = NULL;
    return route_linear(route, 0, &weight, &chosen, &offer, &err);
}

static void expect_chosen(unsigned i)
{
    const int rc = ask();
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_str_eq(chosen->plugin->note.raw.id, dev[i].plugin->note.raw.id);
    ck_assert_uint_eq(offer.det, BNP_DET_EXACT);
}

START_TEST(route_the_stopwatch_decides)
{
    open_route((struct route_opts){ 0 });
    expect_chosen(0);
    ck_assert_int_eq(dev[0].plugin->state, PLUG_ACTIVE);
    ck_assert_int_ne(dev[1].plugin->state, PLUG_ACTIVE);
    expect_explained("linear     8x128 t2/tensor");
    expect_explained(QUICK_ID "  1 row ");
    expect_explained("| " SLOW_ID ": ");
    expect_explained("(costs ");
    expect_explained(" at 1 row, ");
    linear[0].mul = slow_mul;
    linear[1].mul = plug->ref->linear->mul;
    open_route((struct route_opts){ 0 });
    expect_chosen(1);
}
END_TEST

/* The quicker one at one row loses when eight rows cost it more than that. */
START_TEST(route_decoding_and_prompts_count)
{
    bnp_weight_desc w = weight;
    linear[0].mul = single_mul;
    linear[1].mul = even_mul;
    linear[2].query = no_query;
    w.max_tok = 8;
    open_route((struct route_opts){ 0 });
    ck_assert_int_eq(route_linear(route, 0, &w, &chosen, &offer, &err), 0);
    ck_assert_str_eq(chosen->plugin->note.raw.id, SLOW_ID);
    w.max_tok = 1;
    ck_assert_int_eq(route_linear(route, 0, &w, &chosen, &offer, &err), 0);
    ck_assert_str_eq(chosen->plugin->note.raw.id, QUICK_ID);
}
END_TEST

static void see(void *ctx, const struct route_question *q)
{
    *(const struct route_question **)ctx = q;
}

START_TEST(route_programs_see_what_people_see)
{
    const struct route_question *q = NULL;
    open_route((struct route_opts){ 0 });
    expect_chosen(0);
    route_each(route, see, &q);
    ck_assert_ptr_nonnull(q);
    ck_assert_int_eq(q->family, ROUTE_LINEAR);
    ck_assert_str_eq(q->shape, "8x128 t2/tensor");
    ck_assert_uint_eq(q->n_class, 3);                 /* max_tok is 64 */
    ck_assert_uint_eq(q->n, 3);
    ck_assert_ptr_eq(q->chosen, &q->candidate[0]);
    ck_assert_str_eq(q->chosen->why, "");
    double cost = 0;
    static const double share[3] = { 1, 1, 2 };
    for (unsigned i = 0; i < 3; i++) {
        const struct route_time *t = &q->candidate[1].time[i];
        ck_assert_uint_eq(t->n_tok, 1u << 3 * i);
        ck_assert_double_ge(t->us, 4000);             /* or more, if guessed */
        cost += share[i] * t->us / t->n_tok;
    }
    ck_assert_double_eq_tol(q->candidate[1].cost, cost, 1e-6 * cost);
    ck_assert_double_eq_tol(q->candidate[2].cost, 1.25 * q->candidate[1].cost, 1e-6 * cost);
    ck_assert_uint_gt(q->chosen->weight_size, 8 * 128 / 4 - 1);
}
END_TEST

START_TEST(route_what_the_budget_does_not_allow_is_guessed)
{
    const struct route_question *q = NULL;
    linear[2].query = no_query;
    open_route((struct route_opts){ 0 });
    expect_chosen(0);
    route_each(route, see, &q);
    const struct route_time *t = q->candidate[1].time;
    ck_assert(!t[0].guessed && !t[1].guessed && t[2].guessed);    /* 64 rows: 32 ms at least */
    ck_assert_double_eq_tol(t[2].us, t[1].us * 8, 1);
    expect_explained("64 rows ~");
}
END_TEST

/* A timings file in the test's folder. */
static const char *timings_file(void)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/timings", plug_dir);
    return path;
}

/* How often the counted candidate was called for one answer. */
static unsigned calls(struct route_opts o)
{
    o.timings = timings_file();
    open_route(o);
    n_mul = 0;
    expect_chosen(0);
    route_settle(route);
    return n_mul;
}

START_TEST(route_measurements_are_kept)
{
    linear[0].mul = counted_mul;
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 0);
    ck_assert_uint_eq(calls((struct route_opts){ 0 }), 0);
    expect_explained(QUICK_ID "  1 row ");
    ck_assert_uint_gt(calls((struct route_opts){ .measure_anew = true }), 0);
    ck_assert_uint_eq(calls((struct route_opts){ 0 }), 0);
}
END_TEST

START_TEST(route_stale_measurements_are_made_again)
{
    linear[0].mul = counted_mul;
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 0);
    char *const place[] = { entry[0].note.build, entry[0].note.raw.version, dev[0].info.name,
                            street.topo.cpu_name };
    for (unsigned i = 0; i < sizeof place / sizeof place[0]; i++) {
        place[i][0] ^= 1;
        ck_assert_msg(calls((struct route_opts){ 0 }) > 0, "%u", i);
        ck_assert_uint_eq(calls((struct route_opts){ 0 }), 0);
    }
    street.topo.abi.isa ^= 1;
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 0);
    dev[0].index = 7;
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 0);
}
END_TEST

START_TEST(route_a_corrupt_file_is_made_anew)
{
    linear[0].mul = counted_mul;
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 0);
    FILE *f = fopen(timings_file(), "r+");
    ck_assert_ptr_nonnull(f);
    ck_assert(!fseek(f, 70, SEEK_SET) && fputc('x', f) == 'x' && !fclose(f));
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 0);
    ck_assert_uint_eq(calls((struct route_opts){ 0 }), 0);
}
END_TEST

static int stalled_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                       bnp_span scratch)
{
    wait_us(n_mul++ < 5 ? 18000 : 0);
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

/* The machine was busy with something else when quick was called first. */
START_TEST(route_a_stall_does_not_decide)
{
    const struct route_question *q = NULL;
    linear[0].mul = stalled_mul;
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 5);
    route_each(route, see, &q);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(q->chosen->time[i].us < 100 && !q->chosen->time[i].unsure);
    ck_assert_uint_eq(calls((struct route_opts){ 0 }), 0);
}
END_TEST

static unsigned n_uneven;
static int64_t uneven_us = 300;

/* Every call takes another time, of 0.3 ms to 18. */
static int uneven_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                      bnp_span scratch)
{
    wait_us(uneven_us * (1 + n_uneven * n_uneven % 61));
    n_uneven++;
    n_mul++;
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

START_TEST(route_disturbed_times_are_measured_again)
{
    linear[0].mul = uneven_mul;
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 0);
    expect_explained("ms?");
    linear[0].mul = counted_mul;
    ck_assert_uint_gt(calls((struct route_opts){ 0 }), 0);
    ck_assert_uint_eq(calls((struct route_opts){ 0 }), 0);
}
END_TEST

/* A machine that is never quiet is not measured at every start. */
START_TEST(route_after_two_starts_the_lesser_times_do)
{
    linear[0].mul = uneven_mul;
    for (unsigned i = 0; i < 3; i++) {
        open_route((struct route_opts){ .timings = timings_file() });
        n_uneven = n_mul = 0;
        uneven_us = 300 + 150 * i;
        ck_assert_msg(ask() == 0, "%s", err.text);
        ck_assert_msg((n_mul > 0) == (i < 2), "start %u: %u calls", i, n_mul);
        route_settle(route);
    }
}
END_TEST

static int64_t tie_us[2];

static int tie_0(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                 bnp_span scratch)
{
    wait_us(tie_us[0]);
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

static int tie_1(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                 bnp_span scratch)
{
    wait_us(tie_us[1]);
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

/* The choice among equals does not change from start to start: neither on a new
 * machine, nor where one of them was chosen and its packing may be kept. */
START_TEST(route_equals_are_chosen_in_order)
{
    static const struct { int64_t us[2]; bool keep; unsigned chosen; } start[] = {
        { { 2000, 1980 }, false, 0 }, { { 1980, 2000 }, false, 0 }, { { 2000, 1900 }, true, 1 },
        { { 2000, 2000 }, true, 1 }, { { 1980, 2000 }, true, 1 }, { { 1900, 2000 }, true, 0 },
        { { 2000, 1980 }, true, 0 },
    };
    linear[0].mul = tie_0;
    linear[1].mul = tie_1;
    linear[2].query = no_query;
    for (unsigned i = 0; i < sizeof start / sizeof start[0]; i++) {
        memcpy(tie_us, start[i].us, sizeof tie_us);
        open_route((struct route_opts){ .timings = start[i].keep ? timings_file() : NULL,
                                        .measure_anew = true });
        expect_chosen(start[i].chosen);
        route_settle(route);
        if (i == 0)
            expect_explained("(as fast within 2 %, and the other comes first: ");
        if (i == 3)
            expect_explained("(as fast within 2 %, and the other was chosen before: ");
    }
}
END_TEST

START_TEST(route_a_pin_needs_no_measuring)
{
    linear[1].mul = counted_mul;
    n_mul = 0;
    open_route((struct route_opts){ .pin_linear = SLOW_ID });
    expect_chosen(1);
    ck_assert_uint_eq(n_mul, 0);
    open_route((struct route_opts){ .pin_linear = SLOW_ID, .measure_all = true });
    expect_chosen(1);
    ck_assert_uint_gt(n_mul, 0);
}
END_TEST

/* A plugin's variants are devices of it: the stopwatch chooses among them, and
 * a pin may name one. */
START_TEST(route_variants_of_one_plugin_compete)
{
    dev[1].plugin = &entry[0];
    dev[1].index = 1;
    entry[0].n_dev = 2;
    snprintf(dev[1].info.name, sizeof dev[1].info.name, "base-3");
    open_route((struct route_opts){ .pin_linear = QUICK_ID });
    ck_assert_int_eq(ask(), 0);
    ck_assert_ptr_eq(chosen, &dev[0]);
    expect_explained("| " QUICK_ID "#1 (base-3): 1 row ");
    open_route((struct route_opts){ .pin_linear = QUICK_ID "#1" });
    ck_assert_int_eq(ask(), 0);
    ck_assert_ptr_eq(chosen, &dev[1]);
    expect_explained(": not the pinned plugin " QUICK_ID "#1");
}
END_TEST

/* Nothing of the 64 MiB that copies lie in stays after the last question. */
START_TEST(route_settle_gives_memory_back)
{
    open_route((struct route_opts){ 0 });
    expect_chosen(0);
    ck_assert_uint_gt(atomic_load(&street.mem.size), 1 << 20);
    route_settle(route);
    ck_assert_uint_eq(atomic_load(&street.mem.n), 0);
}
END_TEST

START_TEST(route_every_family_has_an_answer)
{
    open_route((struct route_opts){ 0 });
    ck_assert_int_eq(route_attn(route, 0, &attention, &chosen, &offer, &err), 0);
    ck_assert_uint_gt(offer.scratch_size, 0);
    ck_assert_int_eq(route_point(route, 0, &pointwise, &chosen, &offer, &err), 0);
    expect_explained("attention  2 heads on 1 of 32, kv f16, pages of 16");
    expect_explained("pointwise  64 wide: rmsnorm rope relu2 silu add pick");
}
END_TEST

START_TEST(route_the_reference_is_not_preferred_on_equal_time)
{
    static int (*const mul[3])(bnp_stream *, bnp_span, uint32_t, const bnp_linear_item *,
                               bnp_span) = { slow_mul, less_slow_mul, even_mul };
    bnp_weight_desc w = weight;
    w.max_tok = 8;
    linear[0].mul = linear[1].mul = slow_mul;
    for (unsigned i = 0; i < 3; i++) {            /* equal, by less than a fifth, by more */
        linear[2].mul = mul[i];
        open_route((struct route_opts){ 0 });
        ck_assert_int_eq(route_linear(route, 0, &w, &chosen, &offer, &err), 0);
        ck_assert_str_eq(chosen->plugin->note.raw.id, i == 2 ? PLUG_REF_ID : QUICK_ID);
        if (i < 2)
            expect_explained("not clearly faster, as the reference has to be: ");
    }
}
END_TEST

START_TEST(route_equal_questions_are_measured_once)
{
    bnp_weight_desc w = weight;
    open_route((struct route_opts){ 0 });
    for (int i = 0; i < 30; i++) {
        w.name = i % 2 ? "x" : "y";
        ck_assert_int_eq(route_linear(route, 0, &w, &chosen, &offer, &err), 0);
        linear[0].query = no_query;               /* nobody asks again */
    }
    expect_explained("x30 ");
    linear[0].query = plug->ref->linear->query;
    w.rows = 9;
    ck_assert_int_eq(route_linear(route, 0, &w, &chosen, &offer, &err), 0);
    expect_explained("x1 ");
}
END_TEST

START_TEST(route_a_pin_wins)
{
    open_route((struct route_opts){ .pin_linear = SLOW_ID });
    expect_chosen(1);
    expect_explained("pinned");
    expect_explained(QUICK_ID ": not the pinned plugin " SLOW_ID);
    open_route((struct route_opts){ .pin_linear = PLUG_REF_ID, .strict = true });
    expect_chosen(2);
    open_route((struct route_opts){ .pin_attn = SLOW_ID, .pin_linear = "" });
    expect_chosen(0);
    open_route((struct route_opts){ .pin_linear = "org.test.absent" });
    ck_assert_int_eq(ask(), ERR_PLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "not the pinned plugin org.test.absent"));
}
END_TEST

START_TEST(route_offers_under_the_floor_are_no_candidates)
{
    linear[0].query = bounded_query;
    open_route((struct route_opts){ 0 });
    ck_assert_int_eq(ask(), 0);
    ck_assert_str_ne(chosen->plugin->note.raw.id, QUICK_ID);
    expect_explained(QUICK_ID ": offers bounded, the floor is exact");
    open_route((struct route_opts){ .min_det = BNP_DET_BOUNDED });
    ck_assert_int_eq(ask(), 0);
    ck_assert_str_eq(chosen->plugin->note.raw.id, QUICK_ID);
    ck_assert_uint_eq(offer.det, BNP_DET_BOUNDED);
    struct route *none;
    const struct route_opts bad = { .min_det = 4 };
    ck_assert_int_eq(route_open(&none, &street, &bad, &err), ERR_ARG);
}
END_TEST

START_TEST(route_strict_never_falls_back_to_the_reference)
{
    linear[0].query = linear[1].query = no_query;
    open_route((struct route_opts){ 0 });
    expect_chosen(2);
    expect_explained("the only candidate");
    open_route((struct route_opts){ .strict = true });
    ck_assert_int_eq(ask(), ERR_PLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "no device for linear 8x128 t2/tensor"));
    ck_assert_ptr_nonnull(strstr(err.text, QUICK_ID ": not supported"));
    ck_assert_ptr_nonnull(strstr(err.text, PLUG_REF_ID ": strict mode"));
}
END_TEST

/* Installed and rejected counts as installed; a plugin of another family not. */
START_TEST(route_strict_allows_the_reference_when_it_is_alone)
{
    street.n_dev = 1;
    street.dev = &devs[2];
    open_route((struct route_opts){ .strict = true });
    ck_assert_int_eq(ask(), ERR_PLUGIN);
    entry[0].note.raw.families = entry[1].note.raw.families = BNP_FAM_ATTN;
    expect_chosen(2);
    street.n_entry = 0;
    open_route((struct route_opts){ .strict = true });
    expect_chosen(2);
}
END_TEST

START_TEST(route_leaves_out_what_failed)
{
    dev[0].disabled = true;
    open_route((struct route_opts){ .exclude = SLOW_ID });
    expect_chosen(2);
    expect_explained(QUICK_ID ": disabled after an error");
    expect_explained(SLOW_ID ": excluded: it failed the parity test");
    dev[0].disabled = false;
    linear[0].mul = broken_mul;
    open_route((struct route_opts){ .exclude = SLOW_ID });
    expect_chosen(2);
    expect_explained(QUICK_ID ": could not be measured: " QUICK_ID ": linear.mul: ");
}
END_TEST

START_TEST(route_asks_again_when_its_choice_was_disabled)
{
    open_route((struct route_opts){ .exclude = PLUG_REF_ID });
    expect_chosen(0);
    dev[0].disabled = true;
    expect_chosen(1);
}
END_TEST

START_TEST(route_a_missing_family_is_named_as_the_reason)
{
    dev[1].linear = NULL;
    open_route((struct route_opts){ 0 });
    expect_chosen(0);
    expect_explained(SLOW_ID ": does not offer the linear family");
}
END_TEST

START_TEST(route_large_weights_are_measured_in_part)
{
    bnp_weight_desc w = weight;
    const struct route_question *q = NULL;
    w.rows = 60000;
    w.cols = 4096;
    linear[0].mul = linear[1].mul = linear[2].mul = idle_mul;
    open_route((struct route_opts){ 0 });
    ck_assert_int_eq(route_linear(route, 0, &w, &chosen, &offer, &err), 0);
    route_each(route, see, &q);
    /* 8 MiB of 1 KiB rows take the 4 ms that a call waits. */
    ck_assert_double_eq_tol(q->candidate[1].time[0].us, 4001 * 60000 / 8192.0, 30);
    ck_assert_uint_ge(q->candidate[1].weight_size, UINT64_C(60000) * 1024);
    expect_explained(" ms");
}
END_TEST

START_TEST(route_empty_descriptions_are_refused)
{
    bnp_weight_desc w = weight;
    bnp_attn_desc a = attention;
    bnp_point_desc p = pointwise;
    w.cols = 0;
    a.max_tok = 0;
    p.cols = 0;
    open_route((struct route_opts){ 0 });
    ck_assert_int_eq(route_linear(route, 0, &w, &chosen, &offer, &err), ERR_ARG);
    ck_assert_int_eq(route_attn(route, 0, &a, &chosen, &offer, &err), ERR_ARG);
    ck_assert_int_eq(route_point(route, 0, &p, &chosen, &offer, &err), ERR_ARG);
    street.n_dev = 0;
    ck_assert_int_eq(ask(), ERR_PLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "there is no device at all"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route");
    TCase *c = tcase_create("route");
    tcase_add_checked_fixture(c, street_setup, street_teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, route_the_stopwatch_decides);
    tcase_add_test(c, route_decoding_and_prompts_count);
    tcase_add_test(c, route_programs_see_what_people_see);
    tcase_add_test(c, route_what_the_budget_does_not_allow_is_guessed);
    tcase_add_test(c, route_measurements_are_kept);
    tcase_add_test(c, route_stale_measurements_are_made_again);
    tcase_add_test(c, route_a_corrupt_file_is_made_anew);
    tcase_add_test(c, route_a_stall_does_not_decide);
    tcase_add_test(c, route_disturbed_times_are_measured_again);
    tcase_add_test(c, route_after_two_starts_the_lesser_times_do);
    tcase_add_test(c, route_equals_are_chosen_in_order);
    tcase_add_test(c, route_a_pin_needs_no_measuring);
    tcase_add_test(c, route_variants_of_one_plugin_compete);
    tcase_add_test(c, route_settle_gives_memory_back);
    tcase_add_test(c, route_every_family_has_an_answer);
    tcase_add_test(c, route_the_reference_is_not_preferred_on_equal_time);
    tcase_add_test(c, route_equal_questions_are_measured_once);
    tcase_add_test(c, route_a_pin_wins);
    tcase_add_test(c, route_offers_under_the_floor_are_no_candidates);
    tcase_add_test(c, route_strict_never_falls_back_to_the_reference);
    tcase_add_test(c, route_strict_allows_the_reference_when_it_is_alone);
    tcase_add_test(c, route_leaves_out_what_failed);
    tcase_add_test(c, route_asks_again_when_its_choice_was_disabled);
    tcase_add_test(c, route_a_missing_family_is_named_as_the_reason);
    tcase_add_test(c, route_large_weights_are_measured_in_part);
    tcase_add_test(c, route_empty_descriptions_are_refused);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
