/* tern_pack.c - into the row fields of tern_pack.h and out again. */
#include "plugins/cpu-avx512/tern_pack.h"

#include "plugins/kit/tern_fields.h"

#define LANES 16u

static inline uint32_t n_steps(uint32_t cols)
{
    return (cols - 1) / TERN_STEP_COLS + 1;
}

uint64_t tern_pack_size(uint32_t cols)
{
    return (uint64_t)n_steps(cols) * TERN_STEP_SIZE;
}

void tern_pack_2bit(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    tern_fields_pack(rows, row_size, n_steps(cols), panel, LANES, TERN_2BIT_ROWS / LANES, 4);
}

void tern_pack_base3(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel)
{
    tern_fields_pack(rows, row_size, n_steps(cols), panel, LANES, TERN_BASE3_ROWS / LANES, 3);
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
