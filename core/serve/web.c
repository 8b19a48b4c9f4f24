/* web.c - the page at /, and the selection table that it shows.
 *
 * The page's files need no key: they are the same for everybody and can be read
 * in this program's source. What they show comes over the other routes, with
 * the key that the user types in. */
#include "core/serve/web.h"

#include <string.h>

#include "core/serve/serve_parts.h"

/* Nothing from elsewhere, nothing inline, in nobody's frame. data: is the icon. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/* Whether a list of ETags, or *, has this one; a weak one matches too. */
static bool has_etag(const char *list, const char *etag)
{
    return list && (!strcmp(list, "*") || strstr(list, etag));
}

static enum answer get_file(struct exchange *x)
{
    if (!x->serve->conf.page)
        return api_refuse(x, 404, "not_found", "no such path: server.page is no");
    const struct web_file *f = web_file;
    while (strcmp(f->path, x->route->path))
        f++;                      /* routes and files name the same paths */
    x->csp = policy;
    x->cache = "no-cache";        /* kept, but asked for: a new program has a new page */
    x->etag = f->etag;
    x->type = f->type;
    x->status = has_etag(exchange_header(x, MHD_HTTP_HEADER_IF_NONE_MATCH), f->etag) ? 304 : 200;
    if (x->status == 200)
        buf_add(&x->out, (const char *)f->p, f->n);
    return ANSWER_DONE;
}

static enum answer get_selection(struct exchange *x)
{
    const struct buf *table = &x->serve->selection;
    x->status = 200;
    x->type = "text/plain; charset=utf-8";
    buf_add(&x->out, table->p, table->n);
    return ANSWER_DONE;
}

const struct route web_route[] = {
    { "GET", "/", false, true, SCOPE_NONE, get_file, NULL },
    { "GET", "/app.js", false, true, SCOPE_NONE, get_file, NULL },
    { "GET", "/style.css", false, true, SCOPE_NONE, get_file, NULL },
    { "GET", "/selection", false, false, SCOPE_READ, get_selection, NULL },
    { .method = NULL }
};
