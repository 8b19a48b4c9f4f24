/* hf_json.h - the JSON files of a Hugging Face directory, read under limits.
 *
 * A key that occurs twice is refused, and so is everything behind the end; the
 * nesting is bounded by the parser, the size by the caller, the memory by the
 * number of values. */
#ifndef BITNET_MODEL_HF_JSON_H
#define BITNET_MODEL_HF_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

/* Each takes some 100 bytes; Gemma's tokenizer.json has 2 million. */
enum { HF_JSON_MAX_VALUES = 1 << 23 };

/* n bytes, which must be an object; json_decref it. name is for messages. */
int hf_json_parse(json_t **out, const char *name, const void *p, size_t n, struct err *);
/* The same for a file of at most max bytes. */
int hf_json_read(json_t **out, const char *path, size_t max, struct err *);

/* For messages: "a number", "null". */
const char *hf_json_kind(const json_t *);
/* For messages, a text of the file: at most 100 bytes of it, on one line. */
struct hf_quoted {
    char text[176];
};
struct hf_quoted hf_quote(struct str);

#endif
