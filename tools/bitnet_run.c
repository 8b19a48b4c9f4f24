/* bitnet_run.c - `bitnet run`: one request through the same engine, sampler and
 * reply as the daemon's, so the same seed gives the same text. */
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/engine.h"
#include "core/engine/reply.h"
#include "core/engine/session.h"
#include "tools/bitnet.h"

enum { ROWS = 256 };              /* rows in a step of prefill                 */

static const char *prompt, *file, *session_in, *session_out;
static uint32_t n_new = 128, n_draft;
static bool ignore_eog;
static struct sample_params sample = SAMPLE_DEFAULT;
static struct opt_texts stop;

static const struct opt options[] = {
    { "prompt", 'p', OPT_TEXT, &prompt, "TEXT", "what to write on from" },
    { "file", 0, OPT_TEXT, &file, "FILE", "the prompt from a file; - is standard input" },
    { "n-tokens", 'n', OPT_U32, &n_new, "N", "tokens to write, at most (default 128)" },
    { "temp", 0, OPT_F32, &sample.temperature, "T", "temperature; 0: greedy (default 0.8)" },
    { "top-k", 0, OPT_U32, &sample.top_k, "K", "only the K likeliest; 0: all (default 40)" },
    { "top-p", 0, OPT_F32, &sample.top_p, "P", "only the likeliest P of the weight (default 0.95)" },
    { "min-p", 0, OPT_F32, &sample.min_p, "P",
      "only those at least P times the likeliest (default 0.05)" },
    { "typical-p", 0, OPT_F32, &sample.typical_p, "P",
      "only those that tell about as much as is expected (default 1: all)" },
    { "repeat-penalty", 0, OPT_F32, &sample.repeat_penalty, "R",
      "against recent tokens; 1: none (default 1)" },
    { "repeat-last-n", 0, OPT_U32, &sample.repeat_last_n, "N",
      "how many tokens are recent (default 64)" },
    { "presence-penalty", 0, OPT_F32, &sample.presence_penalty, "R",
      "against tokens written so far, -2 to 2 (default 0)" },
    { "frequency-penalty", 0, OPT_F32, &sample.frequency_penalty, "R",
      "the same for each time that they were (default 0)" },
    { "seed", 0, OPT_U64, &sample.seed, "S",
      "same seed, same text (default 0: the session's, if there is one)" },
    { "session", 0, OPT_TEXT, &session_in, "FILE",
      "go on from this session; a prompt comes behind it" },
    { "save-session", 0, OPT_TEXT, &session_out, "FILE",
      "write prompt and answer to FILE, to go on from on any plugin" },
    { "stop", 0, OPT_TEXTS, &stop, "TEXT", "end before this text; up to 16 times" },
    { "draft", 0, OPT_U32, &n_draft, "N",
      "guess N tokens from the text so far, up to 16; the same text (default 0)" },
    { "ignore-eog", 0, OPT_FLAG, &ignore_eog, NULL, "go on past end-of-generation tokens" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "run", "[-m FILE] (-p TEXT | --file FILE | --session FILE) [OPTION]...",
    "Writes the continuation of a prompt to standard output as it comes, and how long\n"
    "it took to standard error.",
    { options, common_file, common_compute }
};

static int get_prompt(char **text, size_t *n, struct err *e)
{
    if (session_in && !prompt && !file)
        return 0;
    if (!prompt == !file)
        return err_set(e, ERR_ARG, "run: %s, expected one of --prompt and --file",
                       prompt ? "two prompts" : "no prompt");
    if (file)
        return read_text(file, text, n, e);
    *text = strdup(prompt);
    *n = strlen(prompt);
    return *text ? 0 : err_set(e, ERR_NOMEM, "prompt: no memory");
}

static void wake(void *ctx)
{
    sem_post(ctx);
}

static const char *finish_name(enum finish f)
{
    return f == FINISH_STOP ? "stop" : f == FINISH_LENGTH ? "length" : "cancelled";
}

/* Drains the reply to its end. With --json the text is gathered in `text`. */
static int follow(struct reply *y, sem_t *news, struct buf *text, struct err *e)
{
    struct buf out = { 0 }, *to = common.json ? text : &out;
    int rc = 0;
    for (enum reply_state s; (s = reply_next(y, to)) != REPLY_END;) {
        if (!common.json && s == REPLY_TEXT && !rc) {
            rc = put_out(out.p, out.n, e);
            if (rc)
                engine_cancel(y->engine, y->req);
        }
        buf_clear(&out);
        if (s == REPLY_WAIT)
            while (sem_wait(news))
                ;                 /* interrupted */
    }
    if (!rc && to->failed)
        rc = err_set(e, ERR_NOMEM, "run: no memory for the text");
    if (!rc && reply_finish(y) == FINISH_ERROR) {
        *e = y->req->err;
        rc = e->code;
    }
    if (!rc && !common.json)
        rc = put_out("\n", 1, e);
    buf_free(&out);
    return rc;
}

static void print_timing(const struct request *r, const struct reply *y)
{
    double pre = (double)r->prefill_us / 1e6, dec = (double)r->decode_us / 1e6;
    fprintf(stderr, "bitnet: prompt %u tokens in %.3f s", r->n_prompt, pre);
    if (pre > 0)
        fprintf(stderr, " (%.1f/s)", r->n_prompt / pre);
    fprintf(stderr, "; %u tokens in %.3f s", r->n_new, dec);
    if (dec > 0 && r->n_new > 1)          /* the first one came with the prompt */
        fprintf(stderr, " (%.1f/s)", (r->n_new - 1) / dec);
    if (n_draft)
        fprintf(stderr, "; %u of %u guesses right", r->n_draft_ok, r->n_draft_all);
    fprintf(stderr, "; end: %s\n", finish_name(reply_finish(y)));
}

static int print_json(const struct request *r, const struct reply *y, const struct buf *text,
                      struct err *e)
{
    return put_json(json_pack("{s:o,s:s,s:I,s:I,s:I,s:I,s:{s:I,s:I}}", "text",
                              json_text(text->p, text->n), "finish_reason",
                              finish_name(reply_finish(y)), "prompt_tokens",
                              (json_int_t)r->n_prompt, "completion_tokens", (json_int_t)y->n_tok,
                              "draft_tokens", (json_int_t)r->n_draft_all, "draft_accepted",
                              (json_int_t)r->n_draft_ok, "timings_us", "prefill", (json_int_t)r->prefill_us, "decode",
                              (json_int_t)r->decode_us), e);
}

/* The prompt and the tokens of the text, as far as it was not cut. */
static int save(const struct forward *f, const struct request *r, const struct reply *y,
                struct err *e)
{
    struct session s = { .seed = r->sample.seed, .n = r->n_prompt };
    const struct reply_tok *t = reply_tok(y);
    s.id = calloc((size_t)r->n_prompt + y->n_tok, sizeof *s.id);
    if (!s.id)
        return err_set(e, ERR_NOMEM, "%s: no memory to write it", session_out);
    memcpy(s.id, r->prompt, r->n_prompt * sizeof *s.id);
    for (uint32_t i = 0; i < y->n_tok; i++)
        s.id[s.n++] = t[i].id;
    int rc = session_model(s.model, f->model, f->conf.kv_format, e);
    if (!rc)
        rc = session_save(session_out, &s, e);
    session_free(&s);
    return rc;
}

static int serve_one(struct engine *g, const struct forward *f, const struct tokens *t,
                     struct err *e)
{
    const struct vocab *v = f->model->vocab;
    struct request r;
    struct reply y = { 0 };
    struct str stops[REPLY_MAX_STOP];
    struct buf text = { 0 };
    sem_t news;
    for (unsigned i = 0; i < stop.n; i++)
        stops[i] = (struct str){ stop.at[i], strlen(stop.at[i]) };
    uint32_t most = engine_n_ctx(g);
    if (request_open(&r, n_new < most ? n_new : most))
        return err_set(e, ERR_NOMEM, "run: no memory for %u tokens", n_new);
    sem_init(&news, 0, 0);
    r.prompt = t->id;
    r.n_prompt = (uint32_t)t->n;
    r.sample = sample;
    r.n_draft = n_draft;
    r.ignore_eog = ignore_eog;
    r.wake = wake;
    r.wake_ctx = &news;
    int rc = reply_open(&y, g, &r, v, stops, stop.n, e);
    y.keep_tok = session_out != NULL;
    if (!rc)
        rc = engine_submit(g, &r, e);
    if (!rc) {
        rc = follow(&y, &news, &text, e);
        if (!rc && common.json)
            rc = print_json(&r, &y, &text, e);
        else if (!rc)
            print_timing(&r, &y);
        if (!rc && session_out)
            rc = save(f, &r, &y, e);
    }
    reply_close(&y);
    request_close(&r);
    sem_destroy(&news);
    buf_free(&text);
    return rc;
}

/* The session's tokens, then the prompt's. */
static int get_tokens(const struct model *m, const char *text, size_t n, struct tokens *t,
                      struct err *e)
{
    unsigned flags = VOCAB_BOS | VOCAB_SPECIAL;
    int rc = 0;
    if (session_in) {
        uint8_t model[SESSION_MODEL];
        struct session s = { .n = 0 };
        rc = session_model(model, m, BNP_KV_F16, e);
        if (!rc)
            rc = session_load(&s, session_in, model, vocab_n(m->vocab), e);
        if (rc)
            return rc;
        *t = (struct tokens){ .id = s.id, .n = s.n, .cap = s.n };   /* its memory is t's now */
        sample.seed = sample.seed ? sample.seed : s.seed;
        flags = VOCAB_SPECIAL;
    }
    return vocab_encode(m->vocab, text, n, flags, m->hp.n_ctx, t, e);
}

static int run(struct loaded *l, const char *text, size_t n, struct err *e)
{
    struct tokens t = { 0 };
    struct engine *g = NULL;
    struct engine_conf c = { .max_seq = 1, .row_budget = ROWS, .prefill_chunk = ROWS };
    int rc = load_model(l, e);
    if (!rc)                      /* a model's context bounds the prompt */
        rc = get_tokens(l->model, text, n, &t, e);
    uint64_t need = (uint64_t)t.n + n_new;
    if (!rc)
        rc = load_forward(l, need < UINT32_MAX ? (uint32_t)need : UINT32_MAX, ROWS, 1 + n_draft,
                          e);
    if (!rc)
        rc = engine_open(&g, l->forward, &c, e);
    if (!rc)
        rc = serve_one(g, l->forward, &t, e);
    engine_close(g, 0);
    free(t.id);
    return rc;
}

int verb_run(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    struct loaded l = { 0 };
    char *text = NULL;
    size_t n = 0;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n)
        rc = err_set(&e, ERR_ARG, "run: %.100s: unexpected, a prompt is given with --prompt",
                     w.at[0]);
    if (!rc && !n_new)
        rc = err_set(&e, ERR_ARG, "--n-tokens: 0, expected at least 1");
    if (!rc && n_draft > REQUEST_MAX_DRAFT)
        rc = err_set(&e, ERR_ARG, "--draft: %u, expected at most %d", n_draft, REQUEST_MAX_DRAFT);
    if (!rc)
        rc = sample_check(&sample, &e);
    if (!rc)
        rc = get_prompt(&text, &n, &e);
    if (!rc)
        rc = run(&l, text ? text : "", n, &e);
    load_close(&l);
    free(text);
    return tool_exit(rc, &e);
}
