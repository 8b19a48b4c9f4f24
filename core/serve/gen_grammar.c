/* gen_grammar.c - a short list, most recently used first, under one lock.
 *
 * Compiling happens outside of the lock: a large grammar holds up nobody who
 * has a small one. Two who compile the same at once both may; one is kept. */
#include "core/serve/gen_grammar.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    struct grammar *grammar;
    size_t n;
    char text[];
};

struct gen_grammars {
    pthread_mutex_t lock;             /* guards all below                      */
    const struct vocab *vocab;
    int32_t end[CHAT_MAX_END];
    unsigned n_end;
    struct grammar_vocab *tokens;     /* made when the first is asked for      */
    struct kept *list[GEN_GRAMMAR_MAX];
    unsigned n;
};

int gen_grammars_open(struct gen_grammars **out, const struct vocab *v,
                      const struct chat_template *chat, struct err *e)
{
    struct gen_grammars *s = *out = calloc(1, sizeof *s);
    if (!s || pthread_mutex_init(&s->lock, NULL)) {
        free(s);
        *out = NULL;
        return err_set(e, ERR_NOMEM, "grammars: no memory");
    }
    s->vocab = v;
    if (chat)
        s->n_end = chat_end_ids(chat, v, s->end);
    return 0;
}

static void kept_free(struct kept *k)
{
    if (k)
        grammar_unref(k->grammar);
    free(k);
}

void gen_grammars_close(struct gen_grammars *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->n; i++)
        kept_free(s->list[i]);
    grammar_vocab_unref(s->tokens);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* With the lock: the kept grammar of this text, now the first, or NULL. */
static struct kept *find(struct gen_grammars *s, const char *gbnf, size_t n)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct kept *k = s->list[i];
        if (k->n != n || memcmp(k->text, gbnf, n))
            continue;
        memmove(s->list + 1, s->list, i * sizeof *s->list);
        s->list[0] = k;
        return k;
    }
    return NULL;
}

/* With the lock: k becomes the first. Returns what had to go, or NULL. */
static struct kept *insert(struct gen_grammars *s, struct kept *k)
{
    struct kept *out = s->n == GEN_GRAMMAR_MAX ? s->list[--s->n] : NULL;
    memmove(s->list + 1, s->list, s->n * sizeof *s->list);
    s->list[0] = k;
    s->n++;
    return out;
}

/* A grammar that is kept, or the vocabulary to compile it for. */
static int look(struct gen_grammars *s, const char *gbnf, size_t n, struct grammar **out,
                struct grammar_vocab **tokens, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    struct kept *k = find(s, gbnf, n);
    if (k)
        *out = grammar_ref(k->grammar);
    else if (!s->tokens)
        rc = grammar_vocab_open(&s->tokens, s->vocab, s->end, s->n_end, e);
    if (!k && !rc)
        *tokens = grammar_vocab_ref(s->tokens);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int gen_grammars_get(struct gen_grammars *s, const char *gbnf, size_t n, struct grammar **out,
                     struct err *e)
{
    struct grammar_vocab *tokens = NULL;
    *out = NULL;
    int rc = look(s, gbnf, n, out, &tokens, e);
    if (rc || *out)
        return rc;
    rc = grammar_compile(out, tokens, gbnf, n, e);
    grammar_vocab_unref(tokens);
    struct kept *k = rc ? NULL : malloc(sizeof *k + n);
    if (!k)
        return rc;                /* compiled, but not kept, when memory is short */
    k->grammar = grammar_ref(*out);
    k->n = n;
    memcpy(k->text, gbnf, n);
    pthread_mutex_lock(&s->lock);
    struct kept *gone = find(s, gbnf, n) ? k : insert(s, k);
    pthread_mutex_unlock(&s->lock);
    kept_free(gone);
    return 0;
}
