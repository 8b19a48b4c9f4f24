/* cors.c - a list of origins, compared byte for byte. */
#include "core/serve/cors.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What follows "scheme://", or NULL when that is not how it begins. */
static const char *authority(const char *origin)
{
    const char *p = origin;
    while (isalnum((unsigned char)*p) || *p == '+' || *p == '-' || *p == '.')
        p++;
    return p > origin && !strncmp(p, "://", 3) ? p + 3 : NULL;
}

static bool is_origin(const char *s)
{
    const char *host = authority(s);
    return host && *host && !strpbrk(host, "/?#@\\\"");
}

int cors_open(struct cors *c, const char *list, struct err *e)
{
    *c = (struct cors){ .text = strdup(list) };
    if (!c->text)
        return err_set(e, ERR_NOMEM, "server.cors_origin: no memory for the list");
    char *save = NULL;
    int rc = 0;
    for (char *o = strtok_r(c->text, " ,\t", &save); o && !rc; o = strtok_r(NULL, " ,\t", &save)) {
        if (!strcmp(o, "*"))
            c->any = true;
        else if (!is_origin(o))
            rc = err_set(e, ERR_ARG, "server.cors_origin: \"%.100s\" is no origin, expected * or "
                         "scheme://host[:port] without a path", o);
        else if (c->n == CORS_MAX_ORIGIN)
            rc = err_set(e, ERR_LIMIT, "server.cors_origin: more than %d origins", CORS_MAX_ORIGIN);
        else
            c->origin[c->n++] = o;
    }
    if (rc)
        cors_close(c);
    return rc;
}

void cors_close(struct cors *c)
{
    free(c->text);
    *c = (struct cors){ 0 };
}

bool cors_allows(const struct cors *c, const char *origin)
{
    bool found = c->any;
    for (unsigned i = 0; i < c->n && !found; i++)
        found = !strcmp(c->origin[i], origin);
    return found;
}

bool cors_is_own(const char *origin, const char *host)
{
    const char *from = authority(origin);
    return from && host && !strcasecmp(from, host);
}
