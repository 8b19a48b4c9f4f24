/* rig.c - see rig.h. The prompts and their ids are read from tests/golden/story. */
#include "tests/golden/rig.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

static struct model *open_model(const struct rig_opts *o)
{
    struct err err = { 0 };
    struct model *m = NULL;
    const struct model_opts opts = { .i2s_layout = o->layout, .tl_preset = o->tl_preset };
    int rc = model_open(&m, o->model ? o->model : "models/story.gguf", &opts, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    return m;
}

struct model *rig_model(const char *path)
{
    return open_model(&(struct rig_opts){ .model = path });
}

static const char *option(void *ctx, const char *id, const char *key)
{
    const struct rig_opts *o = ctx;
    return o->variant && o->plugin && !strcmp(id, o->plugin) && !strcmp(key, "variant") ? o->variant
                                                                                        : NULL;
}

struct plug *rig_plug(const struct rig_opts *o)
{
    struct err err = { 0 };
    struct plug *p = NULL;
    const struct plug_opts opts = {
        .dir = TEST_PLUGIN_DIR, .n_threads = o->n_threads ? o->n_threads : 1,
        .isa_mask = o->isa_mask ? o->isa_mask : UINT64_MAX,
        .only = o->plugin ? o->plugin : PLUG_REF_ID, .need_ref = true, .no_test = !o->plugin,
        .option = option, .option_ctx = (void *)(uintptr_t)o,
    };
    int rc = plug_open(&p, &opts, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    return p;
}

static uint32_t either(uint32_t v, uint32_t otherwise)
{
    return v ? v : otherwise;
}

struct forward_conf rig_conf(const struct rig_opts *o)
{
    const char *id = o->plugin ? o->plugin : PLUG_REF_ID;
    return (struct forward_conf){
        .n_ctx = either(o->n_ctx, GOLDEN_MAX), .max_tok = either(o->max_tok, GOLDEN_MAX),
        .max_seq = either(o->max_seq, GOLDEN_N), .max_out = either(o->max_out, GOLDEN_MAX),
        .page_tok = either(o->page_tok, 32), .kv_format = o->kv_format,
        .route = { .min_det = BNP_DET_EXACT, .pin_linear = id, .pin_attn = id, .pin_point = id }
    };
}

void rig_open(struct rig *r, const struct rig_opts *o)
{
    struct err err = { 0 };
    const struct forward_conf conf = rig_conf(o);
    *r = (struct rig){ .model = open_model(o), .plug = rig_plug(o) };
    int rc = forward_open(&r->f, r->model, r->plug, &conf, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    rc = batch_open(&r->batch, &r->f->limits, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
}

void rig_close(struct rig *r)
{
    batch_close(&r->batch);
    forward_close(r->f);
    plug_close(r->plug);
    model_close(r->model);
    *r = (struct rig){ 0 };
}

/* Rows [from, from + n) of id in a step of their own; their logits to out if
 * it is wanted. */
static void step(struct rig *r, struct kv_seq *s, const int32_t *id, uint32_t from, uint32_t n,
                 int want_out, float *out)
{
    struct err err = { 0 };
    const uint32_t n_vocab = r->model->hp.n_vocab;
    batch_clear(&r->batch);
    ck_assert(kv_reserve(&r->f->kv, s, from + n));
    ck_assert(batch_add(&r->batch, id + from, n, from, s->page, s->n_page, want_out));
    int rc = forward_run(r->f, &r->batch, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    for (uint32_t i = 0; i < r->batch.step.n_out; i++)
        memcpy(out + (size_t)i * n_vocab, r->f->logits + i * r->f->logits_stride,
               n_vocab * sizeof *out);
}

void rig_logits(struct rig *r, const int32_t *id, uint32_t n, uint32_t chunk, float *out)
{
    struct err err = { 0 };
    struct kv_seq s;
    ck_assert_int_eq(kv_seq_open(&s, &r->f->kv, r->f->conf.n_ctx, &err), 0);
    for (uint32_t at = 0, now; at < n; at += now) {
        now = chunk && chunk < n - at ? chunk : n - at;
        step(r, &s, id, at, now, 2, out + (size_t)at * r->model->hp.n_vocab);
    }
    kv_seq_close(&r->f->kv, &s);
}

static uint32_t read_ids(json_t *line, const char *key, int32_t *out, uint32_t max)
{
    json_t *a = json_object_get(line, key);
    size_t n = json_array_size(a);
    ck_assert(n > 0 && n <= max);
    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)json_integer_value(json_array_get(a, i));
    return (uint32_t)n;
}

static char *read_text(const char *path)
{
    struct err err = { 0 };
    char *text;
    size_t n;
    ck_assert_msg(file_read(path, 1 << 20, &text, &n, &err) == 0, "%s", err.text);
    return text;
}

void rig_golden(struct golden g[GOLDEN_N])
{
    char *prompts = read_text("tests/golden/story/prompts.txt");
    char *lines = read_text("tests/golden/story/story-i2_s.jsonl");
    char *p = prompts, *l = lines;
    for (int i = 0; i < GOLDEN_N; i++) {
        char *text = strsep(&p, "\n"), *line = strsep(&l, "\n");
        ck_assert(text && line);
        json_t *j = json_loads(line, 0, NULL);
        ck_assert_ptr_nonnull(j);
        g[i].text = strdup(text);
        ck_assert_ptr_nonnull(g[i].text);
        g[i].n = read_ids(j, "ids", g[i].id, GOLDEN_MAX);
        ck_assert_uint_eq(read_ids(j, "greedy", g[i].greedy, GOLDEN_NEW), GOLDEN_NEW);
        json_decref(j);
    }
    free(prompts);
    free(lines);
}

void rig_golden_free(struct golden g[GOLDEN_N])
{
    for (int i = 0; i < GOLDEN_N; i++)
        free(g[i].text);
}
