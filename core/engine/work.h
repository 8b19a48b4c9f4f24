/* work.h - the memory a step works in.
 *
 * One block, planned once for the largest step; every row set, the prepared
 * activation and the scratch lie at fixed addresses in it, each on 64 bytes
 * with slack behind it. Nothing is allocated while a step runs. */
#ifndef BITNET_ENGINE_WORK_H
#define BITNET_ENGINE_WORK_H

#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"
#include "core/model/model.h"
#include "core/plug/plug.h"

enum { WORK_TOP = 64 };           /* largest logits of an output, at most      */

struct work {
    bnp_rows x;                   /* [max_tok][n_embd] the residual stream     */
    bnp_rows h;                   /* [max_tok][n_embd] its norm                */
    bnp_rows q, k, v;             /* q: then what attention gives              */
    bnp_rows gate, up;            /* [max_tok][n_ff]                           */
    bnp_rows pick;                /* [max_out][n_embd] rows that want logits   */
    bnp_rows logits;              /* [max_out][n_vocab]                        */
    bnp_span top_id, top_logit;   /* [max_out][WORK_TOP]                       */
    bnp_span top_exact;           /* [max_out]                                 */
    bnp_span act, scratch;
    uint64_t size;                /* bytes of all this                         */
    void *mem;
};

/* Sizes and offsets. ERR_LIMIT when they overflow. */
int work_plan(struct work *, const struct hparams *, const struct bnp_limits *, uint64_t act_size,
              uint64_t scratch_size, struct err *);
int work_alloc(struct work *, struct plug *, struct err *);
void work_free(struct work *, struct plug *);

/* The first n rows of r. */
static inline bnp_rows work_rows(bnp_rows r, uint32_t n)
{
    r.n_tok = n;
    return r;
}

#endif
