/* check.h - is this call as bitnet_plugin.h says? For plugins on host memory.
 *
 * What every plugin must refuse, and in which words, is the same for all; so it
 * stands here once, and a plugin is left with its arithmetic. Each function
 * gives BNP_OK, BNP_E_UNSUPPORTED, or a status after its report. */
#ifndef BITNET_KIT_CHECK_H
#define BITNET_KIT_CHECK_H

#include "plugins/kit/stream.h"

/* BNP_E_NUMERIC with row and column of the first NaN or Inf. */
int kit_need_finite(bnp_stream *, const char *what, const bnp_rows *);

/* ---------------------------------------------------------------- weights */

struct kit_weight {             /* a description, for as long as the weight  */
    bnp_device *dev;
    uint32_t format, scale_kind, role, flags, rows, cols, max_tok;
    uint32_t block_cols;        /* columns per scale: cols unless BLOCK      */
    uint32_t n_block;           /* scales in a row: 1 unless BLOCK           */
};

int kit_desc_check(bnp_device *, const bnp_weight_desc *);
void kit_weight_fill(struct kit_weight *, bnp_device *, const bnp_weight_desc *);
const char *kit_weight_name(const bnp_weight_desc *);
/* Bytes of a canonical row, unpadded; scales in all. */
uint32_t kit_row_bytes(const bnp_weight_desc *);
uint64_t kit_n_scales(const bnp_weight_desc *);
/* Whether a canonical row holds what it may; without a report, for workers. */
bool kit_row_ok(const bnp_weight_desc *, const void *row);
/* The canonical row r, and n scales from index first on. */
int kit_row_check(bnp_device *, const bnp_weight_desc *, const void *row, uint32_t r);
int kit_scales_check(bnp_device *, const bnp_weight_desc *, const float *scale, uint64_t first,
                     uint64_t n);

/* ------------------------------------------------------------ activations
 *
 * A prepared activation is this head, then n_tok rows, stride bytes apart. */
struct kit_act {                /* 64 bytes                                  */
    uint32_t magic, kind, n_tok, cols;
    uint64_t stride;
    uint8_t rest[40];
};

/* The bytes for n_tok rows; false when there is no such number. */
bool kit_act_fits(uint64_t stride, uint32_t n_tok, uint64_t *size);
/* Step, rows and span; the head is written. */
int kit_act_begin(bnp_stream *, uint32_t kind, uint64_t stride, const bnp_rows *x, bnp_span act);
/* The span as n_tok rows of that kind; NULL after a report. */
const struct kit_act *kit_act_of(bnp_stream *, bnp_span act, uint32_t kind, uint32_t cols,
                                 uint32_t n_tok);
static inline char *kit_act_row(const struct kit_act *a, uint32_t t)
{
    return (char *)(uintptr_t)(a + 1) + t * a->stride;
}

/* ------------------------------------------------------------ linear calls */

int kit_item_check(bnp_stream *, const struct kit_weight *, const bnp_linear_item *);
int kit_gather_check(bnp_stream *, const struct kit_weight *, const bnp_rows *y);
int kit_topk_check(bnp_stream *, const struct kit_weight *, const bnp_topk *);

#endif
