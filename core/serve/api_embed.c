/* api_embed.c - POST /v1/embeddings and /v1/similarity: texts as vectors.
 *
 * The engine's vectors are exact; here they are scaled, in a fixed order in
 * double, so they stay equal on every machine. Answers are written number by
 * number: as JSON values they would take ten times the memory. */
#include "core/serve/api_embed.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_params.h"

/* ---- reading ---- */

static int read_encoding(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    const char *s = json_string_value(j);
    if (!s || (strcmp(s, "float") && strcmp(s, "base64")))
        return s ? api_bad_value(in, "must be float or base64")
                 : api_wrong_type(in, "float or base64");
    *(bool *)to = *s == 'b';
    return 0;
}

static int read_pooling(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    const char *s = json_string_value(j);
    if (!s || (strcmp(s, "mean") && strcmp(s, "last")))
        return s ? api_bad_value(in, "must be mean or last") : api_wrong_type(in, "mean or last");
    *(enum model_pooling *)to = *s == 'm' ? POOLING_MEAN : POOLING_LAST;
    return 0;
}

#define AT(field) offsetof(struct api_embed, field)
#define BOTH \
    { "model", api_read_name, AT(model), 0, 0 }, \
    { "pooling", read_pooling, AT(pooling), 0, 0 }, \
    { "priority", api_read_priority, AT(priority), 0, 0 }, \
    { "timeout_ms", api_read_u32, AT(timeout_ms), 1, API_MAX_TIMEOUT_MS }

static int parse(const char *body, size_t n, struct arena *arena, struct api_embed *out,
                 struct api_error *error, const struct api_field *field, unsigned n_field)
{
    struct api_in in;
    *out = (struct api_embed){ .priority = PRIORITY_NORMAL };
    json_t *root = api_open(&in, body, n, arena, error);
    if (!root)
        return error->status == 500 ? ERR_NOMEM : ERR_ARG;
    int rc = api_read_fields(&in, root, field, n_field, out);
    /* The first two of a table are what must be there. */
    if (!rc && !out->input.n)
        rc = api_missing(&in, field[0].name);
    if (!rc && field[1].at == AT(source) && !out->source.n)
        rc = api_missing(&in, field[1].name);
    json_decref(root);
    return rc;
}

int api_parse_embeddings(const char *body, size_t n, struct arena *arena, struct api_embed *out,
                         struct api_error *error)
{
    static const struct api_field field[] = {
        { "input", api_read_prompts, AT(input), 0, GEN_MAX_INPUT },
        { "encoding_format", read_encoding, AT(base64), 0, 0 },
        { "dimensions", api_read_u32, AT(dimensions), 1, UINT32_MAX }, BOTH
    };
    return parse(body, n, arena, out, error, field, sizeof field / sizeof *field);
}

int api_parse_similarity(const char *body, size_t n, struct arena *arena, struct api_embed *out,
                         struct api_error *error)
{
    static const struct api_field field[] = {
        { "sentences", api_read_prompts, AT(input), 0, GEN_MAX_INPUT - 1 },
        { "source", api_read_prompts, AT(source), 0, 1 }, BOTH
    };
    return parse(body, n, arena, out, error, field, sizeof field / sizeof *field);
}

/* ---- numbers ---- */

static double dot(const float *a, const float *b, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* sqrt rounds right by the standard: equal on every machine. */
void api_normalise(const float *from, uint32_t n, float *to)
{
    const double length = sqrt(dot(from, from, n));
    for (uint32_t i = 0; i < n; i++)
        to[i] = length > 0 ? (float)((double)from[i] / length) : 0.0f;
}

double api_cosine(const float *a, const float *b, uint32_t n)
{
    const double length = sqrt(dot(a, a, n)) * sqrt(dot(b, b, n));
    const double c = length > 0 ? dot(a, b, n) / length : 0;
    return c > 1 ? 1 : c < -1 ? -1 : c;
}

/* ---- writing ---- */

/* Nine digits give every float back. */
static void put_floats(const float *v, uint32_t n, struct buf *out)
{
    for (uint32_t i = 0; i < n; i++)
        buf_addf(out, "%c%.9g", i ? ',' : '[', (double)v[i]);
    buf_addf(out, "]");
}

static void put_base64(const float *v, uint32_t n, struct buf *out)
{
    const size_t size = sodium_base64_encoded_len(n * sizeof *v, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(size);
    if (!text) {
        out->failed = true;
        return;
    }
    sodium_bin2base64(text, size, (const unsigned char *)v, n * sizeof *v,
                      sodium_base64_VARIANT_ORIGINAL);
    buf_addf(out, "\"");
    buf_add(out, text, strlen(text));
    buf_addf(out, "\"");
    free(text);
}

/* ,"model":"m","usage":{...}} */
static void put_rest(const struct gen *g, struct buf *out)
{
    const unsigned long long n = gen_usage(g).n_prompt;
    buf_addf(out, ",\"model\":");
    api_put(out, api_text_or_null(g->model->id));
    buf_addf(out, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}", n, n);
}

static void embeddings(struct gen *g, struct buf *out)
{
    const struct api_embed *q = g->own;
    const uint32_t n = q->dimensions ? q->dimensions : g->model->n_embd;
    float *v = calloc(n, sizeof *v);
    out->failed = out->failed || !v;
    buf_addf(out, "{\"object\":\"list\",\"data\":[");
    for (unsigned i = 0; v && i < g->n_choice; i++) {
        api_normalise(g->choice[i].req.embedding, n, v);
        buf_addf(out, "%s{\"object\":\"embedding\",\"index\":%u,\"embedding\":", i ? "," : "", i);
        (q->base64 ? put_base64 : put_floats)(v, n, out);
        buf_addf(out, "}");
    }
    buf_addf(out, "]");
    put_rest(g, out);
    free(v);
}

static void similarity(struct gen *g, struct buf *out)
{
    const float *source = g->choice[g->n_choice - 1].req.embedding;
    buf_addf(out, "{\"object\":\"list\",\"scores\":[");
    for (unsigned i = 0; i + 1 < g->n_choice; i++)
        buf_addf(out, "%s%.9g", i ? "," : "",
                 api_cosine(source, g->choice[i].req.embedding, g->model->n_embd));
    buf_addf(out, "]");
    put_rest(g, out);
}

static const struct dialect embeddings_dialect = { .id_prefix = "embd-", .whole = embeddings };
static const struct dialect similarity_dialect = { .id_prefix = "simi-", .whole = similarity };

/* ---- starting ---- */

static int check_dimensions(const struct gen *g, const struct api_embed *q, struct api_error *e)
{
    if (q->dimensions <= g->model->n_embd)
        return 0;
    *e = (struct api_error){ .status = 400, .code = "invalid_value", .param = "dimensions" };
    snprintf(e->message, sizeof e->message, "dimensions: %u, the model's vectors have %u",
             q->dimensions, g->model->n_embd);
    return ERR_ARG;
}

/* What the request says, else what the model was trained for, else the mean. */
static bool pools_mean(const struct serve_model *m, const struct api_embed *q)
{
    const enum model_pooling p = q->pooling != POOLING_NONE ? q->pooling : m->pooling;
    return p != POOLING_LAST;
}

static enum answer start(struct exchange *x, const struct dialect *d,
                         int (*read)(const char *, size_t, struct arena *, struct api_embed *,
                                     struct api_error *))
{
    struct gen *g = gen_open(x, d);
    struct api_embed *q = g ? arena_alloc(&g->arena, 1, sizeof *q) : NULL;
    struct api_error e;
    if (!q)
        return api_refuse_memory(x);
    g->own = q;
    g->kind = REQUEST_EMBED;
    g->at = d == &similarity_dialect ? "sentences" : "input";
    if (read(x->body.p, x->body.n, &g->arena, q, &e) || gen_check_model(g, q->model, &e) ||
        check_dimensions(g, q, &e) || api_add_prompts(g, &q->input, VOCAB_BOS | VOCAB_EOS, &e) ||
        api_add_prompts(g, &q->source, VOCAB_BOS | VOCAB_EOS, &e))
        return api_refuse_error(x, &e);
    buf_free(&x->body);
    g->embed_mean = pools_mean(g->model, q);
    g->params.priority = q->priority;
    g->params.timeout_ms = q->timeout_ms;
    return gen_start(g);
}

static enum answer start_embeddings(struct exchange *x)
{
    return start(x, &embeddings_dialect, api_parse_embeddings);
}

static enum answer start_similarity(struct exchange *x)
{
    return start(x, &similarity_dialect, api_parse_similarity);
}

const struct route api_embed_route[] = {
    { "POST", "/v1/embeddings", false, false, SCOPE_INFER, start_embeddings, NULL },
    { "POST", "/v1/similarity", false, false, SCOPE_INFER, start_similarity, NULL },
    { .method = NULL }
};
