/* lookup.h - guessing what follows from what was there before.
 *
 * Text repeats itself: names, code, quotes of the prompt. The guess is what
 * stood behind the latest earlier place that ends like the sequence does now.
 * It costs no model; a step checks it row by row, so a wrong one costs rows and
 * changes nothing. */
#ifndef BITNET_ENGINE_LOOKUP_H
#define BITNET_ENGINE_LOOKUP_H

#include <stdint.h>

enum {
    LOOKUP_MIN = 2,               /* tokens that must agree, at least          */
    LOOKUP_MAX = 4                /* beyond these no place is better           */
};

/* Guesses the tokens after id[0..n): the place with most agreeing tokens, the
 * latest of such. out[max] may be id + n. Returns how many: max, or 0. What
 * repeats at a short distance is taken to go on repeating. */
uint32_t lookup_guess(const int32_t *id, uint32_t n, uint32_t max, int32_t *out);

#endif
