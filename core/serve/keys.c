/* keys.c - reading the file of keys, and looking one up without telling by the
 * time it takes how much of it was right. */
#include "core/serve/keys.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/file.h"

enum { FILE_MAX = 1 << 20 };

static const char hash_mark[] = "sha256:";
static const char name_bytes[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-";
static const char *const scope_name[] = { "none", "read", "infer", "admin" };

const char *keys_scope_name(enum scope s)
{
    return scope_name[s];
}

static enum scope scope_of(const char *p, size_t n)
{
    for (enum scope s = SCOPE_READ; s <= SCOPE_ADMIN; s++)
        if (strlen(scope_name[s]) == n && !memcmp(p, scope_name[s], n))
            return s;
    return SCOPE_NONE;
}

/* Bits of "read,infer"; 0 when a word is none. */
static unsigned scopes_of(const char *list, size_t n)
{
    unsigned bits = 0;
    for (size_t i = 0; i <= n;) {
        const char *comma = i < n ? memchr(list + i, ',', n - i) : NULL;
        const size_t len = comma ? (size_t)(comma - list) - i : n - i;
        const enum scope s = scope_of(list + i, len);
        if (s == SCOPE_NONE)
            return 0;
        bits |= 1U << s;
        i += len + 1;
    }
    return bits;
}

/* Takes the next word off a line; it is empty at the line's end. */
static struct str next_word(struct str *line)
{
    while (line->n && (*line->p == ' ' || *line->p == '\t')) {
        line->p++;
        line->n--;
    }
    struct str w = { line->p, 0 };
    while (w.n < line->n && w.p[w.n] != ' ' && w.p[w.n] != '\t')
        w.n++;
    line->p += w.n;
    line->n -= w.n;
    return w;
}

static bool read_hash(struct str w, unsigned char out[KEYS_HASH_SIZE])
{
    const size_t skip = sizeof hash_mark - 1;
    size_t n = 0;
    return w.n == skip + 2 * KEYS_HASH_SIZE && !memcmp(w.p, hash_mark, skip) &&
           !sodium_hex2bin(out, KEYS_HASH_SIZE, w.p + skip, w.n - skip, NULL, &n, NULL) &&
           n == KEYS_HASH_SIZE;
}

static bool read_name(struct str w, char out[KEYS_NAME_SIZE])
{
    if (!w.n || w.n >= KEYS_NAME_SIZE)
        return false;
    memcpy(out, w.p, w.n);
    out[w.n] = 0;
    return strspn(out, name_bytes) == w.n;
}

/* What the line holds is not repeated: it may be a key that was put here by
 * mistake, and messages are logged. */
static int read_line(struct key *k, struct str line, struct err *e)
{
    const struct str name = next_word(&line), scopes = next_word(&line), hash = next_word(&line);
    if (!read_name(name, k->name))
        return err_set(e, ERR_DATA, "the name is wrong, expected 1 to %d letters, digits, dots, "
                       "dashes or underscores", KEYS_NAME_SIZE - 1);
    k->scopes = scopes_of(scopes.p, scopes.n);
    if (!k->scopes)
        return err_set(e, ERR_DATA, "key %s: the scopes are wrong, expected a list like read,infer "
                       "of read, infer and admin", k->name);
    if (!read_hash(hash, k->hash) || next_word(&line).n)
        return err_set(e, ERR_DATA, "key %s: the third word is wrong, expected sha256: and the 64 "
                       "hexadecimal digits of the key's SHA-256, as bitnet key prints", k->name);
    return 0;
}

static bool name_is_taken(const struct keys *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (!strcmp(all->key[i].name, name))
            return true;
    return false;
}

static size_t count_lines(const char *text, size_t n)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

static int read_lines(struct keys *all, const char *text, size_t n, const char *name, struct err *e)
{
    unsigned number = 0;
    for (size_t i = 0; i < n;) {
        const char *end = memchr(text + i, '\n', n - i);
        struct str line = { text + i, end ? (size_t)(end - text) - i : n - i };
        i += line.n + 1;
        number++;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        struct str look = line;
        const struct str first = next_word(&look);
        if (!first.n || *first.p == '#')
            continue;
        if (all->n == KEYS_MAX)
            return err_set(e, ERR_LIMIT, "%s:%u: more than %d keys", name, number, KEYS_MAX);
        struct key *k = &all->key[all->n];
        if (read_line(k, line, e))
            return err_prefix(e, "%s:%u", name, number);
        if (name_is_taken(all, k->name))
            return err_set(e, ERR_DATA, "%s:%u: key %s: the name is taken by a line above", name,
                           number, k->name);
        all->n++;
    }
    if (!all->n)
        return err_set(e, ERR_DATA, "%s: holds no key, expected a line like those of bitnet key",
                       name);
    return 0;
}

int keys_parse(struct keys **out, const char *text, size_t n, const char *name, struct err *e)
{
    *out = NULL;
    size_t room = count_lines(text, n);
    if (room > KEYS_MAX)
        room = KEYS_MAX;
    struct keys *all = calloc(1, sizeof *all + room * sizeof all->key[0]);
    if (!all)
        return err_set(e, ERR_NOMEM, "%s: no memory for the keys", name);
    const int rc = read_lines(all, text, n, name, e);
    if (rc)
        free(all);
    else
        *out = all;
    return rc;
}

int keys_read(struct keys **out, const char *path, struct err *e)
{
    char *text;
    size_t n;
    *out = NULL;
    int rc = file_read_secret(path, FILE_MAX, &text, &n, e);
    if (!rc)
        rc = keys_parse(out, text, n, path, e);
    free(text);
    return rc ? err_prefix(e, "server.keys") : 0;
}

void keys_free(struct keys *all)
{
    free(all);
}

const struct key *keys_find(const struct keys *all, const char *value, size_t n)
{
    unsigned char hash[KEYS_HASH_SIZE];
    const struct key *found = NULL;
    crypto_hash_sha256(hash, (const unsigned char *)value, n);
    for (size_t i = 0; i < all->n; i++)
        if (!sodium_memcmp(hash, all->key[i].hash, sizeof hash))
            found = &all->key[i];
    return found;
}
