/* bitnet_inspect_tensor.c - tensors, and what their weights are like.
 *
 * Each is opened on its own, so that one that cannot be read is shown with the
 * reason, and the others with their figures. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/model/wtype.h"
#include "tools/bitnet_inspect.h"

struct tensor_look {              /* a tensor, every weight read               */
    bool read;                    /* else why says why not                     */
    bool ternary;                 /* code counts; else least .. zeros          */
    char why[400];
    uint64_t n;                   /* elements                                  */
    uint64_t n_scale;             /* 0: none                                   */
    float scale_min, scale_max;
    uint64_t code[4];             /* how many are -1, 0, +1, +2 (code 3)       */
    float least, most;            /* values                                    */
    uint64_t zeros;
};

/* Codes of a row of canonical bytes; the tail's fields are codes 1, which are
 * taken off again. */
static void count_codes(const uint8_t *p, uint32_t cols, uint64_t code[4])
{
    const size_t size = ((size_t)cols + 3) / 4;
    uint64_t n[4] = { 0 };
    for (size_t i = 0; i < size; i += 8) {
        uint64_t v = 0;
        const size_t step = size - i < 8 ? size - i : 8;
        memcpy(&v, p + i, step);
        const uint64_t low = v & 0x5555555555555555, high = v >> 1 & 0x5555555555555555;
        n[3] += (uint64_t)__builtin_popcountll(low & high);
        n[2] += (uint64_t)__builtin_popcountll(high & ~low);
        n[1] += (uint64_t)__builtin_popcountll(low & ~high);
    }
    n[1] -= 4 * size - cols;
    n[0] = cols - n[1] - n[2] - n[3];
    for (int i = 0; i < 4; i++)
        code[i] += n[i];
}

static void add_values(struct tensor_look *k, const float *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        k->least = v[i] < k->least ? v[i] : k->least;
        k->most = v[i] > k->most ? v[i] : k->most;
        k->zeros += v[i] == 0;
    }
}

static void look_at_scales(struct tensor_look *k, const struct wsrc *w)
{
    const uint64_t per_row = w->block_cols ? (w->cols + w->block_cols - 1) / w->block_cols : 0;
    float v[256];
    k->n_scale = w->scale_kind == BNP_SCALE_NONE     ? 0
                 : w->scale_kind == BNP_SCALE_TENSOR ? 1
                 : w->scale_kind == BNP_SCALE_ROW    ? w->rows : w->rows * per_row;
    k->scale_min = INFINITY;
    k->scale_max = -INFINITY;
    for (uint64_t at = 0; at < k->n_scale; at += 256) {
        const uint64_t n = k->n_scale - at < 256 ? k->n_scale - at : 256;
        wsrc_read_scales(w, at, n, v);
        for (uint64_t i = 0; i < n; i++) {
            k->scale_min = v[i] < k->scale_min ? v[i] : k->scale_min;
            k->scale_max = v[i] > k->scale_max ? v[i] : k->scale_max;
        }
    }
}

static void look(struct tensor_look *k, const struct gguf *g, const struct gguf_tensor *t,
                 const struct wsrc_opts *opts)
{
    struct wsrc w;
    struct err e = { 0 };
    *k = (struct tensor_look){ .least = INFINITY, .most = -INFINITY };
    float *row = NULL;
    if (!wsrc_open(&w, g, t, opts, &e) && !(row = malloc(w.cols * sizeof *row)))
        err_set(&e, ERR_NOMEM, "no memory for a row");
    if (!row) {
        snprintf(k->why, sizeof k->why, "%.*s", (int)sizeof k->why - 1, e.text);
        return;
    }
    k->read = true;
    k->ternary = w.format == BNP_FMT_T2;
    k->n = (uint64_t)w.rows * w.cols;
    look_at_scales(k, &w);
    for (uint32_t m = 0; m < w.rows; m++) {
        if (k->ternary) {
            wsrc_read_rows(&w, m, 1, row, 0);
            count_codes((const uint8_t *)row, w.cols, k->code);
        } else {
            wsrc_read_f32(&w, m, row);
            add_values(k, row, w.cols);
        }
        wsrc_drop_rows(&w, m, 1);
    }
    free(row);
}

/* ---------------------------------------------------------------------- out */

static const char *type_of(const struct gguf_tensor *t, char tmp[24])
{
    const char *name = wtype_name_of(t);
    snprintf(tmp, 24, "type %" PRIu32, t->type);
    return name ? name : tmp;
}

static json_t *figures_json(const struct tensor_look *k)
{
    json_t *codes = json_array();
    for (int i = 0; i < 4; i++)
        json_array_append_new(codes, json_integer((json_int_t)k->code[i]));
    json_t *j = !k->read    ? json_pack("{s:o}", "error", json_cstr(k->why))
                : k->ternary ? json_pack("{s:O}", "codes", codes)
                             : json_pack("{s:f,s:f,s:I}", "least", (double)k->least, "most",
                                         (double)k->most, "zeros", (json_int_t)k->zeros);
    json_decref(codes);
    if (k->read && k->n_scale)
        json_object_update_new(j, json_pack("{s:I,s:f,s:f}", "n_scales", (json_int_t)k->n_scale,
                                            "scale_min", (double)k->scale_min, "scale_max",
                                            (double)k->scale_max));
    return j;
}

json_t *tensors_json(const struct gguf *g, const struct wsrc_opts *opts)
{
    json_t *all = json_array();
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        struct tensor_look k;
        char tmp[24];
        json_t *shape = json_array();
        for (uint32_t d = 0; d < t->n_dims; d++)
            json_array_append_new(shape, json_integer((json_int_t)t->ne[d]));
        json_t *one = json_pack("{s:o,s:s,s:I,s:o,s:I,s:I}", "name",
                                json_text(t->name.p, t->name.n), "type", type_of(t, tmp), "type_id",
                                (json_int_t)t->type, "shape", shape, "offset",
                                (json_int_t)t->offset, "size", (json_int_t)t->size);
        if (opts) {
            look(&k, g, t, opts);
            json_object_update_new(one, figures_json(&k));
        }
        json_array_append_new(all, one);
    }
    return all;
}

static double percent(uint64_t part, uint64_t all)
{
    return all ? 100 * (double)part / (double)all : 0;
}

static void put_figures(struct buf *b, const struct tensor_look *k)
{
    if (!k->read) {
        buf_addf(b, "  cannot be read: %s", k->why);
        return;
    }
    if (k->n_scale == 1)
        buf_addf(b, "  scale %.6g", (double)k->scale_min);
    else if (k->n_scale)
        buf_addf(b, "  %" PRIu64 " scales %.6g .. %.6g", k->n_scale, (double)k->scale_min,
                 (double)k->scale_max);
    if (k->ternary)
        buf_addf(b, "  -1 %.1f %%, 0 %.1f %%, +1 %.1f %%", percent(k->code[0], k->n),
                 percent(k->code[1], k->n), percent(k->code[2], k->n));
    else
        buf_addf(b, "  %.6g .. %.6g, 0 %.1f %%", (double)k->least, (double)k->most,
                 percent(k->zeros, k->n));
    if (k->ternary && k->code[3])
        buf_addf(b, ", +2 (code 3) %.1f %%", percent(k->code[3], k->n));
}

static void put_tensor(struct buf *b, const struct gguf *g, const struct gguf_tensor *t,
                       const struct wsrc_opts *opts)
{
    char tmp[24], shape[4 * 22] = "";
    int n = 0;
    for (uint32_t d = 0; d < t->n_dims; d++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%" PRIu64, d ? " x " : "", t->ne[d]);
    struct buf name = { 0 };
    put_escaped(&name, t->name.p, t->name.n);
    buf_addf(b, "  %-26s %-8s %-14s %12" PRIu64, name.p ? name.p : "", type_of(t, tmp), shape,
             t->size);
    buf_free(&name);
    if (opts) {
        struct tensor_look k;
        look(&k, g, t, opts);
        put_figures(b, &k);
    }
    buf_addf(b, "\n");
}

/* "I2_S: 42 tensors, 2359296 elements, 2.00 bits each" */
static void put_types(struct buf *b, const struct gguf *g)
{
    struct {
        char name[24];
        uint64_t n_tensor, n, size;
    } kind[24];
    unsigned n_kind = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        char tmp[24];
        const char *name = type_of(t, tmp);
        unsigned k = 0;
        while (k < n_kind && strcmp(kind[k].name, name) != 0)
            k++;
        if (k == sizeof kind / sizeof *kind)
            continue;
        if (k == n_kind) {
            memset(&kind[n_kind++], 0, sizeof *kind);
            snprintf(kind[k].name, sizeof kind[k].name, "%s", name);
        }
        kind[k].n_tensor++;
        kind[k].n += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
        kind[k].size += t->size;
    }
    for (unsigned k = 0; k < n_kind; k++)
        buf_addf(b, "  %-8s %4" PRIu64 " tensors, %" PRIu64 " elements, %.3f bits each\n",
                 kind[k].name, kind[k].n_tensor, kind[k].n,
                 8 * (double)kind[k].size / (double)kind[k].n);
}

void put_tensors(struct buf *b, const struct gguf *g, const struct wsrc_opts *opts)
{
    uint64_t all = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        all += gguf_tensor_at(g, i)->size;
    buf_addf(b, "\ntensors, %zu, %" PRIu64 " bytes (shape: innermost first)\n", gguf_n_tensors(g),
             all);
    put_types(b, g);
    buf_addf(b, "\n");
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        put_tensor(b, g, gguf_tensor_at(g, i), opts);
}
