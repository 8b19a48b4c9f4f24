/* test_gguf.c - what the container promises for files that it accepts; what it
 * refuses is gguf_bad.c's table, in test_model.c. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "core/model/gguf.h"
#include "gguf_make.h"

/* One key of every type, and three tensors. */
static void make_all(struct gguf_make *m, uint32_t version)
{
    static const char *const text[] = { "", "one", "z\xc3\xa9ro" };
    static const int32_t number[] = { -1, 0, INT32_MAX };
    const int8_t i8 = -5;
    const uint16_t u16 = 65535;
    const int64_t i64 = INT64_MIN;
    const uint64_t u64 = UINT64_MAX;
    const double f64 = -0.1;
    const float data[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    *m = (struct gguf_make){ .version = version };
    gguf_make_u32(m, "u32", 7);
    gguf_make_raw(m, "i8", GGUF_I8, &i8, 1);
    gguf_make_raw(m, "u16", GGUF_U16, &u16, 2);
    gguf_make_raw(m, "i64", GGUF_I64, &i64, 8);
    gguf_make_raw(m, "u64", GGUF_U64, &u64, 8);
    gguf_make_raw(m, "f64", GGUF_F64, &f64, 8);
    gguf_make_f32(m, "f32", 0.5f);
    gguf_make_f32(m, "nan", NAN);
    gguf_make_bool(m, "yes", true);
    gguf_make_str(m, "str", "hello");
    gguf_make_str(m, "empty", "");
    gguf_make_strs(m, "strs", 3, text);
    gguf_make_strs(m, "none", 0, text);
    gguf_make_i32s(m, "i32s", 3, number);
    gguf_make_tensor(m, "matrix", 0, 2, 3, data, 24);
    gguf_make_tensor(m, "vector", 0, 0, 8, data, 32);
    gguf_make_tensor(m, "alien", 77, 4, 4, data, 20);
}

static struct gguf *open_made(const struct gguf_make *m, struct buf *bytes)
{
    struct gguf *g;
    struct err e = { 0 };
    *bytes = (struct buf){ 0 };
    gguf_make_done(m, bytes);
    ck_assert_msg(!gguf_open_mem(&g, bytes->p, bytes->n, "made", &e), "%s", e.text);
    return g;
}

static struct gguf_make made;
static struct buf bytes;

static struct gguf *open_all(uint32_t version)
{
    make_all(&made, version);
    return open_made(&made, &bytes);
}

static void close_all(struct gguf *g)
{
    gguf_close(g);
    gguf_make_free(&made);
    buf_free(&bytes);
}

START_TEST(all_three_versions_hold_the_same)
{
    struct gguf *g = open_all((uint32_t)_i);
    struct str s;
    uint64_t pos = 0;
    ck_assert_uint_eq(gguf_version(g), (unsigned)_i);
    ck_assert_uint_eq(gguf_file_size(g), bytes.n);
    ck_assert_str_eq(gguf_name(g), "made");
    ck_assert_uint_eq(gguf_n_kv(g), 14);
    ck_assert_uint_eq(gguf_n_tensors(g), 3);
    const struct gguf_kv *kv = gguf_kv(g, "strs");
    ck_assert_ptr_nonnull(kv);
    ck_assert_uint_eq(kv->n, 3);
    ck_assert(gguf_next_str(kv, &pos, &s) && s.n == 0);
    ck_assert(gguf_next_str(kv, &pos, &s) && s.n == 3 && !memcmp(s.p, "one", 3));
    ck_assert(gguf_next_str(kv, &pos, &s) && s.n == 5 && !memcmp(s.p, "z\xc3\xa9ro", 5));
    ck_assert(!gguf_next_str(kv, &pos, &s));
    pos = 0;
    ck_assert(!gguf_next_str(gguf_kv(g, "none"), &pos, &s));
    ck_assert(!gguf_next_str(gguf_kv(g, "i32s"), &pos, &s));
    ck_assert_int_eq(gguf_get_str(g, "empty", &s, NULL), 1);
    ck_assert_uint_eq(s.n, 0);
    ck_assert_int_eq(gguf_get_str(g, "str", &s, NULL), 1);
    ck_assert(s.n == 5 && !memcmp(s.p, "hello", 5));
    close_all(g);
}
END_TEST

START_TEST(numbers_come_out_as_they_went_in)
{
    struct gguf *g = open_all(3);
    uint64_t u;
    double d;
    bool b = false;
    ck_assert(gguf_get_u64(g, "u32", &u, NULL) == 1 && u == 7);
    ck_assert(gguf_get_u64(g, "u16", &u, NULL) == 1 && u == 65535);
    ck_assert(gguf_get_u64(g, "u64", &u, NULL) == 1 && u == UINT64_MAX);
    ck_assert(gguf_get_f64(g, "i8", &d, NULL) == 1 && d == -5);
    ck_assert(gguf_get_f64(g, "i64", &d, NULL) == 1 && d == -0x1p63);
    ck_assert(gguf_get_f64(g, "f64", &d, NULL) == 1 && d == -0.1);
    ck_assert(gguf_get_f64(g, "f32", &d, NULL) == 1 && d == 0.5);
    ck_assert(gguf_get_bool(g, "yes", &b, NULL) == 1 && b);
    const struct gguf_kv *kv = gguf_kv(g, "i32s");
    ck_assert(gguf_num_at(kv, 0) == -1 && gguf_num_at(kv, 1) == 0);
    ck_assert(gguf_num_at(kv, 2) == INT32_MAX);
    close_all(g);
}
END_TEST

START_TEST(a_key_of_another_type_is_an_error_that_names_it)
{
    struct gguf *g = open_all(3);
    struct err e = { 0 };
    uint64_t u = 99;
    double d = 99;
    bool b = false;
    struct str s = { 0 };
    ck_assert_int_eq(gguf_get_u64(g, "absent", &u, &e), 0);
    ck_assert_int_eq(gguf_get_str(g, "str ", &s, &e), 0);
    ck_assert_int_eq(e.code, 0);
    ck_assert_int_eq(gguf_get_u64(g, "i8", &u, &e), ERR_DATA);      /* negative */
    ck_assert_ptr_nonnull(strstr(e.text, "key i8"));
    ck_assert_int_eq(gguf_get_u64(g, "f32", &u, &e), ERR_DATA);
    ck_assert_int_eq(gguf_get_u64(g, "yes", &u, &e), ERR_DATA);
    ck_assert_int_eq(gguf_get_u64(g, "i32s", &u, &e), ERR_DATA);
    ck_assert_int_eq(gguf_get_f64(g, "str", &d, &e), ERR_DATA);
    ck_assert_int_eq(gguf_get_f64(g, "nan", &d, &e), ERR_DATA);
    ck_assert_int_eq(gguf_get_bool(g, "u32", &b, &e), ERR_DATA);
    ck_assert_int_eq(gguf_get_str(g, "strs", &s, &e), ERR_DATA);
    ck_assert(u == 99 && d == 99);
    close_all(g);
}
END_TEST

START_TEST(tensors_are_found_with_their_place)
{
    struct gguf *g = open_all(3);
    const struct gguf_tensor *t = gguf_tensor(g, "matrix");
    ck_assert_ptr_nonnull(t);
    ck_assert(t->ne[0] == 3 && t->ne[1] == 2 && t->ne[2] == 1 && t->ne[3] == 1);
    ck_assert(t->size == 24 && t->gap == 32 && t->offset % 32 == 0);
    ck_assert_ptr_eq(t->data, (const uint8_t *)bytes.p + t->offset);
    float v[6];
    memcpy(v, t->data, sizeof v);
    ck_assert(v[0] == 1 && v[5] == 6);
    t = gguf_tensor(g, "vector");
    ck_assert(t->ne[0] == 8 && t->ne[1] == 1 && t->size == 32 && t->gap == 32);
    ck_assert_ptr_null(gguf_tensor(g, "matri"));
    ck_assert_ptr_null(gguf_tensor(g, "matrix2"));
    close_all(g);
}
END_TEST

START_TEST(an_unknown_type_is_as_large_as_its_gap)
{
    struct gguf *g = open_all(3);
    const struct gguf_tensor *t = gguf_tensor(g, "alien");
    ck_assert_ptr_nonnull(t);
    ck_assert(t->type == 77 && t->size == t->gap && t->size == 20);
    close_all(g);
}
END_TEST

/* Type 36 with the 10 bytes per 32 elements of another program. */
START_TEST(a_shared_type_number_with_another_size_opens)
{
    static const uint8_t data[80];
    made = (struct gguf_make){ 0 };
    gguf_make_tensor(&made, "w", 36, 16, 16, data, sizeof data);
    gguf_make_tensor(&made, "v", 36, 16, 16, data, 64);
    struct gguf *g = open_made(&made, &bytes);
    ck_assert_uint_eq(gguf_tensor(g, "w")->size, 96);
    ck_assert_uint_eq(gguf_tensor(g, "v")->size, 64);
    close_all(g);
}
END_TEST

START_TEST(alignment_of_the_file_is_honoured)
{
    make_all(&made, 3);
    made.align = 4096;
    gguf_make_u32(&made, "general.alignment", 4096);
    gguf_make_place(&made);
    struct gguf *g = open_made(&made, &bytes);
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        ck_assert_uint_eq(gguf_tensor_at(g, i)->offset % 4096, 0);
    ck_assert_uint_eq(gguf_tensor(g, "matrix")->gap, 4096);
    close_all(g);
}
END_TEST

START_TEST(every_key_is_found_by_its_name)
{
    struct gguf *g;
    struct err e = { 0 };
    ck_assert_msg(!gguf_open(&g, "models/story.gguf", &e), "%s", e.text);
    ck_assert_uint_eq(gguf_n_kv(g), 22);
    ck_assert_uint_eq(gguf_n_tensors(g), 68);
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        char key[128] = "";
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        memcpy(key, kv->key.p, kv->key.n);
        ck_assert_ptr_eq(gguf_kv(g, key), kv);
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        char name[128] = "";
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        memcpy(name, t->name.p, t->name.n);
        ck_assert_ptr_eq(gguf_tensor(g, name), t);
        uint8_t before = t->data[0];
        gguf_drop(g, t, 0, t->size);
        ck_assert_uint_eq(t->data[0], before);
    }
    gguf_close(g);
    gguf_close(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("gguf");
    TCase *t = tcase_create("gguf");
    tcase_add_loop_test(t, all_three_versions_hold_the_same, 1, 4);
    tcase_add_test(t, numbers_come_out_as_they_went_in);
    tcase_add_test(t, a_key_of_another_type_is_an_error_that_names_it);
    tcase_add_test(t, tensors_are_found_with_their_place);
    tcase_add_test(t, an_unknown_type_is_as_large_as_its_gap);
    tcase_add_test(t, a_shared_type_number_with_another_size_opens);
    tcase_add_test(t, alignment_of_the_file_is_honoured);
    tcase_add_test(t, every_key_is_found_by_its_name);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
