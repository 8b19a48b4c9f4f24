/* batch.c - the arrays of one step.
 *
 * One allocation per array, at its limit, at open; filling them is copying. A
 * row of the page table is padded with -1, so a plugin that reads too far
 * meets a number that is no page. */
#include "core/engine/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int batch_open(struct batch *b, const struct bnp_limits *l, struct err *err)
{
    *b = (struct batch){ .limits = *l };
    if (!l->max_tok || !l->max_seq || !l->max_pages || !l->max_out)
        return err_set(err, ERR_ARG, "batch: a limit is 0, each must be at least 1");
    b->id = calloc(l->max_tok, sizeof *b->id);
    b->pos = calloc(l->max_tok, sizeof *b->pos);
    b->seq_start = calloc((size_t)l->max_seq + 1, sizeof *b->seq_start);
    b->kv_len = calloc(l->max_seq, sizeof *b->kv_len);
    b->page = calloc((size_t)l->max_seq * l->max_pages, sizeof *b->page);
    b->out_row = calloc(l->max_out, sizeof *b->out_row);
    b->out_k = calloc(l->max_out, sizeof *b->out_k);
    b->copy = calloc(l->max_seq, sizeof *b->copy);
    if (!b->id || !b->pos || !b->seq_start || !b->kv_len || !b->page || !b->out_row ||
        !b->out_k || !b->copy) {
        batch_close(b);
        return err_set(err, ERR_NOMEM, "batch: no memory for a step of %u rows, %u sequences of "
                       "%u pages: lower engine.row_budget or engine.max_seq",
                       l->max_tok, l->max_seq, l->max_pages);
    }
    b->step = (struct bnp_step){
        .struct_size = sizeof b->step, .max_pages = l->max_pages, .id = b->id, .pos = b->pos,
        .seq_start = b->seq_start, .kv_len = b->kv_len, .page = b->page, .out_row = b->out_row
    };
    return 0;
}

void batch_close(struct batch *b)
{
    free(b->id);
    free(b->pos);
    free(b->seq_start);
    free(b->kv_len);
    free(b->page);
    free(b->out_row);
    free(b->out_k);
    free(b->copy);
    *b = (struct batch){ 0 };
}

void batch_clear(struct batch *b)
{
    b->step.n_tok = b->step.n_seq = b->step.n_out = b->n_copy = 0;
    b->seq_start[0] = 0;
    b->hidden = false;
}

bool batch_add(struct batch *b, const int32_t *id, uint32_t n, uint32_t pos, const int32_t *page,
               uint32_t n_page, int want_out)
{
    assert(n > 0 && n_page > 0);
    struct bnp_step *s = &b->step;
    const struct bnp_limits *l = &b->limits;
    uint32_t n_out = want_out == 2 ? n : want_out == 1 ? 1 : 0;
    if (n > l->max_tok - s->n_tok || s->n_seq == l->max_seq || n_page > l->max_pages ||
        n_out > l->max_out - s->n_out || pos > INT32_MAX - n)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        b->id[s->n_tok + i] = id[i];
        b->pos[s->n_tok + i] = (int32_t)(pos + i);
    }
    int32_t *row = b->page + (size_t)s->n_seq * l->max_pages;
    for (uint32_t i = 0; i < l->max_pages; i++)
        row[i] = i < n_page ? page[i] : -1;
    s->n_tok += n;
    for (uint32_t i = 0; i < n_out; i++) {
        b->out_k[s->n_out] = 0;
        b->out_row[s->n_out++] = (int32_t)(s->n_tok - n_out + i);
    }
    b->kv_len[s->n_seq] = (int32_t)(pos + n);
    b->seq_start[++s->n_seq] = (int32_t)s->n_tok;
    return true;
}
