/* span.h - ranges of memory and rows in them, for plugins that compute on the
 * CPU (BNP_DEV_HOST_MEM).
 *
 * x_wrong() gives the reason why something breaks bitnet_plugin.h, ready for
 * host->report, or NULL when all is well. A vendor may ignore this file. */
#ifndef BITNET_KIT_SPAN_H
#define BITNET_KIT_SPAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bitnet_plugin.h"

static inline uint64_t align_up(uint64_t n, uint64_t align)   /* a power of two */
{
    return (n + align - 1) & ~(align - 1);
}

static inline void *span_at(bnp_span s)
{
    return (char *)s.base + s.offset;
}

static inline const char *span_wrong(bnp_span s, uint64_t need)
{
    if (!s.base)
        return need || s.size ? "span without memory" : NULL;
    if (((uintptr_t)s.base + s.offset) % BNP_ALIGN)
        return "span not on 64 bytes";
    if (s.size < need)
        return "span too small";
    return NULL;
}

/* The bytes of a row without its padding. */
static inline uint64_t rows_width(const bnp_rows *r)
{
    return (uint64_t)r->cols * sizeof(float);
}

static inline const char *rows_wrong(const bnp_rows *r)
{
    if (!r->cols)
        return "rows of no columns";
    if (!r->n_tok)
        return NULL;
    if (r->stride % BNP_ALIGN || r->stride < rows_width(r))
        return "row stride no multiple of 64, or smaller than a row";
    if (r->n_tok > 1 && r->mem.size / r->stride < r->n_tok - 1)
        return "more rows than memory";
    return span_wrong(r->mem, (r->n_tok - 1) * r->stride + rows_width(r));
}

static inline float *rows_at(const bnp_rows *r, uint32_t row)
{
    return (float *)((char *)span_at(r->mem) + row * r->stride);
}

/* The first element that is NaN or Inf, as a column, or -1. */
static inline int64_t row_not_finite(const float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        if ((u & 0x7f800000u) == 0x7f800000u)
            return i;
    }
    return -1;
}

/* Fills a struct that somebody else sized: what fits into dst->struct_size,
 * and leaves struct_size itself alone. */
static inline void sized_fill(void *dst, const void *src, size_t src_size)
{
    uint32_t dst_size, own = (uint32_t)sizeof(uint32_t);
    memcpy(&dst_size, dst, sizeof dst_size);
    size_t n = dst_size < src_size ? dst_size : src_size;
    if (n > own)
        memcpy((char *)dst + own, (const char *)src + own, n - own);
}

#endif
