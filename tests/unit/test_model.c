/* test_model.c - a model file is understood, or refused with the reason. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/file.h"
#include "core/model/model.h"
#include "gguf_bad.h"

#define REFUSED "tests/golden/refused"

static int open_made(struct model **m, const struct gguf_make *made, struct buf *bytes,
                     const struct model_opts *opts, struct err *e)
{
    *bytes = (struct buf){ 0 };
    gguf_make_done(made, bytes);
    return model_open_mem(m, bytes->p, bytes->n, "made.gguf", opts, e);
}

static void free_all(struct model *m, struct gguf_make *made, struct buf *bytes)
{
    model_close(m);
    gguf_make_free(made);
    buf_free(bytes);
}

/* Opens the tiny model as described; aborts the test if it does not. */
static struct model *open_tiny(const struct tiny *tiny, struct gguf_make *made, struct buf *bytes)
{
    struct model *m;
    struct err e = { 0 };
    gguf_make_tiny(made, tiny);
    ck_assert_msg(!open_made(&m, made, bytes, NULL, &e), "%s", e.text);
    return m;
}

/* Whether one of m's warnings has text. (The tiny vocabulary has one of its own:
 * it lacks most bytes.) */
static bool warns(const struct model *m, const char *text)
{
    bool found = false;
    for (unsigned i = 0; i < m->n_warning; i++)
        found = found || strstr(m->warning[i], text);
    return found;
}

START_TEST(bad_file_is_refused_with_its_reason)
{
    const struct gguf_bad *bad = &gguf_bad[_i];
    struct buf bytes;
    struct model *m;
    struct err e = { 0 };
    gguf_bad_make(bad, &bytes);
    /* Exactly its size on the heap, so that a sanitizer sees a read beyond. */
    char *copy = malloc(bytes.n);
    memcpy(copy, bytes.p, bytes.n);
    int rc = model_open_mem(&m, copy, bytes.n, "bad.gguf", NULL, &e);
    ck_assert_msg(rc < 0, "%s was accepted", bad->name);
    ck_assert_ptr_null(m);
    ck_assert_int_eq(rc, e.code);
    ck_assert_msg(strstr(e.text, bad->says) != NULL, "%s: \"%s\" is not in: %s", bad->name,
                  bad->says, e.text);
    ck_assert_msg(!strncmp(e.text, "bad.gguf: ", 10), "%s: no file name: %s", bad->name, e.text);
    free(copy);
    buf_free(&bytes);
}
END_TEST

/* Whoever prepares the weights calls wsrc_check on all matrices that are not kept. */
static int check_matrices(const struct model *m, struct err *e)
{
    int rc = wsrc_check(&m->embd, e);
    for (uint32_t i = 0; i < m->hp.n_layer && !rc; i++)
        for (unsigned s = 0; s < T_LAYER_N && !rc; s++)
            rc = m->layer[i].t[s].t ? wsrc_check(&m->layer[i].t[s], e) : 0;
    return rc || m->hp.tied_head ? rc : wsrc_check(&m->head, e);
}

START_TEST(what_is_checked_later_is_refused_for_the_same_reason)
{
    const struct gguf_bad *bad = &gguf_bad[_i];
    const struct model_opts opts = { .kept = true };
    struct buf bytes;
    struct model *m;
    struct err e = { 0 };
    gguf_bad_make(bad, &bytes);
    int rc = model_open_mem(&m, bytes.p, bytes.n, "bad.gguf", &opts, &e);
    if (!rc) {
        ck_assert_msg(m->unchecked && m->sums, "%s was accepted", bad->name);
        rc = check_matrices(m, &e);
    }
    ck_assert_msg(rc < 0 && rc == e.code, "%s was accepted", bad->name);
    ck_assert_msg(!strncmp(e.text, "bad.gguf: ", 10) && strstr(e.text, bad->says), "%s: \"%s\" is "
                  "not in: %s", bad->name, bad->says, e.text);
    model_close(m);
    buf_free(&bytes);
}
END_TEST

/* Even where no tensor needs it. */
START_TEST(a_tile_preset_is_read_to_its_end)
{
    static const char *const good[] = { "auto", "setup_env", "ini", "16x16:1/2/3,7x7:4/5/6" };
    static const char *const bad[] = { "none", "16x16:1/2/3,", "16x16:1/2/3,x", "16x16:1/2" };
    for (unsigned i = 0; i < 8; i++) {
        const struct model_opts opts = { .tl_preset = i % 2 ? bad[i / 2] : good[i / 2] };
        struct gguf_make made;
        struct buf bytes = { 0 };
        struct model *m;
        struct err e = { 0 };
        gguf_make_tiny(&made, &(struct tiny){ 0 });
        const int rc = open_made(&m, &made, &bytes, &opts, &e);
        if (i % 2)
            ck_assert_msg(rc == ERR_ARG && strstr(e.text, "model.tl_preset: \""), "%s: %s",
                          opts.tl_preset, e.text);
        else
            ck_assert_msg(!rc, "%s: %s", opts.tl_preset, e.text);
        model_close(m);
        gguf_make_free(&made);
        buf_free(&bytes);
    }
}
END_TEST

START_TEST(every_prefix_of_a_good_file_is_refused)
{
    struct gguf_make made;
    struct buf bytes = { 0 };
    gguf_make_tiny(&made, &(struct tiny){ .arch = "bitnet" });
    gguf_make_done(&made, &bytes);
    for (size_t n = 0; n < bytes.n - 28; n++) {     /* I2_S ends in 28 unused bytes */
        struct model *m;
        struct err e = { 0 };
        char *copy = malloc(n + 1);
        memcpy(copy, bytes.p, n);
        if (!model_open_mem(&m, copy, n, "cut", NULL, &e) || !e.code || !e.text[0])
            ck_abort_msg("the first %zu of %zu bytes were accepted", n, bytes.n);
        free(copy);
    }
    gguf_make_free(&made);
    buf_free(&bytes);
}
END_TEST

START_TEST(refused_folder_holds_every_bad_file_and_nothing_else)
{
    size_t n = 0;
    struct dirent *entry;
    DIR *d = opendir(REFUSED);
    ck_assert_msg(d != NULL, REFUSED " is missing: gguf_files refused " REFUSED " writes it");
    while ((entry = readdir(d)))
        n += strstr(entry->d_name, ".gguf") != NULL;
    closedir(d);
    ck_assert_uint_eq(n, n_gguf_bad);
    for (size_t i = 0; i < n_gguf_bad; i++) {
        char path[256], *file;
        size_t size;
        struct buf bytes;
        struct err e = { 0 };
        struct model *m;
        gguf_bad_make(&gguf_bad[i], &bytes);
        snprintf(path, sizeof path, REFUSED "/%s.gguf", gguf_bad[i].name);
        ck_assert_msg(!file_read(path, 1 << 20, &file, &size, &e), "%s", e.text);
        ck_assert_msg(size == bytes.n && !memcmp(file, bytes.p, size), "%s is out of date", path);
        ck_assert_int_lt(model_open(&m, path, NULL, &e), 0);
        free(file);
        buf_free(&bytes);
    }
}
END_TEST

static bool is_bitnet_slot(int s)
{
    static const int other[] = {
        T_ATTN_Q_NORM_IN, T_ATTN_K_NORM_IN, T_ATTN_V_NORM_IN, T_ATTN_Q_NORM, T_ATTN_K_NORM,
        T_ATTN_POST_NORM, T_FFN_GATE_NORM_IN, T_FFN_UP_NORM_IN, T_FFN_POST_NORM
    };
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        if (other[i] == s)
            return false;
    return true;
}

START_TEST(numbers_and_tensors_of_a_good_file_are_found)
{
    struct gguf_make made;
    struct buf bytes;
    struct model *m = open_tiny(&(struct tiny){ .arch = "bitnet" }, &made, &bytes);
    const struct hparams *hp = &m->hp;
    ck_assert_str_eq(m->arch, "bitnet");
    ck_assert_str_eq(m->name, "tiny");
    ck_assert_uint_eq(hp->n_layer, 1);
    ck_assert_uint_eq(hp->n_embd, 16);
    ck_assert_uint_eq(hp->n_ff, 32);
    ck_assert_uint_eq(hp->n_head, 2);
    ck_assert_uint_eq(hp->n_head_kv, 1);
    ck_assert_uint_eq(hp->head_dim, 8);
    ck_assert_uint_eq(hp->n_rot, 8);
    ck_assert_uint_eq(hp->n_ctx, 64);
    ck_assert_uint_eq(hp->n_vocab, 12);
    ck_assert(hp->eps == 1e-5f && hp->rope_base == 10000 && hp->attn_scale == 0.353553391f);
    ck_assert_uint_eq(hp->rope_style, BNP_ROPE_HALVES);
    ck_assert_uint_eq(hp->glu, BNP_GLU_SILU);
    ck_assert(hp->sub_norm && hp->tied_head);
    ck_assert_ptr_eq(m->head.t, m->embd.t);
    ck_assert_ptr_null(m->rope_factor);
    ck_assert(!warns(m, "activation"));
    for (int s = 0; s < T_LAYER_N; s++)
        ck_assert_int_eq(m->layer[0].t[s].t != NULL, is_bitnet_slot(s));
    ck_assert(hp->eps_stream == hp->eps && hp->embd_scale == 1 && !hp->pooling);
    ck_assert_str_eq(m->layer[0].t[T_FFN_DOWN].name, "blk.0.ffn_down.weight");
    ck_assert_uint_eq(m->layer[0].t[T_FFN_DOWN].cols, 32);
    free_all(m, &made, &bytes);
}
END_TEST

START_TEST(every_type_of_projection_and_embedding_opens)
{
    static const struct tiny tiny[] = {
        { .linear = 36, .embd = 1 }, { .linear = 34, .n_embd = 256 },
        { .linear = 35, .n_embd = 256 }, { .linear = 8, .n_embd = 32 }, { .linear = 1 },
        { .linear = 30 }, { .embd = 30 }, { .embd = 8, .n_embd = 32 },
        { .embd = 14, .n_embd = 256 }, { .embd = 36, .n_embd = 32 }
    };
    struct gguf_make made;
    struct buf bytes;
    for (size_t i = 0; i < sizeof tiny / sizeof tiny[0]; i++)
        for (uint32_t version = 1; version <= 3; version++) {
            struct tiny t = tiny[i];
            t.version = version;
            free_all(open_tiny(&t, &made, &bytes), &made, &bytes);
        }
}
END_TEST

START_TEST(llama_has_its_own_head_pairs_and_no_sub_norms)
{
    struct gguf_make made;
    struct buf bytes;
    struct model *m = open_tiny(&(struct tiny){ .arch = "llama" }, &made, &bytes);
    ck_assert_uint_eq(m->hp.rope_style, BNP_ROPE_PAIRS);
    ck_assert_uint_eq(m->hp.glu, BNP_GLU_SILU);
    ck_assert(!m->hp.sub_norm && !m->hp.tied_head);
    ck_assert_str_eq(m->head.name, "output.weight");
    ck_assert_ptr_null(m->layer[0].t[T_ATTN_SUB_NORM].t);
    model_close(m);
    gguf_make_drop_tensor(&made, "output.weight");
    buf_free(&bytes);
    struct err e = { 0 };
    ck_assert_msg(!open_made(&m, &made, &bytes, NULL, &e), "%s", e.text);
    ck_assert(m->hp.tied_head);
    ck_assert_str_eq(m->head.name, "token_embd.weight");
    free_all(m, &made, &bytes);
}
END_TEST

/* bitnet-25 files may carry output.weight, a copy that nothing reads. */
START_TEST(bitnet_25_ignores_output_weight_and_says_so)
{
    struct gguf_make made;
    struct buf bytes;
    struct model *m;
    struct err e = { 0 };
    gguf_make_tiny(&made, &(struct tiny){ .arch = "bitnet-25" });
    const struct make_tensor *embd = gguf_make_find(&made, "token_embd.weight");
    gguf_make_tensor(&made, "output.weight", 1, 12, 16, embd->data.p, embd->data.n);
    ck_assert_msg(!open_made(&m, &made, &bytes, NULL, &e), "%s", e.text);
    ck_assert_uint_eq(m->hp.glu, BNP_GLU_RELU2);
    ck_assert(m->hp.tied_head);
    ck_assert_str_eq(m->head.name, "token_embd.weight");
    ck_assert(warns(m, "output.weight") && !warns(m, "activation"));
    free_all(m, &made, &bytes);
}
END_TEST

static uint32_t glu_of(const char *arch, const char *key, const char *override, bool *warned)
{
    struct gguf_make made;
    struct buf bytes;
    struct model *m;
    struct err e = { 0 };
    char name[64];
    gguf_make_tiny(&made, &(struct tiny){ .arch = arch });
    snprintf(name, sizeof name, "%s.hidden_activation", arch);
    if (key)
        gguf_make_str(&made, name, key);
    ck_assert_msg(!open_made(&m, &made, &bytes, &(struct model_opts){ .activation = override }, &e),
                  "%s", e.text);
    uint32_t glu = m->hp.glu;
    *warned = warns(m, "activation");
    free_all(m, &made, &bytes);
    return glu;
}

START_TEST(activation_is_decided_by_option_then_key_then_architecture)
{
    bool w;
    ck_assert_uint_eq(glu_of("bitnet", NULL, NULL, &w), BNP_GLU_SILU);
    ck_assert(!w);
    ck_assert_uint_eq(glu_of("bitnet", "relu2", NULL, &w), BNP_GLU_RELU2);
    ck_assert_uint_eq(glu_of("bitnet", "relu2", "silu", &w), BNP_GLU_SILU);
    ck_assert_uint_eq(glu_of("bitnet-25", NULL, NULL, &w), BNP_GLU_RELU2);
    ck_assert(!w);
    ck_assert_uint_eq(glu_of("bitnet-b1.58", NULL, NULL, &w), BNP_GLU_RELU2);
    ck_assert(w);                        /* neither known shape: a guess */
    ck_assert_uint_eq(glu_of("bitnet-b1.58", "silu", NULL, &w), BNP_GLU_SILU);
    ck_assert(!w);
    ck_assert_uint_eq(glu_of("bitnet-b1.58", NULL, "relu2", &w), BNP_GLU_RELU2);
    ck_assert(!w);
    ck_assert_uint_eq(glu_of("llama", NULL, NULL, &w), BNP_GLU_SILU);
}
END_TEST

START_TEST(unknown_activation_option_is_refused)
{
    struct gguf_make made;
    struct buf bytes;
    struct model *m;
    struct err e = { 0 };
    gguf_make_tiny(&made, &(struct tiny){ 0 });
    ck_assert_int_eq(open_made(&m, &made, &bytes, &(struct model_opts){ .activation = "gelu" }, &e),
                     ERR_ARG);
    ck_assert_ptr_nonnull(strstr(e.text, "gelu"));
    free_all(m, &made, &bytes);
}
END_TEST

START_TEST(absent_keys_have_their_defaults)
{
    struct gguf_make made;
    struct buf bytes;
    struct model *m;
    struct err e = { 0 };
    gguf_make_tiny(&made, &(struct tiny){ .arch = "bitnet", .n_embd = 32 });
    gguf_make_drop_key(&made, "bitnet.rope.freq_base");
    gguf_make_drop_key(&made, "bitnet.rope.dimension_count");
    gguf_make_drop_key(&made, "bitnet.vocab_size");
    gguf_make_drop_key(&made, "general.name");
    gguf_make_drop_key(&made, "bitnet.attention.head_count_kv");
    gguf_make_u32(&made, "bitnet.attention.head_count", 1);
    gguf_make_u32(&made, "bitnet.attention.key_length", 32);
    gguf_make_str(&made, "bitnet.rope.scaling.type", "linear");
    gguf_make_f32(&made, "bitnet.rope.scaling.factor", 1);
    static const char *const kv[] = { "blk.0.attn_k.weight", "blk.0.attn_v.weight" };
    for (int i = 0; i < 2; i++) {
        struct make_tensor *t = gguf_make_find(&made, kv[i]), *q =
            gguf_make_find(&made, "blk.0.attn_q.weight");
        t->ne[1] = 32;
        buf_clear(&t->data);
        buf_add(&t->data, q->data.p, q->data.n);
    }
    gguf_make_place(&made);
    ck_assert_msg(!open_made(&m, &made, &bytes, NULL, &e), "%s", e.text);
    ck_assert_uint_eq(m->hp.n_head_kv, 1);
    ck_assert_uint_eq(m->hp.n_rot, 32);
    ck_assert(m->hp.rope_base == 10000);
    ck_assert_uint_eq(m->hp.n_vocab, 12);
    ck_assert_str_eq(m->name, "made.gguf");
    free_all(m, &made, &bytes);
}
END_TEST

START_TEST(rope_freqs_are_read)
{
    struct gguf_make made;
    struct buf bytes;
    struct model *m;
    struct err e = { 0 };
    const float v[4] = { 1, 1.5f, 8, 32 };
    gguf_make_tiny(&made, &(struct tiny){ .arch = "llama" });
    gguf_make_tensor(&made, "rope_freqs.weight", 0, 0, 4, v, sizeof v);
    ck_assert_msg(!open_made(&m, &made, &bytes, NULL, &e), "%s", e.text);
    ck_assert_mem_eq(m->rope_factor, v, sizeof v);
    free_all(m, &made, &bytes);
}
END_TEST

START_TEST(name_is_printable_utf8)
{
    struct gguf_make made;
    struct buf bytes;
    struct model *m;
    struct err e = { 0 };
    char longer[200];
    gguf_make_tiny(&made, &(struct tiny){ 0 });
    gguf_make_str(&made, "general.name", "a\nb\xff\xc3\xa9");
    ck_assert_int_eq(open_made(&m, &made, &bytes, NULL, &e), 0);
    ck_assert_str_eq(m->name, "a?b?\xc3\xa9");
    model_close(m);
    buf_free(&bytes);
    memset(longer, 'x', sizeof longer);
    memcpy(longer + 126, "\xc3\xa9", 3);            /* would end inside the array's last byte */
    gguf_make_str(&made, "general.name", longer);
    ck_assert_int_eq(open_made(&m, &made, &bytes, NULL, &e), 0);
    ck_assert_uint_eq(strlen(m->name), 126);
    free_all(m, &made, &bytes);
}
END_TEST

START_TEST(the_story_model_opens)
{
    struct model *m;
    struct err e = { 0 };
    ck_assert_msg(!model_open(&m, "models/story.gguf", NULL, &e), "%s", e.text);
    ck_assert_uint_eq(m->hp.n_layer, 6);
    ck_assert_uint_eq(m->hp.n_vocab, 2048);
    ck_assert_uint_eq(m->hp.glu, BNP_GLU_RELU2);
    ck_assert_uint_eq(vocab_n(m->vocab), 2048);
    model_close(m);
    ck_assert_int_eq(model_open(&m, "models/none.gguf", NULL, &e), ERR_IO);
    ck_assert_int_eq(model_open(&m, "models", NULL, &e), ERR_IO);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("model");
    TCase *t = tcase_create("refused");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, bad_file_is_refused_with_its_reason, 0, (int)n_gguf_bad);
    tcase_add_loop_test(t, what_is_checked_later_is_refused_for_the_same_reason, 0,
                        (int)n_gguf_bad);
    tcase_add_test(t, a_tile_preset_is_read_to_its_end);
    tcase_add_test(t, every_prefix_of_a_good_file_is_refused);
    tcase_add_test(t, refused_folder_holds_every_bad_file_and_nothing_else);
    suite_add_tcase(s, t);
    TCase *o = tcase_create("opened");
    tcase_add_test(o, numbers_and_tensors_of_a_good_file_are_found);
    tcase_add_test(o, every_type_of_projection_and_embedding_opens);
    tcase_add_test(o, llama_has_its_own_head_pairs_and_no_sub_norms);
    tcase_add_test(o, bitnet_25_ignores_output_weight_and_says_so);
    tcase_add_test(o, activation_is_decided_by_option_then_key_then_architecture);
    tcase_add_test(o, unknown_activation_option_is_refused);
    tcase_add_test(o, absent_keys_have_their_defaults);
    tcase_add_test(o, rope_freqs_are_read);
    tcase_add_test(o, name_is_printable_utf8);
    tcase_add_test(o, the_story_model_opens);
    suite_add_tcase(s, o);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
