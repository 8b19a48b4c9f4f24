/* ternary_tl.c - bitnet.cpp's lookup-table encodings TL1 and TL2 to canonical
 * two-bit rows.
 *
 * Both are made for kernels that take a tile of rows and columns at once
 * (tl_tiles.h). Behind the codes comes padding and one f32 scale. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/tl_tiles.h"
#include "core/model/wtype.h"

/* The tiles, by shape. */
static int find_tiles(struct wsrc *w, enum tl_kind kind, struct err *e)
{
    int rc = tl_tiles_find(&w->tiles, &w->guessed, kind, w->rows, w->cols, w->tl_preset, e);
    return rc ? err_prefix(e, "tensor %s", w->name) : 0;
}

static int read_scale(struct wsrc *w, uint64_t at, struct err *e)
{
    w->scale_kind = BNP_SCALE_TENSOR;
    w->scale = f32_from_bits(wtype_u32(w->t->data + at));
    if (isfinite(w->scale) && w->scale > 0)
        return 0;
    return err_set(e, ERR_DATA, "tensor %s: its %s scale is %g, expected a positive number",
                   w->name, w->type->name, (double)w->scale);
}

/* Nibbles above `most`, 8 or 13, in n bytes. The usual answer, none, is found
 * quickly. */
static uint64_t count_above(const uint8_t *p, uint64_t n, unsigned most)
{
    uint8_t any = 0;
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t low = p[i] & 15, high = p[i] >> 4;
        any |= (uint8_t)((low > (uint8_t)most) | (high > (uint8_t)most));
    }
    for (uint64_t i = 0; any && i < n; i++)
        count += (uint64_t)((p[i] & 15u) > most) + (p[i] >> 4 > (int)most);
    return count;
}

static int fail_nibbles(const struct wsrc *w, uint64_t n, unsigned most, struct err *e)
{
    return err_set(e, ERR_DATA, "tensor %s: %" PRIu64 " indexes are over %u, which %s never holds: "
                   "another encoding under this type number, or a corrupt file", w->name, n, most,
                   w->type->name);
}

/* --------------------------------------------------------------- pair bytes
 *
 * Two nibbles v = 3 a + b + 4, the upper first, are four weights: a canonical
 * byte. */

#define PAIR(v) ((v) / 3 % 3 | (v) % 3 << 2)
#define PAIRS(b) (uint8_t)(PAIR((b) >> 4) | PAIR((b) & 15) << 4)
#define PAIRS4(b) PAIRS(b), PAIRS((b) + 1), PAIRS((b) + 2), PAIRS((b) + 3)
#define PAIRS16(b) PAIRS4(b), PAIRS4((b) + 4), PAIRS4((b) + 8), PAIRS4((b) + 12)
#define PAIRS64(b) PAIRS16(b), PAIRS16((b) + 16), PAIRS16((b) + 32), PAIRS16((b) + 48)

static const uint8_t four[256] = { PAIRS64(0), PAIRS64(64), PAIRS64(128), PAIRS64(192) };

/* --------------------------------------------------------------------- TL1
 *
 * Tiles of tiles.rows x tiles.cols weights, in them parts of tiles.step rows
 * and 256 / tiles.step columns, 64 bytes each; in a part 16 rows lie side by
 * side, so that a row's bytes are 16 apart. */

int tl1_open(struct wsrc *w, struct err *e)
{
    const uint64_t payload = (uint64_t)w->rows * w->cols / 4;
    int rc = find_tiles(w, TL1, e);
    if (rc)
        return rc;
    const uint64_t bad = count_above(w->t->data, payload, 8);
    return bad ? fail_nibbles(w, bad, 8, e) : read_scale(w, payload, e);
}

void tl1_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const struct wsrc_tiles t = w->tiles;
    const uint32_t quads = 64 / t.step;                     /* bytes of a row in a part */
    const uint32_t part = row % t.rows / t.step, g = row % t.step / 16, lane = row % 16;
    const uint8_t *tile = w->t->data + (uint64_t)(row / t.rows) * t.rows * w->cols / 4;
    uint8_t *out = dst;
    for (uint32_t ko = 0; ko < w->cols / t.cols; ko++, tile += (size_t)t.rows * t.cols / 4) {
        const uint8_t *p = tile + (size_t)part * t.step * t.cols / 4 + g * quads * 16 + lane;
        for (uint32_t ki = 0; ki < t.cols * t.step / 256; ki++, p += 64)
            for (uint32_t q = 0; q < quads; q++)
                *out++ = four[p[16 * q]];
    }
}

/* --------------------------------------------------------------------- TL2
 *
 * The first `three` columns are triples: an index, |9 a + 3 b + c|, of four
 * bits, and its sign. The others, fewer than a tile has columns, are pairs as
 * in TL1. All indexes, then all signs, then the pairs. Parts have 32 rows, and
 * in a part the second and third eight of them change places. */

/* The codes of a triple, first lowest; index + 16 if its sign is set. 14 and 15
 * do not occur. */
#define CLAMP(i) ((i) % 16 > 13 ? 13 : (i) % 16)
#define SUM(i) ((i) < 16 ? 13 + CLAMP(i) : 13 - CLAMP(i))
#define TRIPLE(i) (SUM(i) / 9 | SUM(i) / 3 % 3 << 2 | SUM(i) % 3 << 4)
#define TRIPLES4(i) TRIPLE(i), TRIPLE((i) + 1), TRIPLE((i) + 2), TRIPLE((i) + 3)

static const uint8_t three[32] = {
    TRIPLES4(0), TRIPLES4(4), TRIPLES4(8), TRIPLES4(12), TRIPLES4(16), TRIPLES4(20), TRIPLES4(24),
    TRIPLES4(28)
};

struct tl2 {
    uint32_t n_three, n_two;     /* columns                                    */
    const uint8_t *index, *sign, *pair;
};

static struct tl2 tl2_parts(const struct wsrc *w)
{
    struct tl2 l = { .n_two = w->cols % w->tiles.cols, .index = w->t->data };
    l.n_three = w->cols - l.n_two;
    l.sign = l.index + (uint64_t)w->rows * l.n_three / 6;
    l.pair = l.sign + (uint64_t)w->rows * l.n_three / 24;
    return l;
}

/* Whether a sign is set where the index is 0: four times 32 indexes, two to a
 * byte, and the 16 words with their signs. */
static unsigned sign_of_zero(const uint8_t *index, const uint8_t *sign)
{
    unsigned any = 0;
    for (unsigned j = 0; j < 4; j++)
        for (unsigned s = 0; s < 4; s++)                    /* eight rows each */
            for (unsigned i = 0; i < 8; i++) {
                const unsigned v = index[32 * j + 8 * s + i];
                const unsigned bits = (unsigned)wtype_u16(sign + 2 * (s / 2 * 8 + i));
                any |= (v < 16) & bits >> (15 - 4 * j - s % 2);
                any |= ((v & 15) == 0) & bits >> (13 - 4 * j - s % 2);
            }
    return any & 1;
}

static int tl2_check(struct wsrc *w, struct err *e)
{
    const struct tl2 l = tl2_parts(w);
    uint64_t bad = count_above(l.index, (uint64_t)(l.sign - l.index), 13);
    if (bad)
        return fail_nibbles(w, bad, 13, e);
    bad = count_above(l.pair, (uint64_t)w->rows * l.n_two / 4, 8);
    if (bad)
        return fail_nibbles(w, bad, 8, e);
    for (uint64_t i = 0; i < (uint64_t)(l.pair - l.sign) / 32; i++)
        bad += sign_of_zero(l.index + 128 * i, l.sign + 32 * i);
    if (bad)
        return err_set(e, ERR_DATA, "tensor %s: zeros with a sign in %" PRIu64 " places, which TL2 "
                       "never holds: other tiles (model.tl_preset), or a corrupt file", w->name,
                       bad);
    return 0;
}

int tl2_open(struct wsrc *w, struct err *e)
{
    uint64_t size = 0;
    int rc = find_tiles(w, TL2, e);
    if (!rc)
        rc = tl2_check(w, e);
    tl2_size(w->rows, w->cols, &size);
    return rc ? rc : read_scale(w, size - 32, e);
}

void tl2_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const struct tl2 l = tl2_parts(w);
    const struct wsrc_tiles t = w->tiles;
    const uint32_t r = row % 32, pos = r / 8 == 1 ? r + 8 : r / 8 == 2 ? r - 8 : r;
    const uint64_t part = (uint64_t)(row / t.rows) * t.rows * l.n_three +
                          (uint64_t)(row % t.rows / 32) * 32 * t.cols;   /* in weights */
    uint8_t *out = dst;
    for (uint32_t ko = 0; ko < l.n_three / t.cols; ko++) {
        const uint64_t at = part + (uint64_t)ko * t.rows * t.cols;
        const uint8_t *index = l.index + at / 6 + pos, *sign = l.sign + at / 24 + 2 * (r % 16);
        for (uint32_t u = 0; u < t.cols; u += 24, index += 128, sign += 32, out += 6) {
            const unsigned bits = (unsigned)wtype_u16(sign) >> (r < 16);
            uint64_t codes = 0;
            for (unsigned j = 0; j < 4; j++) {
                const unsigned v = index[32 * j];
                const unsigned a = v >> 4 | (bits >> (14 - 4 * j) & 1) << 4;
                const unsigned b = (v & 15) | (bits >> (12 - 4 * j) & 1) << 4;
                codes |= (uint64_t)(three[a] | three[b] << 6) << 12 * j;
            }
            memcpy(out, &codes, 6);
        }
    }
    const uint8_t *pair = l.pair + (uint64_t)(row / t.rows) * t.rows * l.n_two / 4 +
                          row % t.rows / 32 * 256 + pos;
    for (uint32_t ko = 0; ko < l.n_two / 32; ko++, pair += (size_t)t.rows * 8)
        for (uint32_t q = 0; q < 8; q++)
            *out++ = four[pair[32 * q]];
}
