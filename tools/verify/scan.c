/* scan.c - see scan.h. libelf over bytes that nobody vouches for: every table
 * is walked by libelf's own counts, every name may be missing. */
#include "tools/verify/scan.h"

#include <gelf.h>
#include <libelf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/file.h"
#include "tools/verify/forbidden.h"

#define FILE_LIMIT ((size_t)256 << 20)
#define COUNT(a)   (sizeof(a) / sizeof *(a))

struct scan {
    Elf *elf;
    scan_say *say;
    void *ctx;
    bool instrumented;            /* a sanitizer or gcov calls what it likes   */
    bool shows_plugin, bound_now;
    bool has_driver;              /* its note says: a device that is no CPU    */
};

__attribute__((format(printf, 2, 3)))
static void found(struct scan *s, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    s->say(s->ctx, line);
}

static bool listed(const char *name, size_t n, const char *const *list, size_t n_list)
{
    for (size_t i = 0; i < n_list; i++)
        if (!strncmp(name, list[i], n) && !list[i][n])
            return true;
    return false;
}

static bool is_math(const char *name)
{
    const size_t n = strlen(name);
    if (listed(name, n, forbidden_math, COUNT(forbidden_math)))
        return true;
    return n > 1 && (name[n - 1] == 'f' || name[n - 1] == 'l') &&
           listed(name, n - 1, forbidden_math, COUNT(forbidden_math));
}

static void judge_export(struct scan *s, const char *name, unsigned type)
{
    if (strcmp(name, "bnp_plugin_v1"))
        found(s, "exports %s, only bnp_plugin_v1 may be seen", name);
    else if (type != STT_OBJECT)
        found(s, "bnp_plugin_v1 is not data");
    else
        s->shows_plugin = true;
}

static void judge_call(struct scan *s, const char *name)
{
    if (listed(name, strlen(name), forbidden, COUNT(forbidden)) ||
        (!s->has_driver && listed(name, strlen(name), forbidden_loader, COUNT(forbidden_loader))))
        found(s, "calls %s, which the contract forbids", name);
    else if (is_math(name))
        found(s, "calls %s of libm, whose bits differ from machine to machine", name);
    else if (listed(name, strlen(name), forbidden_cpu, COUNT(forbidden_cpu)))
        found(s, "asks the processor (%s): what it may use is in host->topo->isa", name);
}

/* Names of the dynamic table are judged as exports and calls; of the local one
 * only processor queries, which a compiler's library may have put in. */
static void judge_symbol(struct scan *s, const GElf_Sym *sym, const char *name, bool dynamic)
{
    const unsigned bind = GELF_ST_BIND(sym->st_info), type = GELF_ST_TYPE(sym->st_info);
    if (type == STT_FILE || type == STT_SECTION)
        return;
    if (!dynamic) {
        if (sym->st_shndx != SHN_UNDEF &&
            listed(name, strlen(name), forbidden_cpu, COUNT(forbidden_cpu)))
            found(s, "contains %s: it asks the processor, what it may use is in host->topo->isa",
                  name);
    } else if (sym->st_shndx == SHN_UNDEF) {
        judge_call(s, name);
    } else if (bind == STB_GLOBAL || bind == STB_WEAK || bind == STB_GNU_UNIQUE) {
        judge_export(s, name, type);
    }
}

typedef void symbol_fn(struct scan *s, const GElf_Sym *sym, const char *name, bool dynamic);

static void look_for_tools(struct scan *s, const GElf_Sym *sym, const char *name, bool dynamic)
{
    static const char *const of[] = { "__asan_", "__tsan_", "__ubsan_", "__msan_", "__gcov_",
                                      "__llvm_profile_", "__sanitizer_" };
    (void)sym;
    (void)dynamic;
    for (size_t i = 0; i < COUNT(of); i++)
        s->instrumented = s->instrumented || !strncmp(name, of[i], strlen(of[i]));
}

/* What the note says of the device; nothing said is a CPU. */
static void look_for_driver(struct scan *s)
{
    size_t names;
    if (elf_getshdrstrndx(s->elf, &names))
        return;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(s->elf, scn));) {
        GElf_Shdr h;
        const char *name = gelf_getshdr(scn, &h) ? elf_strptr(s->elf, names, h.sh_name) : NULL;
        const Elf_Data *d = name && !strcmp(name, BNP_NOTE_SECTION) ? elf_getdata(scn, NULL) : NULL;
        bnp_note note;
        if (!d || !d->d_buf || d->d_size < sizeof note)
            continue;
        memcpy(&note, d->d_buf, sizeof note);
        s->has_driver = note.device_kind == BNP_DEV_GPU || note.device_kind == BNP_DEV_OTHER;
    }
}

static void each_symbol(struct scan *s, symbol_fn *fn)
{
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(s->elf, scn));) {
        GElf_Shdr h;
        if (!gelf_getshdr(scn, &h) || (h.sh_type != SHT_DYNSYM && h.sh_type != SHT_SYMTAB))
            continue;
        Elf_Data *d = elf_getdata(scn, NULL);
        for (int i = 1; d && (size_t)i < d->d_size / sizeof(Elf64_Sym); i++) {
            GElf_Sym sym;
            const char *name = gelf_getsym(d, i, &sym)
                ? elf_strptr(s->elf, h.sh_link, sym.st_name) : NULL;
            if (name && *name)
                fn(s, &sym, name, h.sh_type == SHT_DYNSYM);
        }
    }
}

static bool allowed_library(const char *name)
{
    return !strcmp(name, "libc.so.6") || !strncmp(name, "ld-linux", 8);
}

static void judge_dynamic(struct scan *s, const GElf_Dyn *d, const char *text)
{
    if (d->d_tag == DT_NEEDED && !allowed_library(text))
        found(s, "needs %s, only the C library may be needed", text);
    else if (d->d_tag == DT_RPATH || d->d_tag == DT_RUNPATH)
        found(s, "has a run path %s", text);
    else if (d->d_tag == DT_TEXTREL)
        found(s, "has text relocations");
    else if (d->d_tag == DT_INIT || d->d_tag == DT_INIT_ARRAY || d->d_tag == DT_FINI ||
             d->d_tag == DT_FINI_ARRAY)
        found(s, "has code that runs when it is %s: link it with -nostartfiles and without "
              "constructors", d->d_tag == DT_INIT || d->d_tag == DT_INIT_ARRAY ? "loaded" : "unloaded");
    s->bound_now = s->bound_now || d->d_tag == DT_BIND_NOW ||
                   (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_BIND_NOW) ||
                   (d->d_tag == DT_FLAGS_1 && d->d_un.d_val & DF_1_NOW);
}

static void scan_dynamic(struct scan *s)
{
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(s->elf, scn));) {
        GElf_Shdr h;
        if (!gelf_getshdr(scn, &h) || h.sh_type != SHT_DYNAMIC)
            continue;
        Elf_Data *data = elf_getdata(scn, NULL);
        for (int i = 0; data && (size_t)i < data->d_size / sizeof(Elf64_Dyn); i++) {
            GElf_Dyn d;
            if (!gelf_getdyn(data, i, &d) || d.d_tag == DT_NULL)
                break;
            const bool text = d.d_tag == DT_NEEDED || d.d_tag == DT_RPATH || d.d_tag == DT_RUNPATH;
            const char *name = text ? elf_strptr(s->elf, h.sh_link, d.d_un.d_val) : NULL;
            judge_dynamic(s, &d, name ? name : "(no name)");
        }
    }
    if (!s->bound_now)
        found(s, "is bound lazily, link it with -z now");
}

static void scan_segments(struct scan *s)
{
    size_t n = 0;
    if (elf_getphdrnum(s->elf, &n))
        return;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr h;
        if (gelf_getphdr(s->elf, (int)i, &h) && h.p_type == PT_GNU_STACK && h.p_flags & PF_X)
            found(s, "asks for an executable stack");
    }
}

int scan_file(const char *path, scan_say *say, void *ctx, struct err *e)
{
    char *bytes = NULL;
    size_t n = 0;
    const int rc = file_read(path, FILE_LIMIT, &bytes, &n, e);
    if (rc)
        return rc;
    struct scan s = { .say = say, .ctx = ctx };
    if (elf_version(EV_CURRENT) != EV_NONE)
        s.elf = elf_memory(bytes, n);
    if (!s.elf || elf_kind(s.elf) != ELF_K_ELF) {
        elf_end(s.elf);
        free(bytes);
        return err_set(e, ERR_DATA, "%s: not an ELF file, expected a shared object", path);
    }
    each_symbol(&s, look_for_tools);
    look_for_driver(&s);
    if (!s.instrumented) {
        each_symbol(&s, judge_symbol);
        if (!s.shows_plugin)
            found(&s, "bnp_plugin_v1 is not an exported data symbol");
        scan_dynamic(&s);
        scan_segments(&s);
    }
    elf_end(s.elf);
    free(bytes);
    return 0;
}
