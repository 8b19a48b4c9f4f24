/* plug.c - the registry: one directory, its files in order of their names.
 *
 * Every file becomes an entry. What goes wrong with a file is that entry's
 * reason, and the next file is looked at. scalar-ref is opened before the
 * others, because they are tested against it. */
#include "core/plug/plug.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/path.h"
#include "core/plug/device.h"
#include "core/plug/hostsvc.h"
#include "core/plug/loader.h"
#include "core/plug/probe.h"

#define ENTRY_MAX 1024u           /* plugin files in a directory               */

#ifndef BITNET_LIBDIR             /* GNUInstallDirs, as this was built         */
#define BITNET_LIBDIR "lib"
#endif

int plug_default_dir(char *out, size_t n)
{
    static const char *const candidates[] = {
        "../" BITNET_LIBDIR "/bitnet/plugins",
        "../lib/bitnet/plugins",
    };
    return path_beside_exe(candidates, 2, out, n);
}

const char *plug_state_name(enum plug_state state)
{
    static const char *const name[] = { "rejected", "available", "active" };
    return name[state];
}

const char *plug_call_name(enum dev_call call)
{
    static const char *const name[DEV_N_CALL] = {
        "linear", "attention", "pointwise", "copy", "wait"
    };
    return (unsigned)call < DEV_N_CALL ? name[call] : "?";
}

const char *plug_det_name(uint32_t det)
{
    static const char *const name[] = { "-", "exact", "stable", "bounded" };
    return det < sizeof name / sizeof name[0] ? name[det] : "unknown";
}

static const char *status_name(int status)
{
    static const char *const name[] = {
        "no error", "not supported", "the call breaks the contract", "out of memory",
        "impossible weights", "a NaN or Inf in the input", "queue full", "device lost",
        "the plugin's own invariant failed",
    };
    const int i = -status;
    return i >= 0 && i < (int)(sizeof name / sizeof name[0]) ? name[i] : "an unknown status";
}

const char *plug_reported(struct plug_entry *p, int status, char out[256])
{
    struct hostsvc *h = p->host;
    out[0] = 0;
    if (h) {
        pthread_mutex_lock(&h->lock);
        memcpy(out, h->said, sizeof h->said);
        h->said[0] = 0;
        pthread_mutex_unlock(&h->lock);
    }
    if (!out[0])
        snprintf(out, 256, "%s (%d)", status_name(status), status);
    return out;
}

int plug_fail(struct plug_entry *p, int status, const char *what, struct err *e)
{
    static const int code[] = {
        ERR_INTERNAL, ERR_UNSUPPORTED, ERR_INTERNAL, ERR_NOMEM, ERR_DATA, ERR_NUMERIC, ERR_PLUGIN,
        ERR_DEVICE, ERR_PLUGIN,
    };
    char said[256];
    const int i = -status;
    const int c = i >= 0 && i < (int)(sizeof code / sizeof code[0]) ? code[i] : ERR_PLUGIN;
    return err_set(e, c, "%s: %s: %s", p->note.raw.id, what, plug_reported(p, status, said));
}

void *plug_mem_alloc(struct plug *plug, uint64_t size, uint64_t align)
{
    return mem_get(&plug->mem, size, align, -1);
}

void plug_mem_free(struct plug *plug, void *p)
{
    mem_put(&plug->mem, p);
}

/* The reason stands beside the file's name or id, so a text that begins with
 * either loses it. */
static void reject(struct plug_entry *p, const struct err *e)
{
    const char *text = e->text;
    const char *const prefix[] = { p->file, p->note.raw.id };
    for (size_t i = 0; i < 2; i++) {
        const size_t n = strlen(prefix[i]);
        if (n && !strncmp(text, prefix[i], n) && text[n] == ':' && text[n + 1] == ' ')
            text += n + 2;
    }
    snprintf(p->reason, sizeof p->reason, "%.*s", (int)sizeof p->reason - 1, text);
    p->state = PLUG_REJECTED;
}

static int is_plugin_name(const struct dirent *d)
{
    const size_t n = strlen(d->d_name);
    return n > 3 && d->d_name[0] != '.' && !strcmp(d->d_name + n - 3, ".so");
}

/* Bytes, not the locale's order: the same list everywhere. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_entry(struct plug *plug, const char *dir, const char *file, struct err *e)
{
    struct plug_entry *p = calloc(1, sizeof *p);
    if (!p || asprintf(&p->path, "%s/%s", dir, file) < 0) {
        free(p);
        return err_set(e, ERR_NOMEM, "%s: no memory for the entry of %s", dir, file);
    }
    p->file = strrchr(p->path, '/') + 1;
    plug->entry[plug->n_entry++] = p;
    return 0;
}

static int list_files(struct plug *plug, const char *dir, int dirfd, struct err *e)
{
    struct dirent **found = NULL;
    const int n = scandirat(dirfd, ".", &found, is_plugin_name, by_name);
    if (n < 0)
        return err_set(e, ERR_IO, "%s: cannot read the plugin directory: %s", dir, strerror(errno));
    int rc = 0;
    plug->entry = calloc((size_t)n + 1, sizeof(struct plug_entry *));
    if (!plug->entry)
        rc = err_set(e, ERR_NOMEM, "%s: no memory for %d entries", dir, n);
    else if (n > (int)ENTRY_MAX)
        rc = err_set(e, ERR_LIMIT, "%s: %d plugin files, at most %u are possible", dir, n,
                     ENTRY_MAX);
    for (int i = 0; i < n; i++) {
        if (!rc)
            rc = add_entry(plug, dir, found[i]->d_name, e);
        free(found[i]);
    }
    free(found);
    return rc;
}

static int check_wanted(const struct plug *plug, const struct plug_entry *p,
                        const struct plug_opts *o, struct err *e)
{
    const char *id = p->note.raw.id;
    if (o->only && o->only[0] && strcmp(id, o->only) && strcmp(id, PLUG_REF_ID))
        return err_set(e, ERR_ARG, "%s: not loaded: only %s was asked for", p->file, o->only);
    for (unsigned i = 0; i < plug->n_entry && plug->entry[i] != p; i++)
        if (plug->entry[i]->state != PLUG_REJECTED && !strcmp(plug->entry[i]->note.raw.id, id))
            return err_set(e, ERR_PLUGIN, "%s: its id %s is already taken by %s", p->file, id,
                           plug->entry[i]->file);
    return 0;
}

static int bring_in(struct plug *plug, struct plug_entry *p, const struct plug_opts *o, int dirfd,
                    struct err *e)
{
    struct loader_file f = { .fd = -1 };
    int rc = loader_open(&f, p, dirfd, e);
    if (!rc)
        rc = loader_note(p, &f, plug->topo.abi.isa, e);
    if (!rc)
        rc = check_wanted(plug, p, o, e);
    if (!rc)
        rc = hostsvc_open(&p->host, p->note.raw.id, plug, o, e);
    if (!rc)
        rc = loader_load(p, &f, e);
    loader_close(&f);
    if (!rc)
        p->state = PLUG_AVAILABLE;
    return rc;
}

static void open_devices(struct plug *plug, const struct plug_opts *o, bool ref)
{
    for (unsigned i = 0; i < plug->n_entry; i++) {
        struct plug_entry *p = plug->entry[i];
        struct err why = { 0 };
        if (p->state == PLUG_REJECTED || !strcmp(p->note.raw.id, PLUG_REF_ID) != ref)
            continue;
        if (device_open_all(plug, p, !o->no_test, &why))
            reject(p, &why);
    }
}

static int scan(struct plug *plug, const struct plug_opts *o, struct err *e)
{
    char dir[PATH_MAX];
    struct stat st;
    if (!realpath(o->dir, dir))
        return err_set(e, ERR_IO, "%s: cannot open the plugin directory: %s", o->dir,
                       strerror(errno));
    const int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return err_set(e, ERR_IO, "%s: cannot open the plugin directory: %s", dir, strerror(errno));
    int rc = fstat(dirfd, &st) ? err_set(e, ERR_IO, "%s: cannot stat: %s", dir, strerror(errno))
                               : loader_check_owner(&st, dir, "plugin directory", e);
    if (!rc)
        rc = list_files(plug, dir, dirfd, e);
    for (unsigned i = 0; i < plug->n_entry && !rc; i++) {
        struct err why = { 0 };
        if (bring_in(plug, plug->entry[i], o, dirfd, &why))
            reject(plug->entry[i], &why);
    }
    close(dirfd);
    return rc;
}

/* Adds scalar-ref's device behind the others; without it, says why not. */
static int place_ref(struct plug *plug, const struct plug_opts *o, struct err *e)
{
    if (plug->ref) {
        struct dev **grown = realloc(plug->dev, (plug->n_dev + 1) * sizeof(struct dev *));
        if (!grown)
            return err_set(e, ERR_NOMEM, "%s: no memory for its device", PLUG_REF_ID);
        plug->dev = grown;
        plug->dev[plug->n_dev++] = plug->ref;
        return 0;
    }
    if (!o->need_ref)
        return 0;
    for (unsigned i = 0; i < plug->n_entry; i++)
        if (plug->entry[i]->has_note && !strcmp(plug->entry[i]->note.raw.id, PLUG_REF_ID))
            return err_set(e, ERR_PLUGIN, "%s: the reference plugin, which defines every right "
                           "answer, is not usable: %s", plug->entry[i]->path,
                           plug->entry[i]->reason);
    return err_set(e, ERR_PLUGIN, "%s: no usable plugin %s here, which defines every right answer: "
                   "install scalar-ref.so", o->dir, PLUG_REF_ID);
}

int plug_open(struct plug **out, const struct plug_opts *o, struct err *e)
{
    *out = NULL;
    struct plug *plug = calloc(1, sizeof *plug);
    if (!plug || !(plug->known = known_open())) {
        free(plug);
        return err_set(e, ERR_NOMEM, "plugins: no memory for the registry");
    }
    int rc = topo_open(&plug->topo, o->n_threads, o->bind, o->isa_mask, e);
    plug->mem.topo = &plug->topo;
    if (!rc)
        rc = workers_open(&plug->workers, &plug->topo, e);
    if (!rc)
        rc = scan(plug, o, e);
    if (!rc) {
        open_devices(plug, o, true);
        open_devices(plug, o, false);
        rc = place_ref(plug, o, e);
    }
    if (rc) {
        plug_close(plug);
        return rc;
    }
    *out = plug;
    return 0;
}

void plug_close(struct plug *plug)
{
    if (!plug)
        return;
    bool ref_listed = false;
    for (unsigned i = 0; i < plug->n_dev; i++) {
        ref_listed = ref_listed || plug->dev[i] == plug->ref;
        device_close(plug->dev[i]);
    }
    if (!ref_listed)
        device_close(plug->ref);
    free(plug->dev);
    for (unsigned i = 0; i < plug->n_entry; i++) {
        struct plug_entry *p = plug->entry[i];
        hostsvc_close(p->host);
        loader_unload(p);
        free(p->path);
        free(p);
    }
    free(plug->entry);
    known_close(plug->known);
    workers_close(plug->workers);
    topo_close(&plug->topo);
    free(plug);
}
