/* health.c - whether the process lives, and whether requests should be sent to it.
 *
 * live: start it anew when this fails. ready: send requests elsewhere while this
 * fails. /health says what ready says. */
#include "core/serve/api_json.h"
#include "core/serve/serve_parts.h"

static enum answer say(struct exchange *x, const char *status, bool well)
{
    x->status = well ? 200 : 503;
    api_put_status(&x->out, status);
    return ANSWER_DONE;
}

static enum answer get_ready(struct exchange *x)
{
    const enum serve_state st = serve_state(x->serve);
    if (st != SERVE_READY)
        return say(x, st == SERVE_LOADING ? "loading" : "draining", false);
    if (engine_fault(serve_model(x->serve)->engine, NULL))
        return say(x, "fault", false);
    return say(x, "ok", true);
}

static enum answer get_live(struct exchange *x)
{
    const bool stalled = atomic_load_explicit(&x->serve->stalled, memory_order_relaxed);
    return say(x, stalled ? "stalled" : "ok", !stalled);
}

const struct route health_route[] = {
    { "GET", "/health", false, true, SCOPE_NONE, get_ready, NULL },
    { "GET", "/health/ready", false, true, SCOPE_NONE, get_ready, NULL },
    { "GET", "/health/live", false, true, SCOPE_NONE, get_live, NULL },
    { .method = NULL }
};
