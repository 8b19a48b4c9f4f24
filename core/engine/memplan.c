/* memplan.c - adds up, and says what to lower. */
#include "core/engine/memplan.h"

#include "core/engine/engine.h"
#include "core/engine/forward.h"
#include "core/engine/prefix.h"
#include "core/engine/seq.h"

#define MIB 1048576.0

static uint64_t add(uint64_t a, uint64_t b)              /* sticks at the top */
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* A request is at its largest when it has the whole context: its ids twice, the
 * submitter's and the engine's, and its ring. Logprobs and vectors of all
 * requests share ENGINE_OUTPUT_SIZE. */
static uint64_t request_size(const struct forward_conf *c)
{
    return sizeof(struct request) + REQUEST_AHEAD * sizeof(uint32_t) +
           c->n_ctx * sizeof(int32_t) + seq_size(c->n_ctx, c->page_tok);
}

uint64_t memplan_serve(const struct forward_conf *c, const struct bnp_limits *l)
{
    const uint32_t n_page = c->kv_tok / c->page_tok;
    const uint64_t batch = (uint64_t)l->max_seq * l->max_pages * sizeof(int32_t);
    uint64_t all = add(kv_table_size(n_page), batch);
    if (c->prefix_cache)
        all = add(all, prefix_size(n_page, c->page_tok));
    if (c->n_request)
        all = add(all, ENGINE_OUTPUT_SIZE);
    all = add(all, c->other_size);
    return add(all, c->n_request * request_size(c));
}

int memplan_check(struct mem_plan *m, bool fixed, struct err *err)
{
    m->total = add(add(add(m->weights, m->kv), add(m->work, m->rope)), m->serve);
    if (m->total <= m->limit)
        return 0;
    const char *advice =
        m->weights > m->limit ? "the weights alone do not fit: use a smaller model" :
        m->work > m->limit - m->weights ? "lower engine.row_budget" :
        m->serve > m->kv && m->serve > m->rope
            ? "lower engine.max_queue, engine.n_ctx or server.max_grammars" :
        m->kv > m->rope ? "lower engine.kv_tok, or engine.n_ctx" : "lower engine.n_ctx";
    return err_set(err, ERR_LIMIT, "memory: %.1f MiB needed (weights %.1f, KV %.1f, work %.1f, "
                   "rope %.1f, requests %.1f), %.1f MiB %s: %s%s",
                   (double)m->total / MIB, (double)m->weights / MIB, (double)m->kv / MIB,
                   (double)m->work / MIB, (double)m->rope / MIB, (double)m->serve / MIB,
                   (double)m->limit / MIB, fixed ? "allowed by engine.max_mem_mib" : "available",
                   advice, fixed ? ", or raise engine.max_mem_mib" : "");
}

int memplan_check_place(struct mem_place *m, struct err *err)
{
    m->total = add(add(m->weights, m->kv), add(m->work, m->rope));
    if (!m->limit || m->total <= m->limit)
        return 0;
    return err_set(err, ERR_LIMIT, "%s: %.1f MiB needed (weights %.1f, KV %.1f, work %.1f, rope "
                   "%.1f), the device has %.1f MiB: pin less to it, or lower engine.kv_tok or "
                   "engine.row_budget", m->name, (double)m->total / MIB, (double)m->weights / MIB,
                   (double)m->kv / MIB, (double)m->work / MIB, (double)m->rope / MIB,
                   (double)m->limit / MIB);
}

static double mib(uint64_t size)
{
    return (double)size / MIB;
}

/* A line for each device's own memory. */
static void print_place(const struct mem_place *m, struct buf *out)
{
    buf_addf(out, "memory of %s: weights %.1f, KV %.1f, work %.1f, rope %.1f, total %.1f MiB, ",
             m->name, mib(m->weights), mib(m->kv), mib(m->work), mib(m->rope), mib(m->total));
    if (m->limit)
        buf_addf(out, "it has %.1f MiB\n", mib(m->limit));
    else
        buf_addf(out, "it does not say how much it has\n");
}

void memplan_print(const struct mem_plan *m, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t size;
    } row[] = {
        { "weights", m->weights }, { "KV cache", m->kv }, { "work", m->work },
        { "rope table", m->rope }, { "requests", m->serve }, { "total", m->total },
        { "limit", m->limit }
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        buf_addf(out, "%-10s %12.1f MiB\n", row[i].name, mib(row[i].size));
    for (uint32_t i = 0; i < m->n_place; i++)
        print_place(&m->place[i], out);
}
