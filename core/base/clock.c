/* clock.c - one call and the arithmetic around it. */
#include "core/base/clock.h"

static struct timespec now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t;
}

uint64_t clock_ns(void)
{
    const struct timespec t = now();
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t clock_us(void)
{
    return clock_ns() / 1000;
}

uint64_t clock_ms(void)
{
    return clock_ns() / 1000000;
}

double clock_s(void)
{
    return (double)clock_ns() * 1e-9;
}

struct timespec clock_after(int64_t ms)
{
    const uint64_t ns = clock_ns() + (uint64_t)ms * 1000000;
    return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
                              .tv_nsec = (long)(ns % 1000000000) };
}
