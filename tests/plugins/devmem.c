/* devmem.c - the families of devmem.h: what is set up happens at once, what is
 * submitted becomes a record with real spans. */
#include "devmem.h"

#include <string.h>

#define DEVMEM_ID      "org.bitnetd.test.devmem"
#define DEVMEM_VERSION "1"

BNP_NOTE(DEVMEM_ID, DEVMEM_VERSION, 0, BNP_DEV_OTHER, BNP_FAM_LINEAR | BNP_FAM_ATTN | BNP_FAM_POINT)

/* ------------------------------------------------------------------- setup */

static int device_count(const bnp_host *host, uint32_t *n)
{
    (void)host;
    *n = N_DEVICE;
    return BNP_OK;
}

static int device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    struct mem_device *d = host->alloc(host->ctx, sizeof *d, BNP_ALIGN, -1);
    *out = NULL;
    if (!d) {
        host->report(host->ctx, BNP_E_NOMEM, "no memory for the device");
        return BNP_E_NOMEM;
    }
    d->kit = (bnp_device){ .host = host, .index = index };
    d->host_mem = queue_number(d, "host-memory");
    *out = &d->kit;
    return BNP_OK;
}

static void device_close(bnp_device *d)
{
    d->host->release(d->host->ctx, d);
}

static int device_info(bnp_device *d, bnp_device_info *info)
{
    const uint64_t size = queue_number(mem_dev(d), "mem-size");
    bnp_device_info mine = { .kind = BNP_DEV_OTHER, .mem_size = size ? size : UINT64_C(1) << 30 };
    memcpy(mine.name, "private memory, late", sizeof "private memory, late");
    if (mem_dev(d)->host_mem) {
        memcpy(mine.name, "host memory, late", sizeof "host memory, late");
        mine.flags = BNP_DEV_HOST_MEM;
        mine.mem_size = 0;
    }
    sized_fill(info, &mine, sizeof mine);
    return BNP_OK;
}

static int own_storage(bnp_device *d, bnp_span *storage)
{
    if (mem_dev(d)->lost)
        return kit_fail(d, BNP_E_DEVICE, "the device is lost");
    if (block_real(mem_dev(d), storage))
        return BNP_OK;
    return kit_fail(d, BNP_E_INVALID, "storage that is not this device's memory");
}

static int prepare(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                   bnp_span storage, bnp_weight **out)
{
    const int rc = own_storage(d, &storage);
    return rc ? rc : ref_linear_prepare(d, w, src, storage, out);
}

static int adopt(bnp_device *d, const bnp_weight_desc *w, bnp_span storage, bnp_weight **out)
{
    const int rc = own_storage(d, &storage);
    return rc ? rc : ref_linear_adopt(d, w, storage, out);
}

/* ------------------------------------------------------------------ submit */

static int family(struct mem_stream *s, const char *what, enum op op, struct record **r)
{
    if (!s->in_step)
        return kit_fail(&s->dev->kit, BNP_E_INVALID, "%s: outside a step", what);
    return queue_take(s, op, 3, r);
}

static int act_prepare(bnp_stream *stream, uint32_t kind, const bnp_rows *x, bnp_span act)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    bnp_rows from = *x;
    int rc = queue_rows(s, "act_prepare: x", &from);
    if (rc || (rc = queue_span(s, "act_prepare: act", &act)) ||
        (rc = family(s, "act_prepare", OP_ACT, &r)))
        return rc;
    r->u.act.kind = kind;
    r->u.act.x = from;
    r->u.act.act = act;
    queue_push(s);
    return BNP_OK;
}

static int mul(bnp_stream *stream, bnp_span act, uint32_t n, const bnp_linear_item *item,
               bnp_span scratch)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    if (n > MAX_ITEM)
        return kit_fail(&s->dev->kit, BNP_E_INVALID, "mul: %u weights at once, expected at most %d",
                        n, MAX_ITEM);
    int rc = queue_span(s, "mul: act", &act);
    for (uint32_t i = 0; i < n && !rc; i++) {
        bnp_rows y = item[i].y;
        rc = queue_rows(s, "mul: y", &y);
    }
    if (rc || (rc = queue_span(s, "mul: scratch", &scratch)) || (rc = family(s, "mul", OP_MUL, &r)))
        return rc;
    r->u.mul.act = act;
    r->u.mul.scratch = scratch;
    r->u.mul.n = n;
    for (uint32_t i = 0; i < n; i++) {
        r->u.mul.item[i] = item[i];
        (void)queue_rows(s, "mul: y", &r->u.mul.item[i].y);    /* asked above */
    }
    queue_push(s);
    return BNP_OK;
}

static int gather(bnp_stream *stream, const bnp_weight *w, const bnp_rows *y)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    bnp_rows to = *y;
    int rc = queue_rows(s, "gather: y", &to);
    if (rc || (rc = family(s, "gather", OP_GATHER, &r)))
        return rc;
    r->u.gather.w = w;
    r->u.gather.y = to;
    queue_push(s);
    return BNP_OK;
}

static int topk(bnp_stream *stream, bnp_span act, const bnp_weight *w, const bnp_topk *top,
                bnp_span scratch)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    bnp_topk t = *top;
    int rc = queue_span(s, "topk: act", &act);
    if (rc || (rc = queue_span(s, "topk: scratch", &scratch)) ||
        (rc = queue_span(s, "topk: id", &t.id)) || (rc = queue_span(s, "topk: logit", &t.logit)) ||
        (rc = queue_span(s, "topk: n_exact", &t.n_exact)) || (rc = family(s, "topk", OP_TOPK, &r)))
        return rc;
    r->u.topk.act = act;
    r->u.topk.scratch = scratch;
    r->u.topk.w = w;
    r->u.topk.top = t;
    queue_push(s);
    return BNP_OK;
}

static int attention(bnp_stream *stream, const char *what, enum op op, const bnp_attn_desc *d,
                     bnp_span pool, const bnp_rows *a, const bnp_rows *b, bnp_span scratch)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    bnp_rows x = *a, y = *b;
    int rc = queue_span(s, what, &pool);
    if (rc || (rc = queue_span(s, what, &scratch)) || (rc = queue_rows(s, what, &x)) ||
        (rc = queue_rows(s, what, &y)) || (rc = family(s, what, op, &r)))
        return rc;
    r->u.attn.d = *d;
    r->u.attn.pool = pool;
    r->u.attn.scratch = scratch;
    r->u.attn.a = x;
    r->u.attn.b = y;
    queue_push(s);
    return BNP_OK;
}

static int append(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *k,
                  const bnp_rows *v)
{
    return attention(s, "append", OP_APPEND, d, pool, k, v, (bnp_span){ 0 });
}

static int attend(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                  const bnp_rows *out, bnp_span scratch)
{
    return attention(s, "attend", OP_ATTEND, d, pool, q, out, scratch);
}

static int copy_page(bnp_stream *stream, const bnp_attn_desc *d, bnp_span pool, uint32_t dst,
                     uint32_t src, uint32_t n_tok)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    int rc = queue_span(s, "copy_page", &pool);
    if (rc || (rc = family(s, "copy_page", OP_COPY_PAGE, &r)))
        return rc;
    r->u.page.d = *d;
    r->u.page.pool = pool;
    r->u.page.dst = dst;
    r->u.page.src = src;
    r->u.page.n_tok = n_tok;
    queue_push(s);
    return BNP_OK;
}

/* b and c may be NULL. */
static int point_take(struct mem_stream *s, const char *what, enum op op, const bnp_rows *a,
                      const bnp_rows *b, const bnp_rows *c, struct record **out)
{
    bnp_rows x = *a, y = b ? *b : x, z = c ? *c : x;
    int rc = queue_rows(s, what, &x);
    if (rc || (rc = queue_rows(s, what, &y)) || (rc = queue_rows(s, what, &z)) ||
        (rc = family(s, what, op, out)))
        return rc;
    (*out)->u.point.a = x;
    (*out)->u.point.b = y;
    (*out)->u.point.c = z;
    return BNP_OK;
}

static int rmsnorm(bnp_stream *stream, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    bnp_span weight = norm->weight;
    int rc = queue_span(s, "rmsnorm: weight", &weight);
    if (rc || (rc = point_take(s, "rmsnorm", OP_NORM, x, y, NULL, &r)))
        return rc;
    r->u.point.norm = *norm;
    r->u.point.norm.weight = weight;
    queue_push(s);
    return BNP_OK;
}

static int rope(bnp_stream *stream, const bnp_rope *rp, const bnp_rows *x)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    bnp_span table = rp->table;
    int rc = queue_span(s, "rope: table", &table);
    if (rc || (rc = point_take(s, "rope", OP_ROPE, x, NULL, NULL, &r)))
        return rc;
    r->u.point.rope = *rp;
    r->u.point.rope.table = table;
    queue_push(s);
    return BNP_OK;
}

static int glu(bnp_stream *stream, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
               const bnp_rows *y)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    const int rc = point_take(s, "glu", OP_GLU, gate, up, y, &r);
    if (rc)
        return rc;
    r->u.point.f = f;
    queue_push(s);
    return BNP_OK;
}

static int add(bnp_stream *stream, const bnp_rows *x, const bnp_rows *y)
{
    struct record *r;
    const int rc = point_take(mem_stream(stream), "add", OP_ADD, x, y, NULL, &r);
    if (!rc)
        queue_push(mem_stream(stream));
    return rc;
}

static int pick(bnp_stream *stream, const bnp_rows *x, const bnp_rows *y)
{
    struct record *r;
    const int rc = point_take(mem_stream(stream), "pick", OP_PICK, x, y, NULL, &r);
    if (!rc)
        queue_push(mem_stream(stream));
    return rc;
}

static const bnp_linear_ops linear = {
    .struct_size = sizeof(bnp_linear_ops), .query = ref_linear_query, .layout = ref_linear_layout,
    .prepare = prepare, .adopt = adopt, .release = ref_linear_release, .act_size = ref_act_size,
    .act_prepare = act_prepare, .mul = mul, .gather = gather, .topk = topk,
};

static const bnp_attn_ops attn = {
    .struct_size = sizeof(bnp_attn_ops), .query = ref_attn_query, .page_size = ref_attn_page_size,
    .append = append, .attend = attend, .copy_page = copy_page,
};

static const bnp_point_ops point = {
    .struct_size = sizeof(bnp_point_ops), .query = ref_point_query, .rmsnorm = rmsnorm,
    .rope = rope, .glu = glu, .add = add, .pick = pick,
};

const bnp_plugin bnp_plugin_v1 = {
    .struct_size = sizeof(bnp_plugin), .abi_major = BNP_ABI_MAJOR, .abi_minor = BNP_ABI_MINOR,
    .min_host_minor = BNP_MIN_HOST_MINOR, .id = DEVMEM_ID, .version = DEVMEM_VERSION,
    .build = "test", .device_count = device_count, .device_open = device_open,
    .device_close = device_close, .device_info = device_info, .device = &mem_device_ops,
    .linear = &linear, .attn = &attn, .point = &point,
};
