/* clock.h - the monotonic clock in the units that are used.
 *
 * One origin for all of them: the machine's start, as a rule. Differences mean
 * something, values do not, and they never go backwards. [any thread] */
#ifndef BITNET_BASE_CLOCK_H
#define BITNET_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

uint64_t clock_ns(void);
uint64_t clock_us(void);
uint64_t clock_ms(void);
double clock_s(void);
/* So many milliseconds from now: for waits on CLOCK_MONOTONIC. ms >= 0. */
struct timespec clock_after(int64_t ms);

#endif
