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
    unsigned n, max;
    unsigned n_compiling;             /* places reserved                       */
    struct kept *list[];              /* [max] most recently used first        */
};

int gen_grammars_open(struct gen_grammars **out, const struct vocab *v,
                      const struct chat_template *chat, unsigned max, struct err *e)
{
    struct gen_grammars *s = *out = calloc(1, sizeof *s + max * sizeof *s->list);
    if (!s || pthread_mutex_init(&s->lock, NULL)) {
        free(s);
        *out = NULL;
        return err_set(e, ERR_NOMEM, "grammars: no memory");
    }
    s->vocab = v;
    s->max = max;
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

/* With the lock: room for one more, the least recently used that nobody uses
 * making it. Whoever has a reference got it under the lock. */
static bool make_room(struct gen_grammars *s, struct kept **gone)
{
    if (s->n + s->n_compiling < s->max)
        return true;
    for (unsigned i = s->n; i-- > 0;) {
        if (!grammar_is_single(s->list[i]->grammar))
            continue;
        *gone = s->list[i];
        s->n--;
        memmove(s->list + i, s->list + i + 1, (s->n - i) * sizeof *s->list);
        return true;
    }
    return false;
}

/* A grammar that is kept, or the vocabulary to compile it for and a place. */
static int look(struct gen_grammars *s, const char *gbnf, size_t n, struct grammar **out,
                struct grammar_vocab **tokens, struct err *e)
{
    int rc = 0;
    struct kept *gone = NULL;
    pthread_mutex_lock(&s->lock);
    struct kept *k = find(s, gbnf, n);
    if (k)
        *out = grammar_ref(k->grammar);
    else if (!make_room(s, &gone))
        rc = err_set(e, ERR_LIMIT, "%u different grammars and schemas are in use, as many as "
                     "server.max_grammars allows", s->max);
    else if (!s->tokens)
        rc = grammar_vocab_open(&s->tokens, s->vocab, s->end, s->n_end, e);
    if (!k && !rc) {
        *tokens = grammar_vocab_ref(s->tokens);
        s->n_compiling++;
    }
    pthread_mutex_unlock(&s->lock);
    kept_free(gone);
    return rc;
}

/* Takes the place that look reserved. When another was faster with the same
 * text, its grammar is the one. */
static int keep(struct gen_grammars *s, const char *gbnf, size_t n, struct grammar **made,
                struct err *e)
{
    struct kept *k = *made ? malloc(sizeof *k + n) : NULL;
    struct grammar *spare = NULL;
    pthread_mutex_lock(&s->lock);
    struct kept *same = k ? find(s, gbnf, n) : NULL;
    s->n_compiling--;
    if (same) {
        spare = *made;
        *made = grammar_ref(same->grammar);
    } else if (k) {
        *k = (struct kept){ grammar_ref(*made), n };
        memcpy(k->text, gbnf, n);
        memmove(s->list + 1, s->list, s->n++ * sizeof *s->list);
        s->list[0] = k;
    }
    pthread_mutex_unlock(&s->lock);
    grammar_unref(spare);
    if (same)
        free(k);
    if (!*made || k)
        return 0;
    grammar_unref(*made);
    *made = NULL;
    return err_set(e, ERR_NOMEM, "grammar: no memory");
}

int gen_grammars_get(struct gen_grammars *s, const char *gbnf, size_t n, struct grammar **out,
                     bool *busy, struct err *e)
{
    struct grammar_vocab *tokens = NULL;
    *out = NULL;
    int rc = look(s, gbnf, n, out, &tokens, e);
    *busy = rc == ERR_LIMIT;
    if (rc || *out)
        return rc;
    rc = grammar_compile(out, tokens, gbnf, n, e);
    grammar_vocab_unref(tokens);
    const int kept = keep(s, gbnf, n, out, e);
    return rc ? rc : kept;
}
