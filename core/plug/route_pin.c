/* route_pin.c - pins: who must do it, whatever the stopwatch says.
 *
 * A pin of layers stands above a pin of a family. A pin whose devices were all
 * lost while serving has nobody left to mean, and binds no more; in strict mode
 * what was asked for is done or nothing is. */
#include <stdio.h>
#include <string.h>

#include "core/plug/route_parts.h"

#define MAX_LAYER 65535           /* more than any model has                   */
#define ITEM_FORM "expected FIRST-LAST:ID or LAYER:ID, as in 0-14:org.bitnetd.opencl#0"

/* "org.x", or one device of it, "org.x#1". */
bool route_pin_is(const struct dev *d, const char *pin)
{
    char numbered[80];
    const char *id = d->plugin->note.raw.id;
    snprintf(numbered, sizeof numbered, "%s#%u", id, d->index);
    return !strcmp(pin, id) || !strcmp(pin, numbered);
}

static bool is_void(const struct route *r, const struct question *q, const char *pin)
{
    if (!q->lost || r->opts.strict)
        return false;
    for (unsigned i = 0; i < r->plug->n_dev; i++)
        if (route_pin_is(r->plug->dev[i], pin) && !r->plug->dev[i]->disabled)
            return false;
    return true;
}

const char *route_pin_of(const struct route *r, const struct question *q)
{
    const char *const pin[2] = { q->group->pin, r->pin[q->q.family] };
    for (unsigned i = 0; i < 2; i++)
        if (pin[i] && !is_void(r, q, pin[i]))
            return pin[i];
    return NULL;
}

struct group *route_pin_group(struct route *r, int32_t layer)
{
    for (const struct layers *l = r->layers; l; l = l->next)
        if (layer >= l->first && layer <= l->last)
            return l->group;
    return &r->general;
}

/* ------------------------------------------------------------------ the list */

static int bad_item(struct err *e, const char *item, const char *what)
{
    return err_set(e, ERR_ARG, "plugins.layers: \"%.90s\": %s, " ITEM_FORM, item, what);
}

/* Digits, up to MAX_LAYER; NULL: none, or too many. */
static const char *number(const char *p, int32_t *out)
{
    int32_t v = 0;
    const char *start = p;
    for (; *p >= '0' && *p <= '9' && v <= MAX_LAYER; p++)
        v = 10 * v + (*p - '0');
    *out = v;
    return p > start && v <= MAX_LAYER ? p : NULL;
}

/* "org.x" or "org.x#1": what a note may have as an id, and a number. */
static bool is_id(const char *p)
{
    const size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789.-");
    int32_t index;
    if (!n || n >= sizeof ((struct bnp_note *)NULL)->id)
        return false;
    if (!p[n])
        return true;
    const char *end = p[n] == '#' ? number(p + n + 1, &index) : NULL;
    return end && !*end;
}

static struct group *group_of(struct route *r, const char *pin)
{
    struct group *g = &r->general;
    while (g->next && strcmp(g->next->pin, pin))
        g = g->next;
    if (g->next)
        return g->next;
    g->next = arena_alloc(&r->arena, 1, sizeof *g);
    if (g->next)
        g->next->pin = pin;
    return g->next;
}

static int add_item(struct route *r, const char *item, struct err *e)
{
    struct layers *l = arena_alloc(&r->arena, 1, sizeof *l);
    if (!l || !item)
        return err_set(e, ERR_NOMEM, "route: no memory for the pins of layers");
    l->text = item;
    const char *p = number(item, &l->first);
    l->last = l->first;
    if (p && *p == '-')
        p = number(p + 1, &l->last);
    if (!p || *p != ':')
        return bad_item(e, item, "it does not begin with layers and a colon");
    if (l->first > l->last)
        return bad_item(e, item, "its last layer comes before its first");
    if (!is_id(p + 1))
        return bad_item(e, item, "no plugin's id after the colon");
    for (const struct layers *o = r->layers; o; o = o->next)
        if (l->first <= o->last && o->first <= l->last)
            return err_set(e, ERR_ARG, "plugins.layers: \"%.90s\": shares layers with \"%.90s\", "
                           "expected each layer once", item, o->text);
    l->group = group_of(r, p + 1);
    if (!l->group)
        return err_set(e, ERR_NOMEM, "route: no memory for the pins of layers");
    l->next = r->layers;
    r->layers = l;
    return 0;
}

int route_pin_layers(struct route *r, const char *text, struct err *e)
{
    static const char space[] = " \t";
    int rc = 0;
    for (const char *p = text + strspn(text, space); *p && !rc; p += strspn(p, space)) {
        const size_t n = strcspn(p, space);
        rc = add_item(r, arena_strndup(&r->arena, p, n), e);
        p += n;
    }
    return rc;
}

static int no_device(const struct route *r, const struct layers *l, struct err *e)
{
    char list[400] = "";
    for (unsigned i = 0; i < r->plug->n_dev; i++) {
        const struct dev *d = r->plug->dev[i];
        const size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s#%u", n ? ", " : "", d->plugin->note.raw.id,
                 d->index);
    }
    return err_set(e, ERR_PLUGIN, "plugins.layers: \"%.90s\": there is no such device, expected "
                   "one of %s", l->text, list[0] ? list : "some, but there is none");
}

int route_pin_check(const struct route *r, struct err *e)
{
    for (const struct layers *l = r->layers; l; l = l->next) {
        unsigned i = 0;
        while (i < r->plug->n_dev && !route_pin_is(r->plug->dev[i], l->group->pin))
            i++;
        if (i == r->plug->n_dev)
            return no_device(r, l, e);
        if (r->last_layer >= 0 && l->last > r->last_layer)
            return err_set(e, ERR_ARG, "plugins.layers: \"%.90s\": there is no layer %d, expected "
                           "0 to %d", l->text, (int)l->last, (int)r->last_layer);
    }
    return 0;
}
