/* bitnet_logits.c - `bitnet logits`: every position's logits, as they are.
 *
 * The forward pass alone, in chunks, each row of n_vocab binary32 numbers
 * appended to the file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "tools/bitnet.h"
#include "tools/bitnet_score.h"

static const char *prompt, *ids, *out;
static bool no_bos;
static uint32_t chunk = 64;

static const struct opt options[] = {
    { "prompt", 'p', OPT_TEXT, &prompt, "TEXT", "the text; - reads it" },
    { "ids", 0, OPT_TEXT, &ids, "IDS", "token ids instead: \"1,2,3\"; - reads them" },
    { "no-bos", 0, OPT_FLAG, &no_bos, NULL, "no beginning-of-sequence token before the text" },
    { "out", 'o', OPT_TEXT, &out, "FILE", "where to: f32, little-endian, [n_tokens][n_vocab]" },
    { "chunk", 0, OPT_U32, &chunk, "N", "rows in a step (default 64); changes no bit" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "logits", "[-m FILE] (-p TEXT | --ids IDS) -o FILE [OPTION]...",
    "Writes the logits of every position. The file appears when it is complete.",
    { options, common_file, common_compute, common_reading }
};

static int get_ids(const struct vocab *v, struct tokens *t, struct err *e)
{
    const char *text = prompt ? prompt : ids;
    char *read = NULL;
    size_t n = strlen(text);
    int rc = 0;
    if (!strcmp(text, "-")) {
        rc = read_text("-", &read, &n, e);
        text = read ? read : "";
    }
    if (!rc)
        rc = ids ? parse_ids(text, n, t, e)
                 : vocab_encode(v, text, n, VOCAB_SPECIAL | (no_bos ? 0u : VOCAB_BOS), 0, t, e);
    free(read);
    return rc;
}

static int check_ids(const struct model *m, const struct tokens *t, struct err *e)
{
    if (!t->n || t->n > m->hp.n_ctx)
        return err_set(e, ERR_ARG, "logits: %zu tokens, expected 1 to %u, the model's context",
                       t->n, m->hp.n_ctx);
    for (size_t i = 0; i < t->n; i++)
        if ((uint32_t)t->id[i] >= m->hp.n_vocab)
            return err_set(e, ERR_ARG, "logits: token %zu is %" PRId32 ", expected 0 to %u", i,
                           t->id[i], m->hp.n_vocab - 1);
    return 0;
}

struct sink {
    struct file_out *o;
    uint32_t n_vocab;
};

static int write_rows(void *ctx, const struct score_rows *r, struct err *e)
{
    const struct sink *s = ctx;
    int rc = 0;
    for (uint32_t i = 0; !rc && i < r->n; i++)
        rc = file_out_write(s->o, r->logits + i * r->stride, s->n_vocab * sizeof *r->logits, e);
    return rc;
}

static int write_all(struct loaded *l, const struct tokens *t, struct err *e)
{
    struct file_out o;
    struct score s;
    int rc = score_open(&s, l, (uint32_t)t->n, chunk, e);
    if (!rc && !(rc = file_out_open(&o, out, e))) {
        score_begin(&s);
        rc = score_feed(&s, t->id, (uint32_t)t->n, 0, write_rows,
                        &(struct sink){ &o, l->model->hp.n_vocab }, e);
        if (!rc)
            rc = file_out_commit(&o, e);
        file_out_abort(&o);
    }
    score_close(&s);
    return rc;
}

static int print_result(const struct model *m, const struct tokens *t, struct err *e)
{
    if (!common.json) {
        fprintf(stderr, "bitnet: %s: %zu rows of %u f32\n", out, t->n, m->hp.n_vocab);
        return 0;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++)
        json_array_append_new(list, json_integer(t->id[i]));
    return put_json(json_pack("{s:I,s:I,s:o}", "n_tokens", (json_int_t)t->n, "n_vocab",
                              (json_int_t)m->hp.n_vocab, "ids", list), e);
}

static int logits(struct loaded *l, struct tokens *t, struct err *e)
{
    int rc = load_model(l, e);
    if (!rc)
        rc = get_ids(l->model->vocab, t, e);
    if (!rc)
        rc = check_ids(l->model, t, e);
    if (!rc)
        rc = write_all(l, t, e);
    return rc ? rc : print_result(l->model, t, e);
}

int verb_logits(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    struct loaded l = { 0 };
    struct tokens t = { 0 };
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n)
        rc = err_set(&e, ERR_ARG, "logits: %.100s: unexpected, a text is given with --prompt",
                     w.at[0]);
    else if (!prompt == !ids)
        rc = err_set(&e, ERR_ARG, "logits: %s, expected one of --prompt and --ids",
                     prompt ? "a text and ids" : "no input");
    else if (!out)
        rc = err_set(&e, ERR_ARG, "logits: no --out, expected the file to write");
    else if (!strcmp(out, "-") && common.json)
        rc = err_set(&e, ERR_ARG, "logits: --json and --out - both want standard output");
    else if (!chunk)
        rc = err_set(&e, ERR_ARG, "--chunk: 0, expected at least 1");
    if (!rc)
        rc = logits(&l, &t, &e);
    load_close(&l);
    free(t.id);
    return tool_exit(rc, &e);
}
