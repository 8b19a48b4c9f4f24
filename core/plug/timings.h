/* timings.h - measurements that outlive the process, in one small file.
 *
 * A key is a digest of everything that a time depends on, so a new build, other
 * microcode or another number of workers asks for a key that is not there: old
 * entries are never wrong, only useless, and the least recently asked for make
 * room. The file is somebody's file: whatever does not look right is ignored
 * as a whole, with one line in the log, and written anew. */
#ifndef BITNET_PLUG_TIMINGS_H
#define BITNET_PLUG_TIMINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

#define TIMINGS_KEY 32u           /* bytes                                     */
#define TIMINGS_N   4u            /* times of an entry                         */
#define TIMINGS_MAX 4096u         /* entries of a file                         */

struct timings_value {
    float us[TIMINGS_N];          /* 0: none; all finite and not negative      */
    uint8_t guessed;              /* bit i: us[i] was not measured             */
    uint8_t unsure;               /* bit i: us[i] may be too long; an entry with */
                                  /* any is measured again                     */
    uint8_t cold;                 /* 1: weights came from memory               */
    uint8_t chosen;               /* 1: was the fastest when that was asked last */
    float doubt;                  /* 0 to 1: part of the cost that may be wrong */
    uint64_t weight_size;
};

struct timings;

/* What plugins.timings says as a path: "" (or NULL) is `timings` in the user's folder of
 * caches, "off" is none. NULL: nothing is to be kept, or there is no such
 * folder. */
const char *timings_path(const char *conf, char out[PATH_MAX]);

/* A file that is not there, or not right, is an empty one. */
int timings_open(struct timings **out, const char *path, struct err *);
void timings_close(struct timings *);

bool timings_find(struct timings *, const uint8_t key[TIMINGS_KEY], struct timings_value *);
/* In memory until timings_save; without memory it is not kept. */
void timings_put(struct timings *, const uint8_t key[TIMINGS_KEY], const struct timings_value *);
/* Writes a whole new file, if anything was put, and renames it into place. */
int timings_save(struct timings *, struct err *);

/* What timings_open does with the bytes of a file. ERR_DATA, and nothing taken,
 * when they are not a file of ours from first to last. */
int timings_parse(struct timings *, const void *p, size_t n, struct err *);

#endif
