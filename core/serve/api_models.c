/* api_models.c - what is served. */
#include <string.h>

#include "core/model/chat.h"
#include "core/serve/api_json.h"
#include "core/serve/exchange.h"

static json_t *model_json(const struct serve_model *m)
{
    static const char *const pooling[] = { [POOLING_MEAN] = "mean", [POOLING_LAST] = "last" };
    json_t *meta = json_pack("{s:I,s:I,s:I,s:s,s:o,s:o}", "n_ctx", (json_int_t)engine_n_ctx(m->engine),
                             "n_vocab", (json_int_t)vocab_n(m->vocab), "n_embd",
                             (json_int_t)m->n_embd, "vocab", vocab_kind(m->vocab), "chat_template",
                             api_text_or_null(m->chat ? chat_name(m->chat) : NULL), "pooling",
                             api_text_or_null(pooling[m->pooling]));
    return json_pack("{s:o,s:s,s:I,s:s,s:o}", "id", api_text_or_null(m->id), "object", "model",
                     "created", (json_int_t)m->created, "owned_by", "bitnetd", "meta", meta);
}

static enum answer get_models(struct exchange *x)
{
    x->status = 200;
    api_put(&x->out, json_pack("{s:s,s:[o]}", "object", "list", "data",
                               model_json(serve_model(x->serve))));
    return ANSWER_DONE;
}

static enum answer get_model(struct exchange *x)
{
    const struct serve_model *m = serve_model(x->serve);
    if (strcmp(x->tail, m->id))
        return api_refuse(x, 404, "model_not_found", "no such model; see /v1/models");
    x->status = 200;
    api_put(&x->out, model_json(m));
    return ANSWER_DONE;
}

const struct route api_models_route[] = {
    { "GET", "/v1/models", false, false, SCOPE_READ, get_models, NULL },
    { "GET", "/v1/models/", true, false, SCOPE_READ, get_model, NULL },
    { .method = NULL }
};
