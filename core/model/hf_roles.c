/* hf_roles.c - which tokens begin, end and fill a text, and the chat template.
 *
 * Several files say so. A token's text in tokenizer_config.json or
 * special_tokens_map.json is asked first, then the numbers of
 * generation_config.json and config.json. What is put around a text is said by
 * tokenizer_config.json, else by the post_processor of tokenizer.json. */
#include <string.h>

#include "core/model/hf_parts.h"

#define JSON "tokenizer.json"

/* --------------------------------------------------------------------- ids */

/* A role's text: a string, or an object with a "content". */
static struct str role_text(const json_t *file, const char *role)
{
    const struct str s = hf_text(file, role);
    return s.p ? s : hf_text(json_object_get(file, role), "content");
}

static int check_id(const struct hf_reading *r, const char *file, const char *key, const json_t *j,
                    int32_t *id)
{
    const json_int_t v = json_is_integer(j) ? json_integer_value(j) : -1;
    if (v < 0 || v >= r->n)
        return hf_fail(r, ERR_DATA, file, "%s: expected one of the %u tokens", key, r->n);
    *id = (int32_t)v;
    return 0;
}

/* The id that the texts give; *id stays when none of them speaks of this role.
 * A text that is no token is an error where texts are made of the role's. */
static int id_by_text(const struct hf_reading *r, const char *role, bool must, int32_t *id)
{
    struct str s = role_text(r->config, role);
    const char *file = "tokenizer_config.json";
    if (!s.p) {
        s = role_text(r->special, role);
        file = "special_tokens_map.json";
    }
    if (!s.n)
        return 0;
    *id = hf_vocab_find(r, s);
    if (*id < 0 && must)
        return hf_fail(r, ERR_DATA, file, "%s: \"%s\" is no token, expected one of the %u", role,
                       hf_quote(s).text, r->n);
    return 0;
}

/* The same with numbers where there is neither a text nor a default. */
static int id_of_role(const struct hf_reading *r, const char *role, const char *key, bool must,
                      int32_t *id)
{
    int rc = id_by_text(r, role, must, id);
    const json_t *j = json_object_get(r->generation, key);
    const char *file = "generation_config.json";
    if (!j || json_is_null(j)) {
        j = json_object_get(r->model, key);
        file = "config.json";
    }
    if (rc || *id >= 0 || !j || json_is_null(j))
        return rc;
    return check_id(r, file, key, json_is_array(j) ? json_array_get(j, 0) : j, id);
}

/* -------------------------------------------------------------------- ends */

static int add_end(struct hf_reading *r, const char *file, int32_t id)
{
    for (unsigned i = 0; i < r->n_end; i++)
        if (r->end[i] == id)
            return 0;
    if (r->n_end == HF_MAX_ENDS)
        return hf_fail(r, ERR_LIMIT, file, "eos_token_id: more than %d tokens end a text, expected "
                       "fewer", HF_MAX_ENDS);
    r->end[r->n_end++] = id;
    return 0;
}

static int add_ends(struct hf_reading *r, const json_t *config, const char *file)
{
    const json_t *const j = json_object_get(config, "eos_token_id");
    const size_t n = json_is_array(j) ? json_array_size(j) : j && !json_is_null(j);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        int32_t id = -1;
        rc = check_id(r, file, "eos_token_id", json_is_array(j) ? json_array_get(j, i) : j, &id);
        if (rc == 0)
            rc = add_end(r, file, id);
    }
    return rc;
}

static int read_ends(struct hf_reading *r)
{
    int32_t eos = r->n_end ? r->end[0] : -1;
    int rc = id_by_text(r, "eos_token", true, &eos);
    r->n_end = 0;                 /* it may be another one now */
    if (rc == 0 && eos >= 0)
        rc = add_end(r, "tokenizer_config.json", eos);
    if (rc == 0)
        rc = add_ends(r, r->generation, "generation_config.json");
    return rc ? rc : add_ends(r, r->model, "config.json");
}

/* ------------------------------------------------------------- around a text */

/* The TemplateProcessing step, or NULL. */
static const json_t *find_template(const struct hf_reading *r)
{
    const json_t *const post = json_object_get(r->json, "post_processor");
    const json_t *const list = json_object_get(post, "processors");
    const json_t *j;
    size_t i;
    if (str_is(hf_text(post, "type"), "TemplateProcessing"))
        return post;
    json_array_foreach(list, i, j)
        if (str_is(hf_text(j, "type"), "TemplateProcessing"))
            return j;
    return NULL;
}

/* The one token that the template puts on a side of the text. A token at the
 * end that is not the EOS of the other files is the EOS from now on: this is
 * the one that is to be added. */
static int read_template(struct hf_reading *r, int *bos, int *eos)
{
    const json_t *const single = json_object_get(find_template(r), "single");
    const json_t *j;
    size_t i;
    bool behind = false;
    json_array_foreach(single, i, j) {
        const json_t *const token = json_object_get(j, "SpecialToken");
        const struct str text = hf_text(token, "id");
        const int32_t id = hf_vocab_find(r, text);
        if (!token) {
            behind = true;
            continue;
        }
        int *const side = behind ? eos : bos;
        if (id < 0 || *side == 1)
            return hf_fail(r, ERR_UNSUPPORTED, JSON, "post_processor: \"%s\" is %s, expected one "
                           "token before the text and one behind it at most",
                           hf_quote(text).text, id < 0 ? "no token" : "one too many");
        *side = 1;
        if (!behind) {
            r->bos = id;
            continue;
        }
        unsigned k = 0;
        const int rc = add_end(r, JSON, id);
        if (rc)
            return rc;
        while (r->end[k] != id)
            k++;
        r->end[k] = r->end[0];
        r->end[0] = id;
    }
    return 0;
}

static bool adds_bos_by_habit(const struct hf_reading *r)
{
    static const char *const class[] = {
        "LlamaTokenizer", "LlamaTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast",
    };
    const struct str s = hf_text(r->config, "tokenizer_class");
    for (size_t i = 0; i < sizeof class / sizeof *class; i++)
        if (str_is(s, class[i]))
            return true;
    return false;
}

static int read_around(struct hf_reading *r)
{
    int bos = 0, eos = 0;
    const int rc = read_template(r, &bos, &eos);
    if (rc)
        return rc;
    const bool habit = !r->json || (r->spm && !find_template(r) && adds_bos_by_habit(r));
    r->add_bos = hf_flag(r->config, "add_bos_token", bos || habit);
    r->add_eos = hf_flag(r->config, "add_eos_token", eos);
    if (r->bos < 0)
        r->add_bos = 0;
    return 0;
}

/* ---------------------------------------------------------------- template */

/* A list has several by name; "default" is for talk. */
static struct str named_template(const json_t *list)
{
    const json_t *j;
    size_t i;
    json_array_foreach(list, i, j)
        if (str_is(hf_text(j, "name"), "default"))
            return hf_text(j, "template");
    return (struct str){ NULL, 0 };
}

static int read_chat_template(struct hf_reading *r)
{
    const json_t *const j = json_object_get(r->config, "chat_template");
    if (r->file->chat_template.p)
        r->chat_template = r->file->chat_template;
    else if (json_is_array(j))
        r->chat_template = named_template(j);
    else if (json_is_string(j))
        r->chat_template = hf_text(r->config, "chat_template");
    else if (j && !json_is_null(j))
        return hf_fail(r, ERR_DATA, "tokenizer_config.json", "chat_template: expected a text or a "
                       "list of texts with names");
    return 0;
}

int hf_roles_read(struct hf_reading *r)
{
    int rc = id_of_role(r, "bos_token", "bos_token_id", true, &r->bos);
    if (rc == 0)
        rc = id_by_text(r, "unk_token", false, &r->unk);
    if (rc == 0 && r->unk < 0)
        r->unk = hf_vocab_find(r, hf_text(json_object_get(r->json, "model"), "unk_token"));
    if (rc == 0)
        rc = id_of_role(r, "pad_token", "pad_token_id", false, &r->pad);
    if (rc == 0)
        rc = read_ends(r);
    if (rc == 0)
        rc = read_around(r);
    return rc ? rc : read_chat_template(r);
}
