/* probe.h - one op of one device on inputs that we chose, results as bytes.
 *
 * Three users: the known-answer test (small shapes, fixed seeds), parity
 * against scalar-ref (the model's own shapes), and the stopwatch of the
 * route. Each call opens a stream of its own. [setup] */
#ifndef BITNET_PLUG_PROBE_H
#define BITNET_PLUG_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/plug/plug.h"

enum probe_fill {                 /* what the input rows hold                  */
    PROBE_RANDOM, PROBE_ZERO, PROBE_MAX, PROBE_MIN, PROBE_SPIKE, PROBE_DENORMAL,
    PROBE_ALTERNATE, PROBE_MIXED, PROBE_N_FILL
};

#define PROBE_MAX_PART 16
#define PROBE_TOPK     8

struct probe_part {               /* one op's share of the result              */
    const char *op;
    uint32_t n_row, cols;         /* 4-byte elements                           */
};

struct probe {
    uint64_t seed;
    enum probe_fill fill;
    uint32_t n_tok;               /* rows                                      */
    uint32_t reps;                /* timed repetitions after the first, fewer  */
                                  /* when they take over 25 ms; 0: none        */
    double us;                    /* out: median microseconds of one call      */
    uint32_t n_part;              /* out: what the result is made of, in order */
    struct probe_part part[PROBE_MAX_PART];
};

/* y rows of a synthetic weight of that description (codes and scales from the
 * seed), n_tok x rows f32 appended to out, then the same added (BNP_ADD) to
 * rows of noise; with BNP_W_GATHER also gathered rows, with BNP_W_TOPK also
 * the ids and logits of the top 8. src NULL: synthetic; else its rows. A call
 * is act_prepare and mul, or gather where the weight is for that only. */
int probe_linear(struct dev *, const struct bnp_weight_desc *, const struct bnp_weight_src *src,
                 struct probe *, struct buf *out, struct err *);
/* Two sequences, appended in uneven chunks of n_tok rows up to kv_len tokens,
 * attended each time, a page copied half-way. With reps only the last chunk is
 * attended; a call is that. */
int probe_attn(struct dev *, const struct bnp_attn_desc *, uint32_t kv_len, struct probe *,
               struct buf *out, struct err *);
/* Every op in desc->ops, in variants; a call is all of them. */
int probe_point(struct dev *, const struct bnp_point_desc *, struct probe *, struct buf *out,
                struct err *);

/* Where two results differ first, in f32 elements; -1: nowhere. For an offer
 * below EXACT the bound decides instead. */
int64_t probe_diff(const struct buf *want, const struct buf *got, const struct bnp_offer *,
                   uint32_t row_len);
/* The same, part by part, as an error that names op, row and column. 0 when
 * they agree. */
int probe_agree(const struct probe *, const struct buf *want, const struct buf *got,
                const struct bnp_offer *, struct err *);
const char *probe_fill_name(enum probe_fill);

/* Known-answer test of one device: fixed cases through every offered family.
 * scalar-ref (ref NULL) is held against digests in the source; others against
 * scalar-ref. */
int probe_known_answers(struct dev *, struct dev *ref, struct err *);
/* The weakest class that each family offers for those cases; 0: none. */
void probe_offers(struct dev *, uint32_t det[3]);

#endif
