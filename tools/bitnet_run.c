/* bitnet_run.c - `bitnet run`: one request through the same engine, sampler and
 * reply as the daemon's, so the same seed gives the same text. */
#include <stdlib.h>
#include <string.h>

#include "core/engine/session.h"
#include "tools/bitnet_answer.h"

static const char *prompt, *file, *session_in, *session_out;
static bool ignore_eog;

static const struct opt options[] = {
    { "prompt", 'p', OPT_TEXT, &prompt, "TEXT", "what to write on from" },
    { "file", 0, OPT_TEXT, &file, "FILE", "the prompt from a file; - is standard input" },
    { "n-tokens", 'n', OPT_U32, &sampling.n_new, "N", "tokens to write, at most (default 128)" },
    { "session", 0, OPT_TEXT, &session_in, "FILE",
      "go on from this session, with its seed; a prompt comes behind it" },
    { "save-session", 0, OPT_TEXT, &session_out, "FILE",
      "write prompt and answer to FILE, to go on from on any plugin" },
    { "ignore-eog", 0, OPT_FLAG, &ignore_eog, NULL, "go on past end-of-generation tokens" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "run", "[-m FILE] (-p TEXT | --file FILE | --session FILE) [OPTION]...",
    "Writes the continuation of a prompt to standard output as it comes, and how long\n"
    "it took to standard error.",
    { options, sampling_options, common_file, common_compute, common_reading }
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

static int print_json(const struct answer *a, const struct buf *text, struct err *e)
{
    const struct request *r = &a->r;
    return put_json(json_pack("{s:o,s:s,s:I,s:I,s:I,s:I,s:{s:I,s:I}}", "text",
                              json_text(text->p, text->n), "finish_reason",
                              answer_finish(a), "prompt_tokens",
                              (json_int_t)r->n_prompt, "completion_tokens", (json_int_t)a->y.n_tok,
                              "draft_tokens", (json_int_t)r->n_draft_all, "draft_accepted",
                              (json_int_t)r->n_draft_ok, "timings_us", "prefill",
                              (json_int_t)r->prefill_us, "decode",
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
    struct answer a;
    struct buf text = { 0 };
    int rc = answer_open(&a, g, f->model->vocab, t, NULL, 0, e);
    if (rc)
        return rc;
    a.r.ignore_eog = ignore_eog;
    a.y.keep_tok = session_out != NULL;
    rc = answer_follow(&a, !common.json, common.json ? &text : NULL, NULL, e);
    if (!rc && common.json)
        rc = print_json(&a, &text, e);
    else if (!rc && !(rc = put_out("\n", 1, e)))
        answer_timing(&a);
    if (!rc && session_out)
        rc = save(f, &a.r, &a.y, e);
    answer_close(&a);
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
        if (!sampling.sample.seed)
            sampling.sample.seed = s.seed;
        flags = VOCAB_SPECIAL;
    }
    return vocab_encode(m->vocab, text, n, flags, m->hp.n_ctx, t, e);
}

static int run(struct loaded *l, const char *text, size_t n, struct err *e)
{
    struct tokens t = { 0 };
    struct engine *g = NULL;
    int rc = load_model(l, e);
    if (!rc)
        rc = load_is_for_text(l, e);
    if (!rc)                      /* a model's context bounds the prompt */
        rc = get_tokens(l->model, text, n, &t, e);
    uint64_t need = (uint64_t)t.n + sampling.n_new;
    if (!rc)
        rc = load_forward(l, need < UINT32_MAX ? (uint32_t)need : UINT32_MAX, ANSWER_ROWS,
                          1 + sampling.n_draft, e);
    if (!rc)
        rc = answer_engine(&g, l, false, e);
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
    sampling.n_new = 128;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n)
        rc = err_set(&e, ERR_ARG, "run: %.100s: unexpected, a prompt is given with --prompt",
                     w.at[0]);
    if (!rc)
        rc = sampling_check(&e);
    if (!rc)
        rc = get_prompt(&text, &n, &e);
    if (!rc)
        rc = run(&l, text ? text : "", n, &e);
    load_close(&l);
    free(text);
    return tool_exit(rc, &e);
}
