/* hf_make.c - the keys get a header, and are a file. */
#include "hf_make.h"

#include <stdlib.h>

static void need(bool holds)
{
    if (!holds)
        abort();
}

int hf_make_gguf(struct gguf **g, struct buf *bytes, const struct hf_tokenizer_files *f,
                 uint32_t n_vocab, struct err *e)
{
    struct gguf_put keys = { { 0 }, 0 };
    const uint32_t version = 3;
    const uint64_t n_tensor = 0;
    static const char padding[32];
    *g = NULL;
    *bytes = (struct buf){ 0 };
    int rc = hf_tokenizer_make(&keys, f, "dir", n_vocab, e);
    if (rc == 0) {
        buf_add(bytes, "GGUF", 4);
        buf_add(bytes, &version, sizeof version);
        buf_add(bytes, &n_tensor, sizeof n_tensor);
        buf_add(bytes, &keys.n, sizeof keys.n);
        buf_add(bytes, keys.b.p, keys.b.n);
        buf_add(bytes, padding, (32 - bytes->n % 32) % 32);
        need(!bytes->failed);
        rc = gguf_open_mem(g, bytes->p, bytes->n, "made.gguf", e);
        need(rc == 0);
    }
    buf_free(&keys.b);
    return rc;
}
