/* bitnet_logfile.h - saved logits: what a model said at which position of which
 * token ids.
 *
 *   "BNLOGITS"                         8 bytes
 *   u32 version 1, encoding, n_vocab, n_seq, meta_size, 0
 *   u64 XXH3-64 of all else before the rows, in the file's order
 *   meta                               meta_size bytes of JSON: who wrote it
 *   n_seq records                      u32 n_tok, first, n_row, 0
 *   ids                                i32 each, sequence after sequence
 *   zeros up to a multiple of 8
 *   rows                               sequence after sequence: n_row of each,
 *                                      of positions first, first + 1, ...
 *
 * A row is the XXH3-64 of its payload, and the payload:
 *   LOG_F32   n_vocab logits, f32
 *   LOG_U16   f32 scale, f32 least, n_vocab u16 (one more when n_vocab is odd):
 *             ln p = scale * q + least; q = 0 means this or less. least is at
 *             most 24 under the largest
 *
 * Little-endian; nothing else may follow. The digests find damage; they are no
 * defence against somebody who may write the file.
 *
 * The common perplexity tool's file ("_logits_", i32 n_ctx, n_vocab, n_window,
 * ids, rows as LOG_U16's without a digest, of positions n_ctx/2 .. n_ctx - 2)
 * is read too; its windows' first ids are the text's, where the tool computed
 * with BOS. [any thread] for what takes a const struct. */
#ifndef BITNET_TOOLS_LOGFILE_H
#define BITNET_TOOLS_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/file.h"

enum log_encoding { LOG_F32 = 0, LOG_U16 = 1 };

enum {                            /* more than this is no file of ours         */
    LOG_MAX_VOCAB = 1 << 22,
    LOG_MAX_SEQ = 1 << 20,
    LOG_MAX_TOK = 1 << 26,        /* of all sequences                          */
    LOG_MAX_META = 1 << 16        /* bytes                                     */
};

struct log_seq {
    const int32_t *id;            /* [n_tok] each below n_vocab                */
    uint32_t n_tok;
    uint32_t first, n_row;        /* rows of positions first .. first+n_row-1  */
    uint64_t row;                 /* number of its first row in the file       */
};

struct logfile {
    struct file_map map;          /* p NULL: parsed from memory                */
    uint32_t encoding, n_vocab, n_seq;
    bool foreign;                 /* the common tool's                         */
    struct log_seq *seq;          /* [n_seq]                                   */
    int32_t *id;                  /* of all                                    */
    uint64_t n_row, row_size;     /* of all; bytes of one, its digest included */
    const uint8_t *rows;
    struct str meta;              /* borrowed; may be empty                    */
};

/* n_vocab: the model's. ERR_DATA: another vocabulary, or contradicts the format.
 * After 0, and only then, logfile_close. */
int logfile_open(struct logfile *, const char *path, uint32_t n_vocab, struct err *);
/* The same with the bytes in memory, which stay there; err does not name them. */
int logfile_parse(struct logfile *, const void *p, size_t n, struct err *);
void logfile_close(struct logfile *);
/* Whether the file begins as one of these two do. */
int logfile_is(const char *path, bool *is, struct err *);

/* Row number r: logits (LOG_F32) or log-probabilities (LOG_U16) into out
 * [n_vocab]. floor: the value that stands for "this or less"; -INFINITY: none
 * does. ERR_DATA: damaged, or no numbers. */
int logfile_row(const struct logfile *, uint64_t r, double *out, double *floor, struct err *);

struct logfile_out {
    struct file_out o;
    uint32_t encoding, n_vocab;
    uint64_t row_size;
};
/* The file appears when it is complete. id of every seq is set, row is not
 * looked at. meta: JSON, or "". */
int logfile_create(struct logfile_out *, const char *path, enum log_encoding, uint32_t n_vocab,
                   const char *meta, const struct log_seq *, uint32_t n_seq, struct err *);
/* One row's bytes, row_size of them; the logits' ln sum exp is given. [any
 * thread] */
void logfile_encode(const struct logfile_out *, const float *logits, double lse, uint8_t *row);
int logfile_write(struct logfile_out *, const uint8_t *rows, uint64_t n, struct err *);
int logfile_commit(struct logfile_out *, struct err *);
void logfile_abort(struct logfile_out *);        /* also legal after a commit */

#endif
