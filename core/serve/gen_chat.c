/* gen_chat.c - a conversation as a gen's prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/gen.h"

static int refuse_template(struct api_error *e)
{
    struct buf names = { 0 };
    chat_names(&names);
    *e = (struct api_error){ .status = 400, .code = "no_chat_template", .param = "messages" };
    snprintf(e->message, sizeof e->message, "messages: the chat template of this model is not known; "
             "set chat.template to one of: %s", names.p ? names.p : "");
    buf_free(&names);
    return ERR_ARG;
}

static int refuse_messages(const struct gen *g, int rc, const char *text, struct api_error *e)
{
    *e = (struct api_error){ .status = rc == ERR_NOMEM ? 500 : 400, .param = "messages",
                             .code = rc == ERR_LIMIT ? "context_length_exceeded" : "invalid_value" };
    if (rc == ERR_LIMIT)
        snprintf(e->message, sizeof e->message, "messages: too long; conversation and answer share "
                 "%u tokens, and the answer needs one", engine_n_ctx(g->model->engine));
    else
        snprintf(e->message, sizeof e->message, "%s", text);
    return ERR_ARG;
}

/* What ends a turn beside the vocabulary's own. A template has few texts, and
 * REPLY_MAX_STOP leaves room for them beside a request's. */
static void add_ends(struct gen *g)
{
    struct gen_params *p = &g->params;
    const struct str *stop = NULL;
    const unsigned n = chat_stops(g->model->chat, &stop);
    for (unsigned i = 0; i < n && p->n_stop < REPLY_MAX_STOP; i++)
        p->stop[p->n_stop++] = stop[i];
    g->n_end = chat_end_ids(g->model->chat, g->model->vocab, g->end_id);
}

int gen_check_chat(const struct serve_model *m, struct api_error *e)
{
    return m->chat ? 0 : refuse_template(e);
}

int gen_add_chat(struct gen *g, const struct chat_in *in, struct api_error *e)
{
    int rc = gen_check_chat(g->model, e);
    if (rc)
        return rc;
    struct err err = { 0 };
    struct tokens t = { 0 };
    rc = chat_encode(g->model->chat, g->model->vocab, in, engine_n_ctx(g->model->engine) - 1, &t,
                     &err);
    int32_t *id = rc ? NULL : arena_alloc(&g->arena, t.n + 1, sizeof *id);
    g->at = "messages";
    if (rc || !id)
        rc = refuse_messages(g, rc ? rc : ERR_NOMEM, rc ? err.text : "no memory for the request", e);
    else {
        memcpy(id, t.id, t.n * sizeof *id);
        rc = gen_add(g, id, t.n, e);
        add_ends(g);
    }
    free(t.id);
    return rc;
}
