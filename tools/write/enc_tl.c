/* enc_tl.c - TL1 and TL2: weights joined to indexes for kernels that look sums up,
 * in the order in which those read them.
 *
 * The order is that of tiles (tl_tiles.h): tiles.rows x tiles.cols weights, row
 * of tiles after row of tiles, and within a tile of parts of tiles.step rows. */
#include "tools/write/enc.h"

static void put_nibble(uint8_t *p, bool upper, unsigned v)
{
    *p = (uint8_t)(*p | v << (upper ? 4 : 0));
}

static unsigned pair_index(const int8_t *w)
{
    return (unsigned)(3 * w[0] + w[1] + 4);
}

/* --------------------------------------------------------------------- TL1 */

static bool tl1_whole(uint32_t rows, uint32_t cols, uint64_t *size)
{
    *size = (uint64_t)rows * cols / 4;
    return cols % 4 == 0;
}

/* Parts of 64 bytes: 256 / step columns of step rows, sixteen rows side by side.
 * A byte is two pairs, the first upper. */
static void tl1_row(const struct enc_tensor *t, uint32_t row, const int8_t *w, uint8_t *out)
{
    const struct wsrc_tiles b = t->tiles;
    const uint32_t by = 256 / b.step, part = row % b.rows / b.step, g = row % b.step / 16;
    out += (uint64_t)(row / b.rows) * b.rows * t->cols / 4;
    for (uint32_t k = 0; k < t->cols; k += 2) {
        const uint32_t tile = k / b.cols, column = k % b.cols / by, q = k % by / 4;
        const uint64_t at = ((((uint64_t)tile * (b.rows / b.step) + part) * (b.cols / by) + column) *
                             (b.step / 16) + g) * (by / 4) + q;
        put_nibble(out + at * 16 + row % 16, k % 4 == 0, pair_index(w + k));
    }
}

/* --------------------------------------------------------------------- TL2
 *
 * Columns that fill tiles are triples: the index |9 a + 3 b + c|, and the sign.
 * The others are pairs. First all indexes, then all signs, then the pairs. In a
 * part of 32 rows the second and third eight of them change places. */

static bool tl2_whole(uint32_t rows, uint32_t cols, uint64_t *size)
{
    if (!tl2_size(rows, cols, size))
        return false;
    *size -= ENC_MAX_TAIL;
    return true;
}

static void tl2_row(const struct enc_tensor *t, uint32_t row, const int8_t *w, uint8_t *out)
{
    const struct wsrc_tiles b = t->tiles;
    const uint32_t two = t->cols % b.cols, three = t->cols - two;
    const uint32_t r = row % 32, pos = r / 8 == 1 ? r + 8 : r / 8 == 2 ? r - 8 : r;
    const uint32_t mo = row / b.rows, mi = row % b.rows / 32, n_part = b.rows / 32;
    uint8_t *sign = out + (uint64_t)t->rows * three / 6;
    uint8_t *pair = sign + (uint64_t)t->rows * three / 24;
    for (uint32_t k = 0; k < three; k += 3) {
        const uint32_t ko = k / b.cols, u = k % b.cols / 3;
        const uint64_t part = ((uint64_t)mo * (three / b.cols) + ko) * n_part + mi;
        const int v = 9 * w[k] + 3 * w[k + 1] + w[k + 2];
        const unsigned bit = 15 - (2 * (u % 8) + r / 16);
        put_nibble(out + (part * (b.cols / 6) + u / 2) * 32 + pos, u % 2 == 0,
                   (unsigned)(v < 0 ? -v : v));
        uint8_t *word = sign + ((part * (b.cols / 24) + u / 8) * 16 + r % 16) * 2 + bit / 8;
        *word = (uint8_t)(*word | (v < 0) << bit % 8);
    }
    for (uint32_t k = 0; k < two; k += 2) {
        const uint64_t part = ((uint64_t)mo * (two / 32) + k / 32) * n_part + mi;
        put_nibble(pair + (part * 8 + k % 32 / 4) * 32 + pos, k % 4 == 0,
                   pair_index(w + three + k));
    }
}

/* The converters write the type's number as the file's. */
const struct enc enc_tl[] = {
    { .name = "tl1", .id = 38, .file_type = 38, .ternary = true, .whole = tl1_whole,
      .row = tl1_row, .tiled = true, .kind = TL1, .tail = enc_scale_tail },
    { .name = "tl2", .id = 39, .file_type = 39, .ternary = true, .whole = tl2_whole,
      .row = tl2_row, .tiled = true, .kind = TL2, .tail = enc_scale_tail },
    { .name = NULL }
};
