/* engine_parts.h - what the engine's public functions and its thread share.
 *
 * Fields under `lock` are everybody's, atomics too; the rest is the engine
 * thread's while it runs. */
#ifndef BITNET_ENGINE_ENGINE_PARTS_H
#define BITNET_ENGINE_ENGINE_PARTS_H

#include <pthread.h>

#include "core/engine/engine.h"
#include "core/engine/sched.h"

struct engine {
    struct forward *forward;
    struct engine_conf conf;
    uint32_t n_ctx;               /* tokens of a sequence, at most             */
    uint32_t n_vocab;             /* ids [0, n_vocab) are fed and drawn        */
    pthread_t thread;

    struct mpsc inbox;
    pthread_mutex_t lock;
    bool closing;                 /* under lock: nothing is pushed any more    */
    struct err fault;             /* under lock; code 0: none                  */
    _Atomic uint64_t drain_until_us;   /* monotonic; 0: not closing            */

    struct sched sched;
    struct batch batch;
    struct sampler *sampler;
    bool lost;                    /* no step may run any more                  */

    _Atomic uint32_t n_inflight;  /* submitted, not yet done                   */
    _Atomic uint32_t n_running, kv_page_used;
    _Atomic uint64_t n_step, n_prompt_tok, n_new_tok, n_done, n_error;
    _Atomic uint64_t n_full, n_top, n_exact;       /* forward's head_count      */
};

uint64_t engine_now_us(void);     /* monotonic clock                           */
void *engine_thread(void *engine);

#endif
