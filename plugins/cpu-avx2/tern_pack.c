/* tern_pack.c - row fields, and the "2-bit" packing: panels of 32 rows, 32 bytes a
 * step.
 *
 *   byte 4*l + j of step s:
 *   bits     7:6     5:4     3:2     1:0
 *   row      l+24    l+16    l+8     l        l = 0..7; column 4*s + j
 *
 * Four columns of a row are one canonical byte. Spread over the four bytes of
 * a word, the words of several rows are digits of a number in that radix, byte
 * by byte: the largest is 255 or 242, so no byte carries into the next. */
#include "plugins/cpu-avx2/tern_pack.h"

#include <string.h>

enum { ROWS = 32, LANES = 8, STEP_SIZE = 32 };
enum { RUN = 64 };              /* steps; their bytes are a cache line of each row */

uint64_t tern_2bit_size(uint32_t cols)
{
    return ((uint64_t)tern_steps(cols) * STEP_SIZE + 63) / 64 * 64;
}

/* Code j of a canonical byte into byte j. */
static inline uint32_t spread(uint32_t b)
{
    return (b | b << 6 | b << 12 | b << 18) & 0x03030303u;
}

/* One lane of n steps. Rows one after the other, for the loops to become vectors. */
static inline void pack_lane(const uint8_t *rows, size_t field_size, uint32_t n,
                             uint32_t *restrict word, uint32_t n_field, uint32_t radix)
{
    memset(word, 0, n * sizeof *word);
    for (uint32_t f = n_field; f-- > 0;) {
        const uint8_t *restrict row = rows + f * field_size;
        for (uint32_t s = 0; s < n; s++)
            word[s] = word[s] * radix + spread(row[s]);
    }
}

static inline void pack_run(const uint8_t *rows, size_t row_size, uint32_t n, uint8_t *to,
                            uint32_t n_field, uint32_t radix)
{
    uint32_t word[LANES][RUN];
    for (uint32_t l = 0; l < LANES; l++)
        pack_lane(rows + l * row_size, LANES * row_size, n, word[l], n_field, radix);
    for (uint32_t s = 0; s < n; s++, to += STEP_SIZE)
        for (uint32_t l = 0; l < LANES; l++)
            memcpy(to + 4 * l, &word[l][s], sizeof word[l][s]);
}

/* Calls with constants: the inner loops are worth it. */
void tern_pack_steps(const uint8_t *rows, size_t row_size, uint32_t n, uint8_t *to,
                     uint32_t n_field)
{
    for (uint32_t s = 0; s < n; s += RUN, rows += RUN, to += RUN * STEP_SIZE) {
        const uint32_t step = n - s < RUN ? n - s : RUN;
        if (n_field == 4)
            pack_run(rows, row_size, step, to, 4, 4);
        else
            pack_run(rows, row_size, step, to, 5, 3);
    }
}

void tern_2bit_pack(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    const uint64_t size = tern_2bit_size(cols), used = (uint64_t)tern_steps(cols) * STEP_SIZE;
    tern_pack_steps(rows, row_size, tern_steps(cols), panel, ROWS / LANES);
    memset(panel + used, 0x55, size - used);
}

void tern_2bit_unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    for (uint32_t i = 0; i < cols; i++) {
        const uint8_t v = panel[(size_t)(i / 4) * STEP_SIZE + 4 * (r % LANES) + i % 4];
        w[i] = (int8_t)((v >> 2 * (r / LANES) & 3) - 1);
    }
}
