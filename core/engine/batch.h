/* batch.h - the rows of one step, as the arrays that plugins read.
 *
 * Filled by the scheduler, sequence by sequence; the arrays never move. */
#ifndef BITNET_ENGINE_BATCH_H
#define BITNET_ENGINE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"

struct batch_copy {               /* page dst gets the first n_tok tokens' keys */
    uint32_t dst, src, n_tok;     /* and values of page src                    */
};

struct batch {
    struct bnp_step step;         /* points into the arrays below              */
    struct bnp_limits limits;
    int32_t *id, *pos, *seq_start, *kv_len, *page, *out_row;
    uint32_t *out_k;              /* [max_out] the output's k largest logits   */
                                  /* are enough; 0: all are wanted             */
    struct batch_copy *copy;      /* [n_copy] before all else, in every layer  */
    uint32_t n_copy;              /* at most one for each sequence             */
    bool hidden;                  /* the hidden state of every row is wanted   */
};

int batch_open(struct batch *, const struct bnp_limits *, struct err *);
void batch_close(struct batch *);

void batch_clear(struct batch *);
/* Appends n rows of one sequence, ids id[0..n) at positions pos.. on, whose
 * keys live in page[0..n_page). want_out: 0 none, 1 the last row's logits,
 * 2 every row's; all logits of each, until out_k says less. False when a limit
 * would be exceeded (nothing is added). */
bool batch_add(struct batch *, const int32_t *id, uint32_t n, uint32_t pos,
               const int32_t *page, uint32_t n_page, int want_out);

#endif
