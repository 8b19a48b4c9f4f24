/* kern_dense.h - matrices of f32, f16, bf16 and int8 times rows of f32.
 *
 *   y[r] = +0; for i ascending: y[r] = fma(w[r][i], x[i], y[r])
 *
 * Lanes are rows, and the matrix lies in rows, so VL x VL elements at a time
 * are widened and transposed in registers: afterwards a vector is one column
 * of VL rows. One token uses it at once. Several tokens share it: a block of
 * columns goes to scratch as
 *
 *     block[column][DENSE_ROWS]            16 KiB: half of a first-level cache
 *
 * and every tile of DENSE_VECS vectors by DENSE_TOK tokens runs over it with
 * its sums in registers. Sums wait in scratch between blocks, as the f32 they
 * are. Rows are never read behind their last column. */
#ifndef BITNET_KIT_KERN_DENSE_H
#define BITNET_KIT_KERN_DENSE_H

#include <string.h>

#include "plugins/kit/kern.h"
#include "plugins/kit/simd.h"

#ifdef __clang__
#define DENSE_UNROLL _Pragma("unroll")
#else
#define DENSE_UNROLL _Pragma("GCC unroll 16")
#endif
#define DENSE_INLINE static inline __attribute__((always_inline))

#define DENSE_ROWS  (8 * VL)
#define DENSE_COLS  (512 / VL)
#define DENSE_TOK   6
#define DENSE_VECS  (VL == 8 ? 2 : 4)   /* of 16 registers, or of 32         */
/* Bytes that a row is fetched ahead: with 2 * VL rows in turn, a few kilobytes
 * are on their way, which covers the latency of memory. */
#define DENSE_AHEAD 512

struct dense_rows {             /* a call's rows; behind the last, it again  */
    const uint8_t *w[DENSE_ROWS];
    const float *scale[DENSE_ROWS];
};

DENSE_INLINE uint32_t dense_size(uint32_t format)       /* bytes of an element */
{
    return format == BNP_FMT_F32 ? 4 : format == BNP_FMT_I8 ? 1 : 2;
}

static const float dense_no_scale = 1.0f;

DENSE_INLINE void dense_find_rows(const struct dense_call *c, struct dense_rows *rows)
{
    for (uint32_t r = 0; r < DENSE_ROWS; r++) {
        const uint32_t in = r < c->n_rows ? r : c->n_rows - 1;
        const size_t at = c->id ? (size_t)c->id[in] : in;
        rows->w[r] = c->w + at * c->w_stride;
        rows->scale[r] = c->format == BNP_FMT_I8 ? c->scale + at * c->scale_step : &dense_no_scale;
    }
}

/* VL elements at p; scale is that of all of them. */
DENSE_INLINE vf dense_load(uint32_t format, const void *p, const float *scale)
{
    switch (format) {
    case BNP_FMT_F32: return vf_load(p);
    case BNP_FMT_F16: return vf_load_f16(p);
    case BNP_FMT_BF16: return vf_load_bf16(p);
    default: return vf_mul(vf_load_i8(p), vf_set1(*scale));
    }
}

/* The n <= VL elements at p, whose first is column col, with scales of any
 * blocks; zeros behind them. */
static inline vf dense_load_any(uint32_t format, const uint8_t *p, const float *scale,
                                uint32_t block_cols, uint32_t col, uint32_t n)
{
    uint8_t w[VL * sizeof(float)] = { 0 };
    float s[VL] = { 0 };
    memcpy(w, p, (size_t)n * dense_size(format));
    if (format != BNP_FMT_I8)
        return dense_load(format, w, NULL);
    for (uint32_t i = 0; i < n; i++)
        s[i] = scale[(col + i) / block_cols];
    return vf_mul(dense_load(format, w, &dense_no_scale), vf_load(s));
}

/* Columns col.., to the row's end but VL at most, into tile[column][VL]. Slow,
 * and apart, so that compilers keep the other tiles in registers. */
static __attribute__((noinline)) void dense_tile_any(const struct dense_call *c,
                                                     const struct dense_rows *rows, uint32_t first,
                                                     uint32_t col, float tile[VL * VL])
{
    const size_t at = (size_t)col * dense_size(c->format);
    const uint32_t left = c->cols - col, n = left < VL ? left : VL;
    for (uint32_t r = 0; r < VL; r++) {
        float w[VL];
        vf_store(w, dense_load_any(c->format, rows->w[first + r] + at, rows->scale[first + r],
                                   c->block_cols, col, n));
        for (uint32_t i = 0; i < VL; i++)
            tile[i * VL + r] = w[i];
    }
}

/* v[i] is column col + i of rows first .. first + VL - 1. */
DENSE_INLINE void dense_tile(uint32_t format, const struct dense_call *c,
                             const struct dense_rows *rows, uint32_t first, uint32_t col, vf *v)
{
    const size_t at = (size_t)col * dense_size(format);
    const uint32_t block = format == BNP_FMT_I8 ? col / c->block_cols : 0;
    if (format == BNP_FMT_I8 && (col + VL - 1) / c->block_cols != block) {
        float tile[VL * VL];
        dense_tile_any(c, rows, first, col, tile);
        for (uint32_t i = 0; i < VL; i++)
            v[i] = vf_load(tile + i * VL);
        return;
    }
    DENSE_UNROLL
    for (uint32_t i = 0; i < VL; i++)
        v[i] = dense_load(format, rows->w[first + i] + at, rows->scale[first + i] + block);
    vf_transpose(v);
}

/* Bytes at..at+64 of n rows from row first on, for later; at their end, those
 * of the n rows that follow in memory. Nothing is read: any address will do. */
DENSE_INLINE void dense_fetch(uint32_t format, const struct dense_call *c,
                              const struct dense_rows *rows, uint32_t first, uint32_t n, size_t at)
{
    const size_t row_size = (size_t)c->cols * dense_size(format);
    size_t ahead = at + DENSE_AHEAD;
    if (ahead >= row_size) {
        if (c->id)
            return;
        ahead = ahead - row_size + n * c->w_stride;
    }
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch((const void *)((uintptr_t)rows->w[first + i] + ahead), 0, 2);
}

/* sum is [n_tok] rows, DENSE_ROWS floats apart. */
static __attribute__((noinline)) void dense_finish(const struct dense_call *c, const float *sum)
{
    for (uint32_t t = 0; t < c->n_tok; t++, sum += DENSE_ROWS) {
        float *y = c->y + t * c->y_stride;
        for (uint32_t r = 0; r < c->n_rows; r++)
            y[r] = c->add ? y[r] + sum[r] : sum[r];
    }
}

/* Columns from col on: the end of a chain. */
static inline vf dense_one_tail(const struct dense_call *c, const struct dense_rows *rows,
                                uint32_t first, uint32_t col, vf sum)
{
    float tile[VL * VL];
    dense_tile_any(c, rows, first, col, tile);
    for (uint32_t i = 0; col + i < c->cols; i++)
        sum = vf_fma(vf_load(tile + i * VL), vf_set1(c->x[col + i]), sum);
    return sum;
}

/* One token. Two times VL rows, for two chains of fma that do not wait for
 * each other; transposing the next tile fills what is left. */
DENSE_INLINE void dense_one(uint32_t format, const struct dense_call *c,
                            const struct dense_rows *rows)
{
    const uint32_t whole = c->cols / VL * VL;
    float sum[DENSE_ROWS];
    for (uint32_t first = 0; first < c->n_rows; first += 2 * VL) {
        vf s[2] = { vf_zero(), vf_zero() }, v[VL];
        for (uint32_t col = 0; col < whole; col += VL) {
            if (col * dense_size(format) % 64 < VL * dense_size(format))
                dense_fetch(format, c, rows, first, 2 * VL, (size_t)col * dense_size(format));
            DENSE_UNROLL
            for (uint32_t k = 0; k < 2; k++) {
                dense_tile(format, c, rows, first + k * VL, col, v);
                DENSE_UNROLL
                for (uint32_t i = 0; i < VL; i++)
                    s[k] = vf_fma(v[i], vf_set1(c->x[col + i]), s[k]);
            }
        }
        for (uint32_t k = 0; k < 2; k++)
            vf_store(sum + first + k * VL, whole == c->cols ? s[k]
                         : dense_one_tail(c, rows, first + k * VL, whole, s[k]));
    }
    dense_finish(c, sum);
}

/* Columns first .. first + n - 1 into block, rows up to a whole tile. */
DENSE_INLINE void dense_fill(uint32_t format, const struct dense_call *c,
                             const struct dense_rows *rows, uint32_t first, uint32_t n,
                             float *block)
{
    const uint32_t step = DENSE_VECS * VL, n_rows = (c->n_rows + step - 1) / step * step;
    const uint32_t whole = n / VL * VL;
    for (uint32_t r = 0; r < n_rows; r += VL) {
        for (size_t at = 0; at < (size_t)n * dense_size(format); at += 64)
            dense_fetch(format, c, rows, r, VL, (size_t)first * dense_size(format) + at);
        for (uint32_t col = 0; col < whole; col += VL) {
            vf v[VL];
            dense_tile(format, c, rows, r, first + col, v);
            DENSE_UNROLL
            for (uint32_t i = 0; i < VL; i++)
                vf_store(block + (size_t)(col + i) * DENSE_ROWS + r, v[i]);
        }
        if (whole < n) {
            float tile[VL * VL];
            dense_tile_any(c, rows, r, first + whole, tile);
            for (uint32_t i = 0; whole + i < n; i++)
                memcpy(block + (size_t)(whole + i) * DENSE_ROWS + r, tile + i * VL,
                       VL * sizeof *tile);
        }
    }
}

/* n columns of DENSE_VECS vectors times n_tok tokens, added to sum. */
DENSE_INLINE void dense_run(const float *block, uint32_t n, const float *x, size_t x_stride,
                            float *sum, uint32_t n_tok)
{
    vf s[DENSE_TOK][DENSE_VECS];
    DENSE_UNROLL
    for (uint32_t t = 0; t < n_tok; t++)
        DENSE_UNROLL
        for (uint32_t v = 0; v < DENSE_VECS; v++)
            s[t][v] = vf_load(sum + t * DENSE_ROWS + v * VL);
    for (uint32_t i = 0; i < n; i++) {
        vf w[DENSE_VECS];
        DENSE_UNROLL
        for (uint32_t v = 0; v < DENSE_VECS; v++)
            w[v] = vf_load(block + (size_t)i * DENSE_ROWS + v * VL);
        DENSE_UNROLL
        for (uint32_t t = 0; t < n_tok; t++) {
            const vf xi = vf_set1(x[t * x_stride + i]);
            DENSE_UNROLL
            for (uint32_t v = 0; v < DENSE_VECS; v++)
                s[t][v] = vf_fma(w[v], xi, s[t][v]);
        }
    }
    DENSE_UNROLL
    for (uint32_t t = 0; t < n_tok; t++)
        DENSE_UNROLL
        for (uint32_t v = 0; v < DENSE_VECS; v++)
            vf_store(sum + t * DENSE_ROWS + v * VL, s[t][v]);
}

/* The number of tokens is a constant in each branch: the sums are registers.
 * Once for all formats. */
static __attribute__((noinline))
void dense_run_any(const float *block, uint32_t n, const float *x, size_t x_stride, float *sum,
                   uint32_t n_tok)
{
    switch (n_tok) {
    case 1: dense_run(block, n, x, x_stride, sum, 1); break;
    case 2: dense_run(block, n, x, x_stride, sum, 2); break;
    case 3: dense_run(block, n, x, x_stride, sum, 3); break;
    case 4: dense_run(block, n, x, x_stride, sum, 4); break;
    case 5: dense_run(block, n, x, x_stride, sum, 5); break;
    default: dense_run(block, n, x, x_stride, sum, DENSE_TOK); break;
    }
}

/* Several tokens; fill is dense_fill for the call's format. */
static void dense_many(const struct dense_call *c, const struct dense_rows *rows,
                       void (*fill)(const struct dense_call *, const struct dense_rows *, uint32_t,
                                    uint32_t, float *))
{
    float *block = (float *)(void *)c->scratch, *sum = block + DENSE_COLS * DENSE_ROWS;
    memset(sum, 0, (size_t)c->n_tok * DENSE_ROWS * sizeof *sum);
    for (uint32_t col = 0, n; col < c->cols; col += n) {
        n = c->cols - col < DENSE_COLS ? c->cols - col : DENSE_COLS;
        fill(c, rows, col, n, block);
        for (uint32_t t = 0, n_tok; t < c->n_tok; t += n_tok) {
            n_tok = c->n_tok - t < DENSE_TOK ? c->n_tok - t : DENSE_TOK;
            for (uint32_t r = 0; r < c->n_rows; r += DENSE_VECS * VL)
                dense_run_any(block + r, n, c->x + t * c->x_stride + col, c->x_stride,
                              sum + (size_t)t * DENSE_ROWS + r, n_tok);
        }
    }
    dense_finish(c, sum);
}

#define DENSE_FORMAT(name, format)                                                \
    static void dense_one_##name(const struct dense_call *c,                      \
                                 const struct dense_rows *rows)                   \
    {                                                                             \
        dense_one(format, c, rows);                                               \
    }                                                                             \
    static void dense_fill_##name(const struct dense_call *c,                     \
                                  const struct dense_rows *rows, uint32_t first,  \
                                  uint32_t n, float *block)                       \
    {                                                                             \
        dense_fill(format, c, rows, first, n, block);                             \
    }

DENSE_FORMAT(f32, BNP_FMT_F32)
DENSE_FORMAT(f16, BNP_FMT_F16)
DENSE_FORMAT(bf16, BNP_FMT_BF16)
DENSE_FORMAT(i8, BNP_FMT_I8)

static void dense_mul(const struct dense_call *c)
{
    static const struct {
        void (*one)(const struct dense_call *, const struct dense_rows *);
        void (*fill)(const struct dense_call *, const struct dense_rows *, uint32_t, uint32_t,
                     float *);
    } as[] = {
        [BNP_FMT_F32] = { dense_one_f32, dense_fill_f32 },
        [BNP_FMT_F16] = { dense_one_f16, dense_fill_f16 },
        [BNP_FMT_BF16] = { dense_one_bf16, dense_fill_bf16 },
        [BNP_FMT_I8] = { dense_one_i8, dense_fill_i8 },
    };
    struct dense_rows rows;
    dense_find_rows(c, &rows);
    if (c->n_tok == 1)
        as[c->format].one(c, &rows);
    else
        dense_many(c, &rows, as[c->format].fill);
}

static void dense_row(uint32_t format, const uint8_t *w, const float *scale, uint32_t block_cols,
                      uint32_t cols, float *y)
{
    for (uint32_t col = 0; col < cols; col += VL) {
        const uint32_t n = cols - col < VL ? cols - col : VL;
        const uint8_t *at = w + (size_t)col * dense_size(format);
        if (n == VL && format != BNP_FMT_I8) {
            vf_store(y + col, dense_load(format, at, NULL));
        } else {
            float some[VL];
            vf_store(some, dense_load_any(format, at, scale, block_cols, col, n));
            memcpy(y + col, some, n * sizeof *y);
        }
    }
}

static const struct dense_kern dense_kern = {
    .rows = DENSE_ROWS,
    .scratch = (DENSE_COLS + KERN_TOK) * DENSE_ROWS * sizeof(float),
    .mul = dense_mul,
    .row = dense_row,
};

#endif
