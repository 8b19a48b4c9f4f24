/* test_safetensors.c - what the format promises for files that are accepted,
 * and one line for each that is not. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/safetensors.h"

/* Length, header, and n bytes of data: 0, 1, 2... */
static void make(struct buf *out, const char *header, size_t n)
{
    const uint64_t len = strlen(header);
    buf_clear(out);
    buf_add(out, &len, sizeof len);
    buf_add(out, header, len);
    for (size_t i = 0; i < n; i++) {
        const char c = (char)i;
        buf_add(out, &c, 1);
    }
    ck_assert(!out->failed);
}

static int open_bytes(struct safetensors **s, const struct buf *b, struct err *e)
{
    *e = (struct err){ 0 };
    return safetensors_open_mem(s, b->p, b->n, "made.safetensors", e);
}

#define T(name, dtype, shape, from, to) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

START_TEST(safetensors_gives_what_the_header_says)
{
    struct buf b = { 0 };
    struct err e;
    struct safetensors *s;
    /* Out of order, unaligned, with a hole of three bytes, and spaces behind. */
    make(&b, "{\"__metadata__\":{\"format\":\"pt\"}," T("m", "BF16", "[2,3]", "13", "25") ","
         T("one", "F32", "[]", "1", "5") "," T("u", "U8", "[5]", "5", "10") ","
         T("none", "F16", "[0,7]", "5", "5") "," T("old", "I64", "[1]", "25", "33") "}   ", 33);
    ck_assert_msg(!open_bytes(&s, &b, &e), "%s", e.text);
    ck_assert_str_eq(safetensors_name(s), "made.safetensors");
    ck_assert_uint_eq(safetensors_file_size(s), b.n);
    ck_assert_uint_eq(safetensors_n(s), 5);
    static const struct {
        const char *name;
        enum st_dtype dtype;
        uint32_t n_dims;
        uint64_t d0, at, size;
    } want[] = {
        { "one", ST_F32, 0, 0, 1, 4 }, { "none", ST_F16, 2, 0, 5, 0 }, { "u", ST_U8, 1, 5, 5, 5 },
        { "m", ST_BF16, 2, 2, 13, 12 }, { "old", ST_I64, 1, 1, 25, 8 }
    };
    for (size_t i = 0; i < 5; i++) {
        const struct st_tensor *t = safetensors_at(s, i);
        ck_assert_str_eq(t->name.p, want[i].name);
        ck_assert_uint_eq(t->name.n, strlen(want[i].name));
        ck_assert(t->dtype == want[i].dtype && t->n_dims == want[i].n_dims);
        ck_assert(t->dim[0] == want[i].d0 && t->size == want[i].size);
        ck_assert_ptr_eq(t->data, (const uint8_t *)b.p + b.n - 33 + want[i].at);
        ck_assert_uint_eq(t->offset, b.n - 33 + want[i].at);
    }
    ck_assert_uint_eq(safetensors_at(s, 3)->dim[1], 3);
    safetensors_close(s);
    make(&b, "{}", 0);
    ck_assert(!open_bytes(&s, &b, &e) && safetensors_n(s) == 0);
    safetensors_close(s);
    safetensors_close(NULL);
    buf_free(&b);
}
END_TEST

static const struct {
    const char *header;
    size_t n;                    /* bytes of data                             */
    const char *says;
} bad[] = {
    { "[]", 0, "an array, expected a JSON object" },
    { "null", 0, "no valid JSON" },
    { "{", 0, "no valid JSON" },
    { "{} x", 0, "no valid JSON" },
    { "{\"a\":\xff}", 0, "no valid JSON" },
    { "{\"a\":1}", 0, "tensor a: a whole number, expected an object" },
    { "{\"a\":{}}", 0, "tensor a: no dtype" },
    { "{\"a\":{\"dtype\":7}}", 0, "tensor a: no dtype" },
    { "{\"a\":{\"dtype\":\"F8_E9\\n\"}}", 0, "dtype \"F8_E9\\x0a\" is unknown, expected BF16" },
    { "{\"a\":{\"dtype\":\"F32\"}}", 0, "its shape is null" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1]}}", 0, "its shape is a longer array" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "no data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no data_offsets" },
    { "{" T("a", "F32", "[1]", "-4", "0") "}", 4, "no data_offsets" },
    { "{" T("a", "F32", "[1]", "0.0", "4") "}", 4, "no data_offsets" },
    { "{" T("a", "F32", "[-1]", "0", "4") "}", 4, "dimension 0 is no whole number" },
    { "{" T("a", "F32", "[1,1e3]", "0", "4") "}", 4, "dimension 1 is no whole number" },
    { "{" T("a", "F32", "[\"1\"]", "0", "4") "}", 4, "dimension 0 is no whole number" },
    { "{" T("a", "F32", "[9223372036854775807]", "0", "4") "}", 4, "dimensions overflows" },
    { "{" T("a", "U8", "[4294967296,4294967296]", "0", "0") "}", 4, "dimensions overflows" },
    { "{" T("a", "F32", "[9223372036854775808]", "0", "4") "}", 4, "no valid JSON" },
    { "{" T("a", "F32", "[2]", "0", "4") "}", 8,
      "4 bytes of data, expected 8 for its shape in F32" },
    { "{" T("a", "F32", "[1]", "0", "8") "}", 8, "8 bytes of data, expected 4" },
    { "{" T("a", "F32", "[1]", "4", "0") "}", 8, "data from 4 to 0" },
    { "{" T("a", "F32", "[1]", "4", "8") "}", 7, "the file has 7 bytes of data" },
    { "{" T("a", "F32", "[1]", "9223372036854775803", "9223372036854775807") "}", 8,
      "it is truncated, or the header wrong" },
    { "{" T("a", "F32", "[1]", "0", "4") "," T("b", "U8", "[1]", "3", "4") "}", 8,
      "tensor b: it begins inside tensor a: they overlap" },
    { "{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "0", "4") "}", 8,
      "they overlap" },
    { "{" T("a", "U8", "[8]", "0", "8") "," T("b", "U8", "[0]", "4", "4") "}", 8, "they overlap" },
    { "{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", 8,
      "duplicate object key" },
    { "{" T("", "F32", "[1]", "0", "4") "}", 4, "a tensor has a name of 0 bytes" },
    { "{" T("a b", "F32", "[1]", "0", "4") "}", 4, "a tensor has a name of 3 bytes" },
    { "{" T("a\\n", "F32", "[1]", "0", "4") "}", 4, "a tensor has a name of 2 bytes" },
    { "{" T("a\\u0000", "F32", "[1]", "0", "4") "}", 4, "no valid JSON" },
};

static void check_refused(const struct buf *b, const char *says)
{
    struct safetensors *s;
    struct err e;
    ck_assert_int_lt(open_bytes(&s, b, &e), 0);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(e.text, says) && strstr(e.text, "made.safetensors: "), "\"%s\" lacks "
                  "\"%s\"", e.text, says);
    ck_assert_msg(!strchr(e.text, '\n'), "%s", e.text);
}

START_TEST(safetensors_bad_header_is_refused_with_a_line)
{
    struct buf b = { 0 };
    make(&b, bad[_i].header, bad[_i].n);
    check_refused(&b, bad[_i].says);
    buf_free(&b);
}
END_TEST

/* The JSON parser calls itself for each level. */
START_TEST(safetensors_deep_header_is_refused)
{
    struct buf b = { 0 }, text = { 0 };
    buf_addf(&text, "{\"a\":");
    for (int i = 0; i < 1 << 20; i++)
        buf_add(&text, "[", 1);
    make(&b, text.p, 0);
    check_refused(&b, "no valid JSON");
    buf_free(&text);
    buf_free(&b);
}
END_TEST

/* Every prefix of a good file is refused, and so are wrong lengths. */
START_TEST(safetensors_cut_file_is_refused)
{
    struct buf b = { 0 };
    make(&b, "{" T("a", "F32", "[2]", "0", "8") "}", 8);
    for (size_t n = b.n; n-- > 0;) {
        const struct buf cut = { .p = b.p, .n = n };
        check_refused(&cut, n < 8 ? "expected a safetensors file"
                              : n < b.n - 8 ? "no safetensors file, or it is truncated"
                                            : "it is truncated, or the header wrong");
    }
    static const uint64_t length[] = { UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63, 1u << 31 };
    for (size_t i = 0; i < sizeof length / sizeof length[0]; i++) {
        memcpy(b.p, &length[i], 8);
        check_refused(&b, "no safetensors file");
    }
    buf_free(&b);
}
END_TEST

START_TEST(safetensors_of_a_missing_or_empty_file_says_so)
{
    struct safetensors *s;
    struct err e = { 0 };
    ck_assert_int_eq(safetensors_open(&s, "/nowhere/x.safetensors", &e), ERR_IO);
    ck_assert(strstr(e.text, "/nowhere/x.safetensors: cannot open"));
    ck_assert_int_eq(safetensors_open(&s, "/dev/null", &e), ERR_IO);
    ck_assert_int_eq(safetensors_open_mem(&s, NULL, 0, "none", &e), ERR_DATA);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *c = tcase_create("safetensors");
    tcase_add_test(c, safetensors_gives_what_the_header_says);
    tcase_add_loop_test(c, safetensors_bad_header_is_refused_with_a_line, 0,
                        (int)(sizeof bad / sizeof bad[0]));
    tcase_add_test(c, safetensors_deep_header_is_refused);
    tcase_add_test(c, safetensors_cut_file_is_refused);
    tcase_add_test(c, safetensors_of_a_missing_or_empty_file_says_so);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
