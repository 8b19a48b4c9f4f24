/* bitnet_key.c - `bitnet key`: draws an API key. The key goes to standard output
 * once and is kept nowhere; server.keys gets only its hash. */
#include <sodium.h>
#include <string.h>

#include "core/serve/keys.h"
#include "tools/bitnet.h"

enum { KEY_BYTES = 32 };

static const char *scopes = "read,infer";
static const struct opt options[] = {
    { "scopes", 's', OPT_TEXT, &scopes, "LIST", "of read, infer and admin; default read,infer" },
    { 0 }
};
static const struct usage usage = {
    "key", "[OPTION]... NAME",
    "Prints a new API key, and the line that lets it in, for the file of server.keys.",
    { options }
};

static int make_key(const char *name, struct err *e)
{
    unsigned char raw[KEY_BYTES], hash[crypto_hash_sha256_BYTES];
    char text[sodium_base64_ENCODED_LEN(KEY_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    char hex[2 * sizeof hash + 1], key[sizeof text + 8];
    randombytes_buf(raw, sizeof raw);
    sodium_bin2base64(text, sizeof text, raw, sizeof raw, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(key, sizeof key, "bitnet-%s", text);
    crypto_hash_sha256(hash, (const unsigned char *)key, strlen(key));
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    struct buf line = { 0 }, out = { 0 };
    buf_addf(&line, "%s %s sha256:%s\n", name, scopes, hex);
    buf_addf(&out, "%s\n%s", key, line.p ? line.p : "");
    /* What the server would say of it. */
    struct keys *read = NULL;
    int rc = keys_parse(&read, line.p ? line.p : "", line.n, "bitnet key", e);
    keys_free(read);
    if (!rc)
        rc = line.failed || out.failed ? err_set(e, ERR_NOMEM, "bitnet key: no memory")
                                       : put_out(out.p, out.n, e);
    buf_free(&line);
    buf_free(&out);
    return rc;
}

int verb_key(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n != 1)
        rc = err_set(&e, ERR_ARG, "key: expected one NAME, see `bitnet key --help`");
    else if (sodium_init() < 0)
        rc = err_set(&e, ERR_INTERNAL, "key: libsodium does not start");
    return tool_exit(rc ? rc : make_key(w.at[0], &e), &e);
}
