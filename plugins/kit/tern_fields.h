/* tern_fields.h - canonical ternary rows into row fields, for the packings of
 * CPU plugins.
 *
 * A step is four columns of n_field * n_lane rows in 4 * n_lane bytes:
 *
 *   byte 4*l + j = sum over f of radix^f * code(row n_lane*f + l, column j)
 *
 * Four columns of a row are one canonical byte. Spread over the four bytes of
 * a word, the words of n_field rows are digits of a number in that radix, byte
 * by byte: the largest is 255 or 242, so no byte carries into the next. */
#ifndef BITNET_KIT_TERN_FIELDS_H
#define BITNET_KIT_TERN_FIELDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    TERN_FIELDS_LANES = 16,     /* at most                                   */
    TERN_FIELDS_RUN = 64        /* steps whose canonical bytes are one cache */
                                /* line of each row                          */
};

/* Code j of a canonical byte into byte j. */
static inline uint32_t tern_fields_spread(uint32_t b)
{
    return (b | b << 6 | b << 12 | b << 18) & 0x03030303u;
}

/* One lane of n steps. Rows one after the other, for the loops to become vectors. */
static inline __attribute__((always_inline))
void tern_fields_lane(const uint8_t *rows, size_t field_size, uint32_t n, uint32_t *restrict word,
                      uint32_t n_field, uint32_t radix)
{
    memset(word, 0, n * sizeof *word);
    for (uint32_t f = n_field; f-- > 0;) {
        const uint8_t *restrict row = rows + f * field_size;
        for (uint32_t s = 0; s < n; s++)
            word[s] = word[s] * radix + tern_fields_spread(row[s]);
    }
}

/* n_step steps, one behind the other. Inlined, for calls with constants for the
 * last three: the inner loops are worth it. */
static inline __attribute__((always_inline))
void tern_fields_pack(const uint8_t *rows, size_t row_size, uint32_t n_step, uint8_t *to,
                      uint32_t n_lane, uint32_t n_field, uint32_t radix)
{
    uint32_t word[TERN_FIELDS_LANES][TERN_FIELDS_RUN];
    for (uint32_t n; n_step; n_step -= n, rows += n) {
        n = n_step < TERN_FIELDS_RUN ? n_step : TERN_FIELDS_RUN;
        for (uint32_t l = 0; l < n_lane; l++)
            tern_fields_lane(rows + l * row_size, n_lane * row_size, n, word[l], n_field, radix);
        for (uint32_t s = 0; s < n; s++, to += 4 * n_lane)
            for (uint32_t l = 0; l < n_lane; l++)
                memcpy(to + 4 * l, &word[l][s], sizeof word[l][s]);
    }
}

#endif
