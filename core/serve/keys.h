/* keys.h - who may do what: the API keys of server.keys.
 *
 * The file has a line per key, NAME SCOPE[,SCOPE...] sha256:HEX, where HEX is
 * the SHA-256 of the key: what the file holds opens nothing. Keys are long
 * and random, so a plain hash does. Blank lines and lines that start with #
 * mean nothing. Immutable once read: [any thread]. */
#ifndef BITNET_SERVE_KEYS_H
#define BITNET_SERVE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum {
    KEYS_MAX = 4096,              /* keys in a file                            */
    KEYS_NAME_SIZE = 48,          /* with its NUL                              */
    KEYS_HASH_SIZE = 32
};

/* What a key may do; a route names the one that it asks for. */
enum scope {
    SCOPE_NONE,                   /* no key needed: health, the preflight      */
    SCOPE_READ,                   /* looking: models, tokens, metrics          */
    SCOPE_INFER,                  /* work for the engine                       */
    SCOPE_ADMIN                   /* what changes the server                   */
};

struct key {
    char name[KEYS_NAME_SIZE];
    unsigned scopes;              /* bit 1 << enum scope                       */
    unsigned char hash[KEYS_HASH_SIZE];
};

struct keys {
    size_t n;
    struct key key[];
};

/* A file that only its owner, and perhaps its group, can read. */
int keys_read(struct keys **out, const char *path, struct err *);
/* name: for messages. */
int keys_parse(struct keys **out, const char *text, size_t n, const char *name, struct err *);
void keys_free(struct keys *);

/* The key with this value, or NULL. Takes the same time whichever it is. */
const struct key *keys_find(const struct keys *, const char *value, size_t n);

const char *keys_scope_name(enum scope);

#endif
