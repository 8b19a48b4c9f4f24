/* fuzz_answer.c - any JSON as an endpoint's answer.
 *
 * The first byte says to which question. What is kept are log-probabilities of
 * tokens that exist, by position, each token once for a position; a continuation
 * of no more tokens than were asked for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/vocab_make.h"
#include "tools/bitnet_crossval.h"
#include "tests/fuzz/fuzz.h"

enum { N_PROMPT = 4, N_NEW = 3 };

static struct vocab *vocab;
static struct pieces *pieces;

static void open_vocab(void)
{
    struct make *m = calloc(1, sizeof *m);
    require(m != NULL);
    make_bpe_bytes(m);
    make_merge(m, "a", "b");
    make_merge(m, "ab", "c");
    make_token(m, "abc", 3, 0);       /* the same bytes twice */
    make_bpe(m);
    make_str(m, "tokenizer.ggml.pre", "gpt-2");
    require(!make_open(m, &vocab, NULL, NULL, NULL));
    make_free(m);
    require(!pieces_open(&pieces, vocab, NULL));
}

static void check(const struct cv_text *t)
{
    for (uint32_t i = 0; i < t->n_top; i++) {
        const struct cv_top *a = &t->top[i];
        require(a->id >= 0 && (uint32_t)a->id < vocab_n(vocab));
        require(isfinite(a->logprob) && a->logprob < 0.01f);
        require(!i || t->top[i - 1].pos <= a->pos);
        for (uint32_t k = i; k && t->top[k - 1].pos == a->pos; k--)
            require(t->top[k - 1].id != a->id);
    }
    require(t->greedy.n <= N_NEW);
    for (size_t i = 0; i < t->greedy.n; i++)
        require(t->greedy.id[i] >= 0 && (uint32_t)t->greedy.id[i] < vocab_n(vocab));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static int32_t prompt[N_PROMPT] = { 'a', 'b', 'x', 'y' };
    const struct cv_ask ask = { .ref = "http://x", .n_new = N_NEW, .n_top = 5 };
    struct cv cv = { .ask = &ask };
    struct cv_text text = { .id = { .id = prompt, .n = N_PROMPT } };
    struct err e = { 0 };
    if (!vocab)
        open_vocab();
    json_t *root = n ? json_loadb((const char *)data + 1, n - 1, JSON_ALLOW_NUL, NULL) : NULL;
    if (!json_is_object(root)) {
        json_decref(root);
        return 0;
    }
    struct answer_in in = { vocab, pieces, &cv, &text };
    buf_add(&text.text, "abxy", 4);
    const int rc = data[0] % 3 == 0 ? answer_tokens(&in, root, &e)
                 : data[0] % 3 == 1 ? answer_completion(&in, root, &e)
                                    : answer_native(&in, root, &e);
    require(!rc || (e.code == rc && e.text[0] && !strchr(e.text, '\n')));
    if (!rc)
        check(&text);
    json_decref(root);
    free(text.top);
    free(text.greedy.id);
    free(text.ref_id.id);
    buf_free(&text.text);
    buf_free(&text.greedy_text);
    return 0;
}
