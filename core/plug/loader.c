/* loader.c - deciding from the outside whether a file may come in, then
 * letting it in, then checking what it says about itself.
 *
 * The file is opened once and judged by that descriptor; dlopen gets the path,
 * because debuggers, profilers and sanitizers name a library by it, and
 * because the C library takes two libraries of one name for one. The file
 * that was loaded must be the one that was judged: device and inode are
 * compared right before and right after. Only root and this user can write
 * the directory, so nobody else can slip a file in between. */
#include "core/plug/loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/plug/isa.h"

#define TABLE_MAX (64u << 10)     /* bytes; a larger struct_size is garbage    */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEP_LOADED 1             /* reports at exit need the symbols          */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define KEEP_LOADED 1
#endif
#endif

int loader_check_owner(const struct stat *st, const char *name, const char *what, struct err *e)
{
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return err_set(e, ERR_ARG, "%s: this %s belongs to user %u, expected root or user %u", name,
                       what, (unsigned)st->st_uid, (unsigned)geteuid());
    if (st->st_mode & 022)
        return err_set(e, ERR_ARG, "%s: others may write this %s (mode %04o), expected that only "
                       "its owner can: chmod go-w", name, what, (unsigned)st->st_mode & 07777);
    return 0;
}

int loader_open(struct loader_file *f, const struct plug_entry *p, int dirfd, struct err *e)
{
    /* O_NONBLOCK: a FIFO in the file's place must be refused, not waited for. */
    f->fd = openat(dirfd, p->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (f->fd < 0 && errno == ELOOP)
        return err_set(e, ERR_ARG, "%s: a symbolic link, expected the file itself", p->file);
    if (f->fd < 0)
        return err_set(e, ERR_IO, "%s: cannot open: %s", p->file, strerror(errno));
    if (fstat(f->fd, &f->st))
        return err_set(e, ERR_IO, "%s: cannot stat: %s", p->file, strerror(errno));
    if (!S_ISREG(f->st.st_mode))
        return err_set(e, ERR_ARG, "%s: not a regular file, expected a shared object", p->file);
    return loader_check_owner(&f->st, p->file, "file", e);
}

void loader_close(struct loader_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static int check_isa(const struct plug_entry *p, uint64_t usable, struct err *e)
{
    char need[96], have[96];
    const uint64_t missing = p->note.isa & ~usable, cpu = isa_probe();
    if (!missing)
        return 0;
    isa_format(p->note.isa, need, sizeof need);
    isa_format(usable, have, sizeof have);
    if (missing & ~cpu)
        return err_set(e, ERR_UNSUPPORTED, "%s: needs %s, this CPU has %s", p->file, need, have);
    return err_set(e, ERR_UNSUPPORTED, "%s: needs %s, the configuration leaves %s of this CPU",
                   p->file, need, have);
}

int loader_note(struct plug_entry *p, const struct loader_file *f, uint64_t isa, struct err *e)
{
    const int rc = note_read(&p->note, f->fd, p->file, e);
    if (rc)
        return rc;
    p->has_note = true;
    const struct bnp_note *n = &p->note.raw;
    if (n->abi_major != BNP_ABI_MAJOR)
        return err_set(e, ERR_UNSUPPORTED, "%s: plugin wants ABI %u.%u, this bitnetd speaks %u.%u",
                       p->file, n->abi_major, n->abi_minor, BNP_ABI_MAJOR, BNP_ABI_MINOR);
    if (n->min_host_minor > BNP_ABI_MINOR)
        return err_set(e, ERR_UNSUPPORTED, "%s: plugin wants a host of ABI %u.%u or later, this "
                       "bitnetd speaks %u.%u", p->file, n->abi_major, n->min_host_minor,
                       BNP_ABI_MAJOR, BNP_ABI_MINOR);
    if (n->device_kind < BNP_DEV_CPU || n->device_kind > BNP_DEV_OTHER)
        return err_set(e, ERR_UNSUPPORTED, "%s: device kind %u is unknown, expected %u (cpu), %u "
                       "(gpu) or %u (other)", p->file, n->device_kind, BNP_DEV_CPU, BNP_DEV_GPU,
                       BNP_DEV_OTHER);
    return check_isa(p, isa, e);
}

static bool same_file(const char *path, const struct loader_file *f)
{
    struct stat st;
    return !lstat(path, &st) && st.st_dev == f->st.st_dev && st.st_ino == f->st.st_ino;
}

/* One of the plugin's tables as today's host knows it: what an older plugin
 * lacks is zero, what a newer one adds is left behind. All tables begin with
 * struct_size and hold pointers, so a true size is a multiple of 8. */
static int take_table(const struct plug_entry *p, const char *what, const void *src, void *dst,
                      size_t size, size_t least, struct err *e)
{
    uint32_t theirs;
    memcpy(&theirs, src, sizeof theirs);
    if (theirs < least || theirs > TABLE_MAX || theirs % 8)
        return err_set(e, ERR_PLUGIN, "%s: table %s says it has %u bytes, expected at least %zu, at "
                       "most %u, a multiple of 8", p->file, what, theirs, least, TABLE_MAX);
    memset(dst, 0, size);
    memcpy(dst, src, theirs < size ? theirs : size);
    return 0;
}

/* A table reaches at least to the end of its last field that must be set. */
#define END(type, field) (offsetof(type, field) + sizeof((type *)0)->field)
#define PLUGIN_MIN END(bnp_plugin, point)
#define DEVICE_MIN END(bnp_device_ops, step_end)
#define LINEAR_MIN END(bnp_linear_ops, gather)
#define ATTN_MIN   END(bnp_attn_ops, attend)
#define POINT_MIN  END(bnp_point_ops, pick)

static int take_tables(struct plug_entry *p, const bnp_plugin *src, struct err *e)
{
    int rc = take_table(p, "plugin", src, &p->api, sizeof p->api, PLUGIN_MIN, e);
    if (rc)
        return rc;
    if (!p->api.device)
        return err_set(e, ERR_PLUGIN, "%s: the table of device functions is missing (NULL)",
                       p->file);
    const struct {
        const char *what;
        const void *src;
        void *dst;
        size_t size, least;
    } part[] = {
        { "device", p->api.device, &p->device, sizeof p->device, DEVICE_MIN },
        { "linear", p->api.linear, &p->linear, sizeof p->linear, LINEAR_MIN },
        { "attn", p->api.attn, &p->attn, sizeof p->attn, ATTN_MIN },
        { "point", p->api.point, &p->point, sizeof p->point, POINT_MIN },
    };
    for (size_t i = 0; i < sizeof part / sizeof part[0] && !rc; i++)
        if (part[i].src)
            rc = take_table(p, part[i].what, part[i].src, part[i].dst, part[i].size, part[i].least,
                            e);
    return rc;
}

static int differ(const struct plug_entry *p, const char *field, struct err *e)
{
    return err_set(e, ERR_PLUGIN, "%s: its note and its table differ in %s: rebuild it with the "
                   "same facts in BNP_NOTE and bnp_plugin_v1", p->file, field);
}

static int compare_note(const struct plug_entry *p, struct err *e)
{
    const bnp_plugin *a = &p->api;
    const struct bnp_note *n = &p->note.raw;
    const uint32_t known = BNP_FAM_LINEAR | BNP_FAM_ATTN | BNP_FAM_POINT;
    const uint32_t families = (a->linear ? BNP_FAM_LINEAR : 0u) | (a->attn ? BNP_FAM_ATTN : 0u) |
                              (a->point ? BNP_FAM_POINT : 0u);
    if (!a->id || strncmp(a->id, n->id, sizeof n->id))
        return differ(p, "id", e);
    if (!a->version || strncmp(a->version, n->version, sizeof n->version))
        return differ(p, "version", e);
    if (a->abi_major != n->abi_major || a->abi_minor != n->abi_minor)
        return differ(p, "ABI version", e);
    if (a->min_host_minor != n->min_host_minor)
        return differ(p, "min_host_minor", e);
    if (a->isa_required != p->note.isa)
        return differ(p, "isa_required", e);
    if (families != (n->families & known))
        return differ(p, "families", e);
    return 0;
}

/* Every function that the header does not call optional. Whether a device has
 * memory of its own, and so needs the functions for it, shows at device_open. */
static int check_functions(const struct plug_entry *p, struct err *e)
{
    const bnp_plugin *a = &p->api;
    const struct {
        const char *name;
        bool wanted, there;
    } fn[] = {
        { "plugin.device_count", true, a->device_count },
        { "plugin.device_open", true, a->device_open },
        { "plugin.device_close", true, a->device_close },
        { "plugin.device_info", true, a->device_info },
        { "device.stream_open", true, p->device.stream_open },
        { "device.stream_close", true, p->device.stream_close },
        { "device.step_begin", true, p->device.step_begin },
        { "device.step_end", true, p->device.step_end },
        { "linear.query", a->linear, p->linear.query },
        { "linear.layout", a->linear, p->linear.layout },
        { "linear.prepare", a->linear, p->linear.prepare },
        { "linear.release", a->linear, p->linear.release },
        { "linear.act_size", a->linear, p->linear.act_size },
        { "linear.act_prepare", a->linear, p->linear.act_prepare },
        { "linear.mul", a->linear, p->linear.mul },
        { "linear.gather", a->linear, p->linear.gather },
        { "attn.query", a->attn, p->attn.query },
        { "attn.page_size", a->attn, p->attn.page_size },
        { "attn.append", a->attn, p->attn.append },
        { "attn.attend", a->attn, p->attn.attend },
        { "point.query", a->point, p->point.query },
        { "point.rmsnorm", a->point, p->point.rmsnorm },
        { "point.rope", a->point, p->point.rope },
        { "point.glu", a->point, p->point.glu },
        { "point.add", a->point, p->point.add },
        { "point.pick", a->point, p->point.pick },
    };
    for (size_t i = 0; i < sizeof fn / sizeof fn[0]; i++)
        if (fn[i].wanted && !fn[i].there)
            return err_set(e, ERR_PLUGIN, "%s: %s is missing (NULL), the ABI requires it", p->file,
                           fn[i].name);
    return 0;
}

static int load(struct plug_entry *p, const struct loader_file *f, struct err *e)
{
    if (!same_file(p->path, f))
        return err_set(e, ERR_IO, "%s: replaced while it was being read: start again", p->file);
    (void)workers_float_env();
    p->dl = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
    if (!p->dl) {
        const char *why = dlerror();
        return err_set(e, ERR_PLUGIN, "%s: cannot load: %s", p->file, why ? why : "no reason given");
    }
    if (!same_file(p->path, f))
        return err_set(e, ERR_IO, "%s: replaced while it was being loaded: start again", p->file);
    if (workers_float_env())
        return err_set(e, ERR_PLUGIN, "%s: changed the floating-point environment when loaded "
                       "(linked with -ffast-math?): results could differ", p->file);
    const bnp_plugin *src = dlsym(p->dl, "bnp_plugin_v1");
    if (!src)
        return err_set(e, ERR_PLUGIN, "%s: exports no symbol bnp_plugin_v1", p->file);
    int rc = take_tables(p, src, e);
    if (!rc)
        rc = compare_note(p, e);
    if (!rc)
        rc = check_functions(p, e);
    return rc;
}

int loader_load(struct plug_entry *p, const struct loader_file *f, struct err *e)
{
    const int rc = load(p, f, e);
    if (rc)
        loader_unload(p);
    return rc;
}

void loader_unload(struct plug_entry *p)
{
#ifndef KEEP_LOADED
    if (p->dl)
        dlclose(p->dl);
#endif
    p->dl = NULL;
    memset(&p->api, 0, sizeof p->api);
}
