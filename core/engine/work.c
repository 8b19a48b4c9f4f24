/* work.c - lays the areas out one behind the other. */
#include "core/engine/work.h"

/* An area of size bytes behind all others. w->size sticks at UINT64_MAX. */
static bnp_span take(struct work *w, uint64_t size)
{
    bnp_span s = { .offset = w->size, .size = size };
    uint64_t room = BNP_SLACK + BNP_ALIGN - 1, end;
    if (__builtin_add_overflow(size, room, &room) ||
        __builtin_add_overflow(w->size, room & ~(uint64_t)(BNP_ALIGN - 1), &end))
        end = UINT64_MAX;
    w->size = w->size == UINT64_MAX ? UINT64_MAX : end;
    return s;
}

static bnp_rows take_rows(struct work *w, uint32_t n, uint32_t cols)
{
    bnp_rows r = { .n_tok = n, .cols = cols };
    r.stride = ((uint64_t)cols * sizeof(float) + BNP_ALIGN - 1) & ~(uint64_t)(BNP_ALIGN - 1);
    uint64_t size = UINT64_MAX;
    if (__builtin_mul_overflow(r.stride, n, &size))
        size = UINT64_MAX;
    r.mem = take(w, size);
    return r;
}

int work_plan(struct work *w, const struct hparams *hp, const struct bnp_limits *l,
              uint64_t act_size, uint64_t scratch_size, struct err *err)
{
    *w = (struct work){ 0 };
    w->x = take_rows(w, l->max_tok, hp->n_embd);
    w->h = take_rows(w, l->max_tok, hp->n_embd);
    w->q = take_rows(w, l->max_tok, hp->n_head * hp->head_dim);
    w->k = take_rows(w, l->max_tok, hp->n_head_kv * hp->head_dim);
    w->v = take_rows(w, l->max_tok, hp->n_head_kv * hp->head_dim);
    w->gate = take_rows(w, l->max_tok, hp->n_ff);
    w->up = take_rows(w, l->max_tok, hp->n_ff);
    w->pick = take_rows(w, l->max_out, hp->n_embd);
    w->logits = take_rows(w, l->max_out, hp->n_vocab);
    w->top_id = take(w, (uint64_t)l->max_out * WORK_TOP * sizeof(int32_t));
    w->top_logit = take(w, (uint64_t)l->max_out * WORK_TOP * sizeof(float));
    w->top_exact = take(w, (uint64_t)l->max_out * sizeof(uint32_t));
    w->act = take(w, act_size);
    w->scratch = take(w, scratch_size);
    if (w->size == UINT64_MAX)
        return err_set(err, ERR_LIMIT, "work memory: a step of %u rows does not fit 64 bits: "
                       "lower engine.row_budget", l->max_tok);
    return 0;
}

int work_alloc(struct work *w, struct plug *plug, struct err *err)
{
    w->mem = plug_mem_alloc(plug, w->size, BNP_ALIGN);
    if (!w->mem)
        return err_set(err, ERR_NOMEM, "work memory: no memory for %llu bytes: lower "
                       "engine.row_budget", (unsigned long long)w->size);
    bnp_rows *rows[] = { &w->x, &w->h, &w->q, &w->k, &w->v, &w->gate, &w->up, &w->pick,
                         &w->logits };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        rows[i]->mem.base = w->mem;
    bnp_span *span[] = { &w->top_id, &w->top_logit, &w->top_exact, &w->act, &w->scratch };
    for (size_t i = 0; i < sizeof span / sizeof span[0]; i++)
        span[i]->base = w->mem;
    return 0;
}

void work_free(struct work *w, struct plug *plug)
{
    if (w->mem)
        plug_mem_free(plug, w->mem);
    *w = (struct work){ 0 };
}
