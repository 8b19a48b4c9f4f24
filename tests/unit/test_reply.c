/* test_reply.c - text from tokens, cut at stop strings.
 *
 * No model runs: the test plays the engine, pushing tokens into the ring and
 * setting done. Texts are fed in every shape of token border, and the result
 * is held against strstr over the whole text. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/engine/engine_parts.h"
#include "core/engine/reply.h"
#include "core/model/gguf.h"

static struct gguf *file;
static struct vocab *vocab;
static struct engine fake;            /* only its inbox is used, by engine_cancel */

static void setup(void)
{
    struct err e = { 0 };
    ck_assert_msg(!gguf_open(&file, "models/story.gguf", &e), "%s", e.text);
    ck_assert_msg(!vocab_open(&vocab, file, NULL, NULL, &e), "%s", e.text);
    ck_assert_int_eq(mpsc_open(&fake.inbox), 0);
}

static void teardown(void)
{
    mpsc_close(&fake.inbox);
    vocab_close(vocab);
    gguf_close(file);
}

static uint64_t rng = 3;

static uint32_t below(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((rng >> 33) % n);
}

/* Appends the tokens of p[0..n), encoded in random pieces, so that borders
 * fall everywhere, inside code points too. */
static void encode_pieces(const char *p, size_t n, struct tokens *t)
{
    while (n) {
        size_t k = 1 + below(6);
        k = k < n ? k : n;
        ck_assert_int_eq(vocab_encode(vocab, p, k, 0, 0, t, NULL), 0);
        p += k;
        n -= k;
    }
}

/* What all tokens give: their bytes, one after the other. */
static void whole_text(const struct tokens *t, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++)
        vocab_piece(vocab, t->id[i], false, out);
}

struct game {
    struct request req;
    struct reply reply;
    int32_t prompt[2];
};

static void game_open(struct game *g, const struct str *stop, unsigned n_stop, uint32_t room)
{
    ck_assert_int_eq(request_open(&g->req, room), 0);
    struct tokens t = { 0 };
    ck_assert_int_eq(vocab_encode(vocab, "x", 1, 0, 0, &t, NULL), 0);
    g->prompt[0] = t.id[t.n - 1];
    free(t.id);
    g->req.prompt = g->prompt;
    g->req.n_prompt = 1;
    struct err e = { 0 };
    ck_assert_msg(!reply_open(&g->reply, &fake, &g->req, vocab, stop, n_stop, &e), "%s", e.text);
}

static void game_close(struct game *g)
{
    reply_close(&g->reply);
    request_close(&g->req);
}

/* Feeds t a few tokens at a time, as long as nobody cancels; then the end. */
static void play(struct game *g, const struct tokens *t, uint32_t most, struct buf *out)
{
    size_t i = 0;
    while (i < t->n && !atomic_load(&g->req.cancel)) {
        for (uint32_t k = 1 + below(most); k && i < t->n; k--)
            ck_assert(ring_push(&g->req.out, (uint32_t)t->id[i++]));
        size_t before = out->n;
        enum reply_state st = reply_next(&g->reply, out);
        ck_assert_int_eq(st, out->n > before ? REPLY_TEXT : REPLY_WAIT);
    }
    bool cut = atomic_load(&g->req.cancel);
    atomic_store(&g->req.done, cut ? FINISH_CANCELLED : FINISH_LENGTH);
    enum reply_state st = reply_next(&g->reply, out);
    if (st == REPLY_TEXT)
        st = reply_next(&g->reply, out);
    ck_assert_int_eq(st, REPLY_END);
    ck_assert_int_eq(reply_next(&g->reply, out), REPLY_END);
}

/* The definition: where the earliest stop string of the whole text begins,
 * how many tokens it took to complete the first one there. */
static size_t cut_of(const struct buf *text, const struct str *stop, unsigned n_stop,
                     size_t *complete)
{
    size_t cut = text->n;
    *complete = text->n;
    for (unsigned i = 0; i < n_stop; i++)
        for (size_t at = 0; at + stop[i].n <= text->n && at <= cut; at++)
            if (!memcmp(text->p + at, stop[i].p, stop[i].n)) {
                if (at < cut || at + stop[i].n < *complete)
                    *complete = at + stop[i].n;
                cut = at;
                break;
            }
    return cut;
}

START_TEST(reply_equals_the_whole_text_cut_before_the_earliest_stop)
{
    static const char *const alphabet[] = { "a", "b", "c", "\xc3\xa9", "\xf0\x9f\x90\xbb" };
    for (int round = 0; round < 4000; round++) {
        struct buf text = { 0 }, want = { 0 }, got = { 0 };
        uint32_t letters = 2 + below(4);
        for (uint32_t n = below(40); n; n--) {
            const char *a = alphabet[below(letters)];
            buf_add(&text, a, strlen(a));
        }
        struct buf word[4] = { 0 };
        struct str stop[4];
        unsigned n_stop = below(5);
        for (unsigned i = 0; i < n_stop; i++) {
            for (uint32_t n = 1 + below(6); n; n--) {
                const char *a = alphabet[below(letters)];
                buf_add(&word[i], a, strlen(a));
            }
            stop[i] = (struct str){ word[i].p, word[i].n };
        }
        struct tokens t = { 0 };
        encode_pieces(text.p ? text.p : "", text.n, &t);
        whole_text(&t, t.n, &want);
        ck_assert_uint_eq(want.n, text.n);
        size_t complete, cut = cut_of(&want, stop, n_stop, &complete);
        uint32_t n_tok = 0;                 /* tokens until the stop is complete */
        for (size_t made = 0; cut < want.n && made < complete; n_tok++) {
            struct buf b = { 0 };
            vocab_piece(vocab, t.id[n_tok], false, &b);
            made += b.n;
            buf_free(&b);
        }

        struct game g;
        game_open(&g, stop, n_stop, (uint32_t)t.n + 1);
        play(&g, &t, 1 + below(4), &got);
        ck_assert_msg(got.n == cut && !memcmp(got.p ? got.p : "", want.p ? want.p : "", cut),
                      "round %d: \"%s\" gave \"%s\", expected %zu bytes", round,
                      want.p ? want.p : "", got.p ? got.p : "", cut);
        ck_assert_int_eq(reply_finish(&g.reply), cut < want.n ? FINISH_STOP : FINISH_LENGTH);
        ck_assert_uint_eq(g.reply.n_tok, cut < want.n ? n_tok : t.n);
        game_close(&g);
        for (unsigned i = 0; i < 4; i++)
            buf_free(&word[i]);
        free(t.id);
        buf_free(&text);
        buf_free(&want);
        buf_free(&got);
    }
}
END_TEST

/* Tokens of exactly these pieces. */
static void tokens_of(struct tokens *t, const char *const *piece)
{
    for (; *piece; piece++)
        ck_assert_int_eq(vocab_encode(vocab, *piece, strlen(*piece), 0, 0, t, NULL), 0);
}

START_TEST(reply_holds_back_what_could_become_a_stop)
{
    const struct str stop[] = { { "END", 3 } };
    struct game g;
    struct buf out = { 0 };
    struct tokens t = { 0 };
    tokens_of(&t, (const char *const[]){ "a", "E", "N", "x", "E", NULL });
    game_open(&g, stop, 1, 16);
    static const char *const shown[] = { "a", "a", "a", "aENx", "aENx" };
    ck_assert_uint_eq(t.n, 5);
    for (int i = 0; i < 5; i++) {
        ring_push(&g.req.out, (uint32_t)t.id[i]);
        reply_next(&g.reply, &out);
        ck_assert_str_eq(out.p, shown[i]);
    }
    atomic_store(&g.req.done, FINISH_STOP);
    ck_assert_int_eq(reply_next(&g.reply, &out), REPLY_TEXT);   /* the E was just an E */
    ck_assert_str_eq(out.p, "aENxE");
    ck_assert_int_eq(reply_next(&g.reply, &out), REPLY_END);
    game_close(&g);
    free(t.id);
    buf_free(&out);
}
END_TEST

START_TEST(reply_waits_for_an_earlier_stop_that_may_still_come)
{
    const struct str stop[] = { { "b", 1 }, { "abcd", 4 } };
    static const struct {
        const char *piece[8], *text;
        uint32_t n_tok;
    } cases[] = {
        { { "x", "a", "b", "c", "d", "e" }, "x", 5 },
        { { "x", "a", "b", "c", "x", "e" }, "xa", 3 },   /* not abcd: b it was, with token 3 */
        { { "x", "a", "b" }, "xa", 3 },
        { { "x", "a", "c" }, "xac", 3 },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct game g;
        struct buf out = { 0 };
        struct tokens t = { 0 };
        tokens_of(&t, cases[i].piece);
        game_open(&g, stop, 2, 16);
        play(&g, &t, 1, &out);
        ck_assert_str_eq(out.p, cases[i].text);
        ck_assert_uint_eq(g.reply.n_tok, cases[i].n_tok);
        game_close(&g);
        free(t.id);
        buf_free(&out);
    }
}
END_TEST

START_TEST(reply_cancels_and_ends_only_when_the_engine_let_go)
{
    const struct str stop[] = { { "b", 1 } };
    struct game g;
    struct buf out = { 0 };
    struct tokens t = { 0 };
    tokens_of(&t, (const char *const[]){ "a", "b", "c", NULL });
    game_open(&g, stop, 1, 16);
    for (int i = 0; i < 3; i++)
        ring_push(&g.req.out, (uint32_t)t.id[i]);
    ck_assert_int_eq(reply_next(&g.reply, &out), REPLY_TEXT);
    ck_assert(atomic_load(&g.req.cancel));
    ck_assert_int_eq(reply_next(&g.reply, &out), REPLY_WAIT);
    ring_push(&g.req.out, (uint32_t)t.id[2]);               /* one more slips out */
    ck_assert_int_eq(reply_next(&g.reply, &out), REPLY_WAIT);
    atomic_store(&g.req.done, FINISH_LENGTH);
    ck_assert_int_eq(reply_next(&g.reply, &out), REPLY_END);
    ck_assert_int_eq(reply_finish(&g.reply), FINISH_STOP);
    ck_assert_str_eq(out.p, "a");
    ck_assert_uint_eq(g.reply.n_tok, 2);
    game_close(&g);
    free(t.id);
    buf_free(&out);
}
END_TEST

START_TEST(reply_never_emits_half_a_code_point)
{
    for (int round = 0; round < 300; round++) {
        struct buf text = { 0 }, got = { 0 };
        for (int i = 0; i < 20; i++) {
            char u[4];
            size_t n = utf8_encode(1 + below(0xd7ff), u);
            buf_add(&text, u, n);
        }
        struct tokens t = { 0 };
        encode_pieces(text.p, text.n, &t);
        struct game g;
        game_open(&g, NULL, 0, (uint32_t)t.n);
        for (size_t i = 0; i < t.n; i++) {
            ring_push(&g.req.out, (uint32_t)t.id[i]);
            reply_next(&g.reply, &got);
            ck_assert_uint_eq(utf8_whole(got.p ? got.p : "", got.n), got.n);
        }
        atomic_store(&g.req.done, FINISH_LENGTH);
        while (reply_next(&g.reply, &got) != REPLY_END)
            ;
        ck_assert_uint_eq(got.n, text.n);
        ck_assert_int_eq(memcmp(got.p, text.p, text.n), 0);
        game_close(&g);
        free(t.id);
        buf_free(&text);
        buf_free(&got);
    }
}
END_TEST

START_TEST(reply_gives_the_bytes_of_an_unfinished_code_point_at_the_end)
{
    struct game g;
    struct buf out = { 0 };
    struct tokens t = { 0 };
    tokens_of(&t, (const char *const[]){ "a", "\xe2\x82", NULL });
    game_open(&g, NULL, 0, 16);
    play(&g, &t, 1, &out);
    ck_assert_str_eq(out.p, "a\xe2\x82");
    game_close(&g);
    free(t.id);
    buf_free(&out);
}
END_TEST

START_TEST(reply_refuses_bad_stop_strings)
{
    static char longest[REPLY_MAX_STOP_SIZE + 1];
    memset(longest, 'a', sizeof longest);
    struct request r;
    ck_assert_int_eq(request_open(&r, 1), 0);
    struct str many[REPLY_MAX_STOP + 1];
    for (unsigned i = 0; i <= REPLY_MAX_STOP; i++)
        many[i] = (struct str){ longest, sizeof longest - 1 };
    struct reply y;
    struct err e = { 0 };
    ck_assert_int_eq(reply_open(&y, &fake, &r, vocab, many, REPLY_MAX_STOP, &e), 0);
    reply_close(&y);
    ck_assert_int_eq(reply_open(&y, &fake, &r, vocab, many, REPLY_MAX_STOP + 1, &e), ERR_ARG);
    many[1].n++;
    ck_assert_int_eq(reply_open(&y, &fake, &r, vocab, many, 2, &e), ERR_ARG);
    many[1] = (struct str){ "", 0 };
    ck_assert_int_eq(reply_open(&y, &fake, &r, vocab, many, 2, &e), ERR_ARG);
    ck_assert_ptr_nonnull(strstr(e.text, "stop[1]"));
    many[1] = (struct str){ "a\xff", 2 };
    ck_assert_int_eq(reply_open(&y, &fake, &r, vocab, many, 2, &e), ERR_ARG);
    request_close(&r);
}
END_TEST

/* Where each token's text begins, and that a token is shown with its first
 * byte, however the tokens come. */
START_TEST(reply_shows_tokens_with_their_text)
{
    static const char text[] = "A \xf0\x9f\x98\x80 fox, a d\xc3\xb6g and a wolf; the w\xc3\xb6rd.";
    const struct str stop[] = { { "wolf", 4 } };
    for (int round = 0; round < 60; round++) {
        struct game g;
        struct tokens t = { 0 };
        struct buf out = { 0 };
        const unsigned n_stop = round % 2 ? 1 : 0;
        uint32_t shown = 0;
        size_t fed = 0, at = 0;
        encode_pieces(text, sizeof text - 1, &t);
        game_open(&g, stop, n_stop, (uint32_t)t.n);
        g.reply.keep_tok = true;
        enum reply_state st = REPLY_WAIT;
        while (st != REPLY_END) {
            for (uint32_t k = 1 + below(3); k && fed < t.n && !atomic_load(&g.req.cancel); k--)
                ck_assert(ring_push(&g.req.out, (uint32_t)t.id[fed++]));
            if (fed == t.n || atomic_load(&g.req.cancel))
                atomic_store(&g.req.done, FINISH_LENGTH);
            st = reply_next(&g.reply, &out);
            const uint32_t now = reply_n_shown(&g.reply, shown);
            ck_assert_uint_ge(now, shown);
            for (uint32_t i = shown; i < now; i++)
                ck_assert(reply_tok(&g.reply)[i].at < out.n || st == REPLY_END);
            shown = now;
        }
        ck_assert_uint_eq(out.n, n_stop ? (size_t)(strstr(text, "wolf") - text) : sizeof text - 1);
        for (uint32_t i = 0; i < shown; i++) {
            struct buf piece = { 0 };
            ck_assert_int_eq(reply_tok(&g.reply)[i].id, t.id[i]);
            ck_assert_uint_eq(reply_tok(&g.reply)[i].at, at);
            vocab_piece(vocab, t.id[i], false, &piece);
            at += piece.n;
            buf_free(&piece);
        }
        ck_assert(at >= out.n && (n_stop || shown == t.n));
        ck_assert(n_stop ? reply_stop(&g.reply)->p == stop[0].p : !reply_stop(&g.reply));
        game_close(&g);
        buf_free(&out);
        free(t.id);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("reply");
    TCase *t = tcase_create("reply");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, reply_equals_the_whole_text_cut_before_the_earliest_stop);
    tcase_add_test(t, reply_holds_back_what_could_become_a_stop);
    tcase_add_test(t, reply_waits_for_an_earlier_stop_that_may_still_come);
    tcase_add_test(t, reply_cancels_and_ends_only_when_the_engine_let_go);
    tcase_add_test(t, reply_never_emits_half_a_code_point);
    tcase_add_test(t, reply_gives_the_bytes_of_an_unfinished_code_point_at_the_end);
    tcase_add_test(t, reply_refuses_bad_stop_strings);
    tcase_add_test(t, reply_shows_tokens_with_their_text);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
