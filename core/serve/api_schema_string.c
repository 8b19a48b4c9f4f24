/* api_schema_string.c - strings by length, format or pattern. */
#include <string.h>

#include "core/serve/api_schema_parts.h"

enum {
    MAX_LENGTH = 65536,          /* GRAMMAR_MAX_REPEAT */
    MAX_INLINE = 16              /* characters without a call */
};

#define USE(name) ((uint32_t)1 << COMMON_##name)

static const struct format {
    const char *name, *gbnf;
    uint32_t uses;
} formats[] = {
    { "date", "\"\\\"\" date \"\\\"\"", USE(DATE) },
    { "time", "\"\\\"\" time \"\\\"\"", USE(TIME) },
    { "date-time", "\"\\\"\" date \"T\" time \"\\\"\"", USE(DATE) | USE(TIME) },
    { "uuid", "\"\\\"\" hex{8} \"-\" hex{4} \"-\" hex{4} \"-\" hex{4} \"-\" hex{12} \"\\\"\"",
      USE(HEX) },
    { "ipv4", "\"\\\"\" (octet \".\"){3} octet \"\\\"\"", USE(OCTET) },
};

static int by_format(struct schema *s, const json_t *v, struct buf *out)
{
    if (!json_is_string(v))
        return schema_fail(s, ERR_ARG, "format", "must be a string");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(json_string_value(v), formats[i].name) == 0) {
            s->used |= formats[i].uses;
            buf_addf(out, "%s", formats[i].gbnf);
            return 0;
        }
    return schema_fail(s, ERR_UNSUPPORTED, "format", "unknown, expected date, time, date-time, "
                       "uuid or ipv4; leave it out");
}

int schema_string(struct schema *s, const json_t *j, struct buf *out)
{
    bool has_min, has_max;
    uint32_t min, max;
    int rc = schema_count(s, j, "minLength", MAX_LENGTH, &has_min, &min);
    if (!rc)
        rc = schema_count(s, j, "maxLength", MAX_LENGTH, &has_max, &max);
    if (rc)
        return rc;
    const json_t *const format = json_object_get(j, "format");
    const json_t *const pattern = json_object_get(j, "pattern");
    if ((format != NULL) + (pattern != NULL) + (has_min || has_max) > 1)
        return schema_fail(s, ERR_UNSUPPORTED, pattern ? "pattern" : "format", "only one of "
                           "pattern, format and lengths is supported; put lengths into the pattern");
    if (format)
        return by_format(s, format, out);
    if (pattern && !json_is_string(pattern))
        return schema_fail(s, ERR_ARG, "pattern", "must be a string");
    if (pattern)
        return schema_pattern(s, json_string_value(pattern), json_string_length(pattern), out);
    if (!has_min && !has_max) {
        schema_common(s, COMMON_STRING, out);
        return 0;
    }
    if (has_max && max < min)
        return schema_fail(s, ERR_ARG, "maxLength", "%u is less than minLength, %u", max, min);
    /* Where a character must come, a call would end with it, and every token
     * would have to go on from its return: see grammar_walk.c. */
    const uint32_t inlined = min < MAX_INLINE ? min : MAX_INLINE;
    buf_addf(out, "\"\\\"\" ");
    if (inlined) {
        schema_char(s, out);
        buf_addf(out, "{%u} ", inlined);
    }
    schema_common(s, COMMON_CHAR, out);
    buf_addf(out, "{%u,", min - inlined);
    if (has_max)
        buf_addf(out, "%u", max - inlined);
    buf_addf(out, "} \"\\\"\"");
    return 0;
}
