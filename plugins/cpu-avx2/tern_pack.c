/* tern_pack.c - row fields, and the "2-bit" packing: panels of 32 rows, 32 bytes a
 * step.
 *
 *   byte 4*l + j of step s:
 *   bits     7:6     5:4     3:2     1:0
 *   row      l+24    l+16    l+8     l        l = 0..7; column 4*s + j */
#include "plugins/cpu-avx2/tern_pack.h"

#include <string.h>

#include "plugins/kit/tern_fields.h"

enum { ROWS = 32, LANES = 8, STEP_SIZE = 32 };

uint64_t tern_2bit_size(uint32_t cols)
{
    return ((uint64_t)tern_steps(cols) * STEP_SIZE + 63) / 64 * 64;
}

void tern_pack_steps(const uint8_t *rows, size_t row_size, uint32_t n, uint8_t *to,
                     uint32_t n_field)
{
    if (n_field == 4)
        tern_fields_pack(rows, row_size, n, to, LANES, 4, 4);
    else
        tern_fields_pack(rows, row_size, n, to, LANES, 5, 3);
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
