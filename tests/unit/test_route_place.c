/* Promises of core/plug/route.h about places, pins of layers, and questions that
 * are decided together. quick has memory of its own, which lies in the host's:
 * what makes it private is that nobody but its copies touches it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plug_dir.h"
#include "street.h"

static bnp_device_ops far;        /* quick's                                   */
static bnp_attn_ops attn[2];      /* quick's and slow's                        */
static bnp_point_ops point[2];
static int64_t copy_us, wait_for_us, attend_us[2], norm_us[2], near_us;
static unsigned n_copy, n_query;
static int copy_status;

static int far_alloc(bnp_device *d, uint32_t kind, uint64_t size, uint64_t align, bnp_span *out)
{
    (void)d;
    (void)kind;
    out->base = aligned_alloc(align, (size + BNP_SLACK + align - 1) / align * align);
    out->offset = 0;
    out->size = size;
    return out->base ? BNP_OK : BNP_E_NOMEM;
}

static void far_free(bnp_device *d, bnp_span s)
{
    (void)d;
    free(s.base);
}

static int far_in(bnp_stream *s, bnp_span dst, const void *src)
{
    (void)s;
    n_copy++;
    wait_us(copy_us);
    memcpy((char *)dst.base + dst.offset, src, dst.size);
    return copy_status;
}

static int far_out(bnp_stream *s, void *dst, bnp_span src)
{
    (void)s;
    n_copy++;
    wait_us(copy_us);
    memcpy(dst, (const char *)src.base + src.offset, src.size);
    return BNP_OK;
}

static int far_wait(bnp_stream *s, uint64_t ticket, uint64_t ns)
{
    (void)s;
    (void)ticket;
    (void)ns;
    wait_us(wait_for_us);
    return BNP_OK;
}

static int near_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                    bnp_span scratch)
{
    wait_us(near_us);
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

static int counted_query(bnp_device *d, const bnp_weight_desc *w, bnp_offer *o)
{
    n_query++;
    return plug->ref->linear->query(d, w, o);
}

static int attend(unsigned i, bnp_stream *s, const bnp_attn_desc *d, bnp_span pool,
                  const bnp_rows *q, const bnp_rows *out, bnp_span scratch)
{
    wait_us(attend_us[i]);
    return plug->ref->attn->attend(s, d, pool, q, out, scratch);
}

static int attend_0(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                    const bnp_rows *out, bnp_span scratch)
{
    return attend(0, s, d, pool, q, out, scratch);
}

static int attend_1(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                    const bnp_rows *out, bnp_span scratch)
{
    return attend(1, s, d, pool, q, out, scratch);
}

static int norm_0(bnp_stream *s, const bnp_norm *n, const bnp_rows *x, const bnp_rows *y)
{
    wait_us(norm_us[0]);
    return plug->ref->point->rmsnorm(s, n, x, y);
}

static int norm_1(bnp_stream *s, const bnp_norm *n, const bnp_rows *x, const bnp_rows *y)
{
    wait_us(norm_us[1]);
    return plug->ref->point->rmsnorm(s, n, x, y);
}

/* quick: near_us for a product; slow: 4 ms; the reference offers nothing. */
static void setup(void)
{
    street_setup();
    copy_us = wait_for_us = near_us = copy_status = 0;
    n_copy = n_query = 0;
    for (unsigned i = 0; i < 2; i++) {
        attend_us[i] = norm_us[i] = 100;
        attn[i] = *plug->ref->attn;
        point[i] = *plug->ref->point;
        dev[i].attn = &attn[i];
        dev[i].point = &point[i];
        linear[i].query = counted_query;
    }
    attn[0].attend = attend_0;
    attn[1].attend = attend_1;
    point[0].rmsnorm = norm_0;
    point[1].rmsnorm = norm_1;
    linear[0].mul = near_mul;
    far = *plug->ref->ops;
    far.mem_alloc = far_alloc;
    far.mem_free = far_free;
    far.copy_in = far_in;
    far.copy_out = far_out;
    far.wait = far_wait;
    dev[0].ops = &far;
    dev[0].info.flags = 0;
    street.n_dev = street.n_entry = 2;
    near_us = 500;
}

static void want_layers(int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        ck_assert_int_eq(route_want_linear(route, i, &weight, &err), 0);
        ck_assert_int_eq(route_want_attn(route, i, &attention, &err), 0);
        ck_assert_int_eq(route_want_point(route, i, &pointwise, &err), 0);
    }
}

static void decide(void)
{
    const int rc = route_decide(route, &err);
    ck_assert_msg(!rc, "%s", err.text);
}

static unsigned linear_of(int32_t layer)
{
    ck_assert_int_eq(route_linear(route, layer, &weight, &chosen, &offer, &err), 0);
    return (unsigned)(chosen - dev);
}

static unsigned attn_of(int32_t layer)
{
    ck_assert_int_eq(route_attn(route, layer, &attention, &chosen, &offer, &err), 0);
    return (unsigned)(chosen - dev);
}

static unsigned point_of(int32_t layer)
{
    ck_assert_int_eq(route_point(route, layer, &pointwise, &chosen, &offer, &err), 0);
    return (unsigned)(chosen - dev);
}

static void see(void *ctx, const struct route_question *q)
{
    const struct route_question **out = ctx;
    *out = *out ? *out : q;
}

/* A product is 3.5 ms faster over there; two copies and a wait cost less, or more. */
START_TEST(route_a_crossing_has_its_price)
{
    const struct route_question *q = NULL;
    dev[0].point = NULL;
    dev[0].attn = NULL;
    for (unsigned far_off = 0; far_off < 2; far_off++) {
        copy_us = far_off ? 8000 : 50;
        wait_for_us = 20;
        open_route((struct route_opts){ 0 });
        want_layers(1);
        decide();
        ck_assert_uint_eq(linear_of(0), far_off);
        ck_assert_uint_eq(point_of(0), 1);
        expect_explained(", crossings ");
    }
    expect_explained("crossings cost more than it saves: ");
    route_each(route, see, &q);
    /* Per call of 1, 8 and 64 rows two copies of 8 ms and one wait of 20 us. */
    const double each = 2 * 8000 + 20, shares = 1 + 1 / 8.0 + 2 / 64.0;
    ck_assert_double_eq_tol(q->candidate[0].crossing, each * shares, 30);
    ck_assert_double_eq(q->candidate[1].crossing, 0);
}
END_TEST

/* What is waited for in every timed call is waited for in a step only where
 * something crosses. */
START_TEST(route_a_wait_is_not_paid_twice)
{
    const struct route_question *q = NULL;
    wait_for_us = 300;
    open_route((struct route_opts){ 0 });
    want_layers(1);
    decide();
    route_each(route, see, &q);
    double us[3], cost = 0;
    for (unsigned i = 0; i < 3; i++) {
        us[i] = q->candidate[0].time[i].us;
        ck_assert_double_ge(us[i], 800);
        cost += (i == 2 ? 2 : 1) * (us[i] - 300) / q->candidate[0].time[i].n_tok;
    }
    ck_assert_double_eq_tol(q->candidate[0].cost, cost, 5);
}
END_TEST

/* Where norms are slower, but every product of seven is faster. */
START_TEST(route_home_is_where_it_all_costs_least)
{
    static const unsigned uses[2] = { 1, 7 };
    copy_us = 8000;
    norm_us[0] = 2500;
    for (unsigned i = 0; i < 2; i++) {
        open_route((struct route_opts){ 0 });
        ck_assert_int_eq(route_want_point(route, 0, &pointwise, &err), 0);
        for (unsigned k = 0; k < uses[i]; k++)
            ck_assert_int_eq(route_want_linear(route, 0, &weight, &err), 0);
        decide();
        ck_assert_uint_eq(point_of(0), !i);
        ck_assert_uint_eq(linear_of(0), !i);
        expect_explained(i ? "home       all layers without a pin          " QUICK_ID ": "
                           : "home       all layers without a pin          host memory: ");
    }
    expect_explained("not at home, " QUICK_ID ": from here a step costs ");
}
END_TEST

/* Attention brings three areas over and one back. */
START_TEST(route_attention_may_live_elsewhere)
{
    attend_us[1] = 5000;
    dev[0].point = NULL;
    dev[0].linear = NULL;
    copy_us = 10;
    open_route((struct route_opts){ 0 });
    want_layers(2);
    decide();
    ck_assert_uint_eq(attn_of(0), 0);
    ck_assert_uint_eq(attn_of(1), 0);
    ck_assert_uint_eq(point_of(1), 1);
    copy_us = 3000;
    open_route((struct route_opts){ 0 });
    want_layers(2);
    decide();
    ck_assert_uint_eq(attn_of(0), 1);
}
END_TEST

/* A head's logits go to the host, wherever home is. */
START_TEST(route_a_head_answers_to_the_host)
{
    bnp_weight_desc head = weight;
    head.flags = BNP_W_MUL | BNP_W_TOPK;
    head.max_tok = 1;
    copy_us = 100;
    linear[0].topk = NULL;
    dev[1].point = NULL;                          /* home is quick's memory */
    open_route((struct route_opts){ 0 });
    ck_assert_int_eq(route_want_linear(route, -1, &head, &err), 0);
    ck_assert_int_eq(route_want_point(route, 0, &pointwise, &err), 0);
    decide();
    ck_assert_uint_eq(point_of(0), 0);
    const struct route_question *q = NULL;
    route_each(route, see, &q);
    ck_assert_double_eq_tol(q->candidate[0].crossing, 100, 8);    /* logits out   */
    ck_assert_double_eq_tol(q->candidate[1].crossing, 100, 8);    /* rows to the host */
}
END_TEST

START_TEST(route_no_choice_no_copies)
{
    open_route((struct route_opts){ .pin_linear = QUICK_ID, .pin_attn = QUICK_ID,
                                    .pin_point = QUICK_ID });
    want_layers(2);
    decide();
    ck_assert_uint_eq(linear_of(0), 0);
    ck_assert_uint_eq(n_copy, 0);
    dev[0].info.flags = BNP_DEV_HOST_MEM;
    open_route((struct route_opts){ 0 });
    want_layers(1);
    decide();
    ck_assert_uint_eq(n_copy, 0);
    struct buf b = { 0 };
    route_explain(route, &b);
    ck_assert(!strstr(b.p, "home") && !strstr(b.p, "crossing"));
    buf_free(&b);
}
END_TEST

START_TEST(route_copies_are_measured_once)
{
    char path[128];
    snprintf(path, sizeof path, "%s/timings", plug_dir);
    for (unsigned i = 0; i < 3; i++) {
        n_copy = 0;
        open_route((struct route_opts){ .timings = path, .measure_anew = i == 2 });
        want_layers(1);
        decide();
        route_settle(route);
        ck_assert_int_eq(n_copy > 0, i != 1);
        ck_assert_uint_eq(linear_of(0), 0);
    }
}
END_TEST

START_TEST(route_a_device_whose_copies_fail_is_none)
{
    dev[0].attn = NULL;
    dev[0].linear = NULL;
    copy_status = BNP_E_DEVICE;
    open_route((struct route_opts){ 0 });
    want_layers(1);
    decide();
    ck_assert_uint_eq(point_of(0), 1);
    expect_explained(QUICK_ID ": ");
    expect_explained(": copy_in: ");
}
END_TEST

START_TEST(route_what_was_wanted_is_decided_once)
{
    dev[0].info.flags = BNP_DEV_HOST_MEM;
    open_route((struct route_opts){ 0 });
    want_layers(30);
    decide();
    n_query = 0;
    for (int32_t i = 0; i < 30; i++)
        ck_assert_uint_eq(linear_of(i), 0);
    ck_assert_uint_eq(n_query, 0);
    expect_explained("x30 ");
    decide();
    ck_assert_uint_eq(n_query, 0);
}
END_TEST

/* One error for the first, an answer for all that have one. */
START_TEST(route_decides_what_can_be)
{
    dev[0].attn = dev[1].attn = NULL;
    open_route((struct route_opts){ 0 });
    want_layers(1);
    ck_assert_int_eq(route_decide(route, &err), ERR_PLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "no device for attention"));
    ck_assert_uint_eq(linear_of(0), 0);
    ck_assert_uint_eq(point_of(0), 1);            /* as cheap as over there: the host */
    expect_explained("missing");
}
END_TEST

/* ------------------------------------------------------------- pins of layers */

START_TEST(route_layers_go_where_they_are_pinned)
{
    copy_us = 8000;
    open_route((struct route_opts){ .layers = " 0-1:" QUICK_ID "  3:" QUICK_ID "#0 ",
                                    .pin_attn = SLOW_ID, .pin_point = SLOW_ID });
    want_layers(5);
    decide();
    for (int32_t i = 0; i < 5; i++) {
        const unsigned to = i == 2 || i == 4;
        ck_assert_uint_eq(linear_of(i), to);
        ck_assert_uint_eq(attn_of(i), to);
        ck_assert_uint_eq(point_of(i), to);
    }
    ck_assert_uint_eq(linear_of(-1), 1);
    expect_explained("home       layers of " QUICK_ID "          " QUICK_ID);
    expect_explained("pinned by plugins.layers");
    expect_explained("x2 ");
}
END_TEST

static const struct {
    const char *text, *error;
} wrong[] = {
    { "5", "\"5\": it does not begin with layers and a colon" },
    { "0-3", "it does not begin with layers and a colon" },
    { "-3:org.x", "it does not begin with layers and a colon" },
    { "0-:org.x", "it does not begin with layers and a colon" },
    { "0 - 3:org.x", "\"0\": it does not begin" },
    { "0,1:org.x", "it does not begin" },
    { "99999999999:org.x", "it does not begin" },
    { "65536:org.x", "it does not begin" },
    { "3-1:org.x", "\"3-1:org.x\": its last layer comes before its first" },
    { "0-3:", "no plugin's id after the colon" },
    { "0-3:Org.X", "no plugin's id after the colon" },
    { "0-3:org.x#", "no plugin's id after the colon" },
    { "0-3:org.x#1a", "no plugin's id after the colon" },
    { "0-3:org.x;4:org.y", "no plugin's id after the colon" },
    { "0-3:org.x 3:org.y", "\"3:org.y\": shares layers with \"0-3:org.x\", expected each layer once" },
    { "5:org.x 4-6:org.x", "shares layers with" },
};

START_TEST(route_layers_are_read_strictly)
{
    struct route *none;
    const struct route_opts o = { .min_det = BNP_DET_EXACT, .layers = wrong[_i].text };
    ck_assert_int_eq(route_open(&none, &street, &o, &err), ERR_ARG);
    ck_assert_ptr_null(none);
    ck_assert_msg(!strncmp(err.text, "plugins.layers: ", 16) && strstr(err.text, wrong[_i].error),
                  "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "expected"));
    ck_assert_ptr_null(strchr(err.text, '\n'));
}
END_TEST

START_TEST(route_layers_and_devices_must_be_there)
{
    open_route((struct route_opts){ .layers = "0:org.test.absent" });
    want_layers(1);
    ck_assert_int_eq(route_decide(route, &err), ERR_PLUGIN);
    ck_assert_str_eq(err.text, "plugins.layers: \"0:org.test.absent\": there is no such device, "
                     "expected one of " QUICK_ID "#0, " SLOW_ID "#0");
    open_route((struct route_opts){ .layers = "0:" QUICK_ID "#1" });
    want_layers(1);
    ck_assert_int_eq(route_decide(route, &err), ERR_PLUGIN);
    open_route((struct route_opts){ .layers = "0-2:" QUICK_ID });
    want_layers(2);
    ck_assert_int_eq(route_decide(route, &err), ERR_ARG);
    ck_assert_str_eq(err.text, "plugins.layers: \"0-2:" QUICK_ID "\": there is no layer 2, expected "
                     "0 to 1");
    open_route((struct route_opts){ .layers = "" });
    want_layers(1);
    decide();
}
END_TEST

/* ---------------------------------------------------------------- lost devices */

START_TEST(route_only_what_was_lost_is_decided_again)
{
    attend_us[1] = 1;
    attend_us[0] = 9000;
    copy_us = 0;
    open_route((struct route_opts){ .pin_point = SLOW_ID });
    want_layers(2);
    decide();
    ck_assert_uint_eq(linear_of(0), 0);
    ck_assert_uint_eq(attn_of(0), 1);
    dev[0].disabled = true;
    attn[1].query = NULL;                         /* would crash if asked */
    decide();
    ck_assert_uint_eq(linear_of(0), 1);
    ck_assert_uint_eq(attn_of(0), 1);
    expect_explained(QUICK_ID ": disabled after an error");
}
END_TEST

START_TEST(route_a_lost_home_moves)
{
    near_us = 1;
    norm_us[1] = 5000;
    open_route((struct route_opts){ 0 });
    want_layers(2);
    decide();
    ck_assert_uint_eq(point_of(0), 0);
    dev[0].disabled = true;
    ck_assert_uint_eq(linear_of(1), 1);           /* one asks, and all are decided */
    n_query = 0;
    ck_assert_uint_eq(point_of(0), 1);
    ck_assert_uint_eq(attn_of(0), 1);
    decide();
    ck_assert_uint_eq(n_query, 0);
}
END_TEST

START_TEST(route_a_pin_ends_with_what_it_means)
{
    for (unsigned strict = 0; strict < 2; strict++) {
        dev[0].disabled = false;
        open_route((struct route_opts){ .pin_linear = QUICK_ID, .pin_attn = QUICK_ID "#0",
                                        .layers = "1:" QUICK_ID, .strict = strict != 0 });
        want_layers(2);
        decide();
        ck_assert_uint_eq(linear_of(0), 0);
        ck_assert_uint_eq(point_of(1), 0);
        dev[0].disabled = true;
        ck_assert_int_eq(route_decide(route, &err), strict ? ERR_PLUGIN : 0);
    }
    ck_assert_ptr_nonnull(strstr(err.text, "pinned: " QUICK_ID));
    /* Lost before it was chosen: the pin asks for what is not there. */
    open_route((struct route_opts){ .pin_linear = QUICK_ID });
    ck_assert_int_eq(route_linear(route, 0, &weight, &chosen, &offer, &err), ERR_PLUGIN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route_place");
    TCase *c = tcase_create("route_place");
    tcase_add_checked_fixture(c, setup, street_teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, route_a_crossing_has_its_price);
    tcase_add_test(c, route_a_wait_is_not_paid_twice);
    tcase_add_test(c, route_home_is_where_it_all_costs_least);
    tcase_add_test(c, route_attention_may_live_elsewhere);
    tcase_add_test(c, route_a_head_answers_to_the_host);
    tcase_add_test(c, route_no_choice_no_copies);
    tcase_add_test(c, route_copies_are_measured_once);
    tcase_add_test(c, route_a_device_whose_copies_fail_is_none);
    tcase_add_test(c, route_what_was_wanted_is_decided_once);
    tcase_add_test(c, route_decides_what_can_be);
    tcase_add_test(c, route_layers_go_where_they_are_pinned);
    tcase_add_loop_test(c, route_layers_are_read_strictly, 0, sizeof wrong / sizeof wrong[0]);
    tcase_add_test(c, route_layers_and_devices_must_be_there);
    tcase_add_test(c, route_only_what_was_lost_is_decided_again);
    tcase_add_test(c, route_a_lost_home_moves);
    tcase_add_test(c, route_a_pin_ends_with_what_it_means);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
