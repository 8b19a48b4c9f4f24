/* tern_tl2.c - "tl2": look-up tables of activations, 1.67 bits a weight, panels of
 * 128 rows.
 *
 * Three weights in a row are one number m = w0 + 3 w1 + 9 w2 of -13..13: four bits
 * for |m| and one for its sign. What |m| stands for, w0 q0 + w1 q1 + w2 q2, is
 * computed once for all rows: a table of 14 sums for each three columns. A
 * shuffle then looks up 32 rows at once, and no weight is multiplied.
 *
 * A sum of -381..381 is kept as 31 * hi + lo, |lo| <= 15 and |hi| <= 12, so that
 * table entries, their negation and their sums over 8 steps are single bytes
 * (8 * 15 <= 127). Then they are added up in 16 bits, 80 steps (80 * 381 <= 32767),
 * then in 32.
 *
 * A group is two steps (six columns) in 160 bytes:
 *
 *   step 0: |m| of byte i of sets 0 and 1 in bits 3:0 and 7:4, 32 bytes; sets 2, 3
 *   step 1: the same
 *   32 bytes of signs: bit 7 - k of byte i is that of set k % 4, step k / 4
 *
 *   Bytes 2*i and 2*i + 1 of set s are rows 32*s + i and 32*s + 16 + i. */
#include "plugins/cpu-avx2/tern.h"

enum { ROWS = 128, SETS = 4, SET_ROWS = 32, STEP_COLS = 3, GROUP_COLS = 6 };
enum { STEP_SIZE = 64, GROUP_SIZE = 160, TABLE = 32, AHEAD = 2048 };
enum { BYTE_GROUPS = 4, RUN_GROUPS = 40, BASE = 31 };
enum { PACK_GROUPS = 32, RUN_SIZE = PACK_GROUPS * GROUP_COLS / 4 };    /* bytes of a row */

static uint32_t n_group(uint32_t cols)
{
    return (cols - 1) / GROUP_COLS + 1;
}

/* ---------------------------------------------------------------- packing */

static uint64_t panel_size(uint32_t cols)
{
    return ((uint64_t)n_group(cols) * GROUP_SIZE + 63) / 64 * 64;
}

/* m of three codes, six bits: |m|, and bit 7 when it is negative. */
static void number_triples(uint8_t m_of[64])
{
    for (int v = 0; v < 64; v++) {
        const int m = (v & 3) - 1 + 3 * ((v >> 2 & 3) - 1) + 9 * ((v >> 4) - 1);
        m_of[v] = (uint8_t)(m < 0 ? -m | 0x80 : m);
    }
}

/* Where row r is within its set. */
static uint32_t byte_of(uint32_t r)
{
    const uint32_t i = r % SET_ROWS;
    return i < 16 ? 2 * i : 2 * (i - 16) + 1;
}

/* Four triples from three bytes, to m, m + ROWS, ... n bytes are left of the row;
 * what is behind them is code 1. */
static void split_row(const uint8_t *row, uint32_t n, const uint8_t m_of[64], uint8_t *m)
{
    uint8_t codes[RUN_SIZE];
    if (n < RUN_SIZE)
        memset(codes, 0x55, RUN_SIZE);
    memcpy(codes, row, n < RUN_SIZE ? n : RUN_SIZE);
    for (uint32_t i = 0; i < RUN_SIZE; i += 3, m += 4 * ROWS) {
        const uint32_t v = codes[i] | (uint32_t)codes[i + 1] << 8 | (uint32_t)codes[i + 2] << 16;
        m[0] = m_of[v & 63];
        m[ROWS] = m_of[v >> 6 & 63];
        m[2 * ROWS] = m_of[v >> 12 & 63];
        m[3 * ROWS] = m_of[v >> 18];
    }
}

/* Two triples of all rows, in the order of byte_of, to a group. */
static void join(const uint8_t *restrict m, uint8_t *restrict to)
{
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t half = 0; half < 2; half++) {
            const uint8_t *restrict set = m + k * ROWS + 2 * half * SET_ROWS;
            for (uint32_t i = 0; i < SET_ROWS; i++)
                to[k * STEP_SIZE + half * SET_ROWS + i] =
                    (uint8_t)((set[i] & 15) | (set[SET_ROWS + i] & 15) << 4);
        }
    for (uint32_t i = 0; i < SET_ROWS; i++) {
        unsigned sign = 0;
        for (uint32_t s = 0; s < 2 * SETS; s++)
            sign |= (m[s * SET_ROWS + i] & 0x80u) >> s;
        to[2 * STEP_SIZE + i] = (uint8_t)sign;
    }
}

static void pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    const uint32_t size = (cols - 1) / 4 + 1;
    uint8_t m_of[64], m[2 * PACK_GROUPS * ROWS];
    number_triples(m_of);
    memset(panel + panel_size(cols) - 64, 0, 64);
    for (uint32_t g = 0, at = 0; g < n_group(cols); g += PACK_GROUPS, at += RUN_SIZE) {
        const uint32_t left = n_group(cols) - g, n = left < PACK_GROUPS ? left : PACK_GROUPS;
        for (uint32_t r = 0; r < ROWS; r++)
            split_row(rows + r * row_size + at, size - at, m_of,
                      m + r / SET_ROWS * SET_ROWS + byte_of(r));
        for (uint32_t i = 0; i < n; i++, panel += GROUP_SIZE)
            join(m + (size_t)i * 2 * ROWS, panel);
    }
}

static void unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    const uint32_t set = r / SET_ROWS, at = byte_of(r);
    for (uint32_t i = 0; i < cols; i++) {
        const uint32_t k = i % GROUP_COLS / STEP_COLS;
        const uint8_t *g = panel + (size_t)(i / GROUP_COLS) * GROUP_SIZE;
        const int size = g[k * STEP_SIZE + set / 2 * 32 + at] >> 4 * (set % 2) & 15;
        const int m = g[2 * STEP_SIZE + at] & 0x80u >> (set + SETS * k) ? -size : size;
        static const uint8_t power[STEP_COLS] = { 1, 3, 9 };
        w[i] = (int8_t)((m + 13) / power[i % STEP_COLS] % 3 - 1);
    }
}

/* ----------------------------------------------------------------- tables */

static uint64_t act_size(uint32_t cols)
{
    return (uint64_t)n_group(cols) * 2 * TABLE;
}

/* 1057 / 2^15 is 1 / 31.001: nearest, for all of -381..381. Columns behind cols
 * may be anything: where they count, m says that their weights are 0. */
static void build(const int8_t *q, uint32_t cols, uint8_t *act)
{
    const __m256i w0 = _mm256_setr_epi16(0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0);
    const __m256i w1 = _mm256_setr_epi16(0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0);
    const __m256i w2 = _mm256_setr_epi16(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0);
    for (uint32_t i = 0; i < 2 * n_group(cols); i++, q += STEP_COLS, act += TABLE) {
        const __m256i v0 = _mm256_sign_epi16(_mm256_set1_epi16(q[0]), w0);
        const __m256i v1 = _mm256_sign_epi16(_mm256_set1_epi16(q[1]), w1);
        const __m256i v2 = _mm256_sign_epi16(_mm256_set1_epi16(q[2]), w2);
        const __m256i v = _mm256_add_epi16(_mm256_add_epi16(v0, v1), v2);
        const __m256i hi = _mm256_mulhrs_epi16(v, _mm256_set1_epi16(1057));
        const __m256i lo = _mm256_sub_epi16(v, _mm256_mullo_epi16(hi, _mm256_set1_epi16(BASE)));
        tern_store(act, _mm256_permute4x64_epi64(_mm256_packs_epi16(lo, hi), 0xd8));
    }
}

/* ------------------------------------------------------------------- sums */

struct sums {                   /* bytes, of the rows of each set            */
    __m256i lo[SETS], hi[SETS];
};

TERN_INLINE __m256i table(const uint8_t *act)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)act));
}

TERN_INLINE void look_up(struct sums *s, unsigned set, __m256i index, __m256i sign, __m256i lo,
                         __m256i hi)
{
    s->lo[set] = _mm256_add_epi8(s->lo[set],
                                 _mm256_sign_epi8(_mm256_shuffle_epi8(lo, index), sign));
    __asm__("" : "+x"(s->lo[set]));
    s->hi[set] = _mm256_add_epi8(s->hi[set],
                                 _mm256_sign_epi8(_mm256_shuffle_epi8(hi, index), sign));
    __asm__("" : "+x"(s->hi[set]));
}

/* sign holds the next set's sign on top, and is not 0 below it. */
TERN_INLINE void step(struct sums *s, const uint8_t *w, const uint8_t *act, __m256i *sign)
{
    const __m256i lo = table(act), hi = table(act + TABLE / 2), low4 = _mm256_set1_epi8(15);
    TERN_UNROLL
    for (unsigned set = 0; set < SETS; set += 2, w += 32) {
        const __m256i x = tern_load(w);
        look_up(s, set, _mm256_and_si256(x, low4), *sign, lo, hi);
        *sign = _mm256_add_epi8(*sign, *sign);
        look_up(s, set + 1, _mm256_and_si256(_mm256_srli_epi16(x, 4), low4), *sign, lo, hi);
        *sign = _mm256_add_epi8(*sign, *sign);
    }
}

/* A sign is asked of a byte that must not be 0, so after the first one, which
 * looks at a copy, a 1 comes in from below. */
TERN_INLINE void group(struct sums *s, const uint8_t *w, const uint8_t *act)
{
    const __m256i one = _mm256_set1_epi8(1), signs = tern_load(w + 2 * STEP_SIZE);
    const __m256i lo = table(act), hi = table(act + TABLE / 2), low4 = _mm256_set1_epi8(15);
    const __m256i x = tern_load(w), y = tern_load(w + 32);
    __m256i sign = _mm256_or_si256(_mm256_add_epi8(signs, signs), one);
    look_up(s, 0, _mm256_and_si256(x, low4), _mm256_or_si256(signs, one), lo, hi);
    look_up(s, 1, _mm256_and_si256(_mm256_srli_epi16(x, 4), low4), sign, lo, hi);
    sign = _mm256_add_epi8(sign, sign);
    look_up(s, 2, _mm256_and_si256(y, low4), sign, lo, hi);
    sign = _mm256_add_epi8(sign, sign);
    look_up(s, 3, _mm256_and_si256(_mm256_srli_epi16(y, 4), low4), sign, lo, hi);
    sign = _mm256_add_epi8(sign, sign);
    step(s, w + STEP_SIZE, act + TABLE, &sign);
}

/* Byte sums into 16-bit ones: of even bytes, and of odd bytes. */
TERN_INLINE void widen(const struct sums *s, __m256i wide[SETS][2])
{
    TERN_UNROLL
    for (unsigned k = 0; k < SETS; k++)
        TERN_UNROLL
        for (int odd = 0; odd < 2; odd++) {
            const __m256i one = _mm256_set1_epi16((short)(1 << 8 * odd));
            const __m256i base = _mm256_set1_epi16((short)(BASE << 8 * odd));
            wide[k][odd] = _mm256_add_epi16(wide[k][odd], _mm256_maddubs_epi16(one, s->lo[k]));
            wide[k][odd] = _mm256_add_epi16(wide[k][odd], _mm256_maddubs_epi16(base, s->hi[k]));
        }
}

static void add16(int32_t *acc, __m128i v)
{
    __m256i *to = (__m256i *)(void *)acc;
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), _mm256_cvtepi16_epi32(v)));
}

/* Adds n groups, at most RUN_GROUPS, to the sums of a token. */
static void run(const uint8_t *w, const uint8_t *act, uint32_t n, int32_t *acc)
{
    __m256i wide[SETS][2];
    memset(wide, 0, sizeof wide);
    while (n) {
        const uint32_t now = n < BYTE_GROUPS ? n : BYTE_GROUPS;
        const __m256i zero = _mm256_setzero_si256();
        struct sums s = { { zero, zero, zero, zero }, { zero, zero, zero, zero } };
        for (uint32_t i = 0; i < now; i++, w += GROUP_SIZE, act += 2 * TABLE) {
            _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
            _mm_prefetch((const char *)w + AHEAD + 64, _MM_HINT_T0);
            _mm_prefetch((const char *)w + AHEAD + 128, _MM_HINT_T0);
            group(&s, w, act);
        }
        widen(&s, wide);
        n -= now;
    }
    for (unsigned k = 0; k < 2 * SETS; k++) {
        add16(acc + 16 * k, _mm256_castsi256_si128(wide[k / 2][k % 2]));
        add16(acc + 16 * k + 8, _mm256_extracti128_si256(wide[k / 2][k % 2], 1));
    }
}

static void dot(const struct tern_call *c)
{
    const uint32_t end = n_group(c->first + c->n_cols);
    memset(c->acc, 0, (size_t)c->n_tok * ROWS * sizeof *c->acc);
    for (uint32_t g = c->first / GROUP_COLS, n; g < end; g += n) {
        n = end - g < RUN_GROUPS ? end - g : RUN_GROUPS;
        for (uint32_t t = 0; t < c->n_tok; t++)
            run(c->panel + (size_t)g * GROUP_SIZE, c->act + t * c->act_stride + g * 2 * TABLE, n,
                c->acc + (size_t)t * ROWS);
    }
}

const struct tern tern_tl2 = {
    .name = "tl2",
    .layout = UINT64_C(0x746c322d2d313238),     /* "tl2--128" */
    .panel_rows = ROWS,
    .step = GROUP_COLS,
    .panel_size = panel_size,
    .pack = pack,
    .unpack = unpack,
    .dot = dot,
    .act_size = act_size,
    .build = build,
};
