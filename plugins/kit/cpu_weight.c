/* cpu_weight.c - weights of a CPU plugin: what is offered, how large it is, and
 * taking it in.
 *
 * Storage of a ternary weight: its panels, then its scales in the order in
 * which panels use them. Of a dense one: the canonical rows on 64 bytes each,
 * unless the source keeps them, then the scales, then the screen of a head. No
 * pointers, so the host may keep it in a file, and hands it to adopt, or to
 * adopt_rows when rows are elsewhere; screen_right looks at a screen there.
 *
 * Workers read, check and pack the panels that they will multiply with. The
 * first row that may not be is remembered, and named by the caller. */
#include "plugins/kit/cpu.h"

#include <stdatomic.h>
#include <string.h>

#include "plugins/kit/topk.h"

#define DENSE_LAYOUT  UINT64_C(0x64656e73652d7231)  /* "dense-r1" */
#define PLACE_LAYOUT  UINT64_C(0x64656e73652d7031)  /* "dense-p1": in place */
#define SCREEN_LAYOUT UINT64_C(0x64656e73652d7331)  /* "dense-s1": and a screen */

/* ------------------------------------------------------------------ shape */

struct shape {                  /* bytes, but for n_panel and n_scale        */
    uint32_t n_panel;
    uint64_t panel_size, row_size, data_size, n_scale, size;
    uint64_t screen;            /* offset; 0: none                           */
};

static bool is_ternary(const bnp_weight_desc *w)
{
    return w->format == BNP_FMT_T2;
}

static uint32_t n_block(const bnp_weight_desc *w)
{
    return w->scale_kind == BNP_SCALE_BLOCK ? (w->cols - 1) / w->block_cols + 1 : 1;
}

static bool in_place(const bnp_weight_desc *w)
{
    return (w->flags & BNP_W_IN_PLACE) && !is_ternary(w);
}

static struct shape shape_of(const bnp_device *d, const bnp_weight_desc *w)
{
    struct shape s = { .row_size = align_up(kit_row_bytes(w), BNP_ALIGN) };
    if (is_ternary(w)) {
        const struct tern *t = d->variant->tern;
        const bool one = w->scale_kind == BNP_SCALE_NONE || w->scale_kind == BNP_SCALE_TENSOR;
        s.n_panel = (w->rows - 1) / t->panel_rows + 1;
        s.panel_size = t->panel_size(w->cols);
        s.data_size = s.n_panel * s.panel_size;
        s.n_scale = one ? 1 : (uint64_t)s.n_panel * t->panel_rows * n_block(w);
    } else {
        s.data_size = in_place(w) ? 0 : w->rows * s.row_size;
        s.n_scale = w->format != BNP_FMT_I8 ? 0 : kit_n_scales(w) ? kit_n_scales(w) : 1;
    }
    s.size = s.data_size + align_up(s.n_scale * sizeof(float), BNP_ALIGN);
    if (!s.size)
        s.size = BNP_ALIGN;                     /* a span of nothing is no span */
    if (screen_wanted(d, w)) {
        s.screen = s.size;
        s.size += screen_size(w);
    }
    return s;
}

/* Beyond what no plugin could: what this device does not do. */
static int check(bnp_device *d, const bnp_weight_desc *w)
{
    const int rc = kit_desc_check(d, w);
    if (rc)
        return rc;
    if (!is_ternary(w))
        return cpu_first(d) && cpu_float(d)->dense ? BNP_OK : BNP_E_UNSUPPORTED;
    const struct tern *t = d->variant->tern;
    if (!t || ((w->flags & BNP_W_PLUS2) && !t->plus2))
        return BNP_E_UNSUPPORTED;
    return n_block(w) > 1 && w->block_cols % t->step ? BNP_E_UNSUPPORTED : BNP_OK;
}

int cpu_query(bnp_device *d, const bnp_weight_desc *w, bnp_offer *offer)
{
    const int rc = check(d, w);
    if (rc)
        return rc;
    const uint64_t mul = cpu_mul_scratch(d, w), topk = cpu_topk_scratch(d, w);
    const bnp_offer mine = { .det = BNP_DET_EXACT, .scratch_size = mul > topk ? mul : topk };
    sized_fill(offer, &mine, sizeof mine);
    return BNP_OK;
}

/* 0: not to be kept. A copy of rows is not kept with a screen beside it: hosts of
 * today leave rows in place. */
static uint64_t layout_id(const bnp_device *d, const bnp_weight_desc *w, const struct shape *s)
{
    if (is_ternary(w))
        return d->variant->tern->layout;
    if (!in_place(w))
        return s->screen ? 0 : DENSE_LAYOUT;
    return d->host->abi_minor < 2 ? 0 : s->screen ? SCREEN_LAYOUT : PLACE_LAYOUT;
}

int cpu_layout(bnp_device *d, const bnp_weight_desc *w, bnp_weight_layout *layout)
{
    const int rc = check(d, w);
    if (rc)
        return rc;
    const struct shape s = shape_of(d, w);
    const bnp_weight_layout mine = {
        .act_kind = cpu_act_kind(d, w),
        .size = s.size,
        .align = BNP_ALIGN,
        .layout_id = layout_id(d, w, &s),
    };
    sized_fill(layout, &mine, sizeof mine);
    return BNP_OK;
}

/* ---------------------------------------------------------------- filling */

enum fault { FAULT_ROWS, FAULT_SCALES, FAULT_SCALE, FAULT_ROW };

struct fill {
    bnp_device *d;
    const bnp_weight_desc *w;
    const bnp_weight_src *src;
    struct shape s;
    uint8_t *data;
    float *scale;
    struct cpu_screen *screen;  /* NULL: none                                */
    uint8_t *tmp;               /* tmp_size for every worker                 */
    uint64_t tmp_size;
    _Atomic(uint64_t) fault;    /* row << 2 | enum fault; the lowest         */
    _Atomic(int) status;        /* what the source said                      */
};

static bool set_fault(struct fill *f, uint32_t row, enum fault what, int status)
{
    const uint64_t mine = (uint64_t)row << 2 | (unsigned)what;
    uint64_t seen = atomic_load(&f->fault);
    while (mine < seen && !atomic_compare_exchange_weak(&f->fault, &seen, mine))
        ;
    if (status)
        atomic_store(&f->status, status);
    return false;
}

/* n rows from row first on into rows, each as it may be. */
static bool read_rows(struct fill *f, uint32_t first, uint32_t n, uint8_t *rows)
{
    const int st = f->src->read_rows(f->src->ctx, first, n, rows, f->s.row_size);
    if (st)
        return set_fault(f, first, FAULT_ROWS, st);
    for (uint32_t r = 0; r < n; r++)
        if (!kit_row_ok(f->w, rows + r * f->s.row_size))
            return set_fault(f, first + r, FAULT_ROW, 0);
    return true;
}

/* The scales of rows first .. first+n-1, from [row][block] to [block][row]. */
static bool panel_scales(struct fill *f, uint32_t first, uint32_t n, float *tmp)
{
    const uint32_t nb = n_block(f->w), rows = f->d->variant->tern->panel_rows;
    if (f->w->scale_kind != BNP_SCALE_ROW && f->w->scale_kind != BNP_SCALE_BLOCK)
        return true;
    const int st = f->src->read_scales(f->src->ctx, (uint64_t)first * nb, (uint64_t)n * nb, tmp);
    if (st)
        return set_fault(f, first, FAULT_SCALES, st);
    const int64_t bad = row_not_finite(tmp, n * nb);
    if (bad >= 0)
        return set_fault(f, first + (uint32_t)bad / nb, FAULT_SCALE, 0);
    float *to = f->scale + (uint64_t)first * nb;        /* first is a multiple of rows */
    for (uint32_t b = 0; b < nb; b++)
        for (uint32_t r = 0; r < rows; r++)
            to[(uint64_t)b * rows + r] = r < n ? tmp[(uint64_t)r * nb + b] : 0.0f;
    return true;
}

static bool fill_panel(struct fill *f, uint32_t panel, uint8_t *tmp)
{
    const struct tern *t = f->d->variant->tern;
    const uint32_t first = panel * t->panel_rows, left = f->w->rows - first;
    const uint32_t n = left < t->panel_rows ? left : t->panel_rows;
    const uint64_t size = f->s.row_size * t->panel_rows;
    memset(tmp + n * f->s.row_size, 0x55, size - n * f->s.row_size);
    if (!read_rows(f, first, n, tmp) || !panel_scales(f, first, n, (float *)(void *)(tmp + size)))
        return false;
    t->pack(tmp, f->s.row_size, f->w->cols, f->data + panel * f->s.panel_size);
    return true;
}

static void fill_panels(void *arg, uint32_t worker, uint32_t n_workers)
{
    struct fill *f = arg;
    const uint32_t end = cpu_share(f->s.n_panel, worker + 1, n_workers);
    for (uint32_t p = cpu_share(f->s.n_panel, worker, n_workers); p < end; p++)
        if (!fill_panel(f, p, f->tmp + worker * f->tmp_size))
            return;
}

/* Dense rows, as many at a time as the screen has in a panel. */
static bool fill_group(struct fill *f, uint32_t group, uint8_t *tmp)
{
    const uint32_t first = group * SCREEN_ROWS, left = f->w->rows - first;
    const uint32_t n = left < SCREEN_ROWS ? left : SCREEN_ROWS;
    uint8_t *rows = in_place(f->w) ? tmp : f->data + first * f->s.row_size;
    if (!read_rows(f, first, n, rows))
        return false;
    if (f->screen)
        screen_fill(f->d, f->w, f->screen, group, rows, n, f->s.row_size,
                    tmp + SCREEN_ROWS * f->s.row_size);
    return true;
}

static void fill_rows(void *arg, uint32_t worker, uint32_t n_workers)
{
    struct fill *f = arg;
    const uint32_t n_group = (f->w->rows - 1) / SCREEN_ROWS + 1;
    const uint32_t end = cpu_share(n_group, worker + 1, n_workers);
    for (uint32_t g = cpu_share(n_group, worker, n_workers); g < end; g++)
        if (!fill_group(f, g, f->tmp + worker * f->tmp_size))
            return;
}

/* Scales that come in the canonical order: one for all, or dense rows'. */
static int plain_scales(struct fill *f)
{
    const uint64_t n = kit_n_scales(f->w);
    if (!n && f->s.n_scale)
        f->scale[0] = 1.0f;
    if (!n || (is_ternary(f->w) && f->w->scale_kind != BNP_SCALE_TENSOR))
        return BNP_OK;                          /* none, or panel_scales reads them */
    const int st = f->src->read_scales(f->src->ctx, 0, n, f->scale);
    return st ? kit_fail(f->d, st, "%s: its %llu scales could not be read", kit_weight_name(f->w),
                         (unsigned long long)n)
              : BNP_OK;
}

/* The one report of what the workers found; row is read again for its words. */
static int name_fault(struct fill *f)
{
    const uint64_t fault = atomic_load(&f->fault);
    const uint32_t row = (uint32_t)(fault >> 2);
    const char *name = kit_weight_name(f->w);
    switch ((enum fault)(fault & 3)) {
    case FAULT_ROWS:
        return kit_fail(f->d, atomic_load(&f->status), "%s: rows from %u on could not be read",
                        name, row);
    case FAULT_SCALES:
        return kit_fail(f->d, atomic_load(&f->status), "%s: scales of rows from %u on could not "
                        "be read", name, row);
    case FAULT_SCALE:
        return kit_fail(f->d, BNP_E_DATA, "%s: row %u has a scale that is NaN or Inf", name, row);
    case FAULT_ROW:
        break;
    }
    const int st = f->src->read_rows(f->src->ctx, row, 1, f->tmp, f->s.row_size);
    const int rc = st ? BNP_OK : kit_row_check(f->d, f->w, f->tmp, row);
    return rc ? rc : kit_fail(f->d, BNP_E_DATA, "%s: row %u changed while it was read", name, row);
}

static int fill(struct fill *f)
{
    const uint32_t n_workers = f->d->host->topo->n_workers;
    const uint32_t rows = is_ternary(f->w) ? f->d->variant->tern->panel_rows : SCREEN_ROWS;
    const uint64_t more = is_ternary(f->w) ? (uint64_t)rows * n_block(f->w) * sizeof(float)
                                           : screen_tmp_size(f->w);
    int rc = plain_scales(f);
    if (rc)
        return rc;
    f->tmp_size = align_up(f->s.row_size * rows + more, BNP_ALIGN);
    f->tmp = f->d->host->alloc(f->d->host->ctx, f->tmp_size * n_workers, BNP_ALIGN, -1);
    if (!f->tmp)
        return kit_fail(f->d, BNP_E_NOMEM, "%s: no memory to pack it", kit_weight_name(f->w));
    atomic_init(&f->fault, UINT64_MAX);
    atomic_init(&f->status, 0);
    if (f->screen)
        screen_begin(f->screen, f->w);
    cpu_run(f->d, true, is_ternary(f->w) ? fill_panels : fill_rows, f);
    if (atomic_load(&f->fault) != UINT64_MAX)
        rc = name_fault(f);
    else if (f->screen)
        screen_end(f->screen);
    f->d->host->release(f->d->host->ctx, f->tmp);
    return rc;
}

/* ----------------------------------------------------------------- handle */

static int handle(const struct fill *f, bnp_weight **out)
{
    bnp_device *d = f->d;
    const bnp_weight_desc *w = f->w;
    const struct shape s = f->s;
    const int rc = kit_scales_check(d, w, f->scale, 0, s.n_scale);
    if (rc)
        return rc;
    bnp_weight *h = d->host->alloc(d->host->ctx, sizeof *h, BNP_ALIGN, -1);
    if (!h)
        return kit_fail(d, BNP_E_NOMEM, "%s: no memory for its handle", kit_weight_name(w));
    kit_weight_fill(&h->k, d, w);
    h->tern = is_ternary(w) ? d->variant->tern : NULL;
    h->n_panel = s.n_panel;
    h->panel_size = s.panel_size;
    h->data = in_place(w) ? f->src->rows : f->data;
    h->row_size = in_place(w) ? f->src->row_stride : s.row_size;
    h->scale = f->scale;
    h->screen = f->screen;
    h->scale_step = s.n_scale > 1 ? h->k.n_block : 0;
    *out = h;
    return BNP_OK;
}

/* Rows that stay where they are must be there, and be large enough. */
static int source_check(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                        const struct shape *s)
{
    if (!src && (in_place(w) || s->screen))
        return kit_fail(d, BNP_E_INVALID, "%s: adopt: its layout had no id", kit_weight_name(w));
    if (in_place(w) && (!BNP_HAS(src, bnp_weight_src, row_stride) || !src->rows ||
                        src->row_stride < kit_row_bytes(w)))
        return kit_fail(d, BNP_E_INVALID, "%s: described as in place, its source has no rows, or "
                        "less than %u bytes for each", kit_weight_name(w), kit_row_bytes(w));
    return BNP_OK;
}

/* A screen that was kept is held against the rows that it is said to be of. */
static int check_screen(struct fill *f)
{
    const uint64_t size = screen_check_size(f->w);
    uint8_t *tmp = f->d->host->alloc(f->d->host->ctx, size, BNP_ALIGN, -1);
    if (!tmp)
        return kit_fail(f->d, BNP_E_NOMEM, "%s: no memory to check its screen",
                        kit_weight_name(f->w));
    const bool right = screen_right(f->d, f->w, f->screen, f->src->rows, f->src->row_stride, tmp);
    f->d->host->release(f->d->host->ctx, tmp);
    return right ? BNP_OK : kit_fail(f->d, BNP_E_DATA, "%s: its kept screen is not of these rows",
                                     kit_weight_name(f->w));
}

/* filled: as an earlier prepare left it. src NULL: rows, if any, are in there. */
static int weight_open(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                       bnp_span storage, bool filled, bnp_weight **out)
{
    *out = NULL;
    int rc = check(d, w);
    if (rc)
        return rc;
    struct fill f = { .d = d, .w = w, .src = src, .s = shape_of(d, w) };
    const char *why = span_wrong(storage, f.s.size);
    if (why)
        return kit_fail(d, BNP_E_INVALID, "%s: storage: %s (%llu bytes, expected %llu)",
                        kit_weight_name(w), why, (unsigned long long)storage.size,
                        (unsigned long long)f.s.size);
    f.data = span_at(storage);
    f.scale = (float *)(void *)(f.data + f.s.data_size);
    f.screen = f.s.screen ? (struct cpu_screen *)(void *)(f.data + f.s.screen) : NULL;
    if ((rc = source_check(d, w, src, &f.s)) || (!filled && (rc = fill(&f))) ||
        (filled && f.screen && (rc = check_screen(&f))))
        return rc;
    return handle(&f, out);
}

int cpu_prepare(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                bnp_span storage, bnp_weight **out)
{
    return weight_open(d, w, src, storage, false, out);
}

int cpu_adopt(bnp_device *d, const bnp_weight_desc *w, bnp_span storage, bnp_weight **out)
{
    return weight_open(d, w, NULL, storage, true, out);
}

int cpu_adopt_rows(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                   bnp_span storage, bnp_weight **out)
{
    *out = NULL;
    if (!src || !in_place(w))
        return kit_fail(d, BNP_E_INVALID, "%s: adopt_rows: not a weight in place",
                        kit_weight_name(w));
    return weight_open(d, w, src, storage, true, out);
}

void cpu_release(bnp_weight *h)
{
    if (h)
        h->k.dev->host->release(h->k.dev->host->ctx, h);
}
