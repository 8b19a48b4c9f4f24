/* fuzz_grammar.c - any bytes as a grammar, and a walk through what compiles.
 *
 * The input up to its first NUL is the grammar, what follows chooses tokens.
 * Mask, allows and accept must agree, and no text may pass that is not a
 * beginning of one when it is read byte by byte. */
#include <stdlib.h>
#include <string.h>

#include "../unit/grammar_rig.h"
#include "tests/fuzz/fuzz.h"

enum { MAX_STEP = 24 };

static struct rig rig;

static void walk(struct grammar *g, const uint8_t *choice, size_t n)
{
    struct grammar_state *s;
    struct buf text = { 0 };
    require(grammar_state_open(&s, g, NULL) == 0);
    for (size_t i = 0; i < n && i < MAX_STEP; i++) {
        const uint32_t *const mask = grammar_mask(s);
        if (!mask) {
            require(grammar_trouble(s)[0]);
            break;
        }
        uint64_t seed = choice[i] * 2654435761u + 1;
        const int32_t id = rig_draw(&rig, mask, &seed, choice[i] & 1);
        if (id < 0) {
            require(grammar_allows(s, rig.end) && grammar_accept(s, rig.end, NULL) == 0);
            break;
        }
        require(grammar_allows(s, id));
        require(!rig_has(mask, choice[i]) == !grammar_allows(s, choice[i]));
        require(!grammar_allows(s, rig.control));
        require(grammar_accept(s, id, NULL) == 0);
        vocab_piece(rig.vocab, id, false, &text);
        if (grammar_is_done(s))
            break;
    }
    require(rig_read(&rig, g, text.p, text.n) == (int)grammar_allows(s, rig.end) ||
            grammar_is_done(s));
    grammar_state_close(s);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!rig.vocab)
        rig_open(&rig, false);
    const uint8_t *const nul = memchr(data, 0, n);
    const size_t n_text = nul ? (size_t)(nul - data) : n;
    struct grammar *g;
    struct err e = { 0 };
    if (grammar_compile(&g, rig.tokens, (const char *)data, n_text, &e) == 0) {
        static const uint8_t some[] = { 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233 };
        if (nul)
            walk(g, nul + 1, n - n_text - 1);
        else
            walk(g, some, sizeof some);
        grammar_unref(g);
    } else {
        require(e.code < 0 && strncmp(e.text, "grammar: ", 9) == 0 && !strchr(e.text, '\n'));
    }
    return 0;
}
