/* bitnet_tokenize.c - `bitnet tokenize`: a file's tokenizer alone; files that
 * hold a vocabulary and no tensors will do. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/hf.h"
#include "tools/bitnet.h"

static bool no_bos, special, ids_only;
static const char *decode;

static const struct opt options[] = {
    { "no-bos", 0, OPT_FLAG, &no_bos, NULL, "no beginning-of-sequence token" },
    { "special", 0, OPT_FLAG, &special, NULL,
      "control tokens written in the text count; with --decode: are shown" },
    { "ids", 0, OPT_FLAG, &ids_only, NULL, "only the ids, on one line" },
    { "decode", 0, OPT_TEXT, &decode, "IDS", "ids to text: \"1,2,3\"; - reads them" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct opt pre_option[] = {
    { "pre", 0, OPT_TEXT, &common.pre, "NAME", "pre-tokenizer (default: what the file says)" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "tokenize", "[-m FILE] [OPTION]... [TEXT]",
    "Shows the tokens of TEXT (without it: of standard input), an id and its bytes a\n"
    "line, or the text of token ids.",
    { options, common_file, pre_option }
};

static int print_text(const struct vocab *v, const struct tokens *t, struct err *e)
{
    struct detok d = { 0 };
    struct buf b = { 0 };
    for (size_t i = 0; i < t->n; i++)
        detok_feed(v, &d, t->id[i], special, &b);
    detok_finish(&d, &b);
    int rc;
    if (b.failed)
        rc = err_set(e, ERR_NOMEM, "tokenize: no memory for the text");
    else if (common.json)
        rc = put_json(json_pack("{s:o}", "text", json_text(b.p, b.n)), e);
    else
        rc = put_out(b.p, b.n, e);
    buf_free(&b);
    return rc;
}

static int print_json(const struct vocab *v, const struct tokens *t, struct err *e)
{
    json_t *list = json_array();
    struct buf piece = { 0 };
    bool ok = list;
    for (size_t i = 0; ok && i < t->n; i++) {
        buf_clear(&piece);
        vocab_piece(v, t->id[i], true, &piece);
        json_t *id = json_integer(t->id[i]);
        json_t *one = ids_only ? id : json_pack("{s:o,s:o}", "id", id, "text",
                                                json_text(piece.p, piece.n));
        ok = !json_array_append_new(list, one);
    }
    buf_free(&piece);
    if (!ok) {
        json_decref(list);
        list = NULL;
    }
    return put_json(list, e);
}

static int print_tokens(const struct vocab *v, const struct tokens *t, struct err *e)
{
    struct buf b = { 0 }, piece = { 0 };
    for (size_t i = 0; i < t->n; i++) {
        if (ids_only) {
            buf_addf(&b, "%s%" PRId32, i ? " " : "", t->id[i]);
            continue;
        }
        buf_clear(&piece);
        vocab_piece(v, t->id[i], true, &piece);
        buf_addf(&b, "%7" PRId32 "  ", t->id[i]);
        put_escaped(&b, piece.p, piece.n);
        buf_add(&b, "\n", 1);
    }
    if (ids_only)
        buf_add(&b, "\n", 1);
    int rc = b.failed || piece.failed ? err_set(e, ERR_NOMEM, "tokenize: no memory for the list")
                                      : put_out(b.p, b.n, e);
    buf_free(&piece);
    buf_free(&b);
    return rc;
}

static int check_ids(const struct vocab *v, const struct tokens *t, struct err *e)
{
    for (size_t i = 0; i < t->n; i++)
        if ((uint32_t)t->id[i] >= vocab_n(v))
            return err_set(e, ERR_ARG, "token ids: %" PRId32 ", expected 0 to %u", t->id[i],
                           vocab_n(v) - 1);
    return 0;
}

/* text: what to encode, or the ids to decode. */
static int work(const struct vocab *v, const char *text, size_t n, struct err *e)
{
    struct tokens t = { 0 };
    int rc;
    if (decode) {
        rc = parse_ids(text, n, &t, e);
        if (!rc)
            rc = check_ids(v, &t, e);
        if (!rc)
            rc = print_text(v, &t, e);
    } else {
        unsigned flags = (no_bos ? 0u : VOCAB_BOS) | (special ? VOCAB_SPECIAL : 0u);
        rc = vocab_encode(v, text, n, flags, 0, &t, e);
        if (!rc)
            rc = common.json ? print_json(v, &t, e) : print_tokens(v, &t, e);
    }
    free(t.id);
    return rc;
}

static int open_vocab(struct gguf **g, struct vocab **v, struct err *e)
{
    char path[PATH_MAX], warn[256] = "";
    int rc = load_path(path, e);
    if (!rc)
        rc = hf_open_any(g, path, e);
    if (!rc)
        rc = vocab_open(v, *g, common.pre, warn, e);
    if (!rc && warn[0])
        fprintf(stderr, "bitnet: warning: %s\n", warn);
    return rc;
}

int verb_tokenize(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    struct gguf *g = NULL;
    struct vocab *v = NULL;
    char *read = NULL;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    const char *text = decode ? decode : w.n ? w.at[0] : "-";
    size_t n = strlen(text);
    if (w.n > (decode ? 0u : 1u))
        rc = err_set(&e, ERR_ARG, "tokenize: %.100s: one argument too many", w.at[w.n - 1]);
    if (!rc && decode && (ids_only || no_bos))
        rc = err_set(&e, ERR_ARG, "tokenize: --%s has no meaning with --decode",
                     ids_only ? "ids" : "no-bos");
    if (!rc)
        rc = open_vocab(&g, &v, &e);
    if (!rc && !strcmp(text, "-")) {
        rc = read_text("-", &read, &n, &e);
        text = read ? read : "";
    }
    if (!rc)
        rc = work(v, text, n, &e);
    vocab_close(v);
    gguf_close(g);
    free(read);
    return tool_exit(rc, &e);
}
