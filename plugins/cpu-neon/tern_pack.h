/* tern_pack.h - where the weights of a panel lie.
 *
 * A run is sixteen columns of a panel's rows. Every packing is run after run,
 * and inside a run the vectors of 16 bytes in the order in which they are
 * used. Digits of one byte are codes of different rows at the same column
 * ("fields"), so that one vector meets the same activations for all of them.
 *
 *   "2-bit"  32 rows, 128 bytes a run: [group of 16 rows][quad of 4 columns]
 *       byte 4*l + j = sum over f of 4^f * code(row 4*f + l, column j), less 64
 *       modulo 256: as int8 its top field is the weight itself, code - 1, and
 *       what an arithmetic shift leaves has it on top as well.
 *
 *   "2-bit" for i8mm  32 rows, 128 bytes: [group of 16][8 columns][8 rows]
 *       byte 8*l + j = sum over f of 4^f * code(row 2*f + l, column j), unsigned
 *
 *   "base-3"  80 rows, 256 bytes: [quad of 4 columns][20 rows]
 *       byte 4*l + j = sum over f of 3^f * code(row 4*f + l, column j), less 128
 *       modulo 256
 *
 *   "tl1"  64 rows, 256 bytes: [half of 32 rows][quad of 4 columns][16 rows]
 *       byte l = the canonical byte of row l: two indices of two weights each */
#ifndef CPU_NEON_TERN_PACK_H
#define CPU_NEON_TERN_PACK_H

#include "plugins/kit/kern.h"

#define TERN_RUN 16u            /* columns                                   */

#define TERN_2BIT_ROWS 32u
#define TERN_2BIT_RUN_SIZE 128u
#define TERN_I8MM_ROWS 32u
#define TERN_I8MM_RUN_SIZE 128u
#define TERN_BASE3_ROWS 80u
#define TERN_BASE3_RUN_SIZE 256u
#define TERN_TL1_ROWS 64u
#define TERN_TL1_RUN_SIZE 256u

#define TERN_2BIT_LAYOUT  UINT64_C(0x726f7734732d3332)  /* "row4s-32" */
#define TERN_I8MM_LAYOUT  UINT64_C(0x726f7734782d3332)  /* "row4x-32" */
#define TERN_BASE3_LAYOUT UINT64_C(0x726f7733732d3830)  /* "row3s-80" */
#define TERN_TL1_LAYOUT   UINT64_C(0x746c31362d763634)  /* "tl16-v64" */

/* As struct tern wants them. */
uint64_t tern_2bit_size(uint32_t cols);
void tern_2bit_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
void tern_2bit_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);

uint64_t tern_i8mm_size(uint32_t cols);
void tern_i8mm_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
void tern_i8mm_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);

uint64_t tern_base3_size(uint32_t cols);
void tern_base3_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
void tern_base3_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);

uint64_t tern_tl1_size(uint32_t cols);
void tern_tl1_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
void tern_tl1_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);

#endif
