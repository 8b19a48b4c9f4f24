/* bitnet_answer.c - a request from the options, and its reply to the end. */
#include "tools/bitnet_answer.h"

#include <string.h>

struct sampling sampling = { .sample = SAMPLE_DEFAULT };

const struct opt sampling_options[] = {
    { "temp", 0, OPT_F32, &sampling.sample.temperature, "T",
      "temperature; 0: greedy (default 0.8)" },
    { "top-k", 0, OPT_U32, &sampling.sample.top_k, "K",
      "only the K likeliest; 0: all (default 40)" },
    { "top-p", 0, OPT_F32, &sampling.sample.top_p, "P",
      "only the likeliest P of the weight (default 0.95)" },
    { "min-p", 0, OPT_F32, &sampling.sample.min_p, "P",
      "only those at least P times the likeliest (default 0.05)" },
    { "typical-p", 0, OPT_F32, &sampling.sample.typical_p, "P",
      "only those that tell about as much as is expected (default 1: all)" },
    { "repeat-penalty", 0, OPT_F32, &sampling.sample.repeat_penalty, "R",
      "against recent tokens; 1: none (default 1)" },
    { "repeat-last-n", 0, OPT_U32, &sampling.sample.repeat_last_n, "N",
      "how many tokens are recent (default 64)" },
    { "presence-penalty", 0, OPT_F32, &sampling.sample.presence_penalty, "R",
      "against tokens written so far, -2 to 2 (default 0)" },
    { "frequency-penalty", 0, OPT_F32, &sampling.sample.frequency_penalty, "R",
      "the same for each time that they were (default 0)" },
    { "seed", 0, OPT_U64, &sampling.sample.seed, "S", "same seed, same text (default 0)" },
    { "stop", 0, OPT_TEXTS, &sampling.stop, "TEXT", "end before this text; up to 16 times" },
    { "draft", 0, OPT_U32, &sampling.n_draft, "N",
      "guess N tokens from the text so far, up to 16; the same text (default 0)" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

int sampling_check(struct err *e)
{
    if (!sampling.n_new)
        return err_set(e, ERR_ARG, "--n-tokens: 0, expected at least 1");
    if (sampling.n_draft > REQUEST_MAX_DRAFT)
        return err_set(e, ERR_ARG, "--draft: %u, expected at most %d", sampling.n_draft,
                       REQUEST_MAX_DRAFT);
    return sample_check(&sampling.sample, e);
}

int answer_engine(struct engine **out, struct loaded *l, bool prefix_cache, struct err *e)
{
    const struct engine_conf c = { .max_seq = 1, .row_budget = ANSWER_ROWS,
                                   .prefill_chunk = ANSWER_ROWS, .prefix_cache = prefix_cache };
    return engine_open(out, l->forward, &c, e);
}

static void wake(void *ctx)
{
    sem_post(ctx);
}

int answer_open(struct answer *a, struct engine *g, const struct vocab *v, const struct tokens *t,
                const struct str *more, unsigned n, struct err *e)
{
    struct str stop[REPLY_MAX_STOP];
    unsigned n_stop = 0;
    *a = (struct answer){ .r = { .kind = REQUEST_GENERATE } };
    for (; n_stop < sampling.stop.n; n_stop++)
        stop[n_stop] = str_of(sampling.stop.at[n_stop]);
    for (unsigned i = 0; i < n && n_stop < REPLY_MAX_STOP; i++)
        stop[n_stop++] = more[i];
    const uint32_t most = engine_n_ctx(g);
    if (request_open(&a->r, sampling.n_new < most ? sampling.n_new : most))
        return err_set(e, ERR_NOMEM, "%u tokens: no memory for so many", sampling.n_new);
    sem_init(&a->news, 0, 0);
    a->r.prompt = t->id;
    a->r.n_prompt = (uint32_t)t->n;
    a->r.sample = sampling.sample;
    a->r.n_draft = sampling.n_draft;
    a->r.wake = wake;
    a->r.wake_ctx = &a->news;
    int rc = reply_open(&a->y, g, &a->r, v, stop, n_stop, e);
    if (rc)
        answer_close(a);
    return rc;
}

void answer_close(struct answer *a)
{
    reply_close(&a->y);
    request_close(&a->r);
    sem_destroy(&a->news);
}

/* One piece to where it goes; after an error nothing more. */
static int put(const struct buf *piece, bool print, struct buf *text, struct err *e)
{
    if (text)
        buf_add(text, piece->p, piece->n);
    if (piece->failed || (text && text->failed))
        return err_set(e, ERR_NOMEM, "answer: no memory for its text");
    return print ? put_out(piece->p, piece->n, e) : 0;
}

int answer_follow(struct answer *a, bool print, struct buf *text, const _Atomic bool *stop,
                  struct err *e)
{
    struct buf piece = { 0 };
    int rc = engine_submit(a->y.engine, &a->r, e);
    if (rc)
        return rc;
    for (enum reply_state s; (s = reply_next(&a->y, &piece)) != REPLY_END;) {
        if (s == REPLY_TEXT && !rc)
            rc = put(&piece, print, text, e);
        if (rc || (stop && *stop))
            engine_cancel(a->y.engine, &a->r);
        buf_clear(&piece);
        if (s == REPLY_WAIT)
            while (sem_wait(&a->news))
                ;                 /* interrupted */
    }
    if (!rc)
        rc = put(&piece, print, text, e);
    if (!rc && reply_finish(&a->y) == FINISH_ERROR) {
        *e = a->r.err;
        rc = e->code;
    }
    buf_free(&piece);
    return rc;
}

const char *answer_finish(const struct answer *a)
{
    const enum finish f = reply_finish(&a->y);
    return f == FINISH_STOP ? "stop" : f == FINISH_LENGTH ? "length" : "cancelled";
}

void answer_timing(const struct answer *a)
{
    const struct request *r = &a->r;
    const double pre = (double)r->prefill_us / 1e6, dec = (double)r->decode_us / 1e6;
    fprintf(stderr, "bitnet: prompt %u tokens", r->n_prompt);
    if (r->n_cached)
        fprintf(stderr, ", %u of them known,", r->n_cached);
    fprintf(stderr, " in %.3f s", pre);
    if (pre > 0)
        fprintf(stderr, " (%.1f/s)", (r->n_prompt - r->n_cached) / pre);
    fprintf(stderr, "; %u tokens in %.3f s", r->n_new, dec);
    if (dec > 0 && r->n_new > 1)          /* the first one came with the prompt */
        fprintf(stderr, " (%.1f/s)", (r->n_new - 1) / dec);
    if (sampling.n_draft)
        fprintf(stderr, "; %u of %u guesses right", r->n_draft_ok, r->n_draft_all);
    fprintf(stderr, "; end: %s\n", answer_finish(a));
}
