/* bitnet_traffic.h - the parts of `bitnet load`: what is asked of a server, what
 * came of it, what is said about it.
 *
 * A plan is a request that may be sent many times; a shot is one sending of it.
 * Everything random is drawn from the seed, so two runs send the same. */
#ifndef BITNET_TOOLS_TRAFFIC_H
#define BITNET_TOOLS_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct range {                    /* whole numbers lo..hi, each as likely      */
    uint32_t lo, hi;
};

struct traffic_ask {
    const char *url;              /* "http://127.0.0.1:8080"                   */
    const char *key;              /* API key, or NULL                          */
    uint32_t n_client;            /* closed loop: requests under way at once   */
    float rate;                   /* open loop: arrivals in a second; 0: closed */
    uint32_t n_request;           /* 0: until the time is over                 */
    uint32_t seconds;             /* no new request afterwards; 0: no end      */
    struct range prompt_tok, new_tok;
    float share;                  /* fraction of prompts that begin alike ...  */
    uint32_t share_tok;           /* ... for so many tokens                    */
    float leave;                  /* fraction of clients that leave before the */
                                  /* end, at a random token                    */
    uint32_t n_plan;              /* different requests                        */
    float temperature;
    float ttft_ms, itl_ms;        /* what a good request keeps; 0: anything    */
    uint64_t seed;
    bool check;                   /* every text is held against the same       */
                                  /* request sent alone                        */
    bool json;
};

struct plan {
    struct buf body;              /* JSON of POST /v1/completions              */
    uint32_t n_prompt, n_new;
    struct buf alone;             /* the text when nobody else is served       */
};

enum shot_end {
    SHOT_RUNNING, SHOT_DONE, SHOT_LEFT /* by our side, as planned */, SHOT_REFUSED /* 429, 503 */,
    SHOT_FAILED /* an error status or event */, SHOT_LOST /* cut without an end */,
    SHOT_WRONG /* another text than alone */, N_SHOT_END
};

struct times {                    /* seconds, as many as came                  */
    double *at;
    size_t n, cap;
    bool failed;
};

struct traffic {
    const struct traffic_ask *ask;
    struct plan *plan;            /* [ask->n_plan]                             */
    char model[256];
    uint32_t n_vocab, n_ctx;
    uint64_t n[N_SHOT_END];
    uint64_t n_prompt_tok, n_new_tok, n_cached_tok;
    uint64_t n_good;              /* done, and within ttft_ms and itl_ms       */
    double wall_s;
    struct times ttft, itl, tpot, all;
    char example[256];            /* of the first failure, or empty            */
};

/* bitnet_traffic_plan.c */
uint64_t traffic_draw(uint64_t *state);                  /* the next of 64 bits */
double traffic_unit(uint64_t *state);                    /* in [0, 1)           */
uint32_t traffic_range(uint64_t *state, struct range);
int traffic_plan(struct traffic *, struct err *);

/* bitnet_traffic_run.c: asks the server what it serves; sends every plan alone;
 * sends the traffic. */
int traffic_hello(struct traffic *, struct err *);
int traffic_alone(struct traffic *, struct err *);
int traffic_run(struct traffic *, struct err *);

/* bitnet_traffic_out.c */
void times_add(struct times *, double s);
int traffic_print(struct traffic *, struct err *);

#endif
