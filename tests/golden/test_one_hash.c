/* Every plugin and variant, every number of threads, every batch: one answer.
 *
 * Thirty-two sequences are computed alone on scalar-ref, and a digest of each
 * position's logits is kept. Everything else must give the same digests:
 * alone in one step (many rows), alone token by token (one row), and all
 * thirty-two together. Arguments are models; the plugins are those of the
 * build whose instructions this machine has. */
#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/isa.h"
#include "tests/golden/rig.h"

enum { N_SEQ = 32, MAX_LEN = 40 };

static const char *const plugins[] = {
    "org.bitnetd.cpu-avx2", "org.bitnetd.cpu-avx512", "org.bitnetd.cpu-neon"
};

struct digest {
    unsigned char b[16];
};

static struct golden golden[GOLDEN_N];
static const char *model;                       /* NULL: models/story.gguf */
static int32_t ids[N_SEQ][MAX_LEN];
static uint32_t len[N_SEQ];
static struct digest want[N_SEQ][MAX_LEN];
static unsigned n_run;

static struct digest digest_of(const float *logits, uint32_t n_vocab)
{
    struct digest d;
    ck_assert_int_eq(crypto_generichash(d.b, sizeof d.b, (const unsigned char *)logits,
                                        n_vocab * sizeof *logits, NULL, 0), 0);
    return d;
}

/* Pieces of the golden prompts, of 1 to MAX_LEN tokens, all below n_vocab. */
static void make_sequences(uint32_t n_vocab)
{
    for (uint32_t s = 0; s < N_SEQ; s++) {
        const struct golden *g = &golden[s % GOLDEN_N];
        len[s] = 1 + (s * 13 + 7) % MAX_LEN;
        for (uint32_t i = 0; i < len[s]; i++)
            ids[s][i] = (int32_t)((uint32_t)g->id[(i + s) % g->n] % n_vocab);
    }
}

static void compare(const char *how, uint32_t s, uint32_t pos, const float *logits,
                    uint32_t n_vocab)
{
    const struct digest d = digest_of(logits, n_vocab);
    ck_assert_msg(!memcmp(&d, &want[s][pos], sizeof d),
                  "%s: the logits of sequence %u at position %u differ from scalar-ref's", how, s,
                  pos);
}

static void run_alone(struct rig *r, const char *how, uint32_t s, uint32_t chunk)
{
    const uint32_t n_vocab = r->model->hp.n_vocab;
    float *out = malloc((size_t)len[s] * n_vocab * sizeof *out);
    ck_assert_ptr_nonnull(out);
    rig_logits(r, ids[s], len[s], chunk, out);
    for (uint32_t i = 0; i < len[s]; i++)
        compare(how, s, i, out + (size_t)i * n_vocab, n_vocab);
    free(out);
}

/* One token of every sequence in each step, as when many users decode. */
static void run_together(struct rig *r, const char *how)
{
    struct err err = { 0 };
    struct kv_seq kv[N_SEQ];
    const uint32_t n_vocab = r->model->hp.n_vocab;
    for (uint32_t s = 0; s < N_SEQ; s++)
        ck_assert_int_eq(kv_seq_open(&kv[s], &r->f->kv, MAX_LEN, &err), 0);
    for (uint32_t pos = 0; pos < MAX_LEN; pos++) {
        uint32_t who[N_SEQ], n = 0;
        batch_clear(&r->batch);
        for (uint32_t s = 0; s < N_SEQ; s++) {
            if (pos >= len[s])
                continue;
            ck_assert(kv_reserve(&r->f->kv, &kv[s], pos + 1));
            ck_assert(batch_add(&r->batch, &ids[s][pos], 1, pos, kv[s].page, kv[s].n_page, 1));
            who[n++] = s;
        }
        ck_assert_msg(!forward_run(r->f, &r->batch, &err), "%s: %s", how, err.text);
        for (uint32_t i = 0; i < n; i++)
            compare(how, who[i], pos, r->f->logits + i * r->f->logits_stride, n_vocab);
    }
    for (uint32_t s = 0; s < N_SEQ; s++)
        kv_seq_close(&r->f->kv, &kv[s]);
}

static struct rig_opts opts(const char *plugin, const char *variant, uint64_t isa, uint32_t threads)
{
    return (struct rig_opts){ .model = model, .plugin = plugin, .variant = variant,
                              .isa_mask = isa, .n_threads = threads, .n_ctx = 64,
                              .max_seq = N_SEQ, .max_tok = MAX_LEN, .max_out = MAX_LEN };
}

static void set_reference(void)
{
    struct rig r;
    const struct rig_opts o = opts(NULL, NULL, 0, 2);
    rig_open(&r, &o);
    const uint32_t n_vocab = r.model->hp.n_vocab;
    make_sequences(n_vocab);
    float *out = malloc((size_t)MAX_LEN * n_vocab * sizeof *out);
    ck_assert_ptr_nonnull(out);
    for (uint32_t s = 0; s < N_SEQ; s++) {
        rig_logits(&r, ids[s], len[s], 0, out);
        for (uint32_t i = 0; i < len[s]; i++)
            want[s][i] = digest_of(out + (size_t)i * n_vocab, n_vocab);
    }
    free(out);
    rig_close(&r);
}

static void run_variant(const char *plugin, const char *variant, uint64_t isa)
{
    for (uint32_t threads = 1; threads <= 3; threads++) {
        char how[200], set[80];
        struct rig r;
        const struct rig_opts o = opts(plugin, variant, isa, threads);
        isa_format(isa, set, sizeof set);
        snprintf(how, sizeof how, "%s \"%.60s\", %u threads, %s", plugin, variant, threads,
                 set);
        rig_open(&r, &o);
        run_together(&r, how);
        for (uint32_t s = 0; s < N_SEQ; s += 5)
            run_alone(&r, how, s, 0);
        run_alone(&r, how, 2, 1);
        run_alone(&r, how, 9, 7);
        rig_close(&r);
        n_run++;
    }
}

static bool done_before(const char *name)
{
    static char done[32][64];
    static uint32_t n;
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(done[i], name))
            return true;
    ck_assert_uint_lt(n, 32);
    snprintf(done[n++], sizeof done[0], "%.63s", name);
    return false;
}

/* The variants that a set of instructions leaves, each once. */
static void run_mask(const char *plugin, uint64_t isa)
{
    char name[16][64];
    uint32_t n = 0;
    const struct rig_opts o = opts(plugin, NULL, isa, 1);
    struct plug *p = rig_plug(&o);
    for (uint32_t i = 0; i < p->n_dev; i++) {
        const struct dev *d = p->dev[i];
        if (strcmp(d->plugin->note.raw.id, plugin))
            continue;
        ck_assert_uint_lt(n, 16);
        snprintf(name[n++], sizeof name[0], "%.63s", d->info.name);
    }
    plug_close(p);
    for (uint32_t i = 0; i < n; i++)
        if (!done_before(name[i]))
            run_variant(plugin, name[i], isa);
}

/* All instructions, then without each one that some variant might want: a
 * weaker machine may show a variant that a stronger one does not. */
START_TEST(every_plugin_and_variant_gives_one_hash)
{
    const uint64_t all = isa_probe();
    rig_golden(golden);
    set_reference();
    for (unsigned i = 0; i < sizeof plugins / sizeof *plugins; i++) {
        run_mask(plugins[i], all);
        for (unsigned bit = 0; bit < 64; bit++)
            if (all >> bit & 1)
                run_mask(plugins[i], all & ~(UINT64_C(1) << bit));
    }
    rig_golden_free(golden);
    printf("%s: %u runs, one hash\n", model ? model : "models/story.gguf", n_run);
}
END_TEST

int main(int argc, char **argv)
{
    int failed = sodium_init() < 0;
    for (int i = 0; i < (argc > 1 ? argc - 1 : 1) && !failed; i++) {
        model = argc > 1 ? argv[i + 1] : NULL;
        Suite *s = suite_create("one_hash");
        TCase *c = tcase_create("one_hash");
        tcase_set_timeout(c, 900);
        tcase_add_test(c, every_plugin_and_variant_gives_one_hash);
        suite_add_tcase(s, c);
        SRunner *r = srunner_create(s);
        srunner_run_all(r, CK_ENV);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
    }
    return failed != 0;
}
