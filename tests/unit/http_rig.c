/* http_rig.c - one server per test program. */
#include "http_rig.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/engine/reply.h"

struct http_rig http_rig;

void http_rig_engine(void)
{
    struct err e = { 0 };
    const uint32_t n_ctx = http_rig.n_ctx ? http_rig.n_ctx : HTTP_RIG_CTX;
    rig_open(&http_rig.rig, &(struct rig_opts){ .n_ctx = n_ctx, .max_seq = HTTP_RIG_SEQ,
                                                .max_out = HTTP_RIG_SEQ, .max_tok = 64 });
    const struct engine_conf c = { .max_seq = HTTP_RIG_SEQ, .row_budget = 64, .prefill_chunk = 16,
                                   .prefix_cache = http_rig.prefix_cache,
                                   .max_queue = http_rig.max_queue ? http_rig.max_queue
                                                                   : HTTP_RIG_QUEUE };
    ck_assert_msg(!engine_open(&http_rig.engine, http_rig.rig.f, &c, &e), "%s", e.text);
}

void http_rig_bind(void)
{
    struct err e = { 0 };
    const struct serve_conf c = { .host = "127.0.0.1", .n_threads = 2, .page = true, .max_connections = 64,
                                  .max_body_size = http_rig.max_body ? http_rig.max_body
                                                                     : HTTP_RIG_BODY,
                                  .timeout_s = 30 };
    ck_assert_msg(!serve_bind(&http_rig.serve, &c, &e), "%s", e.text);
    http_rig.url = serve_url(http_rig.serve);
}

void http_rig_listen(void)
{
    struct err e = { 0 };
    ck_assert_msg(!serve_listen(http_rig.serve, &e), "%s", e.text);
}

void http_rig_ready(void)
{
    struct err e = { 0 };
    const struct model *m = http_rig.rig.model;
    ck_assert_msg(!gen_grammars_open(&http_rig.grammars, m->vocab, http_rig.chat, 8, &e), "%s", e.text);
    const struct serve_model s = {
        .id = "story", .created = 1, .engine = http_rig.engine, .vocab = m->vocab,
        .max_new_default = HTTP_RIG_NEW, .seed = HTTP_RIG_SEED, .n_embd = m->hp.n_embd,
        .max_queue_s = http_rig.max_queue_s, .chat = http_rig.chat, .grammars = http_rig.grammars,
    };
    serve_ready(http_rig.serve, &s);
}

void http_rig_setup(void)
{
    http_rig_engine();
    http_rig_bind();
    http_rig_listen();
    http_rig_ready();
}

void http_rig_teardown(void)
{
    serve_close(http_rig.serve);
    engine_close(http_rig.engine, 0);
    gen_grammars_close(http_rig.grammars);
    rig_close(&http_rig.rig);
    http_rig.serve = NULL;
    http_rig.engine = NULL;
}

struct buf http_rig_direct(const char *prompt, uint32_t max_new, uint64_t seed)
{
    struct err e = { 0 };
    struct tokens t = { 0 };
    struct request r;
    struct reply y;
    struct buf out = { 0 };
    const struct vocab *v = http_rig.rig.model->vocab;
    ck_assert_int_eq(vocab_encode(v, prompt, strlen(prompt), VOCAB_BOS | VOCAB_SPECIAL, 0, &t, &e),
                     0);
    ck_assert_int_eq(request_open(&r, max_new), 0);
    r.prompt = t.id;
    r.n_prompt = (uint32_t)t.n;
    r.sample = (struct sample_params)SAMPLE_DEFAULT;
    r.sample.seed = seed;
    ck_assert_int_eq(reply_open(&y, http_rig.engine, &r, v, NULL, 0, &e), 0);
    ck_assert_int_eq(engine_submit(http_rig.engine, &r, &e), 0);
    while (reply_next(&y, &out) != REPLY_END)
        usleep(500);
    reply_close(&y);
    request_close(&r);
    free(t.id);
    return out;
}

void http_rig_expect(const char *method, const char *path, const char *body, int status,
                     const char *part)
{
    struct http_answer a = http_call(http_rig.url, method, path, body);
    ck_assert_msg(a.status == status, "%s %s %s: %d %s", method, path, body ? body : "", a.status,
                  a.body.p);
    ck_assert(a.whole);
    ck_assert_msg(strstr(a.body.p, part) != NULL, "%s %s: %s", path, body ? body : "", a.body.p);
    http_free(&a);
}

json_t *http_rig_post(const char *path, const char *body)
{
    struct http_answer a = http_call(http_rig.url, "POST", path, body);
    ck_assert_msg(a.status == 200 && a.whole, "%s %s: %d %s", path, body, a.status, a.body.p);
    json_t *j = json_loadb(a.body.p, a.body.n, JSON_ALLOW_NUL, NULL);
    ck_assert_msg(j != NULL, "%s: no JSON: %s", path, a.body.p);
    http_free(&a);
    return j;
}

const json_t *http_rig_at(const json_t *j, const char *path)
{
    char part[64];
    while (j && *path) {
        const size_t n = strcspn(path, ".");
        ck_assert_uint_lt(n, sizeof part);
        memcpy(part, path, n);
        part[n] = 0;
        j = json_is_array(j) ? json_array_get(j, (size_t)atoi(part)) : json_object_get(j, part);
        path += n + (path[n] == '.');
    }
    return j;
}

uint32_t http_rig_running(void)
{
    struct engine_stats s;
    engine_stats(http_rig.engine, &s);
    return s.n_running + s.n_waiting;
}

/* Up to 20 s; under valgrind a token takes its time. */
void http_rig_wait(uint32_t n_running)
{
    for (int i = 0; i < 20000 && http_rig_running() != n_running; i++)
        usleep(1000);
    ck_assert_uint_eq(http_rig_running(), n_running);
}
