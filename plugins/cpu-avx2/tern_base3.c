/* tern_base3.c - "base-3": five codes a byte, 1.6 bits a weight, panels of 80 rows.
 *
 *   byte 4*l + j of step s in half h  =  sum over f of 3^f * code(row, column)
 *   row = 40*h + 8*f + l;  column = 4*s + j;  l = 0..7, f = 0..4
 *
 * Blocks of TERN_RUN steps: those of half 0, then those of half 1, 32 bytes each;
 * the last block has as many as are left. So half a panel is worked on at a
 * time, with five sums, and still a panel is read front to back.
 *
 * A byte v comes apart by two divisions, which are multiplications of 16-bit
 * lanes, one for even bytes and one for odd ones; floor(v * 7282 / 2^16) is
 * floor(v / 9) and floor(v * 2428 / 2^16) is floor(v / 27) for v <= 255:
 *
 *   n = floor(v / 9)    m = floor(n / 3) = floor(v / 27)    b = v - 9 n
 *   code 4 = floor(m / 3)   code 1 = floor(b / 3)   (looked up: m, b <= 9)
 *   code 3 = m - 3 code 4   code 2 = n - 3 m        code 0 = b - 3 code 1
 *
 * One token or two do without the last line: sums of m, n and b times q are kept,
 * and the line is applied to sums. Those of n may wrap in 16 bits, what comes
 * out of the line fits (tern.h). A single product is at most 28 * 254. */
#include "plugins/cpu-avx2/tern.h"

enum { ROWS = 80, HALF = 40, FIELDS = 5, STEP_SIZE = 32, BLOCK = TERN_RUN * 2 * STEP_SIZE };
enum { AHEAD = 2048, N_PAIR = ROWS / 16, FEW = 2 };

/* ---------------------------------------------------------------- packing */

/* Where step s of half h is. */
static size_t step_at(uint32_t cols, uint32_t h, uint32_t s)
{
    const uint32_t block = s / TERN_RUN, left = tern_steps(cols) - block * TERN_RUN;
    const uint32_t n = left < TERN_RUN ? left : TERN_RUN;
    return (size_t)block * BLOCK + ((size_t)h * n + s % TERN_RUN) * STEP_SIZE;
}

static uint64_t panel_size(uint32_t cols)
{
    return (uint64_t)tern_steps(cols) * 2 * STEP_SIZE;
}

static void pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    const uint32_t end = tern_steps(cols);
    for (uint32_t h = 0; h < 2; h++)
        for (uint32_t s = 0; s < end; s += TERN_RUN)
            tern_pack_steps(rows + h * HALF * row_size + s, row_size,
                            end - s < TERN_RUN ? end - s : TERN_RUN, panel + step_at(cols, h, s),
                            FIELDS);
}

static void unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    static const uint8_t power[FIELDS] = { 1, 3, 9, 27, 81 };
    const uint32_t l = r % 8, f = r % HALF / 8;
    for (uint32_t i = 0; i < cols; i++) {
        const uint8_t v = panel[step_at(cols, r / HALF, i / 4) + 4 * l + i % 4];
        w[i] = (int8_t)(v / power[f] % 3 - 1);
    }
}

/* ------------------------------------------------------------ taking apart */

struct parts {
    __m256i n, m, b, code1, code4;
};

TERN_INLINE __m256i divide(__m256i even, __m256i odd, short by)
{
    const __m256i e = _mm256_mulhi_epu16(even, _mm256_set1_epi16(by));
    const __m256i o = _mm256_mulhi_epu16(odd, _mm256_set1_epi16(by));
    return _mm256_or_si256(e, _mm256_and_si256(o, _mm256_set1_epi16((short)0xff00)));
}

TERN_INLINE struct parts apart(const uint8_t *w)
{
    const __m256i third = _mm256_setr_epi8(0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5,
                                           0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5);
    const __m256i x = tern_load(w), odd_bytes = _mm256_set1_epi16((short)0xff00);
    const __m256i even = _mm256_andnot_si256(odd_bytes, x), odd = _mm256_and_si256(x, odd_bytes);
    struct parts p = { .n = divide(even, odd, 7282), .m = divide(even, odd, 2428) };
    p.b = _mm256_sub_epi8(_mm256_sub_epi8(x, p.n), _mm256_slli_epi16(p.n, 3));
    p.code1 = _mm256_shuffle_epi8(third, p.b);
    p.code4 = _mm256_shuffle_epi8(third, p.m);
    return p;
}

/* ------------------------------------------------------------- few tokens */

TERN_INLINE __m256i less3(__m256i a, __m256i b)
{
    return _mm256_sub_epi16(_mm256_sub_epi16(a, b), _mm256_add_epi16(b, b));
}

/* Adds n steps of half a panel, at most TERN_RUN, to its 40 sums of n_tok tokens. */
TERN_INLINE void few(const uint8_t *w, const int8_t *q, size_t stride, uint32_t n, int32_t *acc,
                     unsigned n_tok)
{
    __m256i s[FEW][FIELDS];
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++)
        s[t][0] = s[t][1] = s[t][2] = s[t][3] = s[t][4] = _mm256_setzero_si256();
    for (; n; n--, w += STEP_SIZE, q += TERN_STEP) {
        const struct parts p = apart(w);
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        TERN_UNROLL
        for (unsigned t = 0; t < n_tok; t++) {
            const __m256i v = tern_four(q + t * stride);
            s[t][0] = tern_mac(s[t][0], p.b, v);
            s[t][1] = tern_mac(s[t][1], p.code1, v);
            s[t][2] = tern_mac(s[t][2], p.n, v);
            s[t][3] = tern_mac(s[t][3], p.m, v);
            s[t][4] = tern_mac(s[t][4], p.code4, v);
        }
    }
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++, acc += ROWS) {
        tern_widen(acc, less3(s[t][0], s[t][1]));
        tern_widen(acc + 8, s[t][1]);
        tern_widen(acc + 16, less3(s[t][2], s[t][3]));
        tern_widen(acc + 24, less3(s[t][3], s[t][4]));
        tern_widen(acc + 32, s[t][4]);
    }
}

static void one_run(const uint8_t *w, const int8_t *q, size_t stride, uint32_t n, int32_t *acc)
{
    few(w, q, stride, n, acc, 1);
}

static void two_run(const uint8_t *w, const int8_t *q, size_t stride, uint32_t n, int32_t *acc)
{
    few(w, q, stride, n, acc, 2);
}

/* ------------------------------------------------------------ more tokens */

/* Field f of half h becomes the eight rows 5*h + f. */
static void expand(const uint8_t *w, uint32_t h, uint32_t n, uint8_t *scratch)
{
    uint8_t *to[FIELDS];
    for (uint32_t f = 0; f < FIELDS; f++) {
        const uint32_t group = FIELDS * h + f;
        to[f] = scratch + group / 2 * TERN_PAIR + group % 2 * 32;
    }
    const __m256i rest = _mm256_setr_epi8(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0,
                                          0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0);
    for (size_t i = 0; i < n; i++, w += STEP_SIZE) {
        const struct parts p = apart(w);
        const __m256i n3 = _mm256_add_epi8(p.n, p.m);   /* n - 3 m modulo 4 */
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        tern_store(to[0] + 64 * i, _mm256_shuffle_epi8(rest, p.b));
        tern_store(to[1] + 64 * i, p.code1);
        tern_store(to[2] + 64 * i, _mm256_and_si256(n3, _mm256_set1_epi8(3)));
        tern_store(to[3] + 64 * i, _mm256_shuffle_epi8(rest, p.m));
        tern_store(to[4] + 64 * i, p.code4);
    }
}

static void dot(const struct tern_call *c)
{
    const uint32_t end = tern_steps(c->first + c->n_cols);
    tern_start(c, ROWS);
    for (uint32_t s = c->first / TERN_STEP, n; s < end; s += n) {
        const uint32_t block = TERN_RUN - s % TERN_RUN;
        n = end - s < block ? end - s : block;
        for (uint32_t h = 0; h < 2; h++) {
            const uint8_t *w = c->panel + step_at(c->cols, h, s);
            const int8_t *q = (const int8_t *)c->act + s * TERN_STEP;
            if (c->n_tok == 1)
                one_run(w, q, 0, n, c->acc + h * HALF);
            else if (c->n_tok == 2)
                two_run(w, q, c->act_stride, n, c->acc + h * HALF);
            else
                expand(w, h, n, c->scratch);
        }
        if (c->n_tok > FEW)
            tern_tiles(c, TERN_CODES, c->scratch, N_PAIR, s * TERN_STEP, n);
    }
}

const struct tern tern_base3 = {
    .name = "base-3",
    .layout = UINT64_C(0x726f7733622d3830),     /* "row3b-80" */
    .panel_rows = ROWS,
    .step = TERN_STEP,
    .scratch = N_PAIR * TERN_PAIR,
    .panel_size = panel_size,
    .pack = pack,
    .unpack = unpack,
    .dot = dot,
};
