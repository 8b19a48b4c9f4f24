/* conf_keys.h - the table behind conf.h: what may be set, and to what.
 *
 * Used by conf.c only. A key is written once, here: reading, checking,
 * naming the environment variable, printing the defaults and freeing all
 * walk the same table. */
#ifndef BITNET_BASE_CONF_KEYS_H
#define BITNET_BASE_CONF_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/conf.h"
#include "core/base/err.h"

enum conf_type {
    CONF_NUMBER,                  /* uint32_t from min to max                  */
    CONF_BOOL,                    /* bool, one of word                         */
    CONF_CHOICE,                  /* uint32_t, one of word                     */
    CONF_WORD,                    /* char *, one of word                       */
    CONF_TEXT,                    /* char *, anything                          */
    CONF_REAL,                    /* double from min to max                    */
    CONF_SEED                     /* struct conf's seed and seed_random        */
};

struct conf_word {
    const char *text;             /* NULL ends the list                        */
    uint32_t value;
};

struct conf_key {
    const char *section, *key;
    enum conf_type type;
    size_t at;                    /* offset in struct conf                     */
    const char *def;              /* the default, as it is written             */
    uint32_t min, max;            /* CONF_NUMBER, CONF_REAL                    */
    const struct conf_word *word;
    const char *comment;          /* one line                                  */
};

extern const struct conf_key conf_key[];
extern const unsigned conf_n_key;

const struct conf_key *conf_key_find(const char *section, const char *key);
bool conf_section_known(const char *section);
/* Checks value and stores it. The error has no place in front: the caller
 * knows where the value stands. */
int conf_key_set(const struct conf_key *, struct conf *, const char *value, struct err *);
/* Both have been loaded. swap: each has the other's value afterwards. */
bool conf_key_equal(const struct conf_key *, const struct conf *, const struct conf *);
void conf_key_swap(const struct conf_key *, struct conf *, struct conf *);
/* "engine.max_seq", the known key or section nearest to what was written, or
 * "" when nothing is near. */
void conf_nearest_key(const char *section, const char *key, char out[96]);
void conf_nearest_section(const char *section, char out[96]);

#endif
