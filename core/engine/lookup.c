/* lookup.c - one look back over the ids. */
#include "core/engine/lookup.h"

/* Tokens before `at` that equal those before n, at most LOOKUP_MAX. */
static uint32_t agree(const int32_t *id, uint32_t at, uint32_t n)
{
    uint32_t k = 0;
    while (k < LOOKUP_MAX && k < at && id[at - 1 - k] == id[n - 1 - k])
        k++;
    return k;
}

uint32_t lookup_guess(const int32_t *id, uint32_t n, uint32_t max, int32_t *out)
{
    uint32_t best = LOOKUP_MIN - 1, from = 0;
    for (uint32_t at = n ? n - 1 : 0; at >= LOOKUP_MIN && best < LOOKUP_MAX; at--) {
        const uint32_t k = agree(id, at, n);
        if (k > best) {
            best = k;
            from = at;
        }
    }
    if (!from)
        return 0;
    for (uint32_t i = 0; i < max; i++)
        out[i] = from + i < n ? id[from + i] : out[from + i - n];
    return max;
}
