/* hf_pre.c - what tokenizer.json does to text before merging.
 *
 * Its sections are lists of steps with options. Each step becomes a word, and
 * a list of words that says the same as one of our pre-tokenizers is known by
 * its name. Words: a regular expression that we know has one, and so has each
 * built-in step; the rest is "?" and never known. */
#include <stdio.h>
#include <string.h>

#include "core/model/hf_parts.h"
#include "core/model/spm.h"

#define JSON "tokenizer.json"

enum { MAX_STEPS = 8 };

/* ------------------------------------------------------------------- steps */

struct steps {
    const json_t *at[MAX_STEPS];
    unsigned n;
};

/* A section's steps in order: one, or a Sequence's members. */
static int read_steps(const struct hf_reading *r, const char *section, const char *list,
                      struct steps *s)
{
    const json_t *top, *members = NULL;
    *s = (struct steps){ .n = 0 };
    int rc = hf_member(r, JSON, r->json, section, JSON_OBJECT, &top);
    if (rc || !top)
        return rc;
    if (!str_is(hf_text(top, "type"), "Sequence")) {
        s->at[s->n++] = top;
        return 0;
    }
    rc = hf_member(r, JSON, top, list, JSON_ARRAY, &members);
    const size_t n = json_array_size(members);
    if (rc == 0 && n > MAX_STEPS)
        rc = hf_fail(r, ERR_UNSUPPORTED, JSON, "%s: %zu steps, at most %d are read", section, n,
                     MAX_STEPS);
    for (size_t i = 0; rc == 0 && i < n; i++)
        s->at[s->n++] = json_array_get(members, i);
    return rc;
}

static bool is_step(const json_t *step, const char *type)
{
    return str_is(hf_text(step, "type"), type);
}

/* Whether a step of a section has a type. */
static bool has_step(const struct steps *s, const char *type)
{
    for (unsigned i = 0; i < s->n; i++)
        if (is_step(s->at[i], type))
            return true;
    return false;
}

/* pattern of Split and Replace: {"String": x} or {"Regex": x}. */
static struct str pattern(const json_t *step, const char *kind)
{
    return hf_text(json_object_get(step, "pattern"), kind);
}

/* ------------------------------------------------------------ byte-level */

/* covers: matches leave no gap, so that removing gaps changes nothing. */
static const struct {
    const char *regex, *word;
    bool covers;
} regexes[] = {
    { PRETOK_LLAMA3("\\p{N}{1,3}"), "llama3", true },
    { PRETOK_LLAMA3("\\p{N}"), "qwen2", true },
    { PRETOK_GPT2, "gpt2", false },
    { PRETOK_GPT2 "|\\s+", "gpt2", true },
    { "[\\p{P}\\$\\+<=>\\^~\\|`]+", "punctuation", false },
    { "[0-9]", "digit", false },
    { "\\d", "digit", false },
    { "\\p{N}", "digit", false },
};

/* The same expression with real line ends and tabs spelled as escapes. */
static void spell_regex(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const char *const as = c == '\r' ? "\\r" : c == '\n' ? "\\n" : c == '\t' ? "\\t" : NULL;
        buf_add(out, as ? as : &c, as ? 2 : 1);
    }
}

static const char *split_word(const json_t *step)
{
    const struct str s = pattern(step, "Regex"), behavior = hf_text(step, "behavior");
    const bool invert = hf_flag(step, "invert", false);
    const bool isolated = str_is(behavior, "Isolated"), removed = str_is(behavior, "Removed");
    const char *word = "?";
    struct buf regex = { 0 };
    if (!s.p || s.n > 1024)
        return word;
    spell_regex(s, &regex);
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes && !regex.failed; i++)
        if (regex.p && !strcmp(regex.p, regexes[i].regex) &&
            (isolated || (removed && invert && regexes[i].covers)))
            word = regexes[i].word;
    buf_free(&regex);
    return word;
}

/* The word of a step, "" for one that splits nothing. */
static const char *step_word(const json_t *step, bool spelled)
{
    if (is_step(step, "ByteLevel")) {
        const bool prefix = hf_flag(step, "add_prefix_space", true);
        return prefix || spelled ? "?" : hf_flag(step, "use_regex", true) ? "gpt2" : "";
    }
    if (is_step(step, "Digits"))
        return hf_flag(step, "individual_digits", false) ? "digit" : "digits";
    const char *word = "?";
    if (is_step(step, "Split"))
        word = split_word(step);
    else if (is_step(step, "Punctuation") && str_is(hf_text(step, "behavior"), "Contiguous"))
        word = "punctuation";
    /* Once bytes are spelled as characters, only ASCII is what it was. */
    return spelled && strcmp(word, "digit") != 0 ? "?" : word;
}

static const struct {
    const char *words, *name;
} known[] = {
    { "llama3", "llama-bpe" },
    { "qwen2", "qwen2" },
    { "gpt2", "gpt-2" },
    { "punctuation gpt2 digit", "falcon3" },
};

static int read_splits(struct hf_reading *r)
{
    struct steps s;
    char words[HF_PRE_SIZE - 12];
    size_t n = 0;
    bool spelled = false;
    const int rc = read_steps(r, "pre_tokenizer", "pretokenizers", &s);
    words[0] = 0;
    for (unsigned i = 0; rc == 0 && i < s.n && n < sizeof words; i++) {
        const char *const word = step_word(s.at[i], spelled);
        spelled |= is_step(s.at[i], "ByteLevel");
        if (*word)
            n += (size_t)snprintf(words + n, sizeof words - n, "%s%s", n ? " " : "", word);
    }
    for (size_t i = 0; rc == 0 && i < sizeof known / sizeof *known; i++)
        if (!strcmp(words, known[i].words)) {
            snprintf(r->pre, sizeof r->pre, "%s", known[i].name);
            r->pre_known = true;
        }
    if (rc == 0 && !r->pre_known)
        snprintf(r->pre, sizeof r->pre, "unknown (%s)", words);
    return rc;
}

/* --------------------------------------------------------------------- SPM */

/* Normalizers: spaces become U+2581, and one may be put in front. */
static int read_normalizer(struct hf_reading *r)
{
    struct steps s;
    const int rc = read_steps(r, "normalizer", "normalizers", &s);
    if (rc)
        return rc;
    for (unsigned i = 0; i < s.n; i++) {
        const struct str type = hf_text(s.at[i], "type");
        const struct str to = hf_text(s.at[i], "content");
        const bool space = str_is(pattern(s.at[i], "String"), " ") && str_is(to, SPM_SPACE);
        if (r->spm && str_is(type, "Prepend") && str_is(hf_text(s.at[i], "prepend"), SPM_SPACE))
            r->add_space = true;
        else if (r->spm ? !str_is(type, "Replace") || !space : !str_is(type, "NFC"))
            return hf_fail(r, ERR_UNSUPPORTED, JSON, "normalizer: step \"%s\" is not known here; "
                           "known are %s", hf_quote(type).text, r->spm ?
                           "Prepend and Replace for U+2581" : "none and NFC");
    }
    return 0;
}

/* A piece with a space behind other characters: a split at spaces would not
 * let it arise. */
static bool joins_words(const struct hf_reading *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const struct hf_token *const t = &r->token[i];
        if (t->text.p && t->type == TOKEN_NORMAL && t->text.n > 3 &&
            memmem(t->text.p + 1, t->text.n - 1, SPM_SPACE, 3))
            return true;
    }
    return false;
}

static int read_metaspace(struct hf_reading *r, const json_t *step)
{
    const struct str scheme = hf_text(step, "prepend_scheme");
    if (!str_is(hf_text(step, "replacement"), SPM_SPACE) ||
        (hf_flag(step, "split", true) && joins_words(r)))
        return hf_fail(r, ERR_UNSUPPORTED, JSON, "pre_tokenizer: Metaspace that splits at spaces, "
                       "though tokens hold some; expected \"split\": false and U+2581");
    r->add_space = scheme.p ? !str_is(scheme, "never") : hf_flag(step, "add_prefix_space", true);
    return 0;
}

static int read_spaces(struct hf_reading *r)
{
    struct steps s;
    int rc = read_steps(r, "pre_tokenizer", "pretokenizers", &s);
    for (unsigned i = 0; rc == 0 && i < s.n; i++) {
        const struct str type = hf_text(s.at[i], "type");
        if (str_is(type, "Metaspace"))
            rc = read_metaspace(r, s.at[i]);
        else if (!str_is(type, "Split") || !str_is(pattern(s.at[i], "String"), " "))
            rc = hf_fail(r, ERR_UNSUPPORTED, JSON, "pre_tokenizer: step \"%s\" is not known here; "
                         "known are Metaspace and a Split at spaces", hf_quote(type).text);
    }
    const json_t *const prefix = json_object_get(r->config, "add_prefix_space");
    if (json_is_boolean(prefix))
        r->add_space = json_is_true(prefix);
    return rc;
}

/* -------------------------------------------------------------------- kind */

static int check_model(struct hf_reading *r, const json_t *model)
{
    static const char *const affix[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    const struct str type = hf_text(model, "type");
    if (type.p && !str_is(type, "BPE"))
        return hf_fail(r, ERR_UNSUPPORTED, JSON, "model.type: \"%s\" is not known here; known is "
                       "BPE", hf_quote(type).text);
    for (size_t i = 0; i < sizeof affix / sizeof *affix; i++)
        if (hf_text(model, affix[i]).n)
            return hf_fail(r, ERR_UNSUPPORTED, JSON, "model.%s: is set, expected none", affix[i]);
    int rc = hf_member(r, JSON, model, "vocab", JSON_OBJECT, &r->vocab);
    if (rc == 0)
        rc = hf_member(r, JSON, model, "merges", JSON_ARRAY, &r->merges);
    if (rc == 0 && (!r->vocab || !r->merges))
        rc = hf_fail(r, ERR_DATA, JSON, "model.%s: is missing, and BPE cannot do without",
                     r->vocab ? "merges" : "vocab");
    return rc;
}

int hf_pre_kind(struct hf_reading *r)
{
    const json_t *model;
    struct steps pre, dec, norm;
    int rc = hf_member(r, JSON, r->json, "model", JSON_OBJECT, &model);
    if (rc == 0 && !model)
        rc = hf_fail(r, ERR_DATA, JSON, "model: is missing, so the file has no tokens");
    if (rc == 0)
        rc = check_model(r, model);
    if (rc == 0)
        rc = read_steps(r, "pre_tokenizer", "pretokenizers", &pre);
    if (rc == 0)
        rc = read_steps(r, "decoder", "decoders", &dec);
    if (rc == 0)
        rc = read_steps(r, "normalizer", "normalizers", &norm);
    if (rc)
        return rc;
    const bool bytes = has_step(&pre, "ByteLevel") || has_step(&dec, "ByteLevel");
    r->spm = hf_flag(model, "byte_fallback", false) || has_step(&pre, "Metaspace") ||
             has_step(&dec, "Metaspace") || has_step(&norm, "Prepend");
    if (bytes == r->spm)
        return hf_fail(r, ERR_UNSUPPORTED, JSON, "model: %s, expected a ByteLevel step, or "
                       "byte_fallback with U+2581 for spaces", bytes ? "both byte-level and with "
                       "byte fallback" : "neither byte-level nor with byte fallback");
    return 0;
}

int hf_pre_read(struct hf_reading *r)
{
    int rc = read_normalizer(r);
    if (rc || !r->spm)
        return rc ? rc : read_splits(r);
    snprintf(r->pre, sizeof r->pre, "default");
    return read_spaces(r);
}
