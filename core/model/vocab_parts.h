/* vocab_parts.h - the inside of a struct vocab, for the files that build and use it.
 *
 * A token has two texts: `text` as the file writes it (byte-level BPE spells
 * bytes as printable characters, SPM spells a space as U+2581) and `raw`, the
 * bytes it stands for. Looking up goes through text, decoding through raw. */
#ifndef BITNET_MODEL_VOCAB_PARTS_H
#define BITNET_MODEL_VOCAB_PARTS_H

#include <stdatomic.h>

#include "core/model/bpe.h"
#include "core/model/pretok.h"
#include "core/model/vocab.h"
#include "core/model/vocab_map.h"
#include "core/model/vocab_special.h"

enum {
    VOCAB_MAX_TOKENS = 1 << 22,
    VOCAB_MAX_BYTES = 1 << 28,      /* of one array in the file                  */
    VOCAB_MAX_TOKEN_BYTES = 65535,
    VOCAB_MAX_TEXT = 1 << 28        /* of one vocab_encode; places fit 32 bits,
                                       also after SPM tripled every space        */
};

/* Whether merging a token's own text gives the token, and nothing else. */
enum own { OWN_UNKNOWN, OWN_YES, OWN_NO };

struct vocab {
    uint32_t n;
    bool spm;                       /* else byte-level BPE                       */
    bool add_bos, add_eos;
    bool add_space;                 /* SPM                                       */
    int32_t bos, eos, unk;          /* -1: none                                  */
    struct texts text, raw;
    uint8_t *type;                  /* enum token_type                           */
    bool *eog;
    uint32_t *order;                /* SPM: scores turned over, smallest first   */
    bool by_word;                   /* SPM: no token reaches from a word into the
                                       space after it                            */
    struct vocab_map by_text;
    uint32_t repeats;               /* tokens that by_text lacks: another has the text */
    _Atomic uint8_t *own;           /* enum own by token, found out when first
                                       wanted, the same by every thread          */
    uint32_t longest;               /* bytes of the longest text merging may give */
    int32_t byte_id[256];           /* token of a single byte, -1: none          */
    struct special *special;        /* control, unknown and user-defined         */
    struct special *user;           /* user-defined only                         */
    const struct pretok *pretok;    /* BPE                                       */
    struct bpe bpe;                 /* BPE                                       */
    char kind[32];
};

static inline bool vocab_is_own(const struct vocab *v, int32_t id)
{
    return atomic_load_explicit(&v->own[id], memory_order_relaxed) == OWN_YES;
}

static inline void vocab_note_own(const struct vocab *v, int32_t id, bool is)
{
    atomic_store_explicit(&v->own[id], is ? OWN_YES : OWN_NO, memory_order_relaxed);
}

/* Where an encoder puts its tokens. */
struct sink {
    struct tokens *out;
    size_t max;                     /* 0: no limit */
};
int sink_put(struct sink *, int32_t id);                /* 0, ERR_NOMEM, ERR_LIMIT */

/* Any token with this text, or -1. */
int32_t vocab_lookup(const struct vocab *, const char *p, size_t n);
/* The same for what ordinary text may become. Control, unknown and byte
 * tokens never result from merging: text that spells one stays text. */
int32_t vocab_plain(const struct vocab *, const char *p, size_t n);
bool vocab_is_plain(const struct vocab *, uint32_t id);

#endif
