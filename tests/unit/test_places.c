/* Promises of core/engine/forward.h about devices with memory of their own: the
 * same bits wherever a step computes, no more copies than needed, nothing left
 * under way, and a model that is served by what has room for it. */
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/engine/strict.h"
#include "tests/unit/alloc_count.h"
#include "tests/unit/place_rig.h"
#include "tests/unit/plug_dir.h"

static const struct place_opts all_mem = { .linear = MEM0, .attn = MEM0, .point = MEM0 };

START_TEST(devmem_gives_the_known_answers)
{
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    ck_assert_uint_eq(plug->n_dev, 3);
    ck_assert_uint_eq(plug_dir_entry(plug, "devmem.so")->n_dev, 2);
    ck_assert_str_eq(plug_dir_entry(plug, "devmem.so")->reason, "");
    plug_close(plug);
}
END_TEST

/* ------------------------------------------------------------ the same bits */

static const struct {
    const char *how;
    struct place_opts o;
} mix[] = {
    { "all on one device", { MEM0, MEM0, MEM0, NULL, false } },
    { "linear there", { MEM0, REF, REF, NULL, false } },
    { "attention there", { REF, MEM0, REF, NULL, false } },
    { "pointwise there", { REF, REF, MEM0, NULL, false } },
    { "linear here", { REF, MEM0, MEM0, NULL, false } },
    { "attention here", { MEM0, REF, MEM0, NULL, false } },
    { "three places", { MEM0, MEM1, REF, NULL, false } },
    { "two devices, none of the host", { MEM1, MEM0, MEM1, NULL, false } },
    { "layers over two devices", { MEM0, MEM0, MEM0, "0-1:" MEM0 " 2-5:" MEM1, false } },
    { "layers over host and device", { REF, REF, REF, "1:" MEM0 " 3:" MEM1, false } },
};

static void check_mix(int i, const char *delay, const char *seed, const char *busy)
{
    char how[128];
    snprintf(how, sizeof how, "%s, %s %s, busy every %s", mix[i].how, delay, seed, busy);
    place_rig_option("delay", delay);
    place_rig_option("seed", seed);
    place_rig_option("busy-every", busy);
    place_rig_open(&mix[i].o);
    place_rig_check(how, 0);
    place_rig_check(how, 5);
}

START_TEST(every_mix_of_places_gives_scalar_refs_bits)
{
    check_mix(_i, "wait", "0", "0");
}
END_TEST

START_TEST(every_mix_gives_them_whenever_devices_compute)
{
    check_mix(_i, "random", _i % 2 ? "1" : "7", "0");
}
END_TEST

START_TEST(a_full_queue_changes_nothing)
{
    check_mix(_i, _i % 2 ? "wait" : "random", "3", _i % 3 ? "2" : "7");
}
END_TEST

/* Device 1 computes on the host's memory, late; device 0 is behind its wall. Each
 * waits for whoever wrote what it reads, and for who still reads what it writes. */
static const struct {
    const char *how;
    struct place_opts o;
} tardy[] = {
    { "all late", { MEM1, MEM1, MEM1, NULL, false } },
    { "linear late", { MEM1, REF, REF, NULL, false } },
    { "linear late, attention away", { MEM1, MEM0, REF, NULL, false } },
    { "linear away, attention late", { MEM0, MEM1, REF, NULL, false } },
    { "pointwise late", { MEM0, REF, MEM1, NULL, false } },
    { "layers late and away", { REF, REF, REF, "0-1:" MEM1 " 2-3:" MEM0 " 5:" MEM1, false } },
};

START_TEST(late_work_on_host_memory_is_waited_for)
{
    place_rig_option("host-memory", "1#1");
    place_rig_option("delay", _i % 2 ? "random" : "wait");
    place_rig_open(&tardy[_i / 2].o);
    ck_assert(place_rig_dev(MEM, 1)->info.flags == BNP_DEV_HOST_MEM);
    place_rig_check(tardy[_i / 2].how, 0);
    place_rig_check(tardy[_i / 2].how, 7);
}
END_TEST

/* What one output's largest logits are does not depend on the place either. */
START_TEST(largest_logits_come_from_the_device)
{
    struct err err = { 0 };
    enum { N = 6 };
    place_rig_open(&(struct place_opts){ .linear = MEM1, .attn = REF, .point = MEM0 });
    place_rig_seq();
    place_rig_fill(0, N, 2);
    for (uint32_t i = 0; i < N; i++)
        place_rig.batch.out_k[i] = i % 3 ? 4 + i : 0;
    ck_assert_msg(!forward_run(place_rig.f, &place_rig.batch, &err), "%s", err.text);
    const uint32_t n_vocab = place_rig.model->hp.n_vocab;
    for (uint32_t i = 0; i < N; i++) {
        const struct forward_out o = forward_out(place_rig.f, i);
        const float *want = place_want + (size_t)i * n_vocab;
        ck_assert_int_eq(o.logits == NULL, i % 3 != 0);
        if (o.logits)
            ck_assert_mem_eq(o.logits, want, n_vocab * sizeof *want);
        for (uint32_t k = 0; !o.logits && k < o.k; k++) {
            ck_assert(o.id[k] >= 0 && (uint32_t)o.id[k] < n_vocab);
            ck_assert_mem_eq(&o.top[k], &want[o.id[k]], sizeof *want);
            ck_assert(!k || o.top[k] <= o.top[k - 1]);
        }
    }
    ck_assert_uint_eq(place_rig.f->head.n_exact, 4 * n_vocab);
}
END_TEST

/* Hidden states reach the host from wherever they are: times the head they are
 * the logits, the sum as docs/numerics.md defines it. */
START_TEST(hidden_states_come_from_every_mix)
{
    struct err err = { 0 };
    enum { N = 5 };
    place_rig_option("delay", "random");
    place_rig_option("seed", "5");
    place_rig_option("busy-every", _i % 2 ? "3" : "0");
    place_rig_open(&mix[_i].o);
    place_rig_seq();
    place_rig_fill(0, N, _i % 3);
    place_rig.batch.hidden = true;
    ck_assert_msg(!forward_run(place_rig.f, &place_rig.batch, &err), "%s", err.text);
    const struct hparams *hp = &place_rig.model->hp;
    float *w = malloc(hp->n_embd * sizeof *w);
    ck_assert_ptr_nonnull(w);
    for (uint32_t id = 0; id < hp->n_vocab; id += 211) {
        ck_assert_int_eq(wsrc_read_f32(place_rig.f->state->weights.head->src, id, w), 0);
        for (uint32_t i = 0; i < N; i++) {
            const float *h = forward_hidden(place_rig.f, i);
            float y = 0;
            for (uint32_t d = 0; d < hp->n_embd; d++)
                y = fmaf(w[d], h[d], y);
            ck_assert_msg(y == place_want[(size_t)i * hp->n_vocab + id], "%s: row %u token %u",
                          mix[_i].how, i, id);
        }
    }
    free(w);
}
END_TEST

/* ------------------------------------------------------------------- copies */

static void run_step(uint32_t from, uint32_t n, int want_out)
{
    struct err err = { 0 };
    place_rig_fill(from, n, want_out);
    ck_assert_msg(!forward_run(place_rig.f, &place_rig.batch, &err), "%s", err.text);
}

START_TEST(one_device_is_asked_for_its_outputs_only)
{
    place_rig_open(&all_mem);
    place_rig_seq();
    const struct forward_cross *c = &place_rig.f->cross;
    run_step(0, 7, 0);
    ck_assert(!c->n_in && !c->n_out && !c->n_wait && !c->in_size && !c->out_size);
    run_step(7, 3, 1);
    ck_assert_uint_eq(c->n_out, 1);
    ck_assert_uint_eq(c->out_size, place_rig.f->logits_stride * sizeof(float));
    ck_assert(!c->n_in && !c->n_wait);
}
END_TEST

static uint64_t stride(enum area a)
{
    return place_rig.f->state->work.area[a].stride;
}

/* Matrices there, everything else here: each layer needs its inputs there (h, q,
 * h, gate) and their outputs here (q k v, x, gate up, x); the rows of the step,
 * and each row set once. */
START_TEST(only_the_rows_of_a_step_cross)
{
    enum { N = 5 };
    place_rig_open(&(struct place_opts){ .linear = MEM0, .attn = REF, .point = REF });
    place_rig_seq();
    const struct forward_cross *c = &place_rig.f->cross;
    const uint64_t n_layer = place_rig.model->hp.n_layer;
    run_step(0, N, 1);
    ck_assert_uint_eq(c->n_in, 4 * n_layer + 1);
    ck_assert_uint_eq(c->n_out, 7 * n_layer + 1 + 1);
    ck_assert_uint_eq(c->in_size, n_layer * N * (2 * stride(AREA_H) + stride(AREA_Q) +
                                                 stride(AREA_GATE)) + stride(AREA_PICK));
    ck_assert_uint_eq(c->out_size, n_layer * N * (2 * stride(AREA_X) + stride(AREA_Q) +
                                                  2 * stride(AREA_K) + 2 * stride(AREA_GATE)) +
                      N * stride(AREA_X) + stride(AREA_LOGITS));
    /* x; q k v together; gate and up together; x again; then x for the head. */
    ck_assert_uint_eq(c->n_wait, 4 * n_layer + 1);
}
END_TEST

START_TEST(nothing_is_allocated_in_a_step_over_places)
{
    place_rig_open(&(struct place_opts){ .linear = MEM0, .attn = MEM1, .point = REF });
    place_rig_seq();
    run_step(0, 4, 1);
    place_rig_fill(4, 8, 2);
    struct err err = { 0 };
    const unsigned long before = alloc_count();
    const int rc = forward_run(place_rig.f, &place_rig.batch, &err);
    const unsigned long after = alloc_count();
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_uint_eq(after - before, 0);
}
END_TEST

/* ------------------------------------------------------- submit and finish */

START_TEST(outputs_are_there_after_finish)
{
    struct err err = { 0 };
    place_rig_open(&all_mem);
    place_rig_seq();
    place_rig_fill(0, 3, 2);
    ck_assert_int_eq(forward_submit(place_rig.f, &place_rig.batch, &err), 0);
    const struct lane *l = place_rig.f->state->lane;
    ck_assert(l->owes && !l->in_step);                        /* not waited for */
    const uint32_t n_vocab = place_rig.model->hp.n_vocab;
    ck_assert(memcmp(place_rig.f->logits, place_want, n_vocab * sizeof *place_want));
    ck_assert_int_eq(forward_finish(place_rig.f, &err), 0);
    place_rig_equal("after finish", 0, 3);
    ck_assert(!l->owes);
}
END_TEST

static void expect_idle(void)
{
    const struct forward_state *s = place_rig.f->state;
    for (uint32_t i = 0; i < s->n_lane; i++)
        ck_assert(!s->lane[i].owes && !s->lane[i].in_step);
}

/* norms and the rope table: a copy, and a step to wait for it */
enum { N_SETUP = 6 };

/* A call of a stream goes wrong, at once or when it is run. The step is
 * an error, nothing is under way, and running it again gives the bits. */
static void fail_once(int i, const char *late)
{
    char at[16], how[64];
    struct err err = { 0 };
    snprintf(at, sizeof at, "%d", N_SETUP + 1 + 9 * i);
    snprintf(how, sizeof how, "call %s, late %s", at, late);
    place_rig_option("fail-at", at);
    place_rig_option("fail-with", "numeric");
    place_rig_option("fail-late", late);
    place_rig_open(&(struct place_opts){ .linear = MEM0, .attn = REF, .point = MEM0 });
    place_rig_seq();
    place_rig_fill(0, 4, 2);
    const int rc = forward_run(place_rig.f, &place_rig.batch, &err);
    ck_assert_msg(rc == ERR_NUMERIC, "%s: %d %s", how, rc, err.text);
    ck_assert_msg(strstr(err.text, "as told") && strstr(err.text, MEM), "%s", err.text);
    ck_assert(!place_rig_dev(MEM, 0)->disabled);
    expect_idle();
    ck_assert_msg(!forward_run(place_rig.f, &place_rig.batch, &err), "%s: %s", how, err.text);
    place_rig_equal(how, 0, 4);
}

START_TEST(an_error_at_any_call_leaves_nothing_under_way)
{
    fail_once(_i, "0");
}
END_TEST

START_TEST(an_error_that_shows_late_leaves_nothing_under_way)
{
    fail_once(_i, "1");
}
END_TEST

/* ------------------------------------------------------------------- memory */

static char said[4096];           /* what place_rig_open logged               */

static int open_listening(const struct forward_conf *conf, struct err *err)
{
    FILE *f = tmpfile();
    ck_assert_ptr_nonnull(f);
    fflush(stderr);
    const int old = dup(STDERR_FILENO);
    ck_assert(old >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0);
    const int rc = forward_open(&place_rig.f, place_rig.model, place_rig.plug, conf, err);
    ck_assert(dup2(old, STDERR_FILENO) >= 0);
    close(old);
    rewind(f);
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    fclose(f);
    return rc;
}

/* Device 0 gets everything, and has no room for it. In normal mode one line says
 * so, and the others serve the same bits; strict mode refuses. */
static void no_room(const char *key, const char *value, const char *word)
{
    struct err err = { 0 };
    place_rig_option(key, value);
    place_rig_plug();
    place_rig_dev(MEM, 1)->disabled = true;
    struct forward_conf c = place_rig_conf(&all_mem);
    c.route.strict = true;
    if (strcmp(key, "fail-at")) {                     /* which happens once */
        ck_assert_int_ne(open_listening(&c, &err), 0);
        ck_assert_ptr_null(place_rig.f);
        ck_assert_msg(strstr(err.text, word) && strstr(err.text, MEM), "%s", err.text);
        ck_assert(!place_rig_dev(MEM, 0)->disabled);
    }
    c.route.strict = false;
    int rc = open_listening(&c, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert(place_rig_dev(MEM, 0)->disabled);
    ck_assert_msg(strstr(said, word) && strstr(said, MEM) && strstr(said, "without this device"),
                  "%s", said);
    ck_assert_ptr_eq(strchr(said, '\n') + 1, said + strlen(said));
    ck_assert_uint_eq(place_rig.f->state->n_lane, 1);
    ck_assert_uint_eq(place_rig.f->mem.n_place, 0);
    ck_assert_int_eq(batch_open(&place_rig.batch, &place_rig.f->limits, &err), 0);
    place_rig_check(word, 0);
}

START_TEST(a_device_that_is_too_small_is_done_without)
{
    no_room("mem-size", "1000000", "the device has 1.0 MiB");
}
END_TEST

/* Short from the first matrix on, in the middle of them, at the keys, at the
 * step's memory, at the last: whatever was there before is given back. */
START_TEST(a_device_that_runs_out_is_done_without)
{
    static const char *const max[] = { "1000", "300000", "2100000#0", "2500000#0",
                                       "2965000#0" };
    no_room("mem-max", max[_i], "cannot give");
}
END_TEST

START_TEST(a_device_that_fails_at_the_start_is_done_without)
{
    no_room("fail-at", _i ? "2#0" : "1#0", "as told");
}
END_TEST

START_TEST(every_place_has_its_memory_in_the_plan)
{
    place_rig_open(&(struct place_opts){ .linear = MEM0, .attn = MEM1, .point = REF });
    const struct mem_plan *m = &place_rig.f->mem;
    ck_assert_uint_eq(m->n_place, 2);
    const struct mem_place *linear = &m->place[0], *attn = &m->place[1];
    ck_assert_msg(strstr(linear->name, MEM0) && strstr(attn->name, MEM1), "%s, %s", linear->name,
                  attn->name);
    ck_assert(linear->weights && !linear->kv && !linear->rope && linear->work);
    ck_assert(!attn->weights && attn->kv && !attn->rope && attn->work);
    ck_assert_uint_eq(m->kv, 0);
    ck_assert_uint_eq(m->weights, place_rig.f->state->weights.norm_size);
    for (uint32_t i = 0; i < 2; i++) {
        const struct mem_place *p = &m->place[i];
        ck_assert_uint_eq(p->total, p->weights + p->kv + p->work + p->rope);
        ck_assert_uint_eq(p->limit, UINT64_C(1) << 30);
    }
    ck_assert_uint_eq(m->total, m->weights + m->kv + m->work + m->rope + m->serve);
    ck_assert_uint_lt(attn->work, linear->work);      /* no logits where no head is */
}
END_TEST

/* ------------------------------------------------- what else knows of places */

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;
    for (const char *p = text; p && (p = strstr(p, word)); p++)
        n++;
    return n;
}

/* q, k and v, out, gate and up, down and the head on each of their devices; then
 * attention and pointwise on each of three. */
START_TEST(strict_check_holds_every_device_of_every_layer)
{
    struct err err = { 0 };
    struct buf table = { 0 };
    place_rig_open(&(struct place_opts){ REF, REF, REF, "0:" MEM0 " 2:" MEM1, false });
    const int rc = strict_check(place_rig.f, &table, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_uint_eq(count(table.p, "equal, bit for bit"), 2 * 7);
    ck_assert_uint_eq(count(table.p, "is the reference"), 8);
    ck_assert_uint_eq(count(table.p, "attn "), 3);
    ck_assert_uint_eq(count(table.p, "point "), 3);
    buf_free(&table);
}
END_TEST

static unsigned files_in(const char *dir)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strstr(e->d_name, ".bnw") != NULL;
    closedir(d);
    return n;
}

START_TEST(matrices_on_a_device_are_not_kept_in_files)
{
    char dir[96];
    struct err err = { 0 };
    snprintf(dir, sizeof dir, "%s/kept", plug_dir);
    place_rig_plug();
    struct forward_conf c = place_rig_conf(&(struct place_opts){ REF, REF, REF, "1:" MEM0,
                                                                 false });
    c.weight_cache = dir;
    c.weight_cache_size = UINT64_C(1) << 30;
    for (int start = 0; start < 2; start++) {
        int rc = forward_open(&place_rig.f, place_rig.model, place_rig.plug, &c, &err);
        ck_assert_msg(rc == 0, "%s", err.text);
        ck_assert_uint_eq(files_in(dir), place_rig.f->state->weights.n - W_LAYER_N);
        ck_assert_int_eq(batch_open(&place_rig.batch, &place_rig.f->limits, &err), 0);
        place_rig_check(start ? "from files" : "kept", 0);
        batch_close(&place_rig.batch);
        forward_close(place_rig.f);
        place_rig.f = NULL;
    }
}
END_TEST

int main(void)
{
    const int n_mix = sizeof mix / sizeof mix[0];
    Suite *suite = suite_create("places");
    TCase *c = tcase_create("places");
    tcase_set_timeout(c, 300);
    tcase_add_unchecked_fixture(c, place_rig_want, NULL);
    tcase_add_checked_fixture(c, place_rig_setup, place_rig_teardown);
    tcase_add_test(c, devmem_gives_the_known_answers);
    tcase_add_loop_test(c, every_mix_of_places_gives_scalar_refs_bits, 0, n_mix);
    tcase_add_loop_test(c, every_mix_gives_them_whenever_devices_compute, 0, n_mix);
    tcase_add_loop_test(c, a_full_queue_changes_nothing, 0, n_mix);
    tcase_add_loop_test(c, late_work_on_host_memory_is_waited_for, 0,
                        2 * (int)(sizeof tardy / sizeof tardy[0]));
    tcase_add_test(c, largest_logits_come_from_the_device);
    tcase_add_loop_test(c, hidden_states_come_from_every_mix, 0, n_mix);
    tcase_add_test(c, one_device_is_asked_for_its_outputs_only);
    tcase_add_test(c, only_the_rows_of_a_step_cross);
    tcase_add_test(c, nothing_is_allocated_in_a_step_over_places);
    tcase_add_test(c, outputs_are_there_after_finish);
    tcase_add_loop_test(c, an_error_at_any_call_leaves_nothing_under_way, 0, 12);
    tcase_add_loop_test(c, an_error_that_shows_late_leaves_nothing_under_way, 0, 12);
    tcase_add_test(c, a_device_that_is_too_small_is_done_without);
    tcase_add_loop_test(c, a_device_that_runs_out_is_done_without, 0, 5);
    tcase_add_loop_test(c, a_device_that_fails_at_the_start_is_done_without, 0, 2);
    tcase_add_test(c, every_place_has_its_memory_in_the_plan);
    tcase_add_test(c, strict_check_holds_every_device_of_every_layer);
    tcase_add_test(c, matrices_on_a_device_are_not_kept_in_files);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    free(place_want);
    return failed ? 1 : 0;
}
