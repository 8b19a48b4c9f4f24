/* gen.c - requests to the engine on behalf of one exchange.
 *
 * The memory of all choices stays until the engine is done with every one: a
 * client that left is cancelled, and the exchange waits as an orphan. What is
 * said in which shape is the dialect's alone. */
#include "core/serve/gen.h"

#include <float.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/grammar.h"

/* ---- opening ---- */

struct gen *gen_open(struct exchange *x, const struct dialect *d)
{
    struct gen *g = x->gen = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    unsigned char raw[16];
    char hex[2 * sizeof raw + 1];
    randombytes_buf(raw, sizeof raw);
    sodium_bin2hex(hex, sizeof hex, raw, sizeof raw);
    snprintf(g->id, sizeof g->id, "%s%s", d->id_prefix, hex);
    g->dialect = d;
    g->at = "prompt";
    g->x = x;
    g->model = serve_model(x->serve);
    g->created = (int64_t)time(NULL);
    g->params = (struct gen_params)GEN_PARAMS_DEFAULT;
    return g;
}

/* A model of embeddings has a head, the table of its embedding, but was never
 * trained to go on with a text. */
static int check_kind(const struct gen *g, struct api_error *e)
{
    if (g->kind == REQUEST_EMBED || g->model->pooling == POOLING_NONE)
        return 0;
    *e = (struct api_error){ .status = 400, .code = "unsupported_value", .param = "model" };
    snprintf(e->message, sizeof e->message, "model: \"%.100s\" makes vectors of texts and no text; "
             "use /v1/embeddings", g->model->id);
    return ERR_ARG;
}

int gen_check_model(const struct gen *g, const char *model, struct api_error *e)
{
    if (!model || !*model || !strcmp(model, g->model->id))
        return check_kind(g, e);
    *e = (struct api_error){ .status = 404, .code = "model_not_found", .param = "model" };
    snprintf(e->message, sizeof e->message, "model: \"%.100s\" is not served here; \"%.100s\" is",
             model, g->model->id);
    return ERR_ARG;
}

static int refuse_memory(struct api_error *e)
{
    *e = (struct api_error){ .status = 500, .message = "no memory for the request" };
    return ERR_NOMEM;
}

/* The engine calls it "prompt"; the client, what the dialect says. */
static int refuse_prompt(const struct gen *g, int rc, const char *code, const char *text,
                         struct api_error *e)
{
    if (rc == ERR_NOMEM)
        return refuse_memory(e);
    *e = (struct api_error){ .status = rc == ERR_ARG ? 400 : 500, .code = code };
    snprintf(e->param, sizeof e->param, "%s", g->at);
    const size_t skip = strncmp(text, "prompt: ", 8) ? 0 : 8;
    snprintf(e->message, sizeof e->message, "%s: %s", g->at, text + skip);
    return rc;
}

static int refuse_length(const struct gen *g, struct api_error *e)
{
    char text[128];
    const uint32_t max = g->model->max_prompt;
    if (max && max < engine_n_ctx(g->model->engine))
        snprintf(text, sizeof text, "too long; this server takes %u tokens, server.max_prompt_tok",
                 max);
    else
        snprintf(text, sizeof text, "too long; prompt and answer share %u tokens, and the answer "
                 "needs one", engine_n_ctx(g->model->engine));
    return refuse_prompt(g, ERR_ARG, "context_length_exceeded", text, e);
}

int gen_add(struct gen *g, const int32_t *id, size_t n, struct api_error *e)
{
    if (!n)
        return refuse_prompt(g, ERR_ARG, "invalid_value", "holds no token", e);
    if (n >= engine_n_ctx(g->model->engine) || (g->model->max_prompt && n > g->model->max_prompt))
        return refuse_length(g, e);
    struct gen_prompt *p = realloc(g->prompt, (g->n_prompt + 1) * sizeof *p);
    if (!p)
        return refuse_memory(e);
    g->prompt = p;
    g->prompt[g->n_prompt++] = (struct gen_prompt){ id, (uint32_t)n };
    return 0;
}

int gen_add_text(struct gen *g, struct str text, unsigned flags, struct api_error *e)
{
    struct err err = { 0 };
    struct tokens t = { 0 };
    int rc = vocab_encode(g->model->vocab, text.p, text.n, flags, engine_n_ctx(g->model->engine),
                          &t, &err);
    if (rc == ERR_LIMIT)
        rc = refuse_length(g, e);
    else if (rc)
        refuse_prompt(g, rc, "invalid_value", err.text, e);
    int32_t *id = rc ? NULL : arena_alloc(&g->arena, t.n ? t.n : 1, sizeof *id);
    if (id && t.n)
        memcpy(id, t.id, t.n * sizeof *id);
    if (!rc)
        rc = id ? gen_add(g, id, t.n, e) : refuse_memory(e);
    free(t.id);
    return rc;
}

/* ---- into the engine ---- */

/* [engine thread] */
static void wake(void *x)
{
    exchange_wake(x);
}

static void fill_request(struct gen *g, struct gen_choice *c)
{
    const struct gen_params *p = &g->params;
    struct request *r = &c->req;
    const uint64_t ms = p->timeout_ms ? p->timeout_ms : (uint64_t)g->model->deadline_s * 1000;
    r->kind = g->kind;
    r->embed_mean = g->embed_mean;
    r->prompt = c->prompt->id;
    r->n_prompt = c->prompt->n;
    r->sample = p->sample;
    r->sample.seed += c->index % p->n;
    r->end_id = g->end_id;
    r->n_end = g->n_end;
    r->grammar = g->grammar;
    r->want_logprob = p->logprob;
    r->n_top_logprob = p->n_top;
    r->prompt_logprob = p->prompt_logprob;
    r->priority = p->priority;
    r->n_draft = p->n_draft;
    r->no_cache = p->no_cache;
    r->deadline_us = ms ? clock_us() + ms * 1000 : 0;
    /* With a place for the first the request is served: the others wait for it. */
    if (!c->index && g->model->max_queue_s)
        r->admit_by_us = clock_us() + (uint64_t)g->model->max_queue_s * 1000000;
    r->wake = wake;
    r->wake_ctx = g->x;
}

static int open_choice(struct gen *g, struct gen_choice *c, struct api_error *e)
{
    const uint32_t n_ctx = engine_n_ctx(g->model->engine);
    const struct gen_params *p = &g->params;
    const bool one = p->prompt_only || g->kind == REQUEST_EMBED;
    const uint32_t limit = g->model->max_new;
    uint32_t max_new = one ? 1 : p->max_new ? p->max_new : g->model->max_new_default;
    if (limit && max_new > limit)
        max_new = limit;
    int rc = request_open(&c->req, max_new < n_ctx ? max_new : n_ctx);
    if (rc)
        return refuse_memory(e);
    c->req_open = true;
    fill_request(g, c);
    struct err err = { 0 };
    rc = reply_open(&c->reply, g->model->engine, &c->req, g->model->vocab, p->stop, p->n_stop, &err);
    if (rc)
        return refuse_prompt(g, rc, "invalid_value", err.text, e);
    c->reply.keep_tok = p->logprob;
    c->reply_open = true;
    return 0;
}

static int refuse_param(struct api_error *e, const char *param, const char *text)
{
    *e = (struct api_error){ .status = 400, .code = "invalid_value" };
    snprintf(e->param, sizeof e->param, "%s", param);
    snprintf(e->message, sizeof e->message, "%s", text);
    return ERR_ARG;
}

static int check_params(const struct gen *g, struct api_error *e)
{
    const unsigned max = g->kind == REQUEST_EMBED ? GEN_MAX_INPUT : GEN_MAX_CHOICE;
    struct err err = { 0 };
    char text[128];
    if (sample_check_ids(&g->params.sample, vocab_n(g->model->vocab), &err))
        return refuse_param(e, "logit_bias", err.text);
    if (g->n_prompt * g->params.n <= max)
        return 0;
    snprintf(text, sizeof text, "n: %u prompts with %u choices each, at most %u choices are given",
             g->n_prompt, g->params.n, max);
    return refuse_param(e, "n", text);
}

static int open_choices(struct gen *g, struct api_error *e)
{
    int rc = check_params(g, e);
    if (rc)
        return rc;
    const unsigned n = g->n_prompt * g->params.n;
    g->choice = calloc(n, sizeof *g->choice);
    if (!g->choice)
        return refuse_memory(e);
    g->n_choice = n;
    if (!g->params.has_seed) {
        g->params.sample.seed = g->model->seed;
        if (g->model->seed_random)
            randombytes_buf(&g->params.sample.seed, sizeof g->params.sample.seed);
    }
    for (unsigned i = 0; !rc && i < n; i++) {
        g->choice[i].index = i;
        g->choice[i].prompt = &g->prompt[i / g->params.n];
        g->choice[i].own = arena_alloc(&g->arena, 1, g->dialect->choice_size + 1);
        rc = g->choice[i].own ? open_choice(g, &g->choice[i], e)
                              : refuse_memory(e);
    }
    return rc;
}

static int refuse_submit(const struct gen *g, int rc, const struct err *err, struct api_error *e)
{
    const bool ready = serve_state(g->x->serve) == SERVE_READY;
    refuse_prompt(g, rc, "invalid_value", err->text, e);
    if (rc == ERR_LIMIT && ready)
        *e = (struct api_error){ .status = 429, .code = "queue_full" };
    else if (rc == ERR_LIMIT || rc == ERR_DEVICE)
        *e = (struct api_error){ .status = 503, .code = ready ? NULL : "shutting_down" };
    if (e->status != 400)
        snprintf(e->message, sizeof e->message, "%s", err->text);
    return rc;
}

/* Hands the engine what it may have at once. A full queue is an error only
 * while it has nothing of ours: otherwise an end of ours brings us back. */
static int submit_some(struct gen *g, struct api_error *e)
{
    while (g->n_submitted < g->n_choice && g->n_submitted - g->n_ended < GEN_WINDOW) {
        struct gen_choice *c = &g->choice[g->n_submitted];
        struct err err = { 0 };
        const int rc = engine_submit(g->model->engine, &c->req, &err);
        if (rc == ERR_LIMIT && g->kind == REQUEST_EMBED && g->n_submitted > g->n_ended)
            return 0;
        if (rc)
            return refuse_submit(g, rc, &err, e);
        c->submitted = true;
        g->n_submitted++;
    }
    return 0;
}

enum answer gen_start(struct gen *g)
{
    struct exchange *x = g->x;
    struct api_error e;
    const uint64_t now = clock_us();
    int rc = open_choices(g, &e);
    if (!rc)
        rc = submit_some(g, &e);
    if (g->n_submitted)
        x->work.submit_us = now;
    if (rc) {
        gen_cancel(x);
        return api_refuse_error(x, &e);
    }
    x->status = 200;
    if (g->stream && g->dialect->begin)
        g->dialect->begin(g, &x->out);
    return g->stream ? ANSWER_STREAM : ANSWER_WAIT;
}

/* ---- out of it ---- */

static int fail_choice(const struct gen_choice *c, enum finish f, struct api_error *e)
{
    static const struct api_error late = {
        .status = 408, .code = "deadline_exceeded",
        .message = "the deadline passed before there was any text; see timeout_ms and server.deadline_s"
    };
    static const struct api_error queue = {
        .status = 503, .code = "queue_timeout",
        .message = "no place was free in time; see server.max_queue_s, and try again later"
    };
    const bool fault = f == FINISH_ERROR;
    *e = (struct api_error){ .status = fault ? 500 : 503, .code = fault ? NULL : "shutting_down" };
    snprintf(e->message, sizeof e->message, "%s",
             fault ? c->req.err.text : "the server is shutting down");
    if (f == FINISH_DEADLINE)
        *e = late;
    if (f == FINISH_QUEUE)
        *e = queue;
    return ERR_DEVICE;
}

/* Hands a stream's text over, with the tokens that made it. */
static void give_piece(struct gen *g, struct gen_choice *c)
{
    if (g->params.prompt_only)
        buf_clear(&c->text);
    else if (g->params.logprob)
        c->tok_to = reply_n_shown(&c->reply, c->tok_to);
    if (!g->stream || (!c->text.n && c->tok_to == c->tok_from))
        return;
    g->dialect->piece(g, c, &g->x->out);
    c->text_at += c->text.n;
    c->tok_from = c->tok_to;
    buf_clear(&c->text);
}

/* JSON has no name for other numbers. */
static bool is_finite(const float *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!(v[i] >= -FLT_MAX && v[i] <= FLT_MAX))
            return false;
    return true;
}

/* 0, or an error that ends the whole answer. What a deadline cut is a text that
 * ended early, if there is any. */
static int end_choice(struct gen *g, struct gen_choice *c, struct api_error *e)
{
    const enum finish f = reply_finish(&c->reply);
    c->late = f == FINISH_DEADLINE;
    if (f != FINISH_STOP && f != FINISH_LENGTH && !(c->late && c->reply.n_tok))
        return fail_choice(c, f, e);
    if (g->kind == REQUEST_EMBED && !is_finite(c->req.embedding, g->model->n_embd)) {
        *e = (struct api_error){ .status = 500, .message = "the model's vector is no number" };
        return ERR_NUMERIC;
    }
    c->finish = f == FINISH_STOP && !g->params.prompt_only ? FINISH_STOP : FINISH_LENGTH;
    if (g->stream)
        g->dialect->end_choice(g, c, &g->x->out);
    return 0;
}

static int next_of_choice(struct gen *g, struct gen_choice *c, struct api_error *e)
{
    enum reply_state st = REPLY_TEXT;
    while (st == REPLY_TEXT) {
        st = reply_next(&c->reply, &c->text);
        give_piece(g, c);
    }
    c->ended = st == REPLY_END;
    if (!c->ended)
        return 0;
    g->n_ended++;
    return end_choice(g, c, e);
}

static enum answer fail_all(struct gen *g, const struct api_error *e)
{
    gen_cancel(g->x);
    if (e->status == 500)         /* 503 is nothing that somebody should look at */
        log_warn("%s: %s", g->id, e->message);
    if (!g->stream)
        return api_refuse_error(g->x, e);
    g->x->error_code = e->code ? e->code : "server_error";
    g->dialect->error_event(&g->x->out, e);
    return ANSWER_DONE;
}

struct api_usage gen_usage(const struct gen *g)
{
    struct api_usage u = { 0 };
    for (unsigned i = 0; i < g->n_prompt; i++)
        u.n_prompt += g->prompt[i].n;
    for (unsigned i = 0; i < g->n_choice; i++) {
        const struct gen_choice *c = &g->choice[i];
        if (!g->params.prompt_only)
            u.n_new += c->reply.n_tok;
        if (i % g->params.n == 0 && c->ended)
            u.n_cached += c->req.n_cached;
    }
    return u;
}

static const char *finish_name(const struct gen_choice *c)
{
    static const char *const name[FINISH_N] = {
        [FINISH_STOP] = "stop", [FINISH_LENGTH] = "length", [FINISH_CANCELLED] = "cancelled",
        [FINISH_ERROR] = "error", [FINISH_DEADLINE] = "deadline", [FINISH_QUEUE] = "queue"
    };
    const int done = atomic_load_explicit(&c->req.done, memory_order_acquire);
    return name[c->finish ? (int)c->finish : done];     /* a stop text cancels the rest */
}

/* Of a request that was cut short, what is known of it. */
void gen_count(struct exchange *x)
{
    const struct gen *g = x->gen;
    struct exchange_work *w = &x->work;
    if (!g)
        return;
    const struct api_usage u = gen_usage(g);
    w->n_prompt = (uint32_t)u.n_prompt;
    w->n_cached = (uint32_t)u.n_cached;
    w->n_new = (uint32_t)u.n_new;
    w->finish = g->n_choice ? finish_name(&g->choice[0]) : NULL;
    for (unsigned i = 0; i < g->n_choice; i++) {
        const struct gen_choice *c = &g->choice[i];
        if (!c->submitted || !atomic_load_explicit(&c->req.done, memory_order_acquire))
            continue;
        const uint64_t first = c->req.queue_us + c->req.prefill_us;
        w->admitted = true;
        if (c->req.queue_us > w->queue_us)
            w->queue_us = c->req.queue_us;
        if (c->reply.n_tok && (!w->first_us || first < w->first_us))
            w->first_us = first;
    }
}

static enum answer finish_all(struct gen *g)
{
    struct exchange *x = g->x;
    if (!g->stream)
        g->dialect->whole(g, &x->out);
    else if (g->dialect->end)
        g->dialect->end(g, &x->out);
    return x->out.failed && !g->stream ? api_refuse_memory(x) : ANSWER_DONE;
}

enum answer gen_more(struct exchange *x)
{
    struct gen *g = x->gen;
    struct api_error e = { 0 };
    bool lost = false;
    for (unsigned i = 0; i < g->n_submitted; i++) {
        struct gen_choice *c = &g->choice[i];
        if (!c->ended && next_of_choice(g, c, &e))
            return fail_all(g, &e);
        lost = lost || c->text.failed;
    }
    /* Lost text cannot be told from silence: better no answer. */
    if (lost)
        return g->stream ? ANSWER_BROKEN : api_refuse_memory(x);
    if (submit_some(g, &e))
        return fail_all(g, &e);
    return g->n_ended == g->n_choice ? finish_all(g) : ANSWER_WAIT;
}

/* ---- the end ---- */

void gen_cancel(struct exchange *x)
{
    struct gen *g = x->gen;
    for (unsigned i = 0; g && i < g->n_choice; i++) {
        struct gen_choice *c = &g->choice[i];
        if (c->submitted && !atomic_load_explicit(&c->req.done, memory_order_acquire))
            engine_cancel(g->model->engine, &c->req);
    }
}

bool gen_is_idle(const struct exchange *x)
{
    const struct gen *g = x->gen;
    bool idle = true;
    for (unsigned i = 0; g && i < g->n_choice; i++)
        idle = idle && !atomic_load_explicit(&g->choice[i].req.held, memory_order_acquire);
    return idle;
}

void gen_free(struct exchange *x)
{
    struct gen *g = x->gen;
    x->gen = NULL;
    if (!g)
        return;
    for (unsigned i = 0; i < g->n_choice; i++) {
        struct gen_choice *c = &g->choice[i];
        if (c->reply_open)
            reply_close(&c->reply);
        if (c->req_open)
            request_close(&c->req);
        buf_free(&c->text);
    }
    if (g->dialect->close)
        g->dialect->close(g);
    grammar_unref(g->grammar);
    free(g->choice);
    free(g->prompt);
    arena_free(&g->arena);
    free(g);
}
