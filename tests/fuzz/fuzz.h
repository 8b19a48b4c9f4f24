/* fuzz.h - what fuzzers share: the entry, and a check that is there in every
 * build. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline void require(int holds)
{
    if (!holds)
        abort();
}

/* A refusal has its code and its line; success has neither. */
static inline void fuzz_err(int rc, const struct err *e)
{
    require(rc == e->code && (rc < 0) == (e->text[0] != 0) && !strchr(e->text, '\n'));
}

/* What follows the first byte, which is the fuzzer's own, in memory that may be
 * changed; free it. NULL: there is none. */
static inline uint8_t *fuzz_rest(const uint8_t *data, size_t n, size_t *size)
{
    *size = n ? n - 1 : 0;
    uint8_t *copy = malloc(*size + 1);
    if (copy && *size)
        memcpy(copy, data + 1, *size);
    return copy;
}

#endif
