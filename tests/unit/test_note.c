/* Promises of core/plug/note.h: hand-made ELF files, one thing wrong each. */
#include <check.h>
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/plug/note.h"

#if defined(__x86_64__)
#define OURS   EM_X86_64
#define THEIRS EM_AARCH64
#else
#define OURS   EM_AARCH64
#define THEIRS EM_X86_64
#endif

/* An ELF header, two PT_NOTE headers, and room for two notes. */
static struct image {
    Elf64_Ehdr head;
    Elf64_Phdr seg[2];
    struct bnp_note note[2];
} image;

static struct note got;
static struct err err;

static void build(void)
{
    static const struct bnp_note note = {
        sizeof BNP_NOTE_NAME, sizeof(bnp_note) - offsetof(bnp_note, abi_major), BNP_NOTE_TYPE,
        BNP_NOTE_NAME, 1, 0, 0, 0, BNP_DEV_CPU, BNP_FAM_LINEAR, 5, 7, "com.vendor.chip-2", "1.4" };
    memset(&image, 0, sizeof image);
    memset(&err, 0, sizeof err);
    memcpy(image.head.e_ident, ELFMAG, SELFMAG);
    image.head.e_ident[EI_CLASS] = ELFCLASS64;
    image.head.e_ident[EI_DATA] = ELFDATA2LSB;
    image.head.e_ident[EI_VERSION] = EV_CURRENT;
    image.head.e_type = ET_DYN;
    image.head.e_machine = OURS;
    image.head.e_version = EV_CURRENT;
    image.head.e_ehsize = sizeof image.head;
    image.head.e_phoff = offsetof(struct image, seg);
    image.head.e_phentsize = sizeof image.seg[0];
    image.head.e_phnum = 1;
    for (unsigned i = 0; i < 2; i++) {
        image.note[i] = note;
        image.seg[i] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_align = 4, .p_filesz = sizeof note,
                                     .p_offset = offsetof(struct image, note) + i * sizeof note };
    }
}

static int read_image(void)
{
    return note_read_mem(&got, &image, sizeof image, "x.so", &err);
}

static void expect_refused(int code, const char *text)
{
    ck_assert_int_eq(read_image(), code);
    ck_assert_msg(!strncmp(err.text, "x.so: ", 6) && strstr(err.text, text), "'%s' lacks '%s'",
                  err.text, text);
    ck_assert_uint_eq((unsigned char)got.raw.id[0], 0);
}

/* A linker's note, put where the second bitnet note would be. */
static void put_build_id(uint32_t size)
{
    const Elf64_Nhdr h = { .n_namesz = 4, .n_descsz = size, .n_type = NT_GNU_BUILD_ID };
    char *at = (char *)&image.note[1];
    memset(at, 0xab, sizeof image.note[1]);
    memcpy(at, &h, sizeof h);
    memcpy(at + sizeof h, "GNU", 4);
    image.seg[1].p_filesz = sizeof h + 4 + size;
    image.head.e_phnum = 2;
}

START_TEST(note_builds_are_told_apart)
{
    char digest[65];
    put_build_id(20);
    ck_assert_msg(!read_image(), "%s", err.text);
    ck_assert_str_eq(got.build, "abababababababababababababababababababab");
    put_build_id(33);                             /* longer than any: not believed */
    ck_assert_int_eq(read_image(), 0);
    ck_assert_uint_eq(strlen(got.build), 64);
    strcpy(digest, got.build);
    ck_assert_int_eq(read_image(), 0);
    ck_assert_str_eq(got.build, digest);          /* the same bytes, the same name */
    ((char *)&image.note[1])[40] ^= 1;
    ck_assert_int_eq(read_image(), 0);
    ck_assert_str_ne(got.build, digest);
}
END_TEST

START_TEST(note_is_read_whole)
{
    ck_assert_int_eq(read_image(), 0);
    ck_assert_str_eq(got.raw.id, "com.vendor.chip-2");
    ck_assert_str_eq(got.raw.version, "1.4");
    ck_assert_uint_eq(got.raw.abi_major, 1);
    ck_assert_uint_eq(got.raw.device_kind, BNP_DEV_CPU);
    ck_assert_uint_eq(got.raw.families, BNP_FAM_LINEAR);
    ck_assert_uint_eq(got.isa, UINT64_C(7) << 32 | 5);
}
END_TEST

START_TEST(note_of_another_major_is_still_read)
{
    image.note[0].abi_major = 2;
    ck_assert_int_eq(read_image(), 0);
    ck_assert_uint_eq(got.raw.abi_major, 2);
}
END_TEST

START_TEST(note_same_bytes_in_two_segments_are_one_note)
{
    image.head.e_phnum = 2;
    image.seg[1] = image.seg[0];
    ck_assert_int_eq(read_image(), 0);
}
END_TEST

START_TEST(note_wrong_files_are_refused_by_what_is_wrong)
{
    build();
    image.head.e_ident[0] = 'M';
    expect_refused(ERR_DATA, "not an ELF file");
    build();
    image.head.e_ident[EI_CLASS] = ELFCLASS32;
    expect_refused(ERR_DATA, "");
    build();
    image.head.e_ident[EI_DATA] = ELFDATA2MSB;
    expect_refused(ERR_DATA, "");
    build();
    image.head.e_machine = THEIRS;
    expect_refused(ERR_UNSUPPORTED, "this is");
    build();
    image.head.e_type = ET_EXEC;
    expect_refused(ERR_DATA, "expected a shared object");
    build();
    image.head.e_phnum = 0;
    expect_refused(ERR_DATA, "no bitnet note");
    build();
    image.note[0].type = 2;
    expect_refused(ERR_DATA, "no bitnet note");
    build();
    image.note[0].name[0] = 'B';
    expect_refused(ERR_DATA, "no bitnet note");
    build();
    image.head.e_phnum = 2;
    expect_refused(ERR_DATA, "more than one");
    build();
    image.note[0].desc_size -= 4;
    expect_refused(ERR_DATA, "expected 120");
    build();
    image.seg[0].p_offset = sizeof image - 8;
    expect_refused(ERR_DATA, "beyond the end");
    build();
    image.seg[0].p_offset = UINT64_MAX - 4;
    expect_refused(ERR_DATA, "beyond the end");
}
END_TEST

START_TEST(note_ids_are_plain_and_terminated)
{
    static const char *const bad[] = { "", "Com.vendor", "a b", "a/b", "a_b", "\xc3\xa9", "a\n" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        build();
        memset(image.note[0].id, 0, sizeof image.note[0].id);
        memcpy(image.note[0].id, bad[i], strlen(bad[i]));
        expect_refused(ERR_DATA, "id in its note");
    }
    build();
    memset(image.note[0].id, 'a', sizeof image.note[0].id);
    expect_refused(ERR_DATA, "id in its note");
    image.note[0].id[63] = 0;
    ck_assert_int_eq(read_image(), 0);
}
END_TEST

START_TEST(note_versions_are_printable_and_terminated)
{
    image.note[0].version[1] = '\n';
    expect_refused(ERR_DATA, "version in its note");
    build();
    memset(image.note[0].version, '9', sizeof image.note[0].version);
    expect_refused(ERR_DATA, "version in its note");
}
END_TEST

/* Every cut and every flipped bit of a real plugin: refused or read, never
 * worse. A sanitizer build sees any read outside. */
START_TEST(note_survives_cuts_and_flips_of_a_real_plugin)
{
    struct file_map m;
    ck_assert_int_eq(file_map(&m, TEST_PLUGIN_DIR "/scalar-ref.so", &err), 0);
    ck_assert_int_eq(note_read_mem(&got, m.p, m.n, "x.so", &err), 0);
    ck_assert_str_eq(got.raw.id, "org.bitnetd.scalar-ref");
    for (size_t n = 0; n < m.n; n += n < 4096 ? 7 : 4001) {
        char *copy = malloc(n + 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, m.p, n);
        (void)note_read_mem(&got, copy, n, "x.so", &err);
        free(copy);
    }
    char *copy = malloc(m.n);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, m.p, m.n);
    const Elf64_Ehdr *h = (const Elf64_Ehdr *)(const void *)copy;
    const size_t sections = h->e_shoff, n_flip = 64 + 56 * 8 + (size_t)h->e_shnum * 64;
    for (size_t i = 0; i < n_flip; i++) {
        const size_t at = i < 512 ? i : sections + i - 512;
        if (at >= m.n)
            break;
        for (unsigned bit = 0; bit < 8; bit += 3) {
            copy[at] = (char)(copy[at] ^ 1 << bit);
            (void)note_read_mem(&got, copy, m.n, "x.so", &err);
            copy[at] = (char)(copy[at] ^ 1 << bit);
        }
    }
    free(copy);
    file_unmap(&m);
}
END_TEST

START_TEST(note_is_read_from_a_descriptor)
{
    const int fd = open(TEST_PLUGIN_DIR "/scalar-ref.so", O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(note_read(&got, fd, "x.so", &err), 0);
    ck_assert_str_eq(got.raw.id, "org.bitnetd.scalar-ref");
    close(fd);
    const int dir = open("/", O_RDONLY);
    ck_assert_int_eq(note_read(&got, dir, "x.so", &err), ERR_IO);
    close(dir);
    ck_assert_int_eq(note_read(&got, -1, "x.so", &err), ERR_IO);
}
END_TEST

START_TEST(note_a_huge_file_is_refused_unread)
{
    char path[] = "/tmp/bitnet-note-XXXXXX";
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    ck_assert_int_eq(ftruncate(fd, (off_t)1 << 40), 0);
    ck_assert_int_eq(note_read(&got, fd, "x.so", &err), ERR_LIMIT);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("note");
    TCase *c = tcase_create("note");
    tcase_add_checked_fixture(c, build, NULL);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, note_builds_are_told_apart);
    tcase_add_test(c, note_is_read_whole);
    tcase_add_test(c, note_of_another_major_is_still_read);
    tcase_add_test(c, note_same_bytes_in_two_segments_are_one_note);
    tcase_add_test(c, note_wrong_files_are_refused_by_what_is_wrong);
    tcase_add_test(c, note_ids_are_plain_and_terminated);
    tcase_add_test(c, note_versions_are_printable_and_terminated);
    tcase_add_test(c, note_survives_cuts_and_flips_of_a_real_plugin);
    tcase_add_test(c, note_is_read_from_a_descriptor);
    tcase_add_test(c, note_a_huge_file_is_refused_unread);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
