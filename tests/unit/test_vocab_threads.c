/* test_vocab_threads.c - one vocabulary, many threads: for ThreadSanitizer. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/model/vocab.h"

/* gpt-2 notes in the vocabulary which tokens merging gives: all threads at once,
 * from a vocabulary that has not been used. */
static const struct {
    const char *path, *pre;
} models[] = {
    { "models/story.gguf", NULL }, { "models/story.gguf", "gpt-2" },
    { "tests/golden/tokenizer/llama2-spm-vocab.gguf", NULL },
};

static struct vocab *open_model(int i)
{
    struct gguf *g;
    struct vocab *v;
    ck_assert_int_eq(gguf_open(&g, models[i].path, NULL), 0);
    ck_assert_int_eq(vocab_open(&v, g, models[i].pre, NULL, NULL), 0);
    gguf_close(g);
    return v;
}

struct shared {
    const struct vocab *v;
    const char *text;
    size_t n;
    struct tokens want;
    bool equal;
};

static void *encode_again(void *arg)
{
    struct shared *s = arg;
    struct tokens t = { 0 };
    s->equal = true;
    for (int i = 0; i < 10; i++) {
        t.n = 0;
        s->equal &= vocab_encode(s->v, s->text, s->n, VOCAB_BOS, 0, &t, NULL) == 0 &&
                    t.n == s->want.n && memcmp(t.id, s->want.id, t.n * sizeof *t.id) == 0;
    }
    free(t.id);
    return NULL;
}

START_TEST(vocab_threads_share_one_vocabulary)
{
    struct vocab *const v = open_model(_i), *const alone = open_model(_i);
    struct shared s[4];
    pthread_t thread[4];
    struct tokens want = { 0 };
    char *p;
    size_t n;
    ck_assert_int_eq(file_read("tests/golden/tokenizer/llama-bpe.inp", 1 << 20, &p, &n, NULL), 0);
    ck_assert_int_eq(vocab_encode(alone, p, n, VOCAB_BOS, 0, &want, NULL), 0);
    ck_assert_uint_gt(want.n, n / 8);
    for (int i = 0; i < 4; i++) {
        s[i] = (struct shared){ v, p, n, want, false };
        ck_assert_int_eq(pthread_create(&thread[i], NULL, encode_again, &s[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        ck_assert(s[i].equal);
    }
    free(want.id);
    free(p);
    vocab_close(alone);
    vocab_close(v);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vocab_threads");
    TCase *t = tcase_create("threads");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, vocab_threads_share_one_vocabulary, 0, 3);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
