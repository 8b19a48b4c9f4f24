/* test_vocab_merge.c - the ids of the published Llama 3 vocabulary against
 * merging as it is defined: look at every pair, join the one whose line stands
 * first in the list of merges, begin again. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/utf8.h"
#include "core/model/bpe.h"
#include "core/model/pretok.h"
#include "core/model/vocab.h"
#include "noise.h"

#define LLAMA3 "tests/golden/tokenizer/llama3-vocab.gguf"

static struct gguf *file;
static struct vocab *vocab;
static const struct pretok *pretok;

static struct line {
    struct str text;               /* "left right" */
    uint32_t rank;
} *lines;
static size_t n_line;

static int by_text(const void *a, const void *b)
{
    const struct line *const x = a, *const y = b;
    const size_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    const int d = memcmp(x->text.p, y->text.p, n);
    return d ? d : (x->text.n > y->text.n) - (x->text.n < y->text.n);
}

static void open_row(unsigned row)
{
    struct err e = { 0 };
    pretok = pretok_row(row);
    ck_assert_ptr_nonnull(pretok);
    ck_assert_int_eq(gguf_open(&file, LLAMA3, &e), 0);
    ck_assert_int_eq(vocab_open(&vocab, file, pretok_name(pretok), NULL, &e), 0);
    const struct gguf_kv *const kv = gguf_kv(file, "tokenizer.ggml.merges");
    lines = malloc(kv->n * sizeof *lines);
    ck_assert(lines);
    uint64_t pos = 0;
    for (n_line = 0; n_line < kv->n && gguf_next_str(kv, &pos, &lines[n_line].text); n_line++)
        lines[n_line].rank = (uint32_t)n_line;
    ck_assert_uint_eq(n_line, kv->n);
    qsort(lines, n_line, sizeof *lines, by_text);
}

static void close_row(void)
{
    free(lines);
    vocab_close(vocab);
    gguf_close(file);
}

static uint32_t rank_of(struct str left, struct str right)
{
    char text[1024];
    if (left.n + right.n + 1 > sizeof text)
        return UINT32_MAX;
    memcpy(text, left.p, left.n);
    text[left.n] = ' ';
    memcpy(text + left.n + 1, right.p, right.n);
    const struct line key = { { text, left.n + right.n + 1 }, 0 };
    const struct line *const found = bsearch(&key, lines, n_line, sizeof *lines, by_text);
    return found ? found->rank : UINT32_MAX;
}

/* Joins neighbours in a spelled piece, which lie side by side. */
static size_t merge(struct str *part, size_t n)
{
    for (;;) {
        uint32_t best = UINT32_MAX;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const uint32_t rank = rank_of(part[i], part[i + 1]);
            if (rank < best) {
                best = rank;
                at = i;
            }
        }
        if (best == UINT32_MAX)
            return n;
        part[at].n += part[at + 1].n;
        n--;
        memmove(&part[at + 1], &part[at + 2], (n - at - 1) * sizeof *part);
    }
}

static int32_t id_of(struct str text)
{
    char word[1024];
    if (text.n >= sizeof word)
        return -1;
    memcpy(word, text.p, text.n);
    word[text.n] = 0;
    return vocab_find(vocab, word);
}

/* Compares the ids of a piece with the next of a list; how many there were. */
static size_t check_piece(struct str piece, const int32_t *id, size_t n)
{
    static struct str part[1024];
    struct buf spelled = { 0 };
    size_t n_part = 0, same = 0;
    ck_assert_uint_le(piece.n, sizeof part / sizeof *part);
    bpe_spell(&spelled, piece.p, piece.n);
    const struct str all = { spelled.p, spelled.n };
    if (pretok_ignore_merges(pretok) && id_of(all) >= 0) {
        part[n_part++] = all;
    } else {
        for (size_t i = 0, len; i < all.n; i += len) {
            uint32_t cp;
            len = utf8_decode(all.p + i, all.n - i, &cp);
            part[n_part++] = (struct str){ all.p + i, len };
        }
        n_part = merge(part, n_part);
    }
    while (same < n_part && same < n && id[same] == id_of(part[same]))
        same++;
    if (same < n_part)
        ck_abort_msg("%s: \"%.*s\": token %zu is %d, not \"%.*s\"", pretok_name(pretok),
                     (int)piece.n, piece.p, same, same < n ? id[same] : -1, (int)part[same].n,
                     part[same].p);
    buf_free(&spelled);
    return n_part;
}

static void check_text(const char *p, size_t n)
{
    struct tokens t = { 0 };
    struct pretok_run run;
    struct str piece;
    size_t at = 0;
    ck_assert_int_eq(vocab_encode(vocab, p, n, 0, 0, &t, NULL), 0);
    pretok_start(&run, pretok, p, n);
    while (pretok_next(&run, &piece))
        at += check_piece(piece, t.id + at, t.n - at);
    if (at != t.n)
        ck_abort_msg("%s: %zu tokens, not %zu", pretok_name(pretok), t.n, at);
    free(t.id);
}

static void check_file(const char *path)
{
    char *p;
    size_t n;
    ck_assert_int_eq(file_read(path, 1 << 20, &p, &n, NULL), 0);
    check_text(p, n);
    check_text(p, n);              /* now with what the first time found out */
    free(p);
}

/* Letters without a cut, from lengths that are merged one way to lengths that
 * are merged another, and bytes of any value. */
static void check_random(void)
{
    static const char *const unit[] = {
        "a", "e", "th", "ing", "tion", "\xc3\xa9", "\xd0\xb4", "\xe4\xb8\xad", "x", "Q", "re",
    };
    uint64_t s = NOISE_SEED;
    char text[512];
    for (int round = 0; round < 1500; round++) {
        size_t n = 0;
        for (int k = 1 + round % 40; k > 0; k--) {
            const char *const u = unit[noise_below(&s, sizeof unit / sizeof *unit)];
            if (round % 5) {
                memcpy(text + n, u, strlen(u));
                n += strlen(u);
            } else {
                text[n++] = (char)(s >> 40);
            }
        }
        check_text(text, n);
    }
}

START_TEST(vocab_ids_are_what_merging_is_defined_to_give)
{
    open_row((unsigned)_i);
    check_file("tests/golden/tokenizer/excerpt.txt");
    check_file("tests/golden/tokenizer/llama-bpe.inp");
    check_random();
    close_row();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vocab_merge");
    TCase *t = tcase_create("merge");
    int rows = 0;
    while (pretok_row((unsigned)rows))
        rows++;
    tcase_set_timeout(t, 240);
    tcase_add_loop_test(t, vocab_ids_are_what_merging_is_defined_to_give, 0, rows);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
