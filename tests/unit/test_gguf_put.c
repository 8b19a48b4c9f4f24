/* test_gguf_put.c - keys and whole files written are what core/model reads. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/model/gguf_put.h"
#include "gguf_make.h"
#include "tools/write/gguf_file.h"

static char dir[32];

static void make_dir(void)
{
    strcpy(dir, "/tmp/gguf_put.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

/* Files in the folder, which are removed with it. */
static unsigned clear_dir(void)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *f; (f = readdir(d)) != NULL;) {
        char path[320];
        if (f->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
        unlink(path);
        n++;
    }
    closedir(d);
    rmdir(dir);
    return n;
}

static void put_all(struct gguf_put *k)
{
    const float numbers[3] = { 1.5f, -2, 0 };
    gguf_put_u32(k, "a.u32", 4000000000u);
    gguf_put_i32(k, "a.i32", -7);
    gguf_put_u64(k, "a.u64", (uint64_t)1 << 40);
    gguf_put_f32(k, "a.f32", 0.25f);
    gguf_put_bool(k, "a.true", true);
    gguf_put_bool(k, "a.false", false);
    gguf_put_text(k, "a.text", "words");
    gguf_put_str(k, "a.str", (struct str){ "a\0b", 3 });
    gguf_put_array(k, "a.numbers", GGUF_F32, 3);
    buf_add(&k->b, numbers, sizeof numbers);
    gguf_put_array(k, "a.texts", GGUF_STR, 2);
    gguf_put_string(&k->b, "", 0);
    gguf_put_string(&k->b, "xyz", 3);
}

static void check_all(const struct gguf *g)
{
    uint64_t u = 0, pos = 0;
    double d = 0;
    bool t = false, f = true;
    struct str s, x, y;
    ck_assert_uint_eq(gguf_n_kv(g), 10);
    ck_assert(gguf_get_u64(g, "a.u32", &u, NULL) == 1 && u == 4000000000u);
    ck_assert(gguf_get_f64(g, "a.i32", &d, NULL) == 1 && d == -7);
    ck_assert(gguf_get_u64(g, "a.u64", &u, NULL) == 1 && u == (uint64_t)1 << 40);
    ck_assert(gguf_get_f64(g, "a.f32", &d, NULL) == 1 && d == 0.25);
    ck_assert(gguf_get_bool(g, "a.true", &t, NULL) == 1 && t);
    ck_assert(gguf_get_bool(g, "a.false", &f, NULL) == 1 && !f);
    ck_assert(gguf_get_str(g, "a.text", &s, NULL) == 1 && s.n == 5 && !memcmp(s.p, "words", 5));
    ck_assert(gguf_get_str(g, "a.str", &s, NULL) == 1 && s.n == 3 && !memcmp(s.p, "a\0b", 3));
    const struct gguf_kv *n = gguf_kv(g, "a.numbers"), *texts = gguf_kv(g, "a.texts");
    ck_assert(n && n->n == 3 && gguf_num_at(n, 0) == 1.5 && gguf_num_at(n, 1) == -2);
    ck_assert(texts && gguf_next_str(texts, &pos, &x) && gguf_next_str(texts, &pos, &y));
    ck_assert(x.n == 0 && y.n == 3 && !memcmp(y.p, "xyz", 3));
    ck_assert(!gguf_next_str(texts, &pos, &x));
}

static const struct gguf_file_tensor tensors[2] = {
    { .name = "v.weight", .type = 0, .n_dims = 1, .ne = { 5 }, .size = 20 },
    { .name = "m.weight", .type = 1, .n_dims = 2, .ne = { 4, 3 }, .size = 24 },
};

START_TEST(gguf_put_keys_and_tensors_are_read_back)
{
    struct gguf_put k = { 0 };
    struct gguf_file f;
    struct gguf *g;
    struct err e = { 0 };
    char path[64];
    uint8_t bytes[44];
    make_dir();
    snprintf(path, sizeof path, "%s/x", dir);
    put_all(&k);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    ck_assert_msg(!gguf_file_open(&f, path, &k, tensors, 2, &e), "%s", e.text);
    ck_assert_int_eq(access(path, F_OK), -1);            /* not before it is complete */
    for (unsigned i = 0; i < sizeof bytes; i += 4)       /* in pieces */
        ck_assert_int_eq(gguf_file_write(&f, bytes + i, 4, &e), 0);
    ck_assert_int_eq(gguf_file_commit(&f, &e), 0);
    ck_assert_msg(!gguf_open(&g, path, &e), "%s", e.text);
    check_all(g);
    ck_assert_uint_eq(gguf_n_tensors(g), 2);
    ck_assert_uint_eq(gguf_file_size(g), f.size);
    for (unsigned i = 0; i < 2; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        ck_assert_uint_eq(t->type, tensors[i].type);
        ck_assert_uint_eq(t->n_dims, tensors[i].n_dims);
        ck_assert_uint_eq(t->ne[0], tensors[i].ne[0]);
        ck_assert_uint_eq(t->size, tensors[i].size);
        ck_assert_uint_eq(t->offset % GGUF_FILE_ALIGN, 0);
        ck_assert_mem_eq(t->data, bytes + 20 * i, t->size);
    }
    gguf_close(g);
    buf_free(&k.b);
    ck_assert_uint_eq(clear_dir(), 1);
}
END_TEST

START_TEST(gguf_put_nothing_is_left_of_a_file_that_was_given_up)
{
    struct gguf_put k = { 0 };
    struct gguf_file f;
    struct err e = { 0 };
    char path[64];
    make_dir();
    snprintf(path, sizeof path, "%s/x", dir);
    put_all(&k);
    ck_assert_int_eq(gguf_file_open(&f, path, &k, tensors, 2, &e), 0);
    ck_assert_int_eq(gguf_file_write(&f, "1234", 4, &e), 0);
    gguf_file_abort(&f);
    buf_free(&k.b);
    ck_assert_uint_eq(clear_dir(), 0);
}
END_TEST

/* Of a version 1 file too, whose lengths have four bytes. */
START_TEST(gguf_put_copied_keys_are_the_same)
{
    static const char *const words[2] = { "one", "three" };
    struct gguf_make from = { .version = _i ? 1 : 3 };
    struct gguf_put k = { 0 };
    struct buf b = { 0 }, whole = { 0 };
    struct gguf *g, *copy;
    struct err e = { 0 };
    uint64_t u = 0, pos = 0;
    struct str s;
    gguf_make_u32(&from, "x.n", 9);
    gguf_make_str(&from, "x.s", "text");
    gguf_make_strs(&from, "x.a", 2, words);
    gguf_make_done(&from, &b);
    ck_assert_msg(!gguf_open_mem(&g, b.p, b.n, "from", &e), "%s", e.text);
    for (size_t i = 0; i < gguf_n_kv(g); i++)
        gguf_put_copy(&k, gguf_kv_at(g, i));
    ck_assert_uint_eq(k.n, 3);
    const uint32_t version = 3;
    const uint64_t none = 0;
    buf_add(&whole, "GGUF", 4);
    buf_add(&whole, &version, sizeof version);
    buf_add(&whole, &none, sizeof none);
    buf_add(&whole, &k.n, sizeof k.n);
    buf_add(&whole, k.b.p, k.b.n);
    ck_assert_msg(!gguf_open_mem(&copy, whole.p, whole.n, "copy", &e), "%s", e.text);
    ck_assert(gguf_get_u64(copy, "x.n", &u, NULL) == 1 && u == 9);
    ck_assert(gguf_get_str(copy, "x.s", &s, NULL) == 1 && s.n == 4 && !memcmp(s.p, "text", 4));
    const struct gguf_kv *a = gguf_kv(copy, "x.a");
    ck_assert(a && a->n == 2 && gguf_next_str(a, &pos, &s) && s.n == 3);
    ck_assert(gguf_next_str(a, &pos, &s) && s.n == 5 && !memcmp(s.p, "three", 5));
    gguf_close(copy);
    gguf_close(g);
    buf_free(&whole);
    buf_free(&k.b);
    buf_free(&b);
    gguf_make_free(&from);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gguf_put");
    TCase *c = tcase_create("gguf_put");
    tcase_add_test(c, gguf_put_keys_and_tensors_are_read_back);
    tcase_add_test(c, gguf_put_nothing_is_left_of_a_file_that_was_given_up);
    tcase_add_loop_test(c, gguf_put_copied_keys_are_the_same, 0, 2);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
