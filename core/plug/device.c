/* device.c - a plugin's devices, one by one, each good or gone.
 *
 * A device is in the registry only after it described itself consistently and
 * gave the known answers. One that fails does not take its siblings along. */
#include "core/plug/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/hostsvc.h"
#include "core/plug/probe.h"

void device_close(struct dev *d)
{
    if (!d)
        return;
    d->plugin->api.device_close(d->d);
    free(d);
}

static int check_info(struct dev *d, struct err *e)
{
    const struct plug_entry *p = d->plugin;
    const bnp_device_ops *ops = d->ops;
    if (!memchr(d->info.name, 0, sizeof d->info.name))
        return err_set(e, ERR_PLUGIN, "%s: device_info: the name has no end within %zu bytes",
                       p->note.raw.id, sizeof d->info.name);
    for (char *c = d->info.name; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
    if (d->info.kind != p->note.raw.device_kind)
        return err_set(e, ERR_PLUGIN, "%s: device_info: device kind %u, its note says %u",
                       p->note.raw.id, d->info.kind, p->note.raw.device_kind);
    if (!(d->info.flags & BNP_DEV_SYNC) && !ops->wait)
        return err_set(e, ERR_PLUGIN, "%s: device.wait is missing (NULL), a device without "
                       "BNP_DEV_SYNC requires it", p->note.raw.id);
    if (!(d->info.flags & BNP_DEV_HOST_MEM) &&
        (!ops->mem_alloc || !ops->mem_free || !ops->copy_in || !ops->copy_out))
        return err_set(e, ERR_PLUGIN, "%s: device.mem_alloc, mem_free, copy_in or copy_out is "
                       "missing (NULL), a device without BNP_DEV_HOST_MEM requires them",
                       p->note.raw.id);
    return 0;
}

/* A kind that a test wants; the plugin's own test first, it is the quicker one. */
static int test_device(struct plug *plug, struct dev *d, struct err *e)
{
    struct plug_entry *p = d->plugin;
    const int rc = p->api.self_test ? p->api.self_test(d->d, BNP_TEST_QUICK) : BNP_OK;
    if (rc && rc != BNP_E_UNSUPPORTED)
        return plug_fail(p, rc, "self_test", e);
    if (!strcmp(p->note.raw.id, PLUG_REF_ID))
        return probe_known_answers(d, NULL, plug->known, e);
    if (!plug->ref)
        return err_set(e, ERR_PLUGIN, "%s: cannot be tested: %s is not usable", p->note.raw.id,
                       PLUG_REF_ID);
    return probe_known_answers(d, plug->ref, plug->known, e);
}

static int open_one(struct plug_entry *p, uint32_t index, struct dev **out, struct err *e)
{
    bnp_device *handle = NULL;
    const int rc = p->api.device_open(&p->host->abi, index, &handle);
    if (rc || !handle)
        return plug_fail(p, rc ? rc : BNP_E_INTERNAL, "device_open", e);
    struct dev *d = calloc(1, sizeof *d);
    if (!d) {
        p->api.device_close(handle);
        return err_set(e, ERR_NOMEM, "%s: no memory for a device", p->note.raw.id);
    }
    d->plugin = p;
    d->d = handle;
    d->index = index;
    d->ops = &p->device;
    d->linear = p->api.linear ? &p->linear : NULL;
    d->attn = p->api.attn ? &p->attn : NULL;
    d->point = p->api.point ? &p->point : NULL;
    d->info.struct_size = sizeof d->info;
    const int info_rc = p->api.device_info(handle, &d->info);
    const int bad = info_rc ? plug_fail(p, info_rc, "device_info", e) : check_info(d, e);
    if (bad) {
        device_close(d);
        return bad;
    }
    *out = d;
    return 0;
}

static int add(struct plug *plug, struct dev *d, struct err *e)
{
    if (!strcmp(d->plugin->note.raw.id, PLUG_REF_ID)) {
        if (plug->ref)
            return err_set(e, ERR_PLUGIN, "%s: more than one device, expected one",
                           d->plugin->note.raw.id);
        plug->ref = d;
        return 0;
    }
    /* One place more than is used now: scalar-ref goes to the end. */
    struct dev **grown = realloc(plug->dev, (plug->n_dev + 2) * sizeof(struct dev *));
    if (!grown)
        return err_set(e, ERR_NOMEM, "%s: no memory for a device", d->plugin->note.raw.id);
    plug->dev = grown;
    plug->dev[plug->n_dev++] = d;
    return 0;
}

/* What cannot be asked cannot be proved: a family that answers none of the
 * known questions is not used. The first device stands for its plugin; others
 * may be variants of it that do one thing only, and nothing is wrong then. */
static void drop_unproved(struct plug_entry *p, struct dev *d)
{
    static const char *const name[3] = { "linear", "attention", "pointwise" };
    uint32_t det[3];
    const void *const table[3] = { d->linear, d->attn, d->point };
    probe_offers(d, det);
    if (!p->n_dev)
        memcpy(p->det, det, sizeof det);
    for (unsigned f = 0; f < 3; f++)
        if (table[f] && !det[f] && !d->index)
            snprintf(p->reason, sizeof p->reason, "its %s family is not used: it answers none of "
                     "the known questions", name[f]);
    d->linear = det[0] ? d->linear : NULL;
    d->attn = det[1] ? d->attn : NULL;
    d->point = det[2] ? d->point : NULL;
}

static int open_and_test(struct plug *plug, struct plug_entry *p, uint32_t index, bool test,
                         struct err *e)
{
    struct dev *d = NULL;
    int rc = open_one(p, index, &d, e);
    if (rc)
        return rc;
    drop_unproved(p, d);
    if (test)
        rc = test_device(plug, d, e);
    if (!rc)
        rc = add(plug, d, e);
    if (rc)
        device_close(d);
    else
        p->n_dev++;
    return rc;
}

int device_open_all(struct plug *plug, struct plug_entry *p, bool test, struct err *e)
{
    uint32_t n = 0;
    const int rc = p->api.device_count(&p->host->abi, &n);
    if (rc)
        return plug_fail(p, rc, "device_count", e);
    if (n > DEVICE_MAX)
        return err_set(e, ERR_PLUGIN, "%s: device_count says %u, at most %u are possible",
                       p->note.raw.id, n, DEVICE_MAX);
    if (!n) {
        char said[256];
        const bool why = p->host->said[0] != 0;         /* a plugin may say, and need not */
        snprintf(p->reason, sizeof p->reason, "no device found on this machine%s%.190s",
                 why ? ": " : "", why ? plug_reported(p, BNP_OK, said) : "");
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct err one = { 0 };
        if (!open_and_test(plug, p, i, test, &one))
            continue;
        if (!p->reason[0])
            snprintf(p->reason, sizeof p->reason, "device %u: %.230s", i, one.text);
        if (!p->n_dev && i == n - 1)
            return err_set(e, one.code, "%s", one.text);
    }
    return 0;
}
