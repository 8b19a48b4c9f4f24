/* Promises of core/engine/forward.h about bits: the logits of a token depend on
 * the tokens before it, and not on how they were brought together in steps. On
 * the default model and scalar-ref. */
#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/rig.h"

/* Of the golden prompts the one that is longer than a chunk of attention and
 * than any page, the shortest, and two between: scalar-ref takes its time. */
enum { N = 4 };
static const int used[N] = { 9, 8, 5, 3 };

static struct golden golden[GOLDEN_N];
static struct rig rig;

static void setup(void)
{
    rig_golden(golden);
    for (int i = 0; i < N; i++) {
        const struct golden g = golden[i];
        golden[i] = golden[used[i]];
        golden[used[i]] = g;
    }
}

static void teardown(void)
{
    rig_golden_free(golden);
}

static float *logits_for(uint32_t n)
{
    float *p = calloc((size_t)n * rig.model->hp.n_vocab, sizeof *p);
    ck_assert_ptr_nonnull(p);
    return p;
}

static uint32_t all_rows(void)
{
    uint32_t n = 0;
    for (int i = 0; i < N; i++)
        n += golden[i].n;
    return n;
}

struct hash {
    unsigned char b[32];
};

static struct hash hash_of(const float *logits)
{
    struct hash h;
    const size_t n = (size_t)all_rows() * rig.model->hp.n_vocab * sizeof *logits;
    ck_assert_int_eq(crypto_generichash(h.b, sizeof h.b, (const unsigned char *)logits, n, NULL, 0),
                     0);
    return h;
}

/* Prompt after prompt, alone, at most chunk rows in a step. */
static struct hash hash_alone(const struct rig_opts *o, uint32_t chunk)
{
    rig_open(&rig, o);
    float *logits = logits_for(all_rows());
    for (uint32_t i = 0, at = 0; i < N; at += golden[i++].n)
        rig_logits(&rig, golden[i].id, golden[i].n, chunk,
                   logits + (size_t)at * rig.model->hp.n_vocab);
    const struct hash h = hash_of(logits);
    free(logits);
    rig_close(&rig);
    return h;
}

/* All prompts at once, each in uneven pieces, in an order that changes. */
static struct hash hash_together(const struct rig_opts *o)
{
    rig_open(&rig, o);
    const uint32_t n_vocab = rig.model->hp.n_vocab;
    float *logits = logits_for(all_rows());
    struct kv_seq s[N];
    uint32_t done[N] = { 0 }, first[N], left = all_rows();
    struct err err = { 0 };
    for (uint32_t i = 0, at = 0; i < N; at += golden[i++].n) {
        first[i] = at;
        ck_assert_int_eq(kv_seq_open(&s[i], &rig.f->kv, rig.f->conf.n_ctx, &err), 0);
    }
    for (uint32_t round = 0; left; round++) {
        uint32_t to[GOLDEN_MAX];
        batch_clear(&rig.batch);
        for (uint32_t k = 0; k < N; k++) {
            const uint32_t i = (k + round) % N, rest = golden[i].n - done[i];
            uint32_t n = 1 + (3 * k + 7 * round) % 11;
            n = n < rest ? n : rest;
            if (!n)
                continue;
            ck_assert(kv_reserve(&rig.f->kv, &s[i], done[i] + n));
            for (uint32_t j = 0; j < n; j++)
                to[rig.batch.step.n_out + j] = first[i] + done[i] + j;
            ck_assert(batch_add(&rig.batch, golden[i].id + done[i], n, done[i], s[i].page,
                                s[i].n_page, 2));
            done[i] += n;
            left -= n;
        }
        int rc = forward_run(rig.f, &rig.batch, &err);
        ck_assert_msg(rc == 0, "%s", err.text);
        for (uint32_t j = 0; j < rig.batch.step.n_out; j++)
            memcpy(logits + (size_t)to[j] * n_vocab, rig.f->logits + j * rig.f->logits_stride,
                   n_vocab * sizeof *logits);
    }
    for (int i = 0; i < N; i++)
        kv_seq_close(&rig.f->kv, &s[i]);
    ck_assert_uint_eq(rig.f->kv.n_free, rig.f->kv.n_page);
    const struct hash h = hash_of(logits);
    free(logits);
    rig_close(&rig);
    return h;
}

START_TEST(forward_gives_one_hash_however_it_is_run)
{
    static const uint32_t chunk[] = { 1, 7, 16 };
    const struct hash want = hash_alone(&(struct rig_opts){ 0 }, 0);
    for (size_t i = 0; i < sizeof chunk / sizeof chunk[0]; i++) {
        const struct hash h = hash_alone(&(struct rig_opts){ 0 }, chunk[i]);
        ck_assert_msg(!memcmp(&h, &want, sizeof h), "chunks of %u", chunk[i]);
    }
    for (uint32_t page = 16; page <= 64; page *= 4) {
        const struct hash h = hash_together(&(struct rig_opts){ .page_tok = page });
        ck_assert_msg(!memcmp(&h, &want, sizeof h), "together, pages of %u", page);
    }
    const struct hash h = hash_alone(&(struct rig_opts){ .n_threads = 3, .page_tok = 16 }, 16);
    ck_assert_msg(!memcmp(&h, &want, sizeof h), "3 threads");
}
END_TEST

START_TEST(forward_with_int8_keys_has_one_hash_too)
{
    struct rig_opts i8 = { .kv_format = BNP_KV_I8 };
    const struct hash want = hash_alone(&i8, 0), f16 = hash_alone(&(struct rig_opts){ 0 }, 0);
    ck_assert(memcmp(&want, &f16, sizeof want));
    struct hash h = hash_alone(&i8, 7);
    ck_assert_msg(!memcmp(&h, &want, sizeof h), "chunks of 7");
    i8.page_tok = 64;
    h = hash_together(&i8);
    ck_assert_msg(!memcmp(&h, &want, sizeof h), "together, pages of 64");
}
END_TEST

START_TEST(int8_keys_take_about_half_the_memory)
{
    rig_open(&rig, &(struct rig_opts){ 0 });
    const uint64_t f16 = rig.f->mem.kv;
    rig_close(&rig);
    rig_open(&rig, &(struct rig_opts){ .kv_format = BNP_KV_I8 });
    ck_assert_uint_gt(rig.f->mem.kv, f16 / 2);
    ck_assert_uint_lt(rig.f->mem.kv, f16 / 2 + f16 / 16);
    rig_close(&rig);
}
END_TEST

/* The hash must be able to differ. */
START_TEST(forward_reads_every_token)
{
    const struct hash want = hash_alone(&(struct rig_opts){ 0 }, 0);
    golden[0].id[0]++;
    const struct hash h = hash_alone(&(struct rig_opts){ 0 }, 0);
    ck_assert(memcmp(&h, &want, sizeof h));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forward_hash");
    TCase *c = tcase_create("forward_hash");
    tcase_set_timeout(c, 900);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, forward_gives_one_hash_however_it_is_run);
    tcase_add_test(c, forward_with_int8_keys_has_one_hash_too);
    tcase_add_test(c, int8_keys_take_about_half_the_memory);
    tcase_add_test(c, forward_reads_every_token);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
