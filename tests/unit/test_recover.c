/* Promises of forward_recover: a device is lost in mid-request, and the others
 * go on with the same bits. */
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/place_rig.h"

enum { CHUNK = 4 };               /* rows of a step                            */

static struct err err;
static unsigned n_lost, n_kv_lost;    /* recoveries in a run; with the keys gone */

/* Device 0, or both, are lost at a call of each stream, counted from its start. */
static void lose_at(unsigned call, const char *which, bool late)
{
    static char text[24];
    snprintf(text, sizeof text, "%u%s", call, which);
    place_rig_option("fail-at", text);
    place_rig_option("fail-late", late ? "1" : "0");
}

/* Who is not to take over. */
static void without(const char *dev)
{
    if (dev)
        place_rig_dev(strcmp(dev, REF) ? MEM : REF, !strcmp(dev, MEM1))->disabled = true;
}

static void recover(const char *how)
{
    bool kv_lost = false;
    const struct forward_state *s = place_rig.f->state;
    ck_assert_msg(!forward_recover(place_rig.f, &kv_lost, &err), "%s: %s", how, err.text);
    n_lost++;
    n_kv_lost += kv_lost;
    for (uint32_t i = 0; i < s->n_lane; i++)
        ck_assert(!s->lane[i].dev->disabled && s->lane[i].stream);
    for (uint32_t i = 0; i < s->weights.n; i++)
        ck_assert(!s->weights.w[i].dev->disabled && s->weights.w[i].handle);
    if (kv_lost)
        kv_trim(&place_rig.f->kv, &place_seq, 0);
}

/* The text in steps, as the engine does it: after a loss the step again, or all
 * from the first token. Every step's logits must be scalar-ref's. */
static void run(const char *how)
{
    n_lost = n_kv_lost = 0;
    place_rig_seq();
    for (uint32_t at = 0; at < PLACE_TOK;) {
        place_rig_fill(at, CHUNK, 2);
        const int rc = forward_run(place_rig.f, &place_rig.batch, &err);
        if (!rc) {
            place_rig_equal(how, at, CHUNK);
            at += CHUNK;
            continue;
        }
        ck_assert_msg(rc == ERR_DEVICE, "%s: %d %s", how, rc, err.text);
        ck_assert_msg(strstr(err.text, MEM), "%s", err.text);
        recover(how);
        at = place_seq.n_page ? at : 0;
    }
    kv_seq_close(&place_rig.f->kv, &place_seq);
    place_seq = (struct kv_seq){ 0 };
}

static const struct {
    const char *how, *without;
    struct place_opts o;
    bool kv_lost;
} mix[] = {
    { "all, to the other device", REF, { MEM0, MEM0, MEM0, NULL, false }, true },
    { "all, to the host", MEM1, { MEM0, MEM0, MEM0, NULL, false }, true },
    { "all, to whom the stopwatch says", NULL, { MEM0, MEM0, MEM0, NULL, false }, true },
    { "matrices, to the host", MEM1, { MEM0, REF, REF, NULL, false }, false },
    { "attention, to the host", MEM1, { REF, MEM0, REF, NULL, false }, true },
    { "pointwise, to the host", MEM1, { REF, REF, MEM0, NULL, false }, false },
    { "half the layers", REF, { MEM1, MEM1, MEM1, "0-2:" MEM0, false }, true },
};

static void lose_one(int i, unsigned call, bool late)
{
    char how[96];
    lose_at(call, "#0", late);
    snprintf(how, sizeof how, "%s, call %u%s", mix[i].how, call, late ? ", late" : "");
    place_rig_open(&mix[i].o);
    without(mix[i].without);
    run(how);
    ck_assert_msg(n_lost == 1 && n_kv_lost == mix[i].kv_lost, "%s: lost %u times, keys %u", how,
                  n_lost, n_kv_lost);
}

/* In the first step, early and in the middle, and in a later one. */
START_TEST(others_go_on_with_the_same_bits)
{
    static const unsigned call[] = { 8, 60, 200 };
    lose_one(_i / 3, call[_i % 3], false);
}
END_TEST

START_TEST(others_go_on_when_the_loss_shows_late)
{
    lose_one(_i, _i % 2 ? 119 : 21, true);
}
END_TEST

START_TEST(one_device_is_lost_after_the_other)
{
    lose_at(250, "", false);
    place_rig_open(&(struct place_opts){ MEM0, MEM0, MEM0, "3-4:" MEM1, false });
    run("both");
    ck_assert_uint_eq(n_lost, 2);
    ck_assert_uint_eq(place_rig.f->state->n_lane, 1);
    ck_assert_ptr_eq(place_rig.f->state->lane[0].dev, place_rig.plug->ref);
}
END_TEST

/* What lay on the lost device is given back, and the plan is that of the host. */
START_TEST(the_plan_follows)
{
    lose_at(100, "#0", false);
    place_rig_open(&(struct place_opts){ MEM0, MEM0, MEM0, NULL, false });
    without(MEM1);
    const struct mem_plan *m = &place_rig.f->mem;
    const uint64_t there = m->place[0].weights, kv = m->place[0].kv;
    ck_assert_uint_eq(m->n_place, 1);
    ck_assert_uint_eq(m->kv, 0);
    run("plan");
    ck_assert_uint_eq(m->n_place, 0);
    ck_assert_uint_eq(m->weights, there);
    ck_assert_uint_eq(m->kv, kv);
}
END_TEST

static void lose_now(void)
{
    place_rig_seq();
    place_rig_fill(0, CHUNK, 1);
    ck_assert_int_eq(forward_run(place_rig.f, &place_rig.batch, &err), ERR_DEVICE);
}

static int still_busy(bnp_stream *s, uint64_t ticket, uint64_t timeout_ns)
{
    (void)s;
    ck_assert(ticket > 0 && timeout_ns > 0);
    return BNP_E_BUSY;
}

/* Its queue is of no use any more: what is in it may still run one day. */
START_TEST(a_device_that_never_answers_is_lost)
{
    place_rig_open(&(struct place_opts){ MEM0, MEM0, MEM0, NULL, false });
    without(MEM1);
    struct dev *d = place_rig_dev(MEM, 0);
    struct bnp_device_ops ops = *d->ops;
    ops.wait = still_busy;
    d->ops = &ops;
    lose_now();
    ck_assert(d->disabled);
    recover("never answers");
    ck_assert_uint_eq(n_kv_lost, 1);
    d->ops = &d->plugin->device;
    kv_seq_close(&place_rig.f->kv, &place_seq);
    run("after it");
    ck_assert_uint_eq(n_lost, 0);
}
END_TEST

START_TEST(nobody_can_take_over)
{
    bool kv_lost;
    lose_at(30, "#0", false);
    place_rig_open(&(struct place_opts){ MEM0, MEM0, MEM0, NULL, false });
    without(REF);
    without(MEM1);
    lose_now();
    ck_assert_int_eq(forward_recover(place_rig.f, &kv_lost, &err), ERR_DEVICE);
    ck_assert_msg(strstr(err.text, "no device for"), "%s", err.text);
    ck_assert_int_ne(forward_run(place_rig.f, &place_rig.batch, &err), 0);
}
END_TEST

START_TEST(strict_mode_uses_nobody_who_was_not_checked)
{
    bool kv_lost;
    lose_at(30, "#0", false);
    place_rig_open(&(struct place_opts){ MEM0, MEM0, MEM0, NULL, true });
    lose_now();
    ck_assert_int_eq(forward_recover(place_rig.f, &kv_lost, &err), ERR_DEVICE);
    ck_assert_msg(strstr(err.text, "strict"), "%s", err.text);
}
END_TEST

int main(void)
{
    const int n_mix = sizeof mix / sizeof mix[0];
    Suite *suite = suite_create("recover");
    TCase *c = tcase_create("recover");
    tcase_set_timeout(c, 300);
    tcase_add_unchecked_fixture(c, place_rig_want, NULL);
    tcase_add_checked_fixture(c, place_rig_setup, place_rig_teardown);
    tcase_add_loop_test(c, others_go_on_with_the_same_bits, 0, 3 * n_mix);
    tcase_add_loop_test(c, others_go_on_when_the_loss_shows_late, 0, n_mix);
    tcase_add_test(c, one_device_is_lost_after_the_other);
    tcase_add_test(c, the_plan_follows);
    tcase_add_test(c, a_device_that_never_answers_is_lost);
    tcase_add_test(c, nobody_can_take_over);
    tcase_add_test(c, strict_mode_uses_nobody_who_was_not_checked);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    free(place_want);
    return failed ? 1 : 0;
}
