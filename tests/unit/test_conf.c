/* test_conf.c - what the configuration accepts, what it refuses, and in which words. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/conf.h"
#include "core/base/conf_keys.h"
#include "core/base/file.h"
#include "core/base/log.h"

static int load(struct conf *c, const char *text, struct err *e)
{
    *e = (struct err){ 0 };
    return conf_load_mem(c, text, strlen(text), "bitnet.ini", NULL, NULL, 0, e);
}

START_TEST(conf_without_a_source_is_the_table)
{
    struct conf c;
    struct err e = { 0 };
    ck_assert_int_eq(conf_load(&c, NULL, NULL, NULL, 0, &e), 0);
    ck_assert_str_eq(c.host, "127.0.0.1");
    ck_assert_uint_eq(c.port, 8080);
    ck_assert_str_eq(c.model_path, "");
    ck_assert_uint_eq(c.i2s_layout, 0);
    ck_assert_uint_eq(c.page_tok, 16);
    ck_assert_uint_eq(c.kv_format, BNP_KV_F16);
    ck_assert_uint_eq(c.seed, 0);
    ck_assert(!c.seed_random && !c.parity && !c.bind && !c.strict && !c.log_json);
    ck_assert_uint_eq(c.determinism, BNP_DET_EXACT);
    ck_assert_uint_eq(c.log_level, LOG_LEVEL_INFO);
    ck_assert_ptr_null(c.option);
    conf_free(&c);
}
END_TEST

START_TEST(conf_ini_shows_the_table_byte_for_byte)
{
    char *text;
    size_t n;
    struct err e = { 0 };
    struct buf want = { 0 };
    conf_print_defaults(&want);
    ck_assert_msg(!file_read("conf/bitnet.ini", 1 << 20, &text, &n, &e), "%s", e.text);
    ck_assert_str_eq(text, want.p);
    ck_assert_uint_eq(n, want.n);
    free(text);
    buf_free(&want);
}
END_TEST

START_TEST(conf_ini_loads_to_the_defaults)
{
    struct conf c, d;
    struct err e = { 0 };
    ck_assert_msg(!conf_load(&c, "conf/bitnet.ini", NULL, NULL, 0, &e), "%s", e.text);
    ck_assert_int_eq(conf_load(&d, NULL, NULL, NULL, 0, &e), 0);
    for (unsigned i = 0; i < conf_n_key; i++) {
        const void *a = (char *)&c + conf_key[i].at, *b = (char *)&d + conf_key[i].at;
        if (conf_key[i].type == CONF_TEXT || conf_key[i].type == CONF_WORD)
            ck_assert_str_eq(*(char *const *)a, *(char *const *)b);
        else if (conf_key[i].type == CONF_BOOL)
            ck_assert_int_eq(*(const bool *)a, *(const bool *)b);
        else
            ck_assert_uint_eq(*(const uint32_t *)a, *(const uint32_t *)b);
    }
    conf_free(&c);
    conf_free(&d);
}
END_TEST

START_TEST(conf_file_sets_every_kind_of_value)
{
    static const char text[] =
        "\xef\xbb\xbf# a comment\r\n"
        "[server]\r\n"
        "host = ::1 ; loopback\n"
        "  port=0\n"
        "; another\n"
        "[engine]\n"
        "seed = 18446744073709551615\n"
        "page_tok = 64\n"
        "kv = I8\n"
        "parity = ON\n"
        "[model]\n"
        "path = /a b/c.gguf\n"
        "activation = RELU2\n"
        "i2s_layout = c\n"
        "[strict]\ndeterminism = bounded\n"
        "[log]\nlevel = debug\nformat = json\n"
        "[plugin:org.x.y]\nvariant = vnni\nempty =\n"
        "[server]\nthreads = 7";
    struct conf c;
    struct err e;
    ck_assert_msg(!load(&c, text, &e), "%s", e.text);
    ck_assert_str_eq(c.host, "::1");
    ck_assert_uint_eq(c.port, 0);
    ck_assert(c.seed == UINT64_MAX);
    ck_assert_uint_eq(c.page_tok, 64);
    ck_assert_uint_eq(c.kv_format, BNP_KV_I8);
    ck_assert(c.parity && c.log_json);
    ck_assert_str_eq(c.model_path, "/a b/c.gguf");
    ck_assert_str_eq(c.activation, "relu2");
    ck_assert_uint_eq(c.i2s_layout, 2);
    ck_assert_uint_eq(c.determinism, BNP_DET_BOUNDED);
    ck_assert_uint_eq(c.log_level, LOG_LEVEL_DEBUG);
    ck_assert_uint_eq(c.http_threads, 7);
    ck_assert_str_eq(conf_option(&c, "org.x.y", "variant"), "vnni");
    ck_assert_str_eq(conf_option(&c, "org.x.y", "empty"), "");
    ck_assert_ptr_null(conf_option(&c, "org.x.y", "other"));
    ck_assert_ptr_null(conf_option(&c, "org.x", "variant"));
    conf_free(&c);
}
END_TEST

static const struct {
    const char *text, *want;
} refused[] = {
    { "\n[engine]\nmax_seq = many\n",
      "bitnet.ini:3: engine.max_seq: \"many\" is not a whole number from 1 to 4096" },
    { "[engine]\nmax_seq = 0\n",
      "bitnet.ini:2: engine.max_seq: \"0\" is not a whole number from 1 to 4096" },
    { "[engine]\nmax_seq = 4097\n",
      "bitnet.ini:2: engine.max_seq: \"4097\" is not a whole number from 1 to 4096" },
    { "[engine]\nmax_seq = -1\n",
      "bitnet.ini:2: engine.max_seq: \"-1\" is not a whole number from 1 to 4096" },
    { "[engine]\nmax_seq = 8x\n",
      "bitnet.ini:2: engine.max_seq: \"8x\" is not a whole number from 1 to 4096" },
    { "[engine]\nmax_seq =\n",
      "bitnet.ini:2: engine.max_seq: \"\" is not a whole number from 1 to 4096" },
    { "[server]\nport = 18446744073709551617\n",
      "bitnet.ini:2: server.port: \"18446744073709551617\" is not a whole number from 0 to 65535" },
    { "[engine]\nseed = 18446744073709551616\n",
      "bitnet.ini:2: engine.seed: \"18446744073709551616\" is neither random nor a whole number "
      "from 0 to 18446744073709551615" },
    { "[strict]\nenabled = maybe\n",
      "bitnet.ini:2: strict.enabled: \"maybe\" is not one of: yes, no, true, false, on, off, 1, 0" },
    { "[strict]\ndeterminism = roughly\n",
      "bitnet.ini:2: strict.determinism: \"roughly\" is not one of: exact, stable, bounded" },
    { "[engine]\nmax_sec = 3\n",
      "bitnet.ini:2: engine.max_sec: unknown key; did you mean engine.max_seq?" },
    { "[model]\nseed = 3\n", "bitnet.ini:2: model.seed: unknown key; did you mean engine.seed?" },
    { "[model]\ncolour_space = 3\n",
      "bitnet.ini:2: model.colour_space: unknown key; expected one of conf/bitnet.ini" },
    { "[sever]\n", "bitnet.ini:1: [sever]: unknown section; did you mean [server]?" },
    { "[nonsense]\na = b\n",
      "bitnet.ini:1: [nonsense]: unknown section; expected one of conf/bitnet.ini" },
    { "port = 1\n", "bitnet.ini:1: port: stands before the first [section]" },
    { "[server]\nport = 1\n\nport = 2\n", "bitnet.ini:4: server.port: already set on line 2" },
    { "[server]\nport = 1\n[log]\n[server]\nport = 1\n",
      "bitnet.ini:5: server.port: already set on line 2" },
    { "[plugin:a]\nx = 1\nx = 2\n", "bitnet.ini:3: [plugin:a] x: already set on line 2" },
    { "[plugin:]\nx = 1\n", "bitnet.ini:2: [plugin:] x: an id and a key are needed" },
    { "[server]\nport\n", "bitnet.ini:2: neither [section] nor key = value" },
    { "[server\nport = 1\n", "bitnet.ini:1: neither [section] nor key = value" },
    { "[server]\nwhat is this\nport = many\n", "bitnet.ini:2: neither [section] nor key = value" },
    { "[plugin:a.plugin.with.a.name.that.is.longer.than.inih]\n",
      "bitnet.ini:1: the section's name has 52 bytes, expected at most 49" },
};

START_TEST(conf_refusal_says_where_and_what)
{
    struct conf c;
    struct err e;
    ck_assert_int_eq(load(&c, refused[_i].text, &e), ERR_ARG);
    ck_assert_str_eq(e.text, refused[_i].want);
    ck_assert_ptr_null(c.host);
    conf_free(&c);
}
END_TEST

START_TEST(conf_line_that_inih_would_cut_is_refused)
{
    struct conf c;
    struct err e;
    char text[512] = "[model]\npath = ";
    memset(text + strlen(text), 'x', 190 - 7);
    ck_assert_msg(!load(&c, text, &e), "%s", e.text);
    ck_assert_uint_eq(strlen(c.model_path), 190 - 7);
    conf_free(&c);
    strcat(text, "x");
    ck_assert_int_eq(load(&c, text, &e), ERR_ARG);
    ck_assert_str_eq(e.text, "bitnet.ini:2: the line has 191 bytes, expected at most 190; longer "
                             "values can come from the environment or --set");
}
END_TEST

START_TEST(conf_nul_byte_is_refused)
{
    struct conf c;
    struct err e = { 0 };
    static const char text[] = "[model]\nname = a\0b\n";
    ck_assert_int_eq(conf_load_mem(&c, text, sizeof text - 1, "f", NULL, NULL, 0, &e), ERR_ARG);
    ck_assert_str_eq(e.text, "f:2: the line holds a NUL byte, expected text");
}
END_TEST

START_TEST(conf_missing_file_is_one_error)
{
    struct conf c;
    struct err e = { 0 };
    ck_assert_int_eq(conf_load(&c, "no/such.ini", NULL, NULL, 0, &e), ERR_IO);
    ck_assert_ptr_nonnull(strstr(e.text, "no/such.ini"));
}
END_TEST

static int load_env(struct conf *c, char *const *env, const char *const *set, unsigned n_set,
                    struct err *e)
{
    static const char text[] = "[server]\nport = 1\n[engine]\nseed = 2\nmax_seq = 3\n"
                               "[strict]\ndeterminism = bounded\n";
    *e = (struct err){ 0 };
    return conf_load_mem(c, text, sizeof text - 1, "bitnet.ini", env, set, n_set, e);
}

START_TEST(conf_environment_beats_the_file_and_set_beats_both)
{
    char *const env[] = { "PATH=/bin", "BITNET_SERVER_PORT=11", "BITNET_ENGINE_SEED=12",
                          "BITNET_LOG_LEVEL=warn", "BITNETX=1", NULL };
    const char *const set[] = { "engine.seed=21", "engine.seed=22",
                                "plugin:org.x.y.key=a=b" };
    struct conf c;
    struct err e;
    ck_assert_msg(!load_env(&c, env, set, 3, &e), "%s", e.text);
    ck_assert_uint_eq(c.port, 11);
    ck_assert_uint_eq(c.seed, 22);
    ck_assert_uint_eq(c.max_seq, 3);
    ck_assert_uint_eq(c.log_level, LOG_LEVEL_WARN);
    ck_assert_str_eq(conf_option(&c, "org.x.y", "key"), "a=b");
    conf_free(&c);
}
END_TEST

START_TEST(conf_every_key_has_its_variable)
{
    for (unsigned i = 0; i < conf_n_key; i++) {
        struct buf b = { 0 };
        buf_addf(&b, "BITNET_%s_%s=\x01", conf_key[i].section, conf_key[i].key);
        for (char *p = b.p; *p != '='; p++)
            if (*p >= 'a' && *p <= 'z')
                *p = (char)(*p - 'a' + 'A');
        char *const env[] = { b.p, NULL };
        struct conf c;
        struct err e;
        int rc = load_env(&c, env, NULL, 0, &e);
        /* \x01 is a value of text keys only: whoever refuses it has read it. */
        if (conf_key[i].type == CONF_TEXT)
            ck_assert_str_eq(*(char **)((char *)&c + conf_key[i].at), "\x01");
        else
            ck_assert_int_eq(rc, ERR_ARG);
        conf_free(&c);
        buf_free(&b);
    }
}
END_TEST

START_TEST(conf_aliases_set_their_keys)
{
    char *const env[] = { "BITNET_GGUF=/m.gguf", "BITNET_SEED=random", "BITNET_STRICT_MODE=1", NULL };
    struct conf c;
    struct err e;
    ck_assert_msg(!load_env(&c, env, NULL, 0, &e), "%s", e.text);
    ck_assert_str_eq(c.model_path, "/m.gguf");
    ck_assert(c.seed_random && c.strict);
    conf_free(&c);
}
END_TEST

START_TEST(conf_deterministic_fixes_the_seed_and_the_floor)
{
    char *const on[] = { "BITNET_ENGINE_SEED=random", "BITNET_DETERMINISTIC=1", NULL };
    char *const off[] = { "BITNET_ENGINE_SEED=random", "BITNET_DETERMINISTIC=0", NULL };
    char *const keep[] = { "BITNET_DETERMINISTIC=1", NULL };
    struct conf c;
    struct err e;
    ck_assert_msg(!load_env(&c, on, NULL, 0, &e), "%s", e.text);
    ck_assert(!c.seed_random);
    ck_assert_uint_eq(c.determinism, BNP_DET_EXACT);
    conf_free(&c);
    ck_assert_msg(!load_env(&c, off, NULL, 0, &e), "%s", e.text);
    ck_assert(c.seed_random);
    ck_assert_uint_eq(c.determinism, BNP_DET_BOUNDED);
    conf_free(&c);
    ck_assert_msg(!load_env(&c, keep, NULL, 0, &e), "%s", e.text);
    ck_assert_uint_eq(c.seed, 2);
    conf_free(&c);
}
END_TEST

static const struct {
    char *env;
    const char *set, *want;
} refused_elsewhere[] = {
    { "BITNET_ENGINE_MAX_SEQ=x", NULL,
      "environment BITNET_ENGINE_MAX_SEQ: \"x\" is not a whole number from 1 to 4096" },
    { "BITNET_SEED=x", NULL,
      "environment BITNET_SEED: engine.seed: \"x\" is neither random nor a whole number from 0 to "
      "18446744073709551615" },
    { "BITNET_DETERMINISTIC=2", NULL,
      "environment BITNET_DETERMINISTIC: \"2\" is not one of: yes, no, true, false, on, off, 1, 0" },
    { "BITNET_SERVER_PROT=1", NULL,
      "environment BITNET_SERVER_PROT: no such key; expected BITNET_SECTION_KEY with a key of "
      "conf/bitnet.ini" },
    { NULL, "engine.max_seq", "--set engine.max_seq: expected section.key=value" },
    { NULL, "max_seq=1", "--set max_seq=1: expected section.key=value" },
    { NULL, "engine.max_seq=x", "--set: engine.max_seq: \"x\" is not a whole number from 1 to 4096" },
    { NULL, "engin.max_seq=1", "--set: [engin]: unknown section; did you mean [engine]?" },
    { NULL, "engine.max=1", "--set: engine.max: unknown key; expected one of conf/bitnet.ini" },
    { NULL, "plugin:.key=1", "--set: [plugin:] key: an id and a key are needed" },
};

START_TEST(conf_refusal_outside_the_file_names_its_source)
{
    char *const env[] = { refused_elsewhere[_i].env, NULL };
    struct conf c;
    struct err e;
    ck_assert_int_eq(load_env(&c, env, &refused_elsewhere[_i].set, refused_elsewhere[_i].set ? 1 : 0,
                              &e), ERR_ARG);
    ck_assert_str_eq(e.text, refused_elsewhere[_i].want);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("conf");
    TCase *t = tcase_create("conf");
    tcase_add_test(t, conf_without_a_source_is_the_table);
    tcase_add_test(t, conf_ini_shows_the_table_byte_for_byte);
    tcase_add_test(t, conf_ini_loads_to_the_defaults);
    tcase_add_test(t, conf_file_sets_every_kind_of_value);
    tcase_add_loop_test(t, conf_refusal_says_where_and_what, 0, sizeof refused / sizeof *refused);
    tcase_add_test(t, conf_line_that_inih_would_cut_is_refused);
    tcase_add_test(t, conf_nul_byte_is_refused);
    tcase_add_test(t, conf_missing_file_is_one_error);
    tcase_add_test(t, conf_environment_beats_the_file_and_set_beats_both);
    tcase_add_test(t, conf_every_key_has_its_variable);
    tcase_add_test(t, conf_aliases_set_their_keys);
    tcase_add_test(t, conf_deterministic_fixes_the_seed_and_the_floor);
    tcase_add_loop_test(t, conf_refusal_outside_the_file_names_its_source, 0,
                        sizeof refused_elsewhere / sizeof *refused_elsewhere);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
