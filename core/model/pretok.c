/* pretok.c - the regular expressions, run by PCRE2.
 *
 * White space is spelled out: PCRE2's own \s adds U+180E, which the
 * tokenizers' \s does not contain. No expression is quadratic: whichever
 * alternative wins on a run of one class of characters takes the whole run or
 * all but its last, and one that loses has looked at the run once. */
#include "core/model/pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

#define WS "\\t-\\r\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}" \
           "\\x{202f}\\x{205f}\\x{3000}"
#define SPACES "[" WS "]"
#define SYMBOL "[^" WS "\\p{L}\\p{N}]"

/* Digits are the only difference between the two. */
#define LLAMA3(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?" SYMBOL "+[\\r\\n]*|" SPACES "*[\\r\\n]+|" SPACES "+(?![^" WS "])|" SPACES "+"

#define GPT2 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?" SYMBOL "+|" \
    SPACES "+(?![^" WS "])|" SPACES "+"

static const struct rules {
    const char *name;
    const char *stage[PRETOK_MAX_STAGES];
    bool ignore_merges, add_bos;
} rules[] = {
    { "llama-bpe", { LLAMA3("\\p{N}{1,3}") }, true, true },
    { "qwen2", { LLAMA3("\\p{N}") }, false, false },
    { "gpt-2", { GPT2 }, false, false },
    { "default", { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" },
      false, false },
};

static const struct {
    const char *name;
    const struct rules *rules;
} names[] = {
    { "llama-bpe", &rules[0] }, { "llama3", &rules[0] }, { "llama-v3", &rules[0] },
    { "falcon3", &rules[0] }, { "qwen2", &rules[1] }, { "gpt-2", &rules[2] },
    { "default", &rules[3] },
};

struct pretok {
    const struct rules *rules;
    pcre2_code *code[PRETOK_MAX_STAGES];
    unsigned n;
};

static const struct rules *rules_find(struct str name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == name.n && memcmp(names[i].name, name.p, name.n) == 0)
            return names[i].rules;
    return NULL;
}

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

static int compile(struct pretok *t, const char *pattern, struct err *e)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *const re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    if (!re) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return err_set(e, ERR_UNSUPPORTED, "pre-tokenizer %s: PCRE2 refuses it at %zu: %s; "
                       "a PCRE2 with Unicode support is needed", t->rules->name, at, why);
    }
    t->code[t->n++] = re;
    /* Where no executable memory may be had this fails, and pcre2_match
     * interprets: slower, and the same matches. */
    (void)pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);
    return 0;
}

int pretok_open(struct pretok **out, struct str name, struct err *e)
{
    *out = NULL;
    const struct rules *const r = rules_find(name);
    if (!r)
        return refuse_name(name, e);
    struct pretok *const t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "pre-tokenizer %s: no memory", r->name);
    t->rules = r;
    for (unsigned i = 0; i < PRETOK_MAX_STAGES && r->stage[i]; i++)
        if (compile(t, r->stage[i], e)) {
            pretok_close(t);
            return ERR_UNSUPPORTED;
        }
    *out = t;
    return 0;
}

void pretok_close(struct pretok *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < t->n; i++)
        pcre2_code_free(t->code[i]);
    free(t);
}

const char *pretok_name(const struct pretok *t)
{
    return t->rules->name;
}

bool pretok_ignore_merges(const struct pretok *t)
{
    return t->rules->ignore_merges;
}

bool pretok_add_bos(const struct pretok *t)
{
    return t->rules->add_bos;
}

/* A byte that is not UTF-8 counts as one U+FFFD. To every expression here
 * that is a symbol in none of the named sets, and so is U+0001, which is one
 * byte: with it in the copy, places in the copy are places in the text. */
static int sanitize(struct pretok_run *r, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const size_t len = utf8_decode(r->text + i, n - i, &cp);
        i += len ? len : 1;
        if (len)
            continue;
        if (!r->copy) {
            r->copy = malloc(n);
            if (!r->copy)
                return ERR_NOMEM;
            memcpy(r->copy, r->text, n);
            r->subject = r->copy;
        }
        r->copy[i - 1] = 1;
    }
    return 0;
}

int pretok_start(struct pretok_run *r, const struct pretok *t, const char *text, size_t n)
{
    *r = (struct pretok_run){ .pretok = t, .text = text, .subject = text };
    r->stage[0].end = n;
    pcre2_match_context *const c = pcre2_match_context_create(NULL);
    r->context = c;
    r->match = pcre2_match_data_create(1, NULL);
    if (!r->match || !c || sanitize(r, n))
        return ERR_NOMEM;
    /* A losing alternative gives back a run one character at a time, and each
     * step counts: a limit of several times the text stops only what the
     * expressions cannot do. */
    pcre2_set_match_limit(c, (uint32_t)(n < (1u << 27) ? 16 * n : 1u << 31) + 100000);
    return 0;
}

/* The next match of stage k at or after s->at: 1 with its bounds, 0 for none. */
static int match(const struct pretok_run *r, unsigned k, size_t *from, size_t *to)
{
    const struct pretok_stage *const s = &r->stage[k];
    const PCRE2_SPTR subject = (PCRE2_SPTR)(r->subject + s->begin);
    const pcre2_code *const code = r->pretok->code[k];
    int rc = pcre2_match(code, subject, s->end - s->begin, s->at - s->begin, PCRE2_NO_UTF_CHECK,
                         r->match, r->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, subject, s->end - s->begin, s->at - s->begin,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r->match, r->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0)
        return rc == PCRE2_ERROR_NOMEMORY ? ERR_NOMEM : ERR_INTERNAL;
    const PCRE2_SIZE *const o = pcre2_get_ovector_pointer(r->match);
    *from = s->begin + o[0];
    *to = s->begin + o[1];
    return *to > *from;
}

/* Takes one piece, a match or a gap, off stage k. */
static int cut(struct pretok_run *r, unsigned k, size_t *from, size_t *to)
{
    struct pretok_stage *const s = &r->stage[k];
    *from = s->at;
    if (s->next_end) {
        *to = s->at = s->next_end;
        s->next_end = 0;
        return 0;
    }
    size_t m_from = s->end, m_to = s->end;
    const int rc = match(r, k, &m_from, &m_to);
    if (rc < 0)
        return rc;
    if (m_from > s->at) {
        s->next_end = m_to > m_from ? m_to : 0;
        *to = s->at = m_from;
    } else {
        *to = s->at = m_to;
    }
    return 0;
}

int pretok_next(struct pretok_run *r, struct str *piece)
{
    unsigned k = r->pretok->n - 1;
    for (;;) {
        if (r->stage[k].at == r->stage[k].end) {
            if (k == 0)
                return 0;
            k--;
            continue;
        }
        size_t from, to;
        const int rc = cut(r, k, &from, &to);
        if (rc < 0)
            return rc;
        if (++k == r->pretok->n) {
            *piece = (struct str){ r->text + from, to - from };
            return 1;
        }
        r->stage[k] = (struct pretok_stage){ .begin = from, .end = to, .at = from };
    }
}

void pretok_stop(struct pretok_run *r)
{
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->context);
    free(r->copy);
    *r = (struct pretok_run){ 0 };
}
