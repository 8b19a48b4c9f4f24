/* Promises of core/engine/kv.h. */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "core/engine/kv.h"

enum { N_PAGE = 10, PAGE_TOK = 16 };

static struct kv kv;

static void setup(void)
{
    struct err err;
    ck_assert_int_eq(kv_open(&kv, N_PAGE, PAGE_TOK, &err), 0);
}

static void teardown(void)
{
    kv_close(&kv);
}

static struct kv_seq seq_of(uint32_t max_tok)
{
    struct kv_seq s;
    struct err err;
    ck_assert_int_eq(kv_seq_open(&s, &kv, max_tok, &err), 0);
    return s;
}

START_TEST(kv_pages_are_whole)
{
    ck_assert_uint_eq(kv_pages_for(&kv, 0), 0);
    ck_assert_uint_eq(kv_pages_for(&kv, 1), 1);
    ck_assert_uint_eq(kv_pages_for(&kv, 16), 1);
    ck_assert_uint_eq(kv_pages_for(&kv, 17), 2);
    ck_assert_uint_eq(kv_pages_for(&kv, UINT32_MAX), 1u << 28);
}
END_TEST

START_TEST(kv_zero_pages_are_refused)
{
    struct kv k;
    struct err err = { 0 };
    ck_assert_int_eq(kv_open(&k, 0, PAGE_TOK, &err), ERR_ARG);
    ck_assert_int_eq(kv_open(&k, 4, 0, &err), ERR_ARG);
    ck_assert_int_eq(kv_open(&k, (uint32_t)INT32_MAX + 1, 16, &err), ERR_ARG);
    ck_assert_int_eq(err.code, ERR_ARG);
}
END_TEST

START_TEST(kv_reserved_pages_are_distinct_and_counted_once)
{
    struct kv_seq a = seq_of(80), b = seq_of(80);
    bool seen[N_PAGE] = { false };
    ck_assert(kv_reserve(&kv, &a, 80));
    ck_assert(kv_reserve(&kv, &b, 80));
    ck_assert_uint_eq(kv.n_free, 0);
    for (uint32_t i = 0; i < 5; i++) {
        const int32_t p[] = { a.page[i], b.page[i] };
        for (int j = 0; j < 2; j++) {
            ck_assert(p[j] >= 0 && p[j] < N_PAGE && !seen[p[j]]);
            seen[p[j]] = true;
            ck_assert_uint_eq(kv.count[p[j]], 1);
        }
    }
    kv_seq_close(&kv, &a);
    kv_seq_close(&kv, &b);
    ck_assert_uint_eq(kv.n_free, N_PAGE);
}
END_TEST

START_TEST(kv_reserve_grows_by_what_is_missing)
{
    struct kv_seq a = seq_of(160);
    ck_assert(kv_reserve(&kv, &a, 16));
    int32_t first = a.page[0];
    ck_assert(kv_reserve(&kv, &a, 16));
    ck_assert(kv_reserve(&kv, &a, 3));
    ck_assert_uint_eq(a.n_page, 1);
    ck_assert(kv_reserve(&kv, &a, 17));
    ck_assert_uint_eq(a.n_page, 2);
    ck_assert_int_eq(a.page[0], first);
    kv_seq_close(&kv, &a);
}
END_TEST

START_TEST(kv_short_reserve_changes_nothing)
{
    struct kv_seq a = seq_of(160), b = seq_of(160);
    ck_assert(kv_reserve(&kv, &a, 7 * 16));
    ck_assert(kv_reserve(&kv, &b, 16));
    ck_assert(!kv_reserve(&kv, &b, 4 * 16));
    ck_assert_uint_eq(b.n_page, 1);
    ck_assert_uint_eq(kv.n_free, 2);
    ck_assert(kv_reserve(&kv, &b, 3 * 16));
    kv_seq_close(&kv, &a);
    kv_seq_close(&kv, &b);
}
END_TEST

START_TEST(kv_sequence_stays_within_its_table)
{
    struct kv_seq a = seq_of(33);
    ck_assert_uint_eq(a.max_page, 3);
    ck_assert(!kv_reserve(&kv, &a, 49));
    ck_assert_uint_eq(a.n_page, 0);
    ck_assert(kv_reserve(&kv, &a, 48));
    kv_seq_close(&kv, &a);
}
END_TEST

START_TEST(kv_trim_keeps_what_holds_the_tokens)
{
    struct kv_seq a = seq_of(160);
    ck_assert(kv_reserve(&kv, &a, 100));
    int32_t want[3];
    memcpy(want, a.page, sizeof want);
    kv_trim(&kv, &a, 33);
    ck_assert_uint_eq(a.n_page, 3);
    ck_assert_mem_eq(a.page, want, sizeof want);
    ck_assert_uint_eq(kv.n_free, N_PAGE - 3);
    kv_trim(&kv, &a, 160);                  /* nothing to drop */
    ck_assert_uint_eq(a.n_page, 3);
    kv_trim(&kv, &a, 0);
    ck_assert_uint_eq(kv.n_free, N_PAGE);
    kv_seq_close(&kv, &a);
}
END_TEST

/* dst, empty, holds the first n of src's pages too. */
static void share(struct kv_seq *dst, const struct kv_seq *src, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        kv_append(&kv, dst, src->page[i]);
}

START_TEST(kv_shared_page_lives_until_its_last_holder_goes)
{
    struct kv_seq a = seq_of(160), b = seq_of(160);
    ck_assert(kv_reserve(&kv, &a, 48));
    share(&b, &a, 2);
    ck_assert_uint_eq(b.n_page, 2);
    ck_assert_int_eq(b.page[1], a.page[1]);
    ck_assert_uint_eq(kv.count[a.page[0]], 2);
    ck_assert_uint_eq(kv.count[a.page[2]], 1);
    ck_assert_uint_eq(kv.n_free, N_PAGE - 3);
    int32_t shared = b.page[0];
    kv_seq_close(&kv, &a);
    ck_assert_uint_eq(kv.count[shared], 1);
    ck_assert_uint_eq(kv.n_free, N_PAGE - 2);
    ck_assert(kv_reserve(&kv, &b, 33));
    ck_assert_uint_eq(kv.count[b.page[2]], 1);
    kv_seq_close(&kv, &b);
    ck_assert_uint_eq(kv.n_free, N_PAGE);
}
END_TEST

START_TEST(kv_cached_page_is_in_use_then_idle_then_free)
{
    struct kv_seq a = seq_of(160), b = seq_of(160);
    ck_assert(kv_reserve(&kv, &a, 16));
    const int32_t page = a.page[0];
    kv_cache_hold(&kv, page);
    ck_assert_uint_eq(kv.n_idle, 0);
    kv_trim(&kv, &a, 0);
    ck_assert_uint_eq(kv.n_idle, 1);
    ck_assert_uint_eq(kv.n_free, N_PAGE - 1);
    kv_append(&kv, &b, page);
    ck_assert_uint_eq(kv.n_idle, 0);
    kv_cache_drop(&kv, page);                       /* b has it still */
    ck_assert_uint_eq(kv.n_free, N_PAGE - 1);
    kv_cache_hold(&kv, page);
    kv_trim(&kv, &b, 0);
    kv_cache_drop(&kv, page);
    ck_assert_uint_eq(kv.n_idle, 0);
    ck_assert_uint_eq(kv.n_free, N_PAGE);
    kv_seq_close(&kv, &a);
    kv_seq_close(&kv, &b);
}
END_TEST

START_TEST(kv_replaced_page_goes_back)
{
    struct kv_seq a = seq_of(160), b = seq_of(160);
    ck_assert(kv_reserve(&kv, &a, 32));
    ck_assert(kv_reserve(&kv, &b, 32));
    const int32_t own = b.page[1];
    kv_replace(&kv, &b, 1, a.page[1]);
    ck_assert_uint_eq(kv.count[own], 0);
    ck_assert_uint_eq(kv.count[a.page[1]], 2);
    ck_assert_uint_eq(kv.n_free, N_PAGE - 3);
    kv_seq_close(&kv, &a);
    kv_seq_close(&kv, &b);
    ck_assert_uint_eq(kv.n_free, N_PAGE);
}
END_TEST

/* Random reserve, trim, share, cache and close: no page is lost or held twice. */
START_TEST(kv_never_loses_a_page)
{
    enum { N_SEQ = 5, STEPS = 20000 };
    struct kv_seq s[N_SEQ];
    uint32_t x = 1;
    for (int i = 0; i < N_SEQ; i++)
        s[i] = seq_of(96);
    for (int step = 0; step < STEPS; step++) {
        x = x * 1664525 + 1013904223;
        struct kv_seq *a = &s[(x >> 8) % N_SEQ], *b = &s[(x >> 16) % N_SEQ];
        const int32_t page = (int32_t)((x >> 12) % N_PAGE);
        switch (x >> 29) {
        case 0: case 1: kv_trim(&kv, a, (x >> 20) % 97); break;
        case 2:
            if (a != b && a->n_page == 0)
                share(a, b, b->n_page / 2);
            break;
        case 3:
            if (kv.cached[page])
                kv_cache_drop(&kv, page);
            else if (kv.count[page])
                kv_cache_hold(&kv, page);
            break;
        default: (void)kv_reserve(&kv, a, (x >> 20) % 97); break;
        }
        uint32_t held[N_PAGE] = { 0 }, free_now = 0, idle_now = 0;
        for (int i = 0; i < N_SEQ; i++)
            for (uint32_t j = 0; j < s[i].n_page; j++)
                held[s[i].page[j]]++;
        for (uint32_t p = 0; p < N_PAGE; p++) {
            ck_assert_uint_eq(held[p] + kv.cached[p], kv.count[p]);
            free_now += !kv.count[p];
            idle_now += kv.cached[p] && !held[p];
        }
        ck_assert_uint_eq(free_now, kv.n_free);
        ck_assert_uint_eq(idle_now, kv.n_idle);
    }
    for (int i = 0; i < N_SEQ; i++)
        kv_seq_close(&kv, &s[i]);
    ck_assert_uint_eq(kv.n_free + kv.n_idle, N_PAGE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kv");
    TCase *c = tcase_create("kv");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, kv_pages_are_whole);
    tcase_add_test(c, kv_zero_pages_are_refused);
    tcase_add_test(c, kv_reserved_pages_are_distinct_and_counted_once);
    tcase_add_test(c, kv_reserve_grows_by_what_is_missing);
    tcase_add_test(c, kv_short_reserve_changes_nothing);
    tcase_add_test(c, kv_sequence_stays_within_its_table);
    tcase_add_test(c, kv_trim_keeps_what_holds_the_tokens);
    tcase_add_test(c, kv_shared_page_lives_until_its_last_holder_goes);
    tcase_add_test(c, kv_cached_page_is_in_use_then_idle_then_free);
    tcase_add_test(c, kv_replaced_page_goes_back);
    tcase_add_test(c, kv_never_loses_a_page);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
