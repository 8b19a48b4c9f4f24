/* ternary_tl.c - bitnet.cpp's lookup-table encodings TL1 and TL2 to canonical
 * two-bit rows.
 *
 * Both are made for kernels that take a tile of rows and columns at once, and
 * the file does not say how large the tiles are: the reader must know them for
 * each shape, as the program did that wrote the file. Where two sets of tiles
 * are in use for a shape nothing in a file tells them apart, for both order the
 * same bytes. Behind the codes comes padding and, where a tensor of 4 n bytes
 * would end, one f32 scale. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/wtype.h"

/* ------------------------------------------------------------------- tiles
 *
 * Published for the shapes of bitnet_b1_58-large and -3B and of Llama 3 8B, and
 * for no others. `ini`: what the presets in the source tree say where it is not
 * what setup_env.py generates, which it does before every conversion. */

struct shape {
    uint32_t rows, cols;
    struct wsrc_tiles setup_env, ini;
};

static const struct shape tl1_shape[] = {
    { 1536, 4096, { 256, 128, 32 }, { 0 } },
    { 1536, 1536, { 128, 64, 64 }, { 0 } },
    { 4096, 1536, { 256, 128, 32 }, { 0 } },
    { 3200, 8640, { 160, 64, 32 }, { 0 } },
    { 3200, 3200, { 320, 128, 64 }, { 0 } },
    { 8640, 3200, { 320, 64, 32 }, { 0 } },
    { 14336, 4096, { 256, 128, 32 }, { 256, 128, 64 } },
    { 4096, 14336, { 128, 64, 64 }, { 256, 128, 32 } },
    { 1024, 4096, { 256, 128, 32 }, { 128, 64, 64 } },
    { 4096, 4096, { 128, 64, 64 }, { 128, 64, 32 } },
};

static const struct shape tl2_shape[] = {
    { 1536, 4096, { 256, 96, 32 }, { 0 } },  { 1536, 1536, { 128, 192, 32 }, { 0 } },
    { 4096, 1536, { 256, 96, 32 }, { 0 } },  { 3200, 8640, { 160, 96, 32 }, { 0 } },
    { 3200, 3200, { 320, 96, 32 }, { 0 } },  { 8640, 3200, { 320, 96, 32 }, { 0 } },
    { 14336, 4096, { 256, 96, 32 }, { 0 } }, { 4096, 14336, { 128, 96, 32 }, { 0 } },
    { 1024, 4096, { 256, 96, 32 }, { 0 } },  { 4096, 4096, { 128, 96, 32 }, { 0 } },
};

static int fail_shape(const struct wsrc *w, const struct shape *s, size_t n, struct err *e)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < n; i++)
        buf_addf(&b, "%s%ux%u", i ? ", " : "", s[i].rows, s[i].cols);
    int rc = err_set(e, ERR_UNSUPPORTED, "tensor %s: %ux%u in %s: its tiles are not known, expected "
                     "one of %s, or model.tl_preset = %ux%u:BM/BY/bm", w->name, w->rows, w->cols,
                     w->type->name, b.p ? b.p : "docs/formats.md", w->rows, w->cols);
    buf_free(&b);
    return rc;
}

/* "MxK:BM/BY/bm,..." given by hand: 1 if one is for this shape, 0 if none is,
 * negative if it cannot be read. */
static int given_tiles(struct wsrc *w, struct err *e)
{
    const char *p = w->tl_preset;
    while (*p) {
        uint32_t v[5];
        for (unsigned i = 0; i < 5; i++) {
            char *end = NULL;
            const unsigned long n = *p >= '1' && *p <= '9' ? strtoul(p, &end, 10) : 0;
            if (!n || n > INT32_MAX || (i < 4 ? *end != "x:/"[i < 2 ? i : 2] : *end && *end != ','))
                return err_set(e, ERR_ARG, "model.tl_preset: \"%.100s\", expected auto, setup_env, "
                               "ini, or MxK:BM/BY/bm with commas between", w->tl_preset);
            v[i] = (uint32_t)n;
            p = end + (i < 4);
        }
        if (v[0] == w->rows && v[1] == w->cols) {
            w->tiles = (struct wsrc_tiles){ v[2], v[3], v[4] };
            return 1;
        }
        p += *p == ',';
    }
    return 0;
}

static int find_tiles(struct wsrc *w, const struct shape *s, size_t n, struct err *e)
{
    const char *preset = w->tl_preset ? w->tl_preset : "auto";
    const bool ini = !strcmp(preset, "ini"), is_auto = !strcmp(preset, "auto");
    if (!ini && !is_auto && strcmp(preset, "setup_env")) {
        const int rc = given_tiles(w, e);
        if (rc)
            return rc < 0 ? rc : 0;
    }
    for (size_t i = 0; i < n; i++)
        if (s[i].rows == w->rows && s[i].cols == w->cols) {
            w->tiles = ini && s[i].ini.rows ? s[i].ini : s[i].setup_env;
            w->guessed = is_auto && s[i].ini.rows;
            return 0;
        }
    return fail_shape(w, s, n, e);
}

/* Tiles given by hand may not fit what they are for. */
static int fail_tiles(const struct wsrc *w, const char *want, struct err *e)
{
    return err_set(e, ERR_ARG, "tensor %s: %ux%u with tiles %u/%u/%u, expected %s", w->name, w->rows,
                   w->cols, w->tiles.rows, w->tiles.cols, w->tiles.step, want);
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
    int rc = find_tiles(w, tl1_shape, sizeof tl1_shape / sizeof *tl1_shape, e);
    if (rc)
        return rc;
    const struct wsrc_tiles t = w->tiles;
    if ((t.step != 32 && t.step != 64) || w->rows % t.rows || t.rows % t.step ||
        w->cols % t.cols || t.cols % (256 / t.step))
        return fail_tiles(w, "BM/BY/bm: BM divides the rows, BY the columns, bm is 32 or 64 and "
                          "divides BM, 256 / bm divides BY", e);
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

/* Bytes before the scale, rounded up: what the encoder reserves. It always
 * counts 256 columns as pairs, more than there are. */
static bool tl2_payload(uint64_t rows, uint64_t cols, uint64_t *size)
{
    uint64_t threes, all;
    if (cols < 256 || rows % 32 || cols % 32 ||
        __builtin_mul_overflow((cols - 256) * rows / 3, (uint64_t)5, &threes) ||
        __builtin_add_overflow(threes / 8, 256 * rows / 2 * 4 / 8, &all) || all > UINT64_MAX - 64)
        return false;
    *size = (all + 31) / 32 * 32;
    return true;
}

bool tl2_size(uint64_t rows, uint64_t cols, uint64_t *size)
{
    if (!tl2_payload(rows, cols, size))
        return false;
    *size += 32;
    return true;
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
    uint64_t payload = 0;
    int rc = find_tiles(w, tl2_shape, sizeof tl2_shape / sizeof *tl2_shape, e);
    if (rc)
        return rc;
    const struct wsrc_tiles t = w->tiles;
    if (t.step != 32 || w->rows % t.rows || t.rows % 32 || t.cols % 24 || w->cols % t.cols % 32 ||
        !tl2_payload(w->rows, w->cols, &payload) || w->cols % t.cols > 256)
        return fail_tiles(w, "BM/BY/32: BM is a multiple of 32 and divides the rows, BY a multiple "
                          "of 24 that leaves at most 256 columns, a multiple of 32", e);
    rc = tl2_check(w, e);
    return rc ? rc : read_scale(w, payload, e);
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
