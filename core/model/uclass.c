/* uclass.c - expands the runs, adds what Unicode has no class for. */
#include "core/model/uclass.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/model/uclass_runs.h"

uint8_t uclass_table[UCLASS_N];

static const uint32_t runs[] = { UCLASS_RUNS };

static void set(uint32_t from, uint32_t to, uint8_t bits)
{
    for (uint32_t c = from; c <= to; c++)
        uclass_table[c] |= bits;
}

static void fill(void)
{
    static const uint8_t bits[4] = { 0, UC_PUNCT, UC_LETTER, UC_NUMBER };
    static const struct { uint32_t from, to; } space[] = {
        { 0x09, 0x0d }, { 0x20, 0x20 }, { 0x85, 0x85 }, { 0xa0, 0xa0 }, { 0x1680, 0x1680 },
        { 0x2000, 0x200a }, { 0x2028, 0x2029 }, { 0x202f, 0x202f }, { 0x205f, 0x205f },
        { 0x3000, 0x3000 },
    };
    uint32_t at = 0;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        const uint32_t n = runs[i] / 4;
        assert(n <= UCLASS_N - at);
        memset(uclass_table + at, bits[runs[i] % 4], n);
        at += n;
    }
    for (size_t i = 0; i < sizeof space / sizeof *space; i++)
        set(space[i].from, space[i].to, UC_SPACE);
    set('\r', '\r', UC_BREAK);
    set('\n', '\n', UC_BREAK);
    for (const char *mark = "$+<=>^~|"; *mark; mark++)
        set((uint8_t)*mark, (uint8_t)*mark, UC_MARK);
    set('`', '`', UC_TICK);
}

void uclass_open(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
}

const char *uclass_version(void)
{
    return UCLASS_VERSION;
}

unsigned uclass_far(const uint8_t *p, const uint8_t *end, size_t *n)
{
    uint32_t cp;
    *n = utf8_decode((const char *)p, (size_t)(end - p), &cp);
    if (*n == 0) {
        *n = 1;
        return 0;
    }
    return cp < UCLASS_N ? uclass_table[cp] : 0;
}
