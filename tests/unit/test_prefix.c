/* test_prefix.c - promises of core/engine/prefix.h. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/prefix.h"

enum { N_PAGE = 12, TOK = 16, MAX = N_PAGE * TOK };

static struct kv kv;
static struct prefix prefix;

static void setup(void)
{
    ck_assert_int_eq(kv_open(&kv, N_PAGE, TOK, NULL), 0);
    ck_assert_int_eq(prefix_open(&prefix, &kv, N_PAGE, NULL), 0);
}

static void teardown(void)
{
    prefix_close(&prefix);
    ck_assert_uint_eq(kv.n_free, N_PAGE);
    kv_close(&kv);
}

static struct kv_seq seq_of(void)
{
    struct kv_seq s;
    ck_assert_int_eq(kv_seq_open(&s, &kv, MAX, NULL), 0);
    return s;
}

static void drop(struct kv_seq *s)
{
    prefix_drop(&prefix, s);
    kv_seq_close(&kv, s);
}

/* Text number `text`: the ids up to `same` are those of text 0. */
static const int32_t *ids(int text, int same)
{
    static int32_t id[4][MAX];
    for (int i = 0; i < MAX; i++)
        id[text][i] = i < same ? i : 1000 * text + i;
    return id[text];
}

/* As a sequence computes it: what is there, then the rest. Returns how many
 * tokens were there. */
static uint32_t serve(struct kv_seq *s, const int32_t *id, uint32_t n)
{
    const uint32_t had = prefix_take(&prefix, s, id, n);
    while (!kv_reserve(&kv, s, n))
        ck_assert(prefix_evict(&prefix));
    prefix_add(&prefix, s, id, n);
    return had;
}

START_TEST(prefix_outlives_its_sequence)
{
    struct kv_seq a = seq_of(), b = seq_of();
    ck_assert_uint_eq(serve(&a, ids(0, 0), 50), 0);
    const int32_t page[] = { a.page[0], a.page[1], a.page[2] };
    drop(&a);
    ck_assert_uint_eq(kv.n_idle, 3);
    ck_assert_uint_eq(serve(&b, ids(0, 0), 60), 48);
    ck_assert_mem_eq(b.page, page, sizeof page);
    ck_assert_uint_eq(kv.n_idle, 0);
    drop(&b);
}
END_TEST

START_TEST(prefix_is_shared_while_its_sequence_runs)
{
    struct kv_seq a = seq_of(), b = seq_of();
    serve(&a, ids(0, 0), 40);
    ck_assert_uint_eq(serve(&b, ids(0, 0), 40), 32);
    ck_assert_int_eq(b.page[1], a.page[1]);
    ck_assert_int_ne(b.page[2], a.page[2]);         /* not full: each writes its own */
    ck_assert_uint_eq(kv.count[a.page[1]], 3);
    drop(&a);
    ck_assert_uint_eq(kv.n_idle, 0);
    drop(&b);
}
END_TEST

START_TEST(prefix_leaves_the_last_token_to_be_computed)
{
    static const struct { uint32_t n, had; } want[] = {
        { 1, 0 }, { 16, 0 }, { 17, 16 }, { 32, 16 }, { 33, 32 }, { 64, 48 }, { 70, 64 }
    };
    struct kv_seq a = seq_of();
    serve(&a, ids(0, 0), 64);
    for (unsigned i = 0; i < sizeof want / sizeof *want; i++) {
        struct kv_seq b = seq_of();
        ck_assert_uint_eq(prefix_take(&prefix, &b, ids(0, 0), want[i].n), want[i].had);
        drop(&b);
    }
    drop(&a);
}
END_TEST

START_TEST(prefix_ends_where_the_ids_differ)
{
    struct kv_seq a = seq_of();
    serve(&a, ids(0, 0), 64);
    for (int same = 0; same <= 64; same++) {
        struct kv_seq b = seq_of();
        ck_assert_uint_eq(prefix_take(&prefix, &b, ids(1, same), 80), (uint32_t)same / TOK * TOK);
        drop(&b);
    }
    drop(&a);
}
END_TEST

/* Equal ids behind different ones are another page. */
START_TEST(prefix_page_belongs_to_all_that_came_before)
{
    struct kv_seq a = seq_of(), b = seq_of();
    int32_t other[64];
    prefix.mask = 0;
    memcpy(other, ids(0, 0), sizeof other);
    other[3] = 77;
    serve(&a, ids(0, 0), 64);
    ck_assert_uint_eq(serve(&b, other, 64), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_ne(a.page[i], b.page[i]);
    drop(&a);
    drop(&b);
}
END_TEST

/* All nodes in one bucket: only the ids decide. */
START_TEST(prefix_is_right_when_every_hash_collides)
{
    struct kv_seq a = seq_of(), b = seq_of(), c = seq_of();
    prefix.mask = 0;
    serve(&a, ids(0, 0), 48);
    ck_assert_uint_eq(serve(&b, ids(1, 16), 48), 16);
    ck_assert_uint_eq(serve(&c, ids(2, 32), 48), 32);
    drop(&b);
    drop(&c);
    struct kv_seq d = seq_of();
    ck_assert_uint_eq(serve(&d, ids(1, 16), 49), 48);
    drop(&d);
    drop(&a);
}
END_TEST

START_TEST(prefix_computed_twice_is_kept_once)
{
    struct kv_seq a = seq_of(), b = seq_of();
    ck_assert(kv_reserve(&kv, &a, 40));
    ck_assert(kv_reserve(&kv, &b, 40));
    prefix_add(&prefix, &a, ids(0, 0), 20);
    prefix_add(&prefix, &b, ids(0, 0), 40);
    prefix_add(&prefix, &a, ids(0, 0), 40);
    ck_assert_int_eq(a.page[0], b.page[0]);
    ck_assert_int_eq(a.page[1], b.page[1]);
    ck_assert_int_ne(a.page[2], b.page[2]);
    ck_assert_uint_eq(kv.n_free, N_PAGE - 4);
    drop(&a);
    drop(&b);
    ck_assert_uint_eq(kv.n_idle, 2);
}
END_TEST

START_TEST(prefix_can_be_found_when_its_pages_are_reserved_already)
{
    struct kv_seq a = seq_of(), b = seq_of();
    ck_assert(kv_reserve(&kv, &b, 60));
    serve(&a, ids(0, 0), 60);
    ck_assert_uint_eq(prefix_take(&prefix, &b, ids(0, 0), 60), 48);
    ck_assert_uint_eq(b.n_page, 4);
    ck_assert_int_eq(b.page[2], a.page[2]);
    ck_assert_uint_eq(kv.n_free, N_PAGE - 5);
    drop(&a);
    drop(&b);
}
END_TEST

START_TEST(prefix_evicts_the_longest_unused_leaf_first)
{
    struct kv_seq a = seq_of(), b = seq_of(), c = seq_of();
    serve(&a, ids(0, 0), 48);                       /* 0 1 2 */
    serve(&b, ids(1, 16), 48);                      /* 0 x y */
    drop(&a);
    drop(&b);
    ck_assert_uint_eq(kv.n_idle, 5);
    ck_assert(prefix_evict(&prefix));               /* 2: a's end went first */
    ck_assert_uint_eq(prefix_take(&prefix, &c, ids(0, 0), 60), 32);
    drop(&c);                                       /* now 1 is newer than x and y */
    ck_assert(prefix_evict(&prefix));
    ck_assert(prefix_evict(&prefix));
    c = seq_of();
    ck_assert_uint_eq(prefix_take(&prefix, &c, ids(1, 16), 60), 16);
    drop(&c);
    c = seq_of();
    ck_assert_uint_eq(prefix_take(&prefix, &c, ids(0, 0), 60), 32);
    ck_assert(!prefix_evict(&prefix));              /* all that is left is in use */
    drop(&c);
    ck_assert_uint_eq(prefix.n_evict, 3);
}
END_TEST

START_TEST(prefix_finds_the_beginning_of_a_page)
{
    struct kv_seq a = seq_of(), b = seq_of(), c = seq_of();
    int32_t page = -1;
    serve(&a, ids(0, 0), 48);
    serve(&b, ids(1, 39), 48);
    ck_assert_uint_eq(prefix_part(&prefix, &c, ids(0, 0), 12, &page), 11);
    ck_assert_int_eq(page, a.page[0]);              /* all of it but the last */
    ck_assert_uint_eq(prefix_take(&prefix, &c, ids(2, 37), 60), 32);
    ck_assert_uint_eq(prefix_part(&prefix, &c, ids(2, 37), 60, &page), 5);
    ck_assert_uint_eq(prefix_part(&prefix, &c, ids(1, 39), 60, &page), 16);
    ck_assert_int_eq(page, b.page[2]);
    ck_assert_uint_eq(prefix_part(&prefix, &c, ids(3, 32), 60, &page), 0);
    prefix_hold(&prefix, b.page[2]);
    const int32_t held = b.page[2];
    drop(&b);
    ck_assert_uint_eq(kv.n_idle, 0);                /* a and c have the others */
    prefix_let_go(&prefix, held);
    ck_assert_uint_eq(kv.n_idle, 1);
    ck_assert(prefix_evict(&prefix));
    ck_assert_uint_eq(prefix_part(&prefix, &c, ids(1, 39), 60, &page), 7);
    ck_assert_int_eq(page, a.page[2]);
    drop(&a);
    drop(&c);
}
END_TEST

START_TEST(prefix_keeps_no_more_than_its_budget)
{
    struct kv_seq a = seq_of(), b = seq_of();
    prefix.max_idle = 2;
    serve(&a, ids(0, 0), 64);
    ck_assert_uint_eq(kv.n_free, N_PAGE - 4);       /* in use: no question of budget */
    drop(&a);
    ck_assert_uint_eq(kv.n_idle, 2);
    ck_assert_uint_eq(prefix_take(&prefix, &b, ids(0, 0), 64), 32);
    drop(&b);
}
END_TEST

START_TEST(prefix_none_finds_and_keeps_nothing)
{
    struct kv_seq a = seq_of(), b = seq_of();
    struct prefix none;
    prefix_none(&none, &kv);
    ck_assert(kv_reserve(&kv, &a, 64));
    prefix_add(&none, &a, ids(0, 0), 64);
    ck_assert_uint_eq(prefix_take(&none, &b, ids(0, 0), 64), 0);
    ck_assert(!prefix_evict(&none));
    prefix_drop(&none, &a);
    ck_assert_uint_eq(kv.n_free, N_PAGE);
    prefix_close(&none);
    kv_seq_close(&kv, &a);
    kv_seq_close(&kv, &b);
}
END_TEST

/* Random texts with common beginnings, held against a plain list of what was
 * computed: whatever is found was computed for exactly these ids. */
START_TEST(prefix_never_gives_the_page_of_another_text)
{
    enum { N = 4, STEPS = 20000 };
    static int32_t page_ids[N_PAGE][MAX];           /* all ids up to its end */
    static uint32_t page_n[N_PAGE];
    struct kv_seq s[N];
    bool open[N] = { false };
    uint32_t x = 7, hits = 0;
    for (int step = 0; step < STEPS; step++) {
        x = x * 1664525 + 1013904223;
        const int k = (int)(x >> 8) % N;
        if (open[k]) {
            drop(&s[k]);
            open[k] = false;
            continue;
        }
        int32_t id[MAX];
        const uint32_t n = 1 + (x >> 12) % 90;
        for (uint32_t i = 0; i < n; i++)            /* they part at tokens 10, 30 and 50 */
            id[i] = (int32_t)(i + 1000 * ((x >> 30) * (i > 10) + (x >> 28 & 3) * 10 * (i > 30) +
                                          (x >> 26 & 3) * 100 * (i > 50)));
        s[k] = seq_of();
        const uint32_t had = prefix_take(&prefix, &s[k], id, n);
        ck_assert_uint_lt(had, n);
        for (uint32_t i = 0; i < had / TOK; i++) {
            ck_assert_uint_eq(page_n[s[k].page[i]], (i + 1) * TOK);
            ck_assert_mem_eq(page_ids[s[k].page[i]], id, (i + 1) * TOK * sizeof *id);
        }
        hits += had > 0;
        bool room = kv_reserve(&kv, &s[k], n);
        while (!room && prefix_evict(&prefix))
            room = kv_reserve(&kv, &s[k], n);
        if (!room) {
            drop(&s[k]);
            continue;
        }
        for (uint32_t i = had / TOK; i < n / TOK; i++) {
            page_n[s[k].page[i]] = (i + 1) * TOK;
            memcpy(page_ids[s[k].page[i]], id, (i + 1) * TOK * sizeof *id);
        }
        prefix_add(&prefix, &s[k], id, n);
        open[k] = true;
    }
    for (int k = 0; k < N; k++)
        if (open[k])
            drop(&s[k]);
    ck_assert_uint_gt(hits, STEPS / 10);
    ck_assert_uint_gt(prefix.n_evict, 100);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prefix");
    TCase *t = tcase_create("prefix");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, prefix_outlives_its_sequence);
    tcase_add_test(t, prefix_is_shared_while_its_sequence_runs);
    tcase_add_test(t, prefix_leaves_the_last_token_to_be_computed);
    tcase_add_test(t, prefix_ends_where_the_ids_differ);
    tcase_add_test(t, prefix_page_belongs_to_all_that_came_before);
    tcase_add_test(t, prefix_is_right_when_every_hash_collides);
    tcase_add_test(t, prefix_computed_twice_is_kept_once);
    tcase_add_test(t, prefix_can_be_found_when_its_pages_are_reserved_already);
    tcase_add_test(t, prefix_evicts_the_longest_unused_leaf_first);
    tcase_add_test(t, prefix_finds_the_beginning_of_a_page);
    tcase_add_test(t, prefix_keeps_no_more_than_its_budget);
    tcase_add_test(t, prefix_none_finds_and_keeps_nothing);
    tcase_add_test(t, prefix_never_gives_the_page_of_another_text);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
