/* test_vocab_open.c - what a file's tokenizer keys may say, and what is
 * refused, mended with a warning, or decided for it. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vocab_rig.h"

#define KEY(name) "tokenizer.ggml." name

static void small_spm(void)
{
    make_spm_base(m);
    make_token(m, "\xe2\x96\x81", 1, -1);
    make_token(m, "a", 1, -2);
    make_token(m, "\xe2\x96\x81" "a", 1, -3);
    make_spm(m);
}

START_TEST(open_unknown_model_is_refused_by_name_and_lists_the_known)
{
    make_str(m, KEY("model"), "bert");
    refused(NULL, ERR_UNSUPPORTED, "bert", "known are gpt2 (byte-level BPE) and llama (SPM)");
}
END_TEST

START_TEST(open_missing_model_is_refused)
{
    make_str(m, "general.name", "x");
    refused(NULL, ERR_DATA, KEY("model"), "missing");
}
END_TEST

static void bpe_but(const char *key)
{
    make_bpe_bytes(m);
    make_str(m, KEY("model"), "gpt2");
    if (strcmp(key, KEY("tokens")) != 0)
        make_strs(m, KEY("tokens"), m->text, m->n_token);
    if (strcmp(key, KEY("merges")) != 0)
        make_strs(m, KEY("merges"), m->merge, 0);
}

START_TEST(open_missing_arrays_are_refused)
{
    static const char *const key[] = { KEY("tokens"), KEY("merges") };
    bpe_but(key[_i]);
    refused("gpt-2", ERR_DATA, key[_i], "is missing");
}
END_TEST

START_TEST(open_spm_without_types_or_scores_is_refused)
{
    make_spm_base(m);
    make_str(m, KEY("model"), "llama");
    make_strs(m, KEY("tokens"), m->text, m->n_token);
    if (_i)
        make_i32s(m, KEY("token_type"), m->type, m->n_token);
    refused(NULL, ERR_DATA, _i ? KEY("scores") : KEY("token_type"), "is missing");
}
END_TEST

START_TEST(open_arrays_of_another_type_are_refused)
{
    bpe_but(KEY("tokens"));
    make_i32s(m, KEY("tokens"), m->type, m->n_token);
    refused("gpt-2", ERR_DATA, KEY("tokens"), "not the array");
}
END_TEST

START_TEST(open_arrays_of_another_length_are_refused)
{
    bpe_but("");
    make_i32s(m, KEY("token_type"), m->type, m->n_token - 1);
    refused("gpt-2", ERR_DATA, KEY("token_type") ": 255 entries", "256 tokens");
}
END_TEST

START_TEST(open_no_tokens_is_refused)
{
    make_str(m, KEY("model"), "gpt2");
    make_strs(m, KEY("tokens"), m->text, 0);
    refused("gpt-2", ERR_DATA, KEY("tokens"), "0 tokens");
}
END_TEST

START_TEST(open_token_types_out_of_range_are_refused)
{
    make_bpe_bytes(m);
    m->type[7] = _i ? 7 : -1;
    make_bpe(m);
    refused("gpt-2", ERR_DATA, "token 7 has type", "0 to 6");
}
END_TEST

START_TEST(open_scores_that_are_no_numbers_are_refused)
{
    make_spm_base(m);
    m->score[9] = NAN;
    make_spm(m);
    refused(NULL, ERR_DATA, KEY("scores"), "token 9");
}
END_TEST

START_TEST(open_byte_tokens_with_other_texts_are_refused)
{
    static const char *const text[] = { "<0x4>", "<0x4G>", "<0y41>", "A", "" };
    make_spm_base(m);
    make_token(m, text[_i], 6, 0);
    make_spm(m);
    refused(NULL, ERR_DATA, "token 259 is of type byte", "<0x00>");
}
END_TEST

START_TEST(open_ids_out_of_range_are_refused)
{
    static const char *const key[] = {
        KEY("bos_token_id"), KEY("eos_token_id"), KEY("unknown_token_id"), KEY("eot_token_id"),
        KEY("eom_token_id"),
    };
    small_bpe();
    make_u32(m, key[_i], m->n_token);
    refused("gpt-2", ERR_DATA, key[_i], "expected one of the 258 tokens");
}
END_TEST

START_TEST(open_all_ones_mean_no_id)
{
    small_bpe();
    make_u32(m, KEY("eos_token_id"), UINT32_MAX);
    make_bool(m, KEY("add_bos_token"), true);
    opens("llama3");
    ck_assert_int_eq(vocab_eos(v), -1);
    ck_assert_int_eq(vocab_bos(v), -1);
    ck_assert(!vocab_add_bos(v));
    ck_assert_ptr_nonnull(strstr(warn, "BOS"));
}
END_TEST

START_TEST(open_spm_ids_have_defaults)
{
    small_spm();
    opens(NULL);
    ck_assert_str_eq(vocab_kind(v), "spm");
    ck_assert_int_eq(vocab_bos(v), 1);
    ck_assert_int_eq(vocab_eos(v), 2);
    ck_assert(vocab_add_bos(v) && vocab_is_eog(v, 2) && !vocab_is_eog(v, 1));
    SAME(ids("a", VOCAB_BOS), 1, 261);
    ck_assert_str_eq(warn, "");
}
END_TEST

START_TEST(open_add_bos_in_the_file_decides)
{
    small_spm();
    make_bool(m, KEY("add_bos_token"), false);
    opens(NULL);
    ck_assert(!vocab_add_bos(v));
    SAME(ids("a", VOCAB_BOS), 261);
}
END_TEST

START_TEST(open_space_prefix_in_the_file_decides)
{
    small_spm();
    make_bool(m, KEY("add_space_prefix"), false);
    opens(NULL);
    SAME(ids("a", 0), 260);
    struct detok d = { 0 };
    struct buf out = { 0 };
    detok_feed(v, &d, 261, false, &out);
    ck_assert_str_eq(out.p, " a");
    buf_free(&out);
}
END_TEST

/* As Gemma's vocabulary is written: a score is the rank of the merge turned
 * over, runs of white space are tokens, no space is put in front. */
START_TEST(open_spm_scores_from_merge_ranks_merge_in_their_order)
{
    static const char *const piece[] = { "\xe2\x96\x81", "a", "b", "\n" };
    static const char *const merged[] = {
        "\xe2\x96\x81\xe2\x96\x81", "\xe2\x96\x81\xe2\x96\x81\xe2\x96\x81\xe2\x96\x81",
        "ab", "\xe2\x96\x81" "a", "\xe2\x96\x81" "ab", "\xe2\x96\x81\xe2\x96\x81" "a",
    };
    enum { MARK = 259, A, B, LINE, MARK2, MARK4, AB, MARK_A, MARK_AB, MARK2_A, LINES, PAD };
    make_spm_base(m);
    for (int i = 0; i < 4; i++)
        make_token(m, piece[i], 1, 0);
    for (int i = 0; i < 6; i++)
        make_token(m, merged[i], 1, -(float)i);
    ck_assert_int_eq(make_token(m, "\n\n", 4, -1000), LINES);
    ck_assert_int_eq(make_token(m, "[PAD7]", 5, -10000), PAD);
    make_spm(m);
    make_str(m, KEY("pre"), "default");
    make_bool(m, KEY("add_space_prefix"), false);
    opens(NULL);
    ck_assert_str_eq(vocab_kind(v), "spm");
    ck_assert_str_eq(warn, "");
    SAME(ids("ab", VOCAB_BOS), 1, AB);
    SAME(ids(" ab", 0), MARK_AB);
    SAME(ids("  ab", 0), MARK2, AB);
    SAME(ids("   aab", 0), MARK2, MARK_A, AB);
    SAME(ids("     b", 0), MARK4, MARK, B);
    SAME(ids("\n\n\na", 0), LINES, LINE, A);
    SAME(ids("a</s> a", VOCAB_SPECIAL), A, 2, MARK_A);
    SAME(ids("a\xc3\xa9\t", 0), A, 3 + 0xc3, 3 + 0xa9, 3 + '\t');
    struct tokens t = ids("[PAD7]", 0);
    for (size_t i = 0; i < t.n; i++)
        ck_assert_int_ne(t.id[i], PAD);
    free(t.id);
}
END_TEST

START_TEST(open_merges_of_missing_tokens_are_skipped_and_counted)
{
    static const struct str merges[] = {
        { "a b", 3 }, { "x yz", 4 }, { "ab q", 4 }, { "zz x", 4 }, { "ab c", 4 }, { "a b", 3 },
    };
    make_bpe_bytes(m);
    make_token(m, "ab", 1, 0);
    make_token(m, "abc", 1, 0);
    make_str(m, KEY("model"), "gpt2");
    make_strs(m, KEY("tokens"), m->text, m->n_token);
    make_strs(m, KEY("merges"), merges, 6);
    opens("gpt-2");
    ck_assert_ptr_nonnull(strstr(warn, "3 merges name a missing token"));
    SAME(ids("abcab", 0), 257, 256);
}
END_TEST

START_TEST(open_merges_that_are_not_two_are_refused)
{
    static const struct str merge[] = { { "ab", 2 }, { "", 0 }, { " ", 1 }, { " ab", 3 } };
    bpe_but(KEY("merges"));
    make_strs(m, KEY("merges"), &merge[_i], 1);
    refused("gpt-2", ERR_DATA, "entry 0 is not two tokens", KEY("merges"));
}
END_TEST

START_TEST(open_repeated_tokens_are_counted_and_the_first_is_used)
{
    make_bpe_bytes(m);
    make_token(m, "a", 1, 0);
    make_token(m, "a", 1, 0);
    make_bpe(m);
    opens("gpt-2");
    ck_assert_ptr_nonnull(strstr(warn, "2 tokens repeat"));
    ck_assert_int_eq(vocab_find(v, "a"), 'a');
    SAME(ids("a", 0), 'a');
}
END_TEST

START_TEST(open_bytes_without_a_token_are_counted_and_dropped)
{
    make_bpe_bytes(m);
    m->text['b'] = (struct str){ "nob", 3 };
    make_bpe(m);
    opens("gpt-2");
    ck_assert_ptr_nonnull(strstr(warn, "1 of 256 bytes"));
    SAME(ids("abc", 0), 'a', 'c');
}
END_TEST

START_TEST(open_spm_without_byte_tokens_gives_unknown)
{
    make_token(m, "<unk>", 2, 0);
    make_token(m, "<s>", 3, 0);
    make_token(m, "</s>", 3, 0);
    make_token(m, "a", 1, 0);
    make_token(m, "\xe2\x96\x81", 1, 0);
    make_spm(m);
    opens(NULL);
    SAME(ids("a\xc3\xa9z", 0), 4, 3, 0, 0);
    SAME(ids("a<unk>", VOCAB_SPECIAL), 4, 3, 0);
    SAME(ids("a\xe2\x96\x81", 0), 4, 3, 4);
}
END_TEST

START_TEST(open_end_texts_end_a_generation_and_are_control)
{
    static const char *const text[] = {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",
        "<EOT>",
    };
    make_bpe_bytes(m);
    int32_t id[7];
    for (int i = 0; i < 7; i++)
        id[i] = make_token(m, text[i], i % 2 ? 4 : 1, 0);
    const int32_t other = make_token(m, "<|other|>", 3, 0), eot = make_token(m, "<turn>", 3, 0);
    make_bpe(m);
    make_u32(m, KEY("eos_token_id"), 5);
    make_u32(m, KEY("eot_token_id"), (uint32_t)eot);
    opens("gpt-2");
    for (int i = 0; i < 7; i++) {
        ck_assert(vocab_is_eog(v, id[i]) && vocab_is_control(v, id[i]));
        SAME(ids(text[i], VOCAB_SPECIAL), id[i]);
        struct tokens t = ids(text[i], 0);
        ck_assert_uint_eq(t.n, strlen(text[i]));
        free(t.id);
    }
    ck_assert(vocab_is_eog(v, 5) && vocab_is_eog(v, eot) && !vocab_is_eog(v, other));
    ck_assert(!vocab_is_control(v, 5) && vocab_is_control(v, other));
    ck_assert(!vocab_is_eog(v, -1) && !vocab_is_eog(v, (int32_t)m->n_token));
}
END_TEST

START_TEST(open_user_defined_tokens_are_cut_without_asking)
{
    make_bpe_bytes(m);
    const int32_t pad = make_token(m, "[PAD1]", 4, 0), ctl = make_token(m, "[CTL]", 3, 0);
    make_bpe(m);
    opens("gpt-2");
    SAME(ids("a[PAD1]b", 0), 'a', pad, 'b');
    SAME(ids("[CTL]", 0), '[', 'C', 'T', 'L', ']');
    SAME(ids("[CTL][PAD1]", VOCAB_SPECIAL), ctl, pad);
}
END_TEST

/* Merging, and a piece that is a token whole, must not reach a control token. */
START_TEST(open_merges_never_make_a_control_token)
{
    make_bpe_bytes(m);
    make_merge(m, "s", "y");
    make_merge(m, "sy", "s");
    m->type[257] = 3;
    make_bpe(m);
    opens("llama-bpe");
    SAME(ids("sys", 0), 256, 's');
    SAME(ids("sys", VOCAB_SPECIAL), 257);
}
END_TEST

START_TEST(open_piece_that_is_a_token_ignores_merges)
{
    make_bpe_bytes(m);
    make_token(m, "abc", 1, 0);            /* no merge leads there */
    make_merge(m, "a", "b");
    make_bpe(m);
    opens(_i ? "llama-bpe" : "qwen2");
    if (_i)
        SAME(ids("abc", 0), 256);
    else
        SAME(ids("abc", 0), 257, 'c');
}
END_TEST

START_TEST(open_text_with_foreign_characters_is_itself)
{
    make_bpe_bytes(m);
    const int32_t id = make_token(m, "\xe4\xb8\xad x", 1, 0);
    make_bpe(m);
    opens("gpt-2");
    struct buf out = { 0 };
    vocab_piece(v, id, false, &out);
    ck_assert_str_eq(out.p, "\xe4\xb8\xad x");
    buf_free(&out);
}
END_TEST

START_TEST(open_needs_no_err_and_no_warn)
{
    make_str(m, KEY("model"), "bert");
    ck_assert_int_eq(make_open(m, &v, NULL, NULL, NULL), ERR_UNSUPPORTED);
    ck_assert_ptr_null(v);
}
END_TEST

static void add_tests(TCase *t)
{
    tcase_add_test(t, open_unknown_model_is_refused_by_name_and_lists_the_known);
    tcase_add_test(t, open_missing_model_is_refused);
    tcase_add_loop_test(t, open_missing_arrays_are_refused, 0, 2);
    tcase_add_loop_test(t, open_spm_without_types_or_scores_is_refused, 0, 2);
    tcase_add_test(t, open_arrays_of_another_type_are_refused);
    tcase_add_test(t, open_arrays_of_another_length_are_refused);
    tcase_add_test(t, open_no_tokens_is_refused);
    tcase_add_loop_test(t, open_token_types_out_of_range_are_refused, 0, 2);
    tcase_add_test(t, open_scores_that_are_no_numbers_are_refused);
    tcase_add_loop_test(t, open_byte_tokens_with_other_texts_are_refused, 0, 5);
    tcase_add_loop_test(t, open_ids_out_of_range_are_refused, 0, 5);
    tcase_add_test(t, open_all_ones_mean_no_id);
    tcase_add_test(t, open_spm_ids_have_defaults);
    tcase_add_test(t, open_add_bos_in_the_file_decides);
    tcase_add_test(t, open_space_prefix_in_the_file_decides);
    tcase_add_test(t, open_spm_scores_from_merge_ranks_merge_in_their_order);
    tcase_add_test(t, open_merges_of_missing_tokens_are_skipped_and_counted);
    tcase_add_loop_test(t, open_merges_that_are_not_two_are_refused, 0, 4);
    tcase_add_test(t, open_repeated_tokens_are_counted_and_the_first_is_used);
    tcase_add_test(t, open_bytes_without_a_token_are_counted_and_dropped);
    tcase_add_test(t, open_spm_without_byte_tokens_gives_unknown);
    tcase_add_test(t, open_end_texts_end_a_generation_and_are_control);
    tcase_add_test(t, open_user_defined_tokens_are_cut_without_asking);
    tcase_add_test(t, open_merges_never_make_a_control_token);
    tcase_add_loop_test(t, open_piece_that_is_a_token_ignores_merges, 0, 2);
    tcase_add_test(t, open_text_with_foreign_characters_is_itself);
    tcase_add_test(t, open_needs_no_err_and_no_warn);
}

int main(void)
{
    Suite *s = suite_create("vocab_open");
    TCase *t = tcase_create("open");
    tcase_add_checked_fixture(t, setup, teardown);
    add_tests(t);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
