/* forward_op.c - handing one op to one device.
 *
 * Every call of a plugin in a step goes through here, so that order between
 * devices, full queues, and the wording of errors are each said once. Only
 * step_end gives a ticket; to wait for an asynchronous lane in mid-step is
 * therefore to end its step, wait, and begin the same step again. */
#include "core/engine/forward_parts.h"

#include <stdio.h>

/* Hardware that needs longer for one step is lost. */
#define WAIT_NS UINT64_C(60000000000)

enum { MUL_MAX = 3 };             /* matrices on one input: q, k, v            */

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

static bool asynchronous(const struct lane *l)
{
    return !(l->dev->info.flags & BNP_DEV_SYNC);
}

static int begin(struct run *r, struct lane *l)
{
    int st = l->dev->ops->step_begin(l->stream, r->step);
    if (st)
        return fail(r, l->dev, st, "step_begin");
    l->in_step = true;
    return 0;
}

/* Ends the lane's step; its work is done and visible afterwards. */
static int end(struct run *r, struct lane *l)
{
    uint64_t ticket;
    if (!l->in_step)
        return 0;
    l->in_step = false;
    int st = l->dev->ops->step_end(l->stream, &ticket);
    if (!st && asynchronous(l))
        st = l->dev->ops->wait(l->stream, ticket, WAIT_NS);
    return st ? fail(r, l->dev, st, "step_end") : 0;
}

/* The lane of d, ready for an op that may read what any lane wrote. */
static int enter(struct run *r, const struct dev *d, struct lane **out)
{
    struct lane *l = r->s->lane;
    while (l->dev != d)
        l++;
    *out = l;
    int rc = 0;
    if (r->last && r->last != l && asynchronous(r->last))
        rc = end(r, r->last);
    r->last = l;
    return rc || l->in_step ? rc : begin(r, l);
}

/* A full queue: wait until it is empty. */
static int drain(struct run *r, struct lane *l)
{
    int rc = end(r, l);
    return rc ? rc : begin(r, l);
}

/* Runs call, an expression in l->stream, on device d; a busy queue once more. */
#define SUBMIT(r, d, what, call)                                             \
    do {                                                                     \
        struct lane *l;                                                      \
        int rc_ = enter((r), (d), &l);                                       \
        if (rc_)                                                             \
            return rc_;                                                      \
        int st_ = (call);                                                    \
        if (st_ == BNP_E_BUSY) {                                             \
            if ((rc_ = drain((r), l)))                                       \
                return rc_;                                                  \
            st_ = (call);                                                    \
        }                                                                    \
        if (st_)                                                             \
            return fail((r), (d), st_, (what));                              \
    } while (0)

int op_begin(struct run *r)
{
    for (uint32_t i = 0; i < r->s->n_lane; i++) {
        struct lane *l = &r->s->lane[i];
        l->in_step = false;
        if (l->dev->disabled)
            return err_set(r->err, ERR_DEVICE, "%s: device %s is lost: restart bitnetd",
                           l->dev->plugin->note.raw.id, l->dev->info.name);
        int rc = begin(r, l);
        if (rc)
            return rc;
    }
    return 0;
}

int op_end(struct run *r, int rc)
{
    struct run quiet = *r;
    quiet.err = NULL;             /* the first error is the one to tell */
    for (uint32_t i = 0; i < r->s->n_lane; i++) {
        struct lane *l = &r->s->lane[i];
        if (l->dev->disabled)
            continue;
        int rc_end = end(rc ? &quiet : r, l);
        rc = rc ? rc : rc_end;
    }
    return rc;
}

int op_gather(struct run *r, const bnp_rows *y)
{
    const struct weight *w = r->s->weights.embd;
    SUBMIT(r, w->dev, "embedding", w->dev->linear->gather(l->stream, w->handle, y));
    return 0;
}

int op_norm(struct run *r, const char *what, bnp_span weight, const bnp_rows *x, const bnp_rows *y)
{
    struct dev *d = r->s->point_dev;
    const struct bnp_norm norm = {
        .struct_size = sizeof norm, .eps = r->s->weights.model->hp.eps, .weight = weight
    };
    SUBMIT(r, d, what, d->point->rmsnorm(l->stream, &norm, x, y));
    return 0;
}

int op_rope(struct run *r, const char *what, const bnp_rows *x)
{
    struct dev *d = r->s->point_dev;
    SUBMIT(r, d, what, d->point->rope(l->stream, &r->s->rope, x));
    return 0;
}

int op_glu(struct run *r, const bnp_rows *gate, const bnp_rows *up, const bnp_rows *y)
{
    struct dev *d = r->s->point_dev;
    SUBMIT(r, d, "glu", d->point->glu(l->stream, r->s->weights.model->hp.glu, gate, up, y));
    return 0;
}

int op_pick(struct run *r, const bnp_rows *x, const bnp_rows *y)
{
    struct dev *d = r->s->point_dev;
    SUBMIT(r, d, "pick", d->point->pick(l->stream, x, y));
    return 0;
}

int op_append(struct run *r, const bnp_rows *k, const bnp_rows *v)
{
    struct dev *d = r->s->attn_dev;
    SUBMIT(r, d, "append", d->attn->append(l->stream, &r->s->attn, r->s->pool[r->layer], k, v));
    return 0;
}

int op_attend(struct run *r, const bnp_rows *q, const bnp_rows *out)
{
    struct dev *d = r->s->attn_dev;
    SUBMIT(r, d, "attend", d->attn->attend(l->stream, &r->s->attn, r->s->pool[r->layer], q, out,
                                           r->s->work.scratch));
    return 0;
}

/* Matrices of one device and activation kind share the prepared input. */
static bool shares(const struct weight *a, const struct weight *b)
{
    return a->dev == b->dev && a->layout.act_kind == b->layout.act_kind;
}

/* w[0] and the others of w that share its input. */
static int mul_group(struct run *r, const bnp_rows *x, uint32_t n, struct weight *const *w,
                     const bnp_rows *const *y, uint32_t flags)
{
    struct dev *d = w[0]->dev;
    const struct work *work = &r->s->work;
    bnp_linear_item item[MUL_MAX];
    uint32_t n_item = 0;
    for (uint32_t i = 0; i < n; i++)
        if (shares(w[0], w[i]))
            item[n_item++] = (bnp_linear_item){ w[i]->handle, *y[i], flags, 0 };
    SUBMIT(r, d, w[0]->tensor,
           d->linear->act_prepare(l->stream, w[0]->layout.act_kind, x, work->act));
    SUBMIT(r, d, w[0]->tensor,
           d->linear->mul(l->stream, work->act, n_item, item, work->scratch));
    return 0;
}

int op_topk(struct run *r, const bnp_rows *x, uint32_t k)
{
    const struct weight *w = r->s->weights.head;
    const struct work *work = &r->s->work;
    struct dev *d = w->dev;
    const bnp_topk top = { .struct_size = sizeof top, .k = k, .n_tok = x->n_tok,
                           .id = work->top_id, .logit = work->top_logit,
                           .n_exact = work->top_exact };
    SUBMIT(r, d, w->tensor,
           d->linear->act_prepare(l->stream, w->layout.act_kind, x, work->act));
    SUBMIT(r, d, w->tensor,
           d->linear->topk(l->stream, work->act, w->handle, &top, work->scratch));
    return 0;
}

int op_mul(struct run *r, const bnp_rows *x, uint32_t n, struct weight *const *w,
           const bnp_rows *const *y, uint32_t flags)
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
