/* test_pretok.c - the cuts of every pre-tokenizer against its published regular
 * expressions, run by PCRE2; and against what they say about single texts. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/base/file.h"
#include "core/base/utf8.h"
#include "core/model/pretok.h"
#include "core/model/uclass.h"
#include "noise.h"

/* The published expressions, but that \s stands as itself: PCRE2's has U+180E,
 * which the tokenizers' has not. */
#define WS "\\t-\\r\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}" \
           "\\x{202f}\\x{205f}\\x{3000}"
#define LLAMA3(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|[" WS "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS "]+"
#define GPT2 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" \
    "[" WS "]+(?![^" WS "])|[" WS "]+"

static const struct row {
    const char *name;
    const char *stage[PRETOK_MAX_STAGES];
} rows[] = {
    { "llama-bpe", { LLAMA3("\\p{N}{1,3}") } },
    { "falcon3", { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9]" } },
    { "qwen2", { LLAMA3("\\p{N}") } },
    { "gpt-2", { GPT2 } },
    { "default", { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
};
enum { N_ROW = sizeof rows / sizeof *rows };

static uint64_t seed;

static uint32_t below(uint32_t n)
{
    return noise_below(&seed, n);
}

static const struct pretok *find_pre(const char *name)
{
    const struct pretok *t;
    struct err e = { 0 };
    ck_assert_msg(pretok_find(&t, (struct str){ name, strlen(name) }, &e) == 0, "%s", e.text);
    return t;
}

static pcre2_code *compile(const char *pattern)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *const re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    ck_assert_msg(re != NULL, "%s: error %d at %zu", pattern, code, at);
    return re;
}

/* The reference: all cuts of valid UTF-8 as a set of places. */
struct reference {
    pcre2_code *code[PRETOK_MAX_STAGES];
    pcre2_match_data *match;
    unsigned n;
};

static struct reference reference_open(const struct row *row)
{
    struct reference r = { .n = 0 };
    while (r.n < PRETOK_MAX_STAGES && row->stage[r.n]) {
        r.code[r.n] = compile(row->stage[r.n]);
        r.n++;
    }
    r.match = pcre2_match_data_create(1, NULL);
    ck_assert(r.match);
    return r;
}

static void reference_close(struct reference *r)
{
    for (unsigned i = 0; i < r->n; i++)
        pcre2_code_free(r->code[i]);
    pcre2_match_data_free(r->match);
}

static void cut_stage(const struct reference *r, unsigned k, const char *text, size_t n, char *cut)
{
    if (k == r->n || n == 0)
        return;
    size_t at = 0;
    while (at < n && pcre2_match(r->code[k], (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, r->match,
                                 NULL) > 0) {
        const PCRE2_SIZE *const o = pcre2_get_ovector_pointer(r->match);
        const size_t from = o[0], to = o[1];
        cut[from] = cut[to] = 1;
        cut_stage(r, k + 1, text + at, from - at, cut + at);
        cut_stage(r, k + 1, text + from, to - from, cut + from);
        at = to;
    }
    cut_stage(r, k + 1, text + at, n - at, cut + at);
}

static void check_cuts(const struct reference *r, const struct pretok *t, const char *text, size_t n)
{
    char *const cut = calloc(n + 1, 1);
    ck_assert(cut);
    cut_stage(r, 0, text, n, cut);
    cut[0] = cut[n] = 1;
    struct pretok_run run;
    struct str s;
    size_t at = 0;
    pretok_start(&run, t, text, n);
    while (pretok_next(&run, &s)) {
        size_t want = 1;           /* each ck_assert is a system call: none per byte */
        while (!cut[at + want])
            want++;
        if (s.p != text + at || s.n != want)
            ck_abort_msg("%s: piece \"%.*s\" at %zu of \"%.*s\"; %zu bytes were expected",
                         pretok_name(t), (int)s.n, s.p, at, (int)(n < 400 ? n : 400), text, want);
        at += s.n;
    }
    ck_assert_uint_eq(at, n);
    free(cut);
}

static void check_file(const struct reference *r, const struct pretok *t, const char *path)
{
    char *p;
    size_t n;
    ck_assert_int_eq(file_read(path, 1 << 20, &p, &n, NULL), 0);
    ck_assert_uint_gt(n, 1000);
    check_cuts(r, t, p, n);
    free(p);
}

START_TEST(pretok_cuts_texts_as_the_published_expressions)
{
    struct reference r = reference_open(&rows[_i]);
    const struct pretok *const t = find_pre(rows[_i].name);
    check_file(&r, t, "tests/golden/tokenizer/excerpt.txt");
    check_file(&r, t, "tests/golden/tokenizer/llama-bpe.inp");
    check_file(&r, t, "tests/golden/story/prompts.txt");
    reference_close(&r);
}
END_TEST

/* Characters of every class, often those that an expression names; all older
 * than the table, so every PCRE2 knows them. */
static size_t random_char(char *p)
{
    static const char named[] = "'''sStTreREvmlLdD  \t\n\r01239.,!$+<=>^~|`_-aZ";
    static const uint32_t wide[] = {
        0x85, 0xa0, 0x180e, 0x1680, 0x2003, 0x2028, 0x202f, 0x205f, 0x3000, 0x200b, 0xfeff, 0xfffd,
        0x17f, 0x212a, 0x660, 0xb2, 0x2160, 0x3007, 0x1d7ce, 0xa7, 0xab, 0x2019, 0x3001, 0x10100,
        0x300, 0x489, 0x1f600, 0x4e2d, 0xac00, 0x10400, 0x20000, 0xe000, 0x10ffff, 0x3b1, 0x5d0,
    };
    switch (below(4)) {
    case 0:
        return utf8_encode(wide[below(sizeof wide / sizeof *wide)], p);
    case 1:
        return utf8_encode(0x20 + below(0x500), p);
    default:
        *p = named[below(sizeof named - 1)];
        return 1;
    }
}

START_TEST(pretok_cuts_random_texts_as_the_published_expressions)
{
    struct reference r = reference_open(&rows[_i]);
    const struct pretok *const t = find_pre(rows[_i].name);
    char text[256];
    seed = NOISE_SEED;
    for (int round = 0; round < 20000; round++) {
        size_t n = 0;
        for (uint32_t k = 1 + below(round % 8 ? 12 : 60); k > 0; k--)
            n += random_char(text + n);
        check_cuts(&r, t, text, n);
    }
    reference_close(&r);
}
END_TEST

static bool matches(const pcre2_code *re, pcre2_match_data *m, const char *p, size_t n)
{
    return pcre2_match(re, (PCRE2_SPTR)p, n, 0, 0, m, NULL) > 0;
}

/* Of another version PCRE2 may know more characters, and only more. */
START_TEST(uclass_has_unicodes_classes)
{
    static const struct { const char *pattern; unsigned bit; } class[] = {
        { "\\p{L}", UC_LETTER }, { "\\p{N}", UC_NUMBER }, { "\\p{P}", UC_PUNCT },
        { "[" WS "]", UC_SPACE }, { "[\\r\\n]", UC_BREAK }, { "[$+<=>^~|]", UC_MARK },
        { "`", UC_TICK },
    };
    char version[64];
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version);
    const bool same = strcmp(version, uclass_version()) == 0;
    pcre2_match_data *const m = pcre2_match_data_create(1, NULL);
    uclass_open();
    for (size_t k = 0; k < sizeof class / sizeof *class; k++) {
        pcre2_code *const re = compile(class[k].pattern);
        unsigned count = 0;
        for (uint32_t cp = 0; cp < 0x110000; cp++) {
            char c[4];
            size_t n;
            const size_t len = utf8_encode(cp, c);
            if (len == 0)
                continue;
            const bool want = matches(re, m, c, len);
            const bool got = uclass_at((const uint8_t *)c, (const uint8_t *)c + len, &n) &
                             class[k].bit;
            if (n != len || (got != want && (got || same)))
                ck_abort_msg("U+%04X: %s", cp, class[k].pattern);
            count += got;
        }
        ck_assert_uint_gt(count, 0);
        pcre2_code_free(re);
    }
    pcre2_match_data_free(m);
}
END_TEST

/* The pieces of a text with a bar between them. */
static struct buf pieces(const struct pretok *t, const char *text, size_t n)
{
    struct pretok_run run;
    struct buf out = { 0 };
    struct str s;
    const char *at = text;
    pretok_start(&run, t, text, n);
    while (pretok_next(&run, &s)) {
        ck_assert_ptr_eq(s.p, at);
        ck_assert_uint_gt(s.n, 0);
        buf_add(&out, "\x1f", at > text ? 1 : 0);
        buf_add(&out, s.p, s.n);
        at += s.n;
    }
    ck_assert_ptr_eq(at, text + n);
    buf_add(&out, "", 0);
    return out;
}

static const struct {
    const char *pre, *text, *want;    /* want: bars where the cuts are */
} split[] = {
    { "llama-bpe", "Hello world", "Hello| world" },
    { "llama-bpe", "I'LL be 12345 it's", "I|'LL| be| |123|45| it|'s" },
    { "llama-bpe", "a  b\n\n c \n", "a| | b|\n\n| c| \n" },
    { "llama-bpe", "a   ", "a|   " },
    { "llama-bpe", "x...\n\ny", "x|...\n\n|y" },
    { "llama-bpe", "na\xc3\xafve \xe4\xb8\xad\xe6\x96\x87 \xd9\xa1\xd9\xa2",
      "na\xc3\xafve| \xe4\xb8\xad\xe6\x96\x87| |\xd9\xa1\xd9\xa2" },
    { "llama-bpe", "a\xe1\xa0\x8e""b", "a|\xe1\xa0\x8e""b" },
    { "llama-bpe", "a \xe1\xa0\x8e!", "a| \xe1\xa0\x8e!" },
    { "llama-bpe", "a\xc2\xa0\xc2\xa0!", "a|\xc2\xa0|\xc2\xa0|!" },
    { "qwen2", "I'Ll 12345", "I|'Ll| |1|2|3|4|5" },
    { "gpt-2", "I'll I'LL 12345 a  b\n\nc  ", "I|'ll| I|'|LL| 12345| a| | b|\n|\n|c|  " },
    { "gpt-2", "$5.00!", "$|5|.|00|!" },
    { "qwen3", "123\xd9\xa1 4", "1|2|3|\xd9\xa1| |4" },
    { "llama-bpe", "a'\xc5\xbfx'Kb", "a|'\xc5\xbf|x|'Kb" },
    { "falcon3", "I'll pay $5.25+`x` 1234!", "I|'|ll| pay| |$|5|.|2|5|+`|x|`| |1|2|3|4|!" },
    { "falcon_e", "a ,b", "a| |,|b" },
    { "default", "x+12345, 'tis", "x|+|123|45|,| |'|tis" },
    { "default", "a $5 #1 `q` ", "a| |$|5| |#|1| `|q|`| " },
};

START_TEST(pretok_splits_as_its_expressions_say)
{
    const struct pretok *const t = find_pre(split[_i].pre);
    struct buf got = pieces(t, split[_i].text, strlen(split[_i].text));
    for (size_t i = 0; i < got.n; i++)
        if (got.p[i] == '\x1f')
            got.p[i] = '|';
    ck_assert_str_eq(got.p, split[_i].want);
    buf_free(&got);
}
END_TEST

/* The same cuts, and the same as if each bad byte were written U+FFFD. */
START_TEST(pretok_takes_a_byte_that_is_not_utf8_for_a_replacement_character)
{
    static const char *const units[] = {
        "a", "Z", "'s", "'", " ", " ", "  ", "\n", "\r\n", "1", "23", ".", "$", "|", "\xc3\xa9",
        "\xe2\x80\x83", "\xff", "\xe2\x82", "\x80", "\xf0\x9f", "\xed\xa0\x80",
    };
    const struct pretok *const t = find_pre(rows[_i].name);
    seed = NOISE_SEED;
    for (int round = 0; round < 400; round++) {
        struct buf text = { 0 }, clean = { 0 }, spelled = { 0 };
        for (uint32_t n = 1 + below(20); n > 0; n--)
            buf_addf(&text, "%s", units[below(sizeof units / sizeof *units)]);
        for (int pass = 0; pass < 2; pass++) {
            struct buf got = { 0 };
            if (pass)
                got = pieces(t, text.p, text.n);
            const struct buf *from = pass ? &got : &text;
            struct buf *to = pass ? &spelled : &clean;
            for (size_t i = 0; i < from->n;) {
                uint32_t cp;
                const size_t len = utf8_decode(from->p + i, from->n - i, &cp);
                buf_add(to, len ? from->p + i : "\xef\xbf\xbd", len ? len : 3);
                i += len ? len : 1;
            }
            buf_free(&got);
        }
        struct buf want = pieces(t, clean.p, clean.n);
        ck_assert_str_eq(spelled.p, want.p);
        buf_free(&text);
        buf_free(&clean);
        buf_free(&spelled);
        buf_free(&want);
    }
}
END_TEST

static double split_seconds(const struct pretok *t, const char *p, size_t n)
{
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        struct timespec a, b;
        struct pretok_run run;
        struct str s;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        pretok_start(&run, t, p, n);
        while (pretok_next(&run, &s))
            continue;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        const double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
        best = took < best ? took : best;
    }
    return best;
}

START_TEST(pretok_takes_linear_time)
{
    enum { N = 1 << 17 };
    static const char *const units[] = {
        " ", "\n", " \n", "a", "1", "!", "\xe3\x80\x80", "\xff", "'", "\r", "   a", "a1! ",
    };
    const struct pretok *const t = find_pre(rows[_i].name);
    char *p = malloc(N + 8);
    ck_assert(p);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        const size_t len = strlen(units[u]);
        for (size_t i = 0; i < N; i += len)
            memcpy(p + i, units[u], len);
        const double part = split_seconds(t, p, N / 4), all = split_seconds(t, p, N);
        ck_assert_msg(all < 10 * part + 0.01, "%s, \"%s\": %.4f s for a quarter, %.4f s for all",
                      rows[_i].name, units[u], part, all);
    }
    free(p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pretok");
    TCase *t = tcase_create("pretok");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, uclass_has_unicodes_classes);
    tcase_add_loop_test(t, pretok_cuts_texts_as_the_published_expressions, 0, N_ROW);
    tcase_add_loop_test(t, pretok_cuts_random_texts_as_the_published_expressions, 0, N_ROW);
    tcase_add_loop_test(t, pretok_splits_as_its_expressions_say, 0, sizeof split / sizeof *split);
    tcase_add_loop_test(t, pretok_takes_a_byte_that_is_not_utf8_for_a_replacement_character, 0,
                        N_ROW);
    tcase_add_loop_test(t, pretok_takes_linear_time, 0, N_ROW);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
