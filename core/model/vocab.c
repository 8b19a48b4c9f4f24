/* vocab.c - a vocabulary in use: looking tokens up, and text to ids.
 *
 * Encoding first cuts out the special tokens, then hands each run of text in
 * between to the merger of the vocabulary's kind. */
#include "core/model/vocab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/spm.h"
#include "core/model/vocab_parts.h"

uint32_t vocab_n(const struct vocab *v)
{
    return v->n;
}

const char *vocab_kind(const struct vocab *v)
{
    return v->kind;
}

int32_t vocab_bos(const struct vocab *v)
{
    return v->bos;
}

int32_t vocab_eos(const struct vocab *v)
{
    return v->eos;
}

bool vocab_add_bos(const struct vocab *v)
{
    return v->add_bos;
}

bool vocab_is_eog(const struct vocab *v, int32_t id)
{
    return id >= 0 && (uint32_t)id < v->n && v->eog[id];
}

bool vocab_is_control(const struct vocab *v, int32_t id)
{
    return id >= 0 && (uint32_t)id < v->n && v->type[id] == TOKEN_CONTROL;
}

int32_t vocab_find(const struct vocab *v, const char *text)
{
    return vocab_lookup(v, text, strlen(text));
}

int32_t vocab_lookup(const struct vocab *v, const char *p, size_t n)
{
    return vocab_map_find(&v->by_text, p, n);
}

bool vocab_is_plain(const struct vocab *v, uint32_t id)
{
    const uint8_t t = v->type[id];
    return t == TOKEN_NORMAL || t == TOKEN_USER || t == TOKEN_UNUSED;
}

int32_t vocab_plain(const struct vocab *v, const char *p, size_t n)
{
    const int32_t id = n <= v->longest ? vocab_lookup(v, p, n) : -1;
    return id >= 0 && vocab_is_plain(v, (uint32_t)id) ? id : -1;
}

int sink_put(struct sink *s, int32_t id)
{
    struct tokens *const t = s->out;
    if (s->max && t->n >= s->max)
        return ERR_LIMIT;
    if (t->n == t->cap) {
        const size_t cap = t->cap ? t->cap * 2 : 64;
        int32_t *const p = cap <= SIZE_MAX / sizeof *p ? realloc(t->id, cap * sizeof *p) : NULL;
        if (!p)
            return ERR_NOMEM;
        t->id = p;
        t->cap = cap;
    }
    t->id[t->n++] = id;
    return 0;
}

struct encoder {
    const struct vocab *v;
    struct sink sink;
    struct bpe_work bpe;
    struct spm_work spm;
};

static int encode_bpe(struct encoder *c, struct str text)
{
    struct pretok_run run;
    struct str piece;
    const bool whole = pretok_ignore_merges(c->v->pretok);
    int rc = 0;
    pretok_start(&run, c->v->pretok, text.p, text.n);
    while (rc == 0 && pretok_next(&run, &piece))
        rc = bpe_encode(c->v, &c->bpe, piece, whole, &c->sink);
    return rc;
}

/* Ordinary text. It starts the whole or follows a special token, so this is
 * where SPM may want a space in front. */
static int encode_text(struct encoder *c, const char *p, size_t n)
{
    const struct str text = { p, n };
    if (n == 0)
        return 0;
    if (c->v->spm)
        return spm_encode(c->v, &c->spm, text, c->v->add_space, &c->sink);
    return encode_bpe(c, text);
}

static int encode_cuts(struct encoder *c, const char *text, size_t n, const struct cut *cut,
                       size_t n_cut)
{
    size_t at = 0;
    for (size_t i = 0; i < n_cut; i++) {
        int rc = encode_text(c, text + at, cut[i].at - at);
        if (rc == 0)
            rc = sink_put(&c->sink, cut[i].id);
        if (rc)
            return rc;
        at = (size_t)cut[i].at + cut[i].n;
    }
    return encode_text(c, text + at, n - at);
}

static int encode(struct encoder *c, const char *text, size_t n, unsigned flags)
{
    struct cut *cut = NULL;
    size_t n_cut = 0;
    const struct special *const s = flags & VOCAB_SPECIAL ? c->v->special : c->v->user;
    int rc = special_cut(s, text, n, &cut, &n_cut);
    const bool has_bos = n_cut && cut[0].at == 0 && cut[0].id == c->v->bos;
    if (rc == 0 && flags & VOCAB_BOS && c->v->add_bos && !has_bos && c->sink.out->n == 0)
        rc = sink_put(&c->sink, c->v->bos);
    if (rc == 0)
        rc = encode_cuts(c, text, n, cut, n_cut);
    const struct tokens *const out = c->sink.out;
    const bool has_eos = out->n && out->id[out->n - 1] == c->v->eos;
    if (rc == 0 && flags & VOCAB_EOS && c->v->add_eos && !has_eos)
        rc = sink_put(&c->sink, c->v->eos);
    free(cut);
    return rc;
}

int vocab_encode(const struct vocab *v, const char *text, size_t n, unsigned flags, size_t max,
                 struct tokens *out, struct err *e)
{
    assert(!v->add_bos || v->bos >= 0);
    if (n > VOCAB_MAX_TEXT)
        return err_set(e, ERR_LIMIT, "text: %zu bytes, at most %d are encoded at once", n,
                       VOCAB_MAX_TEXT);
    struct encoder c = { .v = v, .sink = { out, max } };
    const size_t before = out->n;
    const int rc = encode(&c, text, n, flags);
    bpe_work_free(&c.bpe);
    spm_work_free(&c.spm);
    if (rc == 0)
        return 0;
    out->n = before;
    if (rc == ERR_LIMIT)
        return err_set(e, rc, "text: %zu bytes make more than %zu tokens, the most allowed here",
                       n, max);
    return err_set(e, rc, "text: no memory to encode %zu bytes; send less at once", n);
}
