/* api_said.c - content and calls of one choice. */
#include "core/serve/api_said.h"

#include <string.h>

void said_more(struct said *s, const struct gen_choice *c, const struct chat_tool *tool,
               unsigned n_tool, const struct chat_template *t, bool end)
{
    if (n_tool && !s->tools && !(s->tools = tools_open(t, tool, n_tool))) {
        s->text.failed = true;
        return;
    }
    if (s->tools)
        tools_feed(s->tools, c->text.p, c->text.n, end, &s->text);
    else
        buf_add(&s->text, c->text.p, c->text.n);
}

const struct chat_call *said_calls(const struct said *s, unsigned *n)
{
    *n = 0;
    return s->tools ? tools_calls(s->tools, n) : NULL;
}

void said_free(struct said *s)
{
    tools_close(s->tools);
    buf_free(&s->text);
}

const struct str *said_stop(const struct gen *g, const struct gen_choice *c)
{
    const struct str *const stop = reply_stop(&c->reply), *own = NULL;
    const unsigned n = stop ? chat_stops(g->model->chat, &own) : 0;
    for (unsigned i = 0; i < n; i++)
        if (own[i].n == stop->n && !memcmp(own[i].p, stop->p, stop->n))
            return NULL;
    return stop;
}
