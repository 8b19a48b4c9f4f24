/* ternary.h - what the decoders of ternary encodings share: two-bit fields moved
 * to where the canonical form has them. Nobody else includes this. */
#ifndef BITNET_MODEL_TERNARY_H
#define BITNET_MODEL_TERNARY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t ternary_words __attribute__((vector_size(16)));
typedef uint8_t ternary_bytes __attribute__((vector_size(16)));

/* Each word is four bytes of four two-bit fields: field f of byte j changes
 * places with field j of byte f. Squares of two by two first, then of one. */
static inline ternary_bytes ternary_transpose(ternary_words x)
{
    ternary_words t = (x ^ x >> 6) & 0x00cc00cc;
    x ^= t ^ t << 6;
    t = (x ^ x >> 12) & 0x0000f0f0;
    return (ternary_bytes)(x ^ t ^ t << 12);
}

/* a0 b0 a1 b1 .. of the lower, and of the upper halves. */
static inline ternary_bytes ternary_zip_low(ternary_bytes a, ternary_bytes b)
{
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

static inline ternary_bytes ternary_zip_high(ternary_bytes a, ternary_bytes b)
{
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                   15, 31);
}

/* `stride` bytes, 16 or 32, that hold 4 * stride elements to as many canonical
 * bytes:
 *
 *   in    byte j, two-bit field f      element f * stride + j
 *   out   byte j, fields low first     elements 4j .. 4j + 3
 *
 * so that output byte j takes one field of four neighbouring input bytes, which
 * transpose puts into one byte. What is left is to bring byte f of all words
 * together. With a stride of 16 the upper words repeat the lower ones. */
static inline void ternary_regroup(const uint8_t *restrict in, uint8_t *restrict out,
                                   unsigned stride, bool high_first)
{
    ternary_words lower, upper;
    memcpy(&lower, in, sizeof lower);
    memcpy(&upper, in + stride - sizeof upper, sizeof upper);
    const ternary_bytes a = ternary_transpose(lower), b = ternary_transpose(upper);
    const ternary_bytes first = ternary_zip_low(a, b), last = ternary_zip_high(a, b);
    const ternary_bytes even = ternary_zip_low(first, last), odd = ternary_zip_high(first, last);
    const ternary_bytes field[2] = { ternary_zip_low(even, odd),
                                     ternary_zip_high(even, odd) };         /* 8 bytes of each */
    for (unsigned f = 0; f < 4; f++)
        memcpy(out + f * (stride / 4), (const uint8_t *)field + 8 * (high_first ? 3 - f : f),
               stride / 4);
}

#endif
