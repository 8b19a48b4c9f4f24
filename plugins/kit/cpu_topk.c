/* cpu_topk.c - the k largest logits (topk.h says why the answer is right).
 *
 * With a screen, for up to PASS tokens at once: every worker runs panels of the
 * screen against all tokens and keeps, per token, the k largest lower
 * bounds so far and the rows whose upper bound reached the least of them. The
 * k-th largest lower bound of all workers then thins the rows out, what is
 * left is computed exactly by the kernel that mul uses, and the k best stand.
 *
 * A token that cannot be screened (a row of zeros, numbers near the ends of
 * f32, more candidates than there is room for), and every token of a head
 * without a screen, is computed in full: CHUNK rows of logits at a time, of
 * which the best are kept. */
#include "plugins/kit/cpu.h"

#include <string.h>

#include "plugins/kit/topk.h"

enum { PASS = 32, CHUNK = 4096 };
#define PARALLEL_FROM 32768u    /* as in mul: elements                       */

struct found {
    float value;                /* upper bound; then the exact logit         */
    int32_t row;
};

struct list {                   /* a worker's, for one token                 */
    uint32_t n, n_low;
    bool full;                  /* rows were lost: the token is not screened */
    float low[TOPK_MAX];        /* largest first                             */
};

struct token {
    float a, c;                 /* of topk.h                                 */
    bool screened;
};

struct room {                   /* offsets in scratch, behind mul's; bytes   */
    uint64_t token, x, acc, list, found, logit, size;
    uint64_t x_stride, chunk_stride;
    uint32_t n_found;           /* candidates of a worker and token          */
    uint32_t chunk;             /* rows                                      */
};

static struct room room_of(bnp_device *d, const bnp_weight_desc *w)
{
    const uint64_t n = d->host->topo->n_workers, tok = w->max_tok < PASS ? w->max_tok : PASS;
    const uint32_t panel = w->format == BNP_FMT_T2 ? d->variant->tern->panel_rows
                                                   : cpu_float(d)->dense->rows;
    struct room r = { .chunk = (CHUNK + panel - 1) / panel * panel };
    r.n_found = (uint32_t)(512 + 8192 / n);
    r.x_stride = align_up(2 * sizeof(int16_t) * screen_pairs(w->cols), BNP_ALIGN);
    r.chunk_stride = align_up(r.chunk * sizeof(float), BNP_ALIGN);
    uint64_t at = align_up(cpu_mul_scratch(d, w), BNP_ALIGN);
    r.logit = at;
    at += tok * r.chunk_stride;
    if (screen_wanted(d, w)) {
        r.token = at;
        r.x = r.token + align_up(PASS * sizeof(struct token), BNP_ALIGN);
        r.acc = r.x + tok * r.x_stride;
        r.list = r.acc + n * tok * SCREEN_ROWS * sizeof(int32_t);
        r.found = r.list + align_up(n * tok * sizeof(struct list), BNP_ALIGN);
        at = r.found + n * tok * r.n_found * sizeof(struct found);
    }
    r.size = align_up(at, BNP_ALIGN);
    return r;
}

uint64_t cpu_topk_scratch(bnp_device *d, const bnp_weight_desc *w)
{
    return w->flags & BNP_W_TOPK ? room_of(d, w).size : 0;
}

struct topk {
    bnp_device *d;
    const bnp_weight *w;
    const struct kit_act *act;
    const bnp_topk *top;
    struct room room;
    uint8_t *scratch;
    uint32_t first, n_tok;      /* tokens of this pass                       */
    uint32_t from, n_rows;      /* weight rows of this chunk                 */
    uint32_t n_workers;
};

static int32_t *ids_of(const struct topk *k, uint32_t t)
{
    return (int32_t *)span_at(k->top->id) + (size_t)(k->first + t) * k->top->k;
}

static float *best_of(const struct topk *k, uint32_t t)
{
    return (float *)span_at(k->top->logit) + (size_t)(k->first + t) * k->top->k;
}

static void set_exact(const struct topk *k, uint32_t t, uint32_t n)
{
    if (k->top->n_exact.size)
        ((uint32_t *)span_at(k->top->n_exact))[k->first + t] = n;
}

/* ---------------------------------------------------------------- in full */

static float *logits_of(const struct topk *k, uint32_t t)
{
    return (float *)(void *)(k->scratch + k->room.logit + t * k->room.chunk_stride);
}

static void insert_chunk(void *arg, uint32_t part, uint32_t n_parts)
{
    const struct topk *k = arg;
    const uint32_t end = cpu_share(k->n_tok, part + 1, n_parts);
    for (uint32_t t = cpu_share(k->n_tok, part, n_parts); t < end; t++) {
        uint32_t have = k->from < k->top->k ? k->from : k->top->k;
        const float *logit = logits_of(k, t);
        for (uint32_t i = 0; i < k->n_rows; i++)
            topk_insert(logit[i], (int32_t)(k->from + i), k->top->k, &have, ids_of(k, t),
                        best_of(k, t));
    }
}

/* Rows k->from .. of the weight, as a weight. */
static bnp_weight part_of(const struct topk *k)
{
    bnp_weight w = *k->w;
    w.k.rows = k->n_rows;
    w.screen = NULL;
    if (!w.tern) {
        w.data += k->from * w.row_size;
        w.scale += (size_t)k->from * w.scale_step;
        return w;
    }
    w.n_panel = (k->n_rows - 1) / w.tern->panel_rows + 1;
    w.data += k->from / w.tern->panel_rows * w.panel_size;
    if (w.k.scale_kind == BNP_SCALE_ROW || w.k.scale_kind == BNP_SCALE_BLOCK)
        w.scale += (size_t)k->from * w.k.n_block;
    return w;
}

/* Tokens first .. first + n - 1 of the call. */
static void in_full(const struct topk *all, uint32_t first, uint32_t n)
{
    struct topk k = *all;
    k.first = first;
    k.n_tok = n;
    for (k.from = 0; k.from < k.w->k.rows; k.from += k.n_rows) {
        const uint32_t left = k.w->k.rows - k.from;
        k.n_rows = left < k.room.chunk ? left : k.room.chunk;
        const bnp_weight part = part_of(&k);
        const bnp_linear_item item = { .weight = &part, .y = {
            .mem = { logits_of(&k, 0), 0, n * k.room.chunk_stride },
            .stride = k.room.chunk_stride, .n_tok = n, .cols = k.n_rows } };
        cpu_mul_some(k.d, k.act, first, &item, k.scratch);
        cpu_deal(k.d, n > 1, insert_chunk, &k);
    }
    for (uint32_t t = 0; t < n; t++) {
        topk_end(k.top->k, ids_of(&k, t), best_of(&k, t));
        set_exact(&k, t, k.w->k.rows);
    }
}

/* ----------------------------------------------------------- with a screen */

static struct token *token_of(const struct topk *k, uint32_t t)
{
    return (struct token *)(void *)(k->scratch + k->room.token) + t;
}

static int16_t *x_of(const struct topk *k, uint32_t t)
{
    return (int16_t *)(void *)(k->scratch + k->room.x + t * k->room.x_stride);
}

static struct list *list_of(const struct topk *k, uint32_t worker, uint32_t t)
{
    return (struct list *)(void *)(k->scratch + k->room.list) + (size_t)worker * k->n_tok + t;
}

static struct found *found_of(const struct topk *k, uint32_t worker, uint32_t t)
{
    return (struct found *)(void *)(k->scratch + k->room.found) +
           ((size_t)worker * k->n_tok + t) * k->room.n_found;
}

/* To the nearest integer, for |v| < 2^22: there an ulp of 1.5 * 2^23 is 1. */
static float nearest(float v)
{
    return (v + 12582912.0f) - 12582912.0f;
}

/* x^ = f * q. The numbers that the bounds need are computed in double, where
 * sums of SCREEN_COLS squares lose at most 2^-36 of themselves, and enlarged
 * by 2^-30. u' = 8u covers the roundings of mid and of mid -+ bound (three of
 * u |mid|, one of u bound), 2^-18 those of a, c and bound. Between 2^-40 and
 * 2^60, with |w| |x| below 2^120, nothing overflows, and what underflows is
 * less than the 2^-60 that err has to spare (kern_screen.h): cols 2^-150 / f,
 * where f >= 2^-55. */
static struct token quantize(const float *x, uint32_t cols, double norm_max, int16_t *q)
{
    float max = 0;
    for (uint32_t i = 0; i < cols; i++) {
        const float v = x[i] < 0 ? -x[i] : x[i];
        max = v > max ? v : max;
    }
    if (!(max >= 0x1p-40f && max <= 0x1p60f))
        return (struct token){ 0 };
    const float most = (float)screen_x_max(cols), f = max / most, to = most / max;
    double xx = 0, dd = 0;
    for (uint32_t i = 0; i < cols; i++) {
        float v = nearest(x[i] * to);
        v = v > most ? most : v < -most ? -most : v;
        q[i] = (int16_t)v;
        const double d = (double)x[i] - (double)f * (double)v;
        xx += (double)x[i] * (double)x[i];
        dd += d * d;
    }
    if (cols % 2)
        q[cols] = 0;
    const double up = 1 + 0x1p-30, u = 0x1p-24, n = cols;
    const double norm = __builtin_sqrt(xx) * up, delta = __builtin_sqrt(dd) * up;
    const double gamma = n * u / (1 - n * u), slack = 1 + 0x1p-18;
    if (!(norm_max * norm < 0x1p120))
        return (struct token){ 0 };
    return (struct token){
        .a = (float)(norm / (double)f * slack),
        .c = (float)((delta + gamma * norm + 8 * u * (norm + delta)) / (double)f * slack),
        .screened = true,
    };
}

static void quantize_part(void *arg, uint32_t part, uint32_t n_parts)
{
    const struct topk *k = arg;
    const uint32_t end = cpu_share(k->n_tok, part + 1, n_parts);
    for (uint32_t t = cpu_share(k->n_tok, part, n_parts); t < end; t++)
        *token_of(k, t) = quantize((const float *)(const void *)kit_act_row(k->act, k->first + t),
                                   k->w->k.cols, (double)k->w->screen->norm_max, x_of(k, t));
}

static float threshold(const struct list *l, uint32_t k)
{
    return l->n_low < k ? -__builtin_inff() : l->low[k - 1];
}

static void thin_out(struct list *l, struct found *f, float least)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (f[i].value >= least)
            f[n++] = f[i];
    l->n = n;
}

static void add_low(struct list *l, uint32_t k, float low)
{
    uint32_t at = l->n_low;
    if (at == k) {
        if (!(low > l->low[k - 1]))
            return;
        at--;
    } else {
        l->n_low++;
    }
    for (; at && low > l->low[at - 1]; at--)
        l->low[at] = l->low[at - 1];
    l->low[at] = low;
}

/* The n rows of a panel from row first on, of which one at least qualifies. */
static void take_rows(const struct topk *k, struct list *l, struct found *f, uint32_t first,
                      uint32_t n, const struct screen_range *s)
{
    for (uint32_t r = 0; r < n; r++) {
        const float up = s->mid[r] + s->bound[r];
        if (!(up >= threshold(l, k->top->k)))
            continue;
        f[l->n++] = (struct found){ up, (int32_t)(first + r) };
        add_low(l, k->top->k, s->mid[r] - s->bound[r]);
        if (l->n < k->room.n_found)
            continue;
        thin_out(l, f, threshold(l, k->top->k));
        if (l->n > k->room.n_found / 4 * 3) {
            l->full = true;
            return;
        }
    }
}

static void lists_clear(const struct topk *k)
{
    for (uint32_t i = 0; i < k->n_workers * k->n_tok; i++) {
        struct list *l = list_of(k, 0, 0) + i;
        l->n = l->n_low = l->full = 0;
    }
}

static void screen_piece(void *arg, uint32_t list, uint32_t panel, uint32_t worker)
{
    const struct topk *k = arg;
    const struct cpu_screen *s = k->w->screen;
    const struct screen_kern *kern = cpu_float(k->d)->screen;
    const uint32_t first = panel * SCREEN_ROWS, left = s->rows - first;
    float mid[SCREEN_ROWS], bound[SCREEN_ROWS];
    const struct screen_call call = {
        .panel = screen_panel(s, panel), .n_pair = screen_pairs(s->cols), .n_tok = k->n_tok,
        .x = x_of(k, 0), .x_stride = k->room.x_stride / sizeof(int16_t),
        .acc = (int32_t *)(void *)(k->scratch + k->room.acc) +
               (size_t)worker * k->n_tok * SCREEN_ROWS,
    };
    (void)list;
    kern->dot(&call);
    for (uint32_t t = 0; t < k->n_tok; t++) {
        struct list *l = list_of(k, worker, t);
        const struct token *token = token_of(k, t);
        if (!token->screened || l->full)
            continue;
        const struct screen_range range = {
            .acc = call.acc + (size_t)t * SCREEN_ROWS, .scale = screen_floats(s, 0) + first,
            .err = screen_floats(s, 1) + first, .norm = screen_floats(s, 2) + first,
            .a = token->a, .c = token->c, .mid = mid, .bound = bound };
        if (kern->range(&range) >= threshold(l, k->top->k))
            take_rows(k, l, found_of(k, worker, t), first, left < SCREEN_ROWS ? left : SCREEN_ROWS,
                      &range);
    }
}

/* What all workers together know of token t. */
static void settle(const struct topk *k, uint32_t t)
{
    struct list all = { 0 };
    for (uint32_t w = 0; w < k->n_workers; w++) {
        const struct list *l = list_of(k, w, t);
        all.full |= l->full;
        for (uint32_t i = 0; i < l->n_low; i++)
            add_low(&all, k->top->k, l->low[i]);
    }
    for (uint32_t w = 0; w < k->n_workers; w++) {
        thin_out(list_of(k, w, t), found_of(k, w, t), threshold(&all, k->top->k));
        all.n += list_of(k, w, t)->n;
    }
    if (all.full || all.n < k->top->k)
        token_of(k, t)->screened = false;
    set_exact(k, t, all.n);
}

/* The exact logits of n candidates of token t, in place of their bounds. */
static void exact(const struct topk *k, uint32_t t, struct found *f, uint32_t n, uint8_t *scratch)
{
    int32_t id[SCREEN_ROWS];
    float y[SCREEN_ROWS];
    for (uint32_t i = 0; i < n; i++)
        id[i] = f[i].row;
    cpu_float(k->d)->dense->mul(&(struct dense_call){
        .format = k->w->k.format, .cols = k->w->k.cols, .n_rows = n, .w = k->w->data,
        .w_stride = k->w->row_size, .id = id, .block_cols = k->w->k.block_cols, .n_tok = 1,
        .x = (const float *)(const void *)kit_act_row(k->act, k->first + t), .y = y,
        .scratch = scratch });
    for (uint32_t i = 0; i < n; i++)
        f[i].value = y[i];
}

/* All candidates in pieces, of which every worker has its share. */
static void exact_part(void *arg, uint32_t worker, uint32_t n_workers)
{
    const struct topk *k = arg;
    const struct dense_kern *dense = cpu_float(k->d)->dense;
    const uint32_t step = dense->rows < SCREEN_ROWS ? dense->rows : SCREEN_ROWS;
    uint8_t *scratch = k->scratch + worker * align_up(dense->scratch, BNP_ALIGN);
    uint32_t n_piece = 0, at = 0;
    for (uint32_t i = 0; i < k->n_tok * k->n_workers; i++)
        n_piece += (list_of(k, 0, 0)[i].n + step - 1) / step;
    const uint32_t first = cpu_share(n_piece, worker, n_workers);
    const uint32_t end = cpu_share(n_piece, worker + 1, n_workers);
    for (uint32_t i = 0; i < k->n_tok * k->n_workers; i++) {
        const uint32_t n = list_of(k, 0, 0)[i].n;
        for (uint32_t from = 0; from < n; from += step, at++)
            if (at >= first && at < end)
                exact(k, i % k->n_tok, found_of(k, 0, 0) + (size_t)i * k->room.n_found + from,
                      n - from < step ? n - from : step, scratch);
    }
}

static void keep_best(const struct topk *k, uint32_t t)
{
    uint32_t have = 0;
    for (uint32_t w = 0; w < k->n_workers; w++) {
        const struct found *f = found_of(k, w, t);
        for (uint32_t i = 0; i < list_of(k, w, t)->n; i++)
            topk_insert(f[i].value, f[i].row, k->top->k, &have, ids_of(k, t), best_of(k, t));
    }
}

static void pass(struct topk *k)
{
    const bool all = (uint64_t)k->w->k.rows * k->w->k.cols * k->n_tok >= PARALLEL_FROM;
    k->n_workers = all ? k->d->host->topo->n_workers : 1;
    lists_clear(k);
    cpu_deal(k->d, all && k->n_tok > 1, quantize_part, k);
    cpu_run_pieces(k->d, all, 1, &k->w->screen->n_panel, (struct cpu_cursor *)(void *)k->scratch,
                   screen_piece, k);
    for (uint32_t t = 0; t < k->n_tok; t++) {
        settle(k, t);
        for (uint32_t w = 0; w < k->n_workers && !token_of(k, t)->screened; w++)
            list_of(k, w, t)->n = 0;
    }
    cpu_run(k->d, all, exact_part, k);
    for (uint32_t t = 0; t < k->n_tok; t++) {
        if (token_of(k, t)->screened)
            keep_best(k, t);
        else
            in_full(k, k->first + t, 1);
    }
}

/* ------------------------------------------------------------------- topk */

int cpu_topk(bnp_stream *s, bnp_span act, const bnp_weight *w, const bnp_topk *top,
             bnp_span scratch)
{
    const bnp_weight_desc desc = {
        .format = w->k.format, .scale_kind = w->k.scale_kind, .flags = w->k.flags,
        .rows = w->k.rows, .cols = w->k.cols, .block_cols = w->k.block_cols,
        .max_tok = w->k.max_tok };
    struct topk k = { .d = s->dev, .w = w, .top = top, .room = room_of(s->dev, &desc),
                      .scratch = span_at(scratch) };
    int rc = kit_topk_check(s, &w->k, top);
    if (rc || (rc = kit_need_span(s, "topk: scratch", scratch, k.room.size)))
        return rc;
    k.act = kit_act_of(s, act, cpu_act_kind(s->dev, &desc), w->k.cols, top->n_tok);
    if (!k.act)
        return BNP_E_INVALID;
    const bool screened = w->screen && w->screen->usable && top->k <= TOPK_MAX &&
                          top->k < w->k.rows;
    for (k.first = 0; k.first < top->n_tok; k.first += k.n_tok) {
        k.n_tok = top->n_tok - k.first < PASS ? top->n_tok - k.first : PASS;
        if (screened)
            pass(&k);
        else
            in_full(&k, k.first, k.n_tok);
    }
    return BNP_OK;
}
