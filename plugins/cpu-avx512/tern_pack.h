/* tern_pack.h - row fields: where the weights of a panel lie.
 *
 * A panel is n_field * 16 output rows. A step is four columns of it in 64
 * bytes, sixteen lanes of four:
 *
 *   byte 4*l + j of step s = sum over f of radix^f * code(row 16*f + l, column 4*s + j)
 *
 *   "2-bit"   radix 4, 4 fields, 64 rows, codes 0..3    2.0 bits a weight
 *   "base-3"  radix 3, 5 fields, 80 rows, codes 0..2    1.6 bits a weight
 *
 * So one vector is four columns of 64 or 80 rows; against four activations, the
 * same in every lane, a dot product of four bytes gives a sum for each row and
 * nothing is ever added across lanes.
 *
 * Bytes above 242 do not come from pack; as base 3 they read as a top digit 3. */
#ifndef CPU_AVX512_TERN_PACK_H
#define CPU_AVX512_TERN_PACK_H

#include "plugins/kit/kern.h"

#define TERN_STEP_COLS 4u       /* columns of a step                         */
#define TERN_STEP_SIZE 64u      /* its bytes                                 */

#define TERN_2BIT_ROWS 64u
#define TERN_BASE3_ROWS 80u

#define TERN_2BIT_LAYOUT  UINT64_C(0x726f7766342d3634)  /* "rowf4-64" */
#define TERN_BASE3_LAYOUT UINT64_C(0x726f7766332d3830)  /* "rowf3-80" */

/* What a plugin's table of variants is made of. */
extern const struct tern tern_vnni_2bit;    /* VNNI                          */
extern const struct tern tern_bw_2bit;      /* nothing beyond X86_AVX512     */
extern const struct tern tern_vbmi_base3;   /* VNNI and VBMI                 */
extern const struct tern tern_vnni_base3;   /* VNNI                          */

/* As struct tern wants them. */
uint64_t tern_pack_size(uint32_t cols);
void tern_pack_2bit(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
void tern_pack_base3(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
void tern_pack_2bit_row(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);
void tern_pack_base3_row(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);

#endif
