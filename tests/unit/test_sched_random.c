/* test_sched_random.c - random lives of sequences against a model of the rules.
 *
 * A slot of a page holds a number that stands for its keys: a mix of all ids up
 * to it. A step writes the slots of its rows and reads all slots before them,
 * and what is drawn follows from them. So a page that two write, or that was
 * given to another too early, or a prefix that is not the sequence's own, shows
 * as a wrong number at once. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/sched.h"

enum { TOK = 16, N_SEQ = 300, MAX_TOK = 200 };

static struct kv kv;
static struct prefix prefix;
static struct batch batch;
static struct sched sched;
static struct seq *seq[N_SEQ];
static bool alive[N_SEQ];
static uint32_t n_seq, n_done, n_copy;
static uint64_t *slot;            /* [n_page][TOK]                             */
static uint64_t rng;

/* check's own asserts send a message each, too slow for millions. */
#define MUST(x) \
    do { \
        if (!(x)) \
            ck_abort_msg("line %d: %s", __LINE__, #x); \
    } while (0)

static uint32_t rnd(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

static uint64_t mix(uint64_t h, int32_t id)
{
    h = (h ^ (uint64_t)(uint32_t)id) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static int32_t follows(uint64_t h)
{
    return (int32_t)(h % 1000);
}

/* Prompts share beginnings: each is a walk in a small tree of blocks. */
static void come(void)
{
    int32_t id[MAX_TOK];
    const uint32_t n = 1 + rnd(100), a = rnd(3), b = rnd(3), c = rnd(8);
    for (uint32_t i = 0; i < n; i++)
        id[i] = (int32_t)(i + 1000 * (a + (i > 20 ? 10 * b : 0) + (i > 60 ? 100 * c : 0)));
    struct seq *s;
    ck_assert_int_eq(seq_open(&s, &kv, id, n, n + 1 + rnd(90), NULL), 0);
    s->priority = (int)rnd(3);
    s->no_cache = !rnd(10);
    alive[n_seq] = true;
    seq[n_seq++] = s;
    sched_add(&sched, s);
}

static void end(struct seq *s)
{
    sched_remove(&sched, s);
    MUST(s->kv.n_page == 0);
    for (uint32_t i = 0; i < n_seq; i++)
        if (seq[i] == s)
            alive[i] = false;
    n_done++;
}

static int level(const struct seq *s)
{
    const int up = (int)(s->n_passed / SCHED_PASS);
    return s->priority + up > SCHED_TOP ? SCHED_TOP : s->priority + up;
}

/* a has to be served before b. */
static bool ranks(const struct seq *a, const struct seq *b)
{
    return level(a) > level(b) || (level(a) == level(b) && a->order < b->order);
}

static void admit(void)
{
    for (;;) {
        const struct seq *first = sched.waiting.head;
        for (const struct seq *w = first; w; w = w->next)
            if (ranks(w, first))
                first = w;
        const uint32_t n = sched.running.n;
        const struct seq *s = sched_admit(&sched);
        if (!s) {
            MUST(!first || n);                 /* nobody runs: the first may */
            return;
        }
        MUST(s == first);
        MUST(s->kv.n_page * TOK >= s->n_id);
        MUST(s->n_done < s->n_id);
        MUST(sched.running.n <= sched.max_seq);
    }
}

static void check_pages(void)
{
    static uint32_t held[1024];
    uint32_t n_free = 0, n_idle = 0;
    for (uint32_t p = 0; p < kv.n_page; p++)
        held[p] = kv.cached[p];
    for (uint32_t i = 0; i < n_seq; i++) {
        if (!alive[i])
            continue;
        if (seq[i]->n_part)
            held[seq[i]->part]++;
        for (uint32_t j = 0; j < seq[i]->kv.n_page; j++)
            held[seq[i]->kv.page[j]]++;
    }
    for (uint32_t p = 0; p < kv.n_page; p++) {
        MUST(held[p] == kv.count[p]);
        n_free += !held[p];
        n_idle += held[p] == 1 && kv.cached[p];
    }
    MUST(n_free == kv.n_free);
    MUST(n_idle == kv.n_idle);
    MUST(n_idle <= (prefix.node ? prefix.max_idle : 0));
}

/* The step's rows of one sequence: reads, then writes. */
static uint64_t compute(const struct seq *s)
{
    uint64_t h = 1;
    for (uint32_t i = 0; i < s->n_done + s->n_row; i++) {
        const int32_t page = s->kv.page[i / TOK];
        uint64_t *at = &slot[(uint32_t)page * TOK + i % TOK];
        h = mix(h, s->id[i]);
        if (i < s->n_done) {
            MUST(*at == h);          /* else: a key of another text */
        } else {
            MUST(kv.count[page] == 1);   /* nobody else sees it written */
            MUST(!kv.cached[page]);
            *at = h;
        }
    }
    return h;
}

static void step(void)
{
    batch_clear(&batch);
    const uint32_t rows = sched_fill(&sched, &batch);
    uint64_t h[64];
    uint32_t k = 0, n_out = 0;
    MUST(rows == batch.step.n_tok);
    MUST(rows <= sched.row_budget);
    MUST((rows > 0) == (sched.running.n > 0));
    if (sched.running.head)
        MUST(sched.running.head->n_row > 0);    /* the first goes on */
    for (uint32_t i = 0; i < batch.n_copy; i++) {
        const struct batch_copy *c = &batch.copy[i];
        MUST(c->n_tok < TOK && kv.count[c->dst] == 1 && !kv.cached[c->dst] && kv.cached[c->src]);
        memcpy(&slot[c->dst * TOK], &slot[c->src * TOK], c->n_tok * sizeof *slot);
        n_copy++;
    }
    for (struct seq *s = sched.running.head; s; s = s->next) {
        MUST(s->n_row <= sched.prefill_chunk);
        if (s->next)
            MUST(ranks(s, s->next));
        if (seq_draws(s))
            MUST(s->out == n_out++);
        if (s->n_row)
            h[k++] = compute(s);
    }
    MUST(k == batch.step.n_seq);
    MUST(n_out == batch.step.n_out);
    k = 0;
    for (struct seq *s = sched.running.head, *next; s; s = next) {
        next = s->next;
        if (!s->n_row)
            continue;
        const uint64_t mine = h[k++];
        const bool draws = seq_draws(s);
        sched_advance(&sched, s, s->n_row);
        if (!draws)
            continue;
        s->id[s->n_id++] = follows(mine);
        if (s->n_id == s->n_max || !rnd(200))
            end(s);
        else if (!rnd(20))
            sched_park(&sched, s);
    }
}

/* What each drew is what it would have drawn alone, each token once. */
static void check_text(const struct seq *s)
{
    uint64_t h = 1;
    for (uint32_t i = 0; i < s->n_id; i++) {
        if (i >= s->n_prompt)
            MUST(s->id[i] == follows(h));
        h = mix(h, s->id[i]);
    }
}

static void life(uint32_t n_page, uint32_t max_seq, uint32_t budget, uint32_t chunk,
                 uint32_t max_idle)
{
    const struct bnp_limits l = { .struct_size = sizeof l, .max_tok = budget, .max_seq = max_seq,
                                  .max_pages = n_page, .max_out = max_seq };
    n_seq = n_done = 0;
    ck_assert_int_eq(kv_open(&kv, n_page, TOK, NULL), 0);
    ck_assert_int_eq(batch_open(&batch, &l, NULL), 0);
    prefix_none(&prefix, &kv);
    if (max_idle)
        ck_assert_int_eq(prefix_open(&prefix, &kv, max_idle, NULL), 0);
    sched_open(&sched, &kv, &prefix, max_seq, budget, chunk);
    sched.can_copy = true;
    n_copy = 0;
    slot = calloc((size_t)n_page * TOK, sizeof *slot);
    for (uint32_t turn = 0; n_seq < N_SEQ || n_done < N_SEQ; turn++) {
        MUST(turn < 200000);
        while (n_seq < N_SEQ && sched.waiting.n < 8 && rnd(2))
            come();
        for (struct seq *s = sched.parked.head, *next; s; s = next) {
            next = s->next;
            if (!rnd(10))
                sched_unpark(&sched, s);
        }
        if (!rnd(2000))
            sched_lose_kv(&sched);
        if (!rnd(100) && sched.waiting.n)
            end(sched.waiting.head);
        admit();
        check_pages();
        step();
        check_pages();
    }
    ck_assert_uint_eq(kv.n_free + kv.n_idle, n_page);
    for (uint32_t i = 0; i < n_seq; i++) {
        check_text(seq[i]);
        seq_close(seq[i], &kv);
    }
    prefix_close(&prefix);
    ck_assert_uint_eq(kv.n_free, n_page);
    free(slot);
    batch_close(&batch);
    kv_close(&kv);
}

static const struct { uint32_t n_page, max_seq, budget, chunk, max_idle; } house[] = {
    { 13, 4, 16, 16, 13 },        /* 13: what the longest sequence needs       */
    { 13, 8, 8, 4, 0 },
    { 20, 8, 64, 32, 20 },
    { 40, 16, 64, 64, 6 },
    { 40, 3, 33, 7, 40 },
    { 400, 16, 128, 32, 400 },
};

START_TEST(sched_random_lives_keep_the_rules)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        rng = seed * 1000 + (uint64_t)_i;
        life(house[_i].n_page, house[_i].max_seq, house[_i].budget, house[_i].chunk,
             house[_i].max_idle);
        if (house[_i].n_page < 30)
            ck_assert_uint_gt(sched.n_preempt, 0);
        if (house[_i].max_idle)
            ck_assert(sched.n_hit > 0 && n_copy > 0);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched_random");
    TCase *t = tcase_create("sched_random");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, sched_random_lives_keep_the_rules, 0, sizeof house / sizeof house[0]);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
