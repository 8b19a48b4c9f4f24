/* tern_2bit.c - "2-bit" panels with maddubs (layout: tern_pack.c, range: tern.h).
 *
 *   acc[t][r] = sum over k of code(r, k) * q(t, k)  -  sum over k of q(t, k)
 *
 * One token: all four fields at once; two are used where they stand, four
 * times too large, so that five operations unpack 128 weights. Such a sum fits
 * 16 bits for 16 steps only (16 * 4 * 508 = 32512).
 *
 * More tokens: tiles of half a panel, which take the fields apart as they go;
 * from EXPAND_TOK on a run of codes is taken apart once for all of them. */
#include "plugins/cpu-avx2/tern.h"

enum { ROWS = 32, STEP_SIZE = 32, AHEAD = 2048, EXPAND_TOK = 24 };

/* -------------------------------------------------------------- one token */

TERN_INLINE void one_step(const uint8_t *w, const int8_t *q, __m256i s[4])
{
    const __m256i m0 = _mm256_set1_epi8(3), m1 = _mm256_set1_epi8(12);
    const __m256i x = tern_load(w), h = _mm256_srli_epi16(x, 4), v = tern_four(q);
    s[0] = tern_mac(s[0], _mm256_and_si256(x, m0), v);
    s[1] = tern_mac(s[1], _mm256_and_si256(x, m1), v);
    s[2] = tern_mac(s[2], _mm256_and_si256(h, m0), v);
    s[3] = tern_mac(s[3], _mm256_and_si256(h, m1), v);
}

/* Adds n steps, at most 16 (8 where code 3 occurs), to the 32-bit sums. */
TERN_INLINE void one_run(const uint8_t *w, const int8_t *q, uint32_t n, __m256i sum[4])
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i s[4] = { zero, zero, zero, zero };
    for (; n > 1; n -= 2, w += 2 * STEP_SIZE, q += 2 * TERN_STEP) {
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        one_step(w, q, s);
        one_step(w + STEP_SIZE, q + TERN_STEP, s);
    }
    if (n)
        one_step(w, q, s);
    TERN_UNROLL
    for (unsigned f = 0; f < 4; f++)
        sum[f] = _mm256_add_epi32(sum[f], _mm256_madd_epi16(s[f], _mm256_set1_epi16(1)));
}

static void one(const struct tern_call *c)
{
    const uint32_t n = tern_steps(c->n_cols), run = c->plus2 ? 8 : 16;
    const uint8_t *w = c->panel + (size_t)(c->first / TERN_STEP) * STEP_SIZE;
    const int8_t *q = (const int8_t *)c->act + c->first;
    const __m256i start = _mm256_set1_epi32(-c->sum[0]), zero = _mm256_setzero_si256();
    __m256i sum[4] = { zero, zero, zero, zero };
    uint32_t i = 0;
    for (; n - i >= 16; i += 16)
        for (uint32_t k = 0; k < 16; k += run)
            one_run(w + (size_t)(i + k) * STEP_SIZE, q + (i + k) * TERN_STEP, run, sum);
    for (; i < n; i += run)
        one_run(w + (size_t)i * STEP_SIZE, q + i * TERN_STEP, n - i < run ? n - i : run, sum);
    for (unsigned f = 0; f < 4; f++) {
        const __m256i v = f & 1 ? _mm256_srai_epi32(sum[f], 2) : sum[f];
        _mm256_storeu_si256((__m256i *)(void *)(c->acc + 8 * f), _mm256_add_epi32(v, start));
    }
}

/* ------------------------------------------------------------ more tokens */

/* Fields 2p and 2p + 1 become pair p. */
static void expand(const uint8_t *w, uint32_t n, uint8_t *to)
{
    const __m256i mask = _mm256_set1_epi8(3);
    for (; n; n--, w += STEP_SIZE, to += 64) {
        const __m256i x = tern_load(w);
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        tern_store(to, _mm256_and_si256(x, mask));
        tern_store(to + 32, _mm256_and_si256(_mm256_srli_epi16(x, 2), mask));
        tern_store(to + TERN_PAIR, _mm256_and_si256(_mm256_srli_epi16(x, 4), mask));
        tern_store(to + TERN_PAIR + 32, _mm256_and_si256(_mm256_srli_epi16(x, 6), mask));
    }
}

static void many(const struct tern_call *c)
{
    const uint32_t run = c->plus2 ? TERN_RUN_PLUS2 : TERN_RUN;
    const uint32_t end = tern_steps(c->first + c->n_cols);
    tern_start(c, ROWS);
    for (uint32_t s = c->first / TERN_STEP, n; s < end; s += n) {
        const uint8_t *w = c->panel + (size_t)s * STEP_SIZE;
        n = end - s < run ? end - s : run;
        if (c->n_tok < EXPAND_TOK) {
            tern_tiles(c, TERN_FIELDS, w, 2, s * TERN_STEP, n);
            continue;
        }
        expand(w, n, c->scratch);
        tern_tiles(c, TERN_CODES, c->scratch, 2, s * TERN_STEP, n);
    }
}

static void dot(const struct tern_call *c)
{
    if (c->n_tok == 1)
        one(c);
    else
        many(c);
}

const struct tern tern_2bit = {
    .name = "2-bit",
    .layout = TERN_2BIT_LAYOUT,
    .panel_rows = ROWS,
    .step = TERN_STEP,
    .plus2 = true,
    .scratch = 2 * TERN_PAIR,
    .panel_size = tern_2bit_size,
    .pack = tern_2bit_pack,
    .unpack = tern_2bit_unpack,
    .dot = dot,
};
