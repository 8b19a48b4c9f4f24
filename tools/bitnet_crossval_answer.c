/* bitnet_crossval_answer.c - what endpoints answer, as tokens and
 * log-probabilities.
 *
 * Three shapes of a token's log-probability are known: four lists side by side
 * (/v1/completions), objects with top_logprobs (llama-server, and newer
 * interfaces), and its older objects with probs. A token is named by its id
 * where there is one, else by its bytes; bytes of no token, or of several, are
 * counted and left out. Nothing is believed: numbers are log-probabilities of
 * tokens that exist, or the answer is refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bitnet_crossval.h"

enum { MAX_ENTRIES = 256, NO_TOKEN = -1 };

#define SURE 1e-3                 /* ln 1, as some round it                    */
#define IMPOSSIBLE (-9999.0)      /* this or less is how some write minus infinity */

/* ------------------------------------------------------------------- pieces */

struct piece {
    struct str s;
    int32_t id;
};

struct pieces {
    struct piece *at;             /* [n] by bytes                              */
    uint32_t n;
    struct buf text;
};

static int compare(const void *a, const void *b)
{
    const struct str *x = &((const struct piece *)a)->s, *y = &((const struct piece *)b)->s;
    const int c = x->n && y->n ? memcmp(x->p, y->p, x->n < y->n ? x->n : y->n) : 0;
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

int pieces_open(struct pieces **out, const struct vocab *v, struct err *e)
{
    struct pieces *s = calloc(1, sizeof *s);
    const uint32_t n = vocab_n(v);
    size_t *end = calloc((size_t)n + 1, sizeof *end);
    *out = s;
    if (s && end && (s->at = calloc(n, sizeof *s->at))) {
        for (uint32_t i = 0; i < n; i++) {
            vocab_piece(v, (int32_t)i, true, &s->text);
            end[i + 1] = s->text.n;
        }
        for (uint32_t i = 0; i < n; i++)
            s->at[i] = (struct piece){ { s->text.p + end[i], end[i + 1] - end[i] }, (int32_t)i };
        s->n = n;
        qsort(s->at, n, sizeof *s->at, compare);
    }
    free(end);
    return s && s->n && !s->text.failed ? 0 : err_set(e, ERR_NOMEM, "crossval: no memory for the "
                                                      "vocabulary's texts");
}

void pieces_close(struct pieces *s)
{
    if (!s)
        return;
    buf_free(&s->text);
    free(s->at);
    free(s);
}

/* The token of these bytes, or NO_TOKEN: none, or more than one. */
static int32_t find_bytes(const struct pieces *s, const char *p, size_t n)
{
    const struct piece key = { { p, n }, 0 };
    const struct piece *hit = bsearch(&key, s->at, s->n, sizeof key, compare);
    if (!hit || !n || (hit > s->at && !compare(hit - 1, hit)) ||
        (hit + 1 < s->at + s->n && !compare(hit, hit + 1)))
        return NO_TOKEN;
    return hit->id;
}

/* "bytes:\xe4\xb8" is a token that is no text. */
static int32_t find_name(const struct answer_in *in, const char *p, size_t n)
{
    char raw[256];
    size_t k = 0;
    if (n < 6 || memcmp(p, "bytes:", 6))
        return find_bytes(in->pieces, p, n);
    for (size_t at = 6; at + 4 <= n && k < sizeof raw; at += 4) {
        char hex[3] = { p[at + 2], p[at + 3], 0 }, *end;
        raw[k] = (char)strtoul(hex, &end, 16);
        if (p[at] != '\\' || p[at + 1] != 'x' || end != hex + 2)
            return find_bytes(in->pieces, p, n);
        k++;
    }
    return find_bytes(in->pieces, raw, k);
}

static int32_t find_string(const struct answer_in *in, const json_t *j)
{
    return json_is_string(j) ? find_name(in, json_string_value(j), json_string_length(j)) : NO_TOKEN;
}

/* Of an object with id, bytes, token, tok_str or content. */
static int find_item(const struct answer_in *in, const json_t *j, int32_t *id, struct err *e)
{
    const json_t *n = json_object_get(j, "id"), *bytes = json_object_get(j, "bytes");
    *id = NO_TOKEN;
    if (json_is_integer(n)) {
        const json_int_t v = json_integer_value(n);
        if (v < 0 || v >= (json_int_t)vocab_n(in->vocab))
            return err_set(e, ERR_DATA, "%.200s: a token id, expected one below %u: another "
                           "model?", in->cv->ask->ref, vocab_n(in->vocab));
        *id = (int32_t)v;
        return 0;
    }
    if (json_array_size(bytes) && json_array_size(bytes) <= 256) {
        char raw[256];
        const size_t k = json_array_size(bytes);
        for (size_t i = 0; i < k; i++)
            raw[i] = (char)(json_integer_value(json_array_get(bytes, i)) & 0xff);
        *id = find_bytes(in->pieces, raw, k);
    }
    if (*id == NO_TOKEN)
        *id = find_string(in, json_object_get(j, "token"));
    if (*id == NO_TOKEN)
        *id = find_string(in, json_object_get(j, "tok_str"));
    if (*id == NO_TOKEN)
        *id = find_string(in, json_object_get(j, "content"));
    return 0;
}

/* ------------------------------------------------------------ what is kept */

static int add_top(struct answer_in *in, uint32_t pos, int32_t id, double logprob, struct err *e)
{
    struct cv_text *t = in->text;
    if (!isfinite(logprob) || logprob > SURE)
        return err_set(e, ERR_DATA, "%.200s: a log-probability of %g, expected a number up to 0",
                       in->cv->ask->ref, logprob);
    if (logprob <= IMPOSSIBLE)
        return 0;
    if (id == NO_TOKEN) {
        in->cv->n_unknown++;
        return 0;
    }
    for (uint32_t i = t->n_top; i && t->top[i - 1].pos == pos; i--)
        if (t->top[i - 1].id == id)
            return 0;             /* the token itself, beside the largest */
    if (t->n_top == t->top_cap) {
        const uint32_t cap = t->top_cap ? t->top_cap * 2 : 256;
        struct cv_top *top = realloc(t->top, cap * sizeof *top);
        if (!top)
            return err_set(e, ERR_NOMEM, "crossval: no memory for %u log-probabilities", cap);
        t->top = top;
        t->top_cap = cap;
    }
    t->top[t->n_top++] = (struct cv_top){ pos, id, (float)logprob };
    return 0;
}

static double number(const json_t *j)
{
    return json_is_number(j) ? json_number_value(j) : (double)NAN;
}

/* Objects: of the first token the position pos foretold, and so on. */
static int take_items(struct answer_in *in, const json_t *list, uint32_t pos, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(list); i++, pos++) {
        const json_t *item = json_array_get(list, i);
        const json_t *top = json_object_get(item, "top_logprobs");
        const json_t *probs = top ? NULL : json_object_get(item, "probs");
        const size_t n = json_array_size(top ? top : probs);
        int32_t id;
        if (!json_is_object(item) || n > MAX_ENTRIES)
            return err_set(e, ERR_DATA, "%.200s: a list of log-probabilities that is none, "
                           "expected objects with at most %d entries", in->cv->ask->ref, MAX_ENTRIES);
        for (size_t k = 0; !rc && k < n; k++) {
            const json_t *one = json_array_get(top ? top : probs, k);
            const double lp = top ? number(json_object_get(one, "logprob"))
                                  : log(number(json_object_get(one, "prob")));
            if (probs && isinf(lp))
                continue;         /* what a cut left without any probability */
            rc = find_item(in, one, &id, e);
            if (!rc)
                rc = add_top(in, pos, id, lp, e);
        }
    }
    return rc;
}

/* The continuation's ids, as far as all are known. */
static int take_greedy_items(struct answer_in *in, const json_t *list, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(list); i++) {
        int32_t id;
        rc = find_item(in, json_array_get(list, i), &id, e);
        if (rc || id == NO_TOKEN)
            break;
        rc = add_id(&in->text->greedy, id, e);
    }
    in->text->has_greedy = in->text->greedy.n > 0;
    return rc;
}

static int take_ids(struct answer_in *in, const json_t *list, struct tokens *to, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(list); i++) {
        const json_t *j = json_array_get(list, i);
        const json_t *n = json_is_object(j) ? json_object_get(j, "id") : j;
        const json_int_t v = json_is_integer(n) ? json_integer_value(n) : -1;
        if (v < 0 || v > INT32_MAX)
            return err_set(e, ERR_DATA, "%.200s: a list of tokens that is none, expected ids",
                           in->cv->ask->ref);
        rc = add_id(to, (int32_t)v, e);
    }
    return rc;
}

/* Ids beyond the vocabulary are no continuation that this model could read. */
static int check_greedy(const struct answer_in *in, struct err *e)
{
    const struct tokens *t = &in->text->greedy;
    for (size_t i = 0; i < t->n; i++)
        if ((uint32_t)t->id[i] >= vocab_n(in->vocab))
            return err_set(e, ERR_DATA, "%.200s: token id %d, expected one below %u: another model?",
                           in->cv->ask->ref, (int)t->id[i], vocab_n(in->vocab));
    return 0;
}

static void keep_text(struct answer_in *in, const json_t *text, bool echo)
{
    const char *p = json_string_value(text);
    size_t n = json_string_length(text);
    const struct buf *prompt = &in->text->text;
    if (!p || in->text->has_greedy)
        return;
    if (echo && n >= prompt->n && !memcmp(p, prompt->p, prompt->n)) {
        p += prompt->n;
        n -= prompt->n;
    }
    buf_clear(&in->text->greedy_text);
    buf_add(&in->text->greedy_text, p, n);
    in->text->has_greedy_text = true;
}

/* ------------------------------------------------------------------ answers */

int answer_tokens(struct answer_in *in, const json_t *root, struct err *e)
{
    const json_t *list = json_object_get(root, "tokens");
    if (!json_is_array(list))
        return 0;
    in->text->has_ref_id = true;
    return take_ids(in, list, &in->text->ref_id, e);
}

/* Position i - 1 foretold token i: the token's own number, and the largest. */
static int take_map(struct answer_in *in, uint32_t pos, int32_t own, const json_t *own_lp,
                    const json_t *top, struct err *e)
{
    const char *name;
    json_t *value;
    int rc = 0;
    if (json_object_size(top) > MAX_ENTRIES)
        return err_set(e, ERR_DATA, "%.200s: %zu log-probabilities of a position, expected at most "
                       "%d", in->cv->ask->ref, json_object_size(top), MAX_ENTRIES);
    json_object_foreach((json_t *)(uintptr_t)top, name, value) {
        if (!rc)
            rc = add_top(in, pos, find_name(in, name, strlen(name)), number(value), e);
    }
    if (!rc && json_is_number(own_lp))
        rc = add_top(in, pos, own, json_number_value(own_lp), e);
    return rc;
}

/* The prompt comes first in the lists, token by token. */
static bool has_echo(const struct answer_in *in, const json_t *tokens)
{
    const struct tokens *t = &in->text->id;
    bool same = json_array_size(tokens) >= t->n;
    for (size_t i = 0; same && i < t->n; i++) {
        struct buf piece = { 0 };
        const int32_t id = find_string(in, json_array_get(tokens, i));
        vocab_piece(in->vocab, t->id[i], true, &piece);
        same = id == t->id[i] ||
               (id == NO_TOKEN && find_bytes(in->pieces, piece.p, piece.n) == NO_TOKEN);
        buf_free(&piece);
    }
    return same;
}

static int take_lists(struct answer_in *in, const json_t *l, struct err *e)
{
    const json_t *tokens = json_object_get(l, "tokens"), *top = json_object_get(l, "top_logprobs");
    const json_t *own = json_object_get(l, "token_logprobs");
    const size_t n = json_array_size(tokens), n_prompt = in->text->id.n;
    if (!n || json_array_size(own) != n || (top && !json_is_null(top) && json_array_size(top) != n))
        return err_set(e, ERR_DATA, "%.200s: lists of log-probabilities of unequal length, "
                       "expected one entry a token", in->cv->ask->ref);
    const bool echo = has_echo(in, tokens);
    const size_t from = echo ? n_prompt : 0;
    if (n - from > in->cv->ask->n_new)
        return err_set(e, ERR_DATA, "%.200s: %zu tokens, asked for %u", in->cv->ask->ref, n - from,
                       in->cv->ask->n_new);
    int rc = 0;
    bool known = true;
    for (size_t i = echo ? 1 : 0; !rc && i < n; i++) {
        const size_t at = echo ? i : n_prompt + i;
        const int32_t id = i < from ? in->text->id.id[i] : find_string(in, json_array_get(tokens, i));
        rc = take_map(in, (uint32_t)(at - 1), id, json_array_get(own, i), json_array_get(top, i), e);
        known = known && (i < from || id != NO_TOKEN);
        if (!rc && known && i >= from)
            rc = add_id(&in->text->greedy, id, e);
    }
    in->text->has_greedy = in->text->greedy.n > 0;
    return rc;
}

int answer_completion(struct answer_in *in, const json_t *root, struct err *e)
{
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const json_t *l = json_object_get(choice, "logprobs"), *content = json_object_get(l, "content");
    int rc = 0;
    if (!json_is_object(choice))
        return err_set(e, ERR_DATA, "%.200s/v1/completions: no choices in the answer, expected "
                       "one", in->cv->ask->ref);
    if (json_is_array(content)) {
        if (json_array_size(content) > in->cv->ask->n_new)
            return err_set(e, ERR_DATA, "%.200s: %zu tokens, asked for %u", in->cv->ask->ref,
                           json_array_size(content), in->cv->ask->n_new);
        rc = take_items(in, content, (uint32_t)in->text->id.n - 1, e);
        if (!rc)
            rc = take_greedy_items(in, content, e);
    } else if (json_is_array(json_object_get(l, "tokens"))) {
        rc = take_lists(in, l, e);
    }
    keep_text(in, json_object_get(choice, "text"), true);
    return rc;
}

int answer_native(struct answer_in *in, const json_t *root, struct err *e)
{
    const json_t *probs = json_object_get(root, "completion_probabilities");
    const json_t *tokens = json_object_get(root, "tokens"), *t = json_object_get(root, "timings");
    const uint32_t n_new = in->cv->ask->n_new;
    if (json_array_size(probs) > n_new || json_array_size(tokens) > n_new)
        return err_set(e, ERR_DATA, "%.200s/completion: more tokens than the %u that were asked for",
                       in->cv->ask->ref, n_new);
    int rc = take_items(in, probs, (uint32_t)in->text->id.n - 1, e);
    in->text->greedy.n = 0;
    if (!rc && json_array_size(tokens))
        rc = take_ids(in, tokens, &in->text->greedy, e);
    else if (!rc)
        rc = take_greedy_items(in, probs, e);
    in->text->has_greedy = in->text->greedy.n > 0;
    keep_text(in, json_object_get(root, "content"), false);
    const double prompt = number(json_object_get(t, "prompt_per_second"));
    const double decode = number(json_object_get(t, "predicted_per_second"));
    if (isfinite(prompt) && isfinite(decode) && prompt > 0 && decode > 0)
        in->cv->ref_speed = (struct cv_speed){ prompt, decode, "as it says itself" };
    return rc ? rc : check_greedy(in, e);
}
