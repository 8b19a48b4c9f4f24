/* session.c - see session.h. Everything is checked before anything is used; the
 * digest finds damage, it is no defence against somebody who may write the file:
 * a forged one is a prompt like any other. */
#include "core/engine/session.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/file.h"
#include "core/base/xxh.h"

#define VERSION 1u
#define SUM_SIZE 32u

struct header {
    char magic[8];
    uint32_t version, n;
    uint8_t model[SESSION_MODEL];
    uint64_t seed;
};

_Static_assert(sizeof(struct header) == 40, "as the file has it");
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file is little-endian, and written as it lies in memory"
#endif

static const char magic[8] = { 'B', 'N', 'S', 'E', 'S', 'S', 0, 1 };

/* ------------------------------------------------------------------ model */

static void add_kv(XXH3_state_t *h, const struct gguf_kv *kv)
{
    const uint32_t type[] = { kv->type, kv->elem };
    XXH3_128bits_update(h, kv->key.p, kv->key.n);
    XXH3_128bits_update(h, type, sizeof type);
    XXH3_128bits_update(h, &kv->n, sizeof kv->n);
    XXH3_128bits_update(h, kv->p, kv->size);
}

static void add_tensor(XXH3_state_t *h, const struct gguf *g, const struct gguf_tensor *t)
{
    XXH3_128bits_update(h, t->name.p, t->name.n);
    XXH3_128bits_update(h, &t->type, sizeof t->type);
    XXH3_128bits_update(h, t->ne, sizeof t->ne);
    XXH3_128bits_update(h, t->data, t->size);
    gguf_drop(g, t, 0, t->size);
}

int session_model(uint8_t out[SESSION_MODEL], const struct model *m, uint32_t kv_format,
                  struct err *e)
{
    XXH3_state_t *h = XXH3_createState();
    if (!h)
        return err_set(e, ERR_NOMEM, "session: no memory for a digest");
    XXH3_128bits_reset(h);
    for (size_t i = 0; i < gguf_n_kv(m->file); i++)
        add_kv(h, gguf_kv_at(m->file, i));
    for (size_t i = 0; i < gguf_n_tensors(m->file); i++)
        add_tensor(h, m->file, gguf_tensor_at(m->file, i));
    const uint32_t read_as[] = { kv_format, m->hp.glu, m->hp.rope_style,
                                 (uint32_t)m->layer[0].t[T_ATTN_Q].layout };
    XXH3_128bits_update(h, read_as, sizeof read_as);
    for (unsigned s = 0; s < T_LAYER_N; s++)
        XXH3_128bits_update(h, &m->layer[0].t[s].tiles, sizeof m->layer[0].t[s].tiles);
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(h));
    memcpy(out, sum.digest, SESSION_MODEL);
    XXH3_freeState(h);
    return 0;
}

/* ------------------------------------------------------------------- save */

static void digest(const void *p, size_t n, uint8_t sum[SUM_SIZE])
{
    crypto_generichash(sum, SUM_SIZE, p, n, NULL, 0);
}

static int write_out(const char *path, const struct buf *b, struct err *e)
{
    struct file_out out;
    int rc = file_out_open(&out, path, e);
    if (rc)
        return rc;
    rc = file_out_write(&out, b->p, b->n, e);
    if (!rc)
        rc = file_out_commit(&out, e);
    file_out_abort(&out);
    return rc;
}

int session_save(const char *path, const struct session *s, struct err *e)
{
    struct header h = { .version = VERSION, .n = s->n, .seed = s->seed };
    struct buf b = { 0 };
    uint8_t sum[SUM_SIZE];
    if (!s->n || s->n > SESSION_MAX)
        return err_set(e, ERR_ARG, "%s: %u tokens, a session has 1 to %d", path, s->n,
                       SESSION_MAX);
    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.model, s->model, sizeof h.model);
    buf_add(&b, &h, sizeof h);
    buf_add(&b, s->id, s->n * sizeof *s->id);
    if (!b.failed) {
        digest(b.p, b.n, sum);
        buf_add(&b, sum, sizeof sum);
    }
    const int rc = b.failed ? err_set(e, ERR_NOMEM, "%s: no memory to write it", path)
                            : write_out(path, &b, e);
    buf_free(&b);
    return rc;
}

/* ------------------------------------------------------------------- load */

static int check(const struct header *h, const uint8_t *p, size_t n,
                 const uint8_t model[SESSION_MODEL], struct err *e)
{
    uint8_t sum[SUM_SIZE];
    if (memcmp(h->magic, magic, sizeof magic) || h->version != VERSION)
        return err_set(e, ERR_DATA, "not a session, expected a file of version %u", VERSION);
    if (!h->n || h->n > SESSION_MAX || n != sizeof *h + h->n * sizeof(int32_t) + SUM_SIZE)
        return err_set(e, ERR_DATA, "%zu bytes for %u tokens, expected %zu and 4 for each of 1 "
                       "to %d tokens", n, h->n, sizeof *h + SUM_SIZE, SESSION_MAX);
    digest(p, n - SUM_SIZE, sum);
    if (memcmp(sum, p + n - SUM_SIZE, SUM_SIZE))
        return err_set(e, ERR_DATA, "damaged: its digest is not that of its bytes");
    if (memcmp(h->model, model, SESSION_MODEL))
        return err_set(e, ERR_DATA, "of another model, or of another format of keys and values: "
                       "expected one of this model");
    return 0;
}

int session_parse(struct session *s, const void *p, size_t n, const uint8_t model[SESSION_MODEL],
                  uint32_t n_vocab, struct err *e)
{
    struct header h;
    *s = (struct session){ .n = 0 };
    if (n < sizeof h + SUM_SIZE)
        return err_set(e, ERR_DATA, "%zu bytes, expected at least %zu", n, sizeof h + SUM_SIZE);
    memcpy(&h, p, sizeof h);
    const int rc = check(&h, p, n, model, e);
    if (rc)
        return rc;
    int32_t *id = calloc(h.n, sizeof *id);
    if (!id)
        return err_set(e, ERR_NOMEM, "no memory for %u tokens", h.n);
    memcpy(id, (const uint8_t *)p + sizeof h, h.n * sizeof *id);
    for (uint32_t i = 0; i < h.n; i++)
        if (id[i] < 0 || (uint32_t)id[i] >= n_vocab) {
            err_set(e, ERR_DATA, "token %u is %d, expected 0 to %u", i, (int)id[i], n_vocab - 1);
            free(id);
            return ERR_DATA;
        }
    *s = (struct session){ .seed = h.seed, .id = id, .n = h.n };
    memcpy(s->model, h.model, sizeof s->model);
    return 0;
}

int session_load(struct session *s, const char *path, const uint8_t model[SESSION_MODEL],
                 uint32_t n_vocab, struct err *e)
{
    const size_t most = sizeof(struct header) + SESSION_MAX * sizeof(int32_t) + SUM_SIZE;
    char *p = NULL;
    size_t n = 0;
    *s = (struct session){ .n = 0 };
    int rc = file_read(path, most, &p, &n, e);
    if (rc)
        return rc;
    rc = session_parse(s, p, n, model, n_vocab, e);
    if (rc)
        err_prefix(e, "%s", path);
    free(p);
    return rc;
}

void session_free(struct session *s)
{
    free(s->id);
    *s = (struct session){ .n = 0 };
}
