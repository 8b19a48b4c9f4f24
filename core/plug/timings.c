/* timings.c - a table in memory, and a file that is that table and a digest.
 *
 *   "BNTIMING", u32 version, u32 n     16 bytes
 *   n entries: key, value              64 bytes each, the last used first
 *   BLAKE2b-256 of all before it       32 bytes
 *
 * The digest finds accidents. Against malice there is the folder, which nobody
 * else may write; and a forged entry could make us slow and never wrong. */
#include "core/plug/timings.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/file.h"
#include "core/base/log.h"
#include "core/base/path.h"

#define VERSION 2u

struct header {
    char magic[8];
    uint32_t version, n;
};

struct entry {
    uint8_t key[TIMINGS_KEY];
    struct timings_value v;
};

_Static_assert(sizeof(struct header) == 16 && sizeof(struct entry) == 64, "as the file has them");

#define SUM_SIZE 32u
#define FILE_MAX (sizeof(struct header) + TIMINGS_MAX * sizeof(struct entry) + SUM_SIZE)

static const char magic[8] = { 'B', 'N', 'T', 'I', 'M', 'I', 'N', 'G' };

struct timings {
    char *path;                   /* NULL: memory only                         */
    bool changed;
    uint32_t n, n_used;           /* the first n_used were asked for or put    */
    struct entry e[TIMINGS_MAX];
};

const char *timings_path(const char *conf, char out[PATH_MAX])
{
    static const char name[] = "/timings";
    if (conf && !strcmp(conf, "off"))
        return NULL;
    if (conf && conf[0])
        return conf;
    if (path_cache_dir(out, PATH_MAX - sizeof name))
        return NULL;
    return strcat(out, name);
}

static bool good_value(const struct timings_value *v)
{
    for (unsigned i = 0; i < TIMINGS_N; i++)
        if (!isfinite(v->us[i]) || v->us[i] < 0)
            return false;
    return v->cold <= 1 && v->chosen <= 1 && v->guessed < 1u << TIMINGS_N &&
           v->unsure < 1u << TIMINGS_N && v->doubt >= 0 && v->doubt <= 1;
}

static void digest(const void *p, size_t n, uint8_t sum[SUM_SIZE])
{
    crypto_generichash(sum, SUM_SIZE, p, n, NULL, 0);
}

int timings_parse(struct timings *t, const void *p, size_t n, struct err *e)
{
    struct header h;
    uint8_t sum[SUM_SIZE];
    const uint8_t *bytes = p;
    if (n < sizeof h + SUM_SIZE)
        return err_set(e, ERR_DATA, "%zu bytes, expected a header and a digest", n);
    memcpy(&h, bytes, sizeof h);
    if (memcmp(h.magic, magic, sizeof magic) || h.version != VERSION)
        return err_set(e, ERR_DATA, "not a file of timings, version %u", VERSION);
    if (h.n > TIMINGS_MAX || n != sizeof h + h.n * sizeof(struct entry) + SUM_SIZE)
        return err_set(e, ERR_DATA, "%zu bytes for %u entries", n, h.n);
    digest(bytes, n - SUM_SIZE, sum);
    if (memcmp(sum, bytes + n - SUM_SIZE, SUM_SIZE))
        return err_set(e, ERR_DATA, "its digest does not match its bytes");
    for (uint32_t i = 0; i < h.n; i++) {
        struct entry entry;
        memcpy(&entry, bytes + sizeof h + i * sizeof entry, sizeof entry);
        if (!good_value(&entry.v))
            return err_set(e, ERR_DATA, "entry %u has impossible times", i);
    }
    memcpy(t->e, bytes + sizeof h, h.n * sizeof(struct entry));
    t->n = h.n;
    t->n_used = 0;
    return 0;
}

int timings_open(struct timings **out, const char *path, struct err *e)
{
    struct err why = { 0 };
    char *bytes = NULL;
    size_t n = 0;
    *out = NULL;
    struct timings *t = calloc(1, sizeof *t);
    if (!t || (path && !(t->path = strdup(path)))) {
        free(t);
        return err_set(e, ERR_NOMEM, "timings: no memory for %u entries", TIMINGS_MAX);
    }
    if (path && !access(path, F_OK)) {
        int rc = file_read(path, FILE_MAX, &bytes, &n, &why);
        if (!rc && (rc = timings_parse(t, bytes, n, &why)))
            err_prefix(&why, "%s", path);
        if (rc)
            log_warn("%s: measuring again", why.text);
        free(bytes);
    }
    *out = t;
    return 0;
}

void timings_close(struct timings *t)
{
    if (!t)
        return;
    free(t->path);
    free(t);
}

/* Moves entry i among the used, keeping the order of the others about. */
static struct entry *use(struct timings *t, uint32_t i)
{
    if (i < t->n_used)
        return &t->e[i];
    const struct entry mine = t->e[i];
    t->e[i] = t->e[t->n_used];
    t->e[t->n_used] = mine;
    return &t->e[t->n_used++];
}

static uint32_t find(const struct timings *t, const uint8_t key[TIMINGS_KEY])
{
    uint32_t i = 0;
    while (i < t->n && memcmp(t->e[i].key, key, TIMINGS_KEY))
        i++;
    return i;
}

bool timings_find(struct timings *t, const uint8_t key[TIMINGS_KEY], struct timings_value *v)
{
    const uint32_t i = find(t, key);
    if (i == t->n)
        return false;
    *v = use(t, i)->v;
    return true;
}

void timings_put(struct timings *t, const uint8_t key[TIMINGS_KEY], const struct timings_value *v)
{
    uint32_t i = find(t, key);
    if (!good_value(v))
        return;
    if (i == t->n) {
        i = t->n < TIMINGS_MAX ? t->n++ : TIMINGS_MAX - 1;
        memcpy(t->e[i].key, key, TIMINGS_KEY);
    }
    t->e[i].v = *v;
    (void)use(t, i);
    t->changed = true;
}

int timings_save(struct timings *t, struct err *e)
{
    struct header h = { .version = VERSION, .n = t->n };
    struct file_out out;
    struct buf b = { 0 };
    uint8_t sum[SUM_SIZE];
    if (!t->changed || !t->path)
        return 0;
    memcpy(h.magic, magic, sizeof magic);
    buf_add(&b, &h, sizeof h);
    buf_add(&b, t->e, t->n * sizeof t->e[0]);
    digest(b.p ? b.p : "", b.n, sum);
    buf_add(&b, sum, sizeof sum);
    if (b.failed) {
        buf_free(&b);
        return err_set(e, ERR_NOMEM, "%s: no memory to write it", t->path);
    }
    int rc = file_out_open(&out, t->path, e);
    if (!rc) {
        out.lazy = true;                          /* a lost one is measured again */
        rc = file_out_write(&out, b.p, b.n, e);
        if (!rc)
            rc = file_out_commit(&out, e);
        file_out_abort(&out);
    }
    buf_free(&b);
    t->changed = t->changed && rc;
    return rc;
}
