/* forward_open.c - from a model and devices to something that can step.
 *
 * In this order: limits from the configuration, devices by the route, the
 * memory plan, and only then memory: weights, KV, work, streams. A half-built
 * forward is closed by forward_close like a whole one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/engine/forward_parts.h"
#include "core/engine/memplan.h"
#include "core/engine/rope.h"
#include "core/engine/wcache.h"
#include "core/plug/cgroup.h"

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
        .ops = BNP_POINT_RMSNORM | BNP_POINT_ROPE | BNP_POINT_PICK |
               (hp->glu == BNP_GLU_SILU ? BNP_POINT_SILU : BNP_POINT_RELU2)
    };
    s->rope = (struct bnp_rope){
        .struct_size = sizeof s->rope, .style = hp->rope_style, .head_dim = hp->head_dim,
        .n_rot = hp->n_rot, .n_pos = f->conf.n_ctx
    };
}

/* A lane for d, unless it has one. */
static int add_lane(struct forward_state *s, struct dev *d, struct err *err)
{
    for (uint32_t i = 0; i < s->n_lane; i++)
        if (s->lane[i].dev == d)
            return 0;
    if (!(d->info.flags & BNP_DEV_HOST_MEM))
        return err_set(err, ERR_PLUGIN, "%s: device %s does not compute on host memory, which "
                       "this engine needs", d->plugin->note.raw.id, d->info.name);
    if (!(d->info.flags & BNP_DEV_SYNC) && !d->ops->wait)
        return err_set(err, ERR_PLUGIN, "%s: device %s is asynchronous and has no wait",
                       d->plugin->note.raw.id, d->info.name);
    s->lane[s->n_lane++].dev = d;
    return 0;
}

/* A device for everything. All is asked even after a failure, so that the
 * table of what is missing is whole; err tells the first. */
static int ask(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    struct err more = { 0 };
    int rc = weights_plan(&s->weights, f->model, f->plug, f->route, &f->limits, err);
    int rc_attn = route_attn(f->route, 0, &s->attn, &s->attn_dev, &s->attn_offer,
                             rc ? &more : err);
    rc = rc ? rc : rc_attn;
    int rc_point = route_point(f->route, 0, &s->point, &s->point_dev, &s->point_offer,
                               rc ? &more : err);
    rc = rc ? rc : rc_point;
    route_settle(f->route);
    if (rc == ERR_PLUGIN && f->conf.missing)
        route_explain(f->route, f->conf.missing);
    return rc;
}

static int choose(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    int rc = route_open(&f->route, f->plug, &f->conf.route, err);
    if (rc || (rc = ask(f, err)))
        return rc;
    s->lane = calloc(f->plug->n_dev, sizeof *s->lane);
    if (!s->lane)
        return err_set(err, ERR_NOMEM, "forward: no memory for %u streams", f->plug->n_dev);
    for (uint32_t i = 0; i < s->weights.n && !rc; i++)
        rc = add_lane(s, s->weights.w[i].dev, err);
    if (rc || (rc = add_lane(s, s->attn_dev, err)))
        return rc;
    return add_lane(s, s->point_dev, err);
}

/* ------------------------------------------------------------------ memory */

static int plan(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    struct mem_plan *m = &f->mem;
    const uint32_t n_page = f->conf.kv_tok / f->conf.page_tok;
    uint64_t page_size = 0, scratch = s->weights.scratch_size;
    int st = s->attn_dev->attn->page_size(s->attn_dev->d, &s->attn, &page_size);
    if (st)
        return plug_fail(s->attn_dev->plugin, st, "page_size", err);
    scratch = s->attn_offer.scratch_size > scratch ? s->attn_offer.scratch_size : scratch;
    int rc = work_plan(&s->work, &f->model->hp, &f->limits, s->weights.act_size, scratch, err);
    if (rc)
        return rc;
    if (__builtin_mul_overflow(page_size, n_page, &s->pool_size) ||
        __builtin_mul_overflow(s->pool_size, f->model->hp.n_layer, &m->kv))
        return err_set(err, ERR_PLUGIN, "%s: a KV page of %" PRIu64 " bytes",
                       s->attn_dev->plugin->note.raw.id, page_size);
    s->rope.table.size = (uint64_t)f->conf.n_ctx * s->rope.n_rot * sizeof(float);
    m->weights = s->weights.weight_size + s->weights.norm_size;
    m->work = s->work.size;
    m->rope = s->rope.table.size;
    m->limit = f->conf.max_mem ? f->conf.max_mem : cgroup_memory("");
    rc = memplan_check(m, f->conf.max_mem != 0, err);
    f->conf.max_mem = m->limit;
    return rc;
}

static int open_rope(struct forward *f, struct err *err)
{
    struct bnp_rope *rope = &f->state->rope;
    rope->table.base = plug_mem_alloc(f->plug, rope->table.size, BNP_ALIGN);
    if (!rope->table.base)
        return err_set(err, ERR_NOMEM, "rope: no memory for %u positions: lower engine.n_ctx",
                       rope->n_pos);
    return rope_fill(rope->table.base, rope->n_pos, rope->n_rot, f->model->hp.rope_base,
                     f->model->rope_factor, err);
}

static int open_kv(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    const uint32_t n_layer = f->model->hp.n_layer;
    int rc = kv_open(&f->kv, f->conf.kv_tok / f->conf.page_tok, f->conf.page_tok, err);
    if (rc)
        return rc;
    s->pool = calloc(n_layer, sizeof *s->pool);
    for (uint32_t i = 0; s->pool && i < n_layer; i++) {
        s->pool[i] = (bnp_span){ plug_mem_alloc(f->plug, s->pool_size, BNP_ALIGN), 0,
                                 s->pool_size };
        if (!s->pool[i].base)
            break;
    }
    if (!s->pool || !s->pool[n_layer - 1].base)
        return err_set(err, ERR_NOMEM, "KV: no memory for %u layers of %" PRIu64 " bytes: lower "
                       "engine.kv_tok, or engine.n_ctx", n_layer, s->pool_size);
    return 0;
}

static int open_streams(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    for (uint32_t i = 0; i < s->n_lane; i++) {
        struct dev *d = s->lane[i].dev;
        int st = d->ops->stream_open(d->d, &f->limits, &s->lane[i].stream);
        if (st) {
            s->lane[i].stream = NULL;
            return plug_fail(d->plugin, st, "stream_open", err);
        }
    }
    return 0;
}

/* A cache that cannot be had costs time and nothing else. */
static int load_weights(struct forward *f, struct err *err)
{
    struct weights *w = &f->state->weights;
    struct err why = { 0 };
    if (f->conf.weight_cache &&
        wcache_open(&w->cache, f->plug, f->conf.weight_cache, f->conf.weight_cache_size,
                    w->weight_size, &why))
        log_warn("%s", why.text);
    int rc = weights_load(w, f->conf.progress, f->conf.progress_ctx, err);
    wcache_close(w->cache);
    w->cache = NULL;
    return rc;
}

static int open_outputs(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    s->out_row = calloc(f->limits.max_out, sizeof *s->out_row);
    s->out_at = calloc(f->limits.max_out, sizeof *s->out_at);
    return s->out_row && s->out_at ? 0 : err_set(err, ERR_NOMEM, "forward: no memory for %u "
                                                 "outputs", f->limits.max_out);
}

static int build(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    int rc = load_weights(f, err);
    if (rc || (rc = open_rope(f, err)) || (rc = open_kv(f, err)) ||
        (rc = work_alloc(&s->work, f->plug, err)) || (rc = open_outputs(f, err)) ||
        (rc = open_streams(f, err)))
        return rc;
    f->logits = (const float *)((char *)s->work.logits.mem.base + s->work.logits.mem.offset);
    f->logits_stride = s->work.logits.stride / sizeof(float);
    s->ready = true;
    return 0;
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
    int rc = settle_conf(f, err);
    if (!rc) {
        describe(f);
        rc = choose(f, err);
    }
    if (!rc)
        rc = plan(f, err);
    if (!rc && !conf->dry)
        rc = build(f, err);
    if (rc) {
        forward_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

void forward_close(struct forward *f)
{
    if (!f)
        return;
    struct forward_state *s = f->state;
    for (uint32_t i = 0; i < s->n_lane; i++)
        if (s->lane[i].stream)
            s->lane[i].dev->ops->stream_close(s->lane[i].stream);
    weights_free(&s->weights);
    for (uint32_t i = 0; s->pool && i < f->model->hp.n_layer; i++)
        plug_mem_free(f->plug, s->pool[i].base);
    plug_mem_free(f->plug, s->rope.table.base);
    work_free(&s->work, f->plug);
    kv_close(&f->kv);
    route_close(f->route);
    free(s->out_row);
    free(s->out_at);
    free(s->pool);
    free(s->lane);
    free(s);
    free(f);
}

void forward_mem_table(const struct forward *f, struct buf *out)
{
    memplan_print(&f->mem, out);
}
