/* vocab_print.c - the text and the fingerprints are those of llama.cpp's converter. */
#include "core/model/vocab_print.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/vocab_parts.h"

static const char text[] =
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n"
    "\U0001f680 (normal) \U0001f636\u200d\U0001f32b\ufe0f (multiple emojis concatenated) \u2705 "
    "\U0001f999\U0001f999 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 "
    "\u1780\u17b6\u1793\u17cb\u178f\u17c2\u1796\u17b7\u179f\u17c1\u179f\u17a2\u17b6\u1785"
    "\U0001f601 ?\u6211\u60f3\u5728apple\u5de5\u4f5c1314151\u5929\uff5e ------======= "
    "\u043d\u0435\u0449\u043e \u043d\u0430 \u0411\u044a\u043b\u0433\u0430\u0440\u0441\u043a\u0438 "
    "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? "
    "'M not sure I'll make it, 'D you like some tea? We'Ve a'lL";

static const struct {
    const char *hex, *pre;
} known[] = {
    { "0ef9807a4087ebef797fc749390439009c3b9eda9ad1a097abbe738f486c01e5", "llama-bpe" },
    { "9d032fcbd5501f4a38150912590928bfb36091efb5df11b8e2124b0390e3fb1e", "falcon3" },
    { "a6b57017d60e6edb4d88ecc2845188e0eb333a70357e45dcc9b53964a73bbae6", "falcon_e" },
    { "d4540891389ea895b53b399da6ac824becc30f2fba0e9ddbb98f92e55ca0e97c", "qwen2" },
    { "e636dc30a262dcc0d8c323492e32ae2b70728f4df7dfe9737d9f920a282b8aea", "qwen2" },
    { "3ce83efda5659b07b1ad37ca97ca5797ea4285d9b9ab0dc679e4a720c9da7454", "gpt-2" },
};

/* The ids as Python writes a list. */
static int print_ids(const struct tokens *t, int32_t bos, struct buf *out)
{
    buf_add(out, "[", 1);
    if (bos >= 0)
        buf_addf(out, "%" PRId32 "%s", bos, t->n ? ", " : "");
    for (size_t i = 0; i < t->n; i++)
        buf_addf(out, "%s%" PRId32, i ? ", " : "", t->id[i]);
    buf_add(out, "]", 1);
    return out->failed ? ERR_NOMEM : 0;
}

int vocab_print(const struct vocab *v, bool bos, char hex[VOCAB_PRINT_SIZE])
{
    struct tokens t = { 0 };
    struct buf list = { 0 };
    int rc = vocab_encode(v, text, sizeof text - 1, 0, 0, &t, NULL);
    if (rc == 0)
        rc = print_ids(&t, bos ? v->bos : -1, &list);
    if (rc == 0) {
        unsigned char hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(hash, (const unsigned char *)list.p, list.n);
        sodium_bin2hex(hex, VOCAB_PRINT_SIZE, hash, sizeof hash);
    }
    buf_free(&list);
    free(t.id);
    return rc;
}

const char *vocab_print_pre(const char *hex)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].hex, hex) == 0)
            return known[i].pre;
    return NULL;
}

int vocab_print_known(const struct vocab *v)
{
    for (int bos = 0; bos < (v->bos < 0 ? 1 : 2); bos++) {
        char hex[VOCAB_PRINT_SIZE];
        const int rc = vocab_print(v, bos, hex);
        if (rc)
            return rc;
        if (vocab_print_pre(hex))
            return 1;
    }
    return 0;
}
