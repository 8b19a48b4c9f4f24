/* tern_pack.h - the ternary kernels of this folder, and the packing "2-bit", which
 * two of them read. No instruction set is needed to include this. */
#ifndef CPU_AVX2_TERN_PACK_H
#define CPU_AVX2_TERN_PACK_H

#include "plugins/kit/kern.h"

/* What a plugin's table of variants is made of. */
extern const struct tern tern_2bit;         /* AVX2                          */
extern const struct tern tern_base3;        /* AVX2                          */
extern const struct tern tern_tl2;          /* AVX2                          */
extern const struct tern tern_vnni;         /* AVX-VNNI                      */

#define TERN_STEP 4u            /* columns of a step                         */

static inline uint32_t tern_steps(uint32_t cols)
{
    return (cols - 1) / TERN_STEP + 1;
}

/* As struct tern wants them. */
#define TERN_2BIT_LAYOUT UINT64_C(0x726f7766342d3332)   /* "rowf4-32" */
uint64_t tern_2bit_size(uint32_t cols);
void tern_2bit_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
void tern_2bit_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);

#endif
