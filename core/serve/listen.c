/* listen.c - the first address that can be bound. */
#include "core/serve/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void make_url(struct listen *l)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    char host[INET6_ADDRSTRLEN + 32] = "?", port[8] = "?";
    if (!getsockname(l->fd, (struct sockaddr *)&a, &n))
        getnameinfo((struct sockaddr *)&a, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    const char *bracket = strchr(host, ':') ? "[" : "";
    snprintf(l->url, sizeof l->url, "http://%s%s%s:%s", bracket, host, *bracket ? "]" : "", port);
}

/* Binds the first address that can be; errno tells about the last. */
static int bind_first(const struct addrinfo *list)
{
    int fd = -1, one = 1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
        /* Without it a restart waits for the old connections' TIME_WAIT. */
        if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
                        bind(fd, a->ai_addr, a->ai_addrlen))) {
            int no = errno;
            close(fd);
            fd = -1;
            errno = no;
        }
    }
    return fd;
}

static int fail_address(const struct listen *l, struct err *e)
{
    int no = errno;
    const char *hint = no == EADDRINUSE ? "; another program listens there, choose another "
                                          "server.port" : "";
    return err_set(e, ERR_IO, "server: cannot listen on %s port %u: %s%s", l->host, l->port,
                   strerror(no), hint);
}

int listen_bind(struct listen *l, const char *host, uint32_t port, struct err *e)
{
    *l = (struct listen){ .fd = -1, .port = port };
    snprintf(l->host, sizeof l->host, "%s", host);
    char service[16];
    snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc)
        return err_set(e, ERR_ARG, "server.host: %s: %s", host,
                       rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    l->fd = bind_first(list);
    rc = l->fd < 0 ? fail_address(l, e) : 0;
    freeaddrinfo(list);
    if (!rc)
        make_url(l);
    return rc;
}

int listen_open(struct listen *l, struct err *e)
{
    return listen(l->fd, SOMAXCONN) ? fail_address(l, e) : 0;
}

/* Threads may still hold the socket's number, so it cannot be closed here; the
 * shutdown alone makes the kernel refuse connections. */
void listen_shut(struct listen *l)
{
    if (l->fd < 0 || l->shut)
        return;
    shutdown(l->fd, SHUT_RDWR);
    l->shut = true;
}

void listen_close(struct listen *l)
{
    listen_shut(l);
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}
