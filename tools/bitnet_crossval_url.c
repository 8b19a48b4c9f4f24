/* bitnet_crossval_url.c - requests to an endpoint that may be anything.
 *
 * Only http and https, no redirects; an answer has a size and a time, its head
 * too. What is no JSON is an error where JSON must be. */
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "tools/bitnet_crossval.h"

enum {
    MAX_BODY = 32 << 20,          /* bytes of an answer                        */
    MAX_HEAD = 256 << 10,
    CONNECT_S = 10
};

struct url {
    CURL *curl;
    struct curl_slist *header;
    char base[1024];
    char error[CURL_ERROR_SIZE];
    struct buf body;
    size_t head_size;
    bool over;                    /* a limit was passed                        */
};

static size_t on_body(char *p, size_t one, size_t n, void *ctx)
{
    struct url *u = ctx;
    u->over = u->over || one * n > MAX_BODY - u->body.n;
    if (u->over)
        return 0;
    buf_add(&u->body, p, one * n);
    return u->body.failed ? 0 : one * n;
}

static size_t on_head(char *p, size_t one, size_t n, void *ctx)
{
    struct url *u = ctx;
    (void)p;
    u->head_size += one * n;
    u->over = u->over || u->head_size > MAX_HEAD;
    return u->over ? 0 : one * n;
}

static bool add_header(struct url *u, const char *line)
{
    struct curl_slist *more = curl_slist_append(u->header, line);
    u->header = more ? more : u->header;
    return more;
}

static int set_up(struct url *u, const char *key, uint32_t timeout_s, struct err *e)
{
    char line[512];
    u->curl = curl_easy_init();
    bool ok = u->curl && add_header(u, "Content-Type: application/json") &&
              add_header(u, "Expect:");
    if (ok && key) {
        if (snprintf(line, sizeof line, "Authorization: Bearer %s", key) >= (int)sizeof line)
            return err_set(e, ERR_ARG, "--key: %zu bytes, expected fewer", strlen(key));
        ok = add_header(u, line);
    }
    if (!ok)
        return err_set(e, ERR_NOMEM, "crossval: no memory for a client");
    curl_easy_setopt(u->curl, CURLOPT_HTTPHEADER, u->header);
    curl_easy_setopt(u->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(u->curl, CURLOPT_ERRORBUFFER, u->error);
    curl_easy_setopt(u->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(u->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(u->curl, CURLOPT_TIMEOUT, (long)timeout_s);
    curl_easy_setopt(u->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(u->curl, CURLOPT_WRITEDATA, u);
    curl_easy_setopt(u->curl, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(u->curl, CURLOPT_HEADERDATA, u);
    return 0;
}

int url_open(struct url **out, const char *base, const char *key, uint32_t timeout_s,
             struct err *e)
{
    struct url *u = calloc(1, sizeof *u);
    *out = u;
    if (!u)
        return err_set(e, ERR_NOMEM, "crossval: no memory for a client");
    size_t n = strlen(base);
    while (n && base[n - 1] == '/')
        n--;
    n -= n > 3 && !strncmp(base + n - 3, "/v1", 3) ? 3 : 0;
    if (n >= sizeof u->base - 64)
        return err_set(e, ERR_ARG, "--ref: an address of %zu bytes, expected fewer than %zu", n,
                       sizeof u->base - 64);
    memcpy(u->base, base, n);
    return set_up(u, key, timeout_s, e);
}

void url_close(struct url *u)
{
    if (!u)
        return;
    curl_easy_cleanup(u->curl);
    curl_slist_free_all(u->header);
    buf_free(&u->body);
    free(u);
}

static int perform(struct url *u, const char *path, long *status, double *seconds, struct err *e)
{
    char url[sizeof u->base + 64];
    curl_off_t us = 0;
    snprintf(url, sizeof url, "%s%s", u->base, path);
    buf_clear(&u->body);
    u->head_size = 0;
    u->over = false;
    u->error[0] = 0;
    curl_easy_setopt(u->curl, CURLOPT_URL, url);
    const CURLcode c = curl_easy_perform(u->curl);
    curl_easy_getinfo(u->curl, CURLINFO_RESPONSE_CODE, status);
    curl_easy_getinfo(u->curl, CURLINFO_TOTAL_TIME_T, &us);
    *seconds = (double)us * 1e-6;
    if (u->over)
        return err_set(e, ERR_LIMIT, "%.200s%s: an answer of more than %d bytes, or a head of more "
                       "than %d, expected less", u->base, path, MAX_BODY, MAX_HEAD);
    if (c)
        return err_set(e, ERR_IO, "%.200s%s: %.200s", u->base, path,
                       *u->error ? u->error : curl_easy_strerror(c));
    return 0;
}

static int judge(const struct url *u, const char *path, long status, json_t **answer, struct err *e)
{
    static const long absent[] = { 400, 404, 405, 422, 500, 501 };
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (status == absent[i])
            return 0;
    if (status != 200)
        return err_set(e, ERR_IO, "%.200s%s: status %ld, expected 200%s", u->base, path, status,
                       status == 401 || status == 403 ? ": give --key" : "");
    *answer = json_loadb(u->body.p ? u->body.p : "", u->body.n, JSON_ALLOW_NUL, NULL);
    return json_is_object(*answer) ? 0
           : err_set(e, ERR_DATA, "%.200s%s: the answer is no JSON object, expected one", u->base,
                     path);
}

int url_call(struct url *u, const char *path, json_t *body, json_t **answer, double *seconds,
             struct err *e)
{
    long status = 0;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    *answer = NULL;
    if (body && !text) {
        json_decref(body);
        return err_set(e, ERR_NOMEM, "crossval: no memory for a request");
    }
    if (text) {
        curl_easy_setopt(u->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
        curl_easy_setopt(u->curl, CURLOPT_POSTFIELDS, text);
    } else {
        curl_easy_setopt(u->curl, CURLOPT_HTTPGET, 1L);
    }
    int rc = perform(u, path, &status, seconds, e);
    if (!rc)
        rc = judge(u, path, status, answer, e);
    if (rc) {
        json_decref(*answer);
        *answer = NULL;
    }
    free(text);
    json_decref(body);
    return rc;
}
