/* seq.c - opening and closing a sequence. */
#include "core/engine/seq.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/grammar.h"

int seq_open(struct seq **out, const struct kv *kv, const int32_t *prompt, uint32_t n_prompt,
             uint32_t n_max, struct err *e)
{
    assert(n_prompt > 0 && n_max > n_prompt);
    *out = NULL;
    struct seq *s = calloc(1, sizeof *s);
    if (s)
        s->id = calloc(n_max, sizeof *s->id);
    if (!s || !s->id) {
        free(s);
        return err_set(e, ERR_NOMEM, "request: no memory for %u tokens", n_max);
    }
    s->n_max = n_max;
    int rc = kv_seq_open(&s->kv, kv, seq_kv_tok(s), e);
    if (rc) {
        free(s->id);
        free(s);
        return rc;
    }
    memcpy(s->id, prompt, n_prompt * sizeof *prompt);
    s->n_id = s->n_prompt = n_prompt;
    s->n_told = 1;
    *out = s;
    return 0;
}

uint64_t seq_size(uint32_t n_max, uint32_t page_tok)
{
    const uint64_t n_page = n_max / page_tok + 1;
    return sizeof(struct seq) + (n_max + n_page) * sizeof(int32_t);
}

void seq_close(struct seq *s, struct kv *kv)
{
    if (!s)
        return;
    kv_seq_close(kv, &s->kv);
    grammar_state_close(s->grammar);
    free(s->sum);
    free(s->id);
    free(s);
}
