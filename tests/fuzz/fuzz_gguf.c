/* fuzz_gguf.c - any bytes as a model file: they open or are refused, and what
 * opens can be read to its last row. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int good)
{
    if (!good)
        abort();
}

/* A refusal has its code and its line; success has neither. */
static void check_err(int rc, const struct err *e)
{
    must(rc == e->code && (rc < 0) == (e->text[0] != 0) && !strchr(e->text, '\n'));
}

static void read_ends(const struct wsrc *w)
{
    float *row = malloc((size_t)w->cols * sizeof *row);
    if (!row)
        return;
    must(!wsrc_read_f32(w, 0, row) && !wsrc_read_f32(w, w->rows - 1, row));
    must(!wsrc_read_rows(w, w->rows / 2, 1, row, 0) && wsrc_read_f32(w, w->rows, row) < 0);
    free(row);
}

static void read_tensors(const struct gguf *g)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        for (enum i2s_layout l = I2S_A; l <= I2S_RS_QK256; l++) {
            struct wsrc w;
            struct err e = { 0 };
            const struct wsrc_opts opts = { .i2s_layout = l };
            int rc = wsrc_open(&w, g, gguf_tensor_at(g, i), &opts, &e);
            check_err(rc, &e);
            if (!rc)
                read_ends(&w);
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
            must(n == kv->n && pos == kv->size);
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
    check_err(rc, &e);
    if (rc)
        return 0;
    volatile double sum = read_keys(g);     /* so that the reads happen */
    (void)sum;
    read_tensors(g);
    char warn[256];
    e = (struct err){ 0 };
    rc = vocab_open(&v, g, NULL, warn, &e);
    check_err(rc, &e);
    if (!rc)
        vocab_close(v);
    gguf_close(g);
    e = (struct err){ 0 };
    rc = model_open_mem(&m, data, size, "fuzz", NULL, &e);
    check_err(rc, &e);
    if (!rc)
        model_close(m);
    return 0;
}
