/* fuzz_logfile.c - any bytes as saved logits.
 *
 * The first byte is ours: when odd, the digests are made right where there is
 * room for them, so that what lies behind those checks is reached too. What is
 * accepted has ids of its vocabulary, rows of positions that it has, and rows of
 * numbers or an error. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "tools/bitnet_logfile.h"
#include "tests/fuzz/fuzz.h"

enum { HEAD = 32, SUM = 8, RECORD = 16 };

static void put(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

/* Digests over what the header claims, where that lies within the file. */
static void mend(uint8_t *p, size_t n)
{
    uint32_t h[6];
    uint64_t n_tok = 0;
    if (n < HEAD + SUM || memcmp(p, "BNLOGITS", 8))
        return;
    memcpy(h, p + 8, sizeof h);
    const uint64_t records = HEAD + SUM + (uint64_t)h[4];
    const uint64_t ids = records + (uint64_t)h[3] * RECORD;
    if (ids > n || !h[2] || h[2] > 1 << 20)
        return;
    for (uint64_t i = 0; i < h[3]; i++) {
        uint32_t r;
        memcpy(&r, p + records + i * RECORD, sizeof r);
        n_tok += r;
    }
    const uint64_t rows = (ids + n_tok * 4 + 7) / 8 * 8;
    const uint64_t size = h[1] ? 8 + ((uint64_t)h[2] + 1) / 2 * 4 : (uint64_t)h[2] * 4;
    if (rows > n)
        return;
    for (uint64_t at = rows; at + SUM + size <= n; at += SUM + size)
        put(p + at, XXH3_64bits(p + at + SUM, size));
    XXH3_state_t *s = XXH3_createState();
    require(s != NULL);
    XXH3_64bits_reset(s);
    XXH3_64bits_update(s, p, HEAD);
    XXH3_64bits_update(s, p + HEAD + SUM, rows - HEAD - SUM);
    put(p + HEAD, XXH3_64bits_digest(s));
    XXH3_freeState(s);
}

static void check_row(const struct logfile *l, uint64_t r)
{
    struct err e = { 0 };
    double floor, *row = calloc(l->n_vocab, sizeof *row);
    bool any = false;
    require(row != NULL);
    if (!logfile_row(l, r, row, &floor, &e)) {
        for (uint32_t i = 0; i < l->n_vocab; i++) {
            require(!isnan(row[i]) && row[i] < INFINITY && row[i] >= floor);
            any = any || isfinite(row[i]);
        }
        require(any);
    } else {
        require(e.code == ERR_DATA && e.text[0] && !strchr(e.text, '\n'));
    }
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct logfile l;
    struct err e = { 0 };
    size_t size;
    uint8_t *file = fuzz_rest(data, n, &size);
    if (!file)
        return 0;
    if (n && data[0] & 1)
        mend(file, size);
    const int rc = logfile_parse(&l, file, size, &e);
    if (rc) {
        require(e.code == rc && e.text[0] && !strchr(e.text, '\n'));
        require(!l.seq && !l.id);
    } else {
        uint64_t row = 0;
        for (uint32_t i = 0; i < l.n_seq; i++) {
            const struct log_seq *s = &l.seq[i];
            require(s->n_tok && s->first + s->n_row <= s->n_tok && s->row == row);
            for (uint32_t k = 0; k < s->n_tok; k++)
                require(s->id[k] >= 0 && (uint32_t)s->id[k] < l.n_vocab);
            row += s->n_row;
        }
        require(row == l.n_row);
        for (uint64_t r = 0; r < row && r < 16; r++)
            check_row(&l, r);
        logfile_close(&l);
    }
    free(file);
    return 0;
}
