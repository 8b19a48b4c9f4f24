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

/* n steps of 8 * n_field rows: 32 bytes each, one behind the other. n_field is 4
 * (radix 4) or 5 (radix 3); row 8 * f + l is digit f of bytes 4*l .. 4*l + 3. */
void tern_pack_steps(const uint8_t *rows, size_t row_size, uint32_t n, uint8_t *to,
                     uint32_t n_field);

/* As struct tern wants them. */
#define TERN_2BIT_LAYOUT UINT64_C(0x726f7766342d3332)   /* "rowf4-32" */
uint64_t tern_2bit_size(uint32_t cols);
void tern_2bit_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
void tern_2bit_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);

#endif
