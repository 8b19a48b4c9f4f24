/* bitnet_logfile.c - see bitnet_logfile.h. Every size is checked against the
 * bytes that are there before anything is allocated or read. */
#include "tools/bitnet_logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#define VERSION 1u
#define RANGE   24.0              /* nats under the largest that LOG_U16 keeps */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file is little-endian, and written as it lies in memory"
#endif

struct header {
    char magic[8];
    uint32_t version, encoding, n_vocab, n_seq, meta_size, zero;
};

struct record {
    uint32_t n_tok, first, n_row, zero;
};

struct foreign_header {
    char magic[8];
    int32_t n_ctx, n_vocab, n_window;
};

_Static_assert(sizeof(struct header) == 32 && sizeof(struct record) == 16 &&
               sizeof(struct foreign_header) == 20, "as the files have them");

static const char magic[8] = { 'B', 'N', 'L', 'O', 'G', 'I', 'T', 'S' };
static const char foreign_magic[8] = { '_', 'l', 'o', 'g', 'i', 't', 's', '_' };

/* Bytes of a row without its digest. */
static uint64_t payload_size(uint32_t encoding, uint32_t n_vocab)
{
    return encoding == LOG_F32 ? (uint64_t)n_vocab * sizeof(float)
                               : 2 * sizeof(float) + ((uint64_t)n_vocab + 1) / 2 * 4;
}

/* --------------------------------------------------------------------- read */

/* Room for sequences and ids, filled with the ids at p. */
static int take_ids(struct logfile *l, const uint8_t *p, uint64_t n_tok, struct err *e)
{
    l->seq = calloc(l->n_seq, sizeof *l->seq);
    l->id = calloc(n_tok, sizeof *l->id);
    if (!l->seq || !l->id)
        return err_set(e, ERR_NOMEM, "no memory for %" PRIu64 " tokens", n_tok);
    memcpy(l->id, p, n_tok * sizeof *l->id);
    for (uint64_t i = 0; i < n_tok; i++)
        if (l->id[i] < 0 || (uint32_t)l->id[i] >= l->n_vocab)
            return err_set(e, ERR_DATA, "token %" PRIu64 " is %" PRId32 ", expected 0 to %u", i,
                           l->id[i], l->n_vocab - 1);
    return 0;
}

static int check_size(const struct logfile *l, uint64_t at, size_t n, struct err *e)
{
    const uint64_t want = at + l->n_row * l->row_size;
    return n == want ? 0 : err_set(e, ERR_DATA, "%zu bytes, expected %" PRIu64 " for %" PRIu64
                                   " rows of a vocabulary of %u", n, want, l->n_row, l->n_vocab);
}

static int parse_foreign(struct logfile *l, const uint8_t *p, size_t n, struct err *e)
{
    struct foreign_header h;
    if (n < sizeof h)
        return err_set(e, ERR_DATA, "%zu bytes, expected at least %zu", n, sizeof h);
    memcpy(&h, p, sizeof h);
    if (h.n_ctx < 4 || h.n_vocab < 1 || h.n_vocab > LOG_MAX_VOCAB || h.n_window < 1 ||
        h.n_window > LOG_MAX_SEQ || (uint64_t)h.n_ctx * (uint64_t)h.n_window > LOG_MAX_TOK)
        return err_set(e, ERR_DATA, "%d windows of %d tokens, a vocabulary of %d: expected 1 to %d "
                       "windows, of at least 4 tokens, %d in all, and at most %d", h.n_window,
                       h.n_ctx, h.n_vocab, LOG_MAX_SEQ, LOG_MAX_TOK, LOG_MAX_VOCAB);
    const uint32_t n_ctx = (uint32_t)h.n_ctx, first = n_ctx / 2;
    const uint64_t n_tok = (uint64_t)n_ctx * (uint32_t)h.n_window, at = sizeof h + n_tok * 4;
    *l = (struct logfile){ .encoding = LOG_U16, .n_vocab = (uint32_t)h.n_vocab,
                           .n_seq = (uint32_t)h.n_window, .foreign = true };
    l->row_size = payload_size(LOG_U16, l->n_vocab);
    l->n_row = (uint64_t)l->n_seq * (n_ctx - 1 - first);
    int rc = check_size(l, at, n, e);
    if (!rc)
        rc = take_ids(l, p + sizeof h, n_tok, e);
    for (uint32_t i = 0; !rc && i < l->n_seq; i++)
        l->seq[i] = (struct log_seq){ l->id + (uint64_t)i * n_ctx, n_ctx, first, n_ctx - 1 - first,
                                      (uint64_t)i * (n_ctx - 1 - first) };
    l->rows = p + at;
    return rc;
}

static int check_header(const struct header *h, size_t n, struct err *e)
{
    if (h->version != VERSION)
        return err_set(e, ERR_UNSUPPORTED, "saved logits of version %u, expected %u", h->version,
                       VERSION);
    if (h->encoding > LOG_U16 || h->zero)
        return err_set(e, ERR_DATA, "encoding %u, expected 0 or 1", h->encoding);
    if (!h->n_vocab || h->n_vocab > LOG_MAX_VOCAB || !h->n_seq || h->n_seq > LOG_MAX_SEQ ||
        h->meta_size > LOG_MAX_META)
        return err_set(e, ERR_DATA, "a vocabulary of %u, %u texts, %u bytes about them: expected 1 "
                       "to %d, 1 to %d, and at most %d", h->n_vocab, h->n_seq, h->meta_size,
                       LOG_MAX_VOCAB, LOG_MAX_SEQ, LOG_MAX_META);
    const uint64_t least = sizeof *h + 8 + h->meta_size + (uint64_t)h->n_seq * sizeof(struct record);
    return n >= least ? 0 : err_set(e, ERR_DATA, "%zu bytes, expected at least %" PRIu64, n, least);
}

static struct record record_at(const uint8_t *records, uint32_t i)
{
    struct record r;
    memcpy(&r, records + (uint64_t)i * sizeof r, sizeof r);
    return r;
}

/* Tokens and rows of all sequences. */
static int count(struct logfile *l, const uint8_t *records, uint64_t *n_tok, struct err *e)
{
    *n_tok = 0;
    for (uint32_t i = 0; i < l->n_seq; i++) {
        const struct record r = record_at(records, i);
        if (!r.n_tok || r.n_tok > LOG_MAX_TOK || r.n_row > r.n_tok || r.first > r.n_tok - r.n_row ||
            r.zero)
            return err_set(e, ERR_DATA, "text %u: %u rows from position %u of %u tokens, expected "
                           "rows of positions that it has", i, r.n_row, r.first, r.n_tok);
        *n_tok += r.n_tok;
        l->n_row += r.n_row;
    }
    return *n_tok <= LOG_MAX_TOK ? 0 : err_set(e, ERR_DATA, "%" PRIu64 " tokens, expected at most "
                                               "%d", *n_tok, LOG_MAX_TOK);
}

static uint64_t digest(const struct header *h, const uint8_t *rest, size_t n)
{
    XXH3_state_t *s = XXH3_createState();
    if (!s)
        return 0;
    XXH3_64bits_reset(s);
    XXH3_64bits_update(s, h, sizeof *h);
    XXH3_64bits_update(s, rest, n);
    const uint64_t sum = XXH3_64bits_digest(s);
    XXH3_freeState(s);
    return sum;
}

static int parse_own(struct logfile *l, const uint8_t *p, size_t n, struct err *e)
{
    struct header h;
    uint64_t n_tok, sum;
    if (n < sizeof h + sizeof sum)
        return err_set(e, ERR_DATA, "%zu bytes, expected at least %zu", n, sizeof h + sizeof sum);
    memcpy(&h, p, sizeof h);
    memcpy(&sum, p + sizeof h, sizeof sum);
    int rc = check_header(&h, n, e);
    if (rc)
        return rc;
    const uint8_t *rest = p + sizeof h + sizeof sum, *records = rest + h.meta_size;
    *l = (struct logfile){ .encoding = h.encoding, .n_vocab = h.n_vocab, .n_seq = h.n_seq,
                           .meta = { (const char *)rest, h.meta_size } };
    l->row_size = sizeof sum + payload_size(h.encoding, h.n_vocab);
    rc = count(l, records, &n_tok, e);
    if (rc)
        return rc;
    const uint8_t *ids = records + (uint64_t)h.n_seq * sizeof(struct record);
    const uint64_t at = ((uint64_t)(ids - p) + n_tok * 4 + 7) / 8 * 8;
    rc = check_size(l, at, n, e);
    if (!rc && digest(&h, rest, at - sizeof h - sizeof sum) != sum)
        rc = err_set(e, ERR_DATA, "damaged: its digest is not that of its bytes, expected a file as "
                     "it was saved");
    if (!rc)
        rc = take_ids(l, ids, n_tok, e);
    uint64_t tok = 0, row = 0;
    for (uint32_t i = 0; !rc && i < l->n_seq; i++) {
        const struct record r = record_at(records, i);
        l->seq[i] = (struct log_seq){ l->id + tok, r.n_tok, r.first, r.n_row, row };
        tok += r.n_tok;
        row += r.n_row;
    }
    l->rows = p + at;
    return rc;
}

int logfile_parse(struct logfile *l, const void *p, size_t n, struct err *e)
{
    int rc;
    *l = (struct logfile){ 0 };
    if (n >= sizeof magic && !memcmp(p, magic, sizeof magic))
        rc = parse_own(l, p, n, e);
    else if (n >= sizeof magic && !memcmp(p, foreign_magic, sizeof magic))
        rc = parse_foreign(l, p, n, e);
    else
        rc = err_set(e, ERR_DATA, "not saved logits, expected a file that begins with BNLOGITS or "
                     "_logits_");
    if (rc)
        logfile_close(l);
    return rc;
}

int logfile_open(struct logfile *l, const char *path, uint32_t n_vocab, struct err *e)
{
    struct file_map map;
    *l = (struct logfile){ 0 };
    int rc = file_map(&map, path, e);
    if (rc)
        return rc;
    rc = logfile_parse(l, map.p, map.n, e);
    if (!rc && l->n_vocab != n_vocab) {
        rc = err_set(e, ERR_DATA, "a vocabulary of %u, expected %u, the model's", l->n_vocab,
                     n_vocab);
        logfile_close(l);
    }
    if (rc) {
        file_unmap(&map);
        return err_prefix(e, "%s", path);
    }
    l->map = map;
    return 0;
}

void logfile_close(struct logfile *l)
{
    free(l->seq);
    free(l->id);
    file_unmap(&l->map);
    *l = (struct logfile){ 0 };
}

int logfile_is(const char *path, bool *is, struct err *e)
{
    char head[sizeof magic];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(e, ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    const ssize_t n = read(fd, head, sizeof head);
    *is = n == sizeof head && (!memcmp(head, magic, sizeof head) ||
                               !memcmp(head, foreign_magic, sizeof head));
    close(fd);
    return 0;
}

/* -------------------------------------------------------------------- a row */

static int row_f32(const struct logfile *l, const uint8_t *p, double *out)
{
    bool any = false;
    for (uint32_t i = 0; i < l->n_vocab; i++) {
        float v;
        memcpy(&v, p + (size_t)i * sizeof v, sizeof v);
        if (isnan(v) || v > FLT_MAX)
            return ERR_DATA;
        any = any || isfinite(v);
        out[i] = (double)v;
    }
    return any ? 0 : ERR_DATA;
}

static int row_u16(const struct logfile *l, const uint8_t *p, double *out, double *floor)
{
    float scale, least;
    memcpy(&scale, p, sizeof scale);
    memcpy(&least, p + sizeof scale, sizeof least);
    if (!isfinite(scale) || !isfinite(least) || scale < 0)
        return ERR_DATA;
    for (uint32_t i = 0; i < l->n_vocab; i++) {
        uint16_t q;
        memcpy(&q, p + 8 + (size_t)i * sizeof q, sizeof q);
        out[i] = (double)scale * q + (double)least;
    }
    *floor = (double)least;
    return 0;
}

int logfile_row(const struct logfile *l, uint64_t r, double *out, double *floor, struct err *e)
{
    const uint8_t *p = l->rows + r * l->row_size;
    *floor = -INFINITY;
    if (!l->foreign) {
        uint64_t sum;
        memcpy(&sum, p, sizeof sum);
        p += sizeof sum;
        if (XXH3_64bits(p, l->row_size - sizeof sum) != sum)
            return err_set(e, ERR_DATA, "saved logits: row %" PRIu64 ": damaged: its digest is not "
                           "that of its bytes, expected a file as it was saved", r);
    }
    if (l->encoding == LOG_F32 ? row_f32(l, p, out) : row_u16(l, p, out, floor))
        return err_set(e, ERR_DATA, "saved logits: row %" PRIu64 ": no numbers, expected finite "
                       "ones", r);
    return 0;
}

/* -------------------------------------------------------------------- write */

/* Everything before the rows. */
static void put_head(struct buf *b, const struct logfile_out *o, const char *meta,
                     const struct log_seq *seq, uint32_t n_seq)
{
    static const char zeros[8];
    struct header h = { .version = VERSION, .encoding = o->encoding, .n_vocab = o->n_vocab,
                        .n_seq = n_seq, .meta_size = (uint32_t)strlen(meta) };
    memcpy(h.magic, magic, sizeof magic);
    buf_add(b, &h, sizeof h);
    buf_add(b, zeros, 8);
    buf_add(b, meta, h.meta_size);
    for (uint32_t i = 0; i < n_seq; i++) {
        const struct record r = { seq[i].n_tok, seq[i].first, seq[i].n_row, 0 };
        buf_add(b, &r, sizeof r);
    }
    for (uint32_t i = 0; i < n_seq; i++)
        buf_add(b, seq[i].id, seq[i].n_tok * sizeof *seq[i].id);
    buf_add(b, zeros, (8 - b->n % 8) % 8);
    if (b->failed)
        return;
    const size_t at = sizeof h + sizeof(uint64_t);
    const uint64_t sum = digest(&h, (const uint8_t *)b->p + at, b->n - at);
    memcpy(b->p + sizeof h, &sum, sizeof sum);
}

int logfile_create(struct logfile_out *o, const char *path, enum log_encoding encoding,
                   uint32_t n_vocab, const char *meta, const struct log_seq *seq, uint32_t n_seq,
                   struct err *e)
{
    struct buf b = { 0 };
    *o = (struct logfile_out){ .encoding = encoding, .n_vocab = n_vocab };
    o->row_size = sizeof(uint64_t) + payload_size(encoding, n_vocab);
    if (strlen(meta) > LOG_MAX_META || n_seq > LOG_MAX_SEQ || n_vocab > LOG_MAX_VOCAB)
        return err_set(e, ERR_LIMIT, "%s: %u texts, a vocabulary of %u, expected at most %d and %d",
                       path, n_seq, n_vocab, LOG_MAX_SEQ, LOG_MAX_VOCAB);
    put_head(&b, o, meta, seq, n_seq);
    int rc = b.failed ? err_set(e, ERR_NOMEM, "%s: no memory to write it", path)
                      : file_out_open(&o->o, path, e);
    if (!rc)
        rc = file_out_write(&o->o, b.p, b.n, e);
    buf_free(&b);
    if (rc)
        logfile_abort(o);
    return rc;
}

static void encode_u16(const float *logits, uint32_t n, double lse, uint8_t *p)
{
    double most = -INFINITY, least = INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        most = (double)logits[i] > most ? (double)logits[i] : most;
        least = (double)logits[i] < least ? (double)logits[i] : least;
    }
    least = least > most - RANGE ? least : most - RANGE;
    const float scale = (float)((most - least) / UINT16_MAX), from = (float)(least - lse);
    memcpy(p, &scale, sizeof scale);
    memcpy(p + sizeof scale, &from, sizeof from);
    for (uint32_t i = 0; i < n; i++) {
        const double at = (double)logits[i] - least;
        const double q = scale > 0 ? at / (double)scale + 0.5 : UINT16_MAX;
        const uint16_t v = at < 0 ? 0 : q > UINT16_MAX ? UINT16_MAX : (uint16_t)q;
        memcpy(p + 8 + (size_t)i * sizeof v, &v, sizeof v);
    }
}

void logfile_encode(const struct logfile_out *o, const float *logits, double lse, uint8_t *row)
{
    const size_t n = o->row_size - sizeof(uint64_t);
    uint8_t *p = row + sizeof(uint64_t);
    memset(row, 0, o->row_size);
    if (o->encoding == LOG_F32)
        memcpy(p, logits, n);
    else
        encode_u16(logits, o->n_vocab, lse, p);
    const uint64_t sum = XXH3_64bits(p, n);
    memcpy(row, &sum, sizeof sum);
}

int logfile_write(struct logfile_out *o, const uint8_t *rows, uint64_t n, struct err *e)
{
    return file_out_write(&o->o, rows, n * o->row_size, e);
}

int logfile_commit(struct logfile_out *o, struct err *e)
{
    return file_out_commit(&o->o, e);
}

void logfile_abort(struct logfile_out *o)
{
    if (o->o.path || o->o.temp)
        file_out_abort(&o->o);
}
