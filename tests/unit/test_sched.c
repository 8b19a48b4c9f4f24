/* test_sched.c - who runs, which rows, which pages; no model needed. */
#include <check.h>
#include <stdlib.h>

#include "core/engine/sched.h"

struct rig {
    struct kv kv;
    struct prefix prefix;
    struct batch batch;
    struct sched sched;
    struct seq *seq[64];
    uint32_t n;
};

static void rig_open(struct rig *g, uint32_t n_page, uint32_t max_seq, uint32_t budget,
                     uint32_t chunk)
{
    *g = (struct rig){ 0 };
    ck_assert_int_eq(kv_open(&g->kv, n_page, 16, NULL), 0);
    struct bnp_limits l = { .struct_size = sizeof l, .max_tok = budget, .max_seq = max_seq,
                            .max_pages = n_page, .max_out = max_seq };
    ck_assert_int_eq(batch_open(&g->batch, &l, NULL), 0);
    prefix_none(&g->prefix, &g->kv);
    sched_open(&g->sched, &g->kv, &g->prefix, max_seq, budget, chunk);
}

static void cache_open(struct rig *g, uint32_t max_idle)
{
    ck_assert_int_eq(prefix_open(&g->prefix, &g->kv, max_idle, NULL), 0);
}

static void rig_close(struct rig *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        prefix_drop(&g->prefix, &g->seq[i]->kv);
        seq_close(g->seq[i], &g->kv);
    }
    prefix_close(&g->prefix);
    ck_assert_uint_eq(g->kv.n_free, g->kv.n_page);   /* every page came back */
    batch_close(&g->batch);
    kv_close(&g->kv);
}

/* A waiting sequence with a prompt of 100 * its number + 0, 1, 2... */
static struct seq *add(struct rig *g, uint32_t n_prompt, uint32_t max_new)
{
    int32_t *id = calloc(n_prompt, sizeof *id);
    for (uint32_t i = 0; i < n_prompt; i++)
        id[i] = (int32_t)(100 * g->n + i);
    struct seq *s;
    ck_assert_int_eq(seq_open(&s, &g->kv, id, n_prompt, n_prompt + max_new, NULL), 0);
    free(id);
    g->seq[g->n++] = s;
    sched_add(&g->sched, s);
    return s;
}

static uint32_t admit(struct rig *g)
{
    uint32_t n = 0;
    while (sched_admit(&g->sched))
        n++;
    return n;
}

/* One step as the engine does it: a drawn token is 7. Returns its rows. */
static uint32_t step(struct rig *g)
{
    batch_clear(&g->batch);
    uint32_t rows = sched_fill(&g->sched, &g->batch);
    ck_assert_uint_eq(rows, g->batch.step.n_tok);
    for (struct seq *s = g->sched.running.head, *next; s; s = next) {
        next = s->next;
        bool draws = seq_draws(s);
        sched_advance(&g->sched, s, s->n_row);
        if (!draws)
            continue;
        s->id[s->n_id++] = 7;
        if (s->n_id == s->n_max)
            sched_remove(&g->sched, s);
    }
    return rows;
}

START_TEST(sched_prompt_goes_in_chunks_and_only_its_last_row_wants_logits)
{
    struct rig g;
    rig_open(&g, 8, 2, 20, 6);
    add(&g, 15, 3);
    ck_assert_uint_eq(admit(&g), 1);
    static const uint32_t rows[] = { 6, 6, 3, 1, 1 }, out[] = { 0, 0, 1, 1, 1 };
    uint32_t pos = 0;
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(step(&g), rows[i]);
        ck_assert_uint_eq(g.batch.step.n_seq, 1);
        ck_assert_uint_eq(g.batch.step.n_out, out[i]);
        if (out[i])
            ck_assert_int_eq(g.batch.out_row[0], (int32_t)rows[i] - 1);
        for (uint32_t r = 0; r < rows[i]; r++, pos++) {
            ck_assert_int_eq(g.batch.pos[r], (int32_t)pos);
            ck_assert_int_eq(g.batch.id[r], pos < 15 ? (int32_t)pos : 7);
        }
        ck_assert_int_eq(g.batch.kv_len[0], (int32_t)pos);
    }
    ck_assert_uint_eq(step(&g), 0);                 /* 15 + 3: the last is never fed */
    ck_assert_ptr_null(g.sched.running.head);
    rig_close(&g);
}
END_TEST

START_TEST(sched_decoding_comes_before_prefill)
{
    struct rig g;
    rig_open(&g, 64, 4, 10, 8);
    struct seq *a = add(&g, 1, 40), *b = add(&g, 1, 40);
    ck_assert_uint_eq(admit(&g), 2);
    step(&g);
    struct seq *c = add(&g, 30, 5), *d = add(&g, 30, 5);
    ck_assert_uint_eq(admit(&g), 2);
    batch_clear(&g.batch);
    ck_assert_uint_eq(sched_fill(&g.sched, &g.batch), 10);
    ck_assert_uint_eq(a->n_row, 1);
    ck_assert_uint_eq(b->n_row, 1);
    ck_assert_uint_eq(c->n_row, 4);                 /* all that is left, in equal parts */
    ck_assert_uint_eq(d->n_row, 4);
    ck_assert_uint_eq(g.batch.step.n_seq, 4);
    ck_assert_uint_eq(g.batch.step.n_out, 2);
    ck_assert_uint_eq(a->out, 0);
    ck_assert_uint_eq(b->out, 1);
    for (struct seq *s = g.sched.running.head; s; s = s->next)
        s->n_done += s->n_row;
    a->id[a->n_id++] = b->id[b->n_id++] = 7;
    for (int i = 0; i < 7; i++)
        step(&g);
    ck_assert_uint_eq(c->n_done, 30);               /* seven times 4, then 2 */
    ck_assert_uint_eq(d->n_done, 30);
    ck_assert_uint_eq(a->n_id, 1 + 9);              /* nobody waited for the prompts */
    rig_close(&g);
}
END_TEST

START_TEST(sched_a_short_prompt_is_not_stuck_behind_a_long_one)
{
    struct rig g;
    rig_open(&g, 64, 4, 64, 64);
    struct seq *a = add(&g, 600, 5), *b = add(&g, 20, 5), *c = add(&g, 300, 5);
    ck_assert_uint_eq(admit(&g), 3);
    ck_assert_uint_eq(step(&g), 64);
    ck_assert_uint_eq(b->n_id, 21);                 /* all of it in the first step */
    ck_assert_uint_eq(a->n_done + c->n_done, 44);   /* and what it left for the others */
    ck_assert_uint_eq(a->n_done, 22);
    rig_close(&g);
}
END_TEST

START_TEST(sched_an_earlier_prompt_does_not_starve_decoding)
{
    struct rig g;
    rig_open(&g, 64, 3, 8, 8);
    struct seq *prompt = add(&g, 60, 4), *a = add(&g, 1, 10), *b = add(&g, 1, 10);
    ck_assert_uint_eq(admit(&g), 3);
    for (uint32_t i = 1; i <= 5; i++) {
        ck_assert_uint_eq(step(&g), 8);
        ck_assert_uint_eq(prompt->n_done, 6 * i);   /* what the two leave of eight */
        ck_assert_uint_eq(a->n_id, 1 + i);
        ck_assert_uint_eq(b->n_id, 1 + i);
    }
    rig_close(&g);
}
END_TEST

START_TEST(sched_rows_and_logits_belong_to_their_sequence)
{
    struct rig g;
    rig_open(&g, 64, 8, 64, 16);
    for (uint32_t i = 0; i < 8; i++)
        add(&g, 1 + 5 * i, 4);
    admit(&g);
    for (int round = 0; round < 6; round++) {
        batch_clear(&g.batch);
        sched_fill(&g.sched, &g.batch);
        uint32_t k = 0;
        for (struct seq *s = g.sched.running.head; s; s = s->next) {
            if (!s->n_row)
                continue;
            int32_t first = g.batch.seq_start[k], end = g.batch.seq_start[k + 1];
            ck_assert_int_eq(end - first, (int32_t)s->n_row);
            for (uint32_t r = 0; r < s->n_row; r++)
                ck_assert_int_eq(g.batch.id[(uint32_t)first + r], s->id[s->n_done + r]);
            ck_assert_int_eq(g.batch.page[k * g.batch.limits.max_pages], s->kv.page[0]);
            if (seq_draws(s))
                ck_assert_int_eq(g.batch.out_row[s->out], end - 1);
            k++;
        }
        ck_assert_uint_eq(k, g.batch.step.n_seq);
        step(&g);
    }
    rig_close(&g);
}
END_TEST

START_TEST(sched_one_sequence_can_run_its_rows_alone)
{
    struct rig g;
    rig_open(&g, 64, 4, 32, 8);
    add(&g, 12, 4);
    struct seq *b = add(&g, 20, 4);
    admit(&g);
    step(&g);
    batch_clear(&g.batch);
    sched_fill(&g.sched, &g.batch);
    batch_clear(&g.batch);
    sched_fill_one(b, &g.batch);
    ck_assert_uint_eq(g.batch.step.n_seq, 1);
    ck_assert_uint_eq(g.batch.step.n_tok, 8);
    ck_assert_int_eq(g.batch.id[0], 108);
    ck_assert_int_eq(g.batch.pos[0], 8);
    rig_close(&g);
}
END_TEST

START_TEST(sched_pages_are_taken_as_they_are_needed)
{
    struct rig g;
    rig_open(&g, 4, 4, 64, 64);                     /* 64 tokens of KV */
    struct seq *a = add(&g, 17, 40), *b = add(&g, 16, 18), *c = add(&g, 1, 1);
    ck_assert_ptr_eq(sched_admit(&g.sched), a);
    ck_assert_uint_eq(a->kv.n_page, 2);             /* its prompt's */
    ck_assert_ptr_eq(sched_admit(&g.sched), b);     /* and one page is left for a */
    ck_assert_uint_eq(b->kv.n_page, 1);
    ck_assert_ptr_null(sched_admit(&g.sched));      /* two run, one page is left */
    ck_assert_uint_eq(c->kv.n_page, 0);
    for (int i = 0; i < 10; i++)
        step(&g);
    ck_assert_uint_eq(b->kv.n_page, 2);             /* 25 keys */
    ck_assert_uint_eq(a->kv.n_page, 2);
    for (int i = 0; i < 8; i++)
        step(&g);
    ck_assert_uint_eq(a->kv.n_page, 3);             /* b has lost its pages */
    ck_assert_uint_eq(g.sched.n_preempt, 1);
    ck_assert_ptr_eq(g.sched.waiting.head, b);      /* in front of c */
    ck_assert_uint_eq(b->n_done, 0);
    const uint32_t had = b->n_id;
    while (a->n_id < a->n_max) {
        admit(&g);
        step(&g);
    }
    while (b->n_id < b->n_max || c->n_id < c->n_max) {
        admit(&g);
        ck_assert_uint_gt(step(&g), 0);
    }
    ck_assert_uint_ge(b->n_id, had);
    rig_close(&g);
}
END_TEST

START_TEST(sched_the_first_can_take_all_pages)
{
    struct rig g;
    rig_open(&g, 8, 4, 64, 64);
    struct seq *a = add(&g, 16, 8 * 16 - 15), *b = add(&g, 16, 100), *c = add(&g, 16, 100);
    uint32_t steps = 0;
    for (; a->n_id < a->n_max; steps++) {
        const uint32_t had = a->n_id;
        admit(&g);
        step(&g);
        ck_assert_uint_eq(a->n_id, had + 1);        /* it never waits */
    }
    ck_assert_uint_gt(g.sched.n_preempt, 0);
    while (b->n_id < b->n_max || c->n_id < c->n_max) {
        admit(&g);
        ck_assert_uint_gt(step(&g), 0);
    }
    rig_close(&g);
}
END_TEST

START_TEST(sched_higher_priorities_come_first_and_nobody_starves)
{
    struct rig g;
    rig_open(&g, 64, 1, 64, 64);
    struct seq *low = add(&g, 1, 1);
    uint32_t n = 0;
    for (;; n++) {
        struct seq *high = add(&g, 1, 1), *s;
        high->priority = 2;
        ck_assert_uint_lt(n, 60);
        s = sched_admit(&g.sched);
        if (s == low)
            break;
        ck_assert_ptr_eq(s, high);
        step(&g);
    }
    ck_assert_uint_eq(n, 2 * SCHED_PASS);           /* two levels up */
    rig_close(&g);
}
END_TEST

START_TEST(sched_a_lower_priority_gives_its_pages_to_a_higher_one)
{
    struct rig g;
    rig_open(&g, 3, 4, 64, 64);
    struct seq *low = add(&g, 1, 40);
    ck_assert_uint_eq(admit(&g), 1);
    struct seq *high = add(&g, 1, 40);
    high->priority = 2;
    ck_assert_uint_eq(admit(&g), 1);
    while (high->n_id < high->n_max) {
        ck_assert_ptr_eq(g.sched.running.head, high);
        step(&g);
    }
    ck_assert_uint_eq(g.sched.n_preempt, 1);
    ck_assert_ptr_eq(g.sched.waiting.head, low);
    rig_close(&g);
}
END_TEST

START_TEST(sched_parked_ones_keep_pages_until_they_are_needed)
{
    struct rig g;
    rig_open(&g, 4, 1, 64, 64);
    struct seq *a = add(&g, 20, 30), *b = add(&g, 20, 30), *c = add(&g, 33, 30);
    ck_assert_ptr_eq(sched_admit(&g.sched), a);
    step(&g);
    sched_park(&g.sched, a);                        /* its place is free */
    ck_assert_ptr_eq(sched_admit(&g.sched), b);
    ck_assert_uint_eq(a->kv.n_page, 2);
    ck_assert_uint_eq(step(&g), 20);
    sched_unpark(&g.sched, a);
    ck_assert_ptr_null(sched_admit(&g.sched));
    sched_park(&g.sched, b);
    ck_assert_ptr_eq(sched_admit(&g.sched), a);     /* it came before c */
    ck_assert_uint_eq(step(&g), 1);                 /* and goes on where it was */
    sched_remove(&g.sched, a);
    ck_assert_ptr_eq(sched_admit(&g.sched), c);     /* three pages */
    ck_assert_uint_eq(b->kv.n_page, 0);
    ck_assert_uint_eq(b->n_done, 0);
    sched_unpark(&g.sched, b);
    rig_close(&g);
}
END_TEST

START_TEST(sched_lost_keys_are_computed_again)
{
    struct rig g;
    rig_open(&g, 16, 2, 64, 64);
    cache_open(&g, 16);
    struct seq *a = add(&g, 40, 30), *b = add(&g, 20, 30), *c = add(&g, 20, 3);
    admit(&g);
    for (int i = 0; i < 5; i++)
        step(&g);
    sched_park(&g.sched, b);
    admit(&g);
    sched_lose_kv(&g.sched);
    ck_assert_uint_eq(g.kv.n_free, 16);
    ck_assert_uint_eq(a->n_done + b->n_done + c->n_done, 0);
    ck_assert_uint_eq(a->n_id, 45);                 /* what was drawn stays */
    ck_assert_ptr_eq(sched_admit(&g.sched), a);
    ck_assert_uint_eq(a->kv.n_cached, 0);
    ck_assert_uint_eq(step(&g), 45);
    rig_close(&g);
}
END_TEST

/* The same prompt, of five pages and a bit. */
static struct seq *add_same(struct rig *g)
{
    struct seq *s = add(g, 90, 20);
    for (int i = 0; i < 90; i++)
        s->id[i] = i;
    return s;
}

START_TEST(sched_equal_prompts_are_computed_once)
{
    struct rig g;
    rig_open(&g, 64, 4, 64, 64);
    cache_open(&g, 64);
    struct seq *s[4];
    uint32_t rows = 0;
    for (int i = 0; i < 3; i++)
        s[i] = add_same(&g);
    ck_assert_uint_eq(admit(&g), 3);
    while (s[0]->n_id + s[1]->n_id + s[2]->n_id < 3 * 91)
        rows += step(&g);
    ck_assert_uint_le(rows, 90 + 2 * 10 + 6);       /* and a few drawn meanwhile */
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(s[1]->kv.page[i], s[0]->kv.page[i]);
    ck_assert_int_ne(s[1]->kv.page[5], s[0]->kv.page[5]);
    ck_assert_uint_eq(g.sched.n_hit, 2 * 80);
    ck_assert_uint_eq(g.sched.n_query, 3 * 90);
    ck_assert_uint_eq(s[1]->n_cached, 80);
    for (int i = 0; i < 3; i++)
        sched_remove(&g.sched, s[i]);
    ck_assert_uint_eq(g.kv.n_idle, 5);
    s[3] = add_same(&g);
    admit(&g);
    ck_assert_uint_eq(s[3]->n_done, 80);
    ck_assert_uint_eq(step(&g), 10);
    rig_close(&g);
}
END_TEST

START_TEST(sched_who_wants_no_cache_has_none)
{
    struct rig g;
    rig_open(&g, 64, 4, 256, 256);
    cache_open(&g, 64);
    struct seq *a = add_same(&g), *b = add_same(&g);
    a->no_cache = b->no_cache = true;
    admit(&g);
    ck_assert_uint_eq(step(&g), 180);
    ck_assert_int_ne(a->kv.page[0], b->kv.page[0]);
    sched_remove(&g.sched, a);
    sched_remove(&g.sched, b);
    ck_assert_uint_eq(g.kv.n_idle, 0);
    rig_close(&g);
}
END_TEST

START_TEST(sched_idle_pages_go_before_anybody_is_preempted)
{
    struct rig g;
    rig_open(&g, 10, 2, 256, 256);
    cache_open(&g, 10);
    struct seq *a = add_same(&g);
    admit(&g);
    step(&g);
    sched_remove(&g.sched, a);
    ck_assert_uint_eq(g.kv.n_idle, 5);
    struct seq *b = add(&g, 50, 60), *c = add(&g, 20, 20);
    ck_assert_uint_eq(admit(&g), 2);
    while (b->n_id < b->n_max || c->n_id < c->n_max)
        step(&g);
    ck_assert_uint_eq(g.sched.n_preempt, 0);
    ck_assert_uint_gt(g.prefix.n_evict, 0);
    rig_close(&g);
}
END_TEST

START_TEST(sched_admits_in_order_up_to_max_seq)
{
    struct rig g;
    rig_open(&g, 64, 2, 8, 8);
    struct seq *a = add(&g, 3, 3), *b = add(&g, 3, 3), *c = add(&g, 3, 3);
    ck_assert_ptr_eq(sched_admit(&g.sched), a);
    ck_assert_ptr_eq(sched_admit(&g.sched), b);
    ck_assert_ptr_null(sched_admit(&g.sched));
    sched_remove(&g.sched, a);
    ck_assert_ptr_eq(sched_admit(&g.sched), c);
    rig_close(&g);
}
END_TEST

START_TEST(sched_removing_one_leaves_the_others_in_order)
{
    struct rig g;
    rig_open(&g, 64, 8, 8, 8);
    struct seq *a = add(&g, 3, 3), *b = add(&g, 3, 3), *c = add(&g, 3, 3);
    sched_remove(&g.sched, b);                      /* from the middle of the waiting */
    sched_remove(&g.sched, c);                      /* the last: its tail must go back */
    struct seq *d = add(&g, 3, 3);
    ck_assert_uint_eq(g.sched.waiting.n, 2);
    ck_assert_uint_eq(admit(&g), 2);
    ck_assert_ptr_eq(g.sched.running.head, a);
    ck_assert_ptr_eq(a->next, d);
    uint32_t used = g.kv.n_page - g.kv.n_free;
    sched_remove(&g.sched, a);
    ck_assert_uint_eq(g.kv.n_page - g.kv.n_free, used - 1);
    sched_remove(&g.sched, d);
    ck_assert_ptr_null(g.sched.running.head);
    add(&g, 3, 3);
    ck_assert_uint_eq(admit(&g), 1);
    rig_close(&g);
}
END_TEST

START_TEST(sched_budget_holds_and_everybody_finishes)
{
    struct rig g;
    uint64_t rng = 5;
    rig_open(&g, 40, 5, 9, 4);
    for (int i = 0; i < 60; i++) {
        rng = rng * 6364136223846793005u + 1442695040888963407u;
        add(&g, 1 + (uint32_t)(rng >> 40) % 60, 1 + (uint32_t)(rng >> 50) % 30);
    }
    uint32_t steps = 0;
    for (; g.sched.waiting.n || g.sched.running.n; steps++) {
        admit(&g);
        ck_assert_uint_le(g.sched.running.n, 5);
        uint32_t rows = step(&g);
        ck_assert_uint_le(rows, 9);
        ck_assert_uint_gt(rows, 0);
        ck_assert_uint_lt(steps, 5000);
    }
    for (uint32_t i = 0; i < g.n; i++) {
        ck_assert_uint_eq(g.seq[i]->n_id, g.seq[i]->n_max);
        ck_assert_uint_eq(g.seq[i]->n_done, g.seq[i]->n_max - 1);
    }
    rig_close(&g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched");
    TCase *t = tcase_create("sched");
    tcase_add_test(t, sched_prompt_goes_in_chunks_and_only_its_last_row_wants_logits);
    tcase_add_test(t, sched_decoding_comes_before_prefill);
    tcase_add_test(t, sched_an_earlier_prompt_does_not_starve_decoding);
    tcase_add_test(t, sched_rows_and_logits_belong_to_their_sequence);
    tcase_add_test(t, sched_one_sequence_can_run_its_rows_alone);
    tcase_add_test(t, sched_a_short_prompt_is_not_stuck_behind_a_long_one);
    tcase_add_test(t, sched_pages_are_taken_as_they_are_needed);
    tcase_add_test(t, sched_the_first_can_take_all_pages);
    tcase_add_test(t, sched_higher_priorities_come_first_and_nobody_starves);
    tcase_add_test(t, sched_a_lower_priority_gives_its_pages_to_a_higher_one);
    tcase_add_test(t, sched_parked_ones_keep_pages_until_they_are_needed);
    tcase_add_test(t, sched_lost_keys_are_computed_again);
    tcase_add_test(t, sched_equal_prompts_are_computed_once);
    tcase_add_test(t, sched_who_wants_no_cache_has_none);
    tcase_add_test(t, sched_idle_pages_go_before_anybody_is_preempted);
    tcase_add_test(t, sched_admits_in_order_up_to_max_seq);
    tcase_add_test(t, sched_removing_one_leaves_the_others_in_order);
    tcase_add_test(t, sched_budget_holds_and_everybody_finishes);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
