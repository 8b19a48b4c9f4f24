/* http_client.c - blocking sockets, and just enough HTTP to read an answer. */
#include "http_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int http_try(const char *url)
{
    const char *colon = strrchr(url, ':');
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const struct timeval patience = { .tv_sec = 120 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (!connect(fd, (struct sockaddr *)&a, sizeof a))
        return fd;
    close(fd);
    return -1;
}

int http_connect(const char *url)
{
    int fd = http_try(url);
    ck_assert_msg(fd >= 0, "%s: %s", url, strerror(errno));
    return fd;
}

void http_send(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        ck_assert_msg(put > 0, "send: %s", strerror(errno));
        p += put;
        n -= (size_t)put;
    }
}

void http_request(int fd, const char *method, const char *path, const char *body, bool close)
{
    struct buf b = { 0 };
    buf_addf(&b, "%s %s HTTP/1.1\r\nHost: x\r\n%s", method, path,
             close ? "Connection: close\r\n" : "");
    if (body)
        buf_addf(&b, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    else
        buf_addf(&b, "\r\n");
    http_send(fd, b.p, b.n);
    buf_free(&b);
}

static bool read_more(int fd, struct buf *b)
{
    char tmp[4096];
    ssize_t n = recv(fd, tmp, sizeof tmp, 0);
    ck_assert_msg(n >= 0 || errno == ECONNRESET, "recv: %s", strerror(errno));
    if (n > 0)
        buf_add(b, tmp, (size_t)n);
    return n > 0;
}

void http_read_some(int fd, size_t n)
{
    struct buf b = { 0 };
    while (b.n < n)
        ck_assert(read_more(fd, &b));
    buf_free(&b);
}

/* Undoes the chunks; true when the last one is there. */
static bool dechunk(const char *p, const char *end, struct buf *out)
{
    while (p < end) {
        char *after;
        size_t n = strtoul(p, &after, 16);
        p = after + 2;
        if (p > end || n > (size_t)(end - p))
            return false;
        if (!n)
            return true;
        buf_add(out, p, n);
        p += n + 2;
    }
    return false;
}

const char *http_header(const struct http_answer *a, const char *name)
{
    static _Thread_local char value[256];   /* clients run on several threads */
    char line[64];
    snprintf(line, sizeof line, "\r\n%s:", name);
    const char *at = a->head.p ? strcasestr(a->head.p, line) : NULL;
    if (!at || sscanf(at + strlen(line), " %255[^\r]", value) != 1)
        return NULL;
    return value;
}

void http_finish(int fd, struct http_answer *a)
{
    struct buf all = { 0 };
    *a = (struct http_answer){ 0 };
    while (read_more(fd, &all))
        ;
    close(fd);
    char *blank = all.p ? strstr(all.p, "\r\n\r\n") : NULL;
    if (blank && sscanf(all.p, "HTTP/1.1 %d", &a->status) == 1) {
        buf_add(&a->head, all.p, (size_t)(blank + 2 - all.p));
        const char *length = http_header(a, "Content-Length");
        size_t n = length ? strtoul(length, NULL, 10) : 0;
        const char *body = blank + 4, *end = all.p + all.n;
        if (length) {
            buf_add(&a->body, body, (size_t)(end - body));
            a->whole = a->body.n == n;
        } else
            a->whole = dechunk(body, end, &a->body);
    }
    buf_free(&all);
}

struct http_answer http_call(const char *url, const char *method, const char *path,
                             const char *body)
{
    struct http_answer a;
    int fd = http_connect(url);
    http_request(fd, method, path, body, true);
    http_finish(fd, &a);
    return a;
}

void http_free(struct http_answer *a)
{
    buf_free(&a->head);
    buf_free(&a->body);
}

/* Adds the text of every choice with that index. */
static void add_text(const char *p, size_t n, unsigned index, struct buf *out)
{
    json_t *j = json_loadb(p, n, JSON_ALLOW_NUL, NULL);
    ck_assert_msg(j != NULL, "no JSON: %.*s", (int)n, p);
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(j, "choices"), i, c)
        if (json_integer_value(json_object_get(c, "index")) == (json_int_t)index) {
            const json_t *t = json_object_get(c, "text");
            buf_add(out, json_string_value(t), json_string_length(t));
        }
    json_decref(j);
}

struct buf http_text(const struct http_answer *a, unsigned index, bool *done)
{
    struct buf out = { 0 };
    *done = false;
    buf_add(&out, "", 0);
    if (!a->body.n)
        return out;
    if (a->body.p[0] == '{') {
        add_text(a->body.p, a->body.n, index, &out);
        return out;
    }
    for (const char *p = a->body.p, *end; (end = strstr(p, "\n\n")); p = end + 2) {
        ck_assert_msg(!strncmp(p, "data: ", 6), "no event: %s", p);
        ck_assert(!*done);
        *done = !strncmp(p + 6, "[DONE]", 6);
        if (!*done)
            add_text(p + 6, (size_t)(end - p) - 6, index, &out);
    }
    return out;
}
