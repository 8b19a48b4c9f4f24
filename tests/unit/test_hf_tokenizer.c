/* test_hf_tokenizer.c - tokenizer.json gives the vocabulary that the model's
 * GGUF has, or one line that says why not. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/model/vocab_parts.h"
#include "hf_rig.h"
#include "hf_same.h"
#include "tools/write/tokenizer_json.h"

#define GOLDEN "tests/golden/tokenizer/"
#define KEY(name) "tokenizer.ggml." name
#define FILE_OF(text) { text, sizeof text - 1 }

enum { MIB = 1 << 20 };

static struct str text_of(const char *s)
{
    return s ? str_of(s) : (struct str){ NULL, 0 };
}

static struct str key_text(const char *key)
{
    struct str s = { NULL, 0 };
    ck_assert_int_ge(gguf_get_str(made, key, &s, &e), 0);
    return s;
}

static bool key_is(const char *key, const char *text)
{
    return str_is(key_text(key), text);
}

static struct gguf *open_golden(const char *path)
{
    struct gguf *g;
    ck_assert_msg(gguf_open(&g, path, &e) == 0, "%s", e.text);
    return g;
}

/* ---- published vocabularies ---- */

START_TEST(hf_story_is_the_gguf_file)
{
    struct gguf_put out = { { 0 }, 0 };
    struct gguf *const want = open_golden("models/story.gguf");
    struct hf_tokenizer_files f = { 0 };
    char *text[2];
    size_t n;
    ck_assert_int_eq(file_read(GOLDEN "story/tokenizer.json", MIB, &text[0], &n, &e), 0);
    ck_assert_int_eq(file_read(GOLDEN "story/tokenizer_config.json", MIB, &text[1], &n, &e), 0);
    f.tokenizer = text_of(text[0]);
    f.config = text_of(text[1]);
    make(&f, 2048);
    hf_same_array(want, made, KEY("tokens"));
    hf_same_array(want, made, KEY("token_type"));
    hf_same_array(want, made, KEY("merges"));
    ck_assert(key_is(KEY("model"), "gpt2") && key_is(KEY("pre"), "llama-bpe"));
    ck_assert_int_eq(hf_same_number(made, KEY("bos_token_id")), 2040);
    ck_assert_int_eq(hf_same_number(made, KEY("eos_token_id")), 2041);
    ck_assert_int_eq(hf_same_number(made, KEY("add_bos_token")), 1);
    ck_assert_msg(hf_tokenizer_read(&out, GOLDEN "story", 2048, &e) == 0, "%s", e.text);
    ck_assert_msg(out.b.n < bytes.n && !memcmp(out.b.p, bytes.p + 24, out.b.n),
                  "a directory and its files give the same keys");
    buf_free(&out.b);
    free(text[0]);
    free(text[1]);
    gguf_close(want);
}
END_TEST

static void round_trip(const char *path, const char *inp, bool pairs, const char *config)
{
    struct gguf *const want = open_golden(path);
    struct buf json = { 0 };
    ck_assert_msg(tokenizer_json(&json, want, pairs, &e) == 0, "%s", e.text);
    struct hf_tokenizer_files f = { .tokenizer = { json.p, json.n }, .config = text_of(config) };
    make(&f, 0);
    hf_same_array(want, made, KEY("tokens"));
    hf_same_array(want, made, KEY("token_type"));
    hf_same_ids(want, made, inp);
    buf_free(&json);
    gguf_close(want);
}

START_TEST(hf_llama3_gives_the_published_ids)
{
    round_trip(GOLDEN "llama3-vocab.gguf", GOLDEN "llama-bpe.inp", _i,
               "{\"bos_token\": \"<|begin_of_text|>\", \"eos_token\": \"<|end_of_text|>\","
               " \"add_bos_token\": true}");
}
END_TEST

START_TEST(hf_llama2_gives_the_published_ids)
{
    round_trip(GOLDEN "llama2-spm-vocab.gguf", GOLDEN "llama-spm.inp", _i,
               "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\","
               " \"tokenizer_class\": \"LlamaTokenizer\"}");
    ck_assert_int_eq(hf_same_number(made, KEY("unknown_token_id")), 0);
    ck_assert_int_eq(hf_same_number(made, KEY("add_space_prefix")), 1);
}
END_TEST

/* A section in words that nobody knows, and the ids that everybody knows. */
START_TEST(hf_llama3_is_known_by_its_ids)
{
    struct gguf *const want = open_golden(GOLDEN "llama3-vocab.gguf");
    struct buf json = { 0 };
    ck_assert_int_eq(tokenizer_json(&json, want, false, &e), 0);
    char *const split = strstr(json.p, "\\p{N}{1,3}");
    ck_assert_ptr_nonnull(split);
    memcpy(split, "\\p{N}{3,1}", 10);
    struct hf_tokenizer_files f = {
        .tokenizer = { json.p, json.n },
        .config = text_of("{\"bos_token\": \"<|begin_of_text|>\"}"),
    };
    make(&f, 0);
    ck_assert(key_is(KEY("pre"), "llama-bpe"));
    buf_free(&json);
    gguf_close(want);
}
END_TEST

/* ---- small ones ---- */

#define BPE_MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}," \
                  "\"merges\":[\"a b\"]}"
#define BYTES "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define ADDED "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}," \
              "{\"id\":4,\"content\":\"<e>\",\"special\":true},{\"id\":6,\"content\":\"<u>\"}," \
              "{\"id\":5,\"content\":\"<|eom_id|>\",\"special\":true}]"
#define POST(list) "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":" \
                   "\"ByteLevel\"},{\"type\":\"TemplateProcessing\",\"single\":[" list "]}]}"
#define SPECIAL(text) "{\"SpecialToken\":{\"id\":\"" text "\"}}"
#define TEXT_A "{\"Sequence\":{\"id\":\"A\"}}"
#define SMALL "{" BPE_MODEL "," BYTES "," ADDED "}"

#define SPM_MODEL "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\"," \
                  "\"vocab\":{\"<unk>\":0,\"<0x41>\":1,\"a\":2,\"b\":3,\"\xe2\x96\x81\":4," \
                  "\"ab\":5,\"ba\":6,\"aba\":7,\"bab\":8}," \
                  "\"merges\":[[\"b\",\"a\"],[\"a\",\"b\"],[\"a\",\"ba\"],[\"ab\",\"a\"]]}"
#define SPM_ADDED "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true}," \
                  "{\"id\":9,\"content\":\"\xe2\x96\x81\xe2\x96\x81\",\"special\":false}]"
#define SPM_NORM "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"}," \
                 "\"content\":\"\xe2\x96\x81\"}"
#define SPM "{" SPM_MODEL "," SPM_ADDED "," SPM_NORM "}"

START_TEST(hf_ids_without_a_token_are_filled)
{
    struct str s;
    uint64_t pos = 0;
    int i = 0;
    struct hf_tokenizer_files f = { .tokenizer = FILE_OF(SMALL) };
    make(&f, 9);
    const struct gguf_kv *const types = gguf_kv(made, KEY("token_type"));
    static const char *const text[] = { "a", "b", "ab", "<s>", "<e>", "<|eom_id|>", "<u>", "[PAD7]",
                                        "[PAD8]" };
    static const int type[] = { 1, 1, 1, 3, 3, 3, 4, 5, 5 };
    while (gguf_next_str(gguf_kv(made, KEY("tokens")), &pos, &s)) {
        ck_assert_uint_eq(s.n, strlen(text[i]));
        ck_assert(!memcmp(s.p, text[i], s.n));
        ck_assert_int_eq((int)gguf_num_at(types, (uint64_t)i), type[i]);
        i++;
    }
    ck_assert_int_eq(i, 9);
}
END_TEST

START_TEST(hf_scores_are_ranks)
{
    static const float want[] = { -1000, 0, 0, 0, 0, -1, 0, -2, -5, -1000, -1000 };
    static const int type[] = { 2, 6, 1, 1, 1, 1, 1, 1, 1, 4, 5 };
    struct hf_tokenizer_files f = { .tokenizer = FILE_OF(SPM) };
    make(&f, 11);
    for (uint64_t i = 0; i < 11; i++) {
        ck_assert_msg(gguf_num_at(gguf_kv(made, KEY("scores")), i) == want[i], "token %d", (int)i);
        ck_assert_int_eq((int)gguf_num_at(gguf_kv(made, KEY("token_type")), i), type[i]);
    }
    ck_assert(key_is(KEY("model"), "llama") && key_is(KEY("pre"), "default"));
    ck_assert_int_eq(hf_same_number(made, KEY("add_space_prefix")), 0);
    struct vocab *v;
    ck_assert_msg(!vocab_open(&v, made, NULL, NULL, &e), "%s", e.text);
    ck_assert_int_eq(vocab_find(v, "  "), 9);       /* user-defined: as text has it */
    vocab_close(v);
}
END_TEST

/* Splits, by what the section says. */
#define WITH(pre) "{" BPE_MODEL ",\"decoder\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":" pre "}"
#define SEQ(list) "{\"type\":\"Sequence\",\"pretokenizers\":[" list "]}"
#define BARE "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define GPT2 "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define SPLIT(regex, how) "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"}," how "}"
#define ISOLATED "\"behavior\":\"Isolated\",\"invert\":false"
#define REMOVED "\"behavior\":\"Removed\",\"invert\":true"
#define R_LLAMA3(digits) "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" \
    digits "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define R_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|" \
               "\\\\s+(?!\\\\S)"
#define PUNCT "{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}"
#define DIGIT "{\"type\":\"Digits\",\"individual_digits\":true}"

static const struct {
    const char *json, *pre;
} splits[] = {
    { WITH(SEQ(SPLIT(R_LLAMA3("\\\\p{N}{1,3}"), ISOLATED) "," BARE)), "llama-bpe" },
    { WITH(SEQ(SPLIT(R_LLAMA3("\\\\p{N}{1,3}"), REMOVED) "," BARE)), "llama-bpe" },
    { WITH(SEQ(SPLIT(R_LLAMA3("\\\\p{N}"), ISOLATED) "," BARE)), "qwen2" },
    { WITH(GPT2), "gpt-2" },
    { WITH(SEQ(SPLIT(R_GPT2 "|\\\\s+", ISOLATED) "," BARE)), "gpt-2" },
    { WITH(SEQ(PUNCT "," GPT2 "," DIGIT)), "falcon3" },
    { WITH(SEQ(SPLIT("[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|`]+", ISOLATED) ","
               SPLIT(R_GPT2, ISOLATED) "," SPLIT("[0-9]", ISOLATED) "," BARE)), "falcon3" },
    { WITH(SEQ(SPLIT(R_GPT2, REMOVED) "," BARE)), "unknown (?)" },
    { WITH(SEQ(SPLIT(R_LLAMA3("\\\\p{N}{1,2}"), ISOLATED) "," BARE)), "unknown (?)" },
    { WITH(SEQ(GPT2 "," PUNCT)), "unknown (gpt2 ?)" },
    { WITH(SEQ(DIGIT "," GPT2)), "unknown (digit gpt2)" },
    { WITH("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}"), "unknown (?)" },
    { WITH("null"), "unknown ()" },
};
enum { N_SPLITS = sizeof splits / sizeof *splits };

START_TEST(hf_splits_have_names)
{
    struct hf_tokenizer_files f = { .tokenizer = text_of(splits[_i].json) };
    make(&f, 0);
    const struct str s = key_text(KEY("pre"));
    ck_assert_msg(key_is(KEY("pre"), splits[_i].pre), "%.*s", (int)s.n, s.p);
}
END_TEST

/* Roles: what the files say, and what it becomes. */
static const struct {
    const char *json, *config, *special, *generation, *model;
    int bos, eos, eot, eom, pad, add_bos, add_eos;
} roles[] = {
    { SMALL, NULL, NULL, NULL, NULL, -1, -1, -1, -1, -1, 0, 0 },
    { SMALL, "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"<e>\"},\"pad_token\":null}", NULL,
      NULL, NULL, 3, 4, -1, -1, -1, 0, 0 },
    { SMALL, "{\"bos_token\":null,\"add_bos_token\":true}",
      "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"<e>\",\"pad_token\":\"<u>\"}",
      NULL, NULL, 3, 4, -1, -1, 6, 1, 0 },
    { SMALL, NULL, NULL, "{\"bos_token_id\":3,\"eos_token_id\":4,\"pad_token_id\":6}",
      "{\"bos_token_id\":1,\"eos_token_id\":4}", 3, 4, -1, -1, 6, 0, 0 },
    { SMALL, "{\"eos_token\":\"<e>\",\"add_bos_token\":true}", NULL,
      "{\"eos_token_id\":[5,4,6]}", "{\"bos_token_id\":3}", 3, 4, 6, 5, -1, 1, 0 },
    { "{" BPE_MODEL "," BYTES "," ADDED "," POST(SPECIAL("<s>") "," TEXT_A) "}",
      "{\"eos_token\":\"<e>\"}", NULL, NULL, NULL, 3, 4, -1, -1, -1, 1, 0 },
    { "{" BPE_MODEL "," BYTES "," ADDED "," POST(SPECIAL("<s>") "," TEXT_A) "}",
      "{\"add_bos_token\":false}", NULL, NULL, NULL, 3, -1, -1, -1, -1, 0, 0 },
    { "{" BPE_MODEL "," BYTES "," ADDED "," POST(TEXT_A "," SPECIAL("<u>")) "}",
      "{\"eos_token\":\"<e>\"}", NULL, NULL, NULL, -1, 6, 4, -1, -1, 0, 1 },
    { SMALL, "{\"pad_token\":\"<none>\",\"unk_token\":\"<none>\"}", NULL, NULL, NULL,
      -1, -1, -1, -1, -1, 0, 0 },
    { SPM, "{\"tokenizer_class\":\"LlamaTokenizer\",\"bos_token\":\"a\"}", NULL, NULL, NULL,
      2, -1, -1, -1, -1, 1, 0 },
};
enum { N_ROLES = sizeof roles / sizeof *roles };

START_TEST(hf_roles_come_from_all_files)
{
    const struct hf_tokenizer_files f = {
        .tokenizer = text_of(roles[_i].json), .config = text_of(roles[_i].config),
        .special = text_of(roles[_i].special), .generation = text_of(roles[_i].generation),
        .model = text_of(roles[_i].model),
    };
    make(&f, 0);
    ck_assert_int_eq(hf_same_number(made, KEY("bos_token_id")), roles[_i].bos);
    ck_assert_int_eq(hf_same_number(made, KEY("eos_token_id")), roles[_i].eos);
    ck_assert_int_eq(hf_same_number(made, KEY("eot_token_id")), roles[_i].eot);
    ck_assert_int_eq(hf_same_number(made, KEY("eom_token_id")), roles[_i].eom);
    ck_assert_int_eq(hf_same_number(made, KEY("padding_token_id")), roles[_i].pad);
    ck_assert_int_eq(hf_same_number(made, KEY("add_bos_token")), roles[_i].add_bos);
    ck_assert_int_eq(hf_same_number(made, KEY("add_eos_token")), roles[_i].add_eos);
}
END_TEST

START_TEST(hf_chat_template_is_a_text_or_the_default_of_a_list)
{
    static const char *const config[] = {
        "{\"chat_template\":\"T\"}",
        ("{\"chat_template\":[{\"name\":\"tool\",\"template\":\"X\"},"
         "{\"name\":\"default\",\"template\":\"T\"}]}"),
        "{\"chat_template\":\"X\"}",
    };
    const struct hf_tokenizer_files f = {
        .tokenizer = FILE_OF(SMALL), .config = text_of(config[_i]),
        .chat_template = text_of(_i == 2 ? "T" : NULL),
    };
    make(&f, 0);
    ck_assert(key_is("tokenizer.chat_template", "T"));
}
END_TEST

/* ---- what is refused ---- */

#define MODEL(type, rest) "{\"model\":{\"type\":\"" type "\"" rest "}," BYTES "}"
#define VOCAB(v, m) MODEL("BPE", ",\"vocab\":{" v "},\"merges\":[" m "]")

static const struct {
    const char *json, *config, *generation;
    uint32_t n;
    int code;
    const char *says;
} bad[] = {
    { NULL, NULL, NULL, 0, ERR_DATA, "tokenizer.json: is missing" },
    { "", NULL, NULL, 0, ERR_DATA, "dir/tokenizer.json: no valid JSON at line 1" },
    { "{\"model\":{", NULL, NULL, 0, ERR_DATA, "no valid JSON at line 1" },
    { "[]", NULL, NULL, 0, ERR_DATA, "expected a JSON object" },
    { "{}", NULL, NULL, 0, ERR_DATA, "model: is missing" },
    { "{\"model\":7}", NULL, NULL, 0, ERR_DATA, "model: is a whole number, expected an object" },
    { "{\"model\":{},\"model\":{}}", NULL, NULL, 0, ERR_DATA, "duplicate object key" },
    { MODEL("Unigram", ""), NULL, NULL, 0, ERR_UNSUPPORTED,
      "model.type: \"Unigram\" is not known" },
    { MODEL("WordPiece", ""), NULL, NULL, 0, ERR_UNSUPPORTED, "\"WordPiece\" is not known" },
    { MODEL("\\u001b\\n", ""), NULL, NULL, 0, ERR_UNSUPPORTED, "is not known" },
    { MODEL("BPE", ""), NULL, NULL, 0, ERR_DATA, "model.vocab: is missing" },
    { MODEL("BPE", ",\"vocab\":{}"), NULL, NULL, 0, ERR_DATA, "model.merges: is missing" },
    { MODEL("BPE", ",\"vocab\":[]"), NULL, NULL, 0, ERR_DATA, "vocab: is an array" },
    { MODEL("BPE", ",\"end_of_word_suffix\":\"</w>\""), NULL, NULL, 0, ERR_UNSUPPORTED,
      "end_of_word_suffix: is set" },
    { "{" BPE_MODEL "}", NULL, NULL, 0, ERR_UNSUPPORTED, "neither byte-level nor" },
    { "{\"model\":{\"byte_fallback\":true,\"vocab\":{},\"merges\":[]}," BYTES "}", NULL, NULL, 0,
      ERR_UNSUPPORTED, "both byte-level and" },
    { VOCAB("", ""), NULL, NULL, 0, ERR_LIMIT, "the largest id is -1" },
    { VOCAB("\"a\":4194304", ""), NULL, NULL, 0, ERR_LIMIT, "the largest id is 4194304" },
    { VOCAB("\"a\":\"0\"", ""), NULL, NULL, 4, ERR_DATA, "\"a\" is no whole number" },
    { VOCAB("\"a\":-1", ""), NULL, NULL, 4, ERR_DATA, "has id -1" },
    { VOCAB("\"a\":4", ""), NULL, NULL, 4, ERR_DATA, "has id 4, but the model has 4 rows" },
    { VOCAB("\"a\":1e99", ""), NULL, NULL, 4, ERR_DATA, "is no whole number" },
    { VOCAB("\"a\":0,\"b\":0", ""), NULL, NULL, 4, ERR_DATA, "id 0 belongs to two texts" },
    { VOCAB("\"a\":0,\"a\":1", ""), NULL, NULL, 4, ERR_DATA, "duplicate object key" },
    { VOCAB("\"a\":0", "7"), NULL, NULL, 4, ERR_DATA, "model.merges[0]: expected two texts" },
    { VOCAB("\"a\":0", "\"a\""), NULL, NULL, 4, ERR_DATA, "expected two texts" },
    { VOCAB("\"a\":0", "\"\""), NULL, NULL, 4, ERR_DATA, "expected two texts" },
    { VOCAB("\"a\":0", "\" \""), NULL, NULL, 4, ERR_DATA, "expected two texts" },
    { VOCAB("\"a\":0", "\"a \""), NULL, NULL, 4, ERR_DATA, "expected two texts" },
    { VOCAB("\"a\":0", "[\"a\"]"), NULL, NULL, 4, ERR_DATA, "expected two texts" },
    { VOCAB("\"a\":0", "[\"a\",1]"), NULL, NULL, 4, ERR_DATA, "expected two texts" },
    { VOCAB("\"a\":0,\"b c\":1,\"b ca\":2", "[\"b c\",\"a\"]"), NULL, NULL, 4, ERR_DATA,
      "expected two texts" },
    { VOCAB("\"a\":0,\"aa\":1", "\"a a\",\"a b\""), NULL, NULL, 4, ERR_DATA,
      "model.merges[1]: \"a\" and \"b\": expected that both" },
    { VOCAB("\"a\":0", "\"a a\""), NULL, NULL, 4, ERR_DATA, "what they join to are tokens" },
    { "{" BPE_MODEL "," BYTES ",\"added_tokens\":{}}", NULL, NULL, 9, ERR_DATA,
      "added_tokens: is an object" },
    { "{" BPE_MODEL "," BYTES ",\"added_tokens\":[3]}", NULL, NULL, 9, ERR_DATA,
      "added_tokens[0]: expected an object" },
    { "{" BPE_MODEL "," BYTES ",\"added_tokens\":[{\"id\":1,\"content\":\"x\"}]}", NULL, NULL, 9,
      ERR_DATA, "token 1 is \"b\" and \"x\"" },
    { "{" BPE_MODEL "," BYTES ",\"added_tokens\":[{\"id\":9,\"content\":\"x\"}]}", NULL, NULL, 9,
      ERR_DATA, "token \"x\" has id 9, but the model has 9 rows" },
    { "{" BPE_MODEL "," BYTES ",\"normalizer\":{\"type\":\"Lowercase\"}}", NULL, NULL, 9,
      ERR_UNSUPPORTED, "normalizer: step \"Lowercase\"" },
    { "{" SPM_MODEL "," SPM_ADDED ",\"normalizer\":{\"type\":\"NFKC\"}}", NULL, NULL, 10,
      ERR_UNSUPPORTED, "normalizer: step \"NFKC\"" },
    { "{" SPM_MODEL "," SPM_ADDED "," SPM_NORM ",\"pre_tokenizer\":{\"type\":\"Whitespace\"}}",
      NULL, NULL, 10, ERR_UNSUPPORTED, "pre_tokenizer: step \"Whitespace\"" },
    { "{" BPE_MODEL "," BYTES "," ADDED "," POST(SPECIAL("<s>") "," SPECIAL("<e>") "," TEXT_A) "}",
      NULL, NULL, 9, ERR_UNSUPPORTED, "post_processor: \"<e>\" is one too many" },
    { "{" BPE_MODEL "," BYTES "," ADDED "," POST(SPECIAL("<x>") "," TEXT_A) "}", NULL, NULL, 9,
      ERR_UNSUPPORTED, "post_processor: \"<x>\" is no token" },
    { SMALL, "{\"bos_token\":\"<x>\"}", NULL, 9, ERR_DATA,
      "tokenizer_config.json: bos_token: \"<x>\" is no token" },
    { SMALL, "{\"chat_template\":7}", NULL, 9, ERR_DATA, "chat_template: expected a text" },
    { SMALL, "{", NULL, 9, ERR_DATA, "dir/tokenizer_config.json: no valid JSON" },
    { SMALL, NULL, "{\"eos_token_id\":9}", 9, ERR_DATA,
      "generation_config.json: eos_token_id: expected one of the 9 tokens" },
    { SMALL, NULL, "{\"eos_token_id\":[1,\"x\"]}", 9, ERR_DATA, "eos_token_id: expected one of" },
    { SMALL, NULL, "{\"eos_token_id\":[0,1,2,3]}", 9, ERR_UNSUPPORTED, "at most 3 can be kept" },
    { SMALL, NULL, "{\"eos_token_id\":[0,1,2,3,4,5,6,7,8]}", 9, ERR_LIMIT, "more than 8 tokens" },
    { SMALL, NULL, NULL, (1 << 22) + 1, ERR_LIMIT, "4194305 tokens" },
};
enum { N_BAD = sizeof bad / sizeof *bad };

START_TEST(hf_bad_files_are_refused_with_one_line)
{
    const struct hf_tokenizer_files f = {
        .tokenizer = text_of(bad[_i].json), .config = text_of(bad[_i].config),
        .generation = text_of(bad[_i].generation),
    };
    ck_assert_int_eq(hf_make_gguf(&made, &bytes, &f, bad[_i].n, &e), bad[_i].code);
    ck_assert_msg(strstr(e.text, bad[_i].says) != NULL, "%s", e.text);
    ck_assert_msg(!strpbrk(e.text, "\n\r\x1b") && !strncmp(e.text, "dir", 3), "%s", e.text);
}
END_TEST

/* n times c behind {"model":: never parsed, or no deeper than the parser goes. */
static void refuse_many(char c, size_t n, int code, const char *says)
{
    static const char begin[] = "{\"model\":[";
    const size_t at = sizeof begin - 1;
    char *const text = malloc(at + n);
    ck_assert_ptr_nonnull(text);
    memcpy(text, begin, at);
    memset(text + at, c, n);
    const struct hf_tokenizer_files f = { .tokenizer = { text, at + n } };
    ck_assert_int_eq(hf_make_gguf(&made, &bytes, &f, 4, &e), code);
    ck_assert_msg(strstr(e.text, says) != NULL, "%s", e.text);
    free(text);
}

START_TEST(hf_too_many_values_or_levels_are_refused)
{
    refuse_many(',', (8 << 20) + 1, ERR_LIMIT, "more than 8388608 values");
    refuse_many('[', 100000, ERR_DATA, "no valid JSON at line 1");
}
END_TEST

START_TEST(hf_directory_without_a_tokenizer_is_refused)
{
    struct gguf_put out = { { 0 }, 0 };
    ck_assert_int_eq(hf_tokenizer_read(&out, "tests/golden/tokenizer", 0, &e), ERR_DATA);
    ck_assert_ptr_nonnull(strstr(e.text, "tests/golden/tokenizer/tokenizer.json: is missing"));
    buf_free(&out.b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hf_tokenizer");
    TCase *t = tcase_create("hf_tokenizer");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, hf_story_is_the_gguf_file);
    tcase_add_test(t, hf_ids_without_a_token_are_filled);
    tcase_add_test(t, hf_scores_are_ranks);
    tcase_add_loop_test(t, hf_splits_have_names, 0, N_SPLITS);
    tcase_add_loop_test(t, hf_roles_come_from_all_files, 0, N_ROLES);
    tcase_add_loop_test(t, hf_chat_template_is_a_text_or_the_default_of_a_list, 0, 3);
    tcase_add_loop_test(t, hf_bad_files_are_refused_with_one_line, 0, N_BAD);
    tcase_add_test(t, hf_too_many_values_or_levels_are_refused);
    tcase_add_test(t, hf_directory_without_a_tokenizer_is_refused);
    suite_add_tcase(s, t);

    t = tcase_create("large");
    tcase_set_tags(t, "slow");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, hf_llama3_gives_the_published_ids, 0, 2);
    tcase_add_loop_test(t, hf_llama2_gives_the_published_ids, 0, 2);
    tcase_add_test(t, hf_llama3_is_known_by_its_ids);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
