/* bitnet_inspect_memory.c - the memory that a model will need here.
 *
 * It depends on the plugins, which choose their own form of the weights: they are
 * asked, and nothing is prepared. */
#include <string.h>

#include "core/plug/cgroup.h"
#include "core/plug/timings.h"
#include "tools/bitnet_inspect.h"

enum { ROWS = 256 };              /* engine.row_budget's default               */

void memory_look(struct memory_look *k, struct model *m)
{
    char timings[PATH_MAX];
    struct err e = { 0 };
    struct loaded l = { .model = m };
    struct forward_conf c = { .n_ctx = m->hp.n_ctx, .max_tok = ROWS, .max_seq = 1, .max_out = 1,
                              .max_mem = UINT64_MAX, .dry = true,
                              .route = { .timings = timings_path(NULL, timings) } };
    const unsigned n_warning = m->n_warning;
    *k = (struct memory_look){ .n_ctx = m->hp.n_ctx, .available = cgroup_memory("") };
    m->n_warning = 0;                   /* inspect lists them itself */
    if (load_forward_conf(&l, &c, &e)) {
        snprintf(k->why, sizeof k->why, "%.*s", (int)sizeof k->why - 1, e.text);
    } else {
        const struct mem_plan *p = &l.forward->mem;
        k->known = true;
        k->weights = p->weights;
        k->kv = p->kv;
        k->other = p->total - p->weights - p->kv;
        for (uint32_t i = 0; i < p->n_place; i++) {     /* on devices besides */
            k->weights += p->place[i].weights;
            k->kv += p->place[i].kv;
            k->other += p->place[i].total - p->place[i].weights - p->place[i].kv;
        }
    }
    l.model = NULL;                     /* the caller's */
    load_close(&l);
    m->n_warning = n_warning;
}
