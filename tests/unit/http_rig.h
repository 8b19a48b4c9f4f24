/* http_rig.h - the server on a loopback port, with the story model on scalar-ref.
 *
 * Every function ends the test when something fails. */
#ifndef BITNET_TESTS_HTTP_RIG_H
#define BITNET_TESTS_HTTP_RIG_H

#include <jansson.h>

#include "core/engine/engine.h"
#include "core/model/chat.h"
#include "core/serve/gen_grammar.h"
#include "core/serve/serve.h"
#include "http_client.h"
#include "tests/golden/rig.h"

enum {
    HTTP_RIG_CTX = 256, HTTP_RIG_BODY = 4096, HTTP_RIG_SEQ = 4, HTTP_RIG_QUEUE = 6,
    HTTP_RIG_NEW = 12, HTTP_RIG_SEED = 5   /* when a request does not say      */
};

extern struct http_rig {
    struct rig rig;
    struct engine *engine;
    struct serve *serve;
    struct gen_grammars *grammars;
    const struct chat_template *chat;      /* set before http_rig_ready        */
    uint32_t n_ctx;                        /* 0: HTTP_RIG_CTX; before setup    */
    uint32_t max_queue;                    /* 0: HTTP_RIG_QUEUE                */
    uint32_t max_queue_s;                  /* 0: no limit                      */
    size_t max_body;                       /* 0: HTTP_RIG_BODY                 */
    bool prefix_cache;
    const char *url;
} http_rig;

/* The pieces of setup, in order. */
void http_rig_engine(void);
void http_rig_bind(void);
void http_rig_listen(void);
void http_rig_ready(void);

void http_rig_setup(void);
void http_rig_teardown(void);

/* What the engine itself says, on this thread, by polling. */
struct buf http_rig_direct(const char *prompt, uint32_t max_new, uint64_t seed);
/* The answer has this status and, somewhere, this text. */
void http_rig_expect(const char *method, const char *path, const char *body, int status,
                     const char *part);
/* POST with status 200: its JSON, to be released. */
json_t *http_rig_post(const char *path, const char *body);
/* The value at "choices.0.text", borrowed; NULL: there is none. */
const json_t *http_rig_at(const json_t *, const char *path);
uint32_t http_rig_running(void);
void http_rig_wait(uint32_t n_running);

#endif
