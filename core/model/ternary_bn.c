/* ternary_bn.c - ik_llama.cpp's IQ1_BN, IQ2_BN and IQ2_BN_R4 to canonical
 * two-bit rows.
 *
 * A row starts with its scale, then come blocks of 64 weights; rows of files
 * made before 25 October 2024 have no scale. IQ1_BN is base 3, the first digit
 * the least significant; the other two are two-bit codes. IQ2_BN_R4 holds four
 * rows side by side. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/ternary.h"
#include "core/model/wtype.h"

enum { BN_BLOCK = 64, IQ1_BN_SIZE = 13, IQ2_BN_SIZE = 16, R4_SIZE = 64, R4_HEAD = 16 };

/* ------------------------------------------------------------------ scales */

/* Decides between one scale and one for every row. A row of zero weights gives
 * nothing whatever its scale, so it does not stand against one scale. */
static int decide_scales(struct wsrc *w, float (*scale)(const struct wsrc *, uint32_t),
                         bool (*is_zero)(const struct wsrc *, uint32_t), struct err *e)
{
    float one = scale(w, 0);
    bool found = false;
    w->scale_kind = BNP_SCALE_TENSOR;
    for (uint32_t i = 0; i < w->rows; i++) {
        const float d = scale(w, i);
        if (!isfinite(d))
            return err_set(e, ERR_DATA, "tensor %s: the scale of row %u is NaN or infinite, "
                           "expected a number", w->name, i);
        if ((found && d == one) || w->scale_kind == BNP_SCALE_ROW || is_zero(w, i))
            continue;
        if (found)
            w->scale_kind = BNP_SCALE_ROW;
        found = true;
        one = d;
    }
    if (w->scale_kind == BNP_SCALE_TENSOR)
        w->scale = one;
    return 0;
}

/* Rows without scales: blk.N.x.scale has the only one. */
static void no_scale(struct wsrc *w)
{
    w->scale_kind = BNP_SCALE_TENSOR;
    w->scale = 1;
}

static int fail_threes(const struct wsrc *w, uint64_t n, struct err *e)
{
    return err_set(e, ERR_DATA, "tensor %s: %" PRIu64 " codes are 3, which %s never holds, expected "
                   "0 to 2: another encoding under this type number, or a corrupt file", w->name, n,
                   w->type->name);
}

/* The bytes of a row's blocks. */
static const uint8_t *blocks(const struct wsrc *w, uint32_t row, size_t *size)
{
    *size = (size_t)(w->cols / BN_BLOCK) * w->type->block_size;
    return w->t->data + row * (w->type->head_size + *size) + w->type->head_size;
}

/* ------------------------------------------------------------------ IQ1_BN
 *
 * A byte holds ceil(N * 256 / 243), N the number of five digits: multiplied by
 * 3^(4-j), its digit j is pushed out at the top by one more 3. A block is
 * twelve such bytes, three for every 15 weights, and one more byte whose first
 * four digits are every sixteenth weight. */

#define DIGIT(b, power) (((b) * (power) & 255u) * 3u >> 8)
#define CODES(b) (DIGIT(b, 81u) | DIGIT(b, 27u) << 2 | DIGIT(b, 9u) << 4 | DIGIT(b, 3u) << 6 | \
                  DIGIT(b, 1u) << 8)
#define NEVER 0x8000u            /* no five digits give this byte              */
#define FIFTH 0x0300u            /* where the fifth digit is                   */
#define ENTRY(b) (uint16_t)(CODES(b) | (((b) * 243u / 256 * 256 + 242) / 243 == (b) ? 0 : NEVER))
#define ENTRIES4(b) ENTRY(b), ENTRY((b) + 1u), ENTRY((b) + 2u), ENTRY((b) + 3u)
#define ENTRIES16(b) ENTRIES4(b), ENTRIES4((b) + 4u), ENTRIES4((b) + 8u), ENTRIES4((b) + 12u)
#define ENTRIES64(b) ENTRIES16(b), ENTRIES16((b) + 16u), ENTRIES16((b) + 32u), ENTRIES16((b) + 48u)

/* Five two-bit codes, the first lowest, and NEVER. */
static const uint16_t five[256] = {
    ENTRIES64(0u), ENTRIES64(64u), ENTRIES64(128u), ENTRIES64(192u)
};

static float iq1_bn_scale(const struct wsrc *w, uint32_t row)
{
    size_t size;
    return f16_to_f32(wtype_u16(blocks(w, row, &size) - 2));
}

static bool iq1_bn_is_zero(const struct wsrc *w, uint32_t row)
{
    enum { FIVE_ONES = 128, FOUR_ONES = 43 };       /* ceil(121 * 256 / 243), ceil(40 ..) */
    size_t size;
    const uint8_t *p = blocks(w, row, &size);
    for (size_t i = 0; i < size; i++)
        if (p[i] != (i % IQ1_BN_SIZE == 12 ? FOUR_ONES : FIVE_ONES))
            return false;
    return true;
}

/* Bytes that no weights give. The last one of a block has four digits, so its
 * fifth is 0. */
static uint64_t iq1_bn_count_never(const uint8_t *p, size_t size)
{
    uint64_t count = 0;
    for (; size; size -= IQ1_BN_SIZE, p += IQ1_BN_SIZE) {
        unsigned any = 0;
        for (unsigned i = 0; i < 12; i++)
            any |= five[p[i]];
        for (unsigned i = 0; i < 12 && any & NEVER; i++)
            count += (five[p[i]] & NEVER) != 0;
        count += (five[p[12]] & (NEVER | FIFTH)) != 0;
    }
    return count;
}

int iq1_bn_check(const struct wsrc *w, struct err *e)
{
    uint64_t never = 0;
    for (uint32_t i = 0; i < w->rows; i++) {
        size_t size;
        const uint8_t *p = blocks(w, i, &size);
        never += iq1_bn_count_never(p, size);
    }
    if (never)
        return err_set(e, ERR_DATA, "tensor %s: %" PRIu64 " bytes are none that IQ1_BN ever holds, "
                       "expected base-3 digits: another encoding under this type number, or a "
                       "corrupt file", w->name, never);
    return 0;
}

int iq1_bn_open(struct wsrc *w, struct err *e)
{
    if (w->type->head_size)
        return decide_scales(w, iq1_bn_scale, iq1_bn_is_zero, e);
    no_scale(w);
    return 0;
}

void iq1_bn_row(const struct wsrc *w, uint32_t row, void *dst)
{
    size_t size;
    const uint8_t *p = blocks(w, row, &size);
    uint8_t *out = dst;
    for (; size; size -= IQ1_BN_SIZE, p += IQ1_BN_SIZE)
        for (unsigned g = 0; g < 4; g++, out += 4) {        /* 15 weights, and one of the last */
            const uint32_t sixteen = five[p[3 * g]] | (uint32_t)five[p[3 * g + 1]] << 10 |
                                     (uint32_t)five[p[3 * g + 2]] << 20 |
                                     (uint32_t)(five[p[12]] >> 2 * g & 3) << 30;
            memcpy(out, &sixteen, sizeof sixteen);
        }
}

void iq1_bn_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    for (uint64_t i = 0; i < n; i++)
        dst[i] = iq1_bn_scale(w, (uint32_t)(first + i));
}

/* ------------------------------------------------------------------ IQ2_BN
 *
 * Blocks of 16 bytes, the four fields of a byte 16 weights apart, low first. */

static float iq2_bn_scale(const struct wsrc *w, uint32_t row)
{
    size_t size;
    return f32_from_bits(wtype_u32(blocks(w, row, &size) - 4));
}

static bool iq2_bn_is_zero(const struct wsrc *w, uint32_t row)
{
    size_t size;
    const uint8_t *p = blocks(w, row, &size);
    for (size_t i = 0; i < size; i++)
        if (p[i] != 0x55)
            return false;
    return true;
}

int iq2_bn_check(const struct wsrc *w, struct err *e)
{
    uint64_t threes = 0;
    for (uint32_t i = 0; i < w->rows; i++) {
        size_t size;
        const uint8_t *p = blocks(w, i, &size);
        threes += ternary_count_threes(p, size);
    }
    return threes ? fail_threes(w, threes, e) : 0;
}

int iq2_bn_open(struct wsrc *w, struct err *e)
{
    if (w->type->head_size)
        return decide_scales(w, iq2_bn_scale, iq2_bn_is_zero, e);
    no_scale(w);
    return 0;
}

void iq2_bn_row(const struct wsrc *w, uint32_t row, void *dst)
{
    size_t size;
    const uint8_t *p = blocks(w, row, &size);
    for (size_t i = 0; i < size; i += IQ2_BN_SIZE)
        ternary_regroup(p + i, (uint8_t *)dst + i, IQ2_BN_SIZE, false);
}

void iq2_bn_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    for (uint64_t i = 0; i < n; i++)
        dst[i] = iq2_bn_scale(w, (uint32_t)(first + i));
}

/* --------------------------------------------------------------- IQ2_BN_R4
 *
 * Four scales, then blocks of 64 weights of four rows:
 *
 *   byte 16 l + 4 r + i, field f      row r, weight 16 l + 4 f + i
 *
 * so that the four bytes of one l and r are the canonical ones with fields and
 * bytes changed about. */

static const uint8_t *four_rows(const struct wsrc *w, uint32_t row)
{
    return w->t->data + (uint64_t)(row / 4) * (R4_HEAD + (uint64_t)w->cols / BN_BLOCK * R4_SIZE);
}

bool iq2_bn_r4_size(uint64_t rows, uint64_t cols, uint64_t *size)
{
    uint64_t heads;
    return rows % 4 == 0 && cols % BN_BLOCK == 0 &&
           !__builtin_mul_overflow(rows, (uint64_t)4, &heads) &&
           !__builtin_add_overflow(rows * cols / 4, heads, size);
}

static float iq2_bn_r4_scale(const struct wsrc *w, uint32_t row)
{
    return f32_from_bits(wtype_u32(four_rows(w, row) + 4 * (row % 4)));
}

static bool iq2_bn_r4_is_zero(const struct wsrc *w, uint32_t row)
{
    const uint8_t *p = four_rows(w, row) + R4_HEAD + 4 * (row % 4);
    for (uint32_t i = 0; i < w->cols / 16; i++, p += 16)
        if (wtype_u32(p) != 0x55555555)
            return false;
    return true;
}

int iq2_bn_r4_open(struct wsrc *w, struct err *e)
{
    return decide_scales(w, iq2_bn_r4_scale, iq2_bn_r4_is_zero, e);
}

int iq2_bn_r4_check(const struct wsrc *w, struct err *e)
{
    uint64_t threes = 0;
    for (uint32_t i = 0; i < w->rows; i += 4)
        threes += ternary_count_threes(four_rows(w, i) + R4_HEAD, w->cols);
    return threes ? fail_threes(w, threes, e) : 0;
}

void iq2_bn_r4_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const uint8_t *p = four_rows(w, row) + R4_HEAD + 4 * (row % 4);
    uint8_t *out = dst;
    for (uint32_t b = 0; b < w->cols / BN_BLOCK; b++, p += R4_SIZE, out += 16) {
        const ternary_words x = { wtype_u32(p), wtype_u32(p + 16), wtype_u32(p + 32),
                                  wtype_u32(p + 48) };
        const ternary_bytes y = ternary_transpose(x);
        memcpy(out, &y, sizeof y);
    }
}

void iq2_bn_r4_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    for (uint64_t i = 0; i < n; i++)
        dst[i] = iq2_bn_r4_scale(w, (uint32_t)(first + i));
}
