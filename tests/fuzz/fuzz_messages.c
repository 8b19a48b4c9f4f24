/* fuzz_messages.c - any bytes as a body of /v1/messages and of /v1/responses,
 * and as what a model writes where it may call tools.
 *
 * What is accepted can become a prompt; however a text is cut into pieces, the
 * same content and as many calls come out. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_messages.h"
#include "core/serve/api_responses.h"
#include "core/serve/api_tools.h"
#include "tests/fuzz/fuzz.h"

static void check_accepted(const struct api_chat *c, const struct arena *a)
{
    const struct chat_in in = { .msg = c->msg, .n_msg = c->n_msg, .tool = c->tool,
                                .n_tool = c->n_tool, .add_generation = true };
    struct buf text = { 0 };
    require(a->used > 0 && c->n_msg >= 1 && c->n_tool <= TOOLS_MAX && c->common.gen.n == 1);
    require(!chat_text(chat_find("chatml"), &in, &text, NULL) && text.n);
    buf_free(&text);
}

static void check_refused(const struct api_error *e)
{
    struct buf out = { 0 };
    require((e->status == 400 || e->status == 500) && e->message[0]);
    api_put_error(&out, e);
    require(!out.failed);
    buf_free(&out);
}

static void check_bodies(const char *p, size_t n)
{
    for (int counting = 0; counting <= 2; counting++) {
        struct arena arena = { 0 };
        struct api_chat c;
        struct api_error e;
        struct str echo = { NULL, 0 };
        bool begun = false;
        const int rc = counting == 2 ? api_parse_responses(p, n, &arena, &c, &echo, &e)
                                     : api_parse_messages(p, n, &arena, counting, &c, &begun, &e);
        if (rc)
            check_refused(&e);
        else
            check_accepted(&c, &arena);
        if (!rc && counting == 2) {
            json_t *const j = json_loadb(echo.p, echo.n, 0, NULL);
            require(json_is_object(j));
            json_decref(j);
        }
        arena_free(&arena);
    }
}

static unsigned take_apart(const char *p, size_t n, size_t piece, struct buf *out)
{
    static const struct chat_tool tool[] = { { .name = { "now", 3 } }, { .name = { "f", 1 } } };
    struct tools *const s = tools_open(chat_find(n % 2 ? "llama3" : "chatml"), tool, 2);
    unsigned n_call;
    require(s != NULL);
    for (size_t at = 0; at < n; at += piece)
        tools_feed(s, p + at, piece < n - at ? piece : n - at, false, out);
    tools_feed(s, NULL, 0, true, out);
    const struct chat_call *const c = tools_calls(s, &n_call);
    for (unsigned i = 0; i < n_call; i++) {
        json_t *const j = json_loadb(c[i].arguments.p, c[i].arguments.n, 0, NULL);
        require(json_is_object(j));
        json_decref(j);
        buf_add(out, c[i].name.p, c[i].name.n);
        buf_add(out, c[i].arguments.p, c[i].arguments.n);
    }
    tools_close(s);
    return n_call;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *const p = (const char *)data;
    struct buf whole = { 0 }, pieces = { 0 };
    check_bodies(p, n);
    const unsigned n_call = take_apart(p, n, n + 1, &whole);
    require(n_call == take_apart(p, n, 1 + n % 7, &pieces));
    require(whole.n == pieces.n && (!whole.n || !memcmp(whole.p, pieces.p, whole.n)));
    require(n_call || (whole.n == n && (!n || !memcmp(whole.p, p, n))));
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
