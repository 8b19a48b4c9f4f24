/* session.h - a sequence in a file, to go on from there on any device.
 *
 * Keys and values lie as the plugin wants them, and are functions of the tokens;
 * so the file holds the tokens, and whoever goes on reads them as a prompt: the
 * same logits, by the contract of the plugins, wherever it was written. The
 * digest of the model keeps it from going on with another one.
 *
 *   "BNSESS\0\1", u32 version, u32 n     16 bytes
 *   model                                16 bytes
 *   seed                                  8 bytes; the draws' next position is n
 *   n ids                                 4 bytes each
 *   BLAKE2b-256 of all before it         32 bytes
 *
 * Little-endian. [any thread] */
#ifndef BITNET_ENGINE_SESSION_H
#define BITNET_ENGINE_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/model.h"

enum { SESSION_MODEL = 16, SESSION_MAX = 1 << 24 };   /* bytes; tokens of a file */

struct session {
    uint8_t model[SESSION_MODEL];
    uint64_t seed;
    int32_t *id;                  /* [n] at least one                          */
    uint32_t n;
};

/* What logits depend on: all bytes of the model, how they are read, and
 * kv_format (BNP_KV_*). Reads the whole file. */
int session_model(uint8_t out[SESSION_MODEL], const struct model *, uint32_t kv_format,
                  struct err *);

/* Appears under its name only when complete. */
int session_save(const char *path, const struct session *, struct err *);
/* ERR_DATA: damaged, of another model than `model`, an id beyond [0, n_vocab).
 * After 0, and only then, session_free. */
int session_load(struct session *, const char *path, const uint8_t model[SESSION_MODEL],
                 uint32_t n_vocab, struct err *);
/* The same with the file's bytes in memory; err does not name it. */
int session_parse(struct session *, const void *p, size_t n, const uint8_t model[SESSION_MODEL],
                  uint32_t n_vocab, struct err *);
void session_free(struct session *);

#endif
