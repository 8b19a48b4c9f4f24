/* tern_vbmi_base3.c - "base-3" row fields with VBMI and VNNI.
 *
 * A byte is r0 + 3 r1 + 9 r2 + 27 r3 + 81 r4. One look-up in 256 bytes, two
 * permutations of 128 and a choice by the top bit, turns it into
 *
 *   y = r1 + 4 r2 + 16 r3 + 64 r4
 *
 * and from there on it is as in tern_vnni_2bit.c:
 *
 *   x:  byte, y & 3, y & 15, y & 63, y
 *   r1..r4 as there;  r0 = S[0] - 3 r1 - 9 r2 - 27 r3 - 81 r4
 *
 * For 320 weights: one load, 7 operations, and for each token 5 dot products and
 * one broadcast. Registers of the largest tile: 25 sums, 5 x, 1 v; table and
 * masks come from memory. */
#define FIELDS   5
#define MAX_TOK  5
#define KEPT_TOK 5

#include "plugins/cpu-avx512/tern.h"

#define Y(b)   (uint8_t)((b) / 3 % 3 + (b) / 9 % 3 * 4 + (b) / 27 % 3 * 16 + (b) / 81 * 64)
#define Y4(b)  Y(b), Y((b) + 1), Y((b) + 2), Y((b) + 3)
#define Y16(b) Y4(b), Y4((b) + 4), Y4((b) + 8), Y4((b) + 12)
#define Y64(b) Y16(b), Y16((b) + 16), Y16((b) + 32), Y16((b) + 48)

static const uint8_t table[256] __attribute__((aligned(64))) = { Y64(0), Y64(64), Y64(128),
                                                                 Y64(192) };

TERN_INLINE void fields(const uint8_t *panel, __m512i x[FIELDS])
{
    x[0] = _mm512_loadu_si512(panel);
    const __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(table), x[0],
                                                 _mm512_load_si512(table + 64));
    const __m512i high = _mm512_permutex2var_epi8(_mm512_load_si512(table + 128), x[0],
                                                  _mm512_load_si512(table + 192));
    x[4] = _mm512_mask_blend_epi8(_mm512_movepi8_mask(x[0]), low, high);
    x[1] = _mm512_and_si512(x[4], _mm512_set1_epi8(3));
    x[2] = _mm512_and_si512(x[4], _mm512_set1_epi8(15));
    x[3] = _mm512_and_si512(x[4], _mm512_set1_epi8(63));
}

/* a - 3 b */
TERN_INLINE __m512i less_3(__m512i a, __m512i b)
{
    return _mm512_sub_epi32(_mm512_sub_epi32(a, b), _mm512_slli_epi32(b, 1));
}

TERN_INLINE void rows_of(__m512i s[FIELDS])
{
    s[4] = _mm512_srai_epi32(_mm512_sub_epi32(s[4], s[3]), 6);
    s[3] = _mm512_srai_epi32(_mm512_sub_epi32(s[3], s[2]), 4);
    s[2] = _mm512_srai_epi32(_mm512_sub_epi32(s[2], s[1]), 2);
    /* the number that the digits r1..r4 are, by Horner's rule */
    __m512i n = s[4];
    TERN_UNROLL
    for (unsigned f = 3; f > 0; f--)
        n = _mm512_add_epi32(_mm512_add_epi32(n, _mm512_slli_epi32(n, 1)), s[f]);
    s[0] = less_3(s[0], n);
}

#include "plugins/cpu-avx512/tern_dot.h"

const struct tern tern_vbmi_base3 = {
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
