/* work.h - the memory a step works in.
 *
 * A step's rows lie in areas. Every place that computes (the host's memory, or
 * a device's own) has all of them, each on 64 bytes with slack behind it, at
 * offsets that are the same everywhere; then its prepared activation and its
 * scratch. Planned once for the largest step: nothing is allocated while a step
 * runs. */
#ifndef BITNET_ENGINE_WORK_H
#define BITNET_ENGINE_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"
#include "core/model/model.h"

enum { WORK_TOP = 64 };           /* largest logits of an output, at most      */

enum area {
    AREA_X,                       /* [max_tok][n_embd] the residual stream     */
    AREA_H,                       /* [max_tok][n_embd] its norm                */
    AREA_IN,                      /* [max_tok][n_embd] that one's, for a       */
                                  /*   projection; [0] where none wants it     */
    AREA_Q, AREA_K, AREA_V,       /* Q: then what attention gives              */
    AREA_GATE, AREA_UP,           /* [max_tok][n_ff]                           */
    AREA_PICK,                    /* [max_out][n_embd] rows that want logits   */
    AREA_LOGITS,                  /* [max_out][n_vocab]                        */
    AREA_TOP_ID, AREA_TOP_LOGIT,  /* [max_out][WORK_TOP] at most               */
    AREA_TOP_EXACT,               /* [max_out]                                 */
    AREA_N
};

struct work {                     /* where areas lie within a place's memory   */
    bnp_rows area[AREA_N];        /* of the largest step, without a base       */
    uint64_t head_at;             /* the head's areas are from here on: places */
                                  /* without it, and not the host's, end here  */
    uint64_t size;
};

struct work_mem {                 /* one place's                               */
    bnp_span mem;                 /* base NULL: none yet                       */
    bnp_span act, scratch;        /* within it                                 */
};

/* Sizes and offsets. ERR_LIMIT when they overflow. */
int work_plan(struct work *, const struct hparams *, const struct bnp_limits *, struct err *);
/* What one place needs: m's sizes and offsets. */
int work_plan_mem(const struct work *, bool head, uint64_t act_size, uint64_t scratch_size,
                  struct work_mem *m, struct err *);

/* n rows of an area from `first` on. */
bnp_rows work_rows(const struct work *, const struct work_mem *, enum area, uint32_t first,
                   uint32_t n);
/* The first size bytes of an area. */
bnp_span work_span(const struct work *, const struct work_mem *, enum area, uint64_t size);

static inline bnp_span work_act(const struct work_mem *m)
{
    return (bnp_span){ m->mem.base, m->mem.offset + m->act.offset, m->act.size };
}

static inline bnp_span work_scratch(const struct work_mem *m)
{
    return (bnp_span){ m->mem.base, m->mem.offset + m->scratch.offset, m->scratch.size };
}

#endif
