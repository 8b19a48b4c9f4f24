/* emul_forms.c - the one form of avx512.h that stands in for one SIMDe has: the
 * same numbers, for random bytes and those that are furthest out. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Every fourth time all bytes of a, or b, are the same extreme. */
static void fill(uint8_t *p, uint32_t *state)
{
    static const uint8_t ends[] = { 0, 127, 128, 255 };
    const uint32_t kind = next_random(state) % 8;
    for (int i = 0; i < 64; i++)
        p[i] = kind < 4 ? ends[kind] : (uint8_t)next_random(state);
}

int main(void)
{
    uint32_t state = 1;
    for (int n = 0; n < 100000; n++) {
        uint8_t a[64], b[64], src[64], mine[64], theirs[64];
        fill(a, &state);
        fill(b, &state);
        fill(src, &state);
        const simde__m512i x = simde_mm512_loadu_si512(a), y = simde_mm512_loadu_si512(b);
        const simde__m512i s = simde_mm512_loadu_si512(src);
        simde_mm512_storeu_si512(mine, emul_dpbusd_epi32(s, x, y));
        simde_mm512_storeu_si512(theirs, simde_mm512_dpbusd_epi32(s, x, y));
        if (memcmp(mine, theirs, sizeof mine)) {
            printf("dpbusd, turn %d: the two forms differ\n", n);
            return 1;
        }
    }
    return 0;
}
