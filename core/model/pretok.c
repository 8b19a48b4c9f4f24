/* pretok.c - the stages' regular expressions, written out.
 *
 * A stage is a function: the length of the piece that starts at p. It decides
 * by the classes of the characters ahead, never by what came before, so it
 * needs no state. No stage is quadratic: it looks ahead at most one run of one
 * class, and takes that run or all but its last character. */
#include "core/model/pretok.h"

#include <assert.h>
#include <string.h>

#include "core/model/uclass.h"

typedef const uint8_t *stage_fn(const uint8_t *p, const uint8_t *end, unsigned arg);

struct pretok {
    const char *name;
    struct {
        stage_fn *cut;             /* the end of the piece at p; p < end */
        unsigned arg;
    } stage[PRETOK_MAX_STAGES];
    unsigned n;
    bool ignore_merges, add_bos;
};

/* The end of a run of characters that have a bit of mask. */
static const uint8_t *run_with(const uint8_t *p, const uint8_t *end, unsigned mask)
{
    for (size_t n; p < end && uclass_at(p, end, &n) & mask; p += n)
        continue;
    return p;
}

static const uint8_t *run_without(const uint8_t *p, const uint8_t *end, unsigned mask)
{
    for (size_t n; p < end && !(uclass_at(p, end, &n) & mask); p += n)
        continue;
    return p;
}

/* Whether a character at p has a bit of mask. */
static bool has(const uint8_t *p, const uint8_t *end, unsigned mask)
{
    size_t n;
    return p < end && uclass_at(p, end, &n) & mask;
}

static bool is_symbol(const uint8_t *p, const uint8_t *end)
{
    size_t n;
    return p < end && !(uclass_at(p, end, &n) & UC_WORD);
}

/* 's|'t|'re|'ve|'m|'ll|'d after the apostrophe at p, or p. any_case: a long s
 * (U+017F) is an s too. */
static const uint8_t *contraction(const uint8_t *p, const uint8_t *end, bool any_case)
{
    const unsigned fold = any_case ? 0x20 : 0;
    if (end - p < 2)
        return p;
    const unsigned a = p[1] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return p + 2;
    if (end - p < 3)
        return p;
    const unsigned b = p[2] | fold;
    const bool two = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
    return two || (any_case && p[1] == 0xc5 && p[2] == 0xbf) ? p + 3 : p;
}

/* White space. breaks: \s*[\r\n]+|\s+(?!\S)|\s+, else without the first. */
static const uint8_t *cut_space(const uint8_t *p, const uint8_t *end, bool breaks)
{
    const uint8_t *q = p, *last = p, *after_break = NULL;
    for (size_t n; q < end; q += n) {
        const unsigned c = uclass_at(q, end, &n);
        if (!(c & UC_SPACE))
            break;
        last = q;
        if (c & UC_BREAK)
            after_break = q + n;
    }
    if (breaks && after_break)
        return after_break;
    return q == end || last == p ? q : last;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}
 * | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static const uint8_t *cut_llama3(const uint8_t *p, const uint8_t *end, unsigned digits)
{
    size_t n;
    const unsigned c = uclass_at(p, end, &n);
    if (c & UC_LETTER)
        return run_with(p + n, end, UC_LETTER);
    if (*p == '\'') {
        const uint8_t *const q = contraction(p, end, true);
        if (q > p)
            return q;
    }
    if (c & UC_NUMBER) {
        const uint8_t *q = p + n;
        while (--digits > 0 && has(q, end, UC_NUMBER)) {
            uclass_at(q, end, &n);
            q += n;
        }
        return q;
    }
    if (!(c & UC_BREAK) && has(p + n, end, UC_LETTER))
        return run_with(p + n, end, UC_LETTER);
    const uint8_t *q = p + (*p == ' ');
    if (!is_symbol(q, end))
        return cut_space(p, end, true);
    q = run_without(q, end, UC_WORD);
    while (q < end && (*q == '\r' || *q == '\n'))
        q++;
    return q;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static const uint8_t *cut_gpt2(const uint8_t *p, const uint8_t *end, unsigned arg)
{
    (void)arg;
    if (*p == '\'') {
        const uint8_t *const q = contraction(p, end, false);
        if (q > p)
            return q;
    }
    const uint8_t *const q = p + (*p == ' ');
    if (has(q, end, UC_LETTER))
        return run_with(q, end, UC_LETTER);
    if (has(q, end, UC_NUMBER))
        return run_with(q, end, UC_NUMBER);
    return is_symbol(q, end) ? run_without(q, end, UC_WORD) : cut_space(p, end, false);
}

/* [...]+ for the characters that have a bit of mask. */
static const uint8_t *cut_runs(const uint8_t *p, const uint8_t *end, unsigned mask)
{
    return has(p, end, mask) ? run_with(p, end, mask) : run_without(p, end, mask);
}

static size_t ascii_digits(const uint8_t *p, const uint8_t *end, size_t most)
{
    size_t n = 0;
    while (n < most && p + n < end && p[n] >= '0' && p[n] <= '9')
        n++;
    return n;
}

/* [0-9] so many times. */
static const uint8_t *cut_digits(const uint8_t *p, const uint8_t *end, unsigned count)
{
    if (ascii_digits(p, end, count) == count)
        return p + count;
    do
        p++;
    while (p < end && ascii_digits(p, end, count) < count);
    return p;
}

enum { LLAMA_BPE, FALCON3, QWEN2, GPT2, DEFAULT };

enum { PUNCT = UC_PUNCT | UC_MARK };

static const struct pretok rules[] = {
    [LLAMA_BPE] = { "llama-bpe", { { cut_llama3, 3 } }, 1, true, true },
    [FALCON3] = { "falcon3", { { cut_runs, PUNCT | UC_TICK }, { cut_gpt2, 0 }, { cut_digits, 1 } },
                  3, false, false },
    [QWEN2] = { "qwen2", { { cut_llama3, 1 } }, 1, false, false },
    [GPT2] = { "gpt-2", { { cut_gpt2, 0 } }, 1, false, false },
    [DEFAULT] = { "default", { { cut_runs, PUNCT }, { cut_gpt2, 0 }, { cut_runs, UC_NUMBER },
                               { cut_digits, 3 } }, 4, false, false },
};

static const struct {
    const char *name;
    unsigned rules;
} names[] = {
    { "llama-bpe", LLAMA_BPE }, { "llama3", LLAMA_BPE }, { "llama-v3", LLAMA_BPE },
    { "falcon3", FALCON3 }, { "falcon_e", FALCON3 }, { "falcon-e", FALCON3 },
    { "qwen2", QWEN2 }, { "qwen3", QWEN2 }, { "gpt-2", GPT2 }, { "default", DEFAULT },
};

static int refuse_name(struct str name, struct err *e)
{
    struct buf known = { 0 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        buf_addf(&known, "%s%s", i ? ", " : "", names[i].name);
    const int rc = err_set(e, ERR_UNSUPPORTED, "pre-tokenizer \"%.*s\" is not known; known are %s",
                           (int)(name.n < 64 ? name.n : 64), name.p, known.failed ? "" : known.p);
    buf_free(&known);
    return rc;
}

int pretok_find(const struct pretok **out, struct str name, struct err *e)
{
    *out = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(name, names[i].name)) {
            *out = &rules[names[i].rules];
            return 0;
        }
    return refuse_name(name, e);
}

const char *pretok_name(const struct pretok *t)
{
    return t->name;
}

bool pretok_ignore_merges(const struct pretok *t)
{
    return t->ignore_merges;
}

bool pretok_add_bos(const struct pretok *t)
{
    return t->add_bos;
}

const struct pretok *pretok_row(unsigned i)
{
    return i < sizeof rules / sizeof *rules ? &rules[i] : NULL;
}

const struct pretok *pretok_other(const struct pretok *t)
{
    return t == &rules[FALCON3] ? &rules[LLAMA_BPE] : NULL;
}

void pretok_start(struct pretok_run *r, const struct pretok *t, const char *text, size_t n)
{
    const uint8_t *const p = (const uint8_t *)text;
    uclass_open();
    *r = (struct pretok_run){ .pretok = t };
    r->stage[0] = (struct pretok_stage){ p, n ? p + n : p };
}

bool pretok_next(struct pretok_run *r, struct str *piece)
{
    const struct pretok *const t = r->pretok;
    const unsigned last = t->n - 1;
    unsigned k = last;
    while (r->stage[k].at == r->stage[k].end) {
        if (k == 0)
            return false;
        k--;
    }
    for (;; k++) {
        struct pretok_stage *const s = &r->stage[k];
        const uint8_t *const from = s->at;
        s->at = t->stage[k].cut(from, s->end, t->stage[k].arg);
        assert(s->at > from && s->at <= s->end);
        if (k == last) {
            *piece = (struct str){ (const char *)from, (size_t)(s->at - from) };
            return true;
        }
        r->stage[k + 1] = (struct pretok_stage){ from, s->at };
    }
}
