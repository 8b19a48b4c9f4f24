/* api_schema.h - a JSON schema as a grammar of the documents it allows.
 *
 * The subset is in docs/grammar.md. Whatever a schema says that this cannot
 * guarantee is refused and named by its place in the schema; nothing that
 * would narrow the documents is passed over. The same schema gives the same
 * text, byte by byte. [any thread] */
#ifndef BITNET_SERVE_API_SCHEMA_H
#define BITNET_SERVE_API_SCHEMA_H

#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum {
    SCHEMA_MAX_TEXT = 256 << 10,    /* bytes of a schema                         */
    SCHEMA_MAX_DEPTH = 64,          /* schemas inside schemas                    */
    SCHEMA_MAX_PART = 4096,         /* schemas in one, properties included       */
    SCHEMA_MAX_ENUM = 1000          /* values of one enum                        */
};

/* Appends GBNF to out. ERR_ARG: not JSON, or not a schema; ERR_UNSUPPORTED: a
 * keyword or a use of it that is not here; ERR_LIMIT; ERR_NOMEM. The text
 * starts with the place: "#/properties/a/pattern: ...". */
int api_schema_to_gbnf(const char *json, size_t n, struct buf *gbnf, struct err *);

extern const char api_json_object_gbnf[];       /* any JSON object */

#endif
