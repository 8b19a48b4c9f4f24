/* api_schema_parts.h - the inside of the schema compiler, for its files.
 *
 * A schema's expression is GBNF text; expressions are put together by adding
 * text to a buffer. Failures of memory are found at the end, by the buffers'
 * own marks. */
#ifndef BITNET_SERVE_API_SCHEMA_PARTS_H
#define BITNET_SERVE_API_SCHEMA_PARTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/serve/api_schema.h"

/* Rules that every grammar may use; those that are, are written at the end. */
enum schema_common {
    COMMON_STRING, COMMON_CHAR, COMMON_HEX, COMMON_INTEGER, COMMON_NUMBER, COMMON_VALUE,
    COMMON_OBJECT, COMMON_ARRAY, COMMON_WS, COMMON_SP, COMMON_DATE, COMMON_TIME, COMMON_OCTET,
    COMMON_N
};

struct schema_part {
    const json_t *j;
    unsigned rule;
};

struct schema {
    json_t *root;
    json_t *kept;                /* array: schemas that were put together          */
    struct buf *out;             /* finished rules                                 */
    struct buf path;             /* where in the schema, for messages              */
    struct err *e;
    unsigned n_rule, depth;
    unsigned n_merge;            /* schemas put together so far                    */
    uint32_t used;               /* bits of enum schema_common                     */
    unsigned n_part;
    struct schema_part part[SCHEMA_MAX_PART];
};

/* "#/properties/a/KEYWORD: ..." (keyword NULL: the schema itself). */
__attribute__((format(printf, 4, 5)))
int schema_fail(struct schema *, int code, const char *keyword, const char *fmt, ...);

/* Adds the common rule's name, and sees to it that it is written. */
void schema_common(struct schema *, enum schema_common, struct buf *);

/* COMMON_CHAR without a call. */
void schema_char(struct schema *, struct buf *);

/* A GBNF literal of the JSON text of a value. */
int schema_value(struct schema *, const json_t *, struct buf *);

/* The name of j's rule, which is written if it is new. keyword and name lead
 * to it; name may be NULL. */
int schema_rule(struct schema *, const json_t *j, const char *keyword, const char *name,
                struct buf *);

/* api_schema_nest.c: types array and object. */
int schema_array(struct schema *, const json_t *, struct buf *);
int schema_object(struct schema *, const json_t *, struct buf *);
/* api_schema_number.c: what type integer or number with its bounds allows. */
int schema_number(struct schema *, const json_t *, bool integer, struct buf *);
/* api_schema_string.c: type string with its lengths, format or pattern. */
int schema_string(struct schema *, const json_t *, struct buf *);
/* api_schema_regex.c: a JSON string that the pattern matches, with its quotes. */
int schema_pattern(struct schema *, const char *pattern, size_t n, struct buf *);
/* api_schema_merge.c: one schema that allows what both do, owned by s->kept;
 * NULL after a failure. flat: a schema without $ref and allOf. */
json_t *schema_merge(struct schema *, const json_t *, const json_t *);
json_t *schema_flat(struct schema *, const json_t *);
const json_t *schema_resolve(struct schema *, const json_t *ref);
bool schema_is_note(const char *key);       /* a keyword that asserts nothing */

/* A whole number from 0 up to max under this keyword; *has says whether. */
int schema_count(struct schema *, const json_t *, const char *keyword, uint32_t max, bool *has,
                 uint32_t *out);

#endif
