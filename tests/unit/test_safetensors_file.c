/* test_safetensors_file.c - what the writer writes is what the reader reads,
 * and a file is whole or absent. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/model/safetensors.h"
#include "tools/write/safetensors_file.h"

static char dir[32], path[64];
static struct err e;

static const struct safetensors_file_tensor list[] = {
    { "model.norm.weight", "BF16", 1, { 5, 0 }, 10 },
    { "model.layers.0.mlp.up_proj.weight_scale", "BF16", 1, { 1, 0 }, 2 },
    { "model.layers.0.mlp.up_proj.weight", "U8", 2, { 3, 7 }, 21 },
};
enum { N = sizeof list / sizeof *list, SIZE = 33 };

static void setup(void)
{
    e = (struct err){ 0 };
    snprintf(dir, sizeof dir, "/tmp/bitnet-st-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/m.safetensors", dir);
}

static void teardown(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

/* Files in the folder. */
static int count(void)
{
    DIR *const d = opendir(dir);
    int n = 0;
    ck_assert_ptr_nonnull(d);
    for (const struct dirent *f; (f = readdir(d));)
        n += f->d_name[0] != '.' || (f->d_name[1] && f->d_name[1] != '.');
    closedir(d);
    return n;
}

static void write_all(struct safetensors_file *f, const uint8_t *data, size_t piece)
{
    size_t at = 0;
    for (unsigned i = 0; i < N; i++)
        for (size_t done = 0, n; done < list[i].size; done += n, at += n) {
            n = list[i].size - done < piece ? list[i].size - done : piece;
            ck_assert_int_eq(safetensors_file_write(f, data + at, n, &e), 0);
        }
    ck_assert_uint_eq(at, SIZE);
}

START_TEST(st_file_reads_back)
{
    uint8_t data[SIZE];
    struct safetensors_file f;
    struct safetensors *s;
    for (unsigned i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 7 + 1);
    ck_assert_msg(!safetensors_file_open(&f, path, list, N, &e), "%s", e.text);
    write_all(&f, data, (size_t)_i);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_eq(safetensors_file_commit(&f, &e), 0);
    ck_assert_msg(!safetensors_open(&s, path, &e), "%s", e.text);
    ck_assert_uint_eq(safetensors_n(s), N);
    for (unsigned i = 0, at = 0; i < N; at += (unsigned)list[i++].size) {
        const struct st_tensor *const t = safetensors_at(s, i);
        ck_assert_str_eq(t->name.p, list[i].name);
        ck_assert_str_eq(safetensors_dtype(t->dtype), list[i].dtype);
        ck_assert_uint_eq(t->n_dims, list[i].n_dims);
        for (unsigned d = 0; d < t->n_dims; d++)
            ck_assert_uint_eq(t->dim[d], list[i].dim[d]);
        ck_assert_uint_eq(t->size, list[i].size);
        ck_assert(!memcmp(t->data, data + at, t->size));
    }
    ck_assert_uint_eq((safetensors_at(s, 0)->offset) % 8, 0);
    safetensors_close(s);
    ck_assert_int_eq(count(), 1);
}
END_TEST

START_TEST(st_file_unfinished_leaves_nothing)
{
    static const uint8_t zero[10];
    struct safetensors_file f;
    ck_assert_int_eq(safetensors_file_open(&f, path, list, N, &e), 0);
    ck_assert_int_eq(safetensors_file_write(&f, zero, sizeof zero, &e), 0);
    ck_assert_int_eq(count(), 1);
    safetensors_file_abort(&f);
    ck_assert_int_eq(count(), 0);
}
END_TEST

START_TEST(st_file_no_folder_is_one_line)
{
    struct safetensors_file f;
    ck_assert_int_eq(safetensors_file_open(&f, "/nonexistent/x", list, N, &e), ERR_IO);
    ck_assert_ptr_nonnull(strstr(e.text, "/nonexistent/x"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("safetensors_file");
    TCase *t = tcase_create("safetensors_file");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, st_file_reads_back, 1, 12);
    tcase_add_test(t, st_file_unfinished_leaves_nothing);
    tcase_add_test(t, st_file_no_folder_is_one_line);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
