/* tern_bw_2bit.c - "2-bit" row fields with AVX-512 BW alone, for processors
 * before VNNI.
 *
 * A byte is r0 + 4 r1 + 16 r2 + 64 r3, and h the byte >> 4. maddubs multiplies
 * bytes and adds pairs of products in 16 bits:
 *
 *   x:  byte & 3, byte & 12, h & 3, h & 12
 *   sums of code * q of rows: S[0], S[1] / 4, S[2], S[3] / 4, exact
 *
 * Range: with codes 0..2 a pair at weight 4 is at most 2 * 8 * 128 = 2048, and
 * sixteen of those reach -32768 and not +32768, since q is never +128. With
 * codes 0..3 it is 2 * 12 * 128 = 3072, and ten make 30720. Then two sums of 16
 * bits become one of 32.
 *
 * For 256 weights: one load, 5 operations, and for each token 4 products, 4 sums
 * and one broadcast; every 16 (10) steps 8 more for each token. Registers of the
 * largest tile: 16 sums, 4 x, 1 v, 1 product, 2 masks; from kept vectors 24 sums
 * and no masks. */
#define FIELDS   4
#define MAX_TOK  4
#define KEPT_TOK 6

#include "plugins/cpu-avx512/tern.h"

#define FLUSH_STEPS   16u
#define FLUSH_STEPS_3 10u       /* with code 3                               */

TERN_INLINE void fields(const uint8_t *panel, __m512i x[FIELDS])
{
    const __m512i byte = _mm512_loadu_si512(panel), h = _mm512_srli_epi16(byte, 4);
    x[0] = _mm512_and_si512(byte, _mm512_set1_epi8(3));
    x[1] = _mm512_and_si512(byte, _mm512_set1_epi8(12));
    x[2] = _mm512_and_si512(h, _mm512_set1_epi8(3));
    x[3] = _mm512_and_si512(h, _mm512_set1_epi8(12));
}

/* In place, as TERN_ASM says. */
TERN_INLINE __m512i add16(__m512i acc, __m512i x)
{
#if defined(TERN_ASM)
    __asm__("vpaddw %1, %0, %0" : "+v"(acc) : "v"(x));
    return acc;
#else
    return _mm512_add_epi16(acc, x);
#endif
}

TERN_INLINE void step(__m512i s[][FIELDS], const uint8_t *panel, uint8_t *kept, const uint8_t *q,
                      size_t q_stride, const unsigned n_tok, const enum tern_how how)
{
    __m512i x[FIELDS];
    tern_fields(panel, kept, x, how);
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++) {
        const __m512i v = tern_four(q + t * q_stride);
    TERN_UNROLL
        for (unsigned f = 0; f < FIELDS; f++)
            s[t][f] = add16(s[t][f], _mm512_maddubs_epi16(x[f], v));
    }
}

TERN_INLINE void clear(__m512i s[][FIELDS], const unsigned n_tok)
{
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++)
    TERN_UNROLL
        for (unsigned f = 0; f < FIELDS; f++)
            s[t][f] = _mm512_setzero_si512();
}

/* Sums of 16 bits into those of 32. */
TERN_INLINE void flush(__m512i wide[][FIELDS], __m512i s[][FIELDS], const unsigned n_tok)
{
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++)
    TERN_UNROLL
        for (unsigned f = 0; f < FIELDS; f++)
            wide[t][f] = _mm512_add_epi32(wide[t][f],
                                          _mm512_madd_epi16(s[t][f], _mm512_set1_epi16(1)));
}

TERN_INLINE void tile(const struct tile *c, const unsigned n_tok, const enum tern_how how)
{
    __m512i wide[KEPT_TOK][FIELDS];
    const uint8_t *p = c->panel, *q = c->q;
    uint8_t *kept = c->kept;
    const uint32_t most = c->plus2 ? FLUSH_STEPS_3 : FLUSH_STEPS;
    clear(wide, n_tok);
    for (uint32_t left = c->n_step, n; left; left -= n) {
        __m512i s[KEPT_TOK][FIELDS];
        n = left < most ? left : most;
        clear(s, n_tok);
        for (uint32_t i = n; i; i--, p += TERN_STEP_SIZE, q += TERN_STEP_COLS) {
            step(s, p, kept, q, c->q_stride, n_tok, how);
            kept += how == TERN_DECODE ? 0 : FIELDS * TERN_STEP_SIZE;
        }
        flush(wide, s, n_tok);
    }
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++)
    TERN_UNROLL
        for (unsigned f = 0; f < FIELDS; f++)
            tern_put(c, t, (t * FIELDS + f) * 16,
                     f % 2 ? _mm512_srai_epi32(wide[t][f], 2) : wide[t][f]);
}

static void tile1(const struct tile *c) { tile(c, 1, TERN_DECODE); }
static void tile2(const struct tile *c) { tile(c, 2, TERN_DECODE); }
static void tile3(const struct tile *c) { tile(c, 3, TERN_DECODE); }
static void tile4(const struct tile *c) { tile(c, 4, TERN_DECODE); }

static void keep(const struct tile *c) { tile(c, MAX_TOK, TERN_KEEP); }
static void kept_less(const struct tile *c) { tile(c, KEPT_TOK - 1, TERN_KEPT); }
static void kept(const struct tile *c) { tile(c, KEPT_TOK, TERN_KEPT); }

static void dot(const struct tern_call *c)
{
    static tile_fn *const decode[MAX_TOK] = { tile1, tile2, tile3, tile4 };
    static const struct tern_tiles tiles = {
        .panel_rows = 16 * FIELDS, .max = MAX_TOK, .fn = decode,
        .keep = keep, .kept_max = KEPT_TOK, .kept = { kept_less, kept },
    };
    tern_tiles(c, &tiles);
}

const struct tern tern_bw_2bit = {
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
