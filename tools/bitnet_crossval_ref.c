/* bitnet_crossval_ref.c - texts, and references that are files. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "tools/bitnet_crossval.h"

enum { MAX_LINE = 1 << 20 };      /* bytes of a line of --tokens               */

/* Of --prompts when there is none: prose, numbers, code, other scripts. */
static const char *const some_texts[] = {
    "Once upon a time, in a house at the edge of the forest, there lived an old woman and her cat.",
    "The capital of France is",
    "In 1687 Isaac Newton published three laws of motion. The first of them says that",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "1, 2, 4, 8, 16, 32, 64, 128, 256,",
    ("Der schnelle braune Fuchs springt \303\274ber den faulen Hund. \320\237\321\200\320\270\320\262"
     "\320\265\321\202, \344\275\240\345\245\275!"),
};

static int add_text(struct cv *c, struct cv_text **out, struct err *e)
{
    if (c->n_text == CV_MAX_TEXT)
        return err_set(e, ERR_LIMIT, "crossval: more than %d texts, expected fewer: --texts N takes "
                       "the first", CV_MAX_TEXT);
    if (!c->text && !(c->text = calloc(CV_MAX_TEXT, sizeof *c->text)))
        return err_set(e, ERR_NOMEM, "crossval: no memory for texts");
    *out = &c->text[c->n_text++];
    return 0;
}

static int add_line(struct cv *c, const char *p, size_t n, struct err *e)
{
    struct cv_text *t;
    int rc = add_text(c, &t, e);
    if (rc)
        return rc;
    buf_add(&t->text, p, n);
    return t->text.failed ? err_set(e, ERR_NOMEM, "crossval: no memory for texts") : 0;
}

int cv_texts(struct cv *c, struct err *e)
{
    const uint32_t most = c->ask->n_text ? c->ask->n_text : CV_MAX_TEXT;
    char *all;
    size_t n;
    int rc = 0;
    if (!c->ask->prompts) {
        for (size_t i = 0; !rc && i < sizeof some_texts / sizeof *some_texts && i < most; i++)
            rc = add_line(c, some_texts[i], strlen(some_texts[i]), e);
        return rc;
    }
    rc = read_text(c->ask->prompts, &all, &n, e);
    for (char *p = all, *end = all + n, *eol; !rc && p && p < end && c->n_text < most; p = eol + 1) {
        eol = memchr(p, '\n', (size_t)(end - p));
        eol = eol ? eol : end;
        if (eol > p)
            rc = add_line(c, p, (size_t)(eol - p), e);
    }
    free(all);
    if (!rc && !c->n_text)
        rc = err_set(e, ERR_ARG, "%s: no texts, expected one a line", c->ask->prompts);
    return rc;
}

void cv_compare_ids(struct cv *c, uint32_t i, const struct tokens *ours, const struct tokens *ref)
{
    size_t k = 0;
    while (k < ours->n && k < ref->n && ours->id[k] == ref->id[k])
        k++;
    c->n_ids++;
    if (k == ours->n && k == ref->n) {
        c->n_ids_same++;
        return;
    }
    if (*c->ids_first)
        return;
    char a[24] = "none", b[24] = "none";
    if (k < ours->n)
        snprintf(a, sizeof a, "%" PRId32, ours->id[k]);
    if (k < ref->n)
        snprintf(b, sizeof b, "%" PRId32, ref->id[k]);
    snprintf(c->ids_first, sizeof c->ids_first, "text %u, token %zu: %s here, %s there", i, k, a, b);
}

int cv_sha256(const char *path, char hex[65], struct err *e)
{
    unsigned char sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state s;
    struct file_map m;
    struct stat st;
    enum { PIECE = 1 << 22 };
    hex[0] = 0;
    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return 0;
    int rc = file_map(&m, path, e);
    if (rc)
        return rc;
    crypto_hash_sha256_init(&s);
    for (size_t at = 0, n; at < m.n; at += n) {
        n = m.n - at < PIECE ? m.n - at : PIECE;
        crypto_hash_sha256_update(&s, m.p + at, n);
    }
    crypto_hash_sha256_final(&s, sum);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
    file_unmap(&m);
    return 0;
}

/* -------------------------------------------------------------- saved logits */

static int texts_of_file(struct cv *c, const struct model *m, struct err *e)
{
    const struct logfile *l = &c->file;
    const int32_t bos = vocab_add_bos(m->vocab) ? vocab_bos(m->vocab) : -1;
    const uint32_t most = c->ask->n_text ? c->ask->n_text : CV_MAX_TEXT;
    int rc = 0;
    for (uint32_t i = 0; !rc && i < l->n_seq && c->n_text < most; i++) {
        struct cv_text *t;
        rc = add_text(c, &t, e);
        for (uint32_t k = 0; !rc && k < l->seq[i].n_tok; k++)
            rc = add_id(&t->id, !k && l->foreign && bos >= 0 ? bos : l->seq[i].id[k], e);
        if (rc)
            break;
        t->first = l->seq[i].first;
        t->n_row = l->seq[i].n_row;
        t->row = l->seq[i].row;
    }
    return rc;
}

static int open_logfile(struct cv *c, const struct model *m, struct err *e)
{
    int rc = logfile_open(&c->file, c->ask->ref, m->hp.n_vocab, e);
    if (rc)
        return rc;
    c->log_probs = c->file.encoding == LOG_U16;
    c->kind = c->file.foreign ? "saved log-probabilities of another tool"
              : c->log_probs ? "saved log-probabilities" : "saved logits";
    return texts_of_file(c, m, e);
}

/* ----------------------------------------------------------------- raw floats */

static int ids_of(const json_t *list, struct tokens *to, uint32_t n_vocab, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(list); i++) {
        const json_t *j = json_array_get(list, i);
        const json_int_t v = json_is_integer(j) ? json_integer_value(j) : -1;
        if (v < 0 || v >= (json_int_t)n_vocab)
            return err_set(e, ERR_DATA, "token %zu: expected an id of 0 to %u", i, n_vocab - 1);
        rc = add_id(to, (int32_t)v, e);
    }
    return rc;
}

/* {"ids": [...], "greedy": [...]}, or ids alone. */
static int tokens_of_line(struct cv_text *t, const char *p, size_t n, uint32_t n_vocab,
                          struct err *e)
{
    int rc = 0;
    if (*p == '{') {
        json_t *j = json_loadb(p, n, 0, NULL);
        const json_t *greedy = json_object_get(j, "greedy");
        rc = ids_of(json_object_get(j, "ids"), &t->id, n_vocab, e);
        if (!rc)
            rc = ids_of(greedy, &t->greedy, n_vocab, e);
        t->has_greedy = json_array_size(greedy) > 0;
        json_decref(j);
    } else {
        rc = parse_ids(p, n, &t->id, e);
        for (size_t i = 0; !rc && i < t->id.n; i++)
            if ((uint32_t)t->id.id[i] >= n_vocab)
                rc = err_set(e, ERR_DATA, "token %zu: expected an id of 0 to %u", i, n_vocab - 1);
    }
    if (!rc && (!t->id.n || t->id.n > LOG_MAX_TOK))
        rc = err_set(e, ERR_DATA, "%zu tokens, expected 1 to %d, as {\"ids\": [...]} or ids",
                     t->id.n, LOG_MAX_TOK);
    return rc;
}

static int read_tokens(struct cv *c, uint32_t n_vocab, struct err *e)
{
    char *all;
    size_t n;
    uint64_t row = 0;
    int rc = read_text(c->ask->tokens, &all, &n, e);
    for (char *p = all, *end = all + n, *eol; !rc && p && p < end; p = eol + 1) {
        struct cv_text *t;
        eol = memchr(p, '\n', (size_t)(end - p));
        eol = eol ? eol : end;
        if (eol == p)
            continue;
        rc = eol - p > MAX_LINE ? err_set(e, ERR_LIMIT, "a line of %td bytes, expected at most %d",
                                         eol - p, MAX_LINE)
                                : add_text(c, &t, e);
        if (!rc)
            rc = tokens_of_line(t, p, (size_t)(eol - p), n_vocab, e);
        if (rc) {
            err_prefix(e, "%s: text %u", c->ask->tokens, c->n_text ? c->n_text - 1 : 0);
            break;
        }
        t->row = row;
        t->n_row = (uint32_t)t->id.n;
        row += t->n_row;
    }
    free(all);
    c->file.n_row = row;
    return rc;
}

static int open_raw(struct cv *c, const struct model *m, struct err *e)
{
    const uint32_t n_vocab = m->hp.n_vocab;
    if (!c->ask->tokens)
        return err_set(e, ERR_ARG, "%s: no saved logits: as plain f32 it needs --tokens, with the "
                       "ids of its rows", c->ask->ref);
    int rc = file_map(&c->raw, c->ask->ref, e);
    if (!rc)
        rc = read_tokens(c, n_vocab, e);
    if (rc)
        return rc;
    const uint64_t row_size = (uint64_t)n_vocab * sizeof(float);
    if (!c->n_text || c->raw.n != c->file.n_row * row_size)
        return err_set(e, ERR_DATA, "%s: %zu bytes, expected %" PRIu64 ": %" PRIu64 " rows (the "
                       "tokens of %s) of %u f32", c->ask->ref, c->raw.n, c->file.n_row * row_size,
                       c->file.n_row, c->ask->tokens, n_vocab);
    c->file = (struct logfile){ .encoding = LOG_F32, .n_vocab = n_vocab, .foreign = true,
                                .n_row = c->file.n_row, .row_size = row_size, .rows = c->raw.p };
    c->kind = "logits, plain f32";
    return 0;
}

/* Line i of --prompts is what text i was made of. */
static int compare_prompts(struct cv *c, const struct model *m, struct err *e)
{
    struct cv lines = { .ask = c->ask };
    int rc = c->ask->prompts ? cv_texts(&lines, e) : 0;
    for (uint32_t i = 0; !rc && i < lines.n_text && i < c->n_text; i++) {
        struct tokens ours = { 0 };
        rc = vocab_encode(m->vocab, lines.text[i].text.p, lines.text[i].text.n, VOCAB_BOS, 0, &ours,
                          e);
        if (!rc)
            cv_compare_ids(c, i, &ours, &c->text[i].id);
        free(ours.id);
    }
    cv_close(&lines);
    return rc;
}

int cv_open_file(struct cv *c, const struct model *m, struct err *e)
{
    bool saved = false;
    int rc = logfile_is(c->ask->ref, &saved, e);
    if (!rc && saved && c->ask->tokens)
        rc = err_set(e, ERR_ARG, "--tokens: %s has its tokens in it, expected no other", c->ask->ref);
    if (!rc)
        rc = saved ? open_logfile(c, m, e) : open_raw(c, m, e);
    if (!rc)
        rc = compare_prompts(c, m, e);
    if (!rc && c->ask->n_text && c->n_text > c->ask->n_text)
        c->n_text = c->ask->n_text;
    if (!rc)
        rc = cv_sha256(c->ask->ref, c->ref_sha, e);
    return rc;
}

void cv_close(struct cv *c)
{
    for (uint32_t i = 0; c->text && i < CV_MAX_TEXT; i++) {
        struct cv_text *t = &c->text[i];
        buf_free(&t->text);
        buf_free(&t->greedy_text);
        free(t->id.id);
        free(t->ref_id.id);
        free(t->greedy.id);
        free(t->top);
    }
    free(c->text);
    logfile_close(&c->file);
    file_unmap(&c->raw);
    *c = (struct cv){ .ask = c->ask };
}
