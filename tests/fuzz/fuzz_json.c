/* fuzz_json.c - any bytes as the body of a request, to every one of OpenAI's
 * endpoints.
 *
 * What is accepted must keep the promises of the struct that it became; its
 * text goes through the writers and must come back as JSON. A refusal names a
 * place or says what is wrong with the whole. */
#include <jansson.h>
#include <stdlib.h>

#include "core/serve/api_chat.h"
#include "core/serve/api_completions.h"
#include "core/serve/api_embed.h"
#include "core/serve/api_tools.h"
#include "tests/fuzz/fuzz.h"

static void require_json(struct buf *b)
{
    require(!b->failed);
    json_t *j = json_loadb(b->p, b->n, JSON_ALLOW_NUL, NULL);
    require(j != NULL);
    json_decref(j);
    buf_clear(b);
}

static void check_params(const struct gen_params *p)
{
    require(p->max_new <= API_MAX_NEW && p->n_stop <= REPLY_MAX_STOP);
    require(p->n >= 1 && p->n <= GEN_MAX_CHOICE);
    require(sample_check(&p->sample, NULL) == 0);
    require(p->priority >= PRIORITY_LOW && p->priority <= PRIORITY_HIGH);
    for (unsigned i = 0; i < p->n_stop; i++)
        require(p->stop[i].n >= 1 && p->stop[i].n <= REPLY_MAX_STOP_SIZE);
}

static void check_common(const struct api_common *c)
{
    check_params(&c->gen);
    require(c->stream || !c->include_usage);
    require((c->format == API_GRAMMAR) == (c->grammar.p != NULL));
    require((c->format == API_JSON_SCHEMA) == (c->schema.p != NULL));
}

static void check_prompts(const struct api_prompts *list, unsigned max)
{
    require(list->n >= 1 && list->n <= max);
    for (unsigned i = 0; i < list->n; i++) {
        require(list->p[i].is_token || list->p[i].text.p);
        for (uint32_t k = 0; k < list->p[i].ids.n; k++)
            require(list->p[i].ids.id[k] >= 0);
    }
}

static void check_refused(const struct api_error *e)
{
    struct buf out = { 0 };
    require(e->status == 400 && e->message[0]);
    api_put_error(&out, e);
    require_json(&out);
    buf_free(&out);
}

static void completion(const char *p, size_t n, struct arena *arena)
{
    struct api_completion q;
    struct api_error error;
    if (api_parse_completion(p, n, arena, &q, &error)) {
        check_refused(&error);
        return;
    }
    check_prompts(&q.prompt, API_MAX_PROMPT);
    check_common(&q.common);
    require(q.common.gen.n_top <= REQUEST_MAX_TOP && (!q.common.gen.prompt_only || q.echo));
}

static void check_str(const struct str *s)
{
    require(s->p || !s->n);
    require(!s->p || !s->p[s->n]);
}

static void chat(const char *p, size_t n, struct arena *arena)
{
    struct api_chat q;
    struct api_error error;
    if (api_parse_chat(p, n, arena, &q, &error)) {
        check_refused(&error);
        return;
    }
    check_common(&q.common);
    require(q.n_msg >= 1 && q.n_tool <= TOOLS_MAX);
    require(q.choice != API_TOOL_REQUIRED || q.n_tool);
    for (unsigned i = 0; i < q.n_msg; i++) {
        const struct chat_msg *m = &q.msg[i];
        require(m->text.p && m->n_call <= TOOLS_MAX_CALL);
        check_str(&m->text);
        check_str(&m->name);
        for (unsigned k = 0; k < m->n_call; k++)
            require(m->call[k].name.p && m->call[k].arguments.p);
    }
    for (unsigned i = 0; i < q.n_tool; i++) {
        require(q.tool[i].name.n > 0);
        check_str(&q.tool[i].parameters);
    }
}

static void embed(const char *p, size_t n, struct arena *arena)
{
    struct api_embed q;
    struct api_error error;
    if (api_parse_embeddings(p, n, arena, &q, &error))
        check_refused(&error);
    else
        check_prompts(&q.input, GEN_MAX_INPUT);
    if (api_parse_similarity(p, n, arena, &q, &error)) {
        check_refused(&error);
        return;
    }
    check_prompts(&q.input, GEN_MAX_INPUT - 1);
    check_prompts(&q.source, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena arena = { 0 };
    struct buf out = { 0 };
    const char *p = (const char *)data;
    completion(p, n, &arena);
    chat(p, n, &arena);
    embed(p, n, &arena);
    /* The bytes themselves as generated text. */
    api_put(&out, json_pack("[o]", api_text(p, n)));
    require_json(&out);
    buf_free(&out);
    arena_free(&arena);
    return 0;
}
