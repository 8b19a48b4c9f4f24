/* fuzz_chat.c - any bytes as a conversation, and as a file's template.
 *
 * The first byte chooses a template and how the vocabulary holds its markers;
 * the rest is cut at zero bytes into messages, each of whose first bytes says
 * role and tools. As many control tokens and markers must come out as of the
 * same conversation with harmless texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/chat.h"
#include "tests/unit/gguf_make.h"
#include "tests/unit/vocab_make.h"
#include "tests/fuzz/fuzz.h"

enum { MAX_MSG = 12, BYTES = 256 };   /* ids below BYTES are single bytes */

static struct vocab *make_vocab(int32_t type)
{
    static const char *const mark[] = {
        "<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|endoftext|>",
        "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<s>",
        "</s>",
    };
    struct make *m = calloc(1, sizeof *m);
    struct vocab *v = NULL;
    require(m != NULL);
    make_bpe_bytes(m);
    for (size_t i = 0; i < sizeof mark / sizeof *mark; i++)
        make_token(m, mark[i], type, 0);
    make_bpe(m);
    make_str(m, "tokenizer.ggml.pre", "gpt-2");
    require(!make_open(m, &v, NULL, NULL, NULL));
    make_free(m);
    return v;
}

struct talk {
    struct chat_in in;
    struct chat_msg msg[MAX_MSG];
    struct chat_call call;
    struct chat_tool tool;
};

/* harmless: the same shape, and one word in the place of every text. */
static void read_talk(struct talk *t, const uint8_t *p, size_t n, bool harmless)
{
    static const struct str word = { "x", 1 };
    *t = (struct talk){ .in = { .msg = t->msg, .tool = &t->tool } };
    while (n && t->in.n_msg < MAX_MSG) {
        const uint8_t *end = memchr(p, 0, n);
        const size_t size = end ? (size_t)(end - p) : n;
        const uint8_t how = size ? p[0] : 0;
        const struct str said = { (const char *)p + (size > 0), size - (size > 0) };
        const struct str text = harmless ? word : said;
        struct chat_msg *const m = &t->msg[t->in.n_msg++];
        *m = (struct chat_msg){ .role = (enum chat_role)(how & 3), .text = text, .name = text,
                                .tool_call_id = text };
        if (how & 4) {
            t->call = (struct chat_call){ text, text, text };
            m->call = &t->call;
            m->n_call = 1;
        }
        if (how & 8) {
            t->tool = (struct chat_tool){ text, text, text };
            t->in.n_tool = 1;
        }
        t->in.add_generation = how & 16;
        n -= size + (end != NULL);
        p += size + (end != NULL);
    }
}

static size_t n_marks(const struct vocab *v, const struct tokens *t, const struct tokens *mark)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool is = vocab_is_control(v, t->id[i]);
        for (size_t k = 0; !is && k < mark->n; k++)
            is = t->id[i] >= BYTES && t->id[i] == mark->id[k];
        n += is;
    }
    return n;
}

static void check_talk(const struct chat_template *t, const struct vocab *v, const uint8_t *p,
                       size_t n)
{
    struct talk talk, twin;
    struct tokens ids = { 0 }, marks = { 0 };
    struct buf text = { 0 };
    struct err e = { 0 };
    read_talk(&talk, p, n, false);
    read_talk(&twin, p, n, true);
    const int rc = chat_encode(t, v, &talk.in, 0, &ids, &e);
    require((rc == 0) == (talk.in.n_msg > 0) && (rc == 0 || e.text[0]));
    require(chat_text(t, &talk.in, &text, &e) == rc);
    if (!rc) {
        require(!chat_encode(t, v, &twin.in, 0, &marks, &e));
        require(n_marks(v, &ids, &marks) == n_marks(v, &marks, &marks));
        struct tokens some = { 0 };
        require(ids.n < 2 || chat_encode(t, v, &talk.in, ids.n - 1, &some, &e) == ERR_LIMIT);
        free(some.id);
    }
    free(ids.id);
    free(marks.id);
    buf_free(&text);
}

static void check_template(const uint8_t *p, size_t n)
{
    static struct gguf_make g;
    struct buf value = { 0 }, file = { 0 };
    struct model m = { 0 };
    struct err e = { 0 };
    char warn[256];
    const uint64_t len = n;
    buf_add(&value, &len, sizeof len);
    buf_add(&value, p, n);
    gguf_make_raw(&g, "tokenizer.chat_template", GGUF_STR, value.p, value.n);
    gguf_make_done(&g, &file);
    if (!gguf_open_mem(&m.file, file.p, file.n, "made", &e)) {
        const struct chat_template *const t = chat_recognise(&m, warn);
        require(!t || !warn[0]);
        require(t || !n || warn[0]);
    }
    gguf_close(m.file);
    buf_free(&value);
    buf_free(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct vocab *v[3];
    static const int32_t type[3] = { 3, 4, 1 };     /* control, user-defined, ordinary */
    struct buf names = { 0 };
    chat_names(&names);
    if (n) {
        const unsigned how = data[0] % 3;
        unsigned skip = data[0] / 3 % 7;
        char *name = strtok(names.p, ", ");
        while (skip--)
            name = strtok(NULL, ", ");
        if (!v[how])
            v[how] = make_vocab(type[how]);
        check_talk(chat_find(name), v[how], data + 1, n - 1);
    }
    check_template(data, n);
    buf_free(&names);
    return 0;
}
