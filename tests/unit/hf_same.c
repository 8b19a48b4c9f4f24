/* hf_same.c - see hf_same.h. */
#include "hf_same.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/model/vocab.h"

enum { MIB = 1 << 20 };

int hf_same_number(const struct gguf *g, const char *key)
{
    uint64_t v;
    bool b;
    const struct gguf_kv *const kv = gguf_kv(g, key);
    if (!kv)
        return -1;
    if (kv->type == GGUF_BOOL) {
        ck_assert_int_eq(gguf_get_bool(g, key, &b, NULL), 1);
        return b;
    }
    ck_assert_int_eq(gguf_get_u64(g, key, &v, NULL), 1);
    return (int)v;
}

void hf_same_array(const struct gguf *want, const struct gguf *got, const char *key)
{
    const struct gguf_kv *const a = gguf_kv(want, key), *const b = gguf_kv(got, key);
    ck_assert_msg(a && b, "%s", key);
    ck_assert_uint_eq(a->n, b->n);
    ck_assert_msg(a->size == b->size && !memcmp(a->p, b->p, a->size), "%s differs", key);
}

static struct vocab *open_vocab(const struct gguf *g)
{
    struct vocab *v;
    struct err e = { 0 };
    char warn[256];
    ck_assert_msg(vocab_open(&v, g, NULL, warn, &e) == 0, "%s", e.text);
    ck_assert_str_eq(warn, "");
    return v;
}

void hf_same_ids(const struct gguf *want, const struct gguf *got, const char *inp)
{
    static const char sep[] = "\n__ggml_vocab_test__\n";
    struct vocab *const v[2] = { open_vocab(want), open_vocab(got) };
    char *texts;
    size_t n_texts;
    int count = 0;
    ck_assert_int_eq(file_read(inp, MIB, &texts, &n_texts, NULL), 0);
    const char *text = texts;
    for (const char *end; (end = strstr(text, sep)); text = end + strlen(sep), count++) {
        struct tokens t[2] = { { 0 }, { 0 } };
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(vocab_encode(v[i], text, (size_t)(end - text),
                                          VOCAB_SPECIAL | VOCAB_BOS, 0, &t[i], NULL), 0);
        ck_assert_uint_eq(t[0].n, t[1].n);
        for (size_t i = 0; i < t[0].n; i++)
            ck_assert_msg(t[0].id[i] == t[1].id[i], "text %d, token %zu", count, i);
        free(t[0].id);
        free(t[1].id);
    }
    ck_assert_int_eq(count, 46);
    free(texts);
    vocab_close(v[0]);
    vocab_close(v[1]);
}
