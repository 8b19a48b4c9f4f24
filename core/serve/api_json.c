/* api_json.c - reading a completion request.
 *
 * jansson parses, and recurses while it does: the body is scanned first, so
 * that its depth and the memory of its containers are bounded. Then a table
 * says what each field must be; fields that are not in it are ignored. */
#include "core/serve/api_json.h"

#include <float.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct parse {
    struct arena *arena;
    struct api_completion *out;
    struct api_error *error;
    const char *field;            /* the one being read                        */
};

__attribute__((format(printf, 4, 5)))
static int fail(struct parse *p, unsigned status, const char *code, const char *fmt, ...)
{
    struct api_error *e = p->error;
    e->status = status;
    e->code = code;
    e->param = p->field;
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(e->message, sizeof e->message, fmt, ap) < 0)
        e->message[0] = 0;
    va_end(ap);
    return status == 500 ? ERR_NOMEM : ERR_ARG;
}

static int no_memory(struct parse *p)
{
    return fail(p, 500, NULL, "no memory for the request");
}

static int wrong_type(struct parse *p, const char *want)
{
    return fail(p, 400, "invalid_type", "%s: must be %s", p->field, want);
}

/* ---- one function per kind of field; j is never null there ---- */

static int read_bool(struct parse *p, const json_t *j, bool *out)
{
    if (!json_is_boolean(j))
        return wrong_type(p, "true or false");
    *out = json_is_true(j);
    return 0;
}

static int read_u64(struct parse *p, const json_t *j, uint64_t min, uint64_t max, uint64_t *out)
{
    json_int_t v = json_is_integer(j) ? json_integer_value(j) : -1;
    if (!json_is_integer(j) || v < 0 || (uint64_t)v < min || (uint64_t)v > max)
        return fail(p, 400, json_is_integer(j) ? "invalid_value" : "invalid_type",
                    "%s: must be a whole number from %llu to %llu", p->field,
                    (unsigned long long)min, (unsigned long long)max);
    *out = (uint64_t)v;
    return 0;
}

/* The text in the arena: jansson's own copy ends with the parse. */
static int read_text(struct parse *p, const json_t *j, struct str *out)
{
    out->n = json_string_length(j);
    out->p = arena_strndup(p->arena, json_string_value(j), out->n);
    return out->p ? 0 : no_memory(p);
}

static int read_model(struct parse *p, const json_t *j)
{
    struct str s;
    if (!json_is_string(j))
        return wrong_type(p, "a string");
    int rc = read_text(p, j, &s);
    if (!rc && memchr(s.p, 0, s.n))
        return fail(p, 400, "invalid_value", "model: must not hold a NUL character");
    p->out->model = s.p;
    return rc;
}

static int read_ids(struct parse *p, const json_t *j, struct api_prompt *out)
{
    size_t n = json_array_size(j);
    int32_t *id = arena_alloc(p->arena, n ? n : 1, sizeof *id);
    if (!id)
        return no_memory(p);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(j, i);
        json_int_t t = json_is_integer(v) ? json_integer_value(v) : -1;
        if (t < 0 || t > INT32_MAX)
            return fail(p, 400, "invalid_value", "prompt: element %zu is not a token id", i);
        id[i] = (int32_t)t;
    }
    *out = (struct api_prompt){ .is_token = true, .id = id, .n_id = (uint32_t)n };
    return 0;
}

static int read_prompt(struct parse *p, const json_t *j)
{
    static const char want[] = "a string, an array of token ids, or an array of up to 16 of these";
    struct api_completion *c = p->out;
    if (json_is_string(j)) {
        c->n_prompt = 1;
        return read_text(p, j, &c->prompt[0].text);
    }
    size_t n = json_array_size(j);
    if (!n)
        return json_is_array(j) ? fail(p, 400, "invalid_value", "prompt: the array is empty")
                                : wrong_type(p, want);
    if (json_is_integer(json_array_get(j, 0))) {
        c->n_prompt = 1;
        return read_ids(p, j, &c->prompt[0]);
    }
    if (n > API_MAX_PROMPT)
        return fail(p, 400, "invalid_value", "prompt: %zu prompts, at most %d are taken", n,
                    API_MAX_PROMPT);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(j, i);
        int rc = json_is_string(v)  ? read_text(p, v, &c->prompt[i].text)
                 : json_is_array(v) ? read_ids(p, v, &c->prompt[i])
                                    : wrong_type(p, want);
        if (rc)
            return rc;
    }
    c->n_prompt = (unsigned)n;
    return 0;
}

static int read_max_tokens(struct parse *p, const json_t *j)
{
    uint64_t v = 0;
    int rc = read_u64(p, j, 1, API_MAX_NEW, &v);
    p->out->max_tokens = (uint32_t)v;
    return rc;
}

/* sample_check knows the ranges; what has been read before passes it, so a
 * complaint is about this field. */
static int check_sample(struct parse *p)
{
    struct err e = { 0 };
    if (!sample_check(&p->out->sample, &e))
        return 0;
    return fail(p, 400, "invalid_value", "%s", e.text);
}

static int read_float(struct parse *p, const json_t *j, float *out)
{
    if (!json_is_number(j))
        return wrong_type(p, "a number");
    double v = json_number_value(j);
    if (!(v >= -(double)FLT_MAX && v <= (double)FLT_MAX))
        return fail(p, 400, "invalid_value", "%s: %g is out of range", p->field, v);
    *out = (float)v;
    return check_sample(p);
}

static int read_temperature(struct parse *p, const json_t *j)
{
    return read_float(p, j, &p->out->sample.temperature);
}

static int read_top_p(struct parse *p, const json_t *j)
{
    return read_float(p, j, &p->out->sample.top_p);
}

static int read_min_p(struct parse *p, const json_t *j)
{
    return read_float(p, j, &p->out->sample.min_p);
}

static int read_repeat_penalty(struct parse *p, const json_t *j)
{
    return read_float(p, j, &p->out->sample.repeat_penalty);
}

static int read_top_k(struct parse *p, const json_t *j)
{
    uint64_t v = 0;
    int rc = read_u64(p, j, 0, UINT32_MAX, &v);
    p->out->sample.top_k = (uint32_t)v;
    return rc ? rc : check_sample(p);
}

static int read_seed(struct parse *p, const json_t *j)
{
    p->out->has_seed = true;
    return read_u64(p, j, 0, INT64_MAX, &p->out->sample.seed);
}

static int add_stop(struct parse *p, const json_t *j)
{
    struct api_completion *c = p->out;
    if (!json_is_string(j))
        return wrong_type(p, "a string or an array of strings");
    size_t n = json_string_length(j);
    if (!n || n > REPLY_MAX_STOP_SIZE)
        return fail(p, 400, "invalid_value", "stop: a string of %zu bytes, expected 1 to %d", n,
                    REPLY_MAX_STOP_SIZE);
    if (c->n_stop == REPLY_MAX_STOP)
        return fail(p, 400, "invalid_value", "stop: more than %d strings", REPLY_MAX_STOP);
    return read_text(p, j, &c->stop[c->n_stop++]);
}

static int read_stop(struct parse *p, const json_t *j)
{
    if (!json_is_array(j))
        return add_stop(p, j);
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(j); i++)
        rc = add_stop(p, json_array_get(j, i));
    return rc;
}

static int read_stream(struct parse *p, const json_t *j)
{
    return read_bool(p, j, &p->out->stream);
}

static int read_echo(struct parse *p, const json_t *j)
{
    return read_bool(p, j, &p->out->echo);
}

static int read_stream_options(struct parse *p, const json_t *j)
{
    if (!json_is_object(j))
        return wrong_type(p, "an object");
    if (!p->out->stream)
        return fail(p, 400, "invalid_value", "stream_options: needs stream to be true");
    const json_t *usage = json_object_get(j, "include_usage");
    p->field = "stream_options.include_usage";
    return usage && !json_is_null(usage) ? read_bool(p, usage, &p->out->include_usage) : 0;
}

/* ---- fields of OpenAI's that would change the answer and that we lack: the
 * value that changes nothing is accepted, any other is refused ---- */

static int only_one(struct parse *p, const json_t *j)
{
    if (json_is_integer(j) && json_integer_value(j) == 1)
        return 0;
    return fail(p, 400, "unsupported_value", "%s: only 1 is supported", p->field);
}

static int only_zero(struct parse *p, const json_t *j)
{
    if (json_is_number(j) && json_number_value(j) == 0)
        return 0;
    return fail(p, 400, "unsupported_value", "%s: only 0 is supported; see repetition_penalty",
                p->field);
}

static int only_null(struct parse *p, const json_t *j)
{
    (void)j;
    return fail(p, 400, "unsupported_value", "%s: only null is supported", p->field);
}

static int only_empty(struct parse *p, const json_t *j)
{
    if ((json_is_string(j) && !json_string_length(j)) || (json_is_object(j) && !json_object_size(j)))
        return 0;
    return fail(p, 400, "unsupported_value", "%s: is not supported", p->field);
}

static const struct {
    const char *name;
    int (*read)(struct parse *, const json_t *);
} field[] = {                     /* stream before stream_options              */
    { "model", read_model }, { "prompt", read_prompt }, { "max_tokens", read_max_tokens },
    { "temperature", read_temperature }, { "top_p", read_top_p }, { "top_k", read_top_k },
    { "min_p", read_min_p }, { "repetition_penalty", read_repeat_penalty },
    { "repeat_penalty", read_repeat_penalty }, { "seed", read_seed }, { "stop", read_stop },
    { "stream", read_stream }, { "stream_options", read_stream_options }, { "echo", read_echo },
    { "n", only_one }, { "best_of", only_one }, { "presence_penalty", only_zero },
    { "frequency_penalty", only_zero }, { "logprobs", only_null }, { "suffix", only_empty },
    { "logit_bias", only_empty },
};

/* Nesting and containers, counted outside strings. Whether the rest is JSON
 * is jansson's to say. */
static int check_shape(struct parse *p, const char *s, size_t n)
{
    unsigned depth = 0, count = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else
                in_string = s[i] != '"';
        } else if (s[i] == '"')
            in_string = true;
        else if (s[i] == '[' || s[i] == '{') {
            if (++depth > API_MAX_DEPTH)
                return fail(p, 400, "invalid_json", "the body is nested deeper than %d levels",
                            API_MAX_DEPTH);
            if (++count > API_MAX_CONTAINER)
                return fail(p, 400, "invalid_json", "the body holds more than %d arrays and objects",
                            API_MAX_CONTAINER);
        } else if ((s[i] == ']' || s[i] == '}') && depth)
            depth--;
    }
    return 0;
}

static int read_fields(struct parse *p, const json_t *root)
{
    if (!json_is_object(root))
        return fail(p, 400, "invalid_type", "the body must be a JSON object");
    for (size_t i = 0; i < sizeof field / sizeof *field; i++) {
        const json_t *j = json_object_get(root, field[i].name);
        p->field = field[i].name;
        int rc = j && !json_is_null(j) ? field[i].read(p, j) : 0;
        if (rc)
            return rc;
    }
    p->field = "prompt";
    return p->out->n_prompt ? 0 : fail(p, 400, "missing_field", "prompt: is required");
}

int api_parse_completion(const char *body, size_t n, struct arena *arena,
                         struct api_completion *out, struct api_error *error)
{
    *out = (struct api_completion){ .sample = SAMPLE_DEFAULT };
    *error = (struct api_error){ 0 };
    struct parse p = { .arena = arena, .out = out, .error = error };
    int rc = check_shape(&p, body, n);
    if (rc)
        return rc;
    json_error_t je;
    json_t *root = json_loadb(body ? body : "", n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &je);
    if (!root)
        return fail(&p, 400, "invalid_json", "the body is not JSON: %s (line %d, column %d)", je.text,
                    je.line, je.column);
    rc = read_fields(&p, root);
    json_decref(root);
    return rc;
}
