/* api_params.h - the fields that OpenAI's generating endpoints share.
 *
 * Sampling, stop, seed, n and what goes with them: one table, so that a field
 * means the same in completions and in chat. [any thread] */
#ifndef BITNET_SERVE_API_PARAMS_H
#define BITNET_SERVE_API_PARAMS_H

#include "core/serve/api_json.h"
#include "core/serve/gen.h"

enum {
    API_MAX_STOP = 16,            /* a request's own; templates add theirs     */
    API_MAX_TIMEOUT_MS = 86400000 /* a day                                     */
};

enum api_format { API_TEXT, API_JSON_OBJECT, API_JSON_SCHEMA, API_GRAMMAR };

struct api_common {
    const char *model;            /* NULL: not given                           */
    struct gen_params gen;        /* gen.sample passes sample_check            */
    bool stream, include_usage;
    enum api_format format;       /* what every text must be                   */
    struct str schema;            /* API_JSON_SCHEMA: JSON text                */
    struct str grammar;           /* API_GRAMMAR: GBNF                         */
};

#define API_COMMON_DEFAULT { .gen = GEN_PARAMS_DEFAULT }

/* out: API_COMMON_DEFAULT before. */
int api_read_common(struct api_in *, const json_t *root, struct api_common *out);

/* The gen's grammar from format, schema and grammar. param: the field that the
 * format came from. [http] */
int gen_set_format(struct gen *, const struct api_common *, const char *param, struct api_error *);

/* For other dialects: a format's object with type and what belongs to it, into
 * an api_common at `to`; a name into an enum priority; a text or an array of
 * texts into gen's stop, from gen_params at `to`. */
int api_read_format(struct api_in *, const json_t *, const struct api_field *, void *to);
int api_read_priority(struct api_in *, const json_t *, const struct api_field *, void *to);
int api_read_stop(struct api_in *, const json_t *, const struct api_field *, void *to);

#endif
