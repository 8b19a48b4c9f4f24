/* api_answer.c - the frame of an answer. */
#include "core/serve/api_answer.h"

void api_put_head(struct buf *out, const struct gen *g, const char *object)
{
    buf_addf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", g->id, object,
             (long long)g->created);
    api_put(out, api_text_or_null(g->model->id));
    buf_addf(out, ",\"choices\":[");
}

void api_put_tail(struct buf *out, const struct api_usage *usage, bool null_usage)
{
    buf_addf(out, "]");
    if (usage || null_usage) {
        buf_addf(out, ",\"usage\":");
        api_put(out, usage ? api_usage_json(usage) : json_null());
    }
    buf_addf(out, "}");
}
