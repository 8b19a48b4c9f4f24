/* fuzz_json.c - any bytes as the body of a completion request.
 *
 * What is accepted must keep the promises of struct api_completion, and can
 * be answered: its text goes through the writers and must come back as JSON. */
#include <jansson.h>
#include <stdlib.h>

#include "core/serve/api_completions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(int holds)
{
    if (!holds)
        abort();
}

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
    for (unsigned i = 0; i < p->n_stop; i++)
        require(p->stop[i].n >= 1 && p->stop[i].n <= REPLY_MAX_STOP_SIZE);
}

static void check_accepted(const struct api_completion *q)
{
    require(q->prompt.n >= 1 && q->prompt.n <= API_MAX_PROMPT);
    check_params(&q->common.gen);
    require(q->common.stream || !q->common.include_usage);
    for (unsigned i = 0; i < q->prompt.n; i++)
        for (uint32_t k = 0; k < q->prompt.p[i].ids.n; k++)
            require(q->prompt.p[i].ids.id[k] >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena arena = { 0 };
    struct api_completion q;
    struct api_error error;
    struct buf out = { 0 };
    if (api_parse_completion((const char *)data, n, &arena, &q, &error)) {
        require(error.status == 400 && error.message[0]);
        api_put_error(&out, &error);
    } else {
        check_accepted(&q);
        api_put(&out, json_pack("[o]", api_text(q.prompt.p[0].text.p, q.prompt.p[0].text.n)));
    }
    require_json(&out);
    /* The bytes themselves as generated text. */
    api_put(&out, json_pack("[o]", api_text((const char *)data, n)));
    require_json(&out);
    buf_free(&out);
    arena_free(&arena);
    return 0;
}
