/* private.c - see private.h. */
#include "tools/verify/private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TWIN = 64, GUARD = BNP_SLACK, WAIT_S = 60 };

struct twin {
    const void *base;           /* of the host's span; NULL: free            */
    uint64_t size;
    bnp_span mem;               /* the device's, GUARD bytes longer          */
};

static struct wrapped {
    struct sut *s;              /* NULL: no device is wrapped                */
    bnp_device_ops device;      /* the plugin's own tables                   */
    bnp_linear_ops linear;
    bnp_attn_ops attn;
    bnp_point_ops point;
    struct twin twin[MAX_TWIN];
    bool in_step;
    bnp_step step;              /* the one under way, its arrays below       */
    int32_t id[SUT_MAX_TOK], pos[SUT_MAX_TOK], out[SUT_MAX_TOK];
    int32_t start[SUT_MAX_SEQ + 1], len[SUT_MAX_SEQ], page[SUT_MAX_SEQ * SUT_MAX_PAGES];
} m;

/* rc, or a status of the device: the first that is none of success. */
#define OR(rc, call) ((rc) ? (rc) : (call))

/* -------------------------------------------------------------------- steps */

static int end_and_wait(void)
{
    uint64_t ticket = 0;
    int rc = m.device.step_end(m.s->stream, &ticket);
    if (!rc && m.device.wait)
        rc = m.device.wait(m.s->stream, ticket, WAIT_S * UINT64_C(1000000000));
    return rc;
}

/* All that was submitted is done. A step under way ends and begins anew. */
static int settle(void)
{
    const bnp_step none = { .struct_size = sizeof none };
    int rc = m.in_step ? BNP_OK : m.device.step_begin(m.s->stream, &none);
    rc = OR(rc, end_and_wait());
    if (m.in_step) {
        const int again = m.device.step_begin(m.s->stream, &m.step);
        m.in_step = !again;
        rc = OR(rc, again);
    }
    return rc;
}

/* The same for a call that takes a place in the device's queue: one that is full
 * is waited for. */
static int status;
#define SUBMIT(rc, call) \
    ((rc) ? (rc) : (status = (call)) != BNP_E_BUSY || (status = settle()) ? status : (call))

static const int32_t *keep(int32_t *to, const int32_t *from, size_t n)
{
    if (n)
        memcpy(to, from, n * sizeof *to);
    return to;
}

static int wrap_begin(bnp_stream *stream, const bnp_step *st)
{
    m.step = *st;
    m.step.id = keep(m.id, st->id, st->n_tok);
    m.step.pos = keep(m.pos, st->pos, st->n_tok);
    m.step.out_row = keep(m.out, st->out_row, st->n_out);
    m.step.seq_start = keep(m.start, st->seq_start, st->n_seq ? st->n_seq + 1 : 0);
    m.step.kv_len = keep(m.len, st->kv_len, st->n_seq);
    m.step.page = keep(m.page, st->page, (size_t)st->n_seq * st->max_pages);
    const int rc = m.device.step_begin(stream, st);
    m.in_step = !rc;
    return rc;
}

static int wrap_end(bnp_stream *stream, uint64_t *ticket)
{
    m.in_step = false;
    return m.device.step_end(stream, ticket);
}

/* -------------------------------------------------------------------- twins */

static struct twin *find(const void *base)
{
    for (unsigned i = 0; i < MAX_TWIN; i++)
        if (m.twin[i].base == base)
            return &m.twin[i];
    return NULL;
}

/* The twin of a span that begins at its base; made when there is none. */
static int twin_of(bnp_span host, struct twin **out)
{
    static const unsigned char guard[GUARD];
    struct twin *t = find(host.base);
    *out = t;
    if (t)
        return BNP_OK;
    if (!(t = find(NULL))) {
        fprintf(stderr, "more than %d spans at a time\n", MAX_TWIN);
        exit(2);
    }
    const long n_alloc = m.s->n_alloc;          /* this one is not the plugin's doing */
    const int rc = m.device.mem_alloc(m.s->dev, BNP_MEM_WORK, host.size + GUARD, BNP_ALIGN,
                                      &t->mem);
    m.s->n_alloc = n_alloc;
    if (rc)
        return rc;
    t->base = host.base;
    t->size = host.size;
    *out = t;
    const bnp_span behind = { t->mem.base, t->mem.offset + host.size, GUARD };
    return SUBMIT(rc, m.device.copy_in(m.s->stream, behind, guard));
}

/* The device's side of a span, as it is; with its bytes brought there. */
static int side(bnp_span *s)
{
    struct twin *t;
    if (!s->base || !s->size)
        return BNP_OK;
    const int rc = twin_of(*s, &t);
    if (!rc)
        *s = (bnp_span){ t->mem.base, t->mem.offset + s->offset, s->size };
    return rc;
}

static int bring(bnp_span *s)
{
    const bnp_span host = *s;
    const int rc = side(s);
    const char *from = (const char *)host.base + host.offset;
    return host.size ? SUBMIT(rc, m.device.copy_in(m.s->stream, *s, from)) : rc;
}

/* What the device has of a span comes to the host. */
static int fetch(bnp_span host)
{
    struct twin *t = host.size ? find(host.base) : NULL;
    if (!t)
        return BNP_OK;
    const bnp_span all = { t->mem.base, t->mem.offset, t->size };
    void *to = (void *)(uintptr_t)t->base;
    const int rc = SUBMIT(BNP_OK, m.device.copy_out(m.s->stream, to, all));
    return OR(rc, settle());
}

/* Nobody wrote behind it? What a call did wrong is not judged here. */
static void check_guard(const struct twin *t)
{
    unsigned char guard[GUARD] = { 0 }, dirty = 0;
    const bnp_span behind = { t->mem.base, t->mem.offset + t->size, GUARD };
    if (!SUBMIT(BNP_OK, m.device.copy_out(m.s->stream, guard, behind)))
        (void)settle();
    for (unsigned i = 0; i < GUARD; i++)
        dirty |= guard[i];
    if (dirty)
        sut_scribble();
}

void private_forget(const void *base)
{
    struct twin *t = m.s && base ? find(base) : NULL;
    if (!t)
        return;
    check_guard(t);
    m.device.mem_free(m.s->dev, t->mem);
    t->base = NULL;
}

void private_end(const struct sut *s)
{
    if (m.s != s)
        return;
    for (unsigned i = 0; i < MAX_TWIN; i++)
        private_forget(m.twin[i].base);
    m.s = NULL;
}

/* ------------------------------------------------------------------- linear */

static int wrap_prepare(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                        bnp_span storage, bnp_weight **out)
{
    bnp_span mine = storage;
    int rc = side(&mine);
    rc = OR(rc, m.linear.prepare(d, w, src, mine, out));
    return OR(rc, fetch(storage));
}

/* The bytes must be there before adopt looks at them. */
static int wrap_adopt(bnp_device *d, const bnp_weight_desc *w, bnp_span storage, bnp_weight **out)
{
    int rc = bring(&storage);
    rc = OR(rc, settle());
    return OR(rc, m.linear.adopt(d, w, storage, out));
}

static int wrap_act(bnp_stream *s, uint32_t kind, const bnp_rows *x, bnp_span act)
{
    bnp_rows mine = *x;
    int rc = bring(&mine.mem);
    rc = OR(rc, side(&act));
    rc = SUBMIT(rc, m.linear.act_prepare(s, kind, &mine, act));
    return OR(rc, settle());
}

static int wrap_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                    bnp_span scratch)
{
    bnp_linear_item mine[4];
    int rc = n > 4 ? BNP_E_INTERNAL : side(&act);
    rc = OR(rc, side(&scratch));
    for (uint32_t i = 0; i < n && !rc; i++) {
        mine[i] = item[i];
        rc = bring(&mine[i].y.mem);
    }
    rc = SUBMIT(rc, m.linear.mul(s, act, n, mine, scratch));
    for (uint32_t i = 0; i < n; i++)
        rc = OR(rc, fetch(item[i].y.mem));
    return rc;
}

static int wrap_gather(bnp_stream *s, const bnp_weight *w, const bnp_rows *y)
{
    bnp_rows mine = *y;
    int rc = bring(&mine.mem);
    rc = SUBMIT(rc, m.linear.gather(s, w, &mine));
    return OR(rc, fetch(y->mem));
}

static int wrap_topk(bnp_stream *s, bnp_span act, const bnp_weight *w, const bnp_topk *top,
                     bnp_span scratch)
{
    bnp_topk mine = *top;
    int rc = side(&act);
    rc = OR(rc, side(&scratch));
    rc = OR(rc, bring(&mine.id));
    rc = OR(rc, bring(&mine.logit));
    rc = OR(rc, bring(&mine.n_exact));
    rc = SUBMIT(rc, m.linear.topk(s, act, w, &mine, scratch));
    rc = OR(rc, fetch(top->id));
    rc = OR(rc, fetch(top->logit));
    return OR(rc, fetch(top->n_exact));
}

/* ---------------------------------------------------------------- attention */

static int wrap_append(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *k,
                       const bnp_rows *v)
{
    bnp_rows mine[2] = { *k, *v };
    int rc = side(&pool);
    rc = OR(rc, bring(&mine[0].mem));
    rc = OR(rc, bring(&mine[1].mem));
    rc = SUBMIT(rc, m.attn.append(s, d, pool, &mine[0], &mine[1]));
    return OR(rc, settle());
}

static int wrap_attend(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                       const bnp_rows *out, bnp_span scratch)
{
    bnp_rows mine = *q, to = *out;
    int rc = side(&pool);
    rc = OR(rc, side(&scratch));
    rc = OR(rc, bring(&mine.mem));
    rc = OR(rc, out == q ? BNP_OK : bring(&to.mem));
    rc = SUBMIT(rc, m.attn.attend(s, d, pool, &mine, out == q ? &mine : &to, scratch));
    return OR(rc, fetch(out->mem));
}

/* NULL in the plugin's table says that copying the bytes will do. */
static int copy_page_bytes(bnp_stream *s, bnp_span pool, uint32_t dst, uint32_t src, uint64_t size)
{
    char *page = malloc(size);
    int rc = page ? BNP_OK : BNP_E_NOMEM;
    const bnp_span from = { pool.base, pool.offset + src * size, size };
    rc = SUBMIT(rc, m.device.copy_out(s, page, from));
    rc = OR(rc, settle());
    const bnp_span to = { pool.base, pool.offset + dst * size, size };
    rc = SUBMIT(rc, m.device.copy_in(s, to, page));
    free(page);
    return rc;
}

static int wrap_copy_page(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, uint32_t dst,
                          uint32_t src, uint32_t n_tok)
{
    uint64_t size = 0;
    int rc = side(&pool);
    if (m.attn.copy_page)
        rc = SUBMIT(rc, m.attn.copy_page(s, d, pool, dst, src, n_tok));
    else if (!(rc = OR(rc, m.attn.page_size(m.s->dev, d, &size))))
        rc = copy_page_bytes(s, pool, dst, src, size);
    return OR(rc, settle());
}

/* ---------------------------------------------------------------- pointwise */

static int wrap_norm(bnp_stream *s, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y)
{
    bnp_norm with = *norm;
    bnp_rows from = *x, to = *y;
    int rc = bring(&with.weight);
    rc = OR(rc, bring(&from.mem));
    rc = OR(rc, x == y ? BNP_OK : bring(&to.mem));
    rc = SUBMIT(rc, m.point.rmsnorm(s, &with, &from, x == y ? &from : &to));
    return OR(rc, fetch(y->mem));
}

static int wrap_rope(bnp_stream *s, const bnp_rope *rope, const bnp_rows *x)
{
    bnp_rope with = *rope;
    bnp_rows mine = *x;
    int rc = bring(&with.table);
    rc = OR(rc, bring(&mine.mem));
    rc = SUBMIT(rc, m.point.rope(s, &with, &mine));
    return OR(rc, fetch(x->mem));
}

static int wrap_glu(bnp_stream *s, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                    const bnp_rows *y)
{
    bnp_rows mine[3] = { *gate, *up, *y };
    int rc = BNP_OK;
    for (unsigned i = 0; i < 3; i++)
        rc = OR(rc, bring(&mine[i].mem));
    rc = SUBMIT(rc, m.point.glu(s, f, &mine[0], &mine[1], &mine[2]));
    return OR(rc, fetch(y->mem));
}

static int two(int (*op)(bnp_stream *, const bnp_rows *, const bnp_rows *), bnp_stream *s,
               const bnp_rows *x, const bnp_rows *y)
{
    bnp_rows mine[2] = { *x, *y };
    int rc = bring(&mine[0].mem);
    rc = OR(rc, bring(&mine[1].mem));
    rc = SUBMIT(rc, op(s, &mine[0], &mine[1]));
    return OR(rc, fetch(y->mem));
}

static int wrap_add(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    return two(m.point.add, s, x, y);
}

static int wrap_pick(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    return two(m.point.pick, s, x, y);
}

void private_wrap(struct sut *s)
{
    m = (struct wrapped){ .s = s, .device = s->device, .linear = s->linear, .attn = s->attn,
                          .point = s->point };
    s->device.step_begin = wrap_begin;
    s->device.step_end = wrap_end;
    s->linear.prepare = wrap_prepare;
    s->linear.adopt = wrap_adopt;
    s->linear.act_prepare = wrap_act;
    s->linear.mul = wrap_mul;
    s->linear.gather = wrap_gather;
    s->linear.topk = m.linear.topk ? wrap_topk : NULL;
    s->attn.append = wrap_append;
    s->attn.attend = wrap_attend;
    s->attn.copy_page = wrap_copy_page;
    s->point.rmsnorm = wrap_norm;
    s->point.rope = wrap_rope;
    s->point.glu = wrap_glu;
    s->point.add = wrap_add;
    s->point.pick = wrap_pick;
}
