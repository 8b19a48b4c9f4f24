/* listen.c - the first address that can be bound, or a file that nobody uses. */
#include "core/serve/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char unix_mark[] = "unix:";

static int fail_address(const struct listen *l, struct err *e)
{
    int no = errno;
    const bool used = no == EADDRINUSE;
    if (*l->path)
        return err_set(e, ERR_IO, "server.host: unix:%s: %s%s", l->path, strerror(no),
                       used ? "; another program listens there, choose another path" : "");
    return err_set(e, ERR_IO, "server: cannot listen on %s port %u: %s%s", l->host, l->port,
                   strerror(no), used ? "; another program listens there, choose another "
                                        "server.port" : "");
}

/* ---- TCP ---- */

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const void *)a;
    return a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static void look_at_address(struct listen *l, bool tls)
{
    struct sockaddr_storage a = { 0 };
    socklen_t n = sizeof a;
    char host[INET6_ADDRSTRLEN + 32] = "?", port[8] = "?";
    if (!getsockname(l->fd, (struct sockaddr *)&a, &n))
        getnameinfo((struct sockaddr *)&a, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    const char *bracket = strchr(host, ':') ? "[" : "";
    snprintf(l->url, sizeof l->url, "%s://%s%s%s:%s", tls ? "https" : "http", bracket, host,
             *bracket ? "]" : "", port);
    l->is_local = is_loopback(&a);
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

static int bind_tcp(struct listen *l, const struct listen_conf *c, struct err *e)
{
    char service[16];
    snprintf(service, sizeof service, "%u", c->port);
    const struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(c->host, service, &hints, &list);
    if (rc)
        return err_set(e, ERR_ARG, "server.host: %s: %s", c->host,
                       rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    l->fd = bind_first(list);
    rc = l->fd < 0 ? fail_address(l, e) : 0;
    freeaddrinfo(list);
    if (!rc)
        look_at_address(l, c->tls);
    return rc;
}

/* ---- Unix sockets ---- */

static struct sockaddr_un unix_address(const struct listen *l)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    memcpy(a.sun_path, l->path, strlen(l->path) + 1);
    return a;
}

/* Removes a socket that nobody listens on; an error when it cannot be had. */
static int make_room(const struct listen *l, bool remove, struct err *e)
{
    struct stat st;
    if (lstat(l->path, &st))
        return errno == ENOENT ? 0 : fail_address(l, e);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, ERR_IO, "server.host: unix:%s: is a file and no socket, expected a path "
                       "that is free", l->path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const struct sockaddr_un a = unix_address(l);
    /* A full queue (EAGAIN) is somebody's too. */
    const bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) &&
                      errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    errno = EADDRINUSE;
    if (!dead || (remove && unlink(l->path)))
        return fail_address(l, e);
    return 0;
}

static int bind_unix(struct listen *l, const struct listen_conf *c, struct err *e)
{
    const char *path = c->host + sizeof unix_mark - 1;
    const char *mode = c->mode && *c->mode ? c->mode : "0660";
    char *end;
    if (*path != '/' || strlen(path) >= sizeof l->path)
        return err_set(e, ERR_ARG, "server.host: %s: expected unix: and a path from / of less than "
                       "%zu bytes", c->host, sizeof l->path);
    l->mode = (mode_t)strtoul(mode, &end, 8);
    if (*end || strspn(mode, "01234567") != strlen(mode) || l->mode > 0777)
        return err_set(e, ERR_ARG, "server.socket_mode: \"%.32s\" is no mode, expected octal digits "
                       "up to 0777", mode);
    snprintf(l->path, sizeof l->path, "%s", path);
    snprintf(l->url, sizeof l->url, "unix:%s", path);
    l->is_local = true;
    char dir[sizeof l->path];
    snprintf(dir, sizeof dir, "%s", path);
    *(strrchr(dir, '/') + 1) = 0;
    if (access(dir, W_OK | X_OK))
        return err_set(e, ERR_IO, "server.host: unix:%s: %s: %s, expected a folder that bitnetd may "
                       "write", path, dir, strerror(errno));
    return make_room(l, false, e);
}

/* The file is never more open than it shall be: the mode of the descriptor is
 * what bind(2) gives the file, less the umask. */
static int open_unix(struct listen *l, struct err *e)
{
    const int rc = make_room(l, true, e);
    const struct sockaddr_un a = unix_address(l);
    if (rc)
        return rc;
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0 || fchmod(l->fd, l->mode) || bind(l->fd, (const struct sockaddr *)&a, sizeof a))
        return fail_address(l, e);
    if (lstat(l->path, &l->made) || chmod(l->path, l->mode))
        return fail_address(l, e);
    return 0;
}

/* Not a file that somebody else put there meanwhile. */
static void remove_file(const struct listen *l)
{
    struct stat st;
    if (*l->path && l->made.st_ino && !lstat(l->path, &st) && st.st_ino == l->made.st_ino &&
        st.st_dev == l->made.st_dev)
        unlink(l->path);
}

/* ---- both ---- */

int listen_bind(struct listen *l, const struct listen_conf *c, struct err *e)
{
    *l = (struct listen){ .fd = -1, .port = c->port };
    snprintf(l->host, sizeof l->host, "%s", c->host);
    if (!strncmp(c->host, unix_mark, sizeof unix_mark - 1))
        return bind_unix(l, c, e);
    return bind_tcp(l, c, e);
}

int listen_open(struct listen *l, struct err *e)
{
    const int rc = *l->path ? open_unix(l, e) : 0;
    return rc ? rc : listen(l->fd, SOMAXCONN) ? fail_address(l, e) : 0;
}

/* Threads may still hold the socket's number, so it cannot be closed here; the
 * shutdown alone makes the kernel refuse connections. */
void listen_shut(struct listen *l)
{
    if (l->fd < 0 || l->shut)
        return;
    shutdown(l->fd, SHUT_RDWR);
    remove_file(l);
    l->shut = true;
}

void listen_close(struct listen *l)
{
    listen_shut(l);
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}
