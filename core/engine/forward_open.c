/* forward_open.c - from a model and devices to something that can step, and
 * back to that when a device was lost.
 *
 * In this order: limits from the configuration, devices by the route, the
 * memory plan, and only then memory: streams, weights, KV, work. A half-built
 * forward is closed by forward_close like a whole one. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/log.h"
#include "core/engine/forward_parts.h"
#include "core/engine/memplan.h"

/* ------------------------------------------------------- limits and choice */

static uint32_t pages_for(uint32_t n_tok, uint32_t page_tok)
{
    return n_tok / page_tok + (n_tok % page_tok != 0);
}

static int settle_conf(struct forward *f, struct err *err)
{
    struct forward_conf *c = &f->conf;
    const uint32_t model_ctx = f->model->hp.n_ctx;
    if (!c->n_ctx)
        c->n_ctx = model_ctx;
    if (!c->n_ctx || c->n_ctx > model_ctx)
        return err_set(err, ERR_ARG, "engine.n_ctx: %u, the model has %u positions", c->n_ctx,
                       model_ctx);
    if (c->page_tok != 16 && c->page_tok != 32 && c->page_tok != 64)
        return err_set(err, ERR_ARG, "engine.page_tok: %u, expected 16, 32 or 64", c->page_tok);
    if (!c->max_tok || c->max_tok > INT32_MAX || !c->max_seq || c->max_seq >= UINT16_MAX ||
        !c->max_out)
        return err_set(err, ERR_ARG, "a step of %u rows, %u sequences, %u outputs: expected at "
                       "least one of each and at most %d rows, %d sequences: check "
                       "engine.row_budget and engine.max_seq", c->max_tok, c->max_seq, c->max_out,
                       INT32_MAX, UINT16_MAX - 1);
    if (!c->kv_format)
        c->kv_format = BNP_KV_F16;
    if (c->max_out > c->max_tok)
        c->max_out = c->max_tok;
    const uint32_t seq_pages = pages_for(c->n_ctx, c->page_tok);
    uint64_t n_page = c->kv_tok ? pages_for(c->kv_tok, c->page_tok)
                                : (uint64_t)c->max_seq * seq_pages;
    if (n_page * c->page_tok > INT32_MAX)
        return err_set(err, ERR_LIMIT, "KV of %" PRIu64 " tokens, at most %d: lower engine.kv_tok, "
                       "engine.n_ctx or engine.max_seq", n_page * c->page_tok, INT32_MAX);
    c->kv_tok = (uint32_t)n_page * c->page_tok;
    f->limits = (struct bnp_limits){
        .struct_size = sizeof f->limits, .max_tok = c->max_tok, .max_seq = c->max_seq,
        .max_pages = seq_pages, .max_out = c->max_out
    };
    return 0;
}

static uint32_t glu_op(uint32_t glu)
{
    return glu == BNP_GLU_GELU ? BNP_POINT_GELU : glu == BNP_GLU_SILU ? BNP_POINT_SILU
                                                                      : BNP_POINT_RELU2;
}

static void describe(struct forward *f)
{
    const struct hparams *hp = &f->model->hp;
    struct forward_state *s = f->state;
    uint32_t widest = hp->n_ff > hp->n_embd ? hp->n_ff : hp->n_embd;
    if (hp->n_head * hp->head_dim > widest)
        widest = hp->n_head * hp->head_dim;
    s->attn = (struct bnp_attn_desc){
        .struct_size = sizeof s->attn, .n_head = hp->n_head, .n_head_kv = hp->n_head_kv,
        .head_dim = hp->head_dim, .page_tok = f->conf.page_tok, .kv_format = f->conf.kv_format,
        .max_kv = f->conf.n_ctx, .max_tok = f->conf.max_tok, .scale = hp->attn_scale
    };
    s->point = (struct bnp_point_desc){
        .struct_size = sizeof s->point, .cols = widest, .max_tok = f->conf.max_tok,
        .ops = BNP_POINT_RMSNORM | BNP_POINT_ROPE | BNP_POINT_PICK | glu_op(hp->glu) |
               (hp->post_norm ? BNP_POINT_ADD : 0)
    };
    s->rope = (struct bnp_rope){
        .struct_size = sizeof s->rope, .style = hp->rope_style, .head_dim = hp->head_dim,
        .n_rot = hp->n_rot, .n_pos = f->conf.n_ctx
    };
}

/* Room for as many lanes and places as there are devices. */
static int open_tables(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    const uint32_t n_dev = f->plug->n_dev, n_layer = f->model->hp.n_layer;
    describe(f);
    s->mem_fixed = f->conf.max_mem != 0;
    s->rope.table.size = (uint64_t)f->conf.n_ctx * s->rope.n_rot * sizeof(float);
    s->lane = calloc((size_t)n_dev + 1, sizeof *s->lane);
    s->place = calloc((size_t)n_dev + 1, sizeof *s->place);
    s->layer = calloc((size_t)n_layer + 1, sizeof *s->layer);
    f->mem.place = calloc((size_t)n_dev + 1, sizeof *f->mem.place);
    if (!s->lane || !s->place || !s->layer || !f->mem.place)
        return err_set(err, ERR_NOMEM, "forward: no memory for %u devices and %u layers", n_dev,
                       n_layer);
    s->outside = &s->layer[n_layer];
    s->n_place = 1;
    return weights_open(&s->weights, f->model, f->plug, &f->limits, err);
}

/* ------------------------------------------------------- devices and memory */

/* In normal mode the model is served without a device that has no room for it,
 * or that was lost while it was prepared. */
static bool may_do_without(const struct forward *f, int rc)
{
    const struct dev *d = f->state->failed;
    if (!d || f->conf.route.strict)
        return false;
    return d->disabled || (workmem_private(d) && (rc == ERR_NOMEM || rc == ERR_LIMIT));
}

static int settle_once(struct forward *f, struct err *err)
{
    f->state->failed = NULL;
    int rc = place_choose(f, err);
    if (rc || (rc = place_plan(f, err)) || f->conf.dry)
        return rc;
    return place_provide(f, err);
}

/* Ends: every round but the last has a device less. */
static int settle(struct forward *f, bool *kv_lost, struct err *err)
{
    int rc;
    while ((rc = settle_once(f, err)) && may_do_without(f, rc)) {
        log_warn("%s: served without this device", err->text);
        f->state->failed->disabled = true;
        *kv_lost |= place_drop(f, f->state->failed);
    }
    f->state->ready = !rc && !f->conf.dry;
    return rc;
}

int forward_recover(struct forward *f, bool *kv_lost, struct err *err)
{
    struct forward_state *s = f->state;
    struct err why = { 0 };
    assert(!s->submitted);
    *kv_lost = false;
    s->ready = false;
    if (f->conf.route.strict)
        return err_set(err, ERR_DEVICE, "a device is lost, and strict mode uses no other that was "
                       "not held against %s at the start: restart bitnetd", PLUG_REF_ID);
    for (uint32_t i = s->n_lane; i-- > 0;)
        if (s->lane[i].dev->disabled)
            *kv_lost |= place_drop(f, s->lane[i].dev);
    return settle(f, kv_lost, &why) ? err_set(err, ERR_DEVICE, "%s", why.text) : 0;
}

/* ---------------------------------------------------------- open and close */

int forward_open(struct forward **out, struct model *m, struct plug *plug,
                 const struct forward_conf *conf, struct err *err)
{
    *out = NULL;
    struct forward *f = calloc(1, sizeof *f);
    struct forward_state *s = calloc(1, sizeof *s);
    if (!f || !s) {
        free(f);
        free(s);
        return err_set(err, ERR_NOMEM, "forward: no memory");
    }
    f->model = m;
    f->plug = plug;
    f->conf = *conf;
    f->state = s;
    struct err why = { 0 };       /* settle needs the text of what it mends */
    bool kv_lost = false;
    int rc = settle_conf(f, err);
    if (!rc && !(rc = open_tables(f, err)) && (rc = settle(f, &kv_lost, &why)) && err)
        *err = why;
    if (rc) {
        forward_close(f);
        return rc;
    }
    f->conf.progress = NULL;      /* the caller's, for this call only */
    f->conf.missing = NULL;
    *out = f;
    return 0;
}

void forward_close(struct forward *f)
{
    if (!f)
        return;
    place_close(f);
    route_close(f->route);
    free(f->state);
    free(f);
}

void forward_mem_table(const struct forward *f, struct buf *out)
{
    memplan_print(&f->mem, out);
}
