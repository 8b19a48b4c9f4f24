/* test_session.c - promises of core/engine/session.h. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/engine/session.h"
#include "tests/golden/rig.h"

enum { N = 40, N_VOCAB = 1000 };

static char dir[] = "/tmp/bitnet-session-XXXXXX", path[64];
static int32_t id[N];
static struct session mine;
static struct err err;

static void setup(void)
{
    strcpy(dir, "/tmp/bitnet-session-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a", dir);
    for (int i = 0; i < N; i++)
        id[i] = i * 7 % N_VOCAB;
    mine = (struct session){ .seed = UINT64_C(0x123456789abcdef0), .id = id, .n = N };
    memset(mine.model, 0xa5, sizeof mine.model);
    err = (struct err){ 0 };
    ck_assert_msg(!session_save(path, &mine, &err), "%s", err.text);
}

static void teardown(void)
{
    unlink(path);
    rmdir(dir);
}

START_TEST(session_comes_back_as_it_was)
{
    struct session s;
    ck_assert_msg(!session_load(&s, path, mine.model, N_VOCAB, &err), "%s", err.text);
    ck_assert_uint_eq(s.n, N);
    ck_assert(s.seed == mine.seed);
    ck_assert_mem_eq(s.id, id, sizeof id);
    ck_assert_mem_eq(s.model, mine.model, sizeof s.model);
    session_free(&s);
    ck_assert_ptr_null(s.id);
}
END_TEST

START_TEST(session_with_one_byte_changed_is_refused)
{
    struct session s;
    char *p;
    size_t n;
    ck_assert_int_eq(file_read(path, 1 << 20, &p, &n, &err), 0);
    ck_assert_uint_eq(n, 40 + 4 * N + 32);
    for (size_t i = 0; i < n; i++) {
        p[i] ^= 0x20;
        ck_assert_int_eq(session_parse(&s, p, n, mine.model, N_VOCAB, &err), ERR_DATA);
        ck_assert_ptr_null(s.id);
        p[i] ^= 0x20;
    }
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(session_parse(&s, p, i, mine.model, N_VOCAB, &err), ERR_DATA);
    ck_assert_int_eq(session_parse(&s, p, n, mine.model, N_VOCAB, &err), 0);
    session_free(&s);
    free(p);
}
END_TEST

START_TEST(session_of_another_model_is_refused)
{
    struct session s;
    uint8_t other[SESSION_MODEL];
    memcpy(other, mine.model, sizeof other);
    other[15] ^= 1;
    ck_assert_int_eq(session_load(&s, path, other, N_VOCAB, &err), ERR_DATA);
    ck_assert_msg(strstr(err.text, "another model") != NULL, "%s", err.text);
    ck_assert_int_eq(strncmp(err.text, path, strlen(path)), 0);
}
END_TEST

START_TEST(session_with_an_id_beyond_the_vocabulary_is_refused)
{
    struct session s;
    const uint32_t most = 39 * 7;
    ck_assert_int_eq(session_load(&s, path, mine.model, most, &err), ERR_DATA);
    ck_assert_msg(strstr(err.text, "token 39 is 273") != NULL, "%s", err.text);
    ck_assert_int_eq(session_load(&s, path, mine.model, most + 1, &err), 0);
    session_free(&s);
    id[3] = -1;
    ck_assert_int_eq(session_save(path, &mine, &err), 0);
    ck_assert_int_eq(session_load(&s, path, mine.model, N_VOCAB, &err), ERR_DATA);
}
END_TEST

START_TEST(session_that_cannot_be_written_leaves_the_old_one)
{
    struct session s, none = mine;
    none.n = 0;
    ck_assert_int_eq(session_save(path, &none, &err), ERR_ARG);
    ck_assert_int_eq(session_save("/nonexistent/x", &mine, &err), ERR_IO);
    ck_assert_int_eq(session_load(&s, path, mine.model, N_VOCAB, &err), 0);
    session_free(&s);
    ck_assert_int_eq(session_load(&s, "/nonexistent/x", mine.model, N_VOCAB, &err), ERR_IO);
    ck_assert_ptr_null(s.id);
}
END_TEST

START_TEST(session_model_is_all_that_logits_depend_on)
{
    uint8_t a[SESSION_MODEL], b[SESSION_MODEL];
    struct model *m = rig_model(NULL);
    ck_assert_int_eq(session_model(a, m, BNP_KV_F16, &err), 0);
    ck_assert_int_eq(session_model(b, m, BNP_KV_F16, &err), 0);
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_int_eq(session_model(b, m, BNP_KV_I8, &err), 0);
    ck_assert_mem_ne(a, b, sizeof a);
    m->hp.glu ^= 1;
    ck_assert_int_eq(session_model(b, m, BNP_KV_F16, &err), 0);
    ck_assert_mem_ne(a, b, sizeof a);
    model_close(m);
    const char *from = "models/story.gguf";
    char *p;
    size_t n;
    ck_assert_int_eq(file_read(from, 1 << 28, &p, &n, &err), 0);
    p[n - 100] ^= 1;                                /* a weight */
    FILE *f = fopen(path, "w");
    ck_assert_uint_eq(fwrite(p, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
    free(p);
    m = rig_model(path);
    ck_assert_int_eq(session_model(b, m, BNP_KV_F16, &err), 0);
    ck_assert_mem_ne(a, b, sizeof a);
    model_close(m);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("session");
    TCase *t = tcase_create("session");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, session_comes_back_as_it_was);
    tcase_add_test(t, session_with_one_byte_changed_is_refused);
    tcase_add_test(t, session_of_another_model_is_refused);
    tcase_add_test(t, session_with_an_id_beyond_the_vocabulary_is_refused);
    tcase_add_test(t, session_that_cannot_be_written_leaves_the_old_one);
    tcase_add_test(t, session_model_is_all_that_logits_depend_on);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
