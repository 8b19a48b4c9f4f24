/* fuzz_json.c - any bytes as the body of a completion request.
 *
 * What is accepted must keep the promises of struct api_completion, and can
 * be answered: its text goes through the writers and must come back as JSON. */
#include <jansson.h>
#include <stdlib.h>

#include "core/serve/api_json.h"

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

static void check_accepted(const struct api_completion *q)
{
    require(q->n_prompt >= 1 && q->n_prompt <= API_MAX_PROMPT);
    require(q->max_tokens <= API_MAX_NEW && q->n_stop <= REPLY_MAX_STOP);
    require(sample_check(&q->sample, NULL) == 0);
    require(q->stream || !q->include_usage);
    for (unsigned i = 0; i < q->n_stop; i++)
        require(q->stop[i].n >= 1 && q->stop[i].n <= REPLY_MAX_STOP_SIZE);
    for (unsigned i = 0; i < q->n_prompt; i++)
        for (uint32_t k = 0; k < q->prompt[i].n_id; k++)
            require(q->prompt[i].id[k] >= 0);
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
        const struct api_head head = { "cmpl-0", 0, q.model };
        const struct api_choice ch = { 0, q.prompt[0].text, "stop" };
        api_put_completion(&out, &head, &ch, 1, NULL, true);
    }
    require_json(&out);
    /* The bytes themselves as generated text. */
    api_put_completion(&out, &(struct api_head){ "cmpl-0", 0, "m" },
                       &(struct api_choice){ 0, { (const char *)data, n }, NULL }, 1, NULL, false);
    require_json(&out);
    buf_free(&out);
    arena_free(&arena);
    return 0;
}
