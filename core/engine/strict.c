/* strict.c - every description in use, on the chosen device and on scalar-ref.
 *
 * Equal layers share a description, so a model has about eight of them. Their
 * rows come from the model file, their inputs from the probe. A device that
 * is scalar-ref itself has nothing to be held against: its known answers were
 * checked when it was opened. */
#include "core/engine/strict.h"

#include <stdio.h>
#include <string.h>

#include "core/engine/forward_parts.h"
#include "core/plug/probe.h"

#define SEED 0x7374726963ull      /* any fixed number                          */
#define KV_LEN (2 * BNP_ATTN_CHUNK + 44)  /* keys probed: two chunks and a part */

struct check {
    struct forward *f;
    struct buf *table;
    struct err *err;              /* the first failure                         */
    struct dev *failed;           /* its device, or NULL                       */
    unsigned n_failed;
};

struct subject {                  /* one description                           */
    const char *family;
    char shape[96];
    struct dev *dev;
    const struct bnp_offer *offer;
    uint32_t max_tok;
    int (*probe)(const struct subject *, struct dev *, struct probe *, struct buf *,
                 struct err *);
    const struct weight *weight;
    const struct forward *f;
};

static int probe_weight(const struct subject *s, struct dev *d, struct probe *p, struct buf *out,
                        struct err *err)
{
    const struct bnp_weight_src src = weights_src(s->weight->src);
    return probe_linear(d, &s->weight->desc, &src, p, out, err);
}

static int probe_attention(const struct subject *s, struct dev *d, struct probe *p,
                           struct buf *out, struct err *err)
{
    const uint32_t n_ctx = s->f->conf.n_ctx;
    return probe_attn(d, &s->f->state->attn, n_ctx < KV_LEN ? n_ctx : KV_LEN, p, out, err);
}

static int probe_pointwise(const struct subject *s, struct dev *d, struct probe *p,
                           struct buf *out, struct err *err)
{
    return probe_point(d, &s->f->state->point, p, out, err);
}

/* One input through both devices. 0, or err says where they differ. */
static int compare(const struct subject *s, enum probe_fill fill, uint32_t n_tok, struct err *err)
{
    struct buf want = { 0 }, got = { 0 };
    struct probe p = { .seed = SEED, .fill = fill, .n_tok = n_tok };
    int rc = s->probe(s, s->f->plug->ref, &p, &want, err);
    if (!rc)
        rc = s->probe(s, s->dev, &p, &got, err);
    if (!rc)
        rc = probe_agree(&p, &want, &got, s->offer, err);
    buf_free(&want);
    buf_free(&got);
    return rc ? err_prefix(err, "%u rows, fill %s", n_tok, probe_fill_name(fill)) : 0;
}

static int compare_all(const struct subject *s, struct err *err)
{
    static const enum probe_fill fill[] = { PROBE_RANDOM, PROBE_MAX, PROBE_SPIKE };
    static const uint32_t n_tok[] = { 1, 3 };
    for (size_t i = 0; i < sizeof n_tok / sizeof n_tok[0]; i++)
        for (size_t j = 0; j < sizeof fill / sizeof fill[0] && n_tok[i] <= s->max_tok; j++) {
            int rc = compare(s, fill[j], n_tok[i], err);
            if (rc)
                return rc;
        }
    return 0;
}

/* A line of the table, and the verdict that stands at its end. */
static void judge(struct check *c, const struct subject *s)
{
    struct err err = { 0 };
    const char *id = s->dev ? s->dev->plugin->note.raw.id : "none";
    const char *verdict = "equal, bit for bit";
    if (!s->dev || s->dev->disabled)
        err_set(&err, ERR_STRICT, "%s", s->dev ? "the device is disabled" : "no device offers it");
    else if (s->dev == c->f->plug->ref)
        verdict = "is the reference";
    else if (!compare_all(s, &err) && s->offer->det != BNP_DET_EXACT)
        verdict = "within its bound";
    buf_addf(c->table, "%-7s %-34s %-24s %-4s %s%s\n", s->family, s->shape, id,
             s->max_tok < 3 ? "1" : "1, 3", err.code ? "FAILED: " : verdict,
             err.code ? err.text : "");
    if (err.code && !c->n_failed++) {
        c->failed = s->dev;
        err_set(c->err, ERR_STRICT, "%s %s on %s: %s", s->family, s->shape, id, err.text);
    }
}

static const char *format_name(uint32_t format)
{
    static const char *const name[] = {
        [BNP_FMT_T2] = "t2", [BNP_FMT_F32] = "f32", [BNP_FMT_F16] = "f16", [BNP_FMT_BF16] = "bf16",
        [BNP_FMT_I8] = "i8"
    };
    return format < sizeof name / sizeof name[0] && name[format] ? name[format] : "unknown";
}

static const char *role_name(uint32_t role)
{
    static const char *const name[] = {
        [BNP_ROLE_OTHER] = "other", [BNP_ROLE_QKV] = "q,k,v", [BNP_ROLE_O] = "out",
        [BNP_ROLE_UP] = "gate,up", [BNP_ROLE_DOWN] = "down", [BNP_ROLE_HEAD] = "head",
        [BNP_ROLE_EMBED] = "embedding"
    };
    return role < sizeof name / sizeof name[0] ? name[role] : "unknown";
}

static bool same(const struct weight *a, const struct weight *b)
{
    return a->dev == b->dev && a->desc.format == b->desc.format &&
           a->desc.scale_kind == b->desc.scale_kind && a->desc.role == b->desc.role &&
           a->desc.flags == b->desc.flags && a->desc.rows == b->desc.rows &&
           a->desc.cols == b->desc.cols && a->desc.block_cols == b->desc.block_cols &&
           a->desc.max_tok == b->desc.max_tok;
}

static void judge_weights(struct check *c)
{
    const struct weights *ws = &c->f->state->weights;
    for (uint32_t i = 0; i < ws->n; i++) {
        const struct weight *w = &ws->w[i];
        uint32_t first = 0;
        while (!same(&ws->w[first], w))
            first++;
        if (first < i)
            continue;
        struct subject s = {
            .family = "linear", .dev = w->dev, .offer = &w->offer, .probe = probe_weight,
            .max_tok = w->desc.role == BNP_ROLE_HEAD ? 1 : w->desc.max_tok, .weight = w, .f = c->f
        };
        snprintf(s.shape, sizeof s.shape, "%s %ux%u %s", role_name(w->desc.role), w->desc.rows,
                 w->desc.cols, format_name(w->desc.format));
        judge(c, &s);
    }
}

/* Each device that attends in some layer. */
static void judge_attention(struct check *c)
{
    const struct forward_state *st = c->f->state;
    for (uint32_t i = 0; i < c->f->model->hp.n_layer; i++) {
        struct subject s = { .family = "attn", .dev = st->layer[i].attn,
                             .offer = &st->layer[i].attn_offer, .max_tok = st->attn.max_tok,
                             .probe = probe_attention, .f = c->f };
        uint32_t first = 0;
        while (st->layer[first].attn != s.dev)
            first++;
        if (first < i)
            continue;
        snprintf(s.shape, sizeof s.shape, "%u/%u heads of %u, pages of %u", st->attn.n_head,
                 st->attn.n_head_kv, st->attn.head_dim, st->attn.page_tok);
        judge(c, &s);
    }
}

/* The last entry is for what is outside the layers. */
static void judge_pointwise(struct check *c)
{
    const struct forward_state *st = c->f->state;
    for (uint32_t i = 0; i <= c->f->model->hp.n_layer; i++) {
        struct subject s = { .family = "point", .dev = st->layer[i].point,
                             .offer = &st->layer[i].point_offer, .max_tok = st->point.max_tok,
                             .probe = probe_pointwise, .f = c->f };
        uint32_t first = 0;
        while (st->layer[first].point != s.dev)
            first++;
        if (first < i)
            continue;
        snprintf(s.shape, sizeof s.shape, "up to %u columns", st->point.cols);
        judge(c, &s);
    }
}

int strict_check(struct forward *f, struct buf *table, struct err *err)
{
    struct check c = { .f = f, .table = table, .err = err };
    if (!f->plug->ref)
        return err_set(err, ERR_STRICT, "parity: %s is not loaded, there is nothing to compare "
                       "with: install it", PLUG_REF_ID);
    judge_weights(&c);
    judge_attention(&c);
    judge_pointwise(&c);
    if (c.failed)
        c.failed->disabled = true;    /* now, so that each of its lines was judged */
    if (table->failed && !c.n_failed)
        return err_set(err, ERR_NOMEM, "parity: no memory for the table");
    return c.n_failed ? ERR_STRICT : 0;
}
