/* hf_tokenizer.c - the files of a tokenizer, and the order in which they are
 * made keys of a GGUF. */
#include "core/model/hf_tokenizer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/model/hf_files.h"
#include "core/model/hf_parts.h"

#define KEY(name) "tokenizer.ggml." name

int hf_fail(const struct hf_reading *r, int code, const char *file, const char *fmt, ...)
{
    char text[sizeof r->e->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(r->e, code, "%s/%s: %s", r->name, file, text);
}

int hf_member(const struct hf_reading *r, const char *file, const json_t *object, const char *name,
              json_type type, const json_t **out)
{
    const json_t *const j = json_object_get(object, name);
    *out = NULL;
    if (!j || json_is_null(j))
        return 0;
    if (json_typeof(j) != type)
        return hf_fail(r, ERR_DATA, file, "%s: is %s, expected %s", name, hf_json_kind(j),
                       type == JSON_ARRAY ? "an array" : "an object");
    *out = j;
    return 0;
}

bool hf_flag(const json_t *object, const char *name, bool otherwise)
{
    const json_t *const j = json_object_get(object, name);
    return json_is_boolean(j) ? json_is_true(j) : otherwise;
}

struct str hf_text(const json_t *object, const char *name)
{
    const json_t *const j = json_object_get(object, name);
    return json_is_string(j) ? (struct str){ json_string_value(j), json_string_length(j) }
                             : (struct str){ NULL, 0 };
}

/* ------------------------------------------------------------------- files */

static int parse(const struct hf_reading *r, struct str text, const char *file, json_t **out)
{
    if (!text.p)
        return 0;
    char name[256];
    snprintf(name, sizeof name, "%.200s/%s", r->name, file);
    return hf_json_parse(out, name, text.p, text.n, r->e);
}

static int parse_all(struct hf_reading *r)
{
    const struct hf_tokenizer_files *const f = r->file;
    int rc = parse(r, f->tokenizer, "tokenizer.json", &r->json);
    if (rc == 0)
        rc = parse(r, f->config, "tokenizer_config.json", &r->config);
    if (rc == 0)
        rc = parse(r, f->special, "special_tokens_map.json", &r->special);
    if (rc == 0)
        rc = parse(r, f->generation, "generation_config.json", &r->generation);
    return rc ? rc : parse(r, f->model, "config.json", &r->model);
}

/* -------------------------------------------------------------------- keys */

static void put_id(struct gguf_put *out, const char *key, int32_t id)
{
    if (id >= 0)
        gguf_put_u32(out, key, (uint32_t)id);
}

static bool is_eom(const struct hf_reading *r, int32_t id)
{
    return str_is(r->token[id].text, "<|eom_id|>");
}

/* A GGUF names three tokens that end a text: EOS, and two by their use. */
static int put_ends(const struct hf_reading *r, struct gguf_put *out)
{
    int32_t eot = -1, eom = -1;
    for (unsigned i = 1; i < r->n_end; i++) {
        const int32_t id = r->end[i];
        if (eom < 0 && is_eom(r, id))
            eom = id;
        else if (eot < 0)
            eot = id;
        else if (eom < 0)
            eom = id;
        else
            return hf_fail(r, ERR_UNSUPPORTED, "generation_config.json", "eos_token_id: %u tokens "
                           "end a text, at most 3 can be kept: shorten the list", r->n_end);
    }
    if (r->n_end)
        put_id(out, KEY("eos_token_id"), r->end[0]);
    put_id(out, KEY("eot_token_id"), eot);
    put_id(out, KEY("eom_token_id"), eom);
    return 0;
}

static int put_keys(const struct hf_reading *r, struct gguf_put *out)
{
    gguf_put_text(out, KEY("model"), r->spm ? "llama" : "gpt2");
    gguf_put_text(out, KEY("pre"), r->pre);
    hf_vocab_keys(r, out);
    put_id(out, KEY("bos_token_id"), r->bos);
    const int rc = put_ends(r, out);
    put_id(out, KEY("unknown_token_id"), r->unk);
    put_id(out, KEY("padding_token_id"), r->pad);
    if (r->add_bos >= 0)
        gguf_put_bool(out, KEY("add_bos_token"), r->add_bos);
    if (r->add_eos >= 0)
        gguf_put_bool(out, KEY("add_eos_token"), r->add_eos);
    if (r->spm)
        gguf_put_bool(out, KEY("add_space_prefix"), r->add_space);
    if (r->chat_template.p)
        gguf_put_str(out, "tokenizer.chat_template", r->chat_template);
    return rc;
}

static int read_json(struct hf_reading *r)
{
    int rc = hf_pre_kind(r);
    if (rc == 0)
        rc = hf_vocab_read(r);
    return rc ? rc : hf_pre_read(r);
}

static int ask_ids(struct hf_reading *r)
{
    struct gguf_put keys = { { 0 }, 0 };
    int rc = put_keys(r, &keys);
    if (rc == 0)
        rc = keys.b.failed ? err_set(r->e, ERR_NOMEM, "%s: no memory for the tokenizer's keys",
                                     r->name) : hf_pre_ids(r, &keys);
    buf_free(&keys.b);
    return rc;
}

static int make(struct hf_reading *r, struct gguf_put *out)
{
    int rc = parse_all(r);
    if (rc == 0 && !r->json && !r->file->pieces.p)
        rc = hf_fail(r, ERR_DATA, "tokenizer.json", "is missing, and so is tokenizer.model: the "
                     "directory has no tokenizer, expected one of them");
    if (rc == 0)
        rc = r->json ? read_json(r) : hf_pieces_read(r);
    if (rc == 0)
        rc = hf_roles_read(r);
    if (rc == 0 && !r->spm && !r->pre_known)
        rc = ask_ids(r);
    if (rc == 0)
        rc = put_keys(r, out);
    if (rc == 0 && out->b.failed)
        rc = err_set(r->e, ERR_NOMEM, "%s: no memory for the tokenizer's keys", r->name);
    return rc;
}

int hf_tokenizer_make(struct gguf_put *out, const struct hf_tokenizer_files *file, const char *name,
                      uint32_t n_vocab, struct err *e)
{
    struct hf_reading r = { .name = name, .e = e, .file = file, .n = n_vocab,
                            .bos = -1, .unk = -1, .pad = -1, .add_bos = -1, .add_eos = -1 };
    if (n_vocab > VOCAB_MAX_TOKENS)
        return err_set(e, ERR_LIMIT, "%s: %u tokens, at most %d are read", name, n_vocab,
                       VOCAB_MAX_TOKENS);
    const int rc = make(&r, out);
    free(r.token);
    json_decref(r.json);
    json_decref(r.config);
    json_decref(r.special);
    json_decref(r.generation);
    json_decref(r.model);
    return rc;
}

/* ------------------------------------------------------------- a directory */

/* A file that is not there is none: p NULL. */
static int read_file(const char *dir, const char *file, size_t max, struct str *out, struct err *e)
{
    struct arena mem = { 0 };
    const char *path = hf_path(&mem, dir, file);
    char *p = NULL;
    size_t n = 0;
    const int rc = !path            ? err_set(e, ERR_NOMEM, "%s: no memory for a path", dir)
                   : hf_exists(path) ? file_read(path, max, &p, &n, e)
                                     : 0;
    arena_free(&mem);
    *out = (struct str){ p, n };
    return rc;
}

int hf_tokenizer_read(struct gguf_put *out, const char *dir, uint32_t n_vocab, struct err *e)
{
    struct hf_tokenizer_files f = { 0 };
    const struct {
        const char *file;
        size_t max;
        struct str *to;
    } want[] = {
        { "tokenizer.json", HF_TOKENIZER_MAX, &f.tokenizer },
        { "tokenizer.model", HF_TOKENIZER_MAX, &f.pieces },
        { "tokenizer_config.json", HF_CONFIG_MAX, &f.config },
        { "special_tokens_map.json", HF_CONFIG_MAX, &f.special },
        { "generation_config.json", HF_CONFIG_MAX, &f.generation },
        { "config.json", HF_CONFIG_MAX, &f.model },
        { "chat_template.jinja", HF_CONFIG_MAX, &f.chat_template },
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof want / sizeof *want; i++)
        if (want[i].to != &f.pieces || !f.tokenizer.p)
            rc = read_file(dir, want[i].file, want[i].max, want[i].to, e);
    if (rc == 0)
        rc = hf_tokenizer_make(out, &f, dir, n_vocab, e);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        free((char *)(uintptr_t)want[i].to->p);
    return rc;
}
