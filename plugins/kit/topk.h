/* topk.h - the k largest logits of a head, without computing every logit.
 *
 * Beside the rows w of a head stands a screen: int8 rows q with one factor s
 * each, and two numbers that say how far s*q is from w:
 *
 *   norm >= |w|, |s q|        err >= |w - s q|            (Euclidean norms)
 *
 * A row of activations x becomes int16: x^ = f * xq, with delta >= |x - x^|. An
 * integer dot product then bounds the exact logit y = w.x from both sides
 * (Cauchy-Schwarz, triangle inequality, and the rounding of y's own chain of
 * fma, gamma = cols u / (1 - cols u), u = 2^-24):
 *
 *   |y - s f (q.xq)|  <=  err |x| + norm (delta + gamma |x|) + underflow
 *
 * Everything is kept in units of f: mid = s (q.xq), bound = err a + norm c,
 * computed in f32 with a and c made large enough for its roundings.
 * Rows whose mid + bound reaches the k-th largest mid - bound are computed
 * exactly, all others cannot be among the k largest. */
#ifndef BITNET_KIT_TOPK_H
#define BITNET_KIT_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bitnet_plugin.h"

#define SCREEN_ROWS 64u         /* weight rows in a panel                    */
#define SCREEN_COLS 65536u      /* columns, at most: beyond, x^ is too coarse */
#define TOPK_MAX    64u         /* larger k: every logit is computed         */

/* A panel: for each pair of columns, two int8 of each of its rows. */
static inline uint32_t screen_pairs(uint32_t cols)
{
    return cols / 2 + cols % 2;
}

static inline size_t screen_panel_size(uint32_t cols)
{
    return (size_t)screen_pairs(cols) * SCREEN_ROWS * 2;
}

/* xq is at most this, so that no sum of |q| xq leaves 31 bits. */
static inline int32_t screen_x_max(uint32_t cols)
{
    const uint32_t fits = UINT32_C(0x7fffffff) / (127u * cols);
    return fits < 32767 ? (int32_t)fits : 32767;
}

struct screen_row {             /* what is known of a row beside its q       */
    float scale, err, norm;     /* norm is Inf when it cannot be screened    */
};

struct screen_call {            /* one panel times some tokens               */
    const int8_t *panel;
    uint32_t n_pair, n_tok;
    const int16_t *x;           /* [n_tok] rows of 2 * n_pair, x_stride apart */
    size_t x_stride;            /* int16                                     */
    int32_t *acc;               /* out [n_tok][SCREEN_ROWS]                  */
};

struct screen_range {           /* SCREEN_ROWS rows and one token            */
    const int32_t *acc;
    const float *scale, *err, *norm;
    float a, c;
    float *mid, *bound;         /* out [SCREEN_ROWS]                         */
};

struct screen_kern {
    /* w holds cols floats and zeros up to a multiple of 16; q too, then. */
    struct screen_row (*quantize)(const float *w, uint32_t cols, int8_t *q);
    void (*dot)(const struct screen_call *);
    /* Gives the largest mid + bound. */
    float (*range)(const struct screen_range *);
};

/* At the start of a screen in a weight's storage; then scale, err and norm, a
 * float each for every row of every panel, then the panels. Rows behind the
 * last are zeros. */
struct cpu_screen {
    uint32_t rows, cols, n_panel;
    uint32_t usable;            /* 0: some row cannot be screened            */
    float norm_max;
    uint32_t reserved[11];
};

static inline const float *screen_floats(const struct cpu_screen *s, unsigned which)
{
    return (const float *)(const void *)(s + 1) + (size_t)which * s->n_panel * SCREEN_ROWS;
}

static inline const int8_t *screen_panel(const struct cpu_screen *s, uint32_t panel)
{
    return (const int8_t *)(const void *)screen_floats(s, 3) +
           panel * screen_panel_size(s->cols);
}

/* cpu_screen.c: making it while a weight is prepared, panel by panel, each by
 * one worker. tmp is screen_tmp_size bytes on 64 of the worker's own. */
bool screen_wanted(const bnp_device *, const bnp_weight_desc *);
uint64_t screen_size(const bnp_weight_desc *);          /* 0: none wanted    */
uint64_t screen_tmp_size(const bnp_weight_desc *);
void screen_begin(struct cpu_screen *, const bnp_weight_desc *);
/* n canonical rows of panel, row_size bytes apart. */
void screen_fill(bnp_device *, const bnp_weight_desc *, struct cpu_screen *, uint32_t panel,
                 const uint8_t *rows, uint32_t n, uint64_t row_size, uint8_t *tmp);
void screen_end(struct cpu_screen *);
/* Whether a screen that was kept may be that of these canonical rows: its
 * numbers, and some of its panels made once more. tmp: screen_check_size bytes. */
uint64_t screen_check_size(const bnp_weight_desc *);
bool screen_right(bnp_device *, const bnp_weight_desc *, const struct cpu_screen *,
                  const uint8_t *rows, uint64_t row_size, uint8_t *tmp);

/* cpu_topk.c: bytes of scratch for all workers. */
uint64_t cpu_topk_scratch(bnp_device *, const bnp_weight_desc *);

/* Whether (v, id) goes before (b, b_id). A NaN goes before every number, so
 * that the first one tells of it. */
static inline bool topk_before(float v, int32_t id, float b, int32_t b_id)
{
    return v > b || (v == b && id < b_id) || v != v;
}

/* Puts (v, id) into the *n best so far, at most k; rows come in any order. */
static inline void topk_insert(float v, int32_t id, uint32_t k, uint32_t *n, int32_t *ids,
                               float *best)
{
    uint32_t at = *n;
    if (at == k) {
        if (!topk_before(v, id, best[k - 1], ids[k - 1]))
            return;
        at--;
    } else {
        ++*n;
    }
    for (; at && topk_before(v, id, best[at - 1], ids[at - 1]); at--) {
        best[at] = best[at - 1];
        ids[at] = ids[at - 1];
    }
    best[at] = v;
    ids[at] = id;
}

/* After the last row: what the contract wants when a logit was NaN. */
static inline void topk_end(uint32_t k, int32_t *ids, float *best)
{
    for (uint32_t i = 0; i < k && best[0] != best[0]; i++) {
        ids[i] = (int32_t)i;
        best[i] = best[0];
    }
}

#endif
