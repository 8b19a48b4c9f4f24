/* vocab_make.c - writes GGUF version 3 by hand; the machine is little-endian. */
#include "vocab_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/bpe.h"

static void *need(void *p)
{
    if (!p)
        abort();
    return p;
}

int32_t make_token(struct make *m, const char *text, int32_t type, float score)
{
    if (m->n_token == MAKE_MAX)
        abort();
    const size_t n = strlen(text);
    m->text[m->n_token] = (struct str){ need(arena_strndup(&m->arena, text, n)), n };
    m->type[m->n_token] = type;
    m->score[m->n_token] = score;
    return (int32_t)m->n_token++;
}

static bool has_token(const struct make *m, const char *text)
{
    for (uint32_t i = 0; i < m->n_token; i++)
        if (m->text[i].n == strlen(text) && memcmp(m->text[i].p, text, m->text[i].n) == 0)
            return true;
    return false;
}

void make_merge(struct make *m, const char *left, const char *right)
{
    struct buf line = { 0 }, result = { 0 };
    buf_addf(&line, "%s %s", left, right);
    buf_addf(&result, "%s%s", left, right);
    if (line.failed || result.failed || m->n_merge == MAKE_MAX)
        abort();
    m->merge[m->n_merge++] = (struct str){ need(arena_strndup(&m->arena, line.p, line.n)), line.n };
    if (!has_token(m, result.p))
        make_token(m, result.p, 1, 0);
    buf_free(&line);
    buf_free(&result);
}

void make_bpe_bytes(struct make *m)
{
    for (int b = 0; b < 256; b++) {
        struct buf text = { 0 };
        const char byte = (char)b;
        bpe_spell(&text, &byte, 1);
        make_token(m, need(text.p), 1, 0);
        buf_free(&text);
    }
}

void make_spm_base(struct make *m)
{
    make_token(m, "<unk>", 2, 0);
    make_token(m, "<s>", 3, 0);
    make_token(m, "</s>", 3, 0);
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        make_token(m, text, 6, 0);
    }
}

static void put(struct make *m, const void *p, size_t n)
{
    buf_add(&m->kv, p, n);
    if (m->kv.failed)
        abort();
}

static void put_str(struct make *m, const char *p, size_t n)
{
    const uint64_t len = n;
    put(m, &len, sizeof len);
    put(m, p, n);
}

static void put_key(struct make *m, const char *key, uint32_t type)
{
    put_str(m, key, strlen(key));
    put(m, &type, sizeof type);
    m->n_kv++;
}

static void put_array(struct make *m, const char *key, uint32_t elem, uint64_t n)
{
    put_key(m, key, GGUF_ARRAY);
    put(m, &elem, sizeof elem);
    put(m, &n, sizeof n);
}

void make_str(struct make *m, const char *key, const char *value)
{
    put_key(m, key, GGUF_STR);
    put_str(m, value, strlen(value));
}

void make_u32(struct make *m, const char *key, uint32_t value)
{
    put_key(m, key, GGUF_U32);
    put(m, &value, sizeof value);
}

void make_bool(struct make *m, const char *key, bool value)
{
    const uint8_t v = value;
    put_key(m, key, GGUF_BOOL);
    put(m, &v, sizeof v);
}

void make_strs(struct make *m, const char *key, const struct str *value, uint64_t n)
{
    put_array(m, key, GGUF_STR, n);
    for (uint64_t i = 0; i < n; i++)
        put_str(m, value[i].p, value[i].n);
}

void make_i32s(struct make *m, const char *key, const int32_t *value, uint64_t n)
{
    put_array(m, key, GGUF_I32, n);
    put(m, value, (size_t)n * sizeof *value);
}

void make_f32s(struct make *m, const char *key, const float *value, uint64_t n)
{
    put_array(m, key, GGUF_F32, n);
    put(m, value, (size_t)n * sizeof *value);
}

void make_bpe(struct make *m)
{
    make_str(m, "tokenizer.ggml.model", "gpt2");
    make_strs(m, "tokenizer.ggml.tokens", m->text, m->n_token);
    make_i32s(m, "tokenizer.ggml.token_type", m->type, m->n_token);
    make_strs(m, "tokenizer.ggml.merges", m->merge, m->n_merge);
}

void make_spm(struct make *m)
{
    make_str(m, "tokenizer.ggml.model", "llama");
    make_strs(m, "tokenizer.ggml.tokens", m->text, m->n_token);
    make_i32s(m, "tokenizer.ggml.token_type", m->type, m->n_token);
    make_f32s(m, "tokenizer.ggml.scores", m->score, m->n_token);
}

int make_open(const struct make *m, struct vocab **v, const char *pre, char *warn, struct err *e)
{
    struct buf file = { 0 };
    const uint32_t version = 3;
    const uint64_t n_tensor = 0, n_kv = m->n_kv;
    static const char padding[32];
    buf_add(&file, "GGUF", 4);
    buf_add(&file, &version, sizeof version);
    buf_add(&file, &n_tensor, sizeof n_tensor);
    buf_add(&file, &n_kv, sizeof n_kv);
    buf_add(&file, m->kv.p, m->kv.n);
    buf_add(&file, padding, (32 - file.n % 32) % 32);
    if (file.failed)
        abort();
    struct gguf *g = NULL;
    *v = NULL;
    int rc = gguf_open_mem(&g, file.p, file.n, "made.gguf", e);
    if (rc == 0)
        rc = vocab_open(v, g, pre, warn, e);
    gguf_close(g);
    buf_free(&file);
    return rc;
}

void make_free(struct make *m)
{
    arena_free(&m->arena);
    buf_free(&m->kv);
    free(m);
}
