/* forward_lane.c - one device's stream, called by the rules of the ABI.
 *
 * Only step_end gives a ticket, so to wait for an asynchronous lane in the
 * middle of a step is to end its step and to begin the same step again. Every
 * ticket has been waited for before a step begins, so step_begin finds an empty
 * queue, and BNP_E_BUSY from it is an error. */
#include "core/engine/forward_parts.h"

bool lane_async(const struct lane *l)
{
    return !(l->dev->info.flags & BNP_DEV_SYNC);
}

struct lane *lane_of(struct forward_state *s, const struct dev *d)
{
    struct lane *l = s->lane;
    while (l->dev != d)
        l++;
    return l;
}

/* A wait that ran out leaves work in a queue that nobody will ever see end. */
int lane_wait(struct lane *l)
{
    if (!l->owes)
        return BNP_OK;
    l->owes = false;
    const int st = l->dev->ops->wait(l->stream, l->ticket, LANE_WAIT_NS);
    return st == BNP_E_BUSY ? BNP_E_DEVICE : st;
}

int lane_begin(struct lane *l, const struct bnp_step *step)
{
    const int st = l->dev->ops->step_begin(l->stream, step);
    l->in_step = !st;
    return st;
}

int lane_end(struct lane *l)
{
    if (!l->in_step)
        return BNP_OK;
    uint64_t ticket = 0;
    const int st = l->dev->ops->step_end(l->stream, &ticket);
    l->in_step = false;
    if (!st && lane_async(l)) {
        l->ticket = ticket;
        l->owes = true;
    }
    return st;
}

static int settle(struct lane *l)
{
    const struct bnp_step none = { .struct_size = sizeof none };
    int st = lane_begin(l, &none);
    if (!st)
        st = lane_end(l);
    return st ? st : lane_wait(l);
}

int lane_put(struct lane *l, bnp_span dst, const void *src)
{
    const struct bnp_device_ops *ops = l->dev->ops;
    int st = ops->copy_in(l->stream, dst, src);
    if (st == BNP_E_BUSY && !(st = settle(l)))
        st = ops->copy_in(l->stream, dst, src);
    return st ? st : settle(l);
}
