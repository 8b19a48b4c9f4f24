/* quant.h - loops over the blocks of a row, for the decoders quant_*.c. */
#ifndef BITNET_MODEL_QUANT_H
#define BITNET_MODEL_QUANT_H

#include <string.h>

#include "core/model/wtype.h"

enum { QUANT_MAX_BLOCK = 256 };      /* elements */

static inline void quant_int8_row(const struct wsrc *w, uint32_t row, void *dst,
                                  void (*block)(const uint8_t *, int8_t *))
{
    const uint8_t *p = wtype_row_at(w, row);
    int8_t *out = dst;
    for (uint32_t col = 0; col < w->cols; col += w->type->block, p += w->type->block_size)
        block(p, out + col);
}

static inline void quant_float_row(const struct wsrc *w, uint32_t row, void *dst,
                                   void (*block)(const uint8_t *, float *))
{
    const uint8_t *p = wtype_row_at(w, row);
    float out[QUANT_MAX_BLOCK];
    for (uint32_t col = 0; col < w->cols; col += w->type->block, p += w->type->block_size) {
        block(p, out);
        memcpy((char *)dst + col * sizeof *out, out, w->type->block * sizeof *out);
    }
}

/* ERR_DATA when a half of the pair at byte `at` of any block is not finite. */
int quant_check_halves(struct wsrc *w, unsigned at, struct err *e);

#endif
