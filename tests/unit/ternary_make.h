/* ternary_make.h - ternary tensors as other programs write them, for tests.
 *
 * Every weight is put by the formula of its place alone, one at a time, so that
 * nothing is shared with the decoders, which work in blocks. ternary_vector
 * holds what the original programs gave for known weights. */
#ifndef TESTS_UNIT_TERNARY_MAKE_H
#define TESTS_UNIT_TERNARY_MAKE_H

#include <stdint.h>

#include "core/base/buf.h"

enum ternary_make {
    MAKE_TL1, MAKE_TL2, MAKE_IQ1_BN, MAKE_IQ2_BN, MAKE_IQ2_BN_R4,
    MAKE_BARE_IQ1_BN, MAKE_BARE_IQ2_BN,      /* rows without scales            */
    MAKE_RS_INLINE32, MAKE_RS_QK256
};

struct ternary_tiles {
    uint32_t rows, cols, step;               /* BM, BY, bm                     */
};

/* Appends rows x cols weights; w is -1, 0, 1, and up to 2 or down to -2 where
 * the encoding has it. scale: one for every row in IQ*_BN, for every 32 weights
 * in RS_INLINE32, else one. tiles: of TL1 and TL2, else NULL. */
void ternary_make(enum ternary_make, uint32_t rows, uint32_t cols, const struct ternary_tiles *,
                  const int8_t *w, const float *scale, struct buf *out);

/* w(m, k) = (31 m + 17 k + m k / 3) mod 3 - 1, scale 0.5; rows from `row` on.
 * bytes: the first of them that the checksum is over. */
struct ternary_vector {
    const char *name;                        /* of bitnet convert --type       */
    uint32_t id;                             /* ggml type                      */
    uint32_t layout;                         /* enum i2s_layout                */
    uint32_t row, rows, cols;
    struct ternary_tiles tiles;
    uint32_t bytes, crc32;
    const char *first;                       /* sixteen bytes                  */
};

extern const struct ternary_vector ternary_vector[];
extern const unsigned n_ternary_vector;

int8_t ternary_weight(uint64_t m, uint64_t k);
/* model.tl_preset for its tiles; NULL: it has none. */
const char *ternary_preset(const struct ternary_vector *, char out[64]);

#endif
