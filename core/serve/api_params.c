/* api_params.c - one table for the fields that generating endpoints share. */
#include "core/serve/api_params.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/grammar.h"

/* One float of gen_params.sample (at: offset in gen_params). sample_check knows
 * the ranges; what was read before passes it, so a complaint is about this
 * field. */
static int read_sample(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct gen_params *p = (struct gen_params *)(void *)((char *)to - f->at);
    struct err e = { 0 };
    int rc = api_read_float(in, j, f, to);
    if (!rc && sample_check(&p->sample, &e))
        rc = api_fail(in, 400, "invalid_value", "%s", e.text);
    return rc;
}

static int read_seed(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct gen_params *p = (struct gen_params *)(void *)((char *)to - f->at);
    p->has_seed = true;
    return api_read_u64(in, j, f, to);
}

static int add_stop(struct api_in *in, const json_t *j, struct gen_params *p)
{
    static const struct api_field length = { .min = 1, .max = REPLY_MAX_STOP_SIZE };
    if (!json_is_string(j))
        return api_wrong_type(in, "a string or an array of strings");
    if (p->n_stop == API_MAX_STOP)
        return api_bad_value(in, "more than %d strings", API_MAX_STOP);
    return api_read_text(in, j, &length, &p->stop[p->n_stop++]);
}

int api_read_stop(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    if (!json_is_array(j))
        return add_stop(in, j, to);
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(j); i++)
        rc = add_stop(in, json_array_get(j, i), to);
    return rc;
}

/* ---- numbers that need more than a range ---- */

static int add_bias(struct api_in *in, const char *key, const json_t *j, struct sample_bias *out)
{
    char *end = NULL;
    const unsigned long id = *key >= '0' && *key <= '9' ? strtoul(key, &end, 10) : ULONG_MAX;
    if (id > INT32_MAX || *end)
        return api_bad_value(in, "\"%.32s\" is not a token id", key);
    const double v = json_is_number(j) ? json_number_value(j) : 1e9;
    if (!(v >= -100 && v <= 100))
        return api_bad_value(in, "token %lu: must be a number from -100 to 100", id);
    *out = (struct sample_bias){ (int32_t)id, (float)v };
    return 0;
}

static int read_logit_bias(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    struct sample_params *p = to;
    if (!json_is_object(j))
        return api_wrong_type(in, "an object of token ids");
    const size_t n = json_object_size(j);
    if (n > SAMPLE_MAX_BIAS)
        return api_bad_value(in, "%zu tokens, at most %d are taken", n, SAMPLE_MAX_BIAS);
    struct sample_bias *b = arena_alloc(in->arena, n ? n : 1, sizeof *b);
    if (!b)
        return api_no_memory(in);
    uint32_t i = 0;
    json_t *object = (json_t *)(uintptr_t)j, *v;     /* jansson's macro takes no const */
    const char *key;
    json_object_foreach(object, key, v) {
        const int rc = add_bias(in, key, v, &b[i++]);
        if (rc)
            return rc;
    }
    p->bias = b;
    p->n_bias = i;
    return 0;
}

int api_read_priority(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    static const char *const name[] = { "low", "normal", "high" };
    const char *s = json_string_value(j);
    for (unsigned i = 0; s && i < 3; i++)
        if (!strcmp(s, name[i])) {
            *(enum priority *)to = (enum priority)(PRIORITY_LOW + (int)i);
            return 0;
        }
    return s ? api_bad_value(in, "must be low, normal or high")
             : api_wrong_type(in, "low, normal or high");
}

static int read_cache_prompt(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    bool cache = true;
    const int rc = api_read_bool(in, j, f, &cache);
    *(bool *)to = !cache;
    return rc;
}

/* ---- what a text must be ---- */

static int read_grammar(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct api_common *c = to;
    if (c->format != API_TEXT)
        return api_bad_value(in, "stands beside response_format: give one of them");
    c->format = API_GRAMMAR;
    return api_read_text(in, j, f, &c->grammar);
}

static int take_schema(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    if (!json_is_object(j) && !json_is_boolean(j))
        return api_wrong_type(in, "a JSON schema");
    return api_read_json(in, j, f, to);
}

static int take_json_schema(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    static const struct api_field field[] = { { "schema", take_schema, 0, 0, 0 } };
    return json_is_object(j) ? api_read_fields(in, j, field, 1, to) : api_wrong_type(in, "an object");
}

int api_read_format(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    /* OpenAI's chat has the schema in json_schema, its responses beside type. */
    static const struct api_field type[] = { { "type", api_read_name, 0, 0, 0 } };
    static const struct api_field schema[] = { { "json_schema", take_json_schema, 0, 0, 0 },
                                               { "schema", take_schema, 0, 0, 0 } };
    struct api_common *c = to;
    const char *name = NULL;
    if (!json_is_object(j))
        return api_wrong_type(in, "an object");
    int rc = api_read_fields(in, j, type, 1, &name);
    if (rc || !name)
        return rc ? rc : api_missing(in, "type");
    if (!strcmp(name, "json_object"))
        c->format = API_JSON_OBJECT;
    else if (!strcmp(name, "json_schema"))
        c->format = API_JSON_SCHEMA;
    else if (strcmp(name, "text"))
        return api_bad_value(in, "type \"%.32s\", expected text, json_object or json_schema", name);
    if (c->format != API_JSON_SCHEMA)
        return 0;
    rc = api_read_fields(in, j, schema, 2, &c->schema);
    return rc || c->schema.p ? rc : api_missing(in, "json_schema.schema");
}

/* ---- the tables ---- */

static int read_stream_options(struct api_in *in, const json_t *j, const struct api_field *f,
                               void *to)
{
    static const struct api_field field[] = { { "include_usage", api_read_bool, 0, 0, 0 } };
    const struct api_common *c = (const struct api_common *)(void *)((char *)to - f->at);
    if (!json_is_object(j))
        return api_wrong_type(in, "an object");
    if (!c->stream)
        return api_bad_value(in, "needs stream to be true");
    return api_read_fields(in, j, field, 1, to);
}

#define GEN(field) offsetof(struct gen_params, field)

static const struct api_field gen_field[] = {
    { "temperature", read_sample, GEN(sample.temperature), 0, 0 },
    { "top_p", read_sample, GEN(sample.top_p), 0, 0 },
    { "min_p", read_sample, GEN(sample.min_p), 0, 0 },
    { "top_k", api_read_u32, GEN(sample.top_k), 0, UINT32_MAX },
    { "repetition_penalty", read_sample, GEN(sample.repeat_penalty), 0, 0 },
    { "repeat_penalty", read_sample, GEN(sample.repeat_penalty), 0, 0 },
    { "seed", read_seed, GEN(sample.seed), 0, INT64_MAX },
    { "stop", api_read_stop, 0, 0, 0 },
    { "n", api_read_u32, GEN(n), 1, GEN_MAX_CHOICE },
    { "typical_p", read_sample, GEN(sample.typical_p), 0, 0 },
    { "presence_penalty", read_sample, GEN(sample.presence_penalty), 0, 0 },
    { "frequency_penalty", read_sample, GEN(sample.frequency_penalty), 0, 0 },
    { "logit_bias", read_logit_bias, GEN(sample), 0, 0 },
    { "priority", api_read_priority, GEN(priority), 0, 0 },
    { "n_draft", api_read_u32, GEN(n_draft), 0, REQUEST_MAX_DRAFT },
    { "cache_prompt", read_cache_prompt, GEN(no_cache), 0, 0 },
    { "timeout_ms", api_read_u32, GEN(timeout_ms), 1, API_MAX_TIMEOUT_MS },
};

static const struct api_field common_field[] = {     /* stream before its options */
    { "model", api_read_name, offsetof(struct api_common, model), 0, 0 },
    { "stream", api_read_bool, offsetof(struct api_common, stream), 0, 0 },
    { "stream_options", read_stream_options, offsetof(struct api_common, include_usage), 0, 0 },
    { "response_format", api_read_format, 0, 0, 0 },
    { "grammar", read_grammar, 0, 1, GRAMMAR_MAX_TEXT },
};

int api_read_common(struct api_in *in, const json_t *root, struct api_common *out)
{
    int rc = api_read_fields(in, root, common_field, sizeof common_field / sizeof *common_field,
                             out);
    return rc ? rc : api_read_fields(in, root, gen_field, sizeof gen_field / sizeof *gen_field,
                                     &out->gen);
}
