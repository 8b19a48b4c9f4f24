/* weights.c - from tensors of a file to handles of devices.
 *
 * One description per matrix goes to the route, which answers from memory for
 * equal layers. A tied embedding is one matrix with two uses. */
#include "core/engine/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/wcache.h"
#include "core/engine/workmem.h"

static const struct {
    enum model_slot tensor;
    uint32_t role;
} weight_of[W_LAYER_N] = {
    [W_Q] = { T_ATTN_Q, BNP_ROLE_QKV },       [W_K] = { T_ATTN_K, BNP_ROLE_QKV },
    [W_V] = { T_ATTN_V, BNP_ROLE_QKV },       [W_OUT] = { T_ATTN_OUT, BNP_ROLE_O },
    [W_GATE] = { T_FFN_GATE, BNP_ROLE_UP },   [W_UP] = { T_FFN_UP, BNP_ROLE_UP },
    [W_DOWN] = { T_FFN_DOWN, BNP_ROLE_DOWN }
};

static const enum model_slot norm_of[N_LAYER_N] = {
    [N_ATTN] = T_ATTN_NORM, [N_Q_IN] = T_ATTN_Q_NORM_IN, [N_K_IN] = T_ATTN_K_NORM_IN,
    [N_V_IN] = T_ATTN_V_NORM_IN, [N_Q_HEAD] = T_ATTN_Q_NORM, [N_K_HEAD] = T_ATTN_K_NORM,
    [N_ATTN_SUB] = T_ATTN_SUB_NORM, [N_ATTN_POST] = T_ATTN_POST_NORM,
    [N_FFN] = T_FFN_NORM, [N_GATE_IN] = T_FFN_GATE_NORM_IN, [N_UP_IN] = T_FFN_UP_NORM_IN,
    [N_FFN_SUB] = T_FFN_SUB_NORM, [N_FFN_POST] = T_FFN_POST_NORM
};

/* Whoever reads a matrix front to back has read its pages: what is prepared
 * grows as they go, so both are never in memory at once. */
static int read_rows(void *ctx, uint32_t row, uint32_t n, void *dst, size_t stride)
{
    if (wsrc_read_rows(ctx, row, n, dst, stride))
        return BNP_E_DATA;
    wsrc_drop_rows(ctx, row, n);
    return BNP_OK;
}

static int read_scales(void *ctx, uint64_t first, uint64_t n, float *dst)
{
    return wsrc_read_scales(ctx, first, n, dst) ? BNP_E_DATA : BNP_OK;
}

struct bnp_weight_src weights_src(const struct wsrc *src)
{
    size_t stride = 0;
    const void *rows = wsrc_rows(src, &stride);
    return (struct bnp_weight_src){
        .struct_size = sizeof(struct bnp_weight_src), .ctx = (void *)(uintptr_t)src,
        .read_rows = read_rows, .read_scales = read_scales, .rows = rows, .row_stride = stride
    };
}

/* ------------------------------------------------------------------- plan */

#define MAX_ALIGN   (UINT64_C(2) << 20)       /* the ABI's bound                */
#define BLOCK_MIN   (UINT64_C(32) << 20)      /* bytes that are worth a block   */
#define MAX_STORAGE (UINT64_C(1) << 48)       /* bytes; keeps sums from wrapping */

/* "blk.7.attn_q.weight" is "blk.7.attn_q" to the plugin. */
static void short_name(char out[64], const char *name)
{
    size_t n = strlen(name), tail = strlen(".weight");
    if (n > tail && !strcmp(name + n - tail, ".weight"))
        n -= tail;
    snprintf(out, 64, "%.*s", (int)n, name);
}

static void describe(struct weight *w, const struct wsrc *src, uint32_t role, uint32_t uses,
                     uint32_t max_tok)
{
    w->src = src;
    short_name(w->name, src->name);
    const char *dot = strrchr(w->name, '.');
    w->tensor = dot ? dot + 1 : w->name;
    w->desc = (struct bnp_weight_desc){
        .struct_size = sizeof w->desc, .format = src->format, .scale_kind = src->scale_kind,
        .role = role, .flags = src->flags | uses, .rows = src->rows, .cols = src->cols,
        .block_cols = src->block_cols, .max_tok = max_tok, .name = w->name
    };
}

static int describe_all(struct weights *ws, const struct bnp_limits *l, struct err *err)
{
    const struct model *m = ws->model;
    uint32_t n_layer = m->hp.n_layer;
    bool tied = m->hp.tied_head;
    ws->w = calloc((size_t)n_layer * W_LAYER_N + 2, sizeof *ws->w);
    ws->norm = calloc((size_t)n_layer * N_LAYER_N + 1, sizeof *ws->norm);
    if (!ws->w || !ws->norm)
        return err_set(err, ERR_NOMEM, "weights: no memory for the tables of %u layers", n_layer);
    for (uint32_t i = 0; i < n_layer; i++)
        for (unsigned s = 0; s < W_LAYER_N; s++)
            describe(weights_at(ws, i, s), &m->layer[i].t[weight_of[s].tensor],
                     weight_of[s].role, BNP_W_MUL, l->max_tok);
    ws->embd = &ws->w[(size_t)n_layer * W_LAYER_N];
    ws->head = tied ? ws->embd : ws->embd + 1;
    ws->n = (uint32_t)(ws->head - ws->w) + 1;
    describe(ws->embd, &m->embd, tied ? BNP_ROLE_HEAD : BNP_ROLE_EMBED,
             BNP_W_GATHER | (tied ? BNP_W_MUL | BNP_W_TOPK : 0), tied ? l->max_out : l->max_tok);
    if (!tied)
        describe(ws->head, &m->head, BNP_ROLE_HEAD, BNP_W_MUL | BNP_W_TOPK, l->max_out);
    return 0;
}

static uint64_t round_up(uint64_t v, uint64_t to)        /* to: a power of two */
{
    return (v + to - 1) & ~(to - 1);
}

static int32_t layer_of(const struct weights *ws, const struct weight *w)
{
    return w < ws->embd ? (int32_t)((w - ws->w) / W_LAYER_N) : -1;
}

/* Asks the chosen device what the matrix will take. Its answers are a
 * plugin's: checked. */
static int place(struct weight *w, struct err *err)
{
    const struct bnp_linear_ops *ops = w->dev->linear;
    size_t stride;
    if (wsrc_rows(w->src, &stride))     /* not for the route: its stopwatch has rows of its own */
        w->desc.flags |= BNP_W_IN_PLACE;
    w->layout = (struct bnp_weight_layout){ .struct_size = sizeof w->layout };
    int st = ops->layout(w->dev->d, &w->desc, &w->layout);
    if (st) {
        plug_fail(w->dev->plugin, st, "layout", err);
        return err_prefix(err, "%s", w->name);
    }
    const uint64_t align = w->layout.align;
    if (!align || (align & (align - 1)) || align > MAX_ALIGN || !w->layout.size ||
        w->layout.size > MAX_STORAGE)
        return err_set(err, ERR_PLUGIN, "%s: layout of %s asks for %llu bytes on a boundary of "
                       "%llu, expected a power of two up to 2 MiB", w->dev->plugin->note.raw.id,
                       w->name, (unsigned long long)w->layout.size, (unsigned long long)align);
    w->layout.align = align > BNP_ALIGN ? align : BNP_ALIGN;
    w->act_size = 0;
    if (w->desc.flags & BNP_W_MUL) {
        st = ops->act_size(w->dev->d, w->layout.act_kind, w->desc.cols, w->desc.max_tok,
                           &w->act_size);
        if (st) {
            plug_fail(w->dev->plugin, st, "act_size", err);
            return err_prefix(err, "%s", w->name);
        }
    }
    return 0;
}

static int ask(struct weights *ws, struct weight *w, struct route *route, struct err *err)
{
    w->desc.flags &= ~(uint32_t)BNP_W_IN_PLACE;    /* as it was wanted */
    int rc = route_linear(route, layer_of(ws, w), &w->desc, &w->dev, &w->offer, err);
    if (rc) {
        w->dev = NULL;
        return err_prefix(err, "%s", w->name);
    }
    if ((rc = place(w, err)))
        w->dev = NULL;
    return rc;
}

static uint64_t norm_room(const struct wsrc *src)        /* bytes, slack included */
{
    return src->t ? round_up((uint64_t)src->cols * sizeof(float), BNP_ALIGN) + BNP_SLACK : 0;
}

/* A place of its own in norm_mem for each. */
static void plan_norm(struct weights *ws, const struct wsrc *src, bnp_span *out)
{
    if (src->t)
        *out = (bnp_span){ NULL, ws->norm_size, (uint64_t)src->cols * sizeof(float) };
    ws->norm_size += norm_room(src);
}

int weights_open(struct weights *ws, const struct model *m, struct plug *plug,
                 const struct bnp_limits *l, struct err *err)
{
    *ws = (struct weights){ .model = m, .plug = plug };
    int rc = describe_all(ws, l, err);
    if (rc)
        return rc;
    plan_norm(ws, &m->output_norm, &ws->output_norm);
    for (uint32_t i = 0; i < m->hp.n_layer; i++)
        for (unsigned s = 0; s < N_LAYER_N; s++)
            plan_norm(ws, &m->layer[i].t[norm_of[s]], &ws->norm[(uint64_t)i * N_LAYER_N + s]);
    return 0;
}

int weights_want(struct weights *ws, struct route *route, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < ws->n && !rc; i++)
        rc = route_want_linear(route, layer_of(ws, &ws->w[i]), &ws->w[i].desc, err);
    return rc;
}

int weights_ask(struct weights *ws, struct route *route, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < ws->n && (!rc || rc == ERR_PLUGIN); i++) {
        struct err more = { 0 };
        int rc_ask = ws->w[i].dev ? 0 : ask(ws, &ws->w[i], route, rc ? &more : err);
        rc = rc ? rc : rc_ask;
    }
    return rc;
}

static uint64_t room_of(const struct weight *w)
{
    return round_up(w->layout.size + BNP_SLACK, w->layout.align);
}

uint64_t weights_size(const struct weights *ws, const struct dev *d)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < ws->n; i++) {
        const struct weight *w = &ws->w[i];
        if (d ? w->dev == d : !workmem_private(w->dev))
            size += room_of(w);
    }
    return size;
}

/* ------------------------------------------------------------------- load */

/* by: what its gains are divided by, rounded once. */
static int load_norm(struct weights *ws, const struct wsrc *src, bnp_span at, float by,
                     struct err *err)
{
    float *gain = (void *)((char *)ws->norm_mem.base + at.offset);
    if (!src->t)
        return 0;
    if (wsrc_read_f32(src, 0, gain))
        return err_set(err, ERR_DATA, "%s: %s cannot be read as f32", gguf_name(ws->model->file),
                       src->name);
    for (uint32_t i = 0; i < src->cols; i++)
        gain[i] /= by;
    gguf_drop(ws->model->file, src->t, 0, src->t->size);
    return 0;
}

static int load_norms(struct weights *ws, struct err *err)
{
    const struct model *m = ws->model;
    int rc = workmem_get(ws->plug, NULL, BNP_MEM_WEIGHT, ws->norm_size, BNP_ALIGN, "norms",
                         &ws->norm_mem, err);
    if (!rc)
        rc = load_norm(ws, &m->output_norm, ws->output_norm, 1, err);
    for (uint32_t i = 0; i < m->hp.n_layer; i++)
        for (unsigned s = 0; s < N_LAYER_N && !rc; s++)
            rc = load_norm(ws, &m->layer[i].t[norm_of[s]], weights_norm(ws, i, s),
                           s == N_ATTN_POST || s == N_FFN_POST ? m->hp.embd_scale : 1, err);
    return rc;
}

/* Storage that was kept; false: it is to be prepared, for no file had it or the
 * plugin would not have it. */
static bool adopt(struct weights *ws, struct weight *w)
{
    const struct bnp_linear_ops *ops = w->dev->linear;
    const struct bnp_weight_src src = weights_src(w->src);
    if (!w->found)
        return false;
    const bool rows = (w->desc.flags & BNP_W_IN_PLACE) && ops->adopt_rows;
    const int st = rows ? ops->adopt_rows(w->dev->d, &w->desc, &src, w->storage, &w->handle)
                        : ops->adopt ? ops->adopt(w->dev->d, &w->desc, w->storage, &w->handle)
                                     : BNP_E_UNSUPPORTED;
    if (!st && w->handle)
        return true;
    w->handle = NULL;
    wcache_refuse(ws->cache, w);
    return false;
}

static bool wants_memory(const struct weight *w)
{
    return !w->handle && !w->found && !workmem_private(w->dev);
}

/* One block for all that is to be prepared in the host's memory: huge pages hold
 * matrices that alone would be too small for one. The block is freed as a whole,
 * so a second load, after a device was lost, takes memory piece by piece. */
static int open_block(struct weights *ws, struct err *err)
{
    uint64_t size = 0, align = BNP_ALIGN;
    for (uint32_t i = 0; i < ws->n; i++) {
        const struct weight *w = &ws->w[i];
        if (!wants_memory(w))
            continue;
        size = round_up(size, w->layout.align) + room_of(w);
        align = w->layout.align > align ? w->layout.align : align;
    }
    if (ws->block.base || size < BLOCK_MIN)
        return 0;
    const int rc = workmem_get(ws->plug, NULL, BNP_MEM_WEIGHT, size, align, "weights", &ws->block,
                               err);
    uint64_t at = 0;
    for (uint32_t i = 0; i < ws->n && !rc; i++) {
        struct weight *w = &ws->w[i];
        if (!wants_memory(w))
            continue;
        at = round_up(at, w->layout.align);
        w->storage = (bnp_span){ (char *)ws->block.base + at, 0, w->layout.size };
        w->in_block = true;
        at += room_of(w);
    }
    return rc;
}

static int prepare(struct weights *ws, struct weight *w, struct err *err)
{
    int rc = w->in_block ? 0
                         : workmem_get(ws->plug, w->dev, BNP_MEM_WEIGHT, w->layout.size,
                                       w->layout.align, w->name, &w->storage, err);
    if (rc)
        return rc;
    const struct bnp_weight_src src = weights_src(w->src);
    int st = w->dev->linear->prepare(w->dev->d, &w->desc, &src, w->storage, &w->handle);
    if (!st && !w->handle)
        st = BNP_E_INTERNAL;
    if (st) {
        if (st == BNP_E_DEVICE)
            w->dev->disabled = true;
        w->handle = NULL;
        plug_fail(w->dev->plugin, st, "prepare", err);
        return err_prefix(err, "%s", w->name);
    }
    if (ws->cache)
        wcache_keep(ws->cache, w);
    return 0;
}

static void find_kept(struct weights *ws)
{
    const struct model *m = ws->model;
    struct sums *own = m->sums ? NULL : sums_open(m->file);
    wcache_find(ws->cache, own ? own : m->sums, ws->w, ws->n);
    sums_close(own);
}

struct checking {
    const struct weights *ws;
    struct err *e;                /* [n]                                       */
    int *rc;                      /* [n]                                       */
};

/* The last are the largest: first. */
static void check_one(void *arg, uint32_t task, uint32_t worker)
{
    struct checking *c = arg;
    const uint32_t i = c->ws->n - 1 - task;
    const struct weight *w = &c->ws->w[i];
    (void)worker;
    if (!w->handle && !w->found)
        c->rc[i] = wsrc_check(w->src, &c->e[i]);
}

/* What has been kept was made of a tensor that had been checked. */
static int check_content(struct weights *ws, struct err *err)
{
    struct checking c = { .ws = ws };
    int rc = 0;
    if (!ws->model->unchecked)
        return 0;
    c.e = calloc(ws->n, sizeof *c.e);
    c.rc = calloc(ws->n, sizeof *c.rc);
    if (c.e && c.rc)
        workers_run(ws->plug->workers, ws->n, 0, check_one, &c);
    else
        rc = err_set(err, ERR_NOMEM, "weights: no memory to check %u matrices", ws->n);
    for (uint32_t i = 0; i < ws->n && !rc; i++)
        if (c.rc[i])
            rc = err_set(err, c.rc[i], "%s", c.e[i].text);
    free(c.e);
    free(c.rc);
    return rc;
}

int weights_load(struct weights *ws, void (*progress)(void *, uint64_t, uint64_t),
                 void *progress_ctx, struct err *err)
{
    uint64_t all = 0, done = 0;
    ws->failed = NULL;
    for (uint32_t i = 0; i < ws->n; i++)
        all += ws->w[i].handle ? 0 : ws->w[i].src->t->size;
    int rc = ws->norm_mem.base ? 0 : load_norms(ws, err);
    if (!rc && ws->cache)
        find_kept(ws);
    if (!rc)
        rc = check_content(ws, err);
    if (!rc)
        rc = open_block(ws, err);
    for (uint32_t i = 0; i < ws->n && !rc; i++) {
        struct weight *w = &ws->w[i];
        if (w->handle)
            continue;
        if (!adopt(ws, w) && (rc = prepare(ws, w, err)))
            ws->failed = w->dev;
        gguf_drop(ws->model->file, w->src->t, 0, w->src->t->size);
        done += w->src->t->size;
        if (progress && !rc)
            progress(progress_ctx, done, all);
    }
    return rc;
}

static void release(struct weights *ws, struct weight *w)
{
    if (w->handle)
        w->dev->linear->release(w->handle);
    w->handle = NULL;
    w->found = false;
    if (w->kept.p || w->in_block)
        w->storage = (bnp_span){ 0 };
    w->in_block = false;
    file_unmap(&w->kept);
    workmem_put(ws->plug, w->dev, &w->storage);
}

void weights_drop(struct weights *ws, struct dev *d)
{
    for (uint32_t i = 0; i < ws->n; i++) {
        if (ws->w[i].dev != d)
            continue;
        release(ws, &ws->w[i]);
        ws->w[i].dev = NULL;
    }
}

void weights_free(struct weights *ws)
{
    for (uint32_t i = 0; i < ws->n; i++)
        release(ws, &ws->w[i]);
    workmem_put(ws->plug, NULL, &ws->block);
    workmem_put(ws->plug, NULL, &ws->norm_mem);
    free(ws->w);
    free(ws->norm);
    *ws = (struct weights){ 0 };
}
