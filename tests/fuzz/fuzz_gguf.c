/* fuzz_gguf.c - any bytes as a model file: they open or are refused, and what
 * opens can be read to its last row. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/model.h"
#include "tests/fuzz/fuzz.h"

static void read_ends(const struct wsrc *w)
{
    float *row = malloc((size_t)w->cols * sizeof *row);
    if (!row)
        return;
    require(!wsrc_read_f32(w, 0, row) && !wsrc_read_f32(w, w->rows - 1, row));
    require(!wsrc_read_rows(w, w->rows / 2, 1, row, 0) && wsrc_read_f32(w, w->rows, row) < 0);
    free(row);
}

static void read_tensor(const struct gguf *g, const struct gguf_tensor *t,
                        const struct wsrc_opts *opts)
{
    struct wsrc w;
    struct err e = { 0 };
    const int rc = wsrc_open(&w, g, t, opts, &e);
    fuzz_err(rc, &e);
    if (!rc)
        read_ends(&w);
}

/* TL1 and TL2 with tiles that small tensors can have; those of published models
 * are too large for these inputs. */
static void read_tiled(const struct gguf *g, const struct gguf_tensor *t)
{
    static const struct { unsigned cols, step; } tile[] = { { 64, 32 }, { 32, 64 }, { 48, 32 },
                                                            { 96, 32 } };
    for (unsigned i = 0; i < 2 * sizeof tile / sizeof *tile; i++) {
        char preset[96];
        snprintf(preset, sizeof preset, "%" PRIu64 "x%" PRIu64 ":%" PRIu64 "/%u/%u", t->ne[1],
                 t->ne[0], i % 2 ? t->ne[1] : 32, tile[i / 2].cols, tile[i / 2].step);
        const struct wsrc_opts opts = { .tl_preset = preset };
        read_tensor(g, t, &opts);
    }
}

static void read_tensors(const struct gguf *g)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        for (enum i2s_layout l = I2S_A; l <= I2S_RS_QK256; l++) {
            const struct wsrc_opts opts = { .i2s_layout = l };
            read_tensor(g, t, &opts);
        }
        if (t->type == 38 || t->type == 39 || t->type == 42)
            read_tiled(g, t);
    }
}

/* Walks every value once: what gguf_open accepted needs no further check. */
static double read_keys(const struct gguf *g)
{
    double sum = 0;
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        struct str s;
        uint64_t pos = 0, n = 0;
        while (gguf_next_str(kv, &pos, &s)) {
            n++;
            sum += s.n ? s.p[0] + s.p[s.n - 1] : 0;
        }
        if (kv->type == GGUF_ARRAY && kv->elem == GGUF_STR)
            require(n == kv->n && pos == kv->size);
        else if (kv->n)
            sum += gguf_num_at(kv, 0) + gguf_num_at(kv, kv->n - 1);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g;
    struct vocab *v;
    struct model *m;
    struct err e = { 0 };
    int rc = gguf_open_mem(&g, data, size, "fuzz", &e);
    fuzz_err(rc, &e);
    if (rc)
        return 0;
    volatile double sum = read_keys(g);     /* so that the reads happen */
    (void)sum;
    read_tensors(g);
    char warn[256];
    e = (struct err){ 0 };
    rc = vocab_open(&v, g, NULL, warn, &e);
    fuzz_err(rc, &e);
    if (!rc)
        vocab_close(v);
    gguf_close(g);
    e = (struct err){ 0 };
    rc = model_open_mem(&m, data, size, "fuzz", NULL, &e);
    fuzz_err(rc, &e);
    if (!rc)
        model_close(m);
    return 0;
}
