/* test_embed.c - hidden states, on the real model: what they are, and that no
 * piece, company or plugin changes a bit of them. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/forward_parts.h"
#include "tests/unit/ask.h"

enum { CTX = 256, N_TEXT = 4, MAX_EMBD = 1024 };

static const char *const text[N_TEXT] = {
    "Once upon a time there was a little girl who lived in a small house near the woods, and she",
    "x", "The bear and the fox went to the house.", "It was a dark night. The wind blew"
};

static uint32_t n_embd;

static void setup(void)
{
    house_open_fast(CTX, 0);
    n_embd = rig.model->hp.n_embd;
    ck_assert_uint_le(n_embd, MAX_EMBD);
}

static void teardown(void)
{
    house_close();
}

static void open_one(struct ask *a, const char *of, bool mean)
{
    ask_open(a, of, 1);
    a->r.kind = REQUEST_EMBED;
    a->r.embed_mean = mean;
}

static void close_one(struct ask *a, float *out)
{
    ck_assert_int_eq(ask_wait(a), FINISH_STOP);
    ck_assert_uint_eq(a->n_got, 0);
    memcpy(out, a->r.embedding, n_embd * sizeof *out);
    ask_close(a);
}

static void embed(const char *of, bool mean, float *out)
{
    struct ask a;
    open_one(&a, of, mean);
    ask_submit(&a);
    close_one(&a, out);
}

/* logits = head * hidden state, the sum that docs/numerics.md defines. */
START_TEST(embedding_of_the_last_token_is_what_the_head_sees)
{
    const struct weight *w = rig.f->state->weights.head;
    const uint32_t n_vocab = rig.model->hp.n_vocab;
    engine_start(2, 32, 32, 8);
    for (int i = 0; i < N_TEXT; i++) {
        static float h[MAX_EMBD], row[MAX_EMBD];
        struct tokens t = { 0 };
        struct rig r;
        embed(text[i], false, h);
        ck_assert_int_eq(vocab_encode(rig.model->vocab, text[i], strlen(text[i]), VOCAB_BOS, 0, &t,
                                      NULL), 0);
        float *logits = malloc(t.n * n_vocab * sizeof *logits);
        ck_assert_ptr_nonnull(logits);
        rig_open(&r, &(struct rig_opts){ .n_ctx = CTX });
        rig_logits(&r, t.id, (uint32_t)t.n, 0, logits);
        for (uint32_t id = 0; id < n_vocab; id += 37) {
            float y = 0;
            ck_assert_int_eq(wsrc_read_f32(w->src, id, row), 0);
            for (uint32_t d = 0; d < n_embd; d++)
                y = fmaf(row[d], h[d], y);
            ck_assert_msg(y == logits[(t.n - 1) * n_vocab + id], "text %d token %u: %a, expected "
                          "%a", i, id, (double)y, (double)logits[(t.n - 1) * n_vocab + id]);
        }
        rig_close(&r);
        free(logits);
        free(t.id);
    }
}
END_TEST

/* The last tokens' states of all prefixes, added up in order. */
START_TEST(embedding_mean_is_over_the_tokens_in_order)
{
    engine_start(2, 32, 32, 8);
    for (int i = 0; i < N_TEXT; i++) {
        static float mean[MAX_EMBD], last[MAX_EMBD];
        static double sum[MAX_EMBD];
        struct ask a;
        memset(sum, 0, sizeof sum);
        embed(text[i], true, mean);
        open_one(&a, text[i], false);
        const uint32_t n = a.r.n_prompt;
        request_close(&a.r);
        for (uint32_t k = 1; k <= n; k++) {
            ck_assert_int_eq(request_open(&a.r, 1), 0);
            a.r.kind = REQUEST_EMBED;
            a.r.sample = (struct sample_params)SAMPLE_GREEDY;
            a.r.prompt = a.prompt.id;
            a.r.n_prompt = k;
            ask_submit(&a);
            while (!atomic_load(&a.r.done))
                nap();
            memcpy(last, a.r.embedding, n_embd * sizeof *last);
            request_close(&a.r);
            for (uint32_t d = 0; d < n_embd; d++)
                sum[d] += (double)last[d];
        }
        for (uint32_t d = 0; d < n_embd; d++)
            ck_assert_msg(mean[d] == (float)(sum[d] / n), "text %d value %u", i, d);
        ck_assert_int_eq(request_open(&a.r, 1), 0);
        ask_close(&a);
    }
}
END_TEST

static float want[2][N_TEXT][MAX_EMBD];

static void take_all(float out[2][N_TEXT][MAX_EMBD])
{
    for (int mean = 0; mean < 2; mean++)
        for (int i = 0; i < N_TEXT; i++)
            embed(text[i], mean, out[mean][i]);
}

/* In company of each other, of those who draw, and of those who guess. */
START_TEST(embedding_bits_depend_on_no_piece_and_no_company)
{
    static const uint32_t conf[][3] = { { N_REQ, 32, 32 }, { N_REQ, 7, 3 }, { 3, 16, 5 },
                                        { 2, 2, 1 } };
    static float got[MAX_EMBD];
    engine_start(1, 32, 32, 8);
    take_all(want);
    ck_assert(memcmp(want[0][0], want[1][0], n_embd * sizeof(float)));
    engine_stop();
    for (unsigned c = 0; c < 4; c++) {
        struct ask e[2 * N_TEXT], a[2];
        const struct engine_conf ec = { .max_seq = conf[c][0], .row_budget = conf[c][1],
                                        .prefill_chunk = conf[c][2], .max_queue = 16,
                                        .prefix_cache = c != 1 };
        engine_start_conf(&ec);
        for (int i = 0; i < 2; i++) {
            ask_kind(&a[i], i);
            a[i].r.n_draft = 4;
            a[i].r.prompt_logprob = i;
            ask_submit(&a[i]);
        }
        for (int i = 0; i < 2 * N_TEXT; i++) {
            open_one(&e[i], text[i / 2], i % 2);
            ask_submit(&e[i]);
        }
        for (int i = 0; i < 2 * N_TEXT; i++) {
            close_one(&e[i], got);
            ck_assert_msg(!memcmp(got, want[i % 2][i / 2], n_embd * sizeof *got),
                          "configuration %u text %d mean %d", c, i / 2, i % 2);
        }
        for (int i = 0; i < 2; i++) {
            ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
            ask_close(&a[i]);
        }
        for (int i = 0; i < N_TEXT; i++) {          /* with what the cache has now */
            embed(text[i], false, got);
            ck_assert_mem_eq(got, want[0][i], n_embd * sizeof *got);
            embed(text[i], true, got);
            ck_assert_mem_eq(got, want[1][i], n_embd * sizeof *got);
        }
        engine_stop();
    }
}
END_TEST

/* Tokens that are read twice, because their pages went to another, count once. */
START_TEST(embedding_survives_preemption)
{
    static float got[MAX_EMBD];
    struct engine_stats s;
    struct ask a, e;
    for (int again = 0; again < 2; again++) {
        engine_start(N_REQ, 32, again ? 1 : 32, 8);
        open_one(&e, ASK_LONG, true);
        e.r.priority = PRIORITY_LOW;
        atomic_store(&bend_hold, again);            /* until both are there */
        ask_submit(&e);
        if (again) {
            ask_open(&a, "The bear", 80);
            ask_submit(&a);
            atomic_store(&bend_hold, false);
            ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
            ask_close(&a);
        }
        close_one(&e, again ? got : want[1][0]);
        engine_stats(engine, &s);
        ck_assert_int_eq(s.n_preempt > 0, again);
        engine_stop();
        house_close();
        house_open_fast(CTX, 160);                /* five pages */
    }
    ck_assert_mem_eq(got, want[1][0], n_embd * sizeof *got);
}
END_TEST

/* Whatever this processor runs besides scalar-ref. */
START_TEST(embedding_bits_depend_on_no_plugin)
{
    static const char *const id[] = { "org.bitnetd.cpu-avx2", "org.bitnetd.cpu-avx512",
                                      "org.bitnetd.cpu-neon" };
    static float got[2][N_TEXT][MAX_EMBD];
    house_close();
    house_open(CTX, 0);
    engine_start(1, 32, 32, 8);
    take_all(want);
    engine_stop();
    for (unsigned p = 0; p < sizeof id / sizeof *id; p++) {
        house_close();
        if (!house_open_with(id[p], CTX, 0)) {
            house_open(CTX, 0);                     /* for teardown */
            continue;
        }
        engine_start(2, 32, 7, 8);
        take_all(got);
        for (int mean = 0; mean < 2; mean++)
            for (int i = 0; i < N_TEXT; i++)
                ck_assert_mem_eq(got[mean][i], want[mean][i], n_embd * sizeof(float));
        engine_stop();
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("embed");
    TCase *t = tcase_create("embed");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, embedding_of_the_last_token_is_what_the_head_sees);
    tcase_add_test(t, embedding_mean_is_over_the_tokens_in_order);
    tcase_add_test(t, embedding_bits_depend_on_no_piece_and_no_company);
    tcase_add_test(t, embedding_survives_preemption);
    tcase_add_test(t, embedding_bits_depend_on_no_plugin);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
