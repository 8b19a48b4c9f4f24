/* test_vocab_parts.c - the parts of a tokenizer against slow and simple
 * versions of themselves that follow the definitions word for word. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/vocab_heap.h"
#include "core/model/vocab_special.h"
#include "noise.h"
#include "vocab_make.h"

static uint64_t seed;

static uint32_t below(uint32_t n)
{
    return noise_below(&seed, n);
}

START_TEST(heap_gives_keys_in_order)
{
    struct heap h = { 0 };
    for (int i = 0; i < 5000; i++)
        ck_assert_int_eq(heap_push(&h, heap_key(below(50), below(1000))), 0);
    uint64_t last = 0;
    for (int i = 0; i < 5000; i++) {
        const uint64_t key = heap_pop(&h);
        ck_assert(key >= last);
        last = key;
    }
    ck_assert_uint_eq(h.n, 0);
    heap_free(&h);
}
END_TEST

/* The rule as it is told: for each token, longest first, cut every occurrence
 * that touches nothing cut before, from left to right. */
static size_t cut_slowly(const struct special_text *list, uint32_t n, const char *text, size_t len,
                         int32_t *owner)
{
    size_t cuts = 0;
    for (size_t i = 0; i < len; i++)
        owner[i] = -1;
    for (uint32_t k = 0; k < n; k++) {
        const size_t m = list[k].text.n;
        for (size_t at = 0; at + m <= len; at++) {
            bool is_free = memcmp(text + at, list[k].text.p, m) == 0;
            for (size_t i = 0; is_free && i < m; i++)
                is_free = owner[at + i] < 0;
            if (!is_free)
                continue;
            for (size_t i = 0; i < m; i++)
                owner[at + i] = list[k].id;
            cuts++;
        }
    }
    return cuts;
}

static void check_cuts(struct special_text *list, uint32_t n, const char *text, size_t len)
{
    struct special *s;
    struct cut *cut;
    size_t n_cut, want;
    int32_t owner[64];
    ck_assert_int_eq(special_open(&s, list, n, NULL), 0);   /* sorts as the rule says */
    want = cut_slowly(list, n, text, len, owner);
    ck_assert_int_eq(special_cut(s, text, len, &cut, &n_cut), 0);
    ck_assert_uint_eq(n_cut, want);
    size_t at = 0;
    for (size_t i = 0; i < n_cut; i++) {
        ck_assert(cut[i].at >= at);
        for (; at < cut[i].at; at++)
            ck_assert_int_eq(owner[at], -1);
        for (; at < (size_t)cut[i].at + cut[i].n; at++)
            ck_assert_int_eq(owner[at], cut[i].id);
    }
    for (; at < len; at++)
        ck_assert_int_eq(owner[at], -1);
    ck_assert(n_cut > 0 || cut == NULL);
    free(cut);
    special_close(s);
}

START_TEST(special_tokens_are_cut_longest_first)
{
    seed = NOISE_SEED;
    for (int round = 0; round < 1000; round++) {
        char word[12][8], text[64];
        struct special_text list[12];
        const uint32_t n = below(13), len = below(65), letters = 1 + below(3);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t m = 1 + below(7);
            for (uint32_t j = 0; j < m; j++)
                word[i][j] = (char)('a' + below(letters));
            bool twice = false;
            for (uint32_t k = 0; k < kept; k++)
                twice |= list[k].text.n == m && memcmp(list[k].text.p, word[i], m) == 0;
            if (!twice)
                list[kept++] = (struct special_text){ { word[i], m }, (int32_t)i };
        }
        for (uint32_t i = 0; i < len; i++)
            text[i] = (char)('a' + below(letters));
        check_cuts(list, kept, text, len);
    }
}
END_TEST

START_TEST(special_texts_have_a_limit)
{
    static char big[65535];
    static struct special_text list[100];
    struct special *s;
    struct err e = { 0 };
    for (int i = 0; i < 100; i++)
        list[i] = (struct special_text){ { big, sizeof big }, i };
    ck_assert_int_eq(special_open(&s, list, 100, &e), ERR_LIMIT);
    ck_assert_ptr_null(s);
}
END_TEST

/* A symbol list merged by looking at every pair, each time. rank: smaller
 * first, UINT32_MAX for no merge. */
struct slow {
    char text[256][64];
    int n;
};

static uint32_t bpe_rank(const struct make *m, const char *left, const char *right)
{
    char line[160];
    const int n = snprintf(line, sizeof line, "%s %s", left, right);
    for (uint32_t i = 0; i < m->n_merge; i++)
        if (m->merge[i].n == (size_t)n && memcmp(m->merge[i].p, line, (size_t)n) == 0)
            return i;
    return UINT32_MAX;
}

static uint32_t spm_rank(const struct make *m, const char *left, const char *right)
{
    char both[160];
    snprintf(both, sizeof both, "%s%s", left, right);
    for (uint32_t i = 0; i < m->n_token; i++)
        if (m->type[i] == 1 && strcmp(m->text[i].p, both) == 0)
            return (uint32_t)(1000 - m->score[i]);
    return UINT32_MAX;
}

static void merge_slowly(const struct make *m, struct slow *s,
                         uint32_t (*rank)(const struct make *, const char *, const char *))
{
    for (;;) {
        uint32_t best = UINT32_MAX;
        int at = 0;
        for (int i = 0; i + 1 < s->n; i++) {
            const uint32_t r = rank(m, s->text[i], s->text[i + 1]);
            if (r < best) {
                best = r;
                at = i;
            }
        }
        if (best == UINT32_MAX)
            return;
        const size_t have = strlen(s->text[at]), more = strlen(s->text[at + 1]);
        ck_assert_uint_lt(have + more, sizeof s->text[0]);
        for (size_t i = 0; i <= more; i++)
            s->text[at][have + i] = s->text[at + 1][i];
        s->n--;
        memmove(s->text[at + 1], s->text[at + 2], (size_t)(s->n - at - 1) * sizeof s->text[0]);
    }
}

static void check_merges(const struct make *m, const struct vocab *v, const char *text,
                         struct slow *s,
                         uint32_t (*rank)(const struct make *, const char *, const char *))
{
    struct tokens t = { 0 };
    merge_slowly(m, s, rank);
    ck_assert_int_eq(vocab_encode(v, text, strlen(text), 0, 0, &t, NULL), 0);
    ck_assert_int_eq((int)t.n, s->n);
    for (int i = 0; i < s->n; i++)
        ck_assert_int_eq(t.id[i], vocab_find(v, s->text[i]));
    free(t.id);
}

/* Random merges over three letters; the result of a merge takes part in later
 * ones, and one token may be the result of several. */
START_TEST(bpe_merges_by_rank_then_from_the_left)
{
    static struct slow s;
    seed = NOISE_SEED;
    for (int round = 0; round < 60; round++) {
        struct make *m = calloc(1, sizeof *m);
        struct vocab *v;
        char text[64];
        make_bpe_bytes(m);
        const uint32_t n_merge = below(20);
        for (uint32_t i = 0; i < n_merge; i++) {
            struct str part[2];
            for (int k = 0; k < 2; k++) {
                const uint32_t pick = below(3 + m->n_token - 256);
                part[k] = m->text[pick < 3 ? 'a' + pick : 256 + pick - 3];
            }
            if (part[0].n + part[1].n < 20 && bpe_rank(m, part[0].p, part[1].p) == UINT32_MAX)
                make_merge(m, part[0].p, part[1].p);
        }
        make_bpe(m);
        ck_assert_int_eq(make_open(m, &v, "gpt-2", NULL, NULL), 0);
        for (int k = 0; k < 30; k++) {
            const uint32_t n = 1 + below(40);
            s.n = (int)n;
            for (uint32_t i = 0; i < n; i++) {
                text[i] = (char)('a' + below(3));
                memcpy(s.text[i], (char[2]){ text[i] }, 2);
            }
            text[n] = 0;
            check_merges(m, v, text, &s, bpe_rank);
        }
        vocab_close(v);
        make_free(m);
    }
}
END_TEST

/* In half of the vocabularies tokens reach over spaces, so that words cannot
 * be merged one by one. */
START_TEST(spm_merges_by_score_then_from_the_left)
{
    static const char *const letters[] = { "a", "b", "\xc3\xa9", "\xe2\x96\x81" };
    static struct slow s;
    seed = NOISE_SEED;
    for (int round = 0; round < 60; round++) {
        struct make *m = calloc(1, sizeof *m);
        struct vocab *v;
        make_spm_base(m);
        for (int i = 0; i < 4; i++)
            make_token(m, letters[i], 1, -100);
        for (uint32_t i = below(25); i > 0; i--) {
            char piece[24] = "";
            for (uint32_t k = 2 + below(5); k > 0; k--)
                strcat(piece, letters[below(round % 2 || !*piece ? 4 : 3)]);
            if (spm_rank(m, piece, "") == UINT32_MAX)
                make_token(m, piece, 1, -(float)below(8));   /* scores repeat */
        }
        make_spm(m);
        make_bool(m, "tokenizer.ggml.add_space_prefix", false);
        ck_assert_int_eq(make_open(m, &v, NULL, NULL, NULL), 0);
        for (int k = 0; k < 30; k++) {
            char text[96] = "";
            s.n = 1 + (int)below(40);
            for (int i = 0; i < s.n; i++) {
                const uint32_t pick = below(k % 3 ? 4 : 3);
                strcpy(s.text[i], letters[pick]);
                strcat(text, pick == 3 ? " " : letters[pick]);
            }
            check_merges(m, v, text, &s, spm_rank);
        }
        vocab_close(v);
        make_free(m);
    }
}
END_TEST

static void same_ids(const struct vocab *v, const char *text, unsigned flags, size_t n,
                     const int32_t *want)
{
    struct tokens t = { 0 };
    ck_assert_int_eq(vocab_encode(v, text, strlen(text), flags, 0, &t, NULL), 0);
    ck_assert_uint_eq(t.n, n);
    ck_assert_mem_eq(t.id, want, n * sizeof *want);
    free(t.id);
}

/* For embeddings; a prompt is to go on, so nobody else asks for it. */
START_TEST(eos_is_put_last_once_where_the_file_wants_it)
{
    struct make *m = calloc(1, sizeof *m);
    struct vocab *v;
    struct tokens t = { 0 };
    make_spm_base(m);
    const int32_t a = make_token(m, "a", 1, -1), with[] = { a, 2 };
    make_spm(m);
    make_bool(m, "tokenizer.ggml.add_space_prefix", false);
    make_bool(m, "tokenizer.ggml.add_bos_token", false);
    make_bool(m, "tokenizer.ggml.add_eos_token", true);
    make_u32(m, "tokenizer.ggml.eos_token_id", 2);
    ck_assert_int_eq(make_open(m, &v, NULL, NULL, NULL), 0);
    same_ids(v, "a", VOCAB_EOS, 2, with);
    same_ids(v, "a", 0, 1, with);
    same_ids(v, "a</s>", VOCAB_EOS | VOCAB_SPECIAL, 2, with);
    ck_assert_int_eq(vocab_encode(v, "a", 1, VOCAB_EOS, 1, &t, NULL), ERR_LIMIT);
    free(t.id);
    vocab_close(v);
    make_free(m);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vocab_parts");
    TCase *t = tcase_create("parts");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, heap_gives_keys_in_order);
    tcase_add_test(t, special_tokens_are_cut_longest_first);
    tcase_add_test(t, special_texts_have_a_limit);
    tcase_add_test(t, bpe_merges_by_rank_then_from_the_left);
    tcase_add_test(t, spm_merges_by_score_then_from_the_left);
    tcase_add_test(t, eos_is_put_last_once_where_the_file_wants_it);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
