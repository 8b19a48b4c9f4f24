/* fuzz_http.c - any bytes on a connection of the server.
 *
 * The server has keys, foreign origins and an access log, and no model yet:
 * what comes behind the door has fuzzers of its own, here it is the door. No
 * input knows the key, so none may get past it; what comes back is HTTP, and
 * every connection ends with its client. */
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/serve/serve.h"
#include "tests/fuzz/fuzz.h"

enum {
    QUIET_MS = 30,                /* an answer takes less than a millisecond   */
    WAIT_MS = 20000               /* what never ends was lost                  */
};

static struct serve *serve;
static char dir[] = "/tmp/bitnet-fuzz-http-XXXXXX";
static struct sockaddr_un address = { .sun_family = AF_UNIX };

static void close_server(void)
{
    char keys[64];
    serve_close(serve);
    snprintf(keys, sizeof keys, "%s/keys", dir);
    unlink(keys);
    rmdir(dir);
}

/* A key that nobody has: the hash is not one of anything known. */
static void write_keys(const char *path)
{
    char hex[65];
    unsigned char hash[32];
    randombytes_buf(hash, sizeof hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    FILE *f = fopen(path, "w");
    require(f != NULL);
    require(fprintf(f, "nobody read,infer,admin sha256:%s\n", hex) > 0 && !fclose(f));
}

static void open_server(void)
{
    struct err e = { 0 };
    char host[128], keys[64];
    log_setup(LOG_LEVEL_ERROR, false);
    umask(077);
    require(sodium_init() >= 0 && mkdtemp(dir) != NULL);
    snprintf(keys, sizeof keys, "%s/keys", dir);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", dir);
    snprintf(host, sizeof host, "unix:%s", address.sun_path);
    write_keys(keys);
    const struct serve_conf c = {
        .host = host, .n_threads = 1, .max_connections = 16, .max_header_size = 8 << 10,
        .max_body_size = 4 << 10, .timeout_s = 5, .read_timeout_s = 5, .keys = keys,
        .cors_origin = "https://a.example", .access_log = "/dev/null", .log_prompts = true,
    };
    require(!serve_bind(&serve, &c, &e) && !serve_listen(serve, &e));
    atexit(close_server);
}

/* The server may end the connection before all was sent. */
static void send_all(int fd, const uint8_t *data, size_t n)
{
    while (n) {
        const ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            break;
        data += sent;
        n -= (size_t)sent;
    }
    shutdown(fd, SHUT_WR);
}

/* Until the end, or until the server seems to wait for the rest of a request. */
static void receive_all(int fd, struct buf *out)
{
    for (;;) {
        char part[4096];
        struct pollfd p = { .fd = fd, .events = POLLIN };
        const ssize_t got = poll(&p, 1, QUIET_MS) > 0 ? recv(fd, part, sizeof part, 0) : 0;
        if (got <= 0)
            return;
        buf_add(out, part, (size_t)got);
    }
}

static void check_answer(const struct buf *b)
{
    if (!b->n)
        return;
    require(!strncmp(b->p, "HTTP/1.", 7) && b->n > 12);
    const int status = atoi(b->p + 9);
    require(status >= 100 && status < 600);
    /* What only those hear who got in. */
    require(!memmem(b->p, b->n, "\"code\":\"loading\"", 16));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!serve)
        open_server();
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0 && !connect(fd, (const struct sockaddr *)&address, sizeof address));
    struct buf answer = { 0 };
    send_all(fd, data, n);
    receive_all(fd, &answer);
    check_answer(&answer);
    buf_free(&answer);
    close(fd);
    for (int i = 0; serve_connections(serve); i++) {
        require(i < WAIT_MS);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return 0;
}
