/* admit.c - what is known once the headers are there: is there such a path, may
 * the page that asks do so, may the key. Nobody's body is kept before. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/serve/serve_parts.h"

static const struct route *const route_table[] = {
    api_completions_route,
    api_chat_route,
    api_messages_route,
    api_responses_route,
    api_models_route,
    api_embed_route,
    api_text_route,
    health_route,
    metrics_route,
    web_route,
};
enum { N_ROUTE_TABLE = sizeof route_table / sizeof *route_table };

static bool path_matches(const struct route *r, const char *path, const char **tail)
{
    size_t n = strlen(r->path);
    if (!r->prefix)
        return !strcmp(r->path, path);
    *tail = path + n;
    return !strncmp(r->path, path, n) && path[n];
}

/* The table's route for path and method, or NULL; sets allow when only the
 * method does not fit. */
static const struct route *match(struct exchange *x, const struct route *table, const char *method)
{
    for (const struct route *r = table; r->method; r++) {
        const char *tail = NULL;
        if (!path_matches(r, x->path, &tail))
            continue;
        if (!strcmp(r->method, method)) {
            x->tail = tail;
            return r;
        }
        x->allow = strcmp(r->method, MHD_HTTP_METHOD_GET) ? r->method : "GET, HEAD";
    }
    return NULL;
}

/* Sets route and tail, or answers that there is none. */
static void find_route(struct exchange *x, const char *method)
{
    /* HEAD is a GET whose body MHD keeps back. */
    const char *want = strcmp(method, MHD_HTTP_METHOD_HEAD) ? method : MHD_HTTP_METHOD_GET;
    for (unsigned i = 0; i < N_ROUTE_TABLE && !x->route; i++)
        x->route = match(x, route_table[i], want);
    if (x->route)
        x->allow = NULL;
    else if (x->allow)
        api_refuse(x, 405, "method_not_allowed", "this path does not take this method");
    else
        api_refuse(x, 404, "not_found", "no such path; see /v1/models and /v1/completions");
}

/* A page of another site that was not let in: what browsers would let it send
 * without asking first, it may not send either. */
static bool check_origin(struct exchange *x)
{
    const char *origin = exchange_header(x, MHD_HTTP_HEADER_ORIGIN);
    if (!origin || cors_is_own(origin, exchange_header(x, MHD_HTTP_HEADER_HOST)) ||
        cors_allows(&x->settings->cors, origin))
        return true;
    api_refuse(x, 403, "origin_not_allowed", "pages of this origin may not call; server.cors_origin "
               "lists those that may");
    return false;
}

/* The key that the client shows, *n bytes; NULL: none. */
static const char *shown_key(struct exchange *x, size_t *n)
{
    static const char bearer[] = "Bearer ";
    const char *v = exchange_header(x, MHD_HTTP_HEADER_AUTHORIZATION);
    if (v && !strncasecmp(v, bearer, sizeof bearer - 1)) {
        v += sizeof bearer - 1;
        v += strspn(v, " ");
    } else
        v = exchange_header(x, "x-api-key");
    *n = v ? strlen(v) : 0;
    return *n ? v : NULL;
}

static bool check_key(struct exchange *x)
{
    const enum scope need = x->route->scope;
    const struct keys *all = x->settings->keys;
    if (!all || need == SCOPE_NONE)
        return true;
    size_t n;
    const char *shown = shown_key(x, &n);
    const struct key *k = shown ? keys_find(all, shown, n) : NULL;
    if (!k) {
        api_refuse(x, 401, "invalid_api_key", shown ? "this API key is not known here"
                   : "an API key is needed, as Authorization: Bearer KEY or x-api-key: KEY");
        return false;
    }
    x->key_name = k->name;
    if (k->scopes & 1U << need)
        return true;
    char text[96];
    snprintf(text, sizeof text, "this API key has not the scope that the path asks for: %s",
             keys_scope_name(need));
    api_refuse(x, 403, "insufficient_scope", text);
    return false;
}

/* A browser asks whether a page may call: it may, if the origin may and there
 * is such a path; what the call then needs it is told by the call. */
static bool is_preflight(struct exchange *x, const char *method)
{
    const char *origin = exchange_header(x, MHD_HTTP_HEADER_ORIGIN);
    return !strcmp(method, MHD_HTTP_METHOD_OPTIONS) && origin &&
           exchange_header(x, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_METHOD) &&
           cors_allows(&x->settings->cors, origin);
}

bool admit(struct exchange *x, const char *method)
{
    find_route(x, method);
    if (!x->route && x->status == 405 && is_preflight(x, method)) {
        buf_clear(&x->out);
        x->status = 204;
        x->preflight = true;
        return false;
    }
    return x->route && check_origin(x) && check_key(x);
}
