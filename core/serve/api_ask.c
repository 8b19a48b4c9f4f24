/* api_ask.c - a conversation into a gen: its prompt, and what the answer must be. */
#include <stdio.h>

#include "core/serve/api_chat.h"
#include "core/serve/api_tools.h"

static int refuse(struct api_error *e, int rc, const char *param, const char *text)
{
    *e = (struct api_error){ .status = rc == ERR_NOMEM ? 500 : 400,
                             .code = rc == ERR_UNSUPPORTED ? "unsupported_value" : "invalid_value" };
    snprintf(e->param, sizeof e->param, "%s", param);
    snprintf(e->message, sizeof e->message, "%s: %.400s", param, text);
    return rc;
}

/* The answer is calls and nothing else. */
static int demand_calls(struct gen *g, const struct api_chat *c, struct api_error *e)
{
    struct buf gbnf = { 0 };
    struct err err = { 0 };
    int rc = tools_to_gbnf(g->model->chat, c->tool, c->n_tool, c->parallel, &gbnf, &err);
    rc = rc ? refuse(e, rc, "tools", err.text) : gen_set_grammar(g, gbnf.p, gbnf.n, "tools", e);
    buf_free(&gbnf);
    return rc;
}

int api_ask(struct gen *g, const struct api_chat *c, bool begun, const char *format,
            struct api_error *e)
{
    const struct chat_in in = { .msg = c->msg, .n_msg = c->n_msg, .tool = c->tool,
                                .n_tool = c->n_tool, .add_generation = true, .open_last = begun };
    const bool demanded = c->choice == API_TOOL_REQUIRED;
    if (demanded && c->common.format != API_TEXT)
        return refuse(e, ERR_ARG, format, "cannot be met together with a tool_choice that demands "
                      "calls");
    if (demanded && begun)
        return refuse(e, ERR_ARG, "tool_choice", "demands calls, but the answer was begun as text");
    int rc = gen_add_chat(g, &in, e);
    if (!rc)
        rc = demanded ? demand_calls(g, c, e) : gen_set_format(g, &c->common, format, e);
    return rc;
}
