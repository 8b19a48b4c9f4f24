/* engine_output.c - what requests want besides tokens: probabilities of the
 * prompt's tokens, and hidden states.
 *
 * All memory is taken at submit. Rows come in order, in whatever pieces; those
 * that a sequence reads a second time, having lost its pages, are counted once. */
#include <stdlib.h>

#include "core/engine/engine_parts.h"
#include "core/engine/grammar.h"
#include "core/engine/reply.h"

int engine_check_output(const struct request *r, struct err *e)
{
    if ((unsigned)r->kind > REQUEST_EMBED)
        return err_set(e, ERR_ARG, "request: kind %d, expected %d or %d", (int)r->kind,
                       REQUEST_GENERATE, REQUEST_EMBED);
    if (r->n_draft > REQUEST_MAX_DRAFT && r->n_draft != REQUEST_DRAFT_CONF)
        return err_set(e, ERR_ARG, "draft: %u, expected at most %d", r->n_draft,
                       REQUEST_MAX_DRAFT);
    if (r->n_top_logprob > REQUEST_MAX_TOP)
        return err_set(e, ERR_ARG, "top_logprobs: %u, expected at most %d", r->n_top_logprob,
                       REQUEST_MAX_TOP);
    return 0;
}

/* Of all requests in the process: a request may outlive its engine. */
static _Atomic uint64_t output_size;

static uint64_t size_of(const struct seq *s, const struct request *r, uint32_t n_embd)
{
    const uint64_t n_told = (r->want_logprob ? s->n_max - s->n_prompt : 0) +
                            (s->want_prompt ? s->n_prompt : 0);
    return s->embed ? n_embd * (sizeof *r->embedding + (r->embed_mean ? sizeof *s->sum : 0))
                    : n_told * sizeof *r->logprob;
}

void engine_close_output(struct request *r)
{
    free(r->logprob);
    free(r->prompt_logprob_out);
    free(r->embedding);
    r->logprob = r->prompt_logprob_out = NULL;
    r->embedding = NULL;
    atomic_fetch_sub(&output_size, r->output_size);
    r->output_size = 0;
}

static int open_grammar(const struct engine *g, struct seq *s, const struct request *r,
                        struct err *e)
{
    const int rc = grammar_state_open(&s->grammar, r->grammar, e);
    if (!rc)
        grammar_state_reset(s->grammar, !reply_follows_text(r, g->forward->model->vocab));
    return rc;
}

/* False: no memory. */
static bool open_arrays(struct seq *s, struct request *r, uint32_t n_embd)
{
    bool ok = true;
    if (r->want_logprob && !s->embed)
        ok = (r->logprob = calloc(s->n_max - s->n_prompt, sizeof *r->logprob));
    if (ok && s->want_prompt)
        ok = (r->prompt_logprob_out = calloc(s->n_prompt, sizeof *r->prompt_logprob_out));
    if (ok && s->want_prompt)
        r->prompt_logprob_out[0].id = s->id[0];
    if (ok && s->embed)
        ok = (r->embedding = calloc(n_embd, sizeof *r->embedding));
    if (ok && s->embed && r->embed_mean)
        ok = (s->sum = calloc(n_embd, sizeof *s->sum));
    return ok;
}

int engine_open_output(const struct engine *g, struct request *r, struct err *e)
{
    struct seq *s = r->seq;
    const uint32_t n_embd = g->forward->model->hp.n_embd;
    int rc = 0;
    engine_close_output(r);                 /* of an attempt that was refused */
    s->embed = r->kind == REQUEST_EMBED;
    s->want_prompt = r->prompt_logprob && !s->embed;
    r->output_size = size_of(s, r, n_embd);
    if (atomic_fetch_add(&output_size, r->output_size) + r->output_size > ENGINE_OUTPUT_SIZE)
        rc = err_set(e, ERR_LIMIT, "logprobs: those of all requests would take more than %u MiB: "
                     "try again later, or with a shorter prompt or fewer tokens",
                     (unsigned)(ENGINE_OUTPUT_SIZE >> 20));
    else if (!open_arrays(s, r, n_embd))
        rc = err_set(e, ERR_NOMEM, "request: no memory for what it wants besides tokens");
    else if (r->grammar && !s->embed)
        rc = open_grammar(g, s, r, e);
    if (rc)
        engine_close_output(r);
    return rc;
}

static int take_logprobs(struct engine *g, struct seq *s, struct err *e)
{
    struct request *r = s->req;
    for (uint32_t i = 0; i < s->n_row; i++) {
        const uint32_t next = s->n_done + i + 1;
        if (next < s->n_told || next >= s->n_prompt)
            continue;
        if (!logprob_of(forward_out(g->forward, s->out + i).logits, g->n_vocab, s->id[next],
                        r->n_top_logprob, &r->prompt_logprob_out[next]))
            return err_set(e, ERR_NUMERIC, "logits: at position %u one is NaN, or none is finite; "
                           "expected numbers", next - 1);
        s->n_told = next + 1;
    }
    return 0;
}

/* The mean is a sum in double in the order of tokens, divided and rounded once. */
static void take_hidden(struct engine *g, struct seq *s)
{
    const uint32_t n = g->forward->model->hp.n_embd;
    for (uint32_t i = 0; s->sum && i < s->n_row; i++) {
        if (s->n_done + i < s->n_sum)
            continue;
        const float *h = forward_hidden(g->forward, s->row + i);
        for (uint32_t d = 0; d < n; d++)
            s->sum[d] += (double)h[d];
        s->n_sum++;
    }
    if (!seq_ends(s))
        return;
    const float *last = forward_hidden(g->forward, s->row + s->n_row - 1);
    for (uint32_t d = 0; d < n; d++)
        s->req->embedding[d] = s->sum ? (float)(s->sum[d] / (double)s->n_sum) : last[d];
}

int engine_take_rows(struct engine *g, struct seq *s, struct err *e)
{
    if (s->embed)
        take_hidden(g, s);
    return seq_tells(s, s->n_row) ? take_logprobs(g, s, e) : 0;
}
