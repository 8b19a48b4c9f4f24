/* tern_pack.c - into the row fields of tern_pack.h and out again.
 *
 * Four columns of a row are one canonical byte. Spread over the four bytes of
 * a word, the words of n_field rows are digits of a number in that radix, byte
 * by byte: the largest is 255 or 242, so no byte carries into the next. */
#include "plugins/cpu-avx512/tern_pack.h"

#include <string.h>

#define LANES 16u

/* Steps whose canonical bytes are one cache line of each row. */
#define RUN 64u

static inline uint32_t n_steps(uint32_t cols)
{
    return (cols - 1) / TERN_STEP_COLS + 1;
}

uint64_t tern_pack_size(uint32_t cols)
{
    return (uint64_t)n_steps(cols) * TERN_STEP_SIZE;
}

/* Code j of a canonical byte into byte j. */
static inline uint32_t spread(uint32_t b)
{
    return (b | b << 6 | b << 12 | b << 18) & 0x03030303u;
}

/* One lane of n steps. Rows one after the other, for the loops to become vectors. */
static inline void pack_lane(const uint8_t *rows, size_t field_size, uint32_t n,
                             uint32_t *restrict word, const unsigned n_field, const uint32_t radix)
{
    memset(word, 0, n * sizeof *word);
    for (unsigned f = n_field; f-- > 0;) {
        const uint8_t *restrict row = rows + f * field_size;
        for (uint32_t s = 0; s < n; s++)
            word[s] = word[s] * radix + spread(row[s]);
    }
}

static inline void pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel,
                        const unsigned n_field, const uint32_t radix)
{
    uint32_t word[LANES][RUN];
    for (uint32_t n = n_steps(cols), step; n; n -= step, rows += step) {
        step = n < RUN ? n : RUN;
        for (uint32_t l = 0; l < LANES; l++)
            pack_lane(rows + l * row_size, LANES * row_size, step, word[l], n_field, radix);
        for (uint32_t s = 0; s < step; s++, panel += TERN_STEP_SIZE)
            for (uint32_t l = 0; l < LANES; l++)
                memcpy(panel + 4 * l, &word[l][s], sizeof word[l][s]);
    }
}

void tern_pack_2bit(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    pack(rows, row_size, cols, panel, TERN_2BIT_ROWS / LANES, 4);
}

void tern_pack_base3(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    pack(rows, row_size, cols, panel, TERN_BASE3_ROWS / LANES, 3);
}

static inline void unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w,
                          const unsigned n_field, const uint32_t radix)
{
    const uint8_t *lane = panel + 4 * (r % LANES);
    const unsigned field = r / LANES;
    uint32_t unit = 1;
    for (unsigned f = 0; f < field; f++)
        unit *= radix;
    for (uint32_t i = 0; i < cols; i++) {
        const uint32_t digits = lane[(size_t)(i / 4) * TERN_STEP_SIZE + i % 4] / unit;
        w[i] = (int8_t)((int)(field + 1 < n_field ? digits % radix : digits) - 1);
    }
}

void tern_pack_2bit_row(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    unpack(panel, cols, r, w, TERN_2BIT_ROWS / LANES, 4);
}

void tern_pack_base3_row(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    unpack(panel, cols, r, w, TERN_BASE3_ROWS / LANES, 3);
}
