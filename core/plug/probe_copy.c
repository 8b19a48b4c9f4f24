/* probe_copy.c - what it takes to bring bytes to a device and back.
 *
 * Every timed call is a whole step with nothing in it but the copy, waited for:
 * that is when the bytes are there. The best of a few calls counts, for what
 * else ran meanwhile can only add. */
#include <stdlib.h>

#include "core/plug/probe.h"
#include "core/plug/probe_run.h"

#define BUDGET_US 5e3             /* of each of the five                       */

struct copy_run {
    struct probe_run run;
    bnp_span span;                /* size 0: no copy                           */
    void *bytes;
    bool out;
};

static int once(void *ctx)
{
    struct copy_run *c = ctx;
    const bnp_step none = { .struct_size = sizeof none };
    int rc = 0;
    if (c->span.size && c->out)
        return run_get(&c->run, c->bytes, c->span);
    if (c->span.size)
        rc = run_put(&c->run, c->span, c->bytes);
    if (!rc)
        rc = run_begin(&c->run, &none);
    return rc ? rc : run_end(&c->run);
}

static int time_copy(struct copy_run *c, uint64_t size, bool out, double *us)
{
    c->span.size = size;
    c->out = out;
    return run_best(BUDGET_US, once, c, us);
}

static int time_all(struct copy_run *c, struct probe_copies *t)
{
    int rc = run_span(&c->run, BNP_MEM_WORK, PROBE_COPY_LARGE, BNP_ALIGN, &c->span);
    if (rc || (rc = time_copy(c, PROBE_COPY_LARGE, false, &t->in_us[1])) ||
        (rc = time_copy(c, PROBE_COPY_LARGE, true, &t->out_us[1])) ||
        (rc = time_copy(c, PROBE_COPY_SMALL, false, &t->in_us[0])) ||
        (rc = time_copy(c, PROBE_COPY_SMALL, true, &t->out_us[0])))
        return rc;
    return time_copy(c, 0, false, &t->wait_us);
}

int probe_copies(struct dev *dev, struct probe_copies *out, struct err *e)
{
    const bnp_limits limits = { .struct_size = sizeof limits, .max_tok = 1, .max_seq = 1,
                                .max_pages = 1, .max_out = 1 };
    struct probe p = { .n_tok = 1 };
    struct copy_run c = { .bytes = calloc(1, PROBE_COPY_LARGE) };
    if (!c.bytes)
        return err_set(e, ERR_NOMEM, "probe: no memory for %u bytes", PROBE_COPY_LARGE);
    int rc = run_open(&c.run, dev, &p, &limits, e);
    if (!rc)
        rc = time_all(&c, out);
    run_close(&c.run);
    free(c.bytes);
    return rc;
}
