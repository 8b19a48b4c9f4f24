/* sut.c - see sut.h. */
#include "tools/verify/sut.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/isa.h"
#include "tools/verify/gen.h"
#include "tools/verify/private.h"

static unsigned long n_scribbled;

static void host_log(void *ctx, int level, const char *line)
{
    (void)level;
    fprintf(stderr, "%s: %s\n", ((struct sut *)ctx)->path, line);
}

static void host_report(void *ctx, int status, const char *why)
{
    struct sut *s = ctx;
    s->why_status = status;
    s->n_report++;
    snprintf(s->why, sizeof s->why, "%s", why);
}

static void *host_alloc(void *ctx, size_t size, size_t align, int numa)
{
    (void)numa;
    struct sut *s = ctx;
    if (align < BNP_ALIGN)
        align = BNP_ALIGN;
    const size_t all = (size + BNP_SLACK + align - 1) & ~(align - 1);
    void *p = aligned_alloc(align, all);
    if (p) {
        memset(p, 0, all);
        s->n_alloc++;
        s->n_live++;
    }
    return p;
}

static void host_release(void *ctx, void *p)
{
    ((struct sut *)ctx)->n_live -= p != NULL;
    free(p);
}

static const char *host_option(void *ctx, const char *key)
{
    const struct sut_conf *c = &((struct sut *)ctx)->conf;
    const size_t n = strlen(key);
    for (unsigned i = 0; i < c->n_option; i++)
        if (!strncmp(c->option[i], key, n) && c->option[i][n] == '=')
            return c->option[i] + n + 1;
    return NULL;
}

/* All tasks, once each, in an order that changes from call to call. */
static void host_parallel(void *ctx, uint32_t n, uint32_t flags, bnp_task_fn *fn, void *arg)
{
    (void)flags;
    struct sut *s = ctx;
    if (!n)
        return;
    const uint32_t from = (uint32_t)(gen_u64(42, s->scramble) % n);
    const bool down = gen_u64(43, s->scramble++) & 1;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t t = down ? (from + n - i) % n : (from + i) % n;
        fn(arg, t, t % s->topo.n_workers);
    }
}

static bool open_device(struct sut *s, uint32_t device)
{
    uint32_t n = 0;
    const bool able = (s->topo.isa & s->p->isa_required) == s->p->isa_required;
    if (!able || s->p->device_count(&s->host, &n) || n <= device) {
        snprintf(s->why, sizeof s->why, "%s %u; it has %u with the instruction sets given",
                 able ? "no device" : "needs more for device", device, n);
        s->absent = true;
        return false;
    }
    const bnp_limits lim = { .struct_size = sizeof lim, .max_tok = SUT_MAX_TOK,
                             .max_seq = SUT_MAX_SEQ, .max_pages = SUT_MAX_PAGES,
                             .max_out = SUT_MAX_TOK };
    int rc = s->p->device_open(&s->host, device, &s->dev);
    if (!rc)
        rc = s->p->device->stream_open(s->dev, &lim, &s->stream);
    bnp_device_info info = { .struct_size = sizeof info };
    if (!rc)
        rc = s->p->device_info(s->dev, &info);
    if (rc && !s->why[0])
        snprintf(s->why, sizeof s->why, "device %u cannot be opened: status %d", device, rc);
    if (!rc && !(info.flags & BNP_DEV_HOST_MEM))
        private_wrap(s);
    return !rc;
}

static const void *take(void *mine, size_t size, const void *theirs)
{
    uint32_t n;
    if (!theirs)
        return NULL;
    memcpy(&n, theirs, sizeof n);
    memcpy(mine, theirs, n < size ? n : size);
    return mine;
}

static void take_tables(struct sut *s, const bnp_plugin *theirs)
{
    s->p = take(&s->api, sizeof s->api, theirs);
    s->api.device = take(&s->device, sizeof s->device, theirs->device);
    s->api.linear = take(&s->linear, sizeof s->linear, s->api.linear);
    s->api.attn = take(&s->attn, sizeof s->attn, s->api.attn);
    s->api.point = take(&s->point, sizeof s->point, s->api.point);
}

bool sut_open(struct sut *s, const char *path, const char *fault)
{
    return sut_open_device(s, path, fault, UINT64_MAX, 0);
}

static bool load(struct sut *s, const char *path, const struct sut_conf *conf)
{
    static const uint8_t worker_numa[3];
    s->path = path;
    s->conf = *conf;
    s->topo = (bnp_topo){ .struct_size = sizeof(bnp_topo), .n_workers = 3, .n_numa = 1,
                          .cache_line = 64, .l1d_size = 32768, .l2_size = 1 << 20,
                          .l3_size = 1 << 25, .isa = isa_probe() & conf->isa,
                          .worker_numa = worker_numa };
    s->host = (bnp_host){ .struct_size = sizeof(bnp_host), .abi_major = BNP_ABI_MAJOR,
                          .abi_minor = BNP_ABI_MINOR, .ctx = s, .topo = &s->topo, .log = host_log,
                          .report = host_report, .alloc = host_alloc, .release = host_release,
                          .option = host_option, .parallel = host_parallel };
    s->dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const bnp_plugin *theirs = s->dl ? dlsym(s->dl, "bnp_plugin_v1") : NULL;
    if (!theirs) {
        const char *why = dlerror();
        snprintf(s->why, sizeof s->why, "%s", why ? why : "exports no bnp_plugin_v1");
        return false;
    }
    take_tables(s, theirs);
    return conf->device == SUT_NO_DEVICE || open_device(s, conf->device);
}

bool sut_open_as(struct sut *s, const char *path, const struct sut_conf *conf)
{
    *s = (struct sut){ 0 };
    return load(s, path, conf);
}

bool sut_open_device(struct sut *s, const char *path, const char *fault, uint64_t isa,
                     uint32_t device)
{
    *s = (struct sut){ 0 };
    snprintf(s->fault, sizeof s->fault, "fault=%s", fault ? fault : "");
    s->fault_option = s->fault;
    const struct sut_conf conf = { .option = &s->fault_option, .n_option = fault != NULL,
                                   .isa = isa, .device = device };
    const bool ok = load(s, path, &conf);
    if (!ok)
        fprintf(stderr, "%s: %s\n", path, s->why);
    return ok;
}

unsigned long sut_scribbled(void)
{
    return n_scribbled;
}

void sut_scribble(void)
{
    n_scribbled++;
}

bool sut_close(struct sut *s)
{
    private_end(s);
    if (s->stream)
        s->p->device->stream_close(s->stream);
    if (s->dev)
        s->p->device_close(s->dev);
    if (s->dl)
        dlclose(s->dl);
    if (s->n_live)
        fprintf(stderr, "%s: %ld allocations not released\n", s->path, s->n_live);
    if (n_scribbled)
        fprintf(stderr, "%lu spans were written behind their end\n", n_scribbled);
    return !s->n_live && !n_scribbled;
}

/* In front of a span lies its size, behind it BNP_SLACK bytes. */
bnp_span span_new(uint64_t size)
{
    const size_t all = (size_t)(size + 2 * BNP_SLACK + BNP_ALIGN - 1) / BNP_ALIGN * BNP_ALIGN;
    char *p = aligned_alloc(BNP_ALIGN, all);
    if (!p) {
        fprintf(stderr, "no memory for %zu bytes\n", all);
        exit(2);
    }
    memset(p, 0xff, all);
    memcpy(p, &size, sizeof size);
    return (bnp_span){ .base = p + BNP_ALIGN, .size = size };
}

void span_free(bnp_span s)
{
    if (!s.base)
        return;
    unsigned char *p = (unsigned char *)s.base - BNP_ALIGN, ok = 0xff;
    uint64_t size;
    memcpy(&size, p, sizeof size);
    for (size_t i = 0; i < BNP_SLACK; i++)
        ok &= p[BNP_ALIGN + size + i];
    n_scribbled += ok != 0xff;
    private_forget(s.base);
    free(p);
}

bnp_rows rows_new(uint32_t n_tok, uint32_t cols)
{
    const uint64_t stride = (cols * 4ull + 63) & ~UINT64_C(63);
    return (bnp_rows){ .mem = span_new(n_tok * stride), .stride = stride, .n_tok = n_tok,
                       .cols = cols };
}

float *row_of(const bnp_rows *r, uint32_t row)
{
    return (float *)((char *)r->mem.base + r->mem.offset + row * r->stride);
}

int32_t sut_step_id(uint64_t seed, uint32_t row, uint32_t n_id)
{
    return (int32_t)(gen_u64(seed ^ 0x1d5, row) % n_id);
}

int sut_step(struct sut *s, uint32_t n_tok, uint32_t pos, uint64_t seed, uint32_t n_id)
{
    int32_t id[SUT_MAX_TOK], at[SUT_MAX_TOK], out[SUT_MAX_TOK], page[SUT_MAX_PAGES];
    for (uint32_t r = 0; r < n_tok; r++) {
        id[r] = sut_step_id(seed, r, n_id);
        at[r] = (int32_t)(pos + r);
        out[r] = (int32_t)(n_tok - 1 - r);
    }
    for (int32_t i = 0; i < SUT_MAX_PAGES; i++)
        page[i] = i;
    const int32_t start[2] = { 0, (int32_t)n_tok }, kv_len = (int32_t)(pos + n_tok);
    const bnp_step st = { .struct_size = sizeof st, .n_tok = n_tok, .n_seq = 1,
                          .max_pages = SUT_MAX_PAGES, .n_out = n_tok, .id = id, .pos = at,
                          .seq_start = start, .kv_len = &kv_len, .page = page, .out_row = out };
    return s->p->device->step_begin(s->stream, &st);
}

int sut_step_end(struct sut *s)
{
    uint64_t ticket = 0;
    const int rc = s->p->device->step_end(s->stream, &ticket);
    if (rc || !s->p->device->wait)
        return rc;
    return s->p->device->wait(s->stream, ticket, UINT64_C(60000000000));
}
