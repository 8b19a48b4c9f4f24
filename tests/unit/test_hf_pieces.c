/* test_hf_pieces.c - tokenizer.model gives the vocabulary that the model's GGUF
 * has, or one line that says why not. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/vocab_parts.h"
#include "hf_rig.h"
#include "hf_same.h"

#define GOLDEN "tests/golden/tokenizer/"
#define KEY(name) "tokenizer.ggml." name

static void put_varint(struct buf *b, uint64_t v)
{
    do {
        const uint8_t byte = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
        buf_add(b, &byte, 1);
    } while (v >>= 7);
}

static void put_number(struct buf *b, unsigned field, uint64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, v);
}

static void put_bytes(struct buf *b, unsigned field, const void *p, size_t n)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, n);
    buf_add(b, p, n);
}

static void put_piece(struct buf *b, struct str text, float score, unsigned type)
{
    struct buf piece = { 0 };
    put_bytes(&piece, 1, text.p, text.n);
    put_varint(&piece, 2 << 3 | 5);
    buf_add(&piece, &score, sizeof score);
    if (type != 1)
        put_number(&piece, 3, type);
    put_bytes(b, 1, piece.p, piece.n);
    buf_free(&piece);
}

/* prefix, trims: as the normalizer has them. */
static void put_specs(struct buf *b, unsigned model_type, bool trims, const char *charsmap)
{
    struct buf spec = { 0 };
    put_number(&spec, 3, model_type);
    put_number(&spec, 4, 32000);
    put_number(&spec, 43, UINT64_MAX);          /* pad: -1 */
    put_bytes(b, 2, spec.p, spec.n);
    buf_clear(&spec);
    put_bytes(&spec, 1, "identity", 8);
    put_bytes(&spec, 2, charsmap, strlen(charsmap));
    put_number(&spec, 4, trims);
    put_bytes(b, 3, spec.p, spec.n);
    buf_free(&spec);
}

START_TEST(hf_sentencepiece_gives_the_published_ids)
{
    struct gguf *want;
    ck_assert_msg(!gguf_open(&want, GOLDEN "llama2-spm-vocab.gguf", &e), "%s", e.text);
    const struct gguf_kv *const types = gguf_kv(want, KEY("token_type"));
    const struct gguf_kv *const scores = gguf_kv(want, KEY("scores"));
    struct buf b = { 0 };
    struct str s;
    uint64_t pos = 0, i = 0;
    while (gguf_next_str(gguf_kv(want, KEY("tokens")), &pos, &s)) {
        put_piece(&b, s, (float)gguf_num_at(scores, i), (unsigned)gguf_num_at(types, i));
        i++;
    }
    put_specs(&b, 2, false, "");
    struct hf_tokenizer_files f = { .pieces = { b.p, b.n } };
    make(&f, 0);
    hf_same_array(want, made, KEY("tokens"));
    hf_same_array(want, made, KEY("token_type"));
    hf_same_array(want, made, KEY("scores"));
    hf_same_ids(want, made, GOLDEN "llama-spm.inp");
    ck_assert_int_eq(hf_same_number(made, KEY("bos_token_id")), 1);
    ck_assert_int_eq(hf_same_number(made, KEY("eos_token_id")), 2);
    ck_assert_int_eq(hf_same_number(made, KEY("padding_token_id")), -1);
    gguf_close(made);
    buf_free(&bytes);
    /* As in 1bitLLM's directories: 2 more tokens, one of them without a text. */
    const char config[] = "{\"added_tokens_decoder\":{\"0\":{\"content\":\"<unk>\"},\"32000\":"
                          "{\"content\":\"<pad>\",\"special\":true}},\"pad_token\":\"<pad>\"}";
    f.config = str_of(config);
    make(&f, 32002);
    ck_assert_int_eq(hf_same_number(made, KEY("padding_token_id")), 32000);
    ck_assert_int_eq((int)gguf_num_at(gguf_kv(made, KEY("token_type")), 32000), TOKEN_CONTROL);
    ck_assert_int_eq((int)gguf_num_at(gguf_kv(made, KEY("token_type")), 32001), TOKEN_UNUSED);
    ck_assert_int_eq((int)gguf_num_at(gguf_kv(made, KEY("scores")), 32000), -1000);
    buf_free(&b);
    gguf_close(want);
}
END_TEST

static const struct {
    unsigned model_type, n;
    bool trims;
    const char *charsmap;
    float score;
    unsigned type;
    size_t cut;                                 /* bytes off the end */
    int code;
    const char *says;
} bad_pieces[] = {
    { 2, 2, false, "", 0, 1, 0, 0, "" },
    { 1, 2, false, "", 0, 1, 0, ERR_UNSUPPORTED, "tokenizer.model: trainer_spec.model_type: 1" },
    { 2, 2, true, "", 0, 1, 0, ERR_UNSUPPORTED, "extra spaces are removed" },
    { 2, 2, false, "x", 0, 1, 0, ERR_UNSUPPORTED, "characters are rewritten" },
    { 2, 0, false, "", 0, 1, 0, ERR_LIMIT, "0 pieces" },
    { 2, 2, false, "", 0, 7, 0, ERR_DATA, "piece 0 is broken" },
    { 2, 2, false, "", 0.0f / 0.0f, 1, 0, ERR_DATA, "piece 0 is broken" },
    { 2, 2, false, "", 0, 1, 1, ERR_DATA, "the file is broken" },
    { 2, 5, false, "", 0, 1, 0, ERR_DATA, "token \"d\" has id 4, but the model has 4 rows" },
};
enum { N_BAD_PIECES = sizeof bad_pieces / sizeof *bad_pieces };

START_TEST(hf_bad_sentencepiece_is_refused_with_one_line)
{
    static const char *const text[] = { "<unk>", "a", "b", "c", "d" };
    struct buf b = { 0 };
    for (unsigned i = 0; i < bad_pieces[_i].n; i++)
        put_piece(&b, str_of(text[i]), bad_pieces[_i].score, bad_pieces[_i].type);
    put_specs(&b, bad_pieces[_i].model_type, bad_pieces[_i].trims, bad_pieces[_i].charsmap);
    struct hf_tokenizer_files f = { .pieces = { b.p, b.n - bad_pieces[_i].cut } };
    ck_assert_int_eq(hf_make_gguf(&made, &bytes, &f, 4, &e), bad_pieces[_i].code);
    ck_assert_msg(strstr(e.text, bad_pieces[_i].says) != NULL, "%s", e.text);
    buf_free(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hf_pieces");
    TCase *t = tcase_create("hf_pieces");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, hf_sentencepiece_gives_the_published_ids);
    tcase_add_loop_test(t, hf_bad_sentencepiece_is_refused_with_one_line, 0, N_BAD_PIECES);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
