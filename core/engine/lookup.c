/* lookup.c - one look back over the ids, and when to believe it. */
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

uint32_t lookup_bet(struct lookup *l, uint32_t max)
{
    const uint32_t bet = l->bet ? l->bet : LOOKUP_FIRST;
    if (l->wait) {
        l->wait--;
        return 0;
    }
    return bet < max ? bet : max;
}

void lookup_learn(struct lookup *l, uint32_t n, uint32_t n_ok)
{
    if (n_ok) {
        l->bet = n_ok == n ? 2 * n : n_ok + 1;
        l->rest = 0;
        return;
    }
    l->bet = 1;
    l->rest = 2 * l->rest + 1 < LOOKUP_WAIT ? 2 * l->rest + 1 : LOOKUP_WAIT;
    l->wait = l->rest;
}
