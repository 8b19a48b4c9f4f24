/* forward_op.c - handing one op to one device.
 *
 * Every call of a plugin in a step goes through here, so that order between
 * devices, what has to be copied, full queues, and the wording of errors are
 * each said once.
 *
 * Order: devices on the host's memory read what others wrote, so an
 * asynchronous one is waited for before any other of them, or a copy, touches
 * that memory. A device with memory of its own reads only what was brought
 * there, in the order of its queue, and is waited for when something is fetched
 * from it. */
#include "core/engine/forward_parts.h"

#include <assert.h>
#include <stdio.h>

#include "core/base/clock.h"

enum { MUL_MAX = 3 };             /* matrices on one input: q, k, v            */

#define BIT(area) (1u << (area))

static const char *const area_name[AREA_N] = {
    "x", "h", "input", "q", "k", "v", "gate", "up", "picked rows", "logits", "top ids", "top logits",
    "top counts"
};

static int fail(struct run *r, struct dev *d, int status, const char *what)
{
    char where[96];
    if (r->layer >= 0)
        snprintf(where, sizeof where, "blk.%d %s", (int)r->layer, what);
    else
        snprintf(where, sizeof where, "%s", what);
    if (status == BNP_E_DEVICE)
        d->disabled = true;
    return plug_fail(d->plugin, status, where, r->err);
}

/* ----------------------------------------------------------- time of calls */

/* One look at the clock a call: it begins when the one before ended, and what
 * little lies between is its own. Only this thread writes, so plain stores do
 * for what others read. */
static uint64_t call_begins(const struct run *r, struct dev *d, enum dev_call call)
{
    struct forward_state *s = r->s;
    atomic_store_explicit(&s->at_layer, r->layer, memory_order_relaxed);
    atomic_store_explicit(&s->at_call, (uint32_t)call, memory_order_relaxed);
    atomic_store_explicit(&s->at_dev, d, memory_order_relaxed);
    if (!s->clock_ns)
        s->clock_ns = clock_ns();
    atomic_store_explicit(&s->at_us, s->clock_ns / 1000, memory_order_relaxed);
    return s->clock_ns;
}

static void more(_Atomic uint64_t *count, uint64_t n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static void call_ended(const struct run *r, enum dev_call call, uint64_t since)
{
    struct dev *d = atomic_load_explicit(&r->s->at_dev, memory_order_relaxed);
    const uint64_t now = r->s->clock_ns = clock_ns();
    atomic_store_explicit(&r->s->at_us, now / 1000, memory_order_relaxed);
    more(&d->n_call[call], 1);
    more(&d->call_ns[call], now - since);
    atomic_store_explicit(&r->s->at_dev, NULL, memory_order_relaxed);
}

uint64_t forward_where(const struct forward *f, char out[160])
{
    const struct forward_state *s = f->state;
    const uint64_t at = atomic_load_explicit(&s->at_us, memory_order_relaxed);
    const struct dev *d = atomic_load_explicit(&s->at_dev, memory_order_relaxed);
    const int32_t layer = atomic_load_explicit(&s->at_layer, memory_order_relaxed);
    const uint32_t call = atomic_load_explicit(&s->at_call, memory_order_relaxed);
    char where[32] = "";
    if (layer >= 0)
        snprintf(where, sizeof where, " of blk.%d", (int)layer);
    if (d)
        snprintf(out, 160, "%s%s on %.100s#%u", plug_call_name((enum dev_call)call), where,
                 d->plugin->note.raw.id, d->index);
    else
        snprintf(out, 160, "none");
    return at;
}

/* ------------------------------------------------------ order between lanes */

static int begin(struct run *r, struct lane *l)
{
    const int st = l->in_step ? BNP_OK : lane_begin(l, r->step);
    return st ? fail(r, l->dev, st, "step_begin") : 0;
}

/* Ends the lane's step; its work is done and visible afterwards. */
static int drain(struct run *r, struct lane *l)
{
    const uint64_t since = call_begins(r, l->dev, DEV_CALL_WAIT);
    int st = lane_end(l);
    if (!st)
        st = lane_wait(l);
    call_ended(r, DEV_CALL_WAIT, since);
    return st ? fail(r, l->dev, st, "step_end") : 0;
}

/* A full queue: wait until it is empty. */
static int make_room(struct run *r, struct lane *l)
{
    const int rc = drain(r, l);
    return rc ? rc : begin(r, l);
}

/* Runs call, an expression in l->stream, on lane l, and counts it as kind; a
 * busy queue once more. */
#define CALL(r, l, kind, what, call)                                         \
    do {                                                                     \
        uint64_t since_ = call_begins((r), (l)->dev, DEV_CALL_##kind);       \
        int st_ = (call);                                                    \
        call_ended((r), DEV_CALL_##kind, since_);                            \
        if (st_ == BNP_E_BUSY) {                                             \
            const int rc_ = make_room((r), (l));                             \
            if (rc_)                                                         \
                return rc_;                                                  \
            since_ = call_begins((r), (l)->dev, DEV_CALL_##kind);            \
            st_ = (call);                                                    \
            call_ended((r), DEV_CALL_##kind, since_);                        \
        }                                                                    \
        if (st_)                                                             \
            return fail((r), (l)->dev, st_, (what));                         \
    } while (0)

/* l (NULL: a copy) may touch the host's memory. */
static int host_turn(struct run *r, const struct lane *l)
{
    struct lane *busy = r->s->host_busy;
    if (!busy || busy == l)
        return 0;
    r->s->host_busy = NULL;
    return drain(r, busy);
}

/* ------------------------------------------------------------------- copies */

static bnp_span span_of(const struct forward_state *s, uint32_t place, enum area a, uint64_t size)
{
    return work_span(&s->work, &s->place[place].work, a, size);
}

static void *host_at(const struct forward_state *s, enum area a)
{
    const bnp_span span = span_of(s, PLACE_HOST, a, s->size[a]);
    return (char *)span.base + span.offset;
}

/* The lane of a place, not the host's, where the area is valid. */
static struct lane *owner(struct forward_state *s, enum area a)
{
    struct lane *l = s->lane;
    while (l->place == PLACE_HOST || !(s->place[l->place].valid & BIT(a))) {
        l++;
        assert(l < s->lane + s->n_lane);      /* somebody wrote it */
    }
    return l;
}

/* Submits copies to the host of those areas that are not valid there; they are
 * when the lanes in *from (bits) are drained. */
static int fetch(struct run *r, uint32_t areas, uint64_t *from)
{
    struct forward_state *s = r->s;
    areas &= ~s->place[PLACE_HOST].valid;
    *from = 0;
    for (enum area a = 0; a < AREA_N; a++) {
        if (!(areas & BIT(a)))
            continue;
        struct lane *l = owner(s, a);
        int rc = host_turn(r, NULL);
        if (rc || (rc = begin(r, l)))
            return rc;
        CALL(r, l, COPY, area_name[a],
             l->dev->ops->copy_out(l->stream, host_at(s, a),
                                   span_of(s, l->place, a, s->size[a])));
        s->place[PLACE_HOST].valid |= BIT(a);
        *from |= UINT64_C(1) << (l - s->lane);
        r->cross->n_out++;
        r->cross->out_size += s->size[a];
    }
    return 0;
}

static int fetch_now(struct run *r, uint32_t areas)
{
    uint64_t from;
    int rc = fetch(r, areas, &from);
    for (uint32_t i = 0; i < r->s->n_lane && !rc; i++)
        if (from >> i & 1) {
            rc = drain(r, &r->s->lane[i]);
            r->cross->n_wait++;
        }
    return rc;
}

/* Makes areas valid at l's place. */
static int bring(struct run *r, struct lane *l, uint32_t areas)
{
    struct forward_state *s = r->s;
    struct place *here = &s->place[l->place];
    areas &= ~here->valid;
    int rc = areas ? fetch_now(r, areas) : 0;
    if (rc || l->place == PLACE_HOST || !areas)
        return rc;
    if ((rc = host_turn(r, NULL)) || (rc = begin(r, l)))
        return rc;
    for (enum area a = 0; a < AREA_N; a++) {
        if (!(areas & BIT(a)))
            continue;
        CALL(r, l, COPY, area_name[a],
             l->dev->ops->copy_in(l->stream, span_of(s, l->place, a, s->size[a]), host_at(s, a)));
        here->valid |= BIT(a);
        r->cross->n_in++;
        r->cross->in_size += s->size[a];
    }
    return 0;
}

/* The lane of d, ready for ops that read and write these areas. */
static int enter(struct run *r, struct dev *d, uint32_t reads, uint32_t writes, struct lane **out)
{
    struct forward_state *s = r->s;
    struct lane *l = *out = lane_of(s, d);
    int rc = l->place == PLACE_HOST ? host_turn(r, l) : 0;
    if (rc || (rc = bring(r, l, reads)) || (rc = begin(r, l)))
        return rc;
    if (l->place == PLACE_HOST && lane_async(l))
        s->host_busy = l;
    for (uint32_t p = 0; p < s->n_place; p++)
        s->place[p].valid &= ~writes;
    s->place[l->place].valid |= writes;
    return 0;
}

static bnp_rows rows(const struct run *r, const struct lane *l, struct part p)
{
    return work_rows(&r->s->work, &r->s->place[l->place].work, p.area, p.first, p.n);
}

/* --------------------------------------------------------- the whole step */

int op_begin(struct run *r)
{
    struct forward_state *s = r->s;
    s->host_busy = NULL;
    s->clock_ns = 0;
    for (uint32_t p = 0; p < s->n_place; p++)
        s->place[p].valid = 0;
    for (uint32_t i = 0; i < s->n_lane; i++) {
        const struct dev *d = s->lane[i].dev;
        if (d->disabled)
            return err_set(r->err, ERR_DEVICE, "%s: device %s is lost, and a step needs it",
                           d->plugin->note.raw.id, d->info.name);
    }
    return 0;
}

/* What is said after the first error is not kept. */
static int each_lane(struct run *r, int rc, int (*call)(struct lane *), const char *what)
{
    struct run quiet = *r;
    quiet.err = NULL;
    for (uint32_t i = 0; i < r->s->n_lane; i++) {
        struct lane *l = &r->s->lane[i];
        if (l->dev->disabled)
            continue;
        const bool timed = call == lane_wait && l->owes;
        const uint64_t since = timed ? call_begins(r, l->dev, DEV_CALL_WAIT) : 0;
        const int st = call(l);
        if (timed)
            call_ended(r, DEV_CALL_WAIT, since);
        const int rc_one = st ? fail(rc ? &quiet : r, l->dev, st, what) : 0;
        rc = rc ? rc : rc_one;
    }
    return rc;
}

int op_end(struct run *r, int rc)
{
    return each_lane(r, rc, lane_end, "step_end");
}

int op_wait(struct run *r, int rc)
{
    r->s->host_busy = NULL;
    r->s->clock_ns = 0;           /* who knows what its caller did since op_end */
    return each_lane(r, rc, lane_wait, "step_end");
}

int op_out(struct run *r, uint32_t areas)
{
    uint64_t from;
    return fetch(r, areas, &from);
}

/* ----------------------------------------------------------------- the ops */

int op_gather(struct run *r, struct part y)
{
    const struct weight *w = r->s->weights.embd;
    struct lane *l;
    const int rc = enter(r, w->dev, 0, BIT(y.area), &l);
    if (rc)
        return rc;
    const bnp_rows to = rows(r, l, y);
    CALL(r, l, LINEAR, "embedding", w->dev->linear->gather(l->stream, w->handle, &to));
    return 0;
}

int op_norm(struct run *r, const char *what, bnp_span weight, struct part x, struct part y)
{
    const struct hparams *hp = &r->s->weights.model->hp;
    struct dev *d = run_layer(r)->point;
    struct lane *l;
    const int rc = enter(r, d, BIT(x.area), BIT(y.area), &l);
    if (rc)
        return rc;
    const bnp_span all = r->s->place[l->place].norm;
    const bnp_rows from = rows(r, l, x), to = rows(r, l, y);
    const uint32_t n = (uint32_t)(weight.size / sizeof(float));
    const bool of_stream = x.area == AREA_X || x.area == AREA_PICK;
    const struct bnp_norm norm = {
        .struct_size = sizeof norm, .group_cols = n < from.cols ? n : 0,
        .eps = of_stream ? hp->eps_stream : hp->eps,
        .weight = { all.base, all.offset + weight.offset, weight.size }
    };
    CALL(r, l, POINT, what, d->point->rmsnorm(l->stream, &norm, &from, &to));
    return 0;
}

int op_rope(struct run *r, struct part q, struct part k, struct part v)
{
    const struct layer_devs *at = run_layer(r);
    struct dev *d = at->point;
    const uint32_t both = BIT(q.area) | BIT(k.area);
    const bool same = lane_of(r->s, d)->place == lane_of(r->s, at->attn)->place;
    struct lane *l;
    const int rc = enter(r, d, both | (same ? BIT(v.area) : 0), both, &l);
    if (rc)
        return rc;
    struct bnp_rope rope = r->s->rope;
    const bnp_rows q_rows = rows(r, l, q), k_rows = rows(r, l, k);
    rope.table = r->s->place[l->place].rope;
    rope.table.size = r->s->rope.table.size;
    CALL(r, l, POINT, "rope of q", d->point->rope(l->stream, &rope, &q_rows));
    CALL(r, l, POINT, "rope of k", d->point->rope(l->stream, &rope, &k_rows));
    return 0;
}

int op_glu(struct run *r, struct part gate, struct part up, struct part y)
{
    struct dev *d = run_layer(r)->point;
    struct lane *l;
    const int rc = enter(r, d, BIT(gate.area) | BIT(up.area), BIT(y.area), &l);
    if (rc)
        return rc;
    const bnp_rows g = rows(r, l, gate), u = rows(r, l, up), to = rows(r, l, y);
    CALL(r, l, POINT, "glu", d->point->glu(l->stream, r->s->weights.model->hp.glu, &g, &u, &to));
    return 0;
}

int op_add(struct run *r, struct part x, struct part y)
{
    struct dev *d = run_layer(r)->point;
    struct lane *l;
    const int rc = enter(r, d, BIT(x.area) | BIT(y.area), BIT(y.area), &l);
    if (rc)
        return rc;
    const bnp_rows from = rows(r, l, x), to = rows(r, l, y);
    CALL(r, l, POINT, "add", d->point->add(l->stream, &from, &to));
    return 0;
}

int op_pick(struct run *r, struct part x, struct part y)
{
    struct dev *d = run_layer(r)->point;
    struct lane *l;
    const int rc = enter(r, d, BIT(x.area), BIT(y.area), &l);
    if (rc)
        return rc;
    const bnp_rows from = rows(r, l, x), to = rows(r, l, y);
    CALL(r, l, POINT, "pick", d->point->pick(l->stream, &from, &to));
    return 0;
}

int op_attend(struct run *r, struct part q, struct part k, struct part v, struct part out)
{
    const struct forward_state *s = r->s;
    const struct layer_devs *at = run_layer(r);
    struct dev *d = at->attn;
    struct lane *l;
    const int rc = enter(r, d, BIT(q.area) | BIT(k.area) | BIT(v.area), BIT(out.area), &l);
    if (rc)
        return rc;
    const bnp_rows q_rows = rows(r, l, q), k_rows = rows(r, l, k), v_rows = rows(r, l, v);
    const bnp_rows to = rows(r, l, out);
    const bnp_span scratch = work_scratch(&s->place[l->place].work);
    for (const struct batch_copy *c = r->copy; c < r->copy + r->n_copy; c++)
        CALL(r, l, ATTN, "copy_page",
             d->attn->copy_page(l->stream, &s->attn, at->pool, c->dst, c->src, c->n_tok));
    CALL(r, l, ATTN, "append", d->attn->append(l->stream, &s->attn, at->pool, &k_rows, &v_rows));
    CALL(r, l, ATTN, "attend",
         d->attn->attend(l->stream, &s->attn, at->pool, &q_rows, &to, scratch));
    return 0;
}

/* Matrices of one device and activation kind share the prepared input. */
static bool shares(const struct weight *a, const struct weight *b)
{
    return a->dev == b->dev && a->layout.act_kind == b->layout.act_kind;
}

/* w[0] and the others of w that share its input. */
static int mul_group(struct run *r, struct part x, uint32_t n, struct weight *const *w,
                     const struct part *y, uint32_t flags)
{
    struct dev *d = w[0]->dev;
    uint32_t writes = 0;
    for (uint32_t i = 0; i < n; i++)
        writes |= shares(w[0], w[i]) ? BIT(y[i].area) : 0;
    struct lane *l;
    const int rc = enter(r, d, BIT(x.area) | (flags & BNP_ADD ? writes : 0), writes, &l);
    if (rc)
        return rc;
    const struct work_mem *m = &r->s->place[l->place].work;
    const bnp_span act = work_act(m), scratch = work_scratch(m);
    const bnp_rows from = rows(r, l, x);
    bnp_linear_item item[MUL_MAX];
    uint32_t n_item = 0;
    for (uint32_t i = 0; i < n; i++)
        if (shares(w[0], w[i]))
            item[n_item++] = (bnp_linear_item){ w[i]->handle, rows(r, l, y[i]), flags, 0 };
    CALL(r, l, LINEAR, w[0]->tensor,
         d->linear->act_prepare(l->stream, w[0]->layout.act_kind, &from, act));
    CALL(r, l, LINEAR, w[0]->tensor, d->linear->mul(l->stream, act, n_item, item, scratch));
    return 0;
}

int op_mul(struct run *r, struct part x, uint32_t n, struct weight *const *w, const struct part *y,
           uint32_t flags)
{
    for (uint32_t i = 0; i < n; i++) {
        bool done = false;
        for (uint32_t j = 0; j < i; j++)
            done |= shares(w[j], w[i]);
        int rc = done ? 0 : mul_group(r, x, n - i, w + i, y + i, flags);
        if (rc)
            return rc;
    }
    return 0;
}

int op_topk(struct run *r, struct part x, uint32_t k)
{
    const struct forward_state *s = r->s;
    const struct weight *w = s->weights.head;
    struct dev *d = w->dev;
    struct lane *l;
    const int rc = enter(r, d, BIT(x.area), BIT(AREA_TOP_ID) | BIT(AREA_TOP_LOGIT) |
                         BIT(AREA_TOP_EXACT), &l);
    if (rc)
        return rc;
    const struct work_mem *m = &s->place[l->place].work;
    const bnp_rows from = rows(r, l, x);
    const bnp_topk top = {
        .struct_size = sizeof top, .k = k, .n_tok = x.n,
        .id = work_span(&s->work, m, AREA_TOP_ID, s->size[AREA_TOP_ID]),
        .logit = work_span(&s->work, m, AREA_TOP_LOGIT, s->size[AREA_TOP_LOGIT]),
        .n_exact = work_span(&s->work, m, AREA_TOP_EXACT, s->size[AREA_TOP_EXACT])
    };
    CALL(r, l, LINEAR, w->tensor,
         d->linear->act_prepare(l->stream, w->layout.act_kind, &from, work_act(m)));
    CALL(r, l, LINEAR, w->tensor,
         d->linear->topk(l->stream, work_act(m), w->handle, &top, work_scratch(m)));
    return 0;
}
