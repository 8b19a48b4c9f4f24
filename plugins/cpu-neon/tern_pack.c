/* tern_pack.c - into the packings of tern_pack.h and out again.
 *
 * Digits of row fields, as in tern_fields.h, in orders of their own. Columns behind
 * the last are code 1. */
#include "plugins/cpu-neon/tern_pack.h"

#include <string.h>

#include "plugins/kit/tern_fields.h"

#define QUADS 4u                /* of columns, in a run                      */

static inline uint64_t n_runs(uint32_t cols)
{
    return ((uint64_t)cols + TERN_RUN - 1) / TERN_RUN;
}

uint64_t tern_2bit_size(uint32_t cols) { return n_runs(cols) * TERN_2BIT_RUN_SIZE; }
uint64_t tern_i8mm_size(uint32_t cols) { return n_runs(cols) * TERN_I8MM_RUN_SIZE; }
uint64_t tern_base3_size(uint32_t cols) { return n_runs(cols) * TERN_BASE3_RUN_SIZE; }
uint64_t tern_tl1_size(uint32_t cols) { return n_runs(cols) * TERN_TL1_RUN_SIZE; }

struct source {                 /* canonical rows                            */
    const uint8_t *rows;
    size_t row_size;
    uint32_t n_quad;            /* bytes of a row that hold columns          */
};

static struct source source(const uint8_t *rows, size_t row_size, uint32_t cols)
{
    return (struct source){ rows, row_size, (cols - 1) / 4 + 1 };
}

static inline uint32_t quad_at(const struct source *s, uint32_t row, uint32_t quad)
{
    return quad < s->n_quad ? s->rows[row * s->row_size + quad] : 0x55u;
}

/* Rows row, row + step, ... as the digits of four bytes. */
static inline uint32_t digits(const struct source *s, uint32_t row, uint32_t step, uint32_t quad,
                              const unsigned n_field, const uint32_t radix)
{
    uint32_t word = 0;
    for (unsigned f = n_field; f-- > 0;)
        word = word * radix + tern_fields_spread(quad_at(s, row + f * step, quad));
    return word;
}

static inline void put(uint8_t *to, uint32_t word)
{
    memcpy(to, &word, sizeof word);
}

/* ------------------------------------------------------------------ 2-bit */

/* Every byte less 64 modulo 256: its top field v becomes v - 1 modulo 4. */
static inline uint32_t less_64(uint32_t word)
{
    return word ^ 0x40404040u ^ (~word & 0x40404040u) << 1;
}

void tern_2bit_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    const struct source s = source(rows, row_size, cols);
    const uint32_t end = (uint32_t)n_runs(cols) * QUADS;
    for (uint32_t g = 0; g < TERN_2BIT_ROWS / 16; g++)
        for (uint32_t l = 0; l < 4; l++)
            for (uint32_t k = 0; k < end; k++)
                put(panel + (size_t)(k / QUADS) * TERN_2BIT_RUN_SIZE + g * 64 + k % QUADS * 16 +
                        4 * l,
                    less_64(digits(&s, 16 * g + l, 4, k, 4, 4)));
}

void tern_2bit_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    const uint8_t *lane = panel + r / 16 * 64 + 4 * (r % 4);
    const unsigned shift = 2 * (r % 16 / 4);
    for (uint32_t i = 0; i < cols; i++) {
        const size_t run = (size_t)(i / TERN_RUN) * TERN_2BIT_RUN_SIZE;
        const unsigned b = lane[run + i % TERN_RUN / 4 * 16 + i % 4] + 64u;
        w[i] = (int8_t)((int)(b >> shift & 3) - 1);
    }
}

/* --------------------------------------------------------- 2-bit for i8mm */

/* Where columns 4k..4k+3 of rows 8v + l (and two, four, six further) are. */
static inline size_t i8mm_at(uint32_t v, uint32_t l, uint32_t k)
{
    return (size_t)(k / QUADS) * TERN_I8MM_RUN_SIZE + v / 2 * 64 + k % QUADS / 2 * 32 + v % 2 * 16 +
           8 * l + k % 2 * 4;
}

void tern_i8mm_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    const struct source s = source(rows, row_size, cols);
    const uint32_t end = (uint32_t)n_runs(cols) * QUADS;
    for (uint32_t v = 0; v < TERN_I8MM_ROWS / 8; v++)
        for (uint32_t l = 0; l < 2; l++)
            for (uint32_t k = 0; k < end; k++)
                put(panel + i8mm_at(v, l, k), digits(&s, 8 * v + l, 2, k, 4, 4));
}

void tern_i8mm_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    const unsigned shift = 2 * (r % 8 / 2);
    for (uint32_t i = 0; i < cols; i++)
        w[i] = (int8_t)((panel[i8mm_at(r / 8, r % 2, i / 4) + i % 4] >> shift & 3) - 1);
}

/* ----------------------------------------------------------------- base-3 */

static inline size_t base3_at(uint32_t v, uint32_t l, uint32_t k)
{
    return (size_t)(k / QUADS) * TERN_BASE3_RUN_SIZE + k % QUADS * 64 + v * 16 + 4 * l;
}

void tern_base3_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    const struct source s = source(rows, row_size, cols);
    const uint32_t end = (uint32_t)n_runs(cols) * QUADS;
    for (uint32_t v = 0; v < TERN_BASE3_ROWS / 20; v++)
        for (uint32_t l = 0; l < 4; l++)
            for (uint32_t k = 0; k < end; k++)
                put(panel + base3_at(v, l, k), digits(&s, 20 * v + l, 4, k, 5, 3) ^ 0x80808080u);
}

void tern_base3_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    static const uint8_t unit[5] = { 1, 3, 9, 27, 81 };
    for (uint32_t i = 0; i < cols; i++) {
        const unsigned b = panel[base3_at(r / 20, r % 4, i / 4) + i % 4] ^ 0x80u;
        w[i] = (int8_t)((int)(b / unit[r % 20 / 4] % 3) - 1);
    }
}

/* -------------------------------------------------------------------- tl1 */

static inline size_t tl1_at(uint32_t r, uint32_t k)
{
    return (size_t)(k / QUADS) * TERN_TL1_RUN_SIZE + r / 32 * 128 + k % QUADS * 32 + r % 32;
}

void tern_tl1_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    const struct source s = source(rows, row_size, cols);
    const uint32_t end = (uint32_t)n_runs(cols) * QUADS;
    for (uint32_t r = 0; r < TERN_TL1_ROWS; r++)
        for (uint32_t k = 0; k < end; k++)
            panel[tl1_at(r, k)] = (uint8_t)quad_at(&s, r, k);
}

void tern_tl1_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    for (uint32_t i = 0; i < cols; i++)
        w[i] = (int8_t)((panel[tl1_at(r, i / 4)] >> 2 * (i % 4) & 3) - 1);
}
