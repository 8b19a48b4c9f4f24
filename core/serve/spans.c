/* spans.c - what an exchange that is over looks like as a span. */
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/serve/serve_parts.h"

/* As the semantic conventions for generative AI call what a route does. */
static const char *operation(const struct route *r)
{
    static const struct { const char *path, *name; } table[] = {
        { "/v1/completions", "text_completion" }, { "/v1/chat/completions", "chat" },
        { "/v1/messages", "chat" }, { "/v1/responses", "chat" },
        { "/v1/embeddings", "embeddings" }, { "/v1/similarity", "embeddings" }
    };
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].path, r->path))
            return table[i].name;
    return NULL;
}

/* Since 1970. */
static uint64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void spans_put(const struct exchange *x, unsigned status, uint64_t end_us)
{
    struct otlp *o = x->serve->otlp;
    if (!o || !x->trace.sampled || !x->route || x->route->scope != SCOPE_INFER)
        return;
    /* Of a time on the monotonic clock: since 1970. */
    const uint64_t shift = wall_ns() - clock_ns();
    const struct exchange_work *w = &x->work;
    struct otlp_span s = {
        .trace = x->trace, .method = x->route->method, .route = x->route->path,
        .operation = operation(x->route), .finish = w->finish, .error = x->error_code,
        .status = status, .n_prompt = w->n_prompt, .n_cached = w->n_cached, .n_new = w->n_new,
        .start_ns = x->start_us * 1000 + shift, .end_ns = end_us * 1000 + shift
    };
    memcpy(s.request_id, x->request_id, sizeof s.request_id);
    if (w->submit_us)
        s.queue_ns = w->submit_us * 1000 + shift;
    if (w->submit_us && w->admitted)
        s.prefill_ns = s.queue_ns + w->queue_us * 1000;
    if (w->submit_us && w->first_us)
        s.first_ns = s.queue_ns + w->first_us * 1000;
    otlp_add(o, &s);
}
