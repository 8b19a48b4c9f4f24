/* model.c - a whole model on the OpenCL plugin, and on it together with others:
 * always the logits of scalar-ref, bit for bit.
 *
 * The story model and its prompts, each as one step and then token by token. A
 * device that is lost in the middle hands over to the CPU; then the tokens are
 * computed again, and give what they gave. */
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/rig.h"
#include "tests/opencl/layer.h"

#define OCL "org.bitnetd.opencl"
#if defined(__aarch64__)
#define CPU "org.bitnetd.cpu-neon"
#else
#define CPU "org.bitnetd.cpu-avx2"              /* left out where AVX2 is missing */
#endif
enum { N_PROMPT = 3, MAX_LEN = 24, SKIP = 77 };

struct split {
    const char *what, *linear, *attn, *point, *layers;
};

static const struct split splits[] = {
    { "everything on one device", OCL "#0", OCL "#0", OCL "#0", NULL },
    { "linear there, the rest on the CPU", OCL "#0", PLUG_REF_ID, PLUG_REF_ID, NULL },
    { "attention there, the rest on the CPU", PLUG_REF_ID, OCL "#0", PLUG_REF_ID, NULL },
    { "norms there, the rest on the CPU", PLUG_REF_ID, PLUG_REF_ID, OCL "#0", NULL },
    { "linear there, the rest on a CPU plugin", OCL "#0", CPU, CPU, NULL },
    { "attention there, the rest on a CPU plugin", CPU, OCL "#0", CPU, NULL },
    { "layers over a CPU plugin and two devices", CPU, CPU, CPU, "1-2:" OCL "#0 4:" OCL "#1" },
    { "layers over two devices", OCL "#0", OCL "#0", OCL "#0", "0-2:" OCL "#0 3-5:" OCL "#1" },
};

static struct golden golden[GOLDEN_N];
static float *want[N_PROMPT];
static struct layer *layer;
static bool cpu_here;           /* CPU can be used                           */

static const char *two_contexts(void *ctx, const char *id, const char *key)
{
    (void)ctx;
    return !strcmp(id, OCL) && !strcmp(key, "contexts") ? "2" : NULL;
}

static uint32_t length(uint32_t i)
{
    return golden[i].n < MAX_LEN ? golden[i].n : MAX_LEN;
}

static void open_split(struct rig *r, const struct split *s)
{
    struct err err = { 0 };
    const struct rig_opts small = { .n_ctx = 64, .max_tok = MAX_LEN, .max_out = MAX_LEN };
    struct forward_conf conf = rig_conf(&small);
    const struct plug_opts opts = { .dir = TEST_PLUGIN_DIR, .n_threads = 1, .need_ref = true,
                                    .isa_mask = UINT64_MAX, .no_test = true,
                                    .option = two_contexts };
    conf.route.pin_linear = s->linear;
    conf.route.pin_attn = s->attn;
    conf.route.pin_point = s->point;
    conf.route.layers = s->layers;
    *r = (struct rig){ .model = rig_model(NULL) };
    ck_assert_msg(!plug_open(&r->plug, &opts, &err), "%s", err.text);
    ck_assert_msg(!forward_open(&r->f, r->model, r->plug, &conf, &err), "%s: %s", s->what, err.text);
    ck_assert_msg(!batch_open(&r->batch, &r->f->limits, &err), "%s", err.text);
}

static void check_prompt(struct rig *r, const char *what, uint32_t i, uint32_t chunk)
{
    const size_t n = (size_t)length(i) * r->model->hp.n_vocab;
    float *out = malloc(n * sizeof *out);
    ck_assert_ptr_nonnull(out);
    rig_logits(r, golden[i].id, length(i), chunk, out);
    ck_assert_msg(!memcmp(out, want[i], n * sizeof *out),
                  "%s: prompt %u in steps of %u: not the logits of scalar-ref", what, i, chunk);
    free(out);
}

static void setup(void)
{
    struct rig r;
    static const struct split ref = { "reference", PLUG_REF_ID, PLUG_REF_ID, PLUG_REF_ID, NULL };
    rig_golden(golden);
    open_split(&r, &ref);
    for (uint32_t i = 0; i < N_PROMPT; i++) {
        want[i] = malloc((size_t)length(i) * r.model->hp.n_vocab * sizeof *want[i]);
        ck_assert_ptr_nonnull(want[i]);
        rig_logits(&r, golden[i].id, length(i), 0, want[i]);
    }
    rig_close(&r);
}

static void teardown(void)
{
    for (uint32_t i = 0; i < N_PROMPT; i++)
        free(want[i]);
    rig_golden_free(golden);
}

START_TEST(however_it_is_split_the_logits_are_one)
{
    struct rig r;
    if (!strcmp(splits[_i].point, CPU) && !cpu_here)
        return;
    open_split(&r, &splits[_i]);
    for (uint32_t i = 0; i < N_PROMPT; i++)
        check_prompt(&r, splits[_i].what, i, 0);
    check_prompt(&r, splits[_i].what, 0, 1);
    check_prompt(&r, splits[_i].what, 1, 7);
    rig_close(&r);
}
END_TEST

START_TEST(a_device_lost_in_the_middle_changes_no_bit)
{
    struct err err = { 0 };
    struct rig r;
    struct kv_seq s;
    bool kv_lost = false;
    open_split(&r, &splits[0]);
    check_prompt(&r, "before", 0, 0);
    ck_assert_int_eq(kv_seq_open(&s, &r.f->kv, 64, &err), 0);
    ck_assert(kv_reserve(&r.f->kv, &s, length(1)));
    batch_clear(&r.batch);
    ck_assert(batch_add(&r.batch, golden[1].id, length(1), 0, s.page, s.n_page, 2));
    layer->event_state = -5;                    /* CL_OUT_OF_RESOURCES */
    const int rc = forward_run(r.f, &r.batch, &err);
    layer->event_state = 0;
    ck_assert_int_eq(rc, ERR_DEVICE);
    kv_seq_close(&r.f->kv, &s);
    ck_assert_msg(!forward_recover(r.f, &kv_lost, &err), "%s", err.text);
    ck_assert(kv_lost);
    for (uint32_t i = 0; i < N_PROMPT; i++)
        check_prompt(&r, "after", i, 0);
    rig_close(&r);
}
END_TEST

static bool ready(void)
{
    setenv("OPENCL_LAYERS", LAYER_SO, 1);
    void *lib = dlopen(LAYER_SO, RTLD_NOW | RTLD_LOCAL);
    void *fn = lib ? dlsym(lib, "layer_state") : NULL;
    layer_state_fn *state;
    memcpy(&state, &fn, sizeof state);
    layer = fn ? state() : NULL;
    struct err err = { 0 };
    struct plug *p = NULL;
    const struct plug_opts opts = { .dir = TEST_PLUGIN_DIR, .n_threads = 1, .need_ref = true,
                                    .isa_mask = UINT64_MAX, .no_test = true };
    if (!layer || plug_open(&p, &opts, &err)) {
        printf("cannot open the plugins: %s\n", layer ? err.text : LAYER_SO);
        exit(1);
    }
    const bool here = p->n_dev > 0 && layer->context > 0;
    bool any = false;
    for (uint32_t i = 0; i < p->n_dev; i++) {
        any = any || !strcmp(p->dev[i]->plugin->note.raw.id, OCL);
        cpu_here = cpu_here || !strcmp(p->dev[i]->plugin->note.raw.id, CPU);
    }
    plug_close(p);
    if (!here || !any)
        printf("skipped: no OpenCL device, or a loader without layers\n");
    return here && any;
}

int main(void)
{
    if (!ready())
        return SKIP;
    Suite *suite = suite_create("opencl model");
    TCase *c = tcase_create("model");
    tcase_add_unchecked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 250);
    tcase_add_loop_test(c, however_it_is_split_the_logits_are_one, 0,
                        (int)(sizeof splits / sizeof *splits));
    tcase_add_test(c, a_device_lost_in_the_middle_changes_no_bit);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_set_fork_status(r, CK_NOFORK);      /* a driver's threads do not survive a fork */
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
