/* api_openai.c - what the paths mean: completions, models, health.
 *
 * A completion is up to 16 requests to the engine, one per prompt, answered
 * together. Their memory stays until the engine is done with every one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "core/base/log.h"
#include "core/serve/api_json.h"
#include "core/serve/exchange.h"

struct item {                     /* one prompt and its answer                 */
    struct request req;
    struct reply reply;
    struct tokens encoded;        /* a text prompt's ids                       */
    struct buf text;              /* the answer, when it is sent whole         */
    bool req_open, reply_open;
    bool submitted;
    bool ended;                   /* all of its answer is out                  */
};

struct completion {
    struct arena arena;
    struct api_completion q;
    struct api_head head;
    struct item item[API_MAX_PROMPT];
};

static enum answer refuse(struct exchange *x, const struct api_error *e)
{
    x->status = e->status;
    buf_clear(&x->out);
    api_put_error(&x->out, e);
    return ANSWER_DONE;
}

enum answer api_refuse(struct exchange *x, unsigned status, const char *code, const char *message)
{
    struct api_error e = { .status = status, .code = code };
    snprintf(e.message, sizeof e.message, "%s", message);
    return refuse(x, &e);
}

static enum answer no_memory(struct exchange *x)
{
    return api_refuse(x, 500, NULL, "no memory for the request");
}

/* ---- starting a completion ---- */

/* [engine thread] */
static void wake(void *ctx)
{
    exchange_wake(ctx);
}

static uint64_t random_u64(void)
{
    uint64_t v = 0;
    while (getrandom(&v, sizeof v, 0) != (ssize_t)sizeof v)
        ;
    return v;
}

static void make_head(struct api_head *h, const struct serve_model *m)
{
    snprintf(h->id, sizeof h->id, "cmpl-%016llx%016llx", (unsigned long long)random_u64(),
             (unsigned long long)random_u64());
    h->created = (int64_t)time(NULL);
    h->model = m->id;
}

static int item_fail(struct api_error *e, int rc, const char *text)
{
    unsigned status = rc == ERR_ARG ? 400 : 500;
    *e = (struct api_error){ status, NULL, status == 400 ? "prompt" : NULL, "" };
    snprintf(e->message, sizeof e->message, "%s", *text ? text : "no memory for the request");
    return rc;
}

static int too_long(uint32_t n_ctx, struct api_error *e)
{
    char text[128];
    snprintf(text, sizeof text,
             "prompt: too long; prompt and answer share %u tokens, and the answer needs one", n_ctx);
    item_fail(e, ERR_ARG, text);
    e->code = "context_length_exceeded";
    return ERR_ARG;
}

/* The prompt as ids, in number between one and what leaves room for one more. */
static int tokenize(struct item *it, const struct api_prompt *p, const struct vocab *v,
                    uint32_t n_ctx, struct api_error *e)
{
    struct err err = { 0 };
    it->req.prompt = p->id;
    it->req.n_prompt = p->n_id;
    if (!p->is_token) {
        int rc = vocab_encode(v, p->text.p, p->text.n, VOCAB_BOS | VOCAB_SPECIAL, n_ctx,
                              &it->encoded, &err);
        if (rc == ERR_LIMIT)
            return too_long(n_ctx, e);
        if (rc)
            return item_fail(e, rc, err.text);
        it->req.prompt = it->encoded.id;
        it->req.n_prompt = (uint32_t)it->encoded.n;
    }
    if (!it->req.n_prompt)
        return item_fail(e, ERR_ARG, "prompt: holds no token");
    return it->req.n_prompt < n_ctx ? 0 : too_long(n_ctx, e);
}

static int open_item(struct exchange *x, struct item *it, const struct api_prompt *p,
                     struct api_error *e)
{
    const struct serve_model *m = serve_model(x->serve);
    const struct api_completion *q = &x->completion->q;
    const uint32_t n_ctx = engine_n_ctx(m->engine);
    uint32_t max_new = q->max_tokens ? q->max_tokens : m->max_new_default;
    int rc = request_open(&it->req, max_new < n_ctx ? max_new : n_ctx);
    if (rc)
        return item_fail(e, rc, "");
    it->req_open = true;
    rc = tokenize(it, p, m->vocab, n_ctx, e);
    if (rc)
        return rc;
    it->req.sample = q->sample;
    it->req.wake = wake;
    it->req.wake_ctx = x;
    struct err err = { 0 };
    rc = reply_open(&it->reply, m->engine, &it->req, m->vocab, q->stop, q->n_stop, &err);
    if (rc)
        return item_fail(e, rc, err.text);
    it->reply_open = true;
    return 0;
}

void api_cancel(struct exchange *x)
{
    struct completion *c = x->completion;
    for (unsigned i = 0; c && i < c->q.n_prompt; i++) {
        struct item *it = &c->item[i];
        if (it->submitted && !atomic_load_explicit(&it->req.done, memory_order_acquire))
            engine_cancel(serve_model(x->serve)->engine, &it->req);
    }
}

static enum answer submit_all(struct exchange *x)
{
    struct completion *c = x->completion;
    for (unsigned i = 0; i < c->q.n_prompt; i++) {
        struct err err = { 0 };
        int rc = engine_submit(serve_model(x->serve)->engine, &c->item[i].req, &err);
        if (rc) {
            struct api_error e;
            api_cancel(x);
            item_fail(&e, rc, err.text);
            if (rc == ERR_LIMIT && serve_state(x->serve) == SERVE_READY)
                e = (struct api_error){ .status = 429, .code = "queue_full" };
            else if (rc == ERR_LIMIT || rc == ERR_DEVICE)
                e.status = 503;
            snprintf(e.message, sizeof e.message, "%s", err.text);
            return refuse(x, &e);
        }
        c->item[i].submitted = true;
    }
    x->status = 200;
    return c->q.stream ? ANSWER_STREAM : ANSWER_WAIT;
}

static void put_event(struct exchange *x, const struct api_choice *ch, const struct api_usage *u)
{
    const struct completion *c = x->completion;
    buf_addf(&x->out, "data: ");
    api_put_completion(&x->out, &c->head, ch, ch ? 1 : 0, u, c->q.include_usage);
    buf_addf(&x->out, "\n\n");
}

/* The prompt's own text, in front of the answer. */
static void echo(struct exchange *x, struct item *it, const struct api_prompt *p)
{
    const struct vocab *v = serve_model(x->serve)->vocab;
    struct detok d = { 0 };
    if (!p->is_token)
        buf_add(&it->text, p->text.p, p->text.n);
    for (uint32_t i = 0; i < p->n_id; i++)
        detok_feed(v, &d, p->id[i], false, &it->text);
    detok_finish(&d, &it->text);
    if (!x->completion->q.stream)
        return;
    put_event(x, &(struct api_choice){ (unsigned)(it - x->completion->item),
                                       { it->text.p, it->text.n }, NULL }, NULL);
    buf_clear(&it->text);
}

static enum answer start_completion(struct exchange *x)
{
    struct completion *c = x->completion = calloc(1, sizeof *c);
    if (!c)
        return no_memory(x);
    const struct serve_model *m = serve_model(x->serve);
    struct api_error e;
    if (api_parse_completion(x->body.p, x->body.n, &c->arena, &c->q, &e))
        return refuse(x, &e);
    buf_free(&x->body);
    if (c->q.model && *c->q.model && strcmp(c->q.model, m->id)) {
        e = (struct api_error){ 404, "model_not_found", "model", "" };
        snprintf(e.message, sizeof e.message, "model: \"%.100s\" is not served here; \"%.100s\" is",
                 c->q.model, m->id);
        return refuse(x, &e);
    }
    if (!c->q.has_seed)
        c->q.sample.seed = m->seed_random ? random_u64() : m->seed;
    make_head(&c->head, m);
    for (unsigned i = 0; i < c->q.n_prompt; i++) {
        if (open_item(x, &c->item[i], &c->q.prompt[i], &e))
            return refuse(x, &e);
        if (c->q.echo)
            echo(x, &c->item[i], &c->q.prompt[i]);
    }
    return submit_all(x);
}

/* ---- going on with one ---- */

static const char *finish_name(enum finish f)
{
    return f == FINISH_LENGTH ? "length" : "stop";
}

static void item_error(const struct item *it, struct api_error *e)
{
    bool fault = reply_finish(&it->reply) == FINISH_ERROR;
    *e = (struct api_error){ .status = fault ? 500 : 503, .code = fault ? NULL : "shutting_down" };
    snprintf(e->message, sizeof e->message, "%s",
             fault ? it->req.err.text : "the server is shutting down");
}

/* 0, or an error that ends the whole answer. */
static int item_next(struct exchange *x, struct item *it, struct api_error *e)
{
    struct completion *c = x->completion;
    const unsigned index = (unsigned)(it - c->item);
    enum reply_state st = REPLY_TEXT;
    while (st == REPLY_TEXT) {
        st = reply_next(&it->reply, &it->text);
        if (c->q.stream && it->text.n) {
            put_event(x, &(struct api_choice){ index, { it->text.p, it->text.n }, NULL }, NULL);
            buf_clear(&it->text);
        }
    }
    it->ended = st == REPLY_END;
    if (!it->ended)
        return 0;
    enum finish f = reply_finish(&it->reply);
    if (f != FINISH_STOP && f != FINISH_LENGTH) {
        item_error(it, e);
        return ERR_DEVICE;
    }
    if (c->q.stream)
        put_event(x, &(struct api_choice){ index, { "", 0 }, finish_name(f) }, NULL);
    return 0;
}

static enum answer fail_stream(struct exchange *x, const struct api_error *e)
{
    buf_addf(&x->out, "data: ");
    api_put_error(&x->out, e);
    buf_addf(&x->out, "\n\n");
    return ANSWER_DONE;
}

static struct api_usage count(const struct completion *c)
{
    struct api_usage u = { 0 };
    for (unsigned i = 0; i < c->q.n_prompt; i++) {
        u.n_prompt += c->item[i].req.n_prompt;
        u.n_new += c->item[i].reply.n_tok;
    }
    return u;
}

static enum answer finish_stream(struct exchange *x)
{
    const struct api_usage u = count(x->completion);
    if (x->completion->q.include_usage)
        put_event(x, NULL, &u);
    buf_addf(&x->out, "data: [DONE]\n\n");
    return ANSWER_DONE;
}

static enum answer finish_whole(struct exchange *x)
{
    struct completion *c = x->completion;
    struct api_choice ch[API_MAX_PROMPT];
    bool failed = false;
    for (unsigned i = 0; i < c->q.n_prompt; i++) {
        const struct item *it = &c->item[i];
        ch[i] = (struct api_choice){ i, { it->text.p, it->text.n },
                                     finish_name(reply_finish(&it->reply)) };
        failed = failed || it->text.failed;
    }
    if (failed)
        return no_memory(x);
    const struct api_usage u = count(c);
    api_put_completion(&x->out, &c->head, ch, c->q.n_prompt, &u, false);
    return ANSWER_DONE;
}

enum answer api_more(struct exchange *x)
{
    struct completion *c = x->completion;
    bool all = true;
    for (unsigned i = 0; i < c->q.n_prompt; i++) {
        struct item *it = &c->item[i];
        struct api_error e = { 0 };
        if (!it->ended && item_next(x, it, &e)) {
            log_warn("completion: %s", e.message);
            return c->q.stream ? fail_stream(x, &e) : refuse(x, &e);
        }
        /* Lost text cannot be told from silence: better no answer. */
        if (c->q.stream && it->text.failed)
            return ANSWER_BROKEN;
        all = all && it->ended;
    }
    if (!all)
        return ANSWER_WAIT;
    return c->q.stream ? finish_stream(x) : finish_whole(x);
}

bool api_is_idle(const struct exchange *x)
{
    const struct completion *c = x->completion;
    bool idle = true;
    for (unsigned i = 0; c && i < c->q.n_prompt; i++)
        idle = idle && !atomic_load_explicit(&c->item[i].req.held, memory_order_acquire);
    return idle;
}

void api_free(struct exchange *x)
{
    struct completion *c = x->completion;
    for (unsigned i = 0; c && i < c->q.n_prompt; i++) {
        struct item *it = &c->item[i];
        if (it->reply_open)
            reply_close(&it->reply);
        if (it->req_open)
            request_close(&it->req);
        free(it->encoded.id);
        buf_free(&it->text);
    }
    if (c)
        arena_free(&c->arena);
    free(c);
    x->completion = NULL;
}

/* ---- the rest ---- */

static enum answer get_health(struct exchange *x)
{
    enum serve_state st = serve_state(x->serve);
    x->status = st == SERVE_READY ? 200 : 503;
    api_put_status(&x->out, st == SERVE_READY ? "ok" : st == SERVE_LOADING ? "loading" : "draining");
    return ANSWER_DONE;
}

static enum answer get_models(struct exchange *x)
{
    const struct serve_model *m = serve_model(x->serve);
    x->status = 200;
    api_put_models(&x->out, m->id, m->created);
    return ANSWER_DONE;
}

static enum answer get_model(struct exchange *x)
{
    const struct serve_model *m = serve_model(x->serve);
    if (strcmp(x->tail, m->id))
        return api_refuse(x, 404, "model_not_found", "no such model; see /v1/models");
    x->status = 200;
    api_put_model(&x->out, m->id, m->created);
    return ANSWER_DONE;
}

const struct route api_route[] = {
    { "POST", "/v1/completions", false, false, SCOPE_INFER, start_completion },
    { "GET", "/v1/models", false, false, SCOPE_READ, get_models },
    { "GET", "/v1/models/", true, false, SCOPE_READ, get_model },
    { "GET", "/health", false, true, SCOPE_NONE, get_health },
    { .method = NULL }
};
