/* test_vocab_pre.c - which pre-tokenizer a vocabulary gets: by its name, by an
 * argument, and where neither decides by its ids. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/vocab_print.h"
#include "vocab_rig.h"

#define KEY(name) "tokenizer.ggml." name

START_TEST(open_missing_pre_is_default_with_a_warning)
{
    small_bpe();
    opens(NULL);
    ck_assert_str_eq(vocab_kind(v), "bpe/default");
    ck_assert_ptr_nonnull(strstr(warn, KEY("pre") " is missing: default is used"));
    ck_assert(!vocab_add_bos(v));
}
END_TEST

START_TEST(open_missing_pre_is_llama_bpe_where_the_vocabulary_is_llama3s)
{
    make_bpe_bytes(m);
    const int32_t bos = make_token(m, "<|begin_of_text|>", 3, 0);
    make_bpe(m);
    make_u32(m, KEY("bos_token_id"), (uint32_t)bos);
    opens(NULL);
    ck_assert_str_eq(vocab_kind(v), "bpe/llama-bpe");
    ck_assert_ptr_nonnull(strstr(warn, KEY("pre") " is missing: llama-bpe is used"));
    ck_assert(vocab_add_bos(v));
    ck_assert_int_eq(vocab_bos(v), bos);
}
END_TEST

/* The published Llama 3 vocabulary, its last token left out, under a name of
 * its BOS by which it is not known. */
static void llama3_unnamed(void)
{
    struct gguf *g;
    ck_assert_int_eq(gguf_open(&g, "tests/golden/tokenizer/llama3-vocab.gguf", &e), 0);
    static const char *const key[] = { KEY("tokens"), KEY("merges") };
    for (int k = 0; k < 2; k++) {
        const struct gguf_kv *const kv = gguf_kv(g, key[k]);
        ck_assert(kv && kv->n > 1000);
        struct str *const s = malloc(kv->n * sizeof *s);
        uint64_t pos = 0;
        uint64_t n = 0;
        while (n < kv->n && gguf_next_str(kv, &pos, &s[n]))
            n++;
        ck_assert_uint_eq(n, kv->n);
        if (k == 0)
            s[128000] = (struct str){ "<bos>", 5 };
        make_strs(m, key[k], s, kv->n - (k == 0));
        free(s);
    }
    const struct gguf_kv *const types = gguf_kv(g, KEY("token_type"));
    int32_t *const type = malloc(types->n * sizeof *type);
    for (uint64_t i = 0; i < types->n; i++)
        type[i] = (int32_t)gguf_num_at(types, i);
    make_i32s(m, KEY("token_type"), type, types->n - 1);
    free(type);
    make_str(m, KEY("model"), "gpt2");
    make_u32(m, KEY("bos_token_id"), 128000);
    gguf_close(g);
}

START_TEST(open_missing_pre_is_what_gives_the_published_ids)
{
    llama3_unnamed();
    opens(NULL);
    ck_assert_str_eq(vocab_kind(v), "bpe/llama-bpe");
    ck_assert_ptr_nonnull(strstr(warn, "llama-bpe is used, as it gives the published ids"));
}
END_TEST

/* One name, two rules: the ids decide. */
START_TEST(open_falcon3_is_read_as_the_published_ids_say)
{
    static const char *const name[] = { "falcon3", "falcon_e" };
    llama3_unnamed();
    make_str(m, KEY("pre"), name[_i]);
    opens(NULL);
    ck_assert_str_eq(vocab_kind(v), "bpe/llama-bpe");
    ck_assert_str_eq(warn, "");
    ck_assert(vocab_add_bos(v));
}
END_TEST

START_TEST(open_falcon3_of_unknown_ids_is_its_own_with_a_warning)
{
    small_bpe();
    make_str(m, KEY("pre"), "falcon3");
    opens(NULL);
    ck_assert_str_eq(vocab_kind(v), "bpe/falcon3");
    ck_assert_ptr_nonnull(strstr(warn, "falcon3 is used, model.pre = llama-bpe is the other"));
}
END_TEST

START_TEST(open_argument_chooses_between_two_readings)
{
    static const char *const name[] = { "falcon3", "llama-bpe" };
    llama3_unnamed();
    make_str(m, KEY("pre"), "falcon3");
    opens(name[_i]);
    ck_assert_str_eq(vocab_kind(v) + 4, name[_i]);
    ck_assert_str_eq(warn, "");
    char hex[VOCAB_PRINT_SIZE];
    ck_assert_int_eq(vocab_print(v, true, hex), 0);
    ck_assert_str_eq(vocab_print_pre(hex) ? vocab_print_pre(hex) : "", _i ? "llama-bpe" : "");
    ck_assert_int_eq(vocab_print_known(v), _i);
    if (_i)
        SAME(ids("x 1234", 0), 87, 220, 4513, 19);
    else
        SAME(ids("x 1234", 0), 87, 220, 16, 17, 18, 19);
}
END_TEST

START_TEST(open_argument_overrides_the_files_pre)
{
    small_bpe();
    make_str(m, KEY("pre"), "made-up");
    opens("qwen2");
    ck_assert_str_eq(vocab_kind(v), "bpe/qwen2");
    ck_assert_str_eq(warn, "");
}
END_TEST

START_TEST(open_auto_takes_the_files_pre)
{
    small_bpe();
    make_str(m, KEY("pre"), "gpt-2");
    opens("auto");
    ck_assert_str_eq(vocab_kind(v), "bpe/gpt-2");
}
END_TEST

START_TEST(open_knows_the_aliases)
{
    static const char *const alias[][2] = {
        { "llama-bpe", "bpe/llama-bpe" }, { "llama3", "bpe/llama-bpe" },
        { "llama-v3", "bpe/llama-bpe" }, { "falcon3", "bpe/falcon3" }, { "falcon_e", "bpe/falcon3" },
        { "falcon-e", "bpe/falcon3" }, { "qwen2", "bpe/qwen2" }, { "qwen3", "bpe/qwen2" },
    };
    small_bpe();
    opens(alias[_i][0]);
    ck_assert_str_eq(vocab_kind(v), alias[_i][1]);
}
END_TEST

START_TEST(open_unknown_pre_is_refused_by_name_and_lists_the_known)
{
    static const char *const name[] = { "falcon-x", "", "llama-bpe2", "LLAMA3" };
    small_bpe();
    make_str(m, KEY("pre"), name[_i]);
    refused(NULL, ERR_UNSUPPORTED, name[_i],
            "llama-bpe, llama3, llama-v3, falcon3, falcon_e, falcon-e, qwen2, qwen3, gpt-2, default");
}
END_TEST

static void add_tests(TCase *t)
{
    tcase_add_test(t, open_missing_pre_is_default_with_a_warning);
    tcase_add_test(t, open_missing_pre_is_llama_bpe_where_the_vocabulary_is_llama3s);
    tcase_add_test(t, open_missing_pre_is_what_gives_the_published_ids);
    tcase_add_loop_test(t, open_falcon3_is_read_as_the_published_ids_say, 0, 2);
    tcase_add_test(t, open_falcon3_of_unknown_ids_is_its_own_with_a_warning);
    tcase_add_loop_test(t, open_argument_chooses_between_two_readings, 0, 2);
    tcase_add_test(t, open_argument_overrides_the_files_pre);
    tcase_add_test(t, open_auto_takes_the_files_pre);
    tcase_add_loop_test(t, open_knows_the_aliases, 0, 8);
    tcase_add_loop_test(t, open_unknown_pre_is_refused_by_name_and_lists_the_known, 0, 4);
}

int main(void)
{
    Suite *s = suite_create("vocab_pre");
    TCase *t = tcase_create("pre");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    add_tests(t);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
