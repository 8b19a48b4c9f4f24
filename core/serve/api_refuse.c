/* api_refuse.c - saying no, in the shape that the client of a route expects. */
#include <stdio.h>

#include "core/serve/api_json.h"
#include "core/serve/exchange.h"

enum answer api_refuse_error(struct exchange *x, const struct api_error *e)
{
    x->status = e->status;
    x->error_code = e->code ? e->code : "server_error";
    buf_free(&x->out);            /* it may have failed */
    if (x->route && x->route->error)
        x->route->error(&x->out, e);
    else
        api_put_error(&x->out, e);
    return ANSWER_DONE;
}

enum answer api_refuse(struct exchange *x, unsigned status, const char *code, const char *message)
{
    struct api_error e = { .status = status, .code = code };
    snprintf(e.message, sizeof e.message, "%s", message);
    return api_refuse_error(x, &e);
}

enum answer api_refuse_memory(struct exchange *x)
{
    return api_refuse(x, 500, NULL, "no memory for the request");
}
