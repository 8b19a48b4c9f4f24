/* hf_pre_ids.c - a pre-tokenizer known by what it gives.
 *
 * A pre_tokenizer section may say in new words what an old one said. Of our
 * rules, the one under which the vocabulary gives a published fingerprint
 * (vocab_print.h) is the right one. */
#include <stdio.h>

#include "core/model/hf_parts.h"
#include "core/model/vocab_print.h"

/* Whether the vocabulary gives known ids under these rules. 1, 0 or an error. */
static int gives_known_ids(const struct hf_reading *r, const struct gguf *g, const char *rules)
{
    struct vocab *v;
    int rc = vocab_open(&v, g, rules, NULL, r->e);
    if (rc)
        return rc;
    rc = vocab_print_known(v);
    vocab_close(v);
    return rc;
}

int hf_pre_ids(struct hf_reading *r, const struct gguf_put *keys)
{
    const struct gguf_parts all = { .name = r->name, .kv = keys->b.p, .kv_size = keys->b.n,
                                    .n_kv = keys->n };
    const struct pretok *p;
    struct gguf *g;
    int rc = gguf_open_parts(&g, &all, r->e), found = 0;
    if (rc)
        return rc;
    for (unsigned i = 0; rc == 0 && !found && (p = pretok_row(i)); i++) {
        found = gives_known_ids(r, g, pretok_name(p));
        rc = found < 0 ? found : 0;
        if (found > 0)
            snprintf(r->pre, sizeof r->pre, "%s", pretok_name(p));
    }
    gguf_close(g);
    return rc;
}
