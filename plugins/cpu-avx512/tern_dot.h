/* tern_dot.h - the kernel of every packing that VNNI multiplies: a template.
 *
 *   S[f][row lane] += sum over j < 4 of x[f][4*lane + j] * q[4*step + j]
 *
 * x[0..FIELDS) are bytes made of a step of the panel, unsigned and not yet the
 * codes themselves; what they are, and how the sums of codes come out of S, is
 * the including file's, which defines
 *
 *   FIELDS              16 * FIELDS rows
 *   MAX_TOK, KEPT_TOK   tokens of the largest tile, decoding and from kept
 *   fields(panel, x)    a step's 64 bytes into x[FIELDS]
 *   rows_of(s)          S[FIELDS] into sums of code * q, of rows 16*f + lane
 *
 * A tile of one token is two sums side by side, since the instruction takes
 * four or five cycles and two can start in each. A larger one has at least
 * eight of its own. */
#include "plugins/cpu-avx512/tern.h"

/* acc + the four products of bytes of x, unsigned, with bytes of v, signed. */
TERN_INLINE __m512i dot4(__m512i acc, __m512i x, __m512i v)
{
#if defined(TERN_ASM)
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(v));
    return acc;
#else
    return _mm512_dpbusd_epi32(acc, x, v);
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
            s[t][f] = dot4(s[t][f], x[f], v);
    }
}

TERN_INLINE void clear(__m512i s[][FIELDS], const unsigned n)
{
    TERN_UNROLL
    for (unsigned t = 0; t < n; t++)
    TERN_UNROLL
        for (unsigned f = 0; f < FIELDS; f++)
            s[t][f] = _mm512_setzero_si512();
}

TERN_INLINE void put(const struct tile *c, __m512i s[][FIELDS], const unsigned n_tok)
{
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++) {
        rows_of(s[t]);
    TERN_UNROLL
        for (unsigned f = 0; f < FIELDS; f++)
            tern_put(c, t, (t * FIELDS + f) * 16, s[t][f]);
    }
}

static void tile1(const struct tile *c)
{
    __m512i a[1][FIELDS], b[1][FIELDS];
    const uint8_t *p = c->panel, *q = c->q;
    clear(a, 1);
    clear(b, 1);
    for (uint32_t i = c->n_step / 2; i; i--, p += 2 * TERN_STEP_SIZE, q += 2 * TERN_STEP_COLS) {
        step(a, p, NULL, q, 0, 1, TERN_DECODE);
        step(b, p + TERN_STEP_SIZE, NULL, q + TERN_STEP_COLS, 0, 1, TERN_DECODE);
    }
    if (c->n_step % 2)
        step(a, p, NULL, q, 0, 1, TERN_DECODE);
    TERN_UNROLL
    for (unsigned f = 0; f < FIELDS; f++)
        a[0][f] = _mm512_add_epi32(a[0][f], b[0][f]);
    put(c, a, 1);
}

TERN_INLINE void tile(const struct tile *c, const unsigned n_tok, const enum tern_how how)
{
    __m512i s[KEPT_TOK][FIELDS];
    const uint8_t *p = c->panel, *q = c->q;
    uint8_t *kept = c->kept;
    clear(s, n_tok);
    for (uint32_t i = c->n_step; i; i--, p += TERN_STEP_SIZE, q += TERN_STEP_COLS) {
        step(s, p, kept, q, c->q_stride, n_tok, how);
        kept += how == TERN_DECODE ? 0 : FIELDS * TERN_STEP_SIZE;
    }
    put(c, s, n_tok);
}

static void tile2(const struct tile *c) { tile(c, 2, TERN_DECODE); }
static void tile3(const struct tile *c) { tile(c, 3, TERN_DECODE); }
static void tile4(const struct tile *c) { tile(c, 4, TERN_DECODE); }
#if MAX_TOK > 4
static void tile5(const struct tile *c) { tile(c, 5, TERN_DECODE); }
#endif
#if MAX_TOK > 5
static void tile6(const struct tile *c) { tile(c, 6, TERN_DECODE); }
#endif

static void keep(const struct tile *c) { tile(c, MAX_TOK, TERN_KEEP); }
static void kept_less(const struct tile *c) { tile(c, KEPT_TOK - 1, TERN_KEPT); }
static void kept(const struct tile *c) { tile(c, KEPT_TOK, TERN_KEPT); }

static tile_fn *const decode[MAX_TOK] = {
    tile1, tile2, tile3, tile4,
#if MAX_TOK > 4
    tile5,
#endif
#if MAX_TOK > 5
    tile6,
#endif
};

static void dot(const struct tern_call *c)
{
    static const struct tern_tiles tiles = {
        .panel_rows = 16 * FIELDS, .max = MAX_TOK, .fn = decode,
        .keep = keep, .kept_max = KEPT_TOK, .kept = { kept_less, kept },
    };
    tern_tiles(c, &tiles);
}
