/* tern_vnni_base3.c - "base-3" row fields with VNNI, without VBMI.
 *
 * A byte b is r0 + 3 r1 + 9 r2 + 27 r3 + 81 r4. The quotients are the fields:
 *
 *   x:  b, b/3, b/9, b/27, b/81, rounded down
 *   r4 = S[4];  rf = S[f] - 3 S[f+1]
 *
 * A quotient of every byte is the high half of two 16-bit products, one of the
 * even bytes and one of the odd ones in their place: b * m >> 16 with m = 65536/d
 * rounded up is b/d rounded down for all b < 256, since m d - 65536 <= d < 65536 /
 * 255; and b * 256 * m >> 16 has b * m >> 16 in its upper byte.
 *
 * For 320 weights: one load, 14 operations, and for each token 5 dot products and
 * one broadcast. Registers of the largest tile: 20 sums, 5 x, 1 v, 5 constants;
 * from kept vectors 25, 5 and 1. */
#define FIELDS   5
#define MAX_TOK  4
#define KEPT_TOK 5

#include "plugins/cpu-avx512/tern.h"

/* 65536 / d, rounded up. */
#define UP(d) (short)((65536 + (d) - 1) / (d))

TERN_INLINE __m512i quotient(__m512i even, __m512i odd, short m)
{
    const __m512i k = _mm512_set1_epi16(m);
    return _mm512_mask_blend_epi8(UINT64_C(0xaaaaaaaaaaaaaaaa), _mm512_mulhi_epu16(even, k),
                                  _mm512_mulhi_epu16(odd, k));
}

TERN_INLINE void fields(const uint8_t *panel, __m512i x[FIELDS])
{
    x[0] = _mm512_loadu_si512(panel);
    const __m512i low = _mm512_set1_epi16(255);
    const __m512i even = _mm512_and_si512(x[0], low), odd = _mm512_andnot_si512(low, x[0]);
    x[1] = quotient(even, odd, UP(3));
    x[2] = quotient(even, odd, UP(9));
    x[3] = quotient(even, odd, UP(27));
    x[4] = quotient(even, odd, UP(81));
}

TERN_INLINE void rows_of(__m512i s[FIELDS])
{
    TERN_UNROLL
    for (unsigned f = 0; f < 4; f++)
        s[f] = _mm512_sub_epi32(_mm512_sub_epi32(s[f], s[f + 1]), _mm512_slli_epi32(s[f + 1], 1));
}

#include "plugins/cpu-avx512/tern_dot.h"

const struct tern tern_vnni_base3 = {
    .name = "base-3",
    .layout = TERN_BASE3_LAYOUT,
    .panel_rows = TERN_BASE3_ROWS,
    .step = TERN_STEP_COLS,
    .panel_size = tern_pack_size,
    .pack = tern_pack_base3,
    .unpack = tern_pack_base3_row,
    .scratch = TERN_KEEP_SIZE,
    .dot = dot,
};
