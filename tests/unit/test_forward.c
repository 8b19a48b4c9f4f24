/* Promises of core/engine/forward.h, on the default model and scalar-ref.
 *
 * Trouble is made by putting a table of our own in front of the device's. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/forward_parts.h"
#include "tests/golden/rig.h"
#include "tests/unit/alloc_count.h"

static struct golden golden[GOLDEN_N];
static struct rig rig;

static void setup(void)
{
    rig_golden(golden);
}

static void teardown(void)
{
    if (rig.f)
        rig_close(&rig);
    rig_golden_free(golden);
}

static void open_rig(void)
{
    rig_open(&rig, &(struct rig_opts){ 0 });
}

static float *logits_for(uint32_t n)
{
    float *p = calloc((size_t)n * rig.model->hp.n_vocab, sizeof *p);
    ck_assert_ptr_nonnull(p);
    return p;
}

/* --------------------------------------------------------------- one sequence */

static struct kv_seq seq;

static void open_seq(void)
{
    struct err err;
    open_rig();
    ck_assert_int_eq(kv_seq_open(&seq, &rig.f->kv, rig.f->conf.n_ctx, &err), 0);
}

static void fill(uint32_t prompt, uint32_t from, uint32_t n, int want_out)
{
    batch_clear(&rig.batch);
    ck_assert(kv_reserve(&rig.f->kv, &seq, from + n));
    ck_assert(batch_add(&rig.batch, golden[prompt].id + from, n, from, seq.page, seq.n_page,
                        want_out));
}

static void run_ok(void)
{
    struct err err = { 0 };
    int rc = forward_run(rig.f, &rig.batch, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
}

/* Calls of the allocator during one step. */
static unsigned long step_allocs(uint32_t prompt, uint32_t from, uint32_t n, int want_out)
{
    struct err err = { 0 };
    fill(prompt, from, n, want_out);
    const unsigned long before = alloc_count();
    const int rc = forward_run(rig.f, &rig.batch, &err);
    const unsigned long after = alloc_count();
    ck_assert_msg(rc == 0, "%s", err.text);
    return after - before;
}

START_TEST(forward_step_allocates_nothing)
{
    const unsigned long start = alloc_count();
    void *volatile p = malloc(1);
    free(p);
    ck_assert_uint_gt(alloc_count(), start);
    open_seq();
    ck_assert_uint_eq(step_allocs(9, 0, 20, 1), 0);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(step_allocs(9, 20 + i, 1, 1), 0);
    ck_assert_uint_eq(step_allocs(9, 24, 60, 0), 0);
    ck_assert_uint_eq(step_allocs(9, 84, 60, 2), 0);
    kv_seq_close(&rig.f->kv, &seq);
}
END_TEST

/* ----------------------------------------------------- tables of our own */

static struct bnp_linear_ops linear, true_linear;
static struct bnp_device_ops device, true_device;
static struct bnp_point_ops point, true_point;
static unsigned n_mul, n_wait, fail_at, busy_every;
static int fail_with;
static bool in_flight;            /* the other device's rows are not done      */

static int my_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                  bnp_span scratch)
{
    n_mul++;
    ck_assert(!in_flight);
    if (fail_with && n_mul == fail_at)
        return fail_with;
    if (busy_every && n_mul % busy_every == 0)
        return BNP_E_BUSY;
    return true_linear.mul(s, act, n, item, scratch);
}

static int my_act_prepare(bnp_stream *s, uint32_t kind, const bnp_rows *x, bnp_span act)
{
    ck_assert(!in_flight);
    return true_linear.act_prepare(s, kind, x, act);
}

static void put_my_linear(void)
{
    linear = true_linear = *rig.plug->ref->linear;
    linear.mul = my_mul;
    linear.act_prepare = my_act_prepare;
    rig.plug->ref->linear = &linear;
    n_mul = n_wait = fail_at = busy_every = 0;
    fail_with = 0;
    in_flight = false;
}

START_TEST(forward_without_outputs_skips_the_head)
{
    open_seq();
    put_my_linear();
    fill(0, 0, 5, 0);
    run_ok();
    ck_assert_uint_eq(n_mul, 4 * rig.model->hp.n_layer);
    fill(0, 5, 5, 1);
    run_ok();
    ck_assert_uint_eq(n_mul, 8 * rig.model->hp.n_layer + 1);
    kv_seq_close(&rig.f->kv, &seq);
}
END_TEST

static void remember(float *to)
{
    memcpy(to, rig.f->logits, rig.model->hp.n_vocab * sizeof *to);
}

/* Outputs that want all logits and outputs that want a few, mixed in one step. */
START_TEST(forward_largest_are_those_of_all_logits)
{
    enum { N = 12 };
    open_seq();
    const uint32_t n_vocab = rig.model->hp.n_vocab;
    float *all = logits_for(N);
    fill(9, 0, N, 2);
    run_ok();
    for (uint32_t i = 0; i < N; i++) {
        ck_assert_ptr_eq(forward_out(rig.f, i).logits, rig.f->logits + i * rig.f->logits_stride);
        memcpy(all + i * n_vocab, forward_out(rig.f, i).logits, n_vocab * sizeof *all);
    }
    ck_assert_uint_eq(rig.f->head.n_full, N);
    fill(9, 0, N, 2);
    for (uint32_t i = 0; i < N; i++)                /* 65 is more than a step keeps */
        rig.batch.out_k[i] = i % 4 == 0 ? 0 : i == 7 ? 65 : i;
    run_ok();
    for (uint32_t i = 0; i < N; i++) {
        const struct forward_out o = forward_out(rig.f, i);
        const float *want = all + i * n_vocab;
        ck_assert_int_eq(!o.logits, i % 4 != 0 && i != 7);
        if (o.logits)
            ck_assert_mem_eq(o.logits, want, n_vocab * sizeof *want);
        else
            ck_assert_uint_eq(o.k, 11);
        for (uint32_t k = 0; !o.logits && k < o.k; k++) {
            uint32_t before = 0;
            const float v = want[o.id[k]];
            for (uint32_t j = 0; j < n_vocab; j++)
                before += want[j] > v || (want[j] == v && j < (uint32_t)o.id[k]);
            ck_assert_uint_eq(before, k);
            ck_assert_mem_eq(&o.top[k], &v, sizeof v);
        }
    }
    ck_assert_uint_eq(rig.f->head.n_full, N + 4);
    ck_assert_uint_eq(rig.f->head.n_top, N - 4);
    ck_assert_uint_eq(rig.f->head.n_exact, (N - 4) * n_vocab);      /* scalar-ref: all of them */
    free(all);
    kv_seq_close(&rig.f->kv, &seq);
}
END_TEST

static char seen_where[160];

static int where_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                     bnp_span scratch)
{
    if (++n_mul == 4 * 3 + 4)     /* q k v, out, gate up, down: the last of layer 3 */
        forward_where(rig.f, seen_where);
    return true_linear.mul(s, act, n, item, scratch);
}

START_TEST(forward_counts_calls_and_says_which_is_under_way)
{
    char after[160];
    open_seq();
    put_my_linear();
    linear.mul = where_mul;
    fill(0, 0, golden[0].n, 1);
    run_ok();
    const struct dev *d = rig.plug->ref;
    const uint64_t n_layer = rig.model->hp.n_layer;
    /* the rows of the embedding; each mul with its input prepared, the head's too */
    ck_assert_uint_eq(d->n_call[DEV_CALL_LINEAR], 1 + 2 * n_mul);
    ck_assert_uint_eq(d->n_call[DEV_CALL_ATTN], 2 * n_layer);
    ck_assert_uint_eq(d->n_call[DEV_CALL_COPY], 0);
    ck_assert_uint_eq(d->n_call[DEV_CALL_WAIT], 0);
    ck_assert_uint_gt(d->call_ns[DEV_CALL_LINEAR], 0);
    ck_assert_str_eq(seen_where, "linear of blk.3 on " PLUG_REF_ID "#0");
    forward_where(rig.f, after);
    ck_assert_str_eq(after, "none");
    kv_seq_close(&rig.f->kv, &seq);
}
END_TEST

START_TEST(forward_error_names_op_layer_and_plugin_and_leaves_no_trace)
{
    struct err err = { 0 };
    open_seq();
    float *want = logits_for(1), *got = logits_for(1);
    fill(0, 0, golden[0].n, 1);
    run_ok();
    remember(want);
    kv_trim(&rig.f->kv, &seq, 0);

    put_my_linear();
    fail_with = BNP_E_NUMERIC;
    fail_at = 4 * 3 + 4;          /* q k v, out, gate up, down: the last of layer 3 */
    fill(0, 0, golden[0].n, 1);
    ck_assert_int_eq(forward_run(rig.f, &rig.batch, &err), ERR_NUMERIC);
    ck_assert_ptr_nonnull(strstr(err.text, "blk.3 ffn_down"));
    ck_assert_ptr_nonnull(strstr(err.text, PLUG_REF_ID));
    ck_assert(!rig.plug->ref->disabled);

    run_ok();                     /* n_mul is past fail_at */
    remember(got);
    ck_assert_mem_eq(got, want, rig.model->hp.n_vocab * sizeof *got);
    kv_seq_close(&rig.f->kv, &seq);
    free(want);
    free(got);
}
END_TEST

START_TEST(forward_lost_device_is_not_used_again)
{
    struct err err = { 0 };
    open_seq();
    put_my_linear();
    fail_with = BNP_E_DEVICE;
    fail_at = 2;
    fill(0, 0, golden[0].n, 1);
    ck_assert_int_eq(forward_run(rig.f, &rig.batch, &err), ERR_DEVICE);
    ck_assert_ptr_nonnull(strstr(err.text, "blk.0 attn_output"));
    ck_assert(rig.plug->ref->disabled);
    ck_assert_int_eq(forward_run(rig.f, &rig.batch, &err), ERR_DEVICE);
    ck_assert_uint_eq(n_mul, 2);
    kv_seq_close(&rig.f->kv, &seq);
}
END_TEST

START_TEST(forward_waits_out_a_full_queue)
{
    struct err err = { 0 };
    open_seq();
    float *want = logits_for(1), *got = logits_for(1);
    fill(0, 0, golden[0].n, 1);
    run_ok();
    remember(want);
    kv_trim(&rig.f->kv, &seq, 0);
    put_my_linear();
    busy_every = 3;
    fill(0, 0, golden[0].n, 1);
    run_ok();
    remember(got);
    ck_assert_mem_eq(got, want, rig.model->hp.n_vocab * sizeof *got);
    busy_every = 1;               /* busy even when it is empty */
    ck_assert_int_lt(forward_run(rig.f, &rig.batch, &err), 0);
    busy_every = 0;
    run_ok();
    kv_seq_close(&rig.f->kv, &seq);
    free(want);
    free(got);
}
END_TEST

static int my_norm(bnp_stream *s, const bnp_norm *n, const bnp_rows *x, const bnp_rows *y)
{
    in_flight = true;
    return true_point.rmsnorm(s, n, x, y);
}

static int my_wait(bnp_stream *s, uint64_t ticket, uint64_t timeout)
{
    (void)s;
    ck_assert(ticket > 0 && timeout > 0);
    n_wait++;
    in_flight = false;
    return BNP_OK;
}

/* The pointwise family moves to a second device, which says that its work is
 * not done before wait. */
START_TEST(forward_waits_before_another_device_reads)
{
    open_seq();
    float *want = logits_for(1), *got = logits_for(1);
    fill(0, 0, golden[0].n, 1);
    run_ok();
    remember(want);
    kv_trim(&rig.f->kv, &seq, 0);

    put_my_linear();
    struct forward_state *s = rig.f->state;
    struct dev second = *rig.plug->ref;
    device = true_device = *second.ops;
    point = true_point = *second.point;
    device.wait = my_wait;
    point.rmsnorm = my_norm;
    second.ops = &device;
    second.point = &point;
    second.info.flags &= ~(uint32_t)BNP_DEV_SYNC;
    s->lane[1] = (struct lane){ .dev = &second };
    ck_assert_int_eq(second.ops->stream_open(second.d, &rig.f->limits, &s->lane[1].stream), 0);
    s->n_lane = 2;
    for (uint32_t i = 0; i <= rig.model->hp.n_layer; i++)
        s->layer[i].point = &second;

    fill(0, 0, golden[0].n, 1);
    run_ok();
    ck_assert(!in_flight);
    ck_assert_uint_gt(n_wait, 4 * rig.model->hp.n_layer);
    remember(got);
    ck_assert_mem_eq(got, want, rig.model->hp.n_vocab * sizeof *got);
    kv_seq_close(&rig.f->kv, &seq);
    rig_close(&rig);              /* while `second` is there */
    free(want);
    free(got);
}
END_TEST

/* ---------------------------------------------------------- what is refused */

static void refused(int code, const char *word)
{
    struct err err = { 0 };
    int rc = forward_run(rig.f, &rig.batch, &err);
    ck_assert_int_eq(rc, code);
    ck_assert_msg(strstr(err.text, word) != NULL, "%s", err.text);
}

START_TEST(forward_refuses_a_step_that_no_plugin_should_see)
{
    open_seq();
    batch_clear(&rig.batch);
    refused(ERR_ARG, "rows");
    fill(0, 0, 3, 1);
    rig.batch.id[1] = (int32_t)rig.model->hp.n_vocab;
    refused(ERR_ARG, "token id");
    rig.batch.id[1] = -1;
    refused(ERR_ARG, "token id");
    fill(0, 0, 3, 1);
    rig.f->kv.count[seq.page[0]]++;
    refused(ERR_INTERNAL, "share");
    rig.f->kv.count[seq.page[0]]--;
    rig.batch.page[0] = -1;
    refused(ERR_INTERNAL, "no page");
    rig.batch.page[0] = (int32_t)rig.f->kv.n_page;
    refused(ERR_INTERNAL, "no page");
    batch_clear(&rig.batch);
    ck_assert(batch_add(&rig.batch, golden[0].id, 3, rig.f->conf.n_ctx - 2, seq.page, 1, 1));
    refused(ERR_ARG, "engine.n_ctx");
    fill(0, 0, 3, 1);
    run_ok();
    kv_seq_close(&rig.f->kv, &seq);
}
END_TEST

static void open_refused(struct forward_conf conf, int code, const char *word)
{
    struct err err = { 0 };
    struct forward *f = NULL;
    ck_assert_int_eq(forward_open(&f, rig.model, rig.plug, &conf, &err), code);
    ck_assert_ptr_null(f);
    ck_assert_msg(strstr(err.text, word) != NULL, "%s", err.text);
}

static void no_progress(void *ctx, uint64_t done, uint64_t all)
{
    (void)ctx;
    ck_abort_msg("weights were touched: %lu of %lu", (unsigned long)done, (unsigned long)all);
}

START_TEST(forward_bad_configuration_is_refused)
{
    const struct forward_conf good = rig_conf(&(struct rig_opts){ 0 });
    struct forward_conf c;
    rig.model = rig_model(NULL);
    rig.plug = rig_plug(&(struct rig_opts){ .n_threads = 1 });
    c = good;
    c.page_tok = 17;
    open_refused(c, ERR_ARG, "engine.page_tok");
    c = good;
    c.n_ctx = rig.model->hp.n_ctx + 1;
    open_refused(c, ERR_ARG, "engine.n_ctx");
    c = good;
    c.max_tok = 0;
    open_refused(c, ERR_ARG, "engine.row_budget");
    c = good;
    c.max_seq = 65535;
    open_refused(c, ERR_ARG, "engine.max_seq");
    c = good;
    c.kv_tok = UINT32_MAX;
    open_refused(c, ERR_LIMIT, "engine.kv_tok");
    c = good;
    c.route.pin_linear = "org.example.absent";
    open_refused(c, ERR_PLUGIN, "org.example.absent");
    plug_close(rig.plug);
    model_close(rig.model);
}
END_TEST

START_TEST(forward_memory_limit_is_checked_before_weights_are_touched)
{
    struct forward_conf c = rig_conf(&(struct rig_opts){ 0 });
    rig.model = rig_model(NULL);
    rig.plug = rig_plug(&(struct rig_opts){ .n_threads = 1 });
    c.progress = no_progress;
    c.max_mem = 1 << 20;
    open_refused(c, ERR_LIMIT, "smaller model");
    c.max_mem = UINT64_C(12) << 20;
    open_refused(c, ERR_LIMIT, "engine.");
    plug_close(rig.plug);
    model_close(rig.model);
}
END_TEST

START_TEST(forward_dry_plans_and_prepares_nothing)
{
    struct forward_conf c = rig_conf(&(struct rig_opts){ 0 });
    struct err err = { 0 };
    struct buf table = { 0 };
    rig.model = rig_model(NULL);
    rig.plug = rig_plug(&(struct rig_opts){ .n_threads = 1 });
    c.progress = no_progress;
    c.dry = true;
    c.n_ctx = 0;
    int rc = forward_open(&rig.f, rig.model, rig.plug, &c, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    const struct mem_plan *m = &rig.f->mem;
    ck_assert(m->weights > 0 && m->kv > 0 && m->work > 0 && m->rope > 0);
    ck_assert_uint_eq(m->total, m->weights + m->kv + m->work + m->rope + m->serve);
    ck_assert_uint_ge(m->limit, m->total);
    ck_assert_uint_eq(rig.f->conf.n_ctx, rig.model->hp.n_ctx);
    ck_assert_uint_eq(rig.f->conf.kv_tok, rig.f->conf.n_ctx * rig.f->conf.max_seq);
    ck_assert_uint_eq(rig.f->conf.max_mem, m->limit);
    forward_mem_table(rig.f, &table);
    ck_assert_ptr_nonnull(strstr(table.p, "weights"));
    buf_free(&table);
    ck_assert_int_eq(batch_open(&rig.batch, &rig.f->limits, &err), 0);
    refused(ERR_ARG, "dry");
}
END_TEST

static uint64_t last_done;

static void watch(void *ctx, uint64_t done, uint64_t all)
{
    ++*(unsigned *)ctx;
    ck_assert(done > last_done && done <= all);
    last_done = done;
    if (*(unsigned *)ctx == rig.model->hp.n_layer * 7 + 1)
        ck_assert_uint_eq(done, all);
}

START_TEST(forward_reports_progress_to_the_end)
{
    struct forward_conf c = rig_conf(&(struct rig_opts){ 0 });
    struct err err = { 0 };
    unsigned n = 0;
    rig.model = rig_model(NULL);
    rig.plug = rig_plug(&(struct rig_opts){ .n_threads = 1 });
    c.progress = watch;
    c.progress_ctx = &n;
    last_done = 0;
    int rc = forward_open(&rig.f, rig.model, rig.plug, &c, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_uint_eq(n, rig.model->hp.n_layer * 7 + 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forward");
    TCase *c = tcase_create("forward");
    tcase_set_timeout(c, 900);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, forward_step_allocates_nothing);
    tcase_add_test(c, forward_without_outputs_skips_the_head);
    tcase_add_test(c, forward_largest_are_those_of_all_logits);
    tcase_add_test(c, forward_counts_calls_and_says_which_is_under_way);
    tcase_add_test(c, forward_error_names_op_layer_and_plugin_and_leaves_no_trace);
    tcase_add_test(c, forward_lost_device_is_not_used_again);
    tcase_add_test(c, forward_waits_out_a_full_queue);
    tcase_add_test(c, forward_waits_before_another_device_reads);
    tcase_add_test(c, forward_refuses_a_step_that_no_plugin_should_see);
    tcase_add_test(c, forward_bad_configuration_is_refused);
    tcase_add_test(c, forward_memory_limit_is_checked_before_weights_are_touched);
    tcase_add_test(c, forward_dry_plans_and_prepares_nothing);
    tcase_add_test(c, forward_reports_progress_to_the_end);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
