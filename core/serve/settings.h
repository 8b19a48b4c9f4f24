/* settings.h - what a reload can change, in one piece that never changes.
 *
 * A reload puts a new piece in the old one's place; every exchange holds on to
 * the one that it began with, so no request sees half of a change. */
#ifndef BITNET_SERVE_SETTINGS_H
#define BITNET_SERVE_SETTINGS_H

#include <stdatomic.h>

#include "core/serve/cors.h"
#include "core/serve/keys.h"
#include "core/serve/serve.h"

struct access;

struct settings {
    _Atomic unsigned n_ref;
    struct keys *keys;            /* NULL: everybody may do everything         */
    struct cors cors;
    size_t max_body_size;         /* bytes                                     */
    struct access *access;        /* NULL: no access log                       */
    bool log_prompts;
};

int settings_open(struct settings **out, const struct serve_conf *, struct err *);
struct settings *settings_ref(struct settings *);       /* [any] */
void settings_unref(struct settings *);                 /* [any] NULL is legal */

#endif
