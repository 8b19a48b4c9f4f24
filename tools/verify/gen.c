/* gen.c - see gen.h. A counter and a mixer instead of a state: the value of an
 * element does not depend on who asked for which elements before. */
#include "tools/verify/gen.h"

#include <math.h>
#include <string.h>

#include "core/base/f16.h"

const char *fill_name(enum fill f)
{
    static const char *const name[N_FILL] = { "random", "zero", "max", "min", "spike", "denormal",
                                              "alternate", "mixed" };
    return name[f];
}

uint64_t gen_u64(uint64_t seed, uint64_t n)
{
    uint64_t z = seed * UINT64_C(0x9e3779b97f4a7c15) + n * UINT64_C(0xd1342543de82ef95) + 1;
    for (int i = 0; i < 2; i++) {
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
    }
    return z;
}

float gen_unit(uint64_t seed, uint64_t n)
{
    return (float)((int32_t)(gen_u64(seed, n) >> 40) - (1 << 23)) * 0x1p-23f;
}

static float value(enum fill f, uint64_t seed, float max, uint64_t i, uint64_t n)
{
    const float r = gen_unit(seed, i);
    switch (f) {
    case FILL_ZERO: return 0.0f;
    case FILL_MAX: return max;
    case FILL_MIN: return -max;
    case FILL_SPIKE: return i == seed % n ? max : r * 1e-3f * max;
    case FILL_DENORMAL: return r * 0x1p-126f;
    case FILL_ALTERNATE: return i % 2 ? -max : max;
    case FILL_MIXED: return ldexpf(r * max, -(int)(gen_u64(seed + 1, i) % 40));
    default: return r * max;
    }
}

void gen_fill(enum fill f, uint64_t seed, float max, float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = value(f, seed, max, i, n);
}

static unsigned code(const struct gen_weight *w, uint64_t i)
{
    const unsigned top = w->desc.flags & BNP_W_PLUS2 ? 3 : 2;
    switch (w->fill) {
    case FILL_ZERO: return 1;
    case FILL_MAX: return top;
    case FILL_MIN: return 0;
    case FILL_SPIKE: return i % w->desc.cols == w->seed % w->desc.cols ? top : 1;
    case FILL_ALTERNATE: return i % 2 ? 0 : top;
    default: return (unsigned)(gen_u64(w->seed, i) >> 33) % (top + 1);
    }
}

static int quant(const struct gen_weight *w, uint64_t i)
{
    switch (w->fill) {
    case FILL_ZERO: return 0;
    case FILL_MAX: return 127;
    case FILL_MIN: return -128;
    case FILL_SPIKE: return i % w->desc.cols == w->seed % w->desc.cols ? -128 : 0;
    case FILL_ALTERNATE: return i % 2 ? -128 : 127;
    default: return (int)(gen_u64(w->seed, i) >> 33) % 256 - 128;
    }
}

static float real(const struct gen_weight *w, uint64_t i)
{
    return value(w->fill, w->seed, 100.0f, i, (uint64_t)w->desc.rows * w->desc.cols);
}

static uint16_t bf16_of(float f)        /* cut: any bf16 will do */
{
    return (uint16_t)(f32_bits(f) >> 16);
}

static void put(const struct gen_weight *w, uint64_t i, uint32_t col, uint8_t *row)
{
    const float f = real(w, i);
    uint16_t h;
    switch (w->desc.format) {
    case BNP_FMT_T2:
        row[col / 4] = (uint8_t)(row[col / 4] | code(w, i) << 2 * (col % 4));
        break;
    case BNP_FMT_F32:
        memcpy(row + col * 4ull, &f, 4);
        break;
    case BNP_FMT_F16:
    case BNP_FMT_BF16:
        h = w->desc.format == BNP_FMT_F16 ? f16_from_f32(f) : bf16_of(f);
        memcpy(row + col * 2ull, &h, 2);
        break;
    default:
        row[col] = (uint8_t)(int8_t)quant(w, i);
    }
}

static int read_rows(void *ctx, uint32_t first, uint32_t n, void *dst, size_t stride)
{
    const struct gen_weight *w = ctx;
    const uint32_t cols = w->desc.cols, t2_size = (cols + 3) / 4;
    for (uint32_t r = 0; r < n; r++) {
        uint8_t *row = (uint8_t *)dst + r * stride;
        if (w->desc.format == BNP_FMT_T2) {
            memset(row, 0, t2_size);
            for (uint32_t c = cols; c < t2_size * 4; c++)
                row[c / 4] = (uint8_t)(row[c / 4] | 1u << 2 * (c % 4));
        }
        for (uint32_t c = 0; c < cols; c++)
            put(w, (uint64_t)(first + r) * cols + c, c, row);
    }
    return BNP_OK;
}

float gen_scale(const struct gen_weight *w, uint64_t i)
{
    const float s = 0.01f + 0.005f * gen_unit(w->seed ^ 0x5ca1e, i);
    if (w->fill == FILL_DENORMAL)
        return s * 0x1p-122f;
    if (w->fill == FILL_MIXED)
        return ldexpf(s, (int)(gen_u64(w->seed ^ 0x5ca1f, i) % 40) - 20);
    return gen_u64(w->seed, i) % 17 ? s : -s;       /* nothing says that scales are positive */
}

static int read_scales(void *ctx, uint64_t first, uint64_t n, float *dst)
{
    for (uint64_t i = 0; i < n; i++)
        dst[i] = gen_scale(ctx, first + i);
    return BNP_OK;
}

bnp_weight_src gen_source(struct gen_weight *w)
{
    return (bnp_weight_src){ .struct_size = sizeof(bnp_weight_src), .ctx = w,
                             .read_rows = read_rows, .read_scales = read_scales };
}

double gen_element(const struct gen_weight *w, uint32_t row, uint32_t col)
{
    const uint64_t i = (uint64_t)row * w->desc.cols + col;
    switch (w->desc.format) {
    case BNP_FMT_T2: return (int)code(w, i) - 1;
    case BNP_FMT_F32: return (double)real(w, i);
    case BNP_FMT_F16: return (double)f16_to_f32(f16_from_f32(real(w, i)));
    case BNP_FMT_BF16: return (double)bf16_to_f32(bf16_of(real(w, i)));
    default: return quant(w, i);
    }
}

uint64_t gen_scale_index(const struct gen_weight *w, uint32_t row, uint32_t col)
{
    const uint32_t block = w->desc.block_cols;
    switch (w->desc.scale_kind) {
    case BNP_SCALE_ROW: return row;
    case BNP_SCALE_BLOCK: return (uint64_t)row * ((w->desc.cols - 1) / block + 1) + col / block;
    default: return 0;
    }
}
