/* fuzz_trace.c - any bytes as a traceparent.
 *
 * What is accepted holds ids of lower-case hex, not all zero, that stood in it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/trace.h"
#include "tests/fuzz/fuzz.h"

static void check_id(const char *id, size_t digits, const char *where)
{
    if (strlen(id) != digits || strspn(id, "0123456789abcdef") != digits ||
        strspn(id, "0") == digits || memcmp(id, where, digits) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct trace t = { .trace_id = "untouched" };
    char *text = malloc(n ? n : 1);   /* exactly so long: a read behind it shows */
    if (!text)
        return 0;
    memcpy(text, data, n);
    if (trace_parse(&t, text, n)) {
        check_id(t.trace_id, 32, text + 3);
        check_id(t.parent_id, 16, text + 36);
    } else if (strcmp(t.trace_id, "untouched")) {
        abort();
    }
    free(text);
    return 0;
}
