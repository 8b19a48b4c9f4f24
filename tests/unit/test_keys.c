/* test_keys.c - the file of API keys, and the lists of origins. */
#include <check.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/serve/cors.h"
#include "core/serve/keys.h"

/* printf %s KEY | sha256sum */
#define HASH_SESAME "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272"
#define HASH_OTHER "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"

static struct keys *parse(const char *text)
{
    struct err e = { 0 };
    struct keys *k;
    ck_assert_msg(!keys_parse(&k, text, strlen(text), "keys", &e), "%s", e.text);
    return k;
}

START_TEST(keys_are_found_by_their_hash)
{
    struct keys *k = parse("# who may\n\n"
                           "ann read,infer sha256:" HASH_SESAME "\r\n"
                           "\tbob \tadmin  sha256:" HASH_OTHER);
    ck_assert_uint_eq(k->n, 2);
    const struct key *a = keys_find(k, "sesame", 6);
    ck_assert_ptr_nonnull(a);
    ck_assert_str_eq(a->name, "ann");
    ck_assert_uint_eq(a->scopes, 1U << SCOPE_READ | 1U << SCOPE_INFER);
    ck_assert_str_eq(keys_find(k, "other", 5)->name, "bob");
    ck_assert_uint_eq(keys_find(k, "other", 5)->scopes, 1U << SCOPE_ADMIN);
    ck_assert_ptr_null(keys_find(k, "sesam", 5));
    ck_assert_ptr_null(keys_find(k, "", 0));
    ck_assert_ptr_null(keys_find(k, HASH_SESAME, strlen(HASH_SESAME)));
    keys_free(k);
}
END_TEST

static const struct { const char *text, *want; } bad[] = {
    { "", "keys: holds no key" },
    { "# nothing\n", "keys: holds no key" },
    { "a/b read sha256:" HASH_SESAME, "keys:1: the name is wrong" },
    { "ann\n", "keys:1: key ann: the scopes are wrong" },
    { "\nann write sha256:" HASH_SESAME, "keys:2: key ann: the scopes are wrong" },
    { "ann read, sha256:" HASH_SESAME, "keys:1: key ann: the scopes are wrong" },
    { "ann none sha256:" HASH_SESAME, "keys:1: key ann: the scopes are wrong" },
    { "ann read sesame", "keys:1: key ann: the third word is wrong" },
    { "ann read sha256:d0c0", "keys:1: key ann: the third word is wrong" },
    { "ann read sha256:zz" "c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272",
      "keys:1: key ann: the third word is wrong" },
    { "ann read sha256:" HASH_SESAME " more", "keys:1: key ann: the third word is wrong" },
    { "ann read sha256:" HASH_SESAME "\nann read sha256:" HASH_OTHER,
      "keys:2: key ann: the name is taken" },
};

START_TEST(keys_wrong_lines_are_named_and_not_repeated)
{
    struct err e = { 0 };
    struct keys *k;
    ck_assert_int_ne(keys_parse(&k, bad[_i].text, strlen(bad[_i].text), "keys", &e), 0);
    ck_assert_ptr_null(k);
    ck_assert_msg(!strncmp(e.text, bad[_i].want, strlen(bad[_i].want)), "%s", e.text);
    ck_assert_ptr_null(strstr(e.text, "sesame"));
}
END_TEST

START_TEST(keys_file_must_be_private)
{
    static const struct { mode_t mode; bool ok; } cases[] = {
        { 0600, true }, { 0400, true }, { 0640, true }, { 0644, false }, { 0660, false },
        { 0602, false }, { 0601, false },
    };
    static const char line[] = "ann read sha256:" HASH_SESAME "\n";
    char path[] = "/tmp/bitnet-keys-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, line, sizeof line - 1), (int)sizeof line - 1);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = { 0 };
        struct keys *k;
        ck_assert_int_eq(fchmod(fd, cases[i].mode), 0);
        const int rc = keys_read(&k, path, &e);
        ck_assert_msg(!rc == cases[i].ok, "mode %o: %s", cases[i].mode, e.text);
        if (rc)
            ck_assert_ptr_nonnull(strstr(e.text, "chmod 600"));
        keys_free(k);
    }
    close(fd);
    unlink(path);
    struct err e = { 0 };
    struct keys *k;
    ck_assert_int_ne(keys_read(&k, "/dev/null", &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "regular"));
}
END_TEST

START_TEST(keys_at_most_so_many)
{
    struct buf b = { 0 };
    struct err e = { 0 };
    struct keys *k;
    for (int i = 0; i < KEYS_MAX; i++)
        buf_addf(&b, "k%d read sha256:%064x\n", i, (unsigned)i);
    ck_assert_int_eq(keys_parse(&k, b.p, b.n, "keys", &e), 0);
    ck_assert_uint_eq(k->n, KEYS_MAX);
    keys_free(k);
    buf_addf(&b, "one-more read sha256:%064x\n", 1U);
    ck_assert_int_eq(keys_parse(&k, b.p, b.n, "keys", &e), ERR_LIMIT);
    buf_free(&b);
}
END_TEST

START_TEST(cors_origins_are_exact)
{
    struct cors c;
    struct err e = { 0 };
    ck_assert_int_eq(cors_open(&c, " https://a.example, http://localhost:3000 ", &e), 0);
    ck_assert_uint_eq(c.n, 2);
    ck_assert(cors_allows(&c, "https://a.example"));
    ck_assert(cors_allows(&c, "http://localhost:3000"));
    ck_assert(!cors_allows(&c, "http://a.example"));
    ck_assert(!cors_allows(&c, "https://a.example.evil"));
    ck_assert(!cors_allows(&c, "https://a.exampl"));
    ck_assert(!cors_allows(&c, "null"));
    cors_close(&c);
    ck_assert_int_eq(cors_open(&c, "*", &e), 0);
    ck_assert(cors_allows(&c, "null"));
    cors_close(&c);
    ck_assert_int_eq(cors_open(&c, "", &e), 0);
    ck_assert(!cors_allows(&c, "https://a.example"));
    cors_close(&c);
    static const char *const wrong[] = { "a.example", "https://", "https://a/", "https://a/b",
                                         "://a", "https://u@a" };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(cors_open(&c, wrong[i], &e) == ERR_ARG, "%s", wrong[i]);
}
END_TEST

START_TEST(cors_own_pages_are_known_by_the_host)
{
    ck_assert(cors_is_own("http://127.0.0.1:8080", "127.0.0.1:8080"));
    ck_assert(cors_is_own("https://Llm.example", "llm.example"));
    ck_assert(!cors_is_own("http://127.0.0.1:8080", "127.0.0.1:8081"));
    ck_assert(!cors_is_own("http://127.0.0.1:8080", NULL));
    ck_assert(!cors_is_own("null", "null"));
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *s = suite_create("keys");
    TCase *t = tcase_create("keys");
    tcase_add_test(t, keys_are_found_by_their_hash);
    tcase_add_loop_test(t, keys_wrong_lines_are_named_and_not_repeated, 0,
                        (int)(sizeof bad / sizeof *bad));
    tcase_add_test(t, keys_file_must_be_private);
    tcase_add_test(t, keys_at_most_so_many);
    tcase_add_test(t, cors_origins_are_exact);
    tcase_add_test(t, cors_own_pages_are_known_by_the_host);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int n = srunner_ntests_failed(r);
    srunner_free(r);
    return n ? 1 : 0;
}
