/* seq.h - one sequence: its tokens, and how far its keys have got.
 *
 * ids [0, n_done) have their keys and values in the pages; ids [n_done, n_id)
 * wait for a step. One waiting: it decodes. More: it prefills. n_done falls to
 * 0 when its pages go to others: then it reads its ids, prompt and answer, again
 * as a prompt. Memory is taken at open, by the submitter's thread; afterwards
 * the engine's. */
#ifndef BITNET_ENGINE_SEQ_H
#define BITNET_ENGINE_SEQ_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/engine/kv.h"
#include "core/engine/lookup.h"

struct grammar_state;

struct seq {
    struct seq *next;             /* in a list of the scheduler                */
    struct request *req;          /* whom it serves; NULL: nobody              */
    int32_t *id;                  /* [n_max] the prompt, then what was drawn   */
    uint32_t n_id, n_prompt;
    uint32_t n_max;               /* tokens in all, at most                    */
    uint32_t n_done;
    int priority;                 /* enum priority: the higher, the sooner     */
    uint64_t order;               /* when it came; of the scheduler, as is ... */
    uint32_t n_passed;            /* ... how many later ones were served first */
    bool no_cache;                /* neither reads nor fills the prefix cache  */
    uint32_t n_seen;              /* tokens that had their keys once, at most  */
    uint32_t n_cached;            /* of those, found in the prefix cache       */
    bool follows;                 /* in this step, another computes its page   */
    struct grammar_state *grammar;   /* or NULL: free text. seq_close closes   */
    bool all_logits;              /* the largest were not enough for it        */
    uint32_t n_more;              /* how often they were not, less how often   */
                                  /*   that was feared in vain                 */
    uint32_t n_part;              /* of n_done, tokens that the next step copies */
    int32_t part;                 /*   from this page of the prefix cache, held */
    bool embed;                   /* wants hidden states, and draws no token   */
    bool want_prompt;             /* wants logits of the prompt's rows         */
    uint32_t n_told;              /* tokens of the prompt that need none: the  */
                                  /*   first, and those that had theirs        */
    double *sum;                  /* [n_embd] of hidden states so far, of      */
    uint32_t n_sum;               /*   n_sum tokens; or NULL. seq_close frees  */
    uint32_t max_draft;           /* guesses at once, at most                  */
    struct lookup lookup;         /* how much it bets on its guesses           */
    uint32_t n_guess;             /* ids behind n_id which may follow          */
    /* the step: */
    uint32_t max_row;             /* when its rows want logits                 */
    uint32_t n_row;               /* rows; 0: not in it                        */
    uint32_t n_draft;             /* of those, the last ones are guesses       */
    uint32_t row, out;            /* its first row, its first output           */
    struct kv_seq kv;
    uint64_t submit_us, admit_us, first_us;   /* monotonic clock; 0: not yet   */
    uint64_t last_us;             /* its newest token                          */
};

/* Room for n_max tokens, n_max > n_prompt >= 1. Copies the prompt. Guesses have
 * room behind n_id up to n_max. */
int seq_open(struct seq **out, const struct kv *, const int32_t *prompt, uint32_t n_prompt,
             uint32_t n_max, struct err *);
void seq_close(struct seq *, struct kv *);   /* it holds no page of the prefix cache */
uint64_t seq_size(uint32_t n_max, uint32_t page_tok);   /* bytes that seq_open takes */

/* Tokens whose keys are needed: the last one is never run through the model. */
static inline uint32_t seq_kv_tok(const struct seq *s)
{
    return s->n_max - 1;
}

static inline uint32_t seq_pending(const struct seq *s)
{
    return s->n_id - s->n_done;
}

/* This step computes the last of its ids. */
static inline bool seq_ends(const struct seq *s)
{
    return s->n_row && s->n_row - s->n_draft == seq_pending(s);
}

/* This step computes the logits that its next token is drawn from. */
static inline bool seq_draws(const struct seq *s)
{
    return !s->embed && seq_ends(s);
}

/* Rows n of it from n_done on tell of tokens of the prompt. */
static inline bool seq_tells(const struct seq *s, uint32_t n)
{
    return s->want_prompt && s->n_done + 1 < s->n_prompt && s->n_done + n >= s->n_told;
}

/* Outputs in this step: of its last rows. All rows, or one, or none. */
static inline uint32_t seq_n_out(const struct seq *s)
{
    return seq_tells(s, s->n_row) ? s->n_row : seq_draws(s) ? 1 + s->n_draft : 0;
}

#endif
