/* bitnet_chat.c - `bitnet chat`: a conversation with a model on this machine.
 *
 * Every turn sends the whole conversation, as a client of the server would; the
 * engine's prefix cache still has the keys of what was said before, so only what
 * is new is read. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bitnet_answer.h"
#include "tools/bitnet_chat.h"

static const char *system_text, *template_name;
static uint32_t n_ctx = 4096;
static bool timings;

static const struct opt options[] = {
    { "system", 's', OPT_TEXT, &system_text, "TEXT", "what the model is told first" },
    { "template", 0, OPT_TEXT, &template_name, "NAME",
      "how messages become a prompt (default: what the file says)" },
    { "n-tokens", 'n', OPT_U32, &sampling.n_new, "N",
      "tokens of an answer, at most (default 512)" },
    { "ctx", 'c', OPT_U32, &n_ctx, "N", "tokens of the conversation, at most (default 4096)" },
    { "timings", 0, OPT_FLAG, &timings, NULL, "how long each answer took, to standard error" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "chat", "[-m FILE] [OPTION]...",
    "Reads what you say from standard input, a line a turn, and answers. Lines that\n"
    "begin with / are commands; /help lists them. Ctrl-C stops an answer, Ctrl-D ends.",
    { options, sampling_options, common_file, common_compute, common_reading }
};

static const char help[] =
    "/retry       the last question again, drawn with the next seed\n"
    "/reset       forget the conversation\n"
    "/system TEXT what the model is told first; nothing: no such message\n"
    "/save FILE   write the conversation as JSON\n"
    "/load FILE   go on with one that was written\n"
    "/quit        end, as Ctrl-D does\n";

struct chat {
    struct talk talk;
    struct engine *engine;
    struct line *line;
    uint64_t seed;                /* of the first try                          */
    bool over;
};

/* Of the signal handler. Stopping is told to the answer that listens. */
static _Atomic bool interrupted;
static sem_t *_Atomic listening;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = true;
    if (listening)
        sem_post(listening);
}

static void catch_interrupt(void)
{
    struct sigaction a = { .sa_handler = on_interrupt };      /* a read ends too */
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
}

/* ---- a turn ---- */

/* Prints the answer and keeps what was said, or nothing of the turn. */
static int follow(struct chat *c, const struct tokens *t, struct err *e)
{
    const struct str *stop;
    int32_t end[CHAT_MAX_END];
    struct answer a;
    struct buf text = { 0 };
    const unsigned n_stop = chat_stops(c->talk.form, &stop);
    int rc = answer_open(&a, c->engine, c->talk.vocab, t, stop, n_stop, e);
    if (rc)
        return rc;
    a.r.end_id = end;
    a.r.n_end = chat_end_ids(c->talk.form, c->talk.vocab, end);
    interrupted = false;
    listening = &a.news;
    rc = answer_follow(&a, true, &text, &interrupted, e);
    listening = NULL;
    if (!rc)
        rc = put_out("\n", 1, e);
    if (!rc && timings)
        answer_timing(&a);
    if (!rc && !text.n && interrupted)
        talk_pop(&c->talk, "user");       /* stopped before a word was said */
    else if (!rc)
        rc = talk_add(&c->talk, "assistant", text.p, text.n, e);
    answer_close(&a);
    buf_free(&text);
    return rc;
}

/* Answers the last message, a user's. A quarter of the context is left for the
 * answer, or as much as it may have. */
static int answer(struct chat *c, struct err *e)
{
    const uint32_t all = engine_n_ctx(c->engine), room = all / 4;
    struct tokens t = { 0 };
    unsigned n_gone;
    int rc = talk_encode(&c->talk, all - (sampling.n_new < room ? sampling.n_new : room), &t,
                         &n_gone, e);
    if (n_gone)
        fprintf(stderr, "bitnet: context of %u tokens is full: the oldest %u messages are "
                "forgotten\n", all, n_gone);
    if (!rc)
        rc = follow(c, &t, e);
    free(t.id);
    if (rc)
        talk_pop(&c->talk, "user");
    return rc;
}

static int say(struct chat *c, const char *text, size_t n, struct err *e)
{
    sampling.sample.seed = c->seed;
    int rc = talk_add(&c->talk, "user", text, n, e);
    return rc ? rc : answer(c, e);
}

/* ---- commands ---- */

static int do_retry(struct chat *c, const char *arg, struct err *e)
{
    (void)arg;
    if (!talk_pop(&c->talk, "assistant"))
        return err_set(e, ERR_ARG, "/retry: nothing was answered yet");
    sampling.sample.seed++;
    return answer(c, e);
}

static int do_reset(struct chat *c, const char *arg, struct err *e)
{
    (void)arg;
    (void)e;
    talk_reset(&c->talk);
    return 0;
}

static int do_system(struct chat *c, const char *arg, struct err *e)
{
    return talk_system(&c->talk, arg, strlen(arg), e);
}

static int do_save(struct chat *c, const char *arg, struct err *e)
{
    if (!*arg)
        return err_set(e, ERR_ARG, "/save: no name, expected a file");
    return talk_save(&c->talk, arg, e);
}

static int do_load(struct chat *c, const char *arg, struct err *e)
{
    if (!*arg)
        return err_set(e, ERR_ARG, "/load: no name, expected a file");
    return talk_load(&c->talk, arg, e);
}

static int do_help(struct chat *c, const char *arg, struct err *e)
{
    (void)c;
    (void)arg;
    return put_out(help, sizeof help - 1, e);
}

static int do_quit(struct chat *c, const char *arg, struct err *e)
{
    (void)arg;
    (void)e;
    c->over = true;
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct chat *, const char *arg, struct err *);
} commands[] = {
    { "/retry", do_retry }, { "/reset", do_reset }, { "/system", do_system }, { "/save", do_save },
    { "/load", do_load }, { "/help", do_help }, { "/quit", do_quit },
};

static int command(struct chat *c, const char *text, size_t n, struct err *e)
{
    char *copy = strndup(text, n);
    if (!copy)
        return err_set(e, ERR_NOMEM, "chat: no memory for a command");
    const size_t word = strcspn(copy, " ");
    const char *arg = copy + word + strspn(copy + word, " ");
    int rc = err_set(e, ERR_ARG, "%.100s: no such command, see /help", copy);
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].name) == word && !memcmp(copy, commands[i].name, word))
            rc = commands[i].run(c, arg, e);
    free(copy);
    return rc;
}

/* ---- the conversation ---- */

/* At a terminal an error is said and the conversation goes on; a script ends
 * with it. */
static int converse(struct chat *c, struct err *e)
{
    const bool terminal = line_is_terminal(c->line);
    int rc = 0;
    while (!rc && !c->over) {
        const char *text;
        size_t n;
        const enum line_end end = line_next(c->line, &text, &n);
        if (end != LINE_TEXT && terminal)
            rc = put_out("\n", 1, e);
        if (end == LINE_END || (end == LINE_INTERRUPTED && !terminal))
            break;
        if (end == LINE_INTERRUPTED)
            continue;
        if (n)
            rc = text[0] == '/' ? command(c, text, n, e) : say(c, text, n, e);
        if (rc && terminal) {
            fprintf(stderr, "bitnet: %s\n", e->text);
            rc = 0;
        }
    }
    return rc;
}

static int find_template(const struct model *m, struct talk *t, struct err *e)
{
    char warn[256] = "";
    struct buf names = { 0 };
    t->form = template_name ? chat_find(template_name) : chat_recognise(m, warn);
    if (t->form && *warn)
        fprintf(stderr, "bitnet: warning: %s\n", warn);
    if (t->form)
        return 0;
    chat_names(&names);
    int rc = err_set(e, ERR_ARG, "--template: %.100s, expected one of: %s", template_name
                     ? template_name : "the model's is not known", names.p ? names.p : "");
    buf_free(&names);
    return rc;
}

static int run(struct loaded *l, struct chat *c, struct err *e)
{
    int rc = load_model(l, e);
    if (!rc)
        rc = load_is_for_text(l, e);
    if (!rc)
        rc = find_template(l->model, &c->talk, e);
    if (!rc)
        rc = talk_open(&c->talk, e);
    if (!rc && system_text)
        rc = talk_system(&c->talk, system_text, strlen(system_text), e);
    if (!rc)
        rc = load_forward(l, n_ctx, ANSWER_ROWS, 1 + sampling.n_draft, e);
    if (!rc)
        rc = answer_engine(&c->engine, l, true, e);
    if (!rc)
        rc = line_open(&c->line, e);
    if (rc)
        return rc;
    c->talk.vocab = l->model->vocab;
    c->seed = sampling.sample.seed;
    catch_interrupt();
    return converse(c, e);
}

int verb_chat(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    struct loaded l = { 0 };
    struct chat c = { 0 };
    sampling.n_new = 512;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n)
        rc = err_set(&e, ERR_ARG, "chat: %.100s: unexpected, what you say comes from standard "
                     "input", w.at[0]);
    else if (common.json)
        rc = err_set(&e, ERR_ARG, "--json: not with chat, where /save writes JSON");
    else if (n_ctx < 16)
        rc = err_set(&e, ERR_ARG, "--ctx: %u, expected at least 16", n_ctx);
    if (!rc)
        rc = sampling_check(&e);
    if (!rc)
        rc = run(&l, &c, &e);
    line_close(c.line);
    engine_close(c.engine, 0);
    talk_close(&c.talk);
    load_close(&l);
    return tool_exit(rc, &e);
}
