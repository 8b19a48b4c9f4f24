/* probe_linear.c - a synthetic weight, multiplied, gathered from, and ranked. */
#include "core/plug/probe.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"
#include "core/plug/hostsvc.h"
#include "core/plug/probe_run.h"
#include "core/plug/stopwatch.h"

#define STORAGE_MAX (UINT64_C(1) << 40)
#define ALIGN_MAX   (UINT64_C(2) << 20)
#define COPY_MAX    STOPWATCH_CALLS   /* of a weight; smaller ones live in caches */

struct synth {                    /* where weights come from: [any thread]     */
    const bnp_weight_desc *d;
    uint64_t seed;
    enum probe_fill fill;
};

/* Four codes, each of 0..2 equally likely but for a 256th. */
static uint8_t four_trits(unsigned random_byte)
{
    unsigned v = random_byte * 81 >> 8, byte = 0;
    for (unsigned i = 0; i < 4; i++, v /= 3)
        byte |= v % 3 << 2 * i;
    return (uint8_t)byte;
}

/* The extreme fills make a third of the rows all-positive and a third
 * all-negative: with inputs all alike, accumulators reach their limits. */
static void ternary_row(const struct synth *s, uint32_t row, uint8_t *dst)
{
    const bool plus2 = (s->d->flags & BNP_W_PLUS2) != 0;
    const bool extreme = s->fill == PROBE_MAX || s->fill == PROBE_MIN;
    const uint32_t n = (s->d->cols + 3) / 4;
    uint64_t h = 0;
    for (uint32_t i = 0; i < n; i++) {
        h = i % 8 ? h >> 8 : probe_number(s->seed + row * UINT64_C(0x1000003), i / 8);
        if (extreme && row % 3 == 0)
            dst[i] = plus2 ? 0xff : 0xaa;
        else if (extreme && row % 3 == 1)
            dst[i] = 0;
        else
            dst[i] = plus2 ? (uint8_t)h : four_trits(h & 0xff);
    }
    for (uint32_t i = s->d->cols; i < n * 4; i++)           /* tail codes are 1  */
        dst[i / 4] = (uint8_t)((dst[i / 4] & ~(3u << 2 * (i % 4))) | 1u << 2 * (i % 4));
}

static void dense_row(const struct synth *s, uint32_t row, uint8_t *dst)
{
    const uint64_t seed = s->seed + row * UINT64_C(0x1000003);
    for (uint32_t i = 0; i < s->d->cols; i++) {
        const float v = probe_value(PROBE_RANDOM, seed, i);
        const uint16_t half = s->d->format == BNP_FMT_F16 ? f16_from_f32(v)
                                                          : (uint16_t)(f32_bits(v) >> 16);
        if (s->d->format == BNP_FMT_F32)
            memcpy(dst + (size_t)i * 4, &v, 4);
        else if (s->d->format == BNP_FMT_I8)
            dst[i] = (uint8_t)probe_number(seed, i);
        else
            memcpy(dst + (size_t)i * 2, &half, 2);
    }
}

static int synth_rows(void *ctx, uint32_t row, uint32_t n_rows, void *dst, size_t dst_stride)
{
    const struct synth *s = ctx;
    for (uint32_t r = 0; r < n_rows; r++) {
        uint8_t *at = (uint8_t *)dst + r * dst_stride;
        if (s->d->format == BNP_FMT_T2)
            ternary_row(s, row + r, at);
        else
            dense_row(s, row + r, at);
    }
    return BNP_OK;
}

/* 2^-15 to 2^-5, one in four negative. */
static int synth_scales(void *ctx, uint64_t first, uint64_t n, float *dst)
{
    const struct synth *s = ctx;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t h = probe_number(~s->seed, first + i);
        const float v = (float)(1 + h % 1024) * 0x1p-15f;
        dst[i] = (h >> 32) % 4 ? v : -v;
    }
    return BNP_OK;
}

struct linear_run {
    struct probe_run run;
    const bnp_weight_desc *d;
    bnp_weight_layout layout;
    bnp_weight *w;
    bnp_span storage, act, scratch;
    uint64_t act_room;            /* bytes of act, for all rows                */
    bnp_rows x, y, y_add, gathered;
    bnp_span top_id, top_logit;
    uint32_t k;                   /* 0: no top-k                               */
    bool mul, gather;
    bool timed;                   /* no results, but calls                     */
    bnp_weight_desc own_d;        /* what d is then                            */
    struct probe own_probe;
    struct probe_cold *cold;      /* NULL: no copies                           */
    bnp_weight **copy;            /* [n_copy], adopted in the cold memory      */
    uint64_t *read_at;            /* [n_copy] cold->n_read after the last turn */
    uint32_t n_copy, turn;        /* timed calls so far                        */
    bool from_cache;              /* all copies fit there, as a model's would  */
    int32_t *id;                  /* [n_tok] for gather                        */
    int32_t *pos;                 /* [n_tok]                                   */
};

static int prepare(struct linear_run *l, const bnp_weight_src *src, uint64_t scratch_size)
{
    struct probe_run *r = &l->run;
    const struct bnp_linear_ops *ops = r->dev->linear;
    l->layout.struct_size = sizeof l->layout;
    int rc = run_status(r, ops->layout(r->dev->d, l->d, &l->layout), "linear.layout");
    if (rc)
        return rc;
    const uint64_t align = l->layout.align;
    if (!l->layout.size || l->layout.size > STORAGE_MAX || !align || (align & (align - 1)) ||
        align > ALIGN_MAX || scratch_size > STORAGE_MAX)
        return err_set(r->e, ERR_PLUGIN, "%s: linear.layout: %ju bytes on a boundary of %ju, "
                       "expected some, and a power of two of at most 2 MiB",
                       r->dev->plugin->note.raw.id, (uintmax_t)l->layout.size, (uintmax_t)align);
    rc = run_span(r, BNP_MEM_WEIGHT, l->layout.size, align, &l->storage);
    if (!rc)
        rc = run_span(r, BNP_MEM_WORK, scratch_size, BNP_ALIGN, &l->scratch);
    if (!rc)
        rc = run_status(r, ops->prepare(r->dev->d, l->d, src, l->storage, &l->w), "linear.prepare");
    if (!rc && !l->w)
        rc = run_status(r, BNP_E_INTERNAL, "linear.prepare");
    return rc;
}

static int make_rows(struct linear_run *l)
{
    struct probe_run *r = &l->run;
    struct probe *p = r->probe;
    uint64_t act_size = 0;
    int rc = 0;
    if (l->mul || l->k) {
        rc = run_status(r, r->dev->linear->act_size(r->dev->d, l->layout.act_kind, l->d->cols,
                                                    p->n_tok, &act_size), "linear.act_size");
        if (!rc && (!act_size || act_size > STORAGE_MAX))
            rc = err_set(r->e, ERR_PLUGIN, "%s: linear.act_size: %ju bytes, expected some",
                         r->dev->plugin->note.raw.id, (uintmax_t)act_size);
        if (rc || (rc = run_span(r, BNP_MEM_WORK, act_size, BNP_ALIGN, &l->act)) ||
            (rc = run_rows(r, p->n_tok, l->d->cols, &l->x)) ||
            (rc = run_fill(r, &l->x, p->fill, p->seed)))
            return rc;
        l->act_room = act_size;
    }
    if (l->mul && (rc = run_rows(r, p->n_tok, l->d->rows, &l->y)))
        return rc;
    if (l->mul && !l->timed && ((rc = run_fill(r, &l->y, PROBE_ALTERNATE, p->seed + 1)) ||
                                (rc = run_rows(r, p->n_tok, l->d->rows, &l->y_add)) ||
                                (rc = run_fill(r, &l->y_add, PROBE_RANDOM, p->seed + 2))))
        return rc;
    if (l->mul && l->timed && (r->dev->info.flags & BNP_DEV_HOST_MEM))
        memset(l->y.mem.base, 0, l->y.mem.size);      /* no page is new to a timed call */
    if (l->gather)
        rc = run_rows(r, p->n_tok, l->d->cols, &l->gathered);
    const uint64_t top_size = (uint64_t)p->n_tok * l->k * 4;
    if (!rc)
        rc = run_span(r, BNP_MEM_WORK, top_size, BNP_ALIGN, &l->top_id);
    return rc ? rc : run_span(r, BNP_MEM_WORK, top_size, BNP_ALIGN, &l->top_logit);
}

static int begin(struct linear_run *l, uint32_t n)
{
    static const int32_t page = -1;
    const int32_t start[2] = { 0, (int32_t)n }, kv_len = (int32_t)n, out_row = (int32_t)n - 1;
    return run_begin(&l->run, &(bnp_step){
        .struct_size = sizeof(bnp_step), .n_tok = n, .n_seq = 1, .max_pages = 1, .n_out = 1,
        .id = l->id, .pos = l->pos, .seq_start = start, .kv_len = &kv_len, .page = &page,
        .out_row = &out_row });
}

static int prepare_act(struct linear_run *l)
{
    struct probe_run *r = &l->run;
    return run_status(r, r->dev->linear->act_prepare(r->stream, l->layout.act_kind, &l->x, l->act),
                      "linear.act_prepare");
}

/* The second item shares the activations and adds to what is there. */
static int multiply(struct linear_run *l, const bnp_weight *w, uint32_t n_items)
{
    struct probe_run *r = &l->run;
    const bnp_linear_item item[2] = { { .weight = w, .y = l->y },
                                      { .weight = w, .y = l->y_add, .flags = BNP_ADD } };
    return run_status(r, r->dev->linear->mul(r->stream, l->act, n_items, item, l->scratch),
                      "linear.mul");
}

static int gather(struct linear_run *l, const bnp_weight *w)
{
    struct probe_run *r = &l->run;
    return run_status(r, r->dev->linear->gather(r->stream, w, &l->gathered), "linear.gather");
}

static int topk(struct linear_run *l, const bnp_weight *w)
{
    struct probe_run *r = &l->run;
    const bnp_topk top = { .struct_size = sizeof top, .k = l->k, .n_tok = l->x.n_tok,
                           .id = l->top_id, .logit = l->top_logit };
    return run_status(r, r->dev->linear->topk(r->stream, l->act, w, &top, l->scratch),
                      "linear.topk");
}

static int all_ops(struct linear_run *l)
{
    int rc = begin(l, l->run.probe->n_tok);
    if (!rc && (l->mul || l->k))
        rc = prepare_act(l);
    if (!rc && l->mul)
        rc = multiply(l, l->w, 2);
    if (!rc && l->gather)
        rc = gather(l, l->w);
    if (!rc && l->k)
        rc = topk(l, l->w);
    return rc ? rc : run_end(&l->run);
}

/* ---------------------------------------------------------------- timed calls */

/* Two workers' slices of a copy lie about where the two prepared them. */
struct slices {
    struct linear_run *l;
    char *to;
    uint64_t stride;
    uint32_t n, n_copy;
};

static void copy_slice(void *arg, uint32_t task, uint32_t worker)
{
    const struct slices *c = arg;
    const uint64_t size = c->l->layout.size, step = (size / c->n + 64) & ~UINT64_C(63);
    const uint64_t at = step * task;
    (void)worker;
    for (uint32_t i = 0; i < c->n_copy && at < size; i++)
        memcpy(c->to + i * c->stride + at, (const char *)c->l->storage.base + at,
               size - at < step ? size - at : step);
}

/* Copies in this bench's part of the cold memory; none where a copy would be no
 * weight, or nothing would take turns. */
static int make_copies(struct linear_run *l)
{
    struct probe_run *r = &l->run;
    struct probe_cold *cold = l->cold;
    const struct bnp_linear_ops *ops = r->dev->linear;
    const struct hostsvc *host = r->dev->plugin->host;
    const uint64_t size = l->layout.size, align = l->layout.align;
    const uint64_t stride = (size + align - 1) / align * align;
    if (!cold || !cold->part || cold->part > cold->mem.size - cold->end - cold->used ||
        !l->layout.layout_id || !ops->adopt || !(r->dev->info.flags & BNP_DEV_HOST_MEM))
        return 0;
    char *to = (char *)cold->mem.base + cold->mem.offset + cold->used;
    const uint64_t lost = (align - (uintptr_t)to % align) % align;
    const uint64_t n = cold->part < lost ? 0 : (cold->part - lost) / stride;
    if (n < 2)
        return 0;
    l->copy = calloc(COPY_MAX, sizeof *l->copy);
    l->read_at = calloc(COPY_MAX, sizeof *l->read_at);
    if (!l->copy || !l->read_at)
        return err_set(r->e, ERR_NOMEM, "probe: no memory for %u weights", COPY_MAX);
    l->n_copy = n < COPY_MAX ? (uint32_t)n : COPY_MAX;
    l->from_cache = size * COPY_MAX <= cold->enough / 2;
    cold->used += cold->part;
    struct slices c = { .l = l, .to = to + lost, .stride = stride, .n_copy = l->n_copy,
                        .n = host->abi.topo->n_workers };
    workers_run(host->workers, c.n, BNP_PAR_STATIC, copy_slice, &c);
    for (uint32_t i = 0; i < l->n_copy; i++) {
        const bnp_span s = { .base = c.to + i * stride, .size = size };
        const int rc = run_status(r, ops->adopt(r->dev->d, l->d, s, &l->copy[i]), "linear.adopt");
        if (rc)
            return rc;
        l->read_at[i] = cold->n_read;
    }
    return 0;
}

static void read_slice(void *arg, uint32_t task, uint32_t worker)
{
    const struct slices *c = arg;
    const uint64_t line = 64, n = c->l->cold->end / line;
    uint64_t sum = 0;
    (void)worker;
    for (uint64_t i = n * task / c->n; i < n * (task + 1) / c->n; i++)
        sum += *(const volatile uint64_t *)(c->to + i * line);
    (void)sum;
}

/* Sees to it that the next copy comes from memory. */
static int make_cold(void *ctx)
{
    struct linear_run *l = ctx;
    struct probe_cold *cold = l->cold;
    const struct hostsvc *host = l->run.dev->plugin->host;
    if (!l->n_copy || l->from_cache ||
        cold->n_read - l->read_at[l->turn % l->n_copy] >= cold->enough)
        return 0;
    struct slices c = { .l = l, .n = host->abi.topo->n_workers,
                        .to = (char *)cold->mem.base + cold->mem.offset + cold->mem.size -
                              cold->end };
    workers_run(host->workers, c.n, BNP_PAR_STATIC, read_slice, &c);
    cold->n_read += cold->enough;
    return 0;
}

static int set_rows(void *ctx, uint32_t n)
{
    struct linear_run *l = ctx;
    struct probe_run *r = &l->run;
    uint64_t size = 0;
    l->x.n_tok = l->y.n_tok = l->gathered.n_tok = n;
    if (!l->mul && !l->k)
        return 0;
    const int rc = run_status(r, r->dev->linear->act_size(r->dev->d, l->layout.act_kind, l->d->cols,
                                                          n, &size), "linear.act_size");
    if (!rc && (!size || size > l->act_room))
        return err_set(r->e, ERR_PLUGIN, "%s: linear.act_size: %ju bytes for %u rows and %ju for "
                       "%u, expected some, and no more for fewer", r->dev->plugin->note.raw.id,
                       (uintmax_t)size, n, (uintmax_t)l->act_room, r->probe->n_tok);
    l->act.size = size;
    return rc;
}

static int timed_call(void *ctx)
{
    struct linear_run *l = ctx;
    const uint32_t turn = l->n_copy ? l->turn++ % l->n_copy : 0;
    const bnp_weight *w = l->n_copy ? l->copy[turn] : l->w;
    int rc = begin(l, l->x.n_tok);
    if (!rc && (l->mul || l->k))
        rc = prepare_act(l);
    if (!rc && l->k && (l->x.n_tok == 1 || !l->mul))
        rc = topk(l, w);
    else if (!rc)
        rc = l->mul ? multiply(l, w, 1) : gather(l, w);
    if (l->n_copy)
        l->read_at[turn] = l->cold->n_read += l->layout.size;
    return rc ? rc : run_end(&l->run);
}

/* --------------------------------------------------------------------------- */

static int take_all(struct linear_run *l, struct buf *out)
{
    struct probe_run *r = &l->run;
    const uint32_t n = r->probe->n_tok;
    int rc = 0;
    if (l->mul && ((rc = run_take(r, &l->y, "mul", out)) ||
                   (rc = run_take(r, &l->y_add, "mul with add", out))))
        return rc;
    if (l->gather && (rc = run_take(r, &l->gathered, "gather", out)))
        return rc;
    if (l->k && ((rc = run_take_span(r, l->top_id, "topk id", n, l->k, out)) ||
                 (rc = run_take_span(r, l->top_logit, "topk logit", n, l->k, out))))
        return rc;
    return 0;
}

static int make_ids(struct linear_run *l)
{
    const struct probe *p = l->run.probe;
    l->id = calloc(p->n_tok, sizeof *l->id);
    l->pos = calloc(p->n_tok, sizeof *l->pos);
    if (!l->id || !l->pos)
        return err_set(l->run.e, ERR_NOMEM, "probe: no memory for %u rows", p->n_tok);
    for (uint32_t t = 0; t < p->n_tok; t++) {
        l->id[t] = (int32_t)(probe_number(p->seed + 3, t) % (l->d->rows & INT32_MAX));
        l->pos[t] = (int32_t)t;
    }
    return 0;
}

static int open_run(struct linear_run *l, struct dev *dev, const struct bnp_weight_desc *d,
                    struct probe *p, struct err *e)
{
    const char *id = dev->plugin->note.raw.id;
    if (!dev->linear)
        return err_set(e, ERR_UNSUPPORTED, "%s: does not offer the linear family", id);
    if (!d->rows || !d->cols || p->n_tok > d->max_tok || d->rows > INT32_MAX)
        return err_set(e, ERR_ARG, "%s: probe of %u rows and %u columns with %u tokens of at most "
                       "%u", id, d->rows, d->cols, p->n_tok, d->max_tok);
    const bnp_limits limits = { .struct_size = sizeof limits, .max_tok = p->n_tok, .max_seq = 1,
                                .max_pages = 1, .max_out = 1 };
    l->d = d;
    l->mul = (d->flags & BNP_W_MUL) != 0;
    l->gather = (d->flags & BNP_W_GATHER) != 0;
    if ((d->flags & BNP_W_TOPK) && dev->linear->topk)
        l->k = d->rows < PROBE_TOPK ? d->rows : PROBE_TOPK;
    return run_open(&l->run, dev, p, &limits, e);
}

static int get_ready(struct linear_run *l, const bnp_weight_src *src)
{
    struct probe_run *r = &l->run;
    struct synth synth = { .d = l->d, .seed = r->probe->seed, .fill = r->probe->fill };
    const bnp_weight_src made = { .struct_size = sizeof made, .ctx = &synth,
                                  .read_rows = synth_rows, .read_scales = synth_scales };
    bnp_offer offer = { .struct_size = sizeof offer };
    int rc = run_status(r, r->dev->linear->query(r->dev->d, l->d, &offer), "linear.query");
    if (!rc)
        rc = make_ids(l);
    if (!rc)
        rc = prepare(l, src ? src : &made, offer.scratch_size);
    return rc ? rc : make_rows(l);
}

static void close_run(struct linear_run *l)
{
    const struct dev *dev = l->run.dev;
    run_abandon(&l->run);                   /* no step uses the weight any more */
    for (uint32_t i = 0; i < l->n_copy; i++)
        if (l->copy[i])
            dev->linear->release(l->copy[i]);
    free(l->copy);
    free(l->read_at);
    if (l->w)
        dev->linear->release(l->w);
    run_close(&l->run);
    free(l->id);
    free(l->pos);
}

int probe_linear(struct dev *dev, const struct bnp_weight_desc *d,
                 const struct bnp_weight_src *src, struct probe *p, struct buf *out, struct err *e)
{
    struct linear_run l = { 0 };
    int rc = open_run(&l, dev, d, p, e);
    if (!rc)
        rc = get_ready(&l, src);
    if (!rc)
        rc = all_ops(&l);
    if (!rc)
        rc = take_all(&l, out);
    close_run(&l);
    return rc;
}

static void close_bench(void *ctx)
{
    close_run(ctx);
    free(ctx);
}

/* A weight that is for nothing is not called. */
static int no_call(void *ctx)
{
    (void)ctx;
    return 0;
}

int probe_bench_linear(struct probe_bench *b, struct dev *dev, const struct bnp_weight_desc *d,
                       uint32_t n_tok, struct probe_cold *cold)
{
    struct linear_run *l = calloc(1, sizeof *l);
    *b = (struct probe_bench){ .set = set_rows, .ready = make_cold, .once = timed_call,
                               .close = l ? close_bench : NULL, .ctx = l };
    if (!l)
        return err_set(&b->e, ERR_NOMEM, "probe: no memory for a stopwatch");
    *l = (struct linear_run){ .timed = true, .own_d = *d, .cold = cold,
                              .own_probe = { .seed = 1, .fill = PROBE_RANDOM, .n_tok = n_tok } };
    int rc = open_run(l, dev, &l->own_d, &l->own_probe, &b->e);
    if (!rc)
        rc = get_ready(l, NULL);
    if (!rc)
        rc = make_copies(l);
    if (!l->mul && !l->gather && !l->k)
        b->once = no_call;
    b->n_copy = l->n_copy ? l->n_copy : 1;
    b->cold = l->n_copy && !l->from_cache && cold->mem.size > cold->enough;
    b->weight_size = l->layout.size;
    return rc;
}
