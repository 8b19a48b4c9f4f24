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

/* How many tokens to bet on. A row that is computed in vain costs time: on a
 * processor a step of eight rows takes four times as long as one of one. So a
 * sequence begins with two, doubles what was right, goes back to what was right
 * and one more, and when nothing was right it waits before it tries again, ever
 * longer: what never repeats itself loses a row in every LOOKUP_WAIT tokens. */
enum { LOOKUP_FIRST = 2, LOOKUP_WAIT = 16 };

struct lookup {                   /* all 0: at the beginning                   */
    uint32_t bet;                 /* 0: LOOKUP_FIRST                           */
    uint32_t rest;                /* after the last failure, tokens            */
    uint32_t wait;                /* tokens until the next bet                 */
};

/* For the next token: how many to guess, at most max. Once for each step. */
uint32_t lookup_bet(struct lookup *, uint32_t max);
/* Of n > 0 guesses the first n_ok were right. */
void lookup_learn(struct lookup *, uint32_t n, uint32_t n_ok);

/* Guesses the tokens after id[0..n): the place with most agreeing tokens, the
 * latest of such. out[max] may be id + n. Returns how many: max, or 0. What
 * repeats at a short distance is taken to go on repeating. */
uint32_t lookup_guess(const int32_t *id, uint32_t n, uint32_t max, int32_t *out);

#endif
