/* hostsvc.c - the services of bnp_host, [any thread].
 *
 * What plugins say is foreign text: it is kept on one line, in valid UTF-8 and
 * of bounded length before anybody quotes it. */
#include "core/plug/hostsvc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/utf8.h"

/* Copies what fits of text; bytes that are no printable character become '?'. */
static void copy_clean(char *out, size_t size, const char *text)
{
    size_t at = 0;
    const size_t n = strnlen(text, 4 * size);
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        len = utf8_decode(text + i, n - i, &cp);
        const bool bad = !len || cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
        const char *piece = bad ? "?" : text + i;
        const size_t piece_size = bad ? 1 : len;
        if (!len)
            len = 1;
        if (at + piece_size >= size)
            break;
        memcpy(out + at, piece, piece_size);
        at += piece_size;
    }
    out[at] = 0;
}

static void host_log(void *ctx, int level, const char *line)
{
    const struct hostsvc *h = ctx;
    char text[1024];
    copy_clean(text, sizeof text, line ? line : "");
    if (level < BNP_LOG_ERROR || level > BNP_LOG_DEBUG)
        level = BNP_LOG_INFO;
    log_line((enum log_level)level, "%s: %s", h->id, text);
}

static void host_report(void *ctx, int status, const char *why)
{
    struct hostsvc *h = ctx;
    (void)status;                         /* the caller gets it as the result  */
    pthread_mutex_lock(&h->lock);
    copy_clean(h->said, sizeof h->said, why ? why : "");
    pthread_mutex_unlock(&h->lock);
}

static void *host_alloc(void *ctx, size_t size, size_t align, int numa)
{
    struct hostsvc *h = ctx;
    return mem_get(&h->mem, size, align, numa);
}

static void host_release(void *ctx, void *p)
{
    struct hostsvc *h = ctx;
    mem_put(&h->mem, p);
}

static const char *host_option(void *ctx, const char *key)
{
    const struct hostsvc *h = ctx;
    return h->option && key ? h->option(h->option_ctx, h->id, key) : NULL;
}

static void host_parallel(void *ctx, uint32_t n_tasks, uint32_t flags, bnp_task_fn *fn, void *arg)
{
    const struct hostsvc *h = ctx;
    workers_run(h->workers, n_tasks, flags, fn, arg);
}

int hostsvc_open(struct hostsvc **out, const char *id, struct plug *plug,
                 const struct plug_opts *opts, struct err *e)
{
    struct hostsvc *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h || pthread_mutex_init(&h->lock, NULL)) {
        free(h);
        return err_set(e, ERR_NOMEM, "%s: no memory for its host services", id);
    }
    snprintf(h->id, sizeof h->id, "%s", id);
    h->workers = plug->workers;
    h->mem.topo = &plug->topo;
    h->option = opts->option;
    h->option_ctx = opts->option_ctx;
    h->abi = (bnp_host){
        .struct_size = sizeof(bnp_host), .abi_major = BNP_ABI_MAJOR, .abi_minor = BNP_ABI_MINOR,
        .ctx = h, .topo = &plug->topo.abi, .log = host_log, .report = host_report,
        .alloc = host_alloc, .release = host_release, .option = host_option,
        .parallel = host_parallel,
    };
    *out = h;
    return 0;
}

void hostsvc_close(struct hostsvc *h)
{
    if (!h)
        return;
    const uint64_t n = atomic_load(&h->mem.n);
    if (n)
        log_warn("%s: closed, but %ju pieces of host memory (%ju bytes) were not released", h->id,
                 (uintmax_t)n, (uintmax_t)atomic_load(&h->mem.size));
    pthread_mutex_destroy(&h->lock);
    free(h);
}
