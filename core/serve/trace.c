/* trace.c - reading and making trace ids. https://www.w3.org/TR/trace-context/ */
#include "core/serve/trace.h"

#include <sodium.h>
#include <string.h>

enum { VERSION_00_SIZE = 55 };    /* 2-32-16-2 and three dashes                */

/* n lower-case hex digits; *zero: all of them are 0. */
static bool is_hex(const char *p, size_t n, bool *zero)
{
    *zero = true;
    for (size_t i = 0; i < n; i++) {
        if (!(p[i] >= '0' && p[i] <= '9') && !(p[i] >= 'a' && p[i] <= 'f'))
            return false;
        *zero = *zero && p[i] == '0';
    }
    return true;
}

bool trace_parse(struct trace *t, const char *p, size_t n)
{
    bool zero, trace_zero, parent_zero;
    if (n < VERSION_00_SIZE || p[2] != '-' || p[35] != '-' || p[52] != '-' ||
        !is_hex(p, 2, &zero) || !memcmp(p, "ff", 2))
        return false;
    /* A later version may have more behind a dash, version 00 may not. */
    if (n > VERSION_00_SIZE && (zero || p[VERSION_00_SIZE] != '-'))
        return false;
    if (!is_hex(p + 3, 32, &trace_zero) || trace_zero || !is_hex(p + 36, 16, &parent_zero) ||
        parent_zero || !is_hex(p + 53, 2, &zero))
        return false;
    memcpy(t->trace_id, p + 3, 32);
    memcpy(t->parent_id, p + 36, 16);
    t->trace_id[32] = t->parent_id[16] = 0;
    const char low = p[54];       /* bit 0 of the flags */
    t->sampled = (low <= '9' ? low - '0' : low - 'a' + 10) & 1;
    return true;
}

void trace_begin(struct trace *t, const char *header, unsigned percent)
{
    unsigned char raw[16];
    *t = (struct trace){ .sampled = false };
    if (!header || !trace_parse(t, header, strlen(header))) {
        randombytes_buf(raw, sizeof raw);
        raw[0] |= 1;              /* all zero would be no id */
        sodium_bin2hex(t->trace_id, sizeof t->trace_id, raw, 16);
        t->sampled = randombytes_uniform(100) < percent;
    }
    randombytes_buf(raw, 8);
    raw[0] |= 1;
    sodium_bin2hex(t->span_id, sizeof t->span_id, raw, 8);
}
