/* api_json.h - JSON of any request, read field by field, and written.
 *
 * Reading checks everything that can be checked without the model and names
 * the place at fault ("messages[2].content"). A body is scanned before it is
 * parsed, so that depth and memory are bounded. Writing puts U+FFFD for every
 * byte that is not UTF-8: the one place where text stops being bytes.
 * [any thread] */
#ifndef BITNET_SERVE_API_JSON_H
#define BITNET_SERVE_API_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/buf.h"

enum {
    API_MAX_DEPTH = 32,           /* JSON inside JSON: schemas are deep        */
    API_MAX_CONTAINER = 8192,     /* arrays and objects in one body            */
    API_MAX_NEW = 1 << 20         /* max_tokens, at most                       */
};

struct api_error {
    unsigned status;              /* HTTP; 0: no error                         */
    const char *code;             /* for programs, or NULL                     */
    char param[96];               /* the place at fault, or ""                 */
    char message[512];
};

/* ---- reading ---- */

struct api_in {                   /* one body being read                       */
    struct arena *arena;          /* texts and arrays that were read live here */
    struct api_error *error;
    char at[96];                  /* the place being read; cut where too long  */
};

/* The body's object; json_decref it, after all reading. NULL: error is filled. */
json_t *api_open(struct api_in *, const char *body, size_t n, struct arena *, struct api_error *);

/* Fills the error, param from `at`; ERR_ARG, with status 500 ERR_NOMEM. */
__attribute__((format(printf, 4, 5)))
int api_fail(struct api_in *, unsigned status, const char *code, const char *fmt, ...);
int api_no_memory(struct api_in *);
/* "AT: must be WANT" */
int api_wrong_type(struct api_in *, const char *want);
/* "AT: WHAT" with code invalid_value */
__attribute__((format(printf, 2, 3)))
int api_bad_value(struct api_in *, const char *fmt, ...);

/* Appends ".name" or "[i]" to `at`; leave with what enter gave. */
size_t api_enter(struct api_in *, const char *name);
size_t api_enter_index(struct api_in *, size_t i);
void api_leave(struct api_in *, size_t at);

struct api_field {
    const char *name;
    int (*read)(struct api_in *, const json_t *, const struct api_field *, void *to);
    size_t at;                    /* what is read lies at this offset          */
    uint64_t min, max;            /* whole numbers; lengths of texts if max    */
};
/* Reads what the object has of these, in the table's order; null counts as
 * absent, and what is in no table is ignored. base: each field is at base + at. */
int api_read_fields(struct api_in *, const json_t *object, const struct api_field *, unsigned n,
                    void *base);
/* Whether s is that text; NULL is none. */
bool api_is(const char *s, const char *what);
/* "NAME: is required" */
int api_missing(struct api_in *, const char *name);

/* Readers for tables: to is a bool, uint32_t, uint64_t, struct str (ends with
 * a NUL that n does not count), const char * (without NULs inside). A float
 * is any that fits. */
int api_read_bool(struct api_in *, const json_t *, const struct api_field *, void *to);
int api_read_u32(struct api_in *, const json_t *, const struct api_field *, void *to);
int api_read_u64(struct api_in *, const json_t *, const struct api_field *, void *to);
int api_read_float(struct api_in *, const json_t *, const struct api_field *, void *to);
int api_read_text(struct api_in *, const json_t *, const struct api_field *, void *to);
int api_read_name(struct api_in *, const json_t *, const struct api_field *, void *to);
/* Any value, as compact JSON text. */
int api_read_json(struct api_in *, const json_t *, const struct api_field *, void *to_str);
/* struct api_ids: an array of whole numbers that fit a token id. */
struct api_ids {
    const int32_t *id;            /* [n]; at least 0, otherwise unchecked      */
    uint32_t n;
};
int api_read_ids(struct api_in *, const json_t *, const struct api_field *, void *to);

/* ---- writing; out->failed when there is no memory ---- */

/* Takes j over; NULL counts as no memory. */
void api_put(struct buf *out, json_t *j);
/* "event: NAME" (unless NULL) and "data: JSON". Takes j over. */
void api_put_event(struct buf *out, const char *name, json_t *j);
json_t *api_text(const char *p, size_t n);           /* a string, mended       */
json_t *api_text_or_null(const char *s);

struct api_usage {
    uint64_t n_prompt, n_new;     /* tokens                                    */
    uint64_t n_cached;            /* of the prompt's, not read anew            */
};
json_t *api_usage_json(const struct api_usage *);    /* OpenAI's names         */

void api_put_error(struct buf *out, const struct api_error *);       /* OpenAI's shape */
void api_put_error_event(struct buf *out, const struct api_error *);
void api_put_status(struct buf *out, const char *status);

#endif
