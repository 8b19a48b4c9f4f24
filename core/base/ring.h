/* ring.h - a bounded queue of 32-bit words between one writer and one reader.
 *
 * Wait-free on both sides. The engine writes tokens, a consumer reads them. */
#ifndef BITNET_BASE_RING_H
#define BITNET_BASE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ring {
    uint32_t *slot;
    uint32_t mask;                    /* capacity - 1 */
    _Alignas(64) _Atomic uint32_t w;  /* words ever written */
    _Alignas(64) _Atomic uint32_t r;  /* words ever read */
};

int ring_open(struct ring *, uint32_t capacity);  /* rounded up to a power of two; 0 or ERR_NOMEM */
void ring_close(struct ring *);
bool ring_push(struct ring *, uint32_t v);        /* [writer] false: full */
bool ring_pop(struct ring *, uint32_t *v);        /* [reader] false: empty */
uint32_t ring_space(const struct ring *);         /* [writer] words that fit */

#endif
