/* cpu_attn.c - attention of a CPU plugin: who computes what.
 *
 * Work is cut into units: a few neighbouring rows of a sequence with the heads
 * of one kv head, over all chunks that one of the rows sees. The rows share
 * every load of K and V. A unit's chunks may fall to different workers, so one
 * row over a long context keeps all of them busy: each chunk leaves m, l and o
 * of every query in the scratch span, and when all are there they are combined
 * in the contract's order - by the worker that had the whole unit, or after
 * all workers are done. As many units as fit into the scratch are one round.
 *
 * Nothing that is computed depends on how work was cut, so nothing shows it. */
#include "plugins/kit/attn.h"
#include "plugins/kit/check_attn.h"
#include "plugins/kit/cpu.h"

#include <stdatomic.h>
#include <string.h>

/* Scratch that a call asks for, bytes, unless one unit needs more or all of
 * the largest step less. Parts of 32 queries over 4096 keys of 128 are 0.6
 * MB; they should stay in a cache until they are combined. */
#define SCRATCH_SIZE (UINT64_C(4) << 20)
#define MAX_UNITS 128u          /* in a round                                */

/* Multiply-adds from which waking the workers costs less than it saves. */
#define PARALLEL_FROM 131072u
/* Elements of k from which it does in append. */
#define APPEND_PARALLEL_FROM 16384u

/* ------------------------------------------------------------------- pages */

/* Bytes of one kv head in a page: before K, and in all. */
static uint64_t steps_size(const bnp_attn_desc *d)
{
    return d->kv_format == BNP_KV_I8 ? 2 * sizeof(float) * d->page_tok : 0;
}

/* 16 keys, and 16 values; attn.h has the layout. */
static uint64_t k_block(const bnp_attn_desc *d)
{
    return d->kv_format == BNP_KV_I8 ? ATTN_BLOCK * (d->head_dim + d->head_dim % 2)
                                     : ATTN_BLOCK * 2 * d->head_dim;
}

static uint64_t v_block(const bnp_attn_desc *d)
{
    return d->kv_format == BNP_KV_I8 ? ATTN_BLOCK * d->head_dim : ATTN_BLOCK * 2 * d->head_dim;
}

static uint64_t head_size(const bnp_attn_desc *d)
{
    const uint64_t n_block = d->page_tok / ATTN_BLOCK;
    return align_up(steps_size(d) + n_block * (k_block(d) + v_block(d)), BNP_ALIGN);
}

static uint64_t page_bytes(const bnp_attn_desc *d)
{
    return head_size(d) * d->n_head_kv;
}

/* The block of position pos (a multiple of 16) in row r's sequence. */
static struct attn_block block_at(const struct kit_attn *a, uint32_t r, uint32_t kv_head,
                                  uint32_t pos)
{
    const bnp_attn_desc *d = a->d;
    const char *head = kit_page_at(a, r, pos) + kv_head * head_size(d);
    const uint32_t slot = pos % d->page_tok, i = slot / ATTN_BLOCK;
    const char *k = head + steps_size(d), *v = k + d->page_tok / ATTN_BLOCK * k_block(d);
    const float *step = (const float *)(const void *)head;
    return (struct attn_block){ .k = k + i * k_block(d), .v = v + i * v_block(d),
                                .kstep = step + slot, .vstep = step + d->page_tok + slot };
}

/* ------------------------------------------------------------------ set up */

/* Chunks that rows see between them: the oldest key of one, the newest of
 * another. */
static uint32_t chunks_between(uint32_t oldest, uint32_t newest)
{
    return newest / BNP_ATTN_CHUNK - oldest / BNP_ATTN_CHUNK + 1;
}

/* The most chunks that one row sees. */
static uint32_t max_chunks(const bnp_attn_desc *d)
{
    const uint32_t all = chunks_between(0, d->max_kv - 1);
    if (!d->window || d->window >= d->max_kv)
        return all;
    const uint32_t seen = (d->window - 1 + BNP_ATTN_CHUNK - 1) / BNP_ATTN_CHUNK + 1;
    return seen < all ? seen : all;
}

static uint32_t group_heads(const bnp_attn_desc *d)     /* of one unit       */
{
    const uint32_t group = d->n_head / d->n_head_kv;
    return group < ATTN_QUERIES ? group : ATTN_QUERIES;
}

/* Room for a unit of one row at least. */
static uint64_t scratch_bytes(const bnp_attn_desc *d)
{
    const uint64_t query = (uint64_t)max_chunks(d) * attn_stride(d->head_dim) * sizeof(float);
    const uint64_t least = query * group_heads(d);
    uint64_t all;
    if (__builtin_mul_overflow(query * d->n_head, (uint64_t)d->max_tok, &all) ||
        all > SCRATCH_SIZE)
        all = SCRATCH_SIZE;
    return all > least ? all : least;
}

int cpu_attn_query(bnp_device *dev, const bnp_attn_desc *d, bnp_offer *offer)
{
    return cpu_first(dev) ? kit_attn_query(dev, d, scratch_bytes, offer) : BNP_E_UNSUPPORTED;
}

int cpu_attn_page_size(bnp_device *dev, const bnp_attn_desc *d, uint64_t *size)
{
    return kit_attn_page_size(dev, d, page_bytes, size);
}

int cpu_attn_copy_page(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, uint32_t dst,
                       uint32_t src, uint32_t n_tok)
{
    struct kit_attn a;
    int rc = kit_attn_desc_check(s->dev, d);
    if (!rc && !(rc = kit_copy_page_check(s, d, pool, page_bytes(d), dst, src, n_tok, &a)) &&
        dst != src)
        memcpy(a.pool + dst * a.page_size, a.pool + src * a.page_size, a.page_size);
    return rc;
}

/* ------------------------------------------------------------------ append */

struct append {
    struct kit_attn a;
    const bnp_rows *k, *v;
    _Atomic(bool) bad;
};

static bool append_row(const struct append *p, const struct attn_kern *kern, uint32_t r)
{
    const bnp_attn_desc *d = p->a.d;
    const uint32_t pos = (uint32_t)p->a.s->step.pos[r], slot = pos % ATTN_BLOCK;
    bool good = true;
    for (uint32_t h = 0; h < d->n_head_kv; h++) {
        const struct attn_block b = block_at(&p->a, r, h, pos - slot);
        const size_t at = (size_t)h * d->head_dim;
        good &= kern->put_k(d->kv_format, rows_at(p->k, r) + at, d->head_dim, slot, (char *)b.k,
                            (float *)b.kstep);
        good &= kern->put_v(d->kv_format, rows_at(p->v, r) + at, d->head_dim, slot, (char *)b.v,
                            (float *)b.vstep);
    }
    return good;
}

static void append_part(void *arg, uint32_t worker, uint32_t n_workers)
{
    struct append *p = arg;
    const struct attn_kern *kern = cpu_float(p->a.s->dev)->attn;
    const uint32_t n = p->k->n_tok, end = cpu_share(n, worker + 1, n_workers);
    for (uint32_t r = cpu_share(n, worker, n_workers); r < end; r++)
        if (!append_row(p, kern, r))
            atomic_store_explicit(&p->bad, true, memory_order_relaxed);
}

int cpu_attn_append(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *k,
                    const bnp_rows *v)
{
    struct append p = { .k = k, .v = v };
    int rc = kit_attn_desc_check(s->dev, d);
    if (rc || (rc = kit_append_check(s, d, pool, page_bytes(d), k, v, &p.a)))
        return rc;
    atomic_init(&p.bad, false);
    cpu_run(s->dev, (uint64_t)k->n_tok * k->cols >= APPEND_PARALLEL_FROM, append_part, &p);
    if (!atomic_load(&p.bad))
        return BNP_OK;
    rc = kit_need_kv(s, "append: k", d, k);
    return rc ? rc : kit_need_kv(s, "append: v", d, v);
}

/* ------------------------------------------------------------------- units */

struct unit {
    uint32_t row, n_row, head, n_head;
    uint32_t first, n_chunk;    /* chunks                                    */
    bool done;                  /* combined                                  */
    uint64_t cost;              /* of the units before                       */
    float *part;                /* [n_row][n_head][n_chunk][stride]          */
};

struct attend {
    struct kit_attn a;
    const struct attn_kern *kern;
    const bnp_rows *q, *out;
    uint32_t stride;            /* floats of a part                          */
    uint32_t row, head;         /* where the next unit begins                */
    uint32_t n_unit;
    uint64_t cost;              /* of all units of the round                 */
    _Atomic(uint64_t) bad;      /* the first row * n_head + head, or ~0      */
    struct unit unit[MAX_UNITS];
};

static uint32_t pos_of(const struct attend *t, uint32_t r)
{
    return (uint32_t)t->a.s->step.pos[r];
}

static uint32_t oldest_of(const struct attend *t, uint32_t r)
{
    return kit_first_visible(t->a.d, pos_of(t, r));
}

static uint64_t unit_floats(const struct attend *t, const struct unit *u)
{
    return (uint64_t)u->n_row * u->n_head * u->n_chunk * t->stride;
}

/* A chunk costs its queries, and a little for fetching it. */
static uint64_t chunk_cost(const struct unit *u)
{
    return u->n_row * u->n_head + 4;
}

/* The unit at the cursor, of as many rows as are worth it and fit into room
 * floats; of one row at least. */
static struct unit unit_at(const struct attend *t, uint64_t room)
{
    const bnp_attn_desc *d = t->a.d;
    const uint32_t group = d->n_head / d->n_head_kv, left = group - t->head % group;
    const int32_t *seq = t->a.s->seq_of;
    struct unit u = { .row = t->row, .head = t->head, .first = oldest_of(t, t->row) /
                                                               BNP_ATTN_CHUNK };
    u.n_head = left < ATTN_QUERIES ? left : ATTN_QUERIES;
    const uint32_t want = ATTN_QUERIES / group > 1 ? ATTN_QUERIES / group : 1;
    for (uint32_t n = 1; n <= want && t->row + n <= t->q->n_tok; n++) {
        struct unit more = u;
        more.n_row = n;
        more.n_chunk = chunks_between(oldest_of(t, t->row), pos_of(t, t->row + n - 1));
        if (n > 1 && (seq[t->row + n - 1] != seq[t->row] || unit_floats(t, &more) > room))
            break;
        u = more;
    }
    return u;
}

/* Units of a round, from the cursor on; rows are cut alike for all their heads,
 * for the cut looks at the whole scratch. */
static void units_fill(struct attend *t, float *scratch, uint64_t room)
{
    uint64_t used = 0;
    t->cost = 0;
    for (t->n_unit = 0; t->n_unit < MAX_UNITS && t->row < t->q->n_tok; t->n_unit++) {
        struct unit u = unit_at(t, room);
        if (unit_floats(t, &u) > room - used)
            return;
        u.part = scratch + used;
        u.cost = t->cost;
        used += unit_floats(t, &u);
        t->cost += u.n_chunk * chunk_cost(&u);
        t->unit[t->n_unit] = u;
        t->head += u.n_head;
        if (t->head == t->a.d->n_head) {
            t->head = 0;
            t->row += u.n_row;
        }
    }
}

static float *part_of(const struct attend *t, const struct unit *u, uint32_t row, uint32_t head,
                      uint32_t chunk)
{
    return u->part + ((size_t)(row * u->n_head + head) * u->n_chunk + chunk) * t->stride;
}

static uint32_t kv_head_of(const struct attend *t, const struct unit *u)
{
    return u->head / (t->a.d->n_head / t->a.d->n_head_kv);
}

/* ------------------------------------------------------------------ chunks */

/* Blocks of chunk i of a unit. */
static void chunk_find(const struct attend *t, const struct unit *u, uint32_t i,
                       struct attn_chunk *c)
{
    const uint32_t start = (u->first + i) * BNP_ATTN_CHUNK, last = u->row + u->n_row - 1;
    const uint32_t oldest = oldest_of(t, u->row), newest = pos_of(t, last);
    c->first = oldest > start ? (oldest - start) / ATTN_BLOCK : 0;
    c->end = newest - start < BNP_ATTN_CHUNK ? (newest - start) / ATTN_BLOCK + 1 : ATTN_BLOCKS;
    for (uint32_t b = c->first; b < c->end; b++)
        c->block[b] = block_at(&t->a, last, kv_head_of(t, u), start + b * ATTN_BLOCK);
}

/* int8 only: the q of a unit's rows and heads as integers. */
struct narrow {
    int16_t q[ATTN_QUERIES][BNP_KV_I8_DIM];
    float step[ATTN_QUERIES];
};

static const float *q_of(const struct attend *t, const struct unit *u, uint32_t row, uint32_t head)
{
    return rows_at(t->q, u->row + row) + (size_t)(u->head + head) * t->a.d->head_dim;
}

static void unit_narrow(const struct attend *t, const struct unit *u, struct narrow *n)
{
    for (uint32_t i = 0; i < u->n_row * u->n_head; i++)
        n->step[i] = t->kern->narrow(q_of(t, u, i / u->n_head, i % u->n_head), t->a.d->head_dim,
                                     n->q[i]);
}

/* The queries of a unit that see something of chunk i. */
static uint32_t chunk_queries(const struct attend *t, const struct unit *u, uint32_t i,
                              const struct narrow *narrow, struct attn_query query[ATTN_QUERIES])
{
    const uint32_t start = (u->first + i) * BNP_ATTN_CHUNK;
    uint32_t n = 0;
    for (uint32_t r = 0; r < u->n_row; r++) {
        const uint32_t oldest = oldest_of(t, u->row + r), newest = pos_of(t, u->row + r);
        if (newest < start || oldest >= start + BNP_ATTN_CHUNK)
            continue;
        const uint32_t from = oldest > start ? oldest - start : 0;
        const uint32_t to = newest - start < BNP_ATTN_CHUNK ? newest - start + 1 : BNP_ATTN_CHUNK;
        for (uint32_t h = 0; h < u->n_head; h++) {
            const uint32_t k = r * u->n_head + h;
            query[n++] = (struct attn_query){
                .q = q_of(t, u, r, h), .q16 = narrow ? narrow->q[k] : NULL,
                .qstep = narrow ? narrow->step[k] : 1.0f, .part = part_of(t, u, r, h, i),
                .from = from, .to = to,
            };
        }
    }
    return n;
}

/* Which row and head a part belongs to; the first of those that are sick. */
static void note_bad(struct attend *t, const struct unit *u, const float *part)
{
    const uint64_t n = (uint64_t)(part - u->part) / ((uint64_t)u->n_chunk * t->stride);
    const uint64_t at = (u->row + n / u->n_head) * t->a.d->n_head + u->head + n % u->n_head;
    uint64_t seen = atomic_load_explicit(&t->bad, memory_order_relaxed);
    while (at < seen && !atomic_compare_exchange_weak(&t->bad, &seen, at))
        ;
}

static void chunk_run(struct attend *t, const struct unit *u, uint32_t i,
                      const struct narrow *narrow, const struct attn_chunk *c,
                      const struct attn_chunk *next)
{
    const bnp_attn_desc *d = t->a.d;
    struct attn_query query[ATTN_QUERIES];
    const uint32_t n = chunk_queries(t, u, i, narrow, query);
    const uint32_t good = t->kern->chunk(&(struct attn_call){
        .format = d->kv_format, .head_dim = d->head_dim, .scale = d->scale, .chunk = c,
        .next = next, .n_query = n, .query = query,
    });
    if (good < n)
        note_bad(t, u, query[good].part);
}

static void combine(const struct attend *t, const struct unit *u, uint32_t row, uint32_t head)
{
    const uint32_t r = u->row + row, dim = t->a.d->head_dim;
    const uint32_t first = oldest_of(t, r) / BNP_ATTN_CHUNK;
    t->kern->combine(part_of(t, u, row, head, first - u->first),
                     chunks_between(oldest_of(t, r), pos_of(t, r)), dim,
                     rows_at(t->out, r) + (size_t)(u->head + head) * dim);
}

/* ----------------------------------------------------------------- workers */

/* The first of a unit's chunks that begins at a cost of at or later. */
static uint32_t chunk_from(const struct unit *u, uint64_t at)
{
    const uint64_t each = chunk_cost(u), n = at > u->cost ? (at - u->cost + each - 1) / each : 0;
    return n < u->n_chunk ? (uint32_t)n : u->n_chunk;
}

/* For the part that had all of a unit, and nobody else writes done. */
static void unit_end(const struct attend *t, struct unit *u)
{
    for (uint32_t q = 0; q < u->n_row * u->n_head; q++)
        combine(t, u, q / u->n_head, q % u->n_head);
    u->done = true;
}

struct place {                  /* a chunk of a round                        */
    uint32_t unit, chunk;
};

/* The first chunk from `at` on that costs lo..hi-1 belong to; unit is n_unit
 * when there is none. */
static struct place place_from(const struct attend *t, uint64_t lo, uint64_t hi, struct place at)
{
    for (; at.unit < t->n_unit; at = (struct place){ at.unit + 1, 0 }) {
        const struct unit *u = &t->unit[at.unit];
        const uint32_t from = chunk_from(u, lo);
        at.chunk = at.chunk > from ? at.chunk : from;
        if (at.chunk < chunk_from(u, hi))
            break;
    }
    return at;
}

/* A part of a round's chunks, by cost. The chunk after the one at
 * hand is looked up early, so that it can be fetched. Room for narrow with int8,
 * else NULL. */
static void attend_some(struct attend *t, uint32_t part, uint32_t n_parts, struct narrow *narrow)
{
    const uint64_t lo = t->cost * part / n_parts, hi = t->cost * (part + 1) / n_parts;
    struct attn_chunk chunk[2];
    uint32_t narrowed = t->n_unit;          /* whose q is there              */
    struct place at = place_from(t, lo, hi, (struct place){ 0, 0 }), next;
    if (at.unit < t->n_unit)
        chunk_find(t, &t->unit[at.unit], at.chunk, &chunk[0]);
    for (uint32_t i = 0; at.unit < t->n_unit; i = !i, at = next) {
        struct unit *u = &t->unit[at.unit];
        next = place_from(t, lo, hi, (struct place){ at.unit, at.chunk + 1 });
        const bool more = next.unit < t->n_unit;
        if (more)
            chunk_find(t, &t->unit[next.unit], next.chunk, &chunk[!i]);
        if (narrow && narrowed != at.unit) {
            unit_narrow(t, u, narrow);
            narrowed = at.unit;
        }
        chunk_run(t, u, at.chunk, narrow, &chunk[i], more ? &chunk[!i] : NULL);
        if (at.chunk + 1 == u->n_chunk && chunk_from(u, lo) == 0)
            unit_end(t, u);
    }
}

static void attend_part_f16(void *arg, uint32_t part, uint32_t n_parts)
{
    attend_some(arg, part, n_parts, NULL);
}

static void attend_part_i8(void *arg, uint32_t part, uint32_t n_parts)
{
    struct narrow narrow;
    attend_some(arg, part, n_parts, &narrow);
}

/* Units of which several parts had some: their queries are dealt out. */
static void combine_part(void *arg, uint32_t part, uint32_t n_parts)
{
    const struct attend *t = arg;
    for (uint32_t k = 0; k < t->n_unit; k++) {
        const struct unit *u = &t->unit[k];
        const uint32_t n = u->n_row * u->n_head, end = cpu_share(n, part + 1, n_parts);
        for (uint32_t q = cpu_share(n, part, n_parts); !u->done && q < end; q++)
            combine(t, u, q / u->n_head, q % u->n_head);
    }
}

static bool worth_waking(const struct attend *t)
{
    uint64_t keys = 0;
    for (uint32_t r = 0; r < t->q->n_tok; r++)
        keys += pos_of(t, r) - oldest_of(t, r) + 1;
    return 2 * keys * t->q->cols >= PARALLEL_FROM;
}

static bool some_undone(const struct attend *t)
{
    for (uint32_t k = 0; k < t->n_unit; k++)
        if (!t->unit[k].done)
            return true;
    return false;
}

/* NaN and Inf in q show in the scores. */
int cpu_attn_attend(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                    const bnp_rows *out, bnp_span scratch)
{
    struct attend t = { .q = q, .out = out, .kern = cpu_float(s->dev)->attn,
                        .stride = attn_stride(d->head_dim) };
    int rc = kit_attn_desc_check(s->dev, d);
    if (rc || (rc = kit_attend_check(s, d, pool, page_bytes(d), q, out, &t.a)) ||
        (rc = kit_need_span(s, "attend: scratch", scratch, scratch_bytes(d))))
        return rc;
    const bool all = worth_waking(&t);
    atomic_init(&t.bad, UINT64_MAX);
    while (t.row < q->n_tok) {
        units_fill(&t, span_at(scratch), scratch_bytes(d) / sizeof(float));
        cpu_deal(s->dev, all, d->kv_format == BNP_KV_I8 ? attend_part_i8 : attend_part_f16, &t);
        const uint64_t bad = atomic_load(&t.bad);
        if (bad != UINT64_MAX)
            return kit_fail(s->dev, BNP_E_NUMERIC,
                            "attend: row %u head %u has a q or a score that is NaN or Inf",
                            (unsigned)(bad / d->n_head), (unsigned)(bad % d->n_head));
        if (some_undone(&t))
            cpu_deal(s->dev, all, combine_part, &t);
    }
    return BNP_OK;
}

const bnp_attn_ops cpu_attn_ops = {
    .struct_size = sizeof(bnp_attn_ops),
    .query = cpu_attn_query,
    .page_size = cpu_attn_page_size,
    .append = cpu_attn_append,
    .attend = cpu_attn_attend,
    .copy_page = cpu_attn_copy_page,
};
