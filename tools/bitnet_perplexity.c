/* bitnet_perplexity.c - `bitnet perplexity`: how well a model foretells a text,
 * and how far it is from another one.
 *
 * The protocol is the common perplexity tool's: the text's tokens, BOS first
 * when the model wants one, cut into windows of n_ctx; the first token of each
 * window becomes BOS; of each window the tokens behind its first half count,
 * each given all before it in the window. What is left over is not used. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bitnet_perplexity.h"

enum { MIN_CTX = 4 };

static struct ppl ppl = { .n_ctx = 512 };
static const char *save_as = "u16", *format = "text";

static const struct opt options[] = {
    { "file", 'f', OPT_TEXT, &ppl.text_file, "TEXT", "the text; - is standard input" },
    { "ctx", 'c', OPT_U32, &ppl.n_ctx, "N", "tokens of a window (default 512)" },
    { "windows", 'n', OPT_U32, &ppl.max_window, "N", "only the first N windows" },
    { "kl", 0, OPT_TEXT, &ppl.ref_file, "FILE",
      "compare with these saved logits; without --file: over their tokens" },
    { "save-logits", 0, OPT_TEXT, &ppl.save_file, "FILE", "keep what the model said" },
    { "save-as", 0, OPT_TEXT, &save_as, "u16|f32",
      "as log-probabilities of 16 bits (default), or as they are" },
    { "chunk", 0, OPT_U32, &ppl.chunk, "N", "rows in a step (default 256); changes no bit" },
    { "output", 'o', OPT_TEXT, &format, "FORMAT", "text (default) or json" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "perplexity", "[-m FILE] (-f TEXT | --kl FILE) [OPTION]...",
    "Measures how well a model foretells a text, and how far it is from another one\n"
    "whose logits were saved.",
    { options, common_file, common_compute, common_reading }
};

struct windows {
    struct tokens t;
    struct log_seq *seq;
    uint32_t n;
};

static int make_windows(struct windows *w, uint32_t n_ctx, int32_t bos, struct err *e)
{
    const size_t n = w->t.n / n_ctx;
    if (!n || n > LOG_MAX_SEQ)
        return err_set(e, ERR_ARG, "%s: %zu tokens, expected enough for 1 to %d windows of %u: "
                       "%s --ctx", ppl.text_file, w->t.n, LOG_MAX_SEQ, n_ctx,
                       n ? "raise" : "a longer text, or lower");
    w->seq = calloc(n, sizeof *w->seq);
    if (!w->seq)
        return err_set(e, ERR_NOMEM, "perplexity: no memory for %zu windows", n);
    const uint32_t first = n_ctx / 2;
    w->n = (uint32_t)n;
    for (uint32_t i = 0; i < w->n; i++) {
        int32_t *id = w->t.id + (size_t)i * n_ctx;
        if (bos >= 0)
            id[0] = bos;
        w->seq[i] = (struct log_seq){ .id = id, .n_tok = n_ctx, .first = first,
                                      .n_row = n_ctx - 1 - first };
    }
    return 0;
}

/* As the common tool reads a file: one newline at its end is none of its text. */
static int windows_of_text(struct windows *w, const struct vocab *v, int32_t bos, struct err *e)
{
    char *text;
    size_t n;
    int rc = read_text(ppl.text_file, &text, &n, e);
    if (rc)
        return rc;
    n -= n && text[n - 1] == '\n';
    rc = vocab_encode(v, text ? text : "", n, VOCAB_BOS, 0, &w->t, e);
    free(text);
    return rc ? rc : make_windows(w, ppl.n_ctx, bos, e);
}

/* The saved sequences; another tool's windows begin with BOS where it computed,
 * and with the text's token in its file. */
static int windows_of_ref(struct windows *w, const struct logfile *ref, int32_t bos, struct err *e)
{
    size_t n = 0;
    for (uint32_t i = 0; i < ref->n_seq; i++)
        n += ref->seq[i].n_tok;
    w->t.id = malloc(n * sizeof *w->t.id);
    w->seq = malloc(ref->n_seq * sizeof *w->seq);
    if (!w->t.id || !w->seq)
        return err_set(e, ERR_NOMEM, "perplexity: no memory for %u windows", ref->n_seq);
    memcpy(w->t.id, ref->id, n * sizeof *w->t.id);
    memcpy(w->seq, ref->seq, ref->n_seq * sizeof *w->seq);
    w->t.n = n;
    w->n = ref->n_seq;
    for (uint32_t i = 0; i < w->n; i++) {
        int32_t *id = w->t.id + (ref->seq[i].id - ref->id);
        if (ref->foreign && bos >= 0)
            id[0] = bos;
        w->seq[i].id = id;
    }
    return 0;
}

/* That both are about the same tokens. */
static int check_ref(const struct windows *w, const struct logfile *ref, int32_t bos,
                     struct err *e)
{
    const uint32_t n = w->n < ref->n_seq ? w->n : ref->n_seq;
    for (uint32_t i = 0; i < n; i++) {
        const struct log_seq *a = &w->seq[i], *b = &ref->seq[i];
        if (a->n_tok != b->n_tok || a->first != b->first || a->n_row != b->n_row)
            return err_set(e, ERR_DATA, "%s: window %u has %u rows from position %u of %u tokens, "
                           "here %u from %u of %u: give the same --ctx", ppl.ref_file, i, b->n_row,
                           b->first, b->n_tok, a->n_row, a->first, a->n_tok);
        for (uint32_t k = ref->foreign && bos >= 0; k < a->n_tok; k++)
            if (a->id[k] != b->id[k])
                return err_set(e, ERR_DATA, "%s: window %u, token %u is %" PRId32 ", here %" PRId32
                               ": another text, or another tokenizer", ppl.ref_file, i, k, b->id[k],
                               a->id[k]);
    }
    return 0;
}

static int get_windows(struct windows *w, const struct model *m, struct err *e)
{
    const int32_t bos = vocab_add_bos(m->vocab) ? vocab_bos(m->vocab) : -1;
    int rc = 0;
    ppl.bos = bos >= 0;
    ppl.n_vocab = m->hp.n_vocab;
    if (ppl.ref_file)
        rc = logfile_open(&ppl.ref, ppl.ref_file, m->hp.n_vocab, e);
    if (!rc)
        rc = ppl.text_file ? windows_of_text(w, m->vocab, bos, e)
                           : windows_of_ref(w, &ppl.ref, bos, e);
    if (!rc && ppl.ref_file && ppl.text_file)
        rc = check_ref(w, &ppl.ref, bos, e);
    ppl.n_seq = ppl.n_seq_text = w->n;
    if (ppl.ref_file && ppl.ref.n_seq < ppl.n_seq)
        ppl.n_seq = ppl.ref.n_seq;
    if (ppl.max_window && ppl.max_window < ppl.n_seq)
        ppl.n_seq = ppl.max_window;
    ppl.seq = w->seq;
    return rc;
}

static int check_options(const struct words *w, struct err *e)
{
    if (w->n)
        return err_set(e, ERR_ARG, "perplexity: %.100s: unexpected, a text is given with --file",
                       w->at[0]);
    if (!ppl.text_file && !ppl.ref_file)
        return err_set(e, ERR_ARG, "perplexity: no text, expected --file or --kl");
    if (ppl.n_ctx < MIN_CTX)
        return err_set(e, ERR_ARG, "--ctx: %u, expected at least %d", ppl.n_ctx, MIN_CTX);
    if (strcmp(save_as, "u16") && strcmp(save_as, "f32"))
        return err_set(e, ERR_ARG, "--save-as: %.60s, expected u16 or f32", save_as);
    if (ppl.save_file && !strcmp(ppl.save_file, "-"))
        return err_set(e, ERR_ARG, "--save-logits: -, expected a file");
    ppl.encoding = strcmp(save_as, "f32") ? LOG_U16 : LOG_F32;
    return opt_output(format, e);
}

int verb_perplexity(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    struct loaded l = { 0 };
    struct windows win = { 0 };
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    rc = check_options(&w, &e);
    if (!rc)
        rc = load_model(&l, &e);
    if (!rc)
        rc = get_windows(&win, l.model, &e);
    if (!rc)
        rc = ppl_run(&ppl, &l, &e);
    if (!rc)
        rc = ppl_print(&ppl, &l, &e);
    ppl_free(&ppl);
    load_close(&l);
    free(win.t.id);
    free(win.seq);
    return tool_exit(rc, &e);
}
