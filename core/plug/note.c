/* note.c - reading the ELF note with libelf, from bytes that nobody vouches for.
 *
 * The file is read into memory once, so what was checked is what was read.
 * The section .note.bitnet is looked for first; a file whose section table was
 * stripped still has the note in a PT_NOTE segment, where the linker's build
 * id is in any case. */
#include "core/plug/note.h"

#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX  ((uint64_t)256 << 20)   /* bytes of a plugin file            */
#define NOTES_MAX ((uint64_t)64 << 10)    /* bytes of one note section         */
#define PARTS_MAX 4096u                   /* sections or segments looked at    */

#define DESC_SIZE ((uint32_t)(sizeof(struct bnp_note) - offsetof(struct bnp_note, abi_major)))

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#define MACHINE EM_NONE
#endif

struct search {
    const char *name;             /* of the file                               */
    Elf *elf;
    uint64_t size;                /* of the file                               */
    uint64_t at;                  /* file offset of the note found             */
    unsigned n_found;
    struct note *out;
};

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_X86_64:
        return "x86-64";
    case EM_AARCH64:
        return "AArch64";
    case EM_386:
        return "i386";
    case EM_ARM:
        return "32-bit ARM";
    case EM_RISCV:
        return "RISC-V";
    default:
        return "another machine";
    }
}

static int check_header(struct search *s, struct err *e)
{
    GElf_Ehdr h;
    if (elf_kind(s->elf) != ELF_K_ELF || !gelf_getehdr(s->elf, &h))
        return err_set(e, ERR_DATA, "%s: not an ELF file, expected a shared object", s->name);
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB)
        return err_set(e, ERR_DATA, "%s: not a 64-bit little-endian ELF file", s->name);
    if (h.e_machine != MACHINE)
        return err_set(e, ERR_UNSUPPORTED, "%s: built for %s (ELF machine %u), this is %s", s->name,
                       machine_name(h.e_machine), h.e_machine, machine_name(MACHINE));
    if (h.e_type != ET_DYN)
        return err_set(e, ERR_DATA, "%s: ELF type %u, expected a shared object (3)", s->name,
                       h.e_type);
    return 0;
}

/* Takes the bitnet notes among the notes at [offset, offset + size). A note
 * met twice, by section and by segment, counts once. */
static int scan_notes(struct search *s, uint64_t offset, uint64_t size, bool align8, struct err *e)
{
    if (!size)
        return 0;
    if (offset > s->size || size > s->size - offset)
        return err_set(e, ERR_DATA, "%s: a note section reaches beyond the end of the file",
                       s->name);
    if (size > NOTES_MAX)
        return 0;                         /* not ours: ours is under 200 bytes */
    Elf_Data *d = elf_getdata_rawchunk(s->elf, (int64_t)offset, size,
                                       align8 ? ELF_T_NHDR8 : ELF_T_NHDR);
    GElf_Nhdr h;
    size_t at = 0, name_at, desc_at;
    while (d && (at = gelf_getnote(d, at, &h, &name_at, &desc_at)) > 0) {
        const char *bytes = d->d_buf;
        if (h.n_namesz == sizeof ELF_NOTE_GNU && h.n_type == NT_GNU_BUILD_ID && h.n_descsz &&
            h.n_descsz <= sizeof s->out->build / 2 &&
            !memcmp(bytes + name_at, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU))
            sodium_bin2hex(s->out->build, sizeof s->out->build,
                           (const unsigned char *)bytes + desc_at, h.n_descsz);
        if (h.n_namesz != sizeof BNP_NOTE_NAME || h.n_type != BNP_NOTE_TYPE ||
            memcmp(bytes + name_at, BNP_NOTE_NAME, sizeof BNP_NOTE_NAME))
            continue;
        if (s->n_found && s->at == offset + desc_at)
            continue;
        if (s->n_found++)
            return err_set(e, ERR_DATA, "%s: more than one bitnet note, expected exactly one",
                           s->name);
        if (h.n_descsz != DESC_SIZE)
            return err_set(e, ERR_DATA, "%s: its bitnet note holds %u bytes, expected %u", s->name,
                           h.n_descsz, DESC_SIZE);
        s->at = offset + desc_at;
        s->out->raw = (struct bnp_note){ .name_size = h.n_namesz, .desc_size = h.n_descsz,
                                         .type = h.n_type, .name = BNP_NOTE_NAME };
        memcpy(&s->out->raw.abi_major, bytes + desc_at, DESC_SIZE);
    }
    return 0;
}

static int by_section(struct search *s, struct err *e)
{
    size_t names;
    unsigned seen = 0;
    if (elf_getshdrstrndx(s->elf, &names))
        return 0;
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(s->elf, scn)) && seen < PARTS_MAX; seen++) {
        GElf_Shdr h;
        if (!gelf_getshdr(scn, &h) || h.sh_type == SHT_NOBITS)
            continue;
        const char *name = elf_strptr(s->elf, names, h.sh_name);
        if (!name || strcmp(name, BNP_NOTE_SECTION))
            continue;
        const int rc = scan_notes(s, h.sh_offset, h.sh_size, false, e);
        if (rc)
            return rc;
    }
    return 0;
}

static int by_segment(struct search *s, struct err *e)
{
    size_t n;
    if (elf_getphdrnum(s->elf, &n))
        return 0;
    for (size_t i = 0; i < n && i < PARTS_MAX; i++) {
        GElf_Phdr h;
        if (!gelf_getphdr(s->elf, (int)i, &h) || h.p_type != PT_NOTE)
            continue;
        const int rc = scan_notes(s, h.p_offset, h.p_filesz, h.p_align == 8, e);
        if (rc)
            return rc;
    }
    return 0;
}

static bool good_id(const char id[64])
{
    const size_t n = strnlen(id, 64);
    return n && n < 64 && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n;
}

static bool good_version(const char v[32])
{
    const size_t n = strnlen(v, 32);
    for (size_t i = 0; i < n; i++)
        if (v[i] < 0x20 || v[i] > 0x7e)
            return false;
    return n < 32;
}

static int check_note(const struct search *s, struct err *e)
{
    if (!s->n_found)
        return err_set(e, ERR_DATA, "%s: no bitnet note (section " BNP_NOTE_SECTION
                       "): not a bitnet plugin, or built without BNP_NOTE", s->name);
    if (!good_id(s->out->raw.id))
        return err_set(e, ERR_DATA, "%s: the id in its note is empty, too long, or has bytes other "
                       "than a-z 0-9 . -", s->name);
    if (!good_version(s->out->raw.version))
        return err_set(e, ERR_DATA, "%s: the version in its note is not printable ASCII of at most "
                       "31 bytes", s->name);
    return 0;
}

static int search(struct search *s, struct err *e)
{
    int rc = check_header(s, e);
    if (!rc)
        rc = by_section(s, e);
    if (!rc)
        rc = by_segment(s, e);
    if (!rc)
        rc = check_note(s, e);
    if (!rc)
        s->out->isa = (uint64_t)s->out->raw.isa_hi << 32 | s->out->raw.isa_lo;
    return rc;
}

static void name_by_bytes(struct note *out, const void *p, size_t n)
{
    unsigned char sum[32];
    crypto_generichash(sum, sizeof sum, p, n, NULL, 0);
    sodium_bin2hex(out->build, sizeof out->build, sum, sizeof sum);
}

int note_read_mem(struct note *out, const void *p, size_t n, const char *name, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (n < sizeof(Elf64_Ehdr))
        return err_set(e, ERR_DATA, "%s: not an ELF file, expected a shared object", name);
    if (elf_version(EV_CURRENT) == EV_NONE)
        return err_set(e, ERR_INTERNAL, "%s: libelf is older than the ELF it was built for", name);
    /* libelf takes a writable image and does not write to one that is read only. */
    Elf *elf = elf_memory((char *)(uintptr_t)p, n);
    if (!elf)
        return err_set(e, ERR_DATA, "%s: not an ELF file, expected a shared object", name);
    struct search s = { .name = name, .elf = elf, .size = n, .out = out };
    const int rc = search(&s, e);
    elf_end(elf);
    if (rc)
        memset(out, 0, sizeof *out);
    else if (!out->build[0])
        name_by_bytes(out, p, n);
    return rc;
}

static int read_all(int fd, char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        const ssize_t got = pread(fd, p + at, n - at, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_IO;
        at += (size_t)got;
    }
    return 0;
}

int note_read(struct note *out, int fd, const char *name, struct err *e)
{
    struct stat st;
    memset(out, 0, sizeof *out);
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s: not a regular file, expected a shared object", name);
    if (st.st_size < 0 || (uint64_t)st.st_size > FILE_MAX)
        return err_set(e, ERR_LIMIT, "%s: %jd bytes, a plugin has at most %ju", name,
                       (intmax_t)st.st_size, (uintmax_t)FILE_MAX);
    const size_t n = (size_t)st.st_size;
    char *p = malloc(n + 1);
    if (!p)
        return err_set(e, ERR_NOMEM, "%s: no memory to read it", name);
    int rc = read_all(fd, p, n);
    if (rc)
        err_set(e, rc, "%s: cannot read all its %zu bytes", name, n);
    else
        rc = note_read_mem(out, p, n, name, e);
    free(p);
    return rc;
}
