/* probe.h - one op of one device on inputs that we chose, results as bytes.
 *
 * Three users: the known-answer test (small shapes, fixed seeds), parity
 * against scalar-ref (the model's own shapes), and the stopwatch of the
 * route. Each call opens a stream of its own. [setup] */
#ifndef BITNET_PLUG_PROBE_H
#define BITNET_PLUG_PROBE_H

#include <stdbool.h>
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
    uint32_t n_part;              /* out: what the result is made of, in order */
    struct probe_part part[PROBE_MAX_PART];
};

/* y rows of a synthetic weight of that description (codes and scales from the
 * seed), n_tok x rows f32 appended to out, then the same added (BNP_ADD) to
 * rows of noise; with BNP_W_GATHER also gathered rows, with BNP_W_TOPK also
 * the ids and logits of the top 8. src NULL: synthetic; else its rows. */
int probe_linear(struct dev *, const struct bnp_weight_desc *, const struct bnp_weight_src *src,
                 struct probe *, struct buf *out, struct err *);
/* Two sequences, appended in uneven chunks of n_tok rows up to kv_len tokens,
 * attended each time, a page copied half-way. */
int probe_attn(struct dev *, const struct bnp_attn_desc *, uint32_t kv_len, struct probe *,
               struct buf *out, struct err *);
/* Every op in desc->ops, in variants. */
int probe_point(struct dev *, const struct bnp_point_desc *, struct probe *, struct buf *out,
                struct err *);

/* Host memory for copies of weights. Calls take turns on the copies, those of
 * all benches that share it, so that each reads from memory; where too little
 * was read since a copy had its turn, the end of the memory is read instead. */
struct probe_cold {
    bnp_span mem;                 /* size 0: none                              */
    uint64_t part;                /* bytes of it for each bench                */
    uint64_t end;                 /* bytes at its end that are only read       */
    uint64_t enough;              /* bytes that push all else out of caches    */
    uint64_t used, n_read;        /* bytes given to benches; read so far       */
};

/* One op of a device, made ready to be called again and again: a lane of the
 * stopwatch. Functions fill `e` where they fail. */
struct probe_bench {
    int (*set)(void *ctx, uint32_t n_tok);
    int (*ready)(void *ctx);      /* NULL: nothing to do before a call         */
    int (*once)(void *ctx);
    void (*close)(void *ctx);
    void *ctx;
    struct err e;
    uint32_t n_copy;              /* weights that take turns, 1 at least       */
    bool cold;                    /* they come from memory                     */
    uint64_t weight_size;         /* bytes of one, prepared                    */
};

/* A call is act_prepare and mul (topk, for one row of a weight that is for it),
 * or gather where the weight is for that only. n_tok: rows at most. */
int probe_bench_linear(struct probe_bench *, struct dev *, const struct bnp_weight_desc *,
                       uint32_t n_tok, struct probe_cold *);
/* A call attends the last n_tok rows of two sequences of kv_len tokens. */
int probe_bench_attn(struct probe_bench *, struct dev *, const struct bnp_attn_desc *,
                     uint32_t kv_len);
/* A call is every op, in variants. */
int probe_bench_point(struct probe_bench *, struct dev *, const struct bnp_point_desc *);
void probe_bench_close(struct probe_bench *);     /* also after a failure       */

/* Microseconds of a step without work, and of such a step with one copy of few
 * and of many bytes, into and out of a device that has memory of its own. */
#define PROBE_COPY_SMALL (4u << 10)
#define PROBE_COPY_LARGE (4u << 20)
struct probe_copies {
    double wait_us, in_us[2], out_us[2];
};
int probe_copies(struct dev *, struct probe_copies *out, struct err *);

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
 * scalar-ref, whose answers are kept, so that it is asked once. */
struct known_answers;
struct known_answers *known_open(void);         /* NULL: no memory              */
void known_close(struct known_answers *);       /* NULL is fine                 */
int probe_known_answers(struct dev *, struct dev *ref, struct known_answers *, struct err *);
/* The weakest class that each family offers for those cases; 0: none. */
void probe_offers(struct dev *, uint32_t det[3]);

#endif
