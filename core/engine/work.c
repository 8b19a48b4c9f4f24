/* work.c - lays the areas out one behind the other. */
#include "core/engine/work.h"

/* A span of size bytes behind *end, which sticks at UINT64_MAX. */
static bnp_span take(uint64_t *end, uint64_t size)
{
    const bnp_span s = { .offset = *end, .size = size };
    uint64_t room = BNP_SLACK + BNP_ALIGN - 1, next;
    if (__builtin_add_overflow(size, room, &room) ||
        __builtin_add_overflow(*end, room & ~(uint64_t)(BNP_ALIGN - 1), &next))
        next = UINT64_MAX;
    *end = *end == UINT64_MAX ? UINT64_MAX : next;
    return s;
}

static void take_rows(struct work *w, enum area area, uint32_t n, uint32_t cols)
{
    bnp_rows r = { .n_tok = n, .cols = cols };
    r.stride = ((uint64_t)cols * sizeof(float) + BNP_ALIGN - 1) & ~(uint64_t)(BNP_ALIGN - 1);
    uint64_t size = UINT64_MAX;
    if (__builtin_mul_overflow(r.stride, n, &size))
        size = UINT64_MAX;
    r.mem = take(&w->size, size);
    w->area[area] = r;
}

static int too_large(uint32_t max_tok, struct err *err)
{
    return err_set(err, ERR_LIMIT, "work memory: a step of %u rows does not fit 64 bits: lower "
                   "engine.row_budget", max_tok);
}

int work_plan(struct work *w, const struct hparams *hp, const struct bnp_limits *l,
              struct err *err)
{
    *w = (struct work){ 0 };
    take_rows(w, AREA_X, l->max_tok, hp->n_embd);
    take_rows(w, AREA_H, l->max_tok, hp->n_embd);
    take_rows(w, AREA_IN, l->max_tok, hp->proj_norm ? hp->n_embd : 0);
    take_rows(w, AREA_Q, l->max_tok, hp->n_head * hp->head_dim);
    take_rows(w, AREA_K, l->max_tok, hp->n_head_kv * hp->head_dim);
    take_rows(w, AREA_V, l->max_tok, hp->n_head_kv * hp->head_dim);
    take_rows(w, AREA_GATE, l->max_tok, hp->n_ff);
    take_rows(w, AREA_UP, l->max_tok, hp->n_ff);
    take_rows(w, AREA_PICK, l->max_out, hp->n_embd);
    w->head_at = w->size;
    take_rows(w, AREA_LOGITS, l->max_out, hp->n_vocab);
    take_rows(w, AREA_TOP_ID, l->max_out, WORK_TOP);
    take_rows(w, AREA_TOP_LOGIT, l->max_out, WORK_TOP);
    take_rows(w, AREA_TOP_EXACT, 1, l->max_out);
    return w->size == UINT64_MAX ? too_large(l->max_tok, err) : 0;
}

int work_plan_mem(const struct work *w, bool head, uint64_t act_size, uint64_t scratch_size,
                  struct work_mem *m, struct err *err)
{
    *m = (struct work_mem){ .mem.size = head ? w->size : w->head_at };
    m->act = take(&m->mem.size, act_size);
    m->scratch = take(&m->mem.size, scratch_size);
    return m->mem.size == UINT64_MAX ? too_large(w->area[AREA_X].n_tok, err) : 0;
}

bnp_rows work_rows(const struct work *w, const struct work_mem *m, enum area area, uint32_t first,
                   uint32_t n)
{
    bnp_rows r = w->area[area];
    r.mem.base = m->mem.base;
    r.mem.offset += m->mem.offset + first * r.stride;
    r.mem.size -= first * r.stride;
    r.n_tok = n;
    return r;
}

bnp_span work_span(const struct work *w, const struct work_mem *m, enum area area, uint64_t size)
{
    const bnp_span s = w->area[area].mem;
    return (bnp_span){ m->mem.base, m->mem.offset + s.offset, size };
}
