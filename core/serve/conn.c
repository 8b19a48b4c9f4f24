/* conn.c - the list of connections and the thread that looks at its clocks. */
#include "core/serve/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"

enum {
    LOOK_MS = 500,                /* how late a cut may come                   */
    DRAIN_MS = 20,                /* between two looks at what still sends     */
    LINGER_MAX = 64,              /* connections read empty at once            */
    LINGER_US = 2000000
};

struct lingering {
    int fd;                       /* -1: free                                  */
    bool deaf;                    /* shut down for reading: only time ends it  */
    uint64_t until_us;
};

struct conns {
    struct conn_conf conf;
    pthread_mutex_t lock;         /* guards all below, and what is in the list */
    pthread_cond_t some;          /* the list is not empty any more, or stop   */
    struct conn *list;
    uint32_t n;
    struct lingering linger[LINGER_MAX];
    uint32_t n_linger;
    bool stop;
    pthread_t thread;
};

static const char late[] =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
    "Content-Length: 140\r\n\r\n"
    "{\"error\":{\"message\":\"the request did not arrive within server.read_timeout_s\","
    "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"timeout\"}}";

/* Whether the client is done, or has had its time. */
static bool drained(const struct lingering *l, uint64_t now)
{
    static char sink[65536];      /* only ever written, by the one thread       */
    ssize_t n = 0;
    for (int i = 0; i < 16; i++)
        if ((n = recv(l->fd, sink, sizeof sink, MSG_DONTWAIT)) <= 0)
            break;
    return l->until_us <= now || (!n && !l->deaf) || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void drain(struct conns *all, uint64_t now)
{
    for (unsigned i = 0; i < LINGER_MAX && all->n_linger; i++) {
        struct lingering *l = &all->linger[i];
        if (l->fd >= 0 && drained(l, now)) {
            close(l->fd);
            l->fd = -1;
            all->n_linger--;
        }
    }
}

/* MHD closes its descriptor; ours keeps the connection. */
static void hold(struct conns *all, int fd, bool deaf)
{
    for (unsigned i = 0; i < LINGER_MAX; i++)
        if (all->linger[i].fd < 0) {
            all->linger[i] = (struct lingering){ fcntl(fd, F_DUPFD_CLOEXEC, 0), deaf,
                                                 clock_us() + LINGER_US };
            all->n_linger += all->linger[i].fd >= 0;
            pthread_cond_signal(&all->some);
            return;
        }
}

static void keep_a_moment(struct conns *all, const struct conn *c)
{
    int unread = 0;
    if (c->fd < 0 || (!c->begun && (ioctl(c->fd, FIONREAD, &unread) || !unread)))
        return;
    hold(all, c->fd, false);
    shutdown(c->fd, SHUT_WR);
}

/* While a request is not whole MHD writes nothing but "100 Continue", so this
 * is the connection's next answer, and after the shutdown its last. */
static void cut(struct conns *all, struct conn *c)
{
    c->deadline_us = 0;
    if (!all->conf.tls) {
        const ssize_t n = send(c->fd, late, sizeof late - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)n;                  /* the shutdown tells as well */
    }
    hold(all, c->fd, true);
    shutdown(c->fd, SHUT_RDWR);
    c->fd = -1;
}

static void *watch(void *arg)
{
    struct conns *all = arg;
    pthread_mutex_lock(&all->lock);
    while (!all->stop) {
        if (!all->list && !all->n_linger) {
            pthread_cond_wait(&all->some, &all->lock);
            continue;
        }
        const uint64_t now = clock_us();
        for (struct conn *c = all->list; c; c = c->next)
            if (c->deadline_us && c->deadline_us <= now)
                cut(all, c);
        drain(all, now);
        const struct timespec until = clock_after(all->n_linger ? DRAIN_MS : LOOK_MS);
        pthread_cond_timedwait(&all->some, &all->lock, &until);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

int conn_all_open(struct conns **out, const struct conn_conf *conf, struct err *e)
{
    *out = NULL;
    struct conns *all = calloc(1, sizeof *all);
    pthread_condattr_t mono;
    if (!all)
        return err_set(e, ERR_NOMEM, "server: no memory");
    all->conf = *conf;
    for (unsigned i = 0; i < LINGER_MAX; i++)
        all->linger[i].fd = -1;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->some, &mono);
    pthread_condattr_destroy(&mono);
    const int no = pthread_create(&all->thread, NULL, watch, all);
    if (no) {
        pthread_cond_destroy(&all->some);
        pthread_mutex_destroy(&all->lock);
        free(all);
        return err_set(e, ERR_IO, "server: cannot watch connections: %s", strerror(no));
    }
    *out = all;
    return 0;
}

void conn_all_close(struct conns *all)
{
    if (!all)
        return;
    pthread_mutex_lock(&all->lock);
    all->stop = true;
    pthread_cond_signal(&all->some);
    pthread_mutex_unlock(&all->lock);
    pthread_join(all->thread, NULL);
    for (unsigned i = 0; i < LINGER_MAX; i++)
        if (all->linger[i].fd >= 0)
            close(all->linger[i].fd);
    pthread_cond_destroy(&all->some);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

uint32_t conn_all_count(struct conns *all)
{
    pthread_mutex_lock(&all->lock);
    const uint32_t n = all->n;
    pthread_mutex_unlock(&all->lock);
    return n;
}

static void name_peer(struct conn *c, const struct sockaddr *a)
{
    const void *at = NULL;
    if (a && a->sa_family == AF_INET)
        at = &((const struct sockaddr_in *)(const void *)a)->sin_addr;
    else if (a && a->sa_family == AF_INET6)
        at = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    if (!at || !inet_ntop(a->sa_family, at, c->peer, sizeof c->peer))
        snprintf(c->peer, sizeof c->peer, "unix");
}

static struct conn *conn_open(struct conns *all, struct MHD_Connection *m)
{
    struct conn *c = calloc(1, sizeof *c);
    const union MHD_ConnectionInfo *fd, *peer;
    fd = MHD_get_connection_info(m, MHD_CONNECTION_INFO_CONNECTION_FD);
    peer = MHD_get_connection_info(m, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!c || !fd) {
        free(c);
        return NULL;
    }
    c->all = all;
    c->fd = fd->connect_fd;
    name_peer(c, peer ? peer->client_addr : NULL);
    if (all->conf.read_s)
        c->deadline_us = clock_us() + (uint64_t)all->conf.read_s * 1000000;
    pthread_mutex_lock(&all->lock);
    c->next = all->list;
    if (c->next)
        c->next->prev = c;
    else
        pthread_cond_signal(&all->some);
    all->list = c;
    all->n++;
    pthread_mutex_unlock(&all->lock);
    return c;
}

/* MHD closes the descriptor only after this. */
static void conn_close(struct conn *c)
{
    struct conns *all = c->all;
    pthread_mutex_lock(&all->lock);
    if (c->next)
        c->next->prev = c->prev;
    *(c->prev ? &c->prev->next : &all->list) = c->next;
    all->n--;
    keep_a_moment(all, c);
    pthread_mutex_unlock(&all->lock);
    free(c);
}

void conn_all_notify(void *ctx, struct MHD_Connection *m, void **context,
                  enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *context = conn_open(ctx, m);
    else if (*context) {
        conn_close(*context);
        *context = NULL;
    }
}

struct conn *conn_of(struct MHD_Connection *m)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(m,
                                                                MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i ? i->socket_context : NULL;
}

void conn_begin(struct conn *c)
{
    if (!c)
        return;
    const uint64_t by = clock_us() + (uint64_t)c->all->conf.read_s * 1000000;
    pthread_mutex_lock(&c->all->lock);
    c->begun = true;
    if (c->fd >= 0 && c->deadline_us > by)
        c->deadline_us = by;
    pthread_mutex_unlock(&c->all->lock);
}

void conn_whole(struct conn *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->all->lock);
    c->deadline_us = 0;
    c->begun = false;
    pthread_mutex_unlock(&c->all->lock);
}

bool conn_is_cut(struct conn *c)
{
    if (!c)
        return false;
    pthread_mutex_lock(&c->all->lock);
    const bool is_cut = c->fd < 0;
    pthread_mutex_unlock(&c->all->lock);
    return is_cut;
}

void conn_next(struct conn *c)
{
    if (!c || !c->all->conf.read_s)
        return;
    const uint64_t s = (uint64_t)c->all->conf.read_s + c->all->conf.idle_s;
    pthread_mutex_lock(&c->all->lock);
    if (c->fd >= 0)
        c->deadline_us = clock_us() + s * 1000000;
    pthread_mutex_unlock(&c->all->lock);
}
