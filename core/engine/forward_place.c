/* forward_place.c - devices for a model, and what has to lie where they compute.
 *
 * Everything here fills in what is missing, so it serves the start and the loss
 * of a device alike: place_drop empties what was on the device, and the same
 * three steps as at the start make it whole again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/log.h"
#include "core/engine/forward_parts.h"
#include "core/engine/memplan.h"
#include "core/engine/rope.h"
#include "core/engine/wcache.h"
#include "core/plug/cgroup.h"

/* A status of d as our error; it is what the error is about. */
static int fail(struct forward *f, struct dev *d, int status, const char *what, struct err *err)
{
    f->state->failed = d;
    if (status == BNP_E_DEVICE)
        d->disabled = true;
    return plug_fail(d->plugin, status, what, err);
}

/* ------------------------------------------------------------------- choose */

static int want_all(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    const int32_t n_layer = (int32_t)f->model->hp.n_layer;
    int rc = weights_want(&s->weights, f->route, err);
    for (int32_t i = 0; i < n_layer && !rc; i++)
        if (!(rc = route_want_attn(f->route, i, &s->attn, err)))
            rc = route_want_point(f->route, i, &s->point, err);
    return rc ? rc : route_want_point(f->route, -1, &s->point, err);
}

static int ask_layer(struct forward *f, int32_t i, struct layer_devs *l, struct err *err)
{
    struct forward_state *s = f->state;
    int rc = 0, rc_point = 0;
    if (i >= 0 && !l->attn && (rc = route_attn(f->route, i, &s->attn, &l->attn, &l->attn_offer,
                                               err)))
        l->attn = NULL;
    struct err more = { 0 };
    if (!l->point && (rc_point = route_point(f->route, i, &s->point, &l->point, &l->point_offer,
                                             rc ? &more : err)))
        l->point = NULL;
    return rc ? rc : rc_point;
}

/* A device for everything that has none. All is asked even after a failure, so
 * that the table of what is missing is whole; err tells the first. */
static int ask_all(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    const int32_t n_layer = (int32_t)f->model->hp.n_layer;
    int rc = weights_ask(&s->weights, f->route, err);
    for (int32_t i = 0; i <= n_layer; i++) {
        struct err more = { 0 };
        const int rc_one = ask_layer(f, i < n_layer ? i : -1, &s->layer[i], rc ? &more : err);
        rc = rc ? rc : rc_one;
    }
    route_settle(f->route);
    if (rc == ERR_PLUGIN && f->conf.missing)
        route_explain(f->route, f->conf.missing);
    return rc;
}

/* The place of d's memory, a free one if it has none yet. */
static uint32_t place_for(struct forward_state *s, struct dev *d)
{
    uint32_t p = 1;
    if (!workmem_private(d))
        return PLACE_HOST;
    while (p < s->n_place && s->place[p].dev)
        p++;
    s->n_place = p < s->n_place ? s->n_place : p + 1;
    s->place[p] = (struct place){ .dev = d };
    return p;
}

/* A lane for d, unless it has one. */
static int add_lane(struct forward_state *s, struct dev *d, struct err *err)
{
    for (uint32_t i = 0; i < s->n_lane; i++)
        if (s->lane[i].dev == d)
            return 0;
    if (s->n_lane == LANE_MAX)
        return err_set(err, ERR_LIMIT, "%s: device %s is one more than the %d that a model may be "
                       "served by: pin fewer", d->plugin->note.raw.id, d->info.name,
                       LANE_MAX);
    s->lane[s->n_lane++] = (struct lane){ .dev = d, .place = place_for(s, d) };
    return 0;
}

static int add_lanes(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    const uint32_t n_layer = f->model->hp.n_layer;
    int rc = 0;
    for (uint32_t i = 0; i < s->weights.n && !rc; i++)
        rc = add_lane(s, s->weights.w[i].dev, err);
    for (uint32_t i = 0; i < n_layer && !rc; i++)
        if (!(rc = add_lane(s, s->layer[i].attn, err)))
            rc = add_lane(s, s->layer[i].point, err);
    return rc ? rc : add_lane(s, s->outside->point, err);
}

static int open_route(struct forward *f, struct err *err)
{
    struct err missing = { 0 };
    int rc = route_open(&f->route, f->plug, &f->conf.route, err);
    if (rc || (rc = want_all(f, err)))
        return rc;
    rc = route_decide(f->route, &missing);
    if (!rc || rc == ERR_PLUGIN)                 /* of which ask_all tells more */
        return 0;
    return err_set(err, rc, "%s", missing.text);
}

int place_choose(struct forward *f, struct err *err)
{
    int rc = f->route ? 0 : open_route(f, err);
    if (rc || (rc = ask_all(f, err)))
        return rc;
    return add_lanes(f, err);
}

/* --------------------------------------------------------------------- plan */

static uint64_t pool_size(const struct forward *f, const struct layer_devs *l)
{
    return l->page_size * (f->conf.kv_tok / f->conf.page_tok);
}

/* What attention's pages take: pool sizes are numbers from here on. */
static int ask_pages(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    const uint32_t n_page = f->conf.kv_tok / f->conf.page_tok, n_layer = f->model->hp.n_layer;
    for (uint32_t i = 0; i < n_layer; i++) {
        struct layer_devs *l = &s->layer[i];
        if (i && l[-1].attn == l->attn) {
            l->page_size = l[-1].page_size;
            continue;
        }
        uint64_t all;
        const int st = l->attn->attn->page_size(l->attn->d, &s->attn, &l->page_size);
        if (st)
            return fail(f, l->attn, st, "page_size", err);
        if (__builtin_mul_overflow(l->page_size, (uint64_t)n_page * n_layer, &all))
            return err_set(err, ERR_PLUGIN, "%s: a KV page of %" PRIu64 " bytes",
                           l->attn->plugin->note.raw.id, l->page_size);
    }
    return 0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Who computes at place p, and the step's memory there. */
static int plan_work(struct forward *f, uint32_t p, struct err *err)
{
    struct forward_state *s = f->state;
    struct place *at = &s->place[p];
    uint64_t act = 0, scratch = 0;
    at->point = lane_of(s, s->outside->point)->place == p;
    at->head = p == PLACE_HOST || lane_of(s, s->weights.head->dev)->place == p;
    for (uint32_t i = 0; i < s->weights.n; i++) {
        const struct weight *w = &s->weights.w[i];
        if (lane_of(s, w->dev)->place != p)
            continue;
        act = larger(act, w->act_size);
        scratch = larger(scratch, w->offer.scratch_size);
    }
    for (uint32_t i = 0; i < f->model->hp.n_layer; i++) {
        const struct layer_devs *l = &s->layer[i];
        at->point |= lane_of(s, l->point)->place == p;
        if (lane_of(s, l->attn)->place == p)
            scratch = larger(scratch, l->attn_offer.scratch_size);
    }
    return work_plan_mem(&s->work, at->head, act, scratch, &at->plan, err);
}

/* Bytes of keys and values in d's memory, NULL: in the host's. */
static uint64_t kv_size(const struct forward *f, const struct dev *d)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < f->model->hp.n_layer; i++) {
        const struct layer_devs *l = &f->state->layer[i];
        if (d ? l->attn == d : !workmem_private(l->attn))
            size += pool_size(f, l);
    }
    return size;
}

uint64_t forward_page_size(const struct forward *f)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < f->model->hp.n_layer; i++)
        size += f->state->layer[i].page_size;
    return size;
}

static int plan_private(struct forward *f, const struct place *p, struct err *err)
{
    struct forward_state *s = f->state;
    struct mem_place *m = &f->mem.place[f->mem.n_place++];
    const struct dev *d = p->dev;
    *m = (struct mem_place){
        .weights = weights_size(&s->weights, d) + (p->point ? s->weights.norm_size : 0),
        .kv = kv_size(f, d), .work = p->plan.mem.size,
        .rope = p->point ? s->rope.table.size : 0, .limit = d->info.mem_size
    };
    snprintf(m->name, sizeof m->name, "%s#%u (%.64s)", d->plugin->note.raw.id, d->index,
             d->info.name);
    const int rc = memplan_check_place(m, err);
    if (rc)
        s->failed = p->dev;
    return rc;
}

int place_plan(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    struct mem_plan *m = &f->mem;
    int rc = ask_pages(f, err);
    if (!rc)
        rc = work_plan(&s->work, &f->model->hp, &f->limits, err);
    for (uint32_t p = 0; p < s->n_place && !rc; p++)
        if (p == PLACE_HOST || s->place[p].dev)
            rc = plan_work(f, p, err);
    m->n_place = 0;
    for (uint32_t p = 1; p < s->n_place && !rc; p++)
        if (s->place[p].dev)
            rc = plan_private(f, &s->place[p], err);
    if (rc)
        return rc;
    m->weights = weights_size(&s->weights, NULL) + s->weights.norm_size;
    m->kv = kv_size(f, NULL);
    m->work = s->place[PLACE_HOST].plan.mem.size;
    m->rope = s->rope.table.size;
    m->serve = memplan_serve(&f->conf, &f->limits);
    m->limit = f->conf.max_mem ? f->conf.max_mem : cgroup_memory("");
    rc = memplan_check(m, s->mem_fixed, err);
    f->conf.max_mem = m->limit;
    return rc;
}

/* ------------------------------------------------------------------ provide */

static int open_streams(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    for (uint32_t i = 0; i < s->n_lane; i++) {
        struct lane *l = &s->lane[i];
        const int st = l->stream ? BNP_OK
                                 : l->dev->ops->stream_open(l->dev->d, &f->limits, &l->stream);
        if (st) {
            l->stream = NULL;
            return fail(f, l->dev, st, "stream_open", err);
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
                    weights_size(w, NULL), &why))
        log_warn("%s", why.text);
    int rc = weights_load(w, f->conf.progress, f->conf.progress_ctx, err);
    wcache_close(w->cache);
    w->cache = NULL;
    f->state->failed = w->failed;
    return rc;
}

static int open_rope(struct forward *f, struct err *err)
{
    struct bnp_rope *rope = &f->state->rope;
    if (rope->table.base)
        return 0;
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
    int rc = f->kv.count ? 0 : kv_open(&f->kv, f->conf.kv_tok / f->conf.page_tok,
                                       f->conf.page_tok, err);
    for (uint32_t i = 0; i < f->model->hp.n_layer && !rc; i++) {
        struct layer_devs *l = &s->layer[i];
        if (l->pool.base)
            continue;
        rc = workmem_get(f->plug, l->attn, BNP_MEM_KV, pool_size(f, l), BNP_ALIGN, "KV of a layer",
                         &l->pool, err);
        if (rc)
            s->failed = l->attn;
    }
    return rc;
}

/* What is there may be larger than planned, when a device was lost. */
static int open_work(struct forward *f, struct place *p, struct err *err)
{
    if (p->work.mem.size < p->plan.mem.size) {
        workmem_put(f->plug, p->dev, &p->work.mem);
        const int rc = workmem_get(f->plug, p->dev, BNP_MEM_WORK, p->plan.mem.size, BNP_ALIGN,
                                   "work memory", &p->work.mem, err);
        if (rc) {
            f->state->failed = p->dev;
            return rc;
        }
    }
    p->work.act = p->plan.act;
    p->work.scratch = p->plan.scratch;
    return 0;
}

/* A copy at place p of something in the host's memory. */
static int upload(struct forward *f, struct place *p, const bnp_span *from, const char *what,
                  bnp_span *to, struct err *err)
{
    struct forward_state *s = f->state;
    const int rc = workmem_get(f->plug, p->dev, BNP_MEM_WEIGHT, from->size, BNP_ALIGN, what, to,
                               err);
    if (rc) {
        s->failed = p->dev;
        return rc;
    }
    const bnp_span room = { to->base, to->offset, from->size };
    const int st = lane_put(lane_of(s, p->dev), room, (const char *)from->base + from->offset);
    return st ? fail(f, p->dev, st, what, err) : 0;
}

static int open_places(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    int rc = 0;
    for (uint32_t i = 0; i < s->n_place && !rc; i++) {
        struct place *p = &s->place[i];
        if (i != PLACE_HOST && !p->dev)
            continue;
        rc = open_work(f, p, err);
        if (i == PLACE_HOST) {
            p->norm = s->weights.norm_mem;
            p->rope = s->rope.table;
            continue;
        }
        if (!rc && p->point && !p->norm.base)
            rc = upload(f, p, &s->weights.norm_mem, "norms", &p->norm, err);
        if (!rc && p->point && !p->rope.base)
            rc = upload(f, p, &s->rope.table, "rope table", &p->rope, err);
    }
    return rc;
}

static int open_outputs(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    const struct work_mem *m = &s->place[PLACE_HOST].work;
    const bnp_rows logits = work_rows(&s->work, m, AREA_LOGITS, 0, 0);
    f->logits = (const float *)((char *)logits.mem.base + logits.mem.offset);
    f->logits_stride = logits.stride / sizeof(float);
    if (s->out_row)
        return 0;
    s->out_row = calloc(f->limits.max_out, sizeof *s->out_row);
    s->out_at = calloc(f->limits.max_out, sizeof *s->out_at);
    return s->out_row && s->out_at ? 0 : err_set(err, ERR_NOMEM, "forward: no memory for %u "
                                                 "outputs", f->limits.max_out);
}

int place_provide(struct forward *f, struct err *err)
{
    int rc = open_streams(f, err);
    if (rc || (rc = load_weights(f, err)) || (rc = open_rope(f, err)) || (rc = open_kv(f, err)) ||
        (rc = open_places(f, err)))
        return rc;
    return open_outputs(f, err);
}

/* --------------------------------------------------------------------- drop */

/* The stream first: nothing may use what goes after it. */
static void close_lane(struct forward *f, struct lane *l)
{
    struct place *p = &f->state->place[l->place];
    if (l->stream)
        l->dev->ops->stream_close(l->stream);
    l->stream = NULL;
    if (l->place == PLACE_HOST)
        return;
    workmem_put(f->plug, p->dev, &p->work.mem);
    workmem_put(f->plug, p->dev, &p->norm);
    workmem_put(f->plug, p->dev, &p->rope);
    *p = (struct place){ 0 };
}

bool place_drop(struct forward *f, struct dev *d)
{
    struct forward_state *s = f->state;
    bool kv_lost = false;
    for (uint32_t i = 0; i < s->n_lane; i++)
        if (s->lane[i].dev == d) {
            close_lane(f, &s->lane[i]);
            s->lane[i] = s->lane[--s->n_lane];
            break;
        }
    weights_drop(&s->weights, d);
    for (uint32_t i = 0; i <= f->model->hp.n_layer; i++) {
        struct layer_devs *l = &s->layer[i];
        if (l->point == d)
            l->point = NULL;
        if (l->attn != d)
            continue;
        kv_lost |= l->pool.base != NULL;
        workmem_put(f->plug, d, &l->pool);
        l->attn = NULL;
    }
    return kv_lost;
}

void place_close(struct forward *f)
{
    struct forward_state *s = f->state;
    for (uint32_t i = 0; i < s->n_lane; i++)
        close_lane(f, &s->lane[i]);
    weights_free(&s->weights);
    for (uint32_t i = 0; s->layer && i < f->model->hp.n_layer; i++)
        workmem_put(f->plug, s->layer[i].attn, &s->layer[i].pool);
    if (s->place)
        workmem_put(f->plug, NULL, &s->place[PLACE_HOST].work.mem);
    plug_mem_free(f->plug, s->rope.table.base);
    kv_close(&f->kv);
    free(f->mem.place);
    free(s->out_row);
    free(s->out_at);
    free(s->layer);
    free(s->place);
    free(s->lane);
}
