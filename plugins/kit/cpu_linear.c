/* cpu_linear.c - activations, products and rows of a CPU plugin.
 *
 * A prepared row for ternary weights is 64 bytes (factor and sum), q, the sums
 * of q over groups of GROUP columns (block scales add up a few of them), and
 * what the packing's kernel builds from q. For dense weights it is the row.
 *
 * mul gives out panels of every item, in order: one pass over the weights
 * whatever the number of tokens. */
#include "plugins/kit/cpu.h"

#include <string.h>

enum { KIND_F32 = 1, KIND_INT8 = 2 };

#define GROUP 32u               /* columns                                   */
/* Elements from which waking the workers costs less than it saves. */
#define PARALLEL_FROM 32768u

/* ------------------------------------------------------------ activations */

struct act_head {               /* of a row for ternary weights              */
    float s;
    int32_t sum;
};

struct act_shape {              /* offsets in a row, and its stride; bytes   */
    uint64_t q, sums, built, stride;
};

static struct act_shape act_shape(const bnp_device *d, uint32_t kind, uint32_t cols)
{
    const struct tern *t = d->variant->tern;
    struct act_shape a = { .q = BNP_ALIGN };
    if (kind == KIND_F32) {
        a.stride = align_up((uint64_t)cols * sizeof(float), BNP_ALIGN);
        return a;
    }
    const uint64_t n_group = ((uint64_t)cols + GROUP - 1) / GROUP;
    a.sums = a.q + align_up(cols, BNP_ALIGN);
    a.built = a.sums + align_up(n_group * sizeof(int32_t), BNP_ALIGN);
    a.stride = a.built + (t->build ? t->act_size(cols) : 0);
    return a;
}

uint32_t cpu_act_kind(bnp_device *d, const bnp_weight_desc *w)
{
    (void)d;
    return w->format == BNP_FMT_T2 ? KIND_INT8 : KIND_F32;
}

static bool kind_known(uint32_t kind)
{
    return kind == KIND_F32 || kind == KIND_INT8;
}

int cpu_act_size(bnp_device *d, uint32_t kind, uint32_t cols, uint32_t n_tok, uint64_t *size)
{
    if (!kind_known(kind) || !cols || !kit_act_fits(act_shape(d, kind, cols).stride, n_tok, size))
        return kit_fail(d, BNP_E_INVALID, "act_size: kind %u, %u columns, %u rows", kind, cols,
                        n_tok);
    return BNP_OK;
}

struct prepare {
    bnp_device *d;
    const struct kit_act *act;
    const bnp_rows *x;
    struct act_shape shape;
    _Atomic(bool) bad;
};

static void quantize_row(const struct prepare *p, const float *x, uint8_t *row)
{
    const struct tern *t = p->d->variant->tern;
    const uint32_t cols = p->x->cols;
    int8_t *q = (int8_t *)row + p->shape.q;
    int32_t *sums = (int32_t *)(void *)(row + p->shape.sums);
    struct act_head head;
    cpu_float(p->d)->row->quantize(x, cols, q, &head.s, &head.sum);
    memcpy(row, &head, sizeof head);
    for (uint32_t g = 0; g * GROUP < cols; g++) {
        int32_t sum = 0;                        /* q is 0 behind cols */
        for (uint32_t i = 0; i < GROUP; i++)
            sum += q[g * GROUP + i];
        sums[g] = sum;
    }
    if (t->build)
        t->build(q, cols, row + p->shape.built);
}

static void prepare_part(void *arg, uint32_t part, uint32_t n_parts)
{
    struct prepare *p = arg;
    const uint32_t n = p->act->n_tok, end = cpu_share(n, part + 1, n_parts);
    for (uint32_t t = cpu_share(n, part, n_parts); t < end; t++) {
        const float *x = rows_at(p->x, t);
        uint8_t *row = (uint8_t *)kit_act_row(p->act, t);
        if (cpu_float(p->d)->row->not_finite(x, p->x->cols) >= 0)
            atomic_store_explicit(&p->bad, true, memory_order_relaxed);
        else if (p->act->kind == KIND_INT8)
            quantize_row(p, x, row);
        else
            memcpy(row, x, p->x->cols * sizeof(float));
    }
}

int cpu_act_prepare(bnp_stream *s, uint32_t kind, const bnp_rows *x, bnp_span act)
{
    if (!kind_known(kind))
        return kit_fail(s->dev, BNP_E_INVALID, "act_prepare: kind %u", kind);
    struct prepare p = { .d = s->dev, .x = x, .shape = act_shape(s->dev, kind, x->cols) };
    const int rc = kit_act_begin(s, kind, p.shape.stride, x, act);
    if (rc)
        return rc;
    p.act = span_at(act);
    atomic_init(&p.bad, false);
    cpu_deal(s->dev, (uint64_t)x->n_tok * x->cols >= PARALLEL_FROM, prepare_part, &p);
    return atomic_load(&p.bad) ? kit_need_finite(s, "act_prepare", x) : BNP_OK;
}

/* ---------------------------------------------------------------- scratch */

static uint32_t tokens_at_once(uint32_t max_tok)
{
    return max_tok < KERN_TOK ? max_tok : KERN_TOK;
}

/* A worker's: int32 sums, float sums of block scales, what the kernel needs. */
struct scratch {
    uint64_t acc, sum, kern, size;
};

static struct scratch tern_scratch(const struct tern *t, uint32_t max_tok, bool blocks)
{
    const uint64_t plane = (uint64_t)tokens_at_once(max_tok) * t->panel_rows * 4;
    struct scratch s = { .acc = 0, .sum = plane };
    s.kern = align_up(plane * (blocks ? 2 : 1), BNP_ALIGN);
    s.size = align_up(s.kern + t->scratch, BNP_ALIGN);
    return s;
}

uint64_t cpu_mul_scratch(bnp_device *d, const bnp_weight_desc *w)
{
    const bool blocks = w->scale_kind == BNP_SCALE_BLOCK;
    const uint64_t one = w->format == BNP_FMT_T2
                             ? tern_scratch(d->variant->tern, w->max_tok, blocks).size
                             : align_up(cpu_float(d)->dense->scratch, BNP_ALIGN);
    return (one + sizeof(struct cpu_cursor)) * d->host->topo->n_workers;
}

static uint64_t weight_scratch(const bnp_weight *w)
{
    return cpu_mul_scratch(w->k.dev, &(bnp_weight_desc){
        .format = w->k.format, .scale_kind = w->k.scale_kind, .max_tok = w->k.max_tok });
}

/* -------------------------------------------------------------------- mul */

/* Items in one pass; more than any layer has on one input. */
enum { ITEMS = 8 };

struct mul {
    bnp_device *d;
    const struct kit_act *act;
    uint32_t first;             /* its row for row 0 of y                    */
    struct act_shape shape;
    const bnp_linear_item *item;
    uint8_t *scratch;           /* of all workers, behind their cursors      */
};

struct tile {                   /* one panel times some tokens               */
    const struct mul *m;
    const bnp_linear_item *it;
    const struct float_kern *f;
    uint32_t panel, first_tok, n_tok, n_rows;
    int32_t *acc;               /* [n_tok][panel_rows]                       */
    float *sum;                 /* the same shape; block scales only         */
    uint8_t *scratch;
};

static const uint8_t *act_row(const struct tile *t, uint32_t i)
{
    return (const uint8_t *)kit_act_row(t->m->act, t->m->first + t->first_tok + i);
}

static struct act_head act_head(const struct tile *t, uint32_t i)
{
    struct act_head h;
    memcpy(&h, act_row(t, i), sizeof h);
    return h;
}

static float *y_at(const struct tile *t, uint32_t i)
{
    return rows_at(&t->it->y, t->first_tok + i) +
           (size_t)t->panel * t->it->weight->tern->panel_rows;
}

/* Sum of q over columns first..first+n of a row. */
static int32_t range_sum(const struct tile *t, uint32_t i, uint32_t first, uint32_t n)
{
    const uint8_t *row = act_row(t, i);
    const int32_t *sums = (const int32_t *)(const void *)(row + t->m->shape.sums);
    const int8_t *q = (const int8_t *)row + t->m->shape.q;
    int32_t sum = 0;
    if (first % GROUP || (n % GROUP && first + n < t->m->act->cols)) {
        for (uint32_t k = 0; k < n; k++)
            sum += q[first + k];
        return sum;
    }
    for (uint32_t g = first / GROUP; g * GROUP < first + n; g++)
        sum += sums[g];
    return sum;
}

static void tile_dot(const struct tile *t, uint32_t first, uint32_t n_cols)
{
    const bnp_weight *w = t->it->weight;
    int32_t sum[KERN_TOK];
    const bool all = n_cols == w->k.cols;
    for (uint32_t i = 0; i < t->n_tok; i++)
        sum[i] = all ? act_head(t, i).sum : range_sum(t, i, first, n_cols);
    w->tern->dot(&(struct tern_call){
        .panel = w->data + t->panel * w->panel_size, .cols = w->k.cols,
        .first = first, .n_cols = n_cols, .plus2 = (w->k.flags & BNP_W_PLUS2) != 0,
        .n_tok = t->n_tok,
        .act = act_row(t, 0) + (w->tern->build ? t->m->shape.built : t->m->shape.q),
        .act_stride = t->m->shape.stride,
        .sum = sum, .acc = t->acc, .scratch = t->scratch,
    });
}

static void tile_one_scale(const struct tile *t)
{
    const bnp_weight *w = t->it->weight;
    const uint32_t rows = w->tern->panel_rows;
    const bool by_row = w->k.scale_kind == BNP_SCALE_ROW;
    const float *scale = w->scale + (by_row ? (size_t)t->panel * rows : 0);
    tile_dot(t, 0, w->k.cols);
    for (uint32_t i = 0; i < t->n_tok; i++)
        t->f->row->finish(t->acc + (size_t)i * rows, scale, by_row, act_head(t, i).s,
                          t->it->flags & BNP_ADD, y_at(t, i), t->n_rows);
}

static void tile_block_scales(const struct tile *t)
{
    const bnp_weight *w = t->it->weight;
    const uint32_t rows = w->tern->panel_rows;
    const float *d = w->scale + (size_t)t->panel * w->k.n_block * rows;
    memset(t->sum, 0, (size_t)t->n_tok * rows * sizeof(float));
    for (uint32_t b = 0; b < w->k.n_block; b++, d += rows) {
        const uint32_t first = b * w->k.block_cols, left = w->k.cols - first;
        tile_dot(t, first, left < w->k.block_cols ? left : w->k.block_cols);
        for (uint32_t i = 0; i < t->n_tok; i++)
            t->f->row->block(t->acc + (size_t)i * rows, d, t->sum + (size_t)i * rows, rows);
    }
    for (uint32_t i = 0; i < t->n_tok; i++)
        t->f->row->block_end(t->sum + (size_t)i * rows, 1.0f / act_head(t, i).s,
                             t->it->flags & BNP_ADD, y_at(t, i), t->n_rows);
}

static void tern_panel(const struct mul *m, const bnp_linear_item *it, uint32_t panel,
                       uint32_t worker)
{
    const bnp_weight *w = it->weight;
    const bool blocks = w->k.scale_kind == BNP_SCALE_BLOCK;
    const struct scratch s = tern_scratch(w->tern, w->k.max_tok, blocks);
    const uint32_t left = w->k.rows - panel * w->tern->panel_rows;
    uint8_t *mine = m->scratch + worker * s.size;
    struct tile t = { .m = m, .it = it, .f = cpu_float(w->k.dev), .panel = panel,
                      .n_rows = left < w->tern->panel_rows ? left : w->tern->panel_rows,
                      .acc = (int32_t *)(void *)(mine + s.acc),
                      .sum = (float *)(void *)(mine + s.sum), .scratch = mine + s.kern };
    for (; t.first_tok < it->y.n_tok; t.first_tok += t.n_tok) {
        t.n_tok = tokens_at_once(it->y.n_tok - t.first_tok);
        if (blocks)
            tile_block_scales(&t);
        else
            tile_one_scale(&t);
    }
}

static void dense_group(const struct mul *m, const bnp_linear_item *it, uint32_t group,
                        uint32_t worker)
{
    const bnp_weight *w = it->weight;
    const struct dense_kern *dense = cpu_float(w->k.dev)->dense;
    const uint32_t row = group * dense->rows, left = w->k.rows - row;
    struct dense_call c = {
        .format = w->k.format, .cols = w->k.cols, .n_rows = left < dense->rows ? left : dense->rows,
        .w = w->data + row * w->row_size, .w_stride = w->row_size,
        .scale = w->scale + (size_t)row * w->scale_step, .scale_step = w->scale_step,
        .block_cols = w->k.block_cols,
        .x_stride = m->shape.stride / sizeof(float), .y_stride = it->y.stride / sizeof(float),
        .add = it->flags & BNP_ADD,
        .scratch = m->scratch + worker * align_up(dense->scratch, BNP_ALIGN),
    };
    for (uint32_t t = 0; t < it->y.n_tok; t += c.n_tok) {
        c.n_tok = tokens_at_once(it->y.n_tok - t);
        c.x = (const float *)(const void *)kit_act_row(m->act, m->first + t);
        c.y = rows_at(&it->y, t) + row;
        dense->mul(&c);
    }
}

static void mul_piece(void *arg, uint32_t item, uint32_t piece, uint32_t worker)
{
    const struct mul *m = arg;
    if (m->item[item].weight->tern)
        tern_panel(m, &m->item[item], piece, worker);
    else
        dense_group(m, &m->item[item], piece, worker);
}

/* scratch as cpu_mul_scratch has it. */
static void mul_run(struct mul *m, uint32_t n_items, uint8_t *scratch)
{
    m->shape = act_shape(m->d, m->act->kind, m->act->cols);
    m->scratch = scratch + m->d->host->topo->n_workers * sizeof(struct cpu_cursor);
    for (uint32_t n; n_items; n_items -= n, m->item += n) {
        uint32_t pieces[ITEMS];
        uint64_t work = 0;
        n = n_items < ITEMS ? n_items : ITEMS;
        for (uint32_t i = 0; i < n; i++) {
            const bnp_weight *w = m->item[i].weight;
            pieces[i] = w->tern ? w->n_panel : (w->k.rows - 1) / cpu_float(m->d)->dense->rows + 1;
            work += (uint64_t)w->k.rows * w->k.cols * m->item[i].y.n_tok;
        }
        cpu_run_pieces(m->d, work >= PARALLEL_FROM, n, pieces,
                       (struct cpu_cursor *)(void *)scratch, mul_piece, m);
    }
}

void cpu_mul_some(bnp_device *d, const struct kit_act *act, uint32_t first,
                  const bnp_linear_item *item, uint8_t *scratch)
{
    mul_run(&(struct mul){ .d = d, .act = act, .first = first, .item = item }, 1, scratch);
}

int cpu_mul(bnp_stream *s, bnp_span act, uint32_t n_items, const bnp_linear_item *item,
            bnp_span scratch)
{
    int rc = kit_need_step(s, "mul");
    if (rc || !n_items)
        return rc;
    for (uint32_t i = 0; i < n_items; i++) {
        const bnp_weight *w = item[i].weight;
        const uint32_t kind = w->tern ? KIND_INT8 : KIND_F32;
        if ((rc = kit_item_check(s, &w->k, &item[i])) ||
            (rc = kit_need_span(s, "mul: scratch", scratch, weight_scratch(w))))
            return rc;
        if (!kit_act_of(s, act, kind, w->k.cols, item[i].y.n_tok))
            return BNP_E_INVALID;
    }
    mul_run(&(struct mul){ .d = s->dev, .act = span_at(act), .item = item }, n_items,
            span_at(scratch));
    return BNP_OK;
}

/* ----------------------------------------------------------------- gather */

/* Row id of a ternary weight. The codes are unpacked into the last quarter of
 * y's row: the float that is written over a code comes from it or from an
 * earlier one. */
static void tern_row(const bnp_weight *w, uint32_t id, float *y)
{
    const uint32_t rows = w->tern->panel_rows, panel = id / rows, r = id % rows, cols = w->k.cols;
    const int8_t *code = (const int8_t *)(const void *)y + (size_t)cols * 3;
    w->tern->unpack(w->data + panel * w->panel_size, cols, r, (int8_t *)(void *)y + (size_t)cols * 3);
    for (uint32_t b = 0, i = 0; b < w->k.n_block; b++) {
        const bool one = w->k.scale_kind == BNP_SCALE_NONE || w->k.scale_kind == BNP_SCALE_TENSOR;
        const float d = w->scale[one ? 0 : ((size_t)panel * w->k.n_block + b) * rows + r];
        const uint64_t end = (uint64_t)(b + 1) * w->k.block_cols;
        for (; i < cols && i < end; i++) {
            const float f = (float)code[i] * d;
            memcpy((char *)y + (size_t)i * sizeof f, &f, sizeof f);
        }
    }
}

int cpu_gather(bnp_stream *s, const bnp_weight *w, const bnp_rows *y)
{
    const int rc = kit_gather_check(s, &w->k, y);
    if (rc)
        return rc;
    for (uint32_t t = 0; t < y->n_tok; t++) {
        const uint32_t id = (uint32_t)s->step.id[t];
        if (w->tern)
            tern_row(w, id, rows_at(y, t));
        else
            cpu_float(w->k.dev)->dense->row(w->k.format, w->data + id * w->row_size,
                                            w->scale + (size_t)id * w->scale_step, w->k.block_cols,
                                            w->k.cols, rows_at(y, t));
    }
    return BNP_OK;
}

const bnp_linear_ops cpu_linear_ops = {
    .struct_size = sizeof(bnp_linear_ops),
    .query = cpu_query,
    .layout = cpu_layout,
    .prepare = cpu_prepare,
    .adopt = cpu_adopt,
    .release = cpu_release,
    .act_size = cpu_act_size,
    .act_prepare = cpu_act_prepare,
    .mul = cpu_mul,
    .gather = cpu_gather,
    .topk = cpu_topk,
    .adopt_rows = cpu_adopt_rows,
};
