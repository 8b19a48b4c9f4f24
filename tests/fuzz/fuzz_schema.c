/* fuzz_schema.c - any bytes as a JSON schema.
 *
 * What is taken must give a grammar that compiles, unless it is too large or
 * never comes to an end, and what a short walk through it writes must be JSON. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/grammar_rig.h"
#include "core/serve/api_schema.h"
#include "tests/fuzz/fuzz.h"

static struct rig rig;

static void walk(struct grammar *g, uint64_t seed)
{
    struct grammar_state *s;
    struct buf text = { 0 };
    json_error_t why;
    require(grammar_state_open(&s, g, NULL) == 0);
    if (rig_walk(&rig, s, 10, &seed, &text)) {
        json_t *const j = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
        require(j || strstr(why.text, "NUL byte in object key"));
        json_decref(j);
    }
    grammar_state_close(s);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!rig.vocab)
        rig_open(&rig, false);
    struct buf gbnf = { 0 };
    struct grammar *g;
    struct err e = { 0 };
    if (api_schema_to_gbnf((const char *)data, n, &gbnf, &e)) {
        require(e.code < 0 && e.text[0] == '#' && gbnf.n == 0);
    } else if (grammar_compile(&g, rig.tokens, gbnf.p, gbnf.n, &e)) {
        require(e.code == ERR_LIMIT || strstr(e.text, "never comes to an end") ||
                strstr(e.text, "begins with itself"));
    } else {
        walk(g, n * 7 + 1);
        grammar_unref(g);
    }
    buf_free(&gbnf);
    return 0;
}
