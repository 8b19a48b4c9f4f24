/* bitnet_traffic_run.c - requests sent and answers read, with libcurl.
 *
 * One thread drives all transfers. An answer is server-sent events; the moment a
 * piece of text arrives is the time of a token (a server may hold back half a
 * code point, then one event brings two). Tokens are counted from the answer's
 * usage; of an answer that was left early, events are counted. */
#include <curl/curl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "tools/bitnet_traffic.h"

enum {
    MAX_LINE = 1 << 20,           /* bytes of one event                        */
    MAX_RETRY_MS = 10000,         /* longest wait after a refusal              */
    STALL_S = 600,                /* an answer that stands still so long is cut */
    GIVE_UP = 100                 /* losses in a row, beyond one per client    */
};

struct shot {
    struct traffic *t;
    struct plan *plan;
    CURL *curl;
    struct curl_slist *header;
    bool busy;
    uint32_t leave_at;            /* events after which this side leaves; 0: never */
    struct buf line, text, error;
    double born, first, last;     /* s: arrival, first and latest piece of text */
    uint32_t n_event;
    uint64_t n_tok, n_cached;
    bool finished;                /* "[DONE]" came                             */
    bool broken;                  /* an error event, or no event at all        */
    double free_at;               /* a refused client waits until then         */
};

/* ---- an answer's events ---- */

static void take_usage(struct shot *s, json_t *root)
{
    json_t *u = json_object_get(root, "usage");
    json_t *d = json_object_get(u, "prompt_tokens_details");
    if (json_is_object(u))
        s->n_tok = (uint64_t)json_integer_value(json_object_get(u, "completion_tokens"));
    if (json_is_object(d))
        s->n_cached = (uint64_t)json_integer_value(json_object_get(d, "cached_tokens"));
}

/* A piece of text is a token's moment. */
static void take_text(struct shot *s, json_t *root)
{
    json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    json_t *text = json_object_get(choice, "text");
    const double now = clock_s();
    if (!json_string_length(text))
        return;
    buf_add(&s->text, json_string_value(text), json_string_length(text));
    if (!s->n_event++)
        s->first = now;
    else if (s->leave_at != UINT32_MAX)
        times_add(&s->t->itl, now - s->last);
    s->last = now;
}

static void take_event(struct shot *s, const char *p, size_t n)
{
    if (n == 6 && !memcmp(p, "[DONE]", 6)) {
        s->finished = true;
        return;
    }
    json_t *root = json_loadb(p, n, 0, NULL);
    if (!root || json_object_get(root, "error")) {
        s->broken = true;
        buf_clear(&s->error);
        buf_add(&s->error, p, n < 200 ? n : 200);
    } else {
        take_usage(s, root);
        take_text(s, root);
    }
    json_decref(root);
}

static void take_line(struct shot *s)
{
    if (s->line.n > 6 && !memcmp(s->line.p, "data: ", 6))
        take_event(s, s->line.p + 6, s->line.n - 6);
    else if (s->line.n && !s->error.n)
        buf_add(&s->error, s->line.p, s->line.n < 200 ? s->line.n : 200);
    buf_clear(&s->line);
}

static size_t on_body(char *p, size_t one, size_t n, void *ctx)
{
    struct shot *s = ctx;
    for (size_t i = 0; i < n * one; i++) {
        if (p[i] == '\n')
            take_line(s);
        else if (p[i] != '\r')
            buf_add(&s->line, p + i, 1);
        if (s->line.failed || s->line.n > MAX_LINE)
            return 0;
        if (s->leave_at && s->leave_at != UINT32_MAX && s->n_event >= s->leave_at)
            return 0;             /* libcurl closes the connection */
    }
    return n * one;
}

/* ---- one sending ---- */

static int shot_open(struct shot *s, struct traffic *t, struct err *e)
{
    char line[512];
    s->t = t;
    s->curl = curl_easy_init();
    s->header = curl_slist_append(NULL, "Content-Type: application/json");
    if (t->ask->key) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", t->ask->key);
        s->header = curl_slist_append(s->header, line);
    }
    if (!s->curl || !s->header)
        return err_set(e, ERR_NOMEM, "load: no memory for a client");
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->header);
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
    curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(s->curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    return 0;
}

static void shot_close(struct shot *s)
{
    curl_easy_cleanup(s->curl);
    curl_slist_free_all(s->header);
    buf_free(&s->line);
    buf_free(&s->text);
    buf_free(&s->error);
}

static int set_url(struct shot *s, const char *path, struct err *e)
{
    char url[1024];
    if (snprintf(url, sizeof url, "%s%s", s->t->ask->url, path) >= (int)sizeof url ||
        curl_easy_setopt(s->curl, CURLOPT_URL, url))
        return err_set(e, ERR_ARG, "--url: %.100s..., expected a shorter one", s->t->ask->url);
    return 0;
}

/* leave_at: as in struct shot; UINT32_MAX: it is not timed, and stays. */
static int shot_aim(struct shot *s, struct plan *p, uint32_t leave_at, double born, struct err *e)
{
    buf_clear(&s->line);
    buf_clear(&s->text);
    buf_clear(&s->error);
    s->plan = p;
    s->leave_at = leave_at;
    s->born = born;
    s->n_event = 0;
    s->n_tok = s->n_cached = 0;
    s->finished = s->broken = false;
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, p->body.p);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->body.n);
    return set_url(s, "/v1/completions", e);
}

/* left: text may end anywhere. */
static bool is_right(const struct shot *s, bool left)
{
    const struct buf *want = &s->plan->alone;
    return s->text.n <= want->n && (left || s->text.n == want->n) &&
           (!s->text.n || !memcmp(s->text.p, want->p, s->text.n));
}

static enum shot_end judge(const struct shot *s, CURLcode rc)
{
    long status = 0;
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    const bool left = rc == CURLE_WRITE_ERROR && s->leave_at && s->n_event >= s->leave_at;
    if (status == 429 || status == 503)
        return SHOT_REFUSED;
    if (s->broken || (status && status != 200))
        return SHOT_FAILED;
    if (!left && (rc || !s->finished))
        return SHOT_LOST;
    if (s->t->ask->check && s->leave_at != UINT32_MAX && !is_right(s, left))
        return SHOT_WRONG;
    return left ? SHOT_LEFT : SHOT_DONE;
}

static void note(struct traffic *t, const struct shot *s, enum shot_end end, CURLcode rc)
{
    static const char *const word[N_SHOT_END] = {
        [SHOT_FAILED] = "failed", [SHOT_LOST] = "lost", [SHOT_WRONG] = "another text than alone"
    };
    long status = 0;
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    if (word[end] && !*t->example)
        snprintf(t->example, sizeof t->example, "%s after %u pieces, status %ld, %s: %.120s",
                 word[end], s->n_event, status, curl_easy_strerror(rc),
                 s->error.n ? s->error.p : "");
}

static enum shot_end count(struct traffic *t, struct shot *s, CURLcode rc)
{
    const struct traffic_ask *a = t->ask;
    const enum shot_end end = judge(s, rc);
    t->n[end]++;
    note(t, s, end, rc);
    if (end == SHOT_LEFT)
        t->n_new_tok += s->n_event;
    if (end != SHOT_DONE)
        return end;
    const double ttft = s->first - s->born;
    const double tpot = s->n_tok > 1 ? (s->last - s->first) / (double)(s->n_tok - 1) : 0;
    t->n_new_tok += s->n_tok;
    t->n_prompt_tok += s->plan->n_prompt;
    t->n_cached_tok += s->n_cached;
    if (s->n_event)
        times_add(&t->ttft, ttft);
    if (s->n_tok > 1)
        times_add(&t->tpot, tpot);
    times_add(&t->all, clock_s() - s->born);
    t->n_good += (!(a->ttft_ms > 0) || ttft * 1000 <= (double)a->ttft_ms) &&
                 (!(a->itl_ms > 0) || tpot * 1000 <= (double)a->itl_ms);
    return end;
}

/* ---- before the traffic ---- */

static size_t keep(char *p, size_t one, size_t n, void *ctx)
{
    struct buf *b = ctx;
    buf_add(b, p, one * n);
    return b->failed || b->n > MAX_LINE ? 0 : one * n;
}

static int read_model(struct traffic *t, const struct buf *b, struct err *e)
{
    json_t *root = json_loadb(b->p ? b->p : "", b->n, 0, NULL);
    json_t *m = json_array_get(json_object_get(root, "data"), 0);
    json_t *meta = json_object_get(m, "meta");
    const char *id = json_string_value(json_object_get(m, "id"));
    const json_int_t n_vocab = json_integer_value(json_object_get(meta, "n_vocab"));
    const json_int_t n_ctx = json_integer_value(json_object_get(meta, "n_ctx"));
    const bool ok = id && n_vocab > 0 && n_vocab <= INT32_MAX && n_ctx > 0 && n_ctx <= INT32_MAX;
    if (ok) {
        snprintf(t->model, sizeof t->model, "%s", id);
        t->n_vocab = (uint32_t)n_vocab;
        t->n_ctx = (uint32_t)n_ctx;
    }
    json_decref(root);
    return ok ? 0 : err_set(e, ERR_DATA, "%.200s/v1/models: no model with n_vocab and n_ctx in "
                            "the answer, expected a bitnetd", t->ask->url);
}

int traffic_hello(struct traffic *t, struct err *e)
{
    struct shot s = { 0 };
    struct buf b = { 0 };
    int rc = shot_open(&s, t, e);
    if (!rc)
        rc = set_url(&s, "/v1/models", e);
    if (!rc) {
        long status = 0;
        curl_easy_setopt(s.curl, CURLOPT_WRITEFUNCTION, keep);
        curl_easy_setopt(s.curl, CURLOPT_WRITEDATA, &b);
        const CURLcode c = curl_easy_perform(s.curl);
        curl_easy_getinfo(s.curl, CURLINFO_RESPONSE_CODE, &status);
        if (c)
            rc = err_set(e, ERR_IO, "%.200s: %s", t->ask->url, curl_easy_strerror(c));
        else if (status != 200)
            rc = err_set(e, ERR_IO, "%.200s/v1/models: status %ld, expected 200%s", t->ask->url,
                         status, status == 401 ? "; give --key" : "");
        else
            rc = read_model(t, &b, e);
    }
    buf_free(&b);
    shot_close(&s);
    return rc;
}

int traffic_alone(struct traffic *t, struct err *e)
{
    struct shot s = { 0 };
    int rc = shot_open(&s, t, e);
    for (uint32_t i = 0; !rc && i < t->ask->n_plan; i++) {
        rc = shot_aim(&s, &t->plan[i], UINT32_MAX, clock_s(), e);
        if (rc)
            break;
        const CURLcode c = curl_easy_perform(s.curl);
        const enum shot_end end = judge(&s, c);
        if (end != SHOT_DONE || s.text.failed)
            rc = err_set(e, ERR_IO, "load: request %u, sent alone, gave no whole answer: %.100s", i,
                         c ? curl_easy_strerror(c) : s.error.n ? s.error.p : "cut");
        t->plan[i].alone = s.text;
        s.text = (struct buf){ 0 };
    }
    shot_close(&s);
    return rc;
}

/* ---- the traffic ---- */

struct crowd {
    struct traffic *t;
    CURLM *multi;
    struct shot *shot;            /* [n_shot]                                  */
    uint32_t n_shot, n_busy;
    uint64_t n_sent;
    uint64_t n_lost;              /* in a row: the server is gone              */
    uint64_t draw;
    double start, next;           /* open loop: when the next one arrives      */
};

static bool is_over(const struct crowd *c, double now)
{
    const struct traffic_ask *a = c->t->ask;
    return c->n_lost > GIVE_UP + (uint64_t)a->n_client ||
           (a->n_request && c->n_sent >= a->n_request) ||
           (a->seconds && now - c->start >= (double)a->seconds);
}

static int send_one(struct crowd *c, struct shot *s, double born, struct err *e)
{
    const struct traffic_ask *a = c->t->ask;
    struct plan *p = &c->t->plan[traffic_draw(&c->draw) % a->n_plan];
    uint32_t leave = 0;
    if (traffic_unit(&c->draw) < (double)a->leave)
        leave = traffic_range(&c->draw, (struct range){ 1, p->n_new });
    int rc = s->curl ? 0 : shot_open(s, c->t, e);
    if (!rc)
        rc = shot_aim(s, p, leave, born, e);
    if (!rc && curl_multi_add_handle(c->multi, s->curl))
        rc = err_set(e, ERR_NOMEM, "load: no memory for one more request");
    if (rc)
        return rc;
    s->busy = true;
    c->n_busy++;
    c->n_sent++;
    return 0;
}

static struct shot *idle_shot(struct crowd *c, double now)
{
    for (uint32_t i = 0; i < c->n_shot; i++)
        if (!c->shot[i].busy && c->shot[i].free_at <= now)
            return &c->shot[i];
    return NULL;
}

/* Whoever is due is sent. An open loop with all clients busy keeps the arrival
 * for the next free one: its time counts from when it came. */
static int send_due(struct crowd *c, struct err *e)
{
    const struct traffic_ask *a = c->t->ask;
    int rc = 0;
    for (double now = clock_s(); !rc && !is_over(c, now); now = clock_s()) {
        struct shot *s = idle_shot(c, now);
        if (!s || (a->rate > 0 && now < c->next))
            break;
        rc = send_one(c, s, a->rate > 0 ? c->next : now, e);
        if (a->rate > 0)          /* exponential pauses: a Poisson process */
            c->next -= log(1 - traffic_unit(&c->draw)) / (double)a->rate;
    }
    return rc;
}

static void collect(struct crowd *c)
{
    CURLMsg *m;
    for (int left; (m = curl_multi_info_read(c->multi, &left));) {
        struct shot *s = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        const CURLcode code = m->data.result;
        CURL *curl = m->easy_handle;
        curl_easy_getinfo(curl, CURLINFO_PRIVATE, &s);
        curl_multi_remove_handle(c->multi, curl);
        const enum shot_end end = count(c->t, s, code);
        curl_off_t retry_s = 0;
        if (end == SHOT_REFUSED)
            curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_s);
        s->free_at = retry_s > 0 ? clock_s() + fmin((double)retry_s, MAX_RETRY_MS * 1e-3) : 0;
        s->busy = false;
        c->n_busy--;
        c->n_lost = end == SHOT_LOST ? c->n_lost + 1 : 0;
    }
}

static int crowd_run(struct crowd *c, struct err *e)
{
    int rc = 0, running = 0;
    while (!rc) {
        rc = send_due(c, e);
        if (rc || (!c->n_busy && is_over(c, clock_s())))
            break;
        if (curl_multi_perform(c->multi, &running) ||
            curl_multi_poll(c->multi, NULL, 0, c->t->ask->rate > 0 ? 1 : 20, NULL))
            rc = err_set(e, ERR_IO, "load: libcurl gives up");
        collect(c);
    }
    c->t->wall_s = clock_s() - c->start;
    return rc;
}

int traffic_run(struct traffic *t, struct err *e)
{
    enum { OPEN_CLIENTS = 20000 };
    struct crowd c = { .t = t, .multi = curl_multi_init(), .draw = ~t->ask->seed };
    c.n_shot = t->ask->rate > 0 ? OPEN_CLIENTS : t->ask->n_client;
    c.shot = calloc(c.n_shot, sizeof *c.shot);
    int rc = c.multi && c.shot ? 0 : err_set(e, ERR_NOMEM, "load: no memory for %u clients", c.n_shot);
    if (!rc) {
        curl_multi_setopt(c.multi, CURLMOPT_MAXCONNECTS, (long)c.n_shot);
        c.start = c.next = clock_s();
        rc = crowd_run(&c, e);
    }
    for (uint32_t i = 0; c.shot && i < c.n_shot; i++) {
        if (c.shot[i].busy)
            curl_multi_remove_handle(c.multi, c.shot[i].curl);
        shot_close(&c.shot[i]);
    }
    free(c.shot);
    curl_multi_cleanup(c.multi);
    return rc;
}
