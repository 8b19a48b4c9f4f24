/* tern_vnni_2bit.c - "2-bit" row fields with VNNI.
 *
 * A byte is r0 + 4 r1 + 16 r2 + 64 r3. Masks instead of shifts: with S[f] the
 * sum over the low f+1 fields,
 *
 *   x:  byte & 3, byte & 15, byte & 63, byte
 *   r0 = S[0];  rf = (S[f] - S[f-1]) >> 2f, exact
 *
 * For 256 weights: one load, 3 ands, and for each token 4 dot products and one
 * broadcast. Registers of the largest tile: 24 sums, 4 x, 1 v, 3 masks; from kept
 * vectors it needs no masks. */
#define FIELDS   4
#define MAX_TOK  6
#define KEPT_TOK 6

#include "plugins/cpu-avx512/tern.h"

TERN_INLINE void fields(const uint8_t *panel, __m512i x[FIELDS])
{
    x[3] = _mm512_loadu_si512(panel);
    x[0] = _mm512_and_si512(x[3], _mm512_set1_epi8(3));
    x[1] = _mm512_and_si512(x[3], _mm512_set1_epi8(15));
    x[2] = _mm512_and_si512(x[3], _mm512_set1_epi8(63));
}

TERN_INLINE void rows_of(__m512i s[FIELDS])
{
    s[3] = _mm512_srai_epi32(_mm512_sub_epi32(s[3], s[2]), 6);
    s[2] = _mm512_srai_epi32(_mm512_sub_epi32(s[2], s[1]), 4);
    s[1] = _mm512_srai_epi32(_mm512_sub_epi32(s[1], s[0]), 2);
}

#include "plugins/cpu-avx512/tern_dot.h"

const struct tern tern_vnni_2bit = {
    .name = "2-bit",
    .layout = TERN_2BIT_LAYOUT,
    .panel_rows = TERN_2BIT_ROWS,
    .step = TERN_STEP_COLS,
    .plus2 = true,
    .panel_size = tern_pack_size,
    .pack = tern_pack_2bit,
    .unpack = tern_pack_2bit_row,
    .scratch = TERN_KEEP_SIZE,
    .dot = dot,
};
