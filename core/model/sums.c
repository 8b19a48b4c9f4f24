/* sums.c - see sums.h. Chunks are copied piece by piece into a buffer that fits the
 * second cache: their pages need not be mapped, and two threads that map pages of
 * one file wait for each other. */
#include "core/model/sums.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/aside.h"
#include "core/base/xxh.h"

#define PIECE ((uint64_t)256 << 10)        /* bytes read at once                    */

struct chunk {
    uint32_t tensor;
    uint64_t first;                        /* of its tensor's bytes                 */
};

struct sums {
    const struct gguf *file;
    struct chunk *chunk;                   /* [n]                                   */
    uint64_t *sum;                         /* [n], of those                         */
    uint64_t n;
    uint64_t *begin;                       /* [tensors + 1], of a tensor's chunks   */
    atomic_bool *failed;                   /* [tensors]                             */
    _Atomic uint64_t next;                 /* the first that nobody has taken       */
    atomic_bool stop;
    struct aside aside;
};

static uint64_t count(const struct gguf_tensor *t)
{
    return t->size / SUMS_CHUNK + (t->size % SUMS_CHUNK != 0);
}

/* False: the bytes cannot be read. */
static bool sum_chunk(const struct sums *s, const struct chunk *c, XXH3_state_t *h, uint8_t *piece,
                      uint64_t *sum)
{
    const struct gguf_tensor *t = gguf_tensor_at(s->file, c->tensor);
    const uint64_t left = t->size - c->first, end = left < SUMS_CHUNK ? t->size
                                                                     : c->first + SUMS_CHUNK;
    XXH3_64bits_reset(h);
    for (uint64_t at = c->first, n; at < end; at += n) {
        n = end - at < PIECE ? end - at : PIECE;
        if (!gguf_copy(s->file, t, at, n, piece))
            return false;
        XXH3_64bits_update(h, piece, n);
    }
    *sum = XXH3_64bits_digest(h);
    return true;
}

void sums_help(struct sums *s)
{
    XXH3_state_t *h = XXH3_createState();
    uint8_t *piece = malloc(PIECE);
    uint64_t i;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed) &&
           (i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->n)
        if (!h || !piece || !sum_chunk(s, &s->chunk[i], h, piece, &s->sum[i]))
            atomic_store_explicit(&s->failed[s->chunk[i].tensor], true, memory_order_relaxed);
    free(piece);
    XXH3_freeState(h);
}

static void help(void *s)
{
    sums_help(s);
}

void sums_finish(struct sums *s)
{
    sums_help(s);
    aside_wait(&s->aside);
}

struct sums *sums_open(const struct gguf *g)
{
    const size_t n_tensor = gguf_n_tensors(g);
    struct sums *s = calloc(1, sizeof *s);
    uint64_t n = 0;
    if (!s || n_tensor > UINT32_MAX)
        return free(s), NULL;
    s->file = g;
    s->begin = calloc(n_tensor + 1, sizeof *s->begin);
    s->failed = calloc(n_tensor + 1, sizeof *s->failed);
    for (size_t i = 0; s->begin && i < n_tensor; i++) {
        s->begin[i] = n;
        n += count(gguf_tensor_at(g, i));      /* tensors do not overlap: n is below 2^64 / 4 MiB */
    }
    s->chunk = calloc(n + 1, sizeof *s->chunk);
    s->sum = calloc(n + 1, sizeof *s->sum);
    if (!s->begin || !s->failed || !s->chunk || !s->sum) {
        sums_close(s);
        return NULL;
    }
    s->begin[n_tensor] = n;
    for (size_t i = 0; i < n_tensor; i++)
        for (uint64_t k = s->begin[i]; k < s->begin[i + 1]; k++)
            s->chunk[k] = (struct chunk){ (uint32_t)i, (k - s->begin[i]) * SUMS_CHUNK };
    s->n = n;
    aside_start(&s->aside, help, s);
    return s;
}

void sums_close(struct sums *s)
{
    if (!s)
        return;
    atomic_store_explicit(&s->stop, true, memory_order_relaxed);
    aside_wait(&s->aside);
    free(s->begin);
    free(s->failed);
    free(s->chunk);
    free(s->sum);
    free(s);
}

const uint64_t *sums_of(const struct sums *s, const struct gguf_tensor *t, uint64_t *n)
{
    const size_t i = (size_t)(t - gguf_tensor_at(s->file, 0));
    *n = s->begin[i + 1] - s->begin[i];
    return s->failed[i] ? NULL : s->sum + s->begin[i];
}
