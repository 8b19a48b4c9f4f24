/* bitnet-plugins_list.c - what is in the plugin directory, and what is wrong
 * with it: the directory as bitnetd opens it, every file that was found. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/isa.h"
#include "core/plug/timings.h"
#include "tools/bitnet-plugins.h"

static const char *kind_name(uint32_t kind)
{
    static const char *const name[] = { "-", "cpu", "gpu", "other" };
    return kind < sizeof name / sizeof name[0] ? name[kind] : "unknown";
}

/* Lines of cells; every column but the last as wide as its widest cell. */
enum { COL_FILE, COL_ID, COL_VERSION, COL_ABI, COL_KIND, COL_FAMILIES, COL_STATE, N_COL };

struct line {
    char cell[N_COL][512];
};

static void fill_families(const struct plug_entry *p, char *out, size_t n)
{
    size_t at = 0;
    out[0] = 0;
    for (enum route_family f = ROUTE_LINEAR; f < ROUTE_N_FAMILY && p->has_note; f++) {
        if (!(p->note.raw.families >> f & 1))
            continue;
        const char *det = p->det[f] ? plug_det_name(p->det[f]) : NULL;
        const int len = snprintf(out + at, n - at, "%s%s%s%s", at ? " " : "", route_family_name(f),
                                 det ? "=" : "", det ? det : "");
        at += len > 0 && (size_t)len < n - at ? (size_t)len : 0;
    }
    if (!at)
        snprintf(out, n, "-");
}

static void fill_line(const struct plug_entry *p, struct line *l)
{
    const struct bnp_note *n = &p->note.raw;
    snprintf(l->cell[COL_FILE], sizeof l->cell[0], "%s", p->file);
    snprintf(l->cell[COL_ID], sizeof l->cell[0], "%s", p->has_note ? n->id : "-");
    snprintf(l->cell[COL_VERSION], sizeof l->cell[0], "%s", p->has_note ? n->version : "-");
    if (p->has_note)
        snprintf(l->cell[COL_ABI], sizeof l->cell[0], "%u.%u", n->abi_major, n->abi_minor);
    else
        snprintf(l->cell[COL_ABI], sizeof l->cell[0], "-");
    snprintf(l->cell[COL_KIND], sizeof l->cell[0], "%s", kind_name(n->device_kind));
    fill_families(p, l->cell[COL_FAMILIES], sizeof l->cell[0]);
    snprintf(l->cell[COL_STATE], sizeof l->cell[0], "%s%s%s", plug_state_name(p->state),
             p->reason[0] ? ": " : "", p->reason);
}

static void print_lines(const struct line *l, unsigned n)
{
    int width[N_COL] = { 0 };
    for (unsigned i = 0; i < n; i++)
        for (int c = 0; c < N_COL; c++)
            if ((int)strlen(l[i].cell[c]) > width[c])
                width[c] = (int)strlen(l[i].cell[c]);
    for (unsigned i = 0; i < n; i++) {
        for (int c = 0; c < N_COL - 1; c++)
            printf("%-*s  ", width[c], l[i].cell[c]);
        printf("%s\n", l[i].cell[N_COL - 1]);
    }
}

static int print_table(const struct plug *plug, const char *dir)
{
    static const struct line head = { { "FILE", "ID", "VERSION", "ABI", "KIND",
                                        "FAMILIES", "STATE" } };
    char isa[128];
    struct line *l = calloc((size_t)plug->n_entry + 1, sizeof *l);
    if (!l)
        return ERR_NOMEM;
    isa_format(plug->topo.abi.isa, isa, sizeof isa);
    printf("%s, on %s (%s), %u worker%s\n", dir, plug->topo.cpu_name, isa,
           plug->topo.abi.n_workers, plug->topo.abi.n_workers == 1 ? "" : "s");
    l[0] = head;
    for (unsigned i = 0; i < plug->n_entry; i++)
        fill_line(plug->entry[i], &l[i + 1]);
    print_lines(l, plug->n_entry + 1);
    free(l);
    return 0;
}

json_t *isa_json(uint64_t mask)
{
    json_t *list = json_array();
    char tmp[16];
    for (unsigned bit = 0; bit < 64; bit++)
        if (mask >> bit & 1)
            json_array_append_new(list, json_string(isa_name(bit, tmp)));
    return list;
}

static json_t *devices_json(const struct plug *plug, const struct plug_entry *p)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < plug->n_dev; i++) {
        const struct dev *d = plug->dev[i];
        if (d->plugin != p)
            continue;
        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:b, s:b, s:I, s:I, s:I}",
            "index", (int)d->index, "name", d->info.name, "kind", kind_name(d->info.kind),
            "host_memory", (d->info.flags & BNP_DEV_HOST_MEM) != 0,
            "synchronous", (d->info.flags & BNP_DEV_SYNC) != 0,
            "memory_bytes", (json_int_t)d->info.mem_size,
            "pci_domain", (json_int_t)d->info.pci_domain, "pci_bdf", (json_int_t)d->info.pci_bdf));
    }
    return list;
}

static json_t *families_json(const struct plug_entry *p)
{
    json_t *o = json_object();
    for (enum route_family f = ROUTE_LINEAR; f < ROUTE_N_FAMILY; f++)
        if (p->note.raw.families >> f & 1)
            json_object_set_new(o, route_family_name(f),
                                p->det[f] ? json_string(plug_det_name(p->det[f])) : json_null());
    return o;
}

json_t *text_json(const char *s)
{
    json_t *t = json_string(s);
    return t ? t : json_string("(not UTF-8)");
}

static json_t *entry_json(const struct plug *plug, const struct plug_entry *p)
{
    json_t *o = json_object();
    json_object_set_new(o, "file", text_json(p->file));
    json_object_set_new(o, "path", text_json(p->path));
    json_object_set_new(o, "state", json_string(plug_state_name(p->state)));
    json_object_set_new(o, "reason", p->reason[0] ? text_json(p->reason) : json_null());
    if (!p->has_note)
        return o;
    const struct bnp_note *n = &p->note.raw;
    json_object_set_new(o, "id", json_string(n->id));
    json_object_set_new(o, "version", json_string(n->version));
    json_object_set_new(o, "abi", json_pack("{s:i, s:i, s:i}", "major", n->abi_major, "minor",
                                            n->abi_minor, "min_host_minor", n->min_host_minor));
    json_object_set_new(o, "kind", json_string(kind_name(n->device_kind)));
    json_object_set_new(o, "families", families_json(p));
    json_object_set_new(o, "isa_required", isa_json(p->note.isa));
    json_object_set_new(o, "build", p->api.build ? text_json(p->api.build) : json_null());
    json_object_set_new(o, "devices", devices_json(plug, p));
    return o;
}

static int print_json(const struct plug *plug, const char *dir)
{
    json_t *list = json_array(), *root = json_object();
    for (unsigned i = 0; i < plug->n_entry; i++)
        json_array_append_new(list, entry_json(plug, plug->entry[i]));
    json_object_set_new(root, "directory", text_json(dir));
    json_object_set_new(root, "abi", json_pack("{s:i, s:i}", "major", BNP_ABI_MAJOR, "minor",
                                               BNP_ABI_MINOR));
    json_object_set_new(root, "cpu", text_json(plug->topo.cpu_name));
    json_object_set_new(root, "isa", isa_json(plug->topo.abi.isa));
    json_object_set_new(root, "workers", json_integer((json_int_t)plug->topo.abi.n_workers));
    json_object_set_new(root, "reference_usable", json_boolean(plug->ref != NULL));
    json_object_set_new(root, "plugins", list);
    const int rc = json_dumpf(root, stdout, JSON_INDENT(2)) ? ERR_NOMEM : 0;
    json_decref(root);
    printf("\n");
    return rc;
}

/* Marks what bitnetd would use, by choosing for the layers of a usual model
 * (2560 wide, 20 heads on 5 of 128). Without a candidate nothing is marked. */
static void mark_active(struct plug *plug, const struct conf *conf)
{
    char timings[PATH_MAX];
    const struct route_opts ro = { .min_det = conf->determinism, .strict = conf->strict,
                                   .pin_linear = conf->pin_linear, .pin_attn = conf->pin_attn,
                                   .pin_point = conf->pin_point,
                                   .timings = timings_path(conf->timings, timings) };
    const bnp_weight_desc w = { .struct_size = sizeof w, .format = BNP_FMT_T2,
                                .scale_kind = BNP_SCALE_TENSOR, .flags = BNP_W_MUL, .rows = 2560,
                                .cols = 2560, .max_tok = 64 };
    const bnp_attn_desc a = { .struct_size = sizeof a, .n_head = 20, .n_head_kv = 5,
                              .head_dim = 128, .page_tok = 32, .kv_format = BNP_KV_F16,
                              .max_kv = 128, .max_tok = 64, .scale = 0.08838835f };
    const bnp_point_desc p = { .struct_size = sizeof p, .cols = 6912, .max_tok = 64,
                               .ops = BNP_POINT_RMSNORM | BNP_POINT_ROPE | BNP_POINT_RELU2 |
                                      BNP_POINT_ADD | BNP_POINT_PICK };
    struct route *route;
    if (route_open(&route, plug, &ro, NULL))
        return;
    if (!route_want_linear(route, -1, &w, NULL) && !route_want_attn(route, -1, &a, NULL) &&
        !route_want_point(route, -1, &p, NULL))
        (void)route_decide(route, NULL);
    route_settle(route);
    route_close(route);
}

int plugins_list(const struct args *a)
{
    struct conf conf;
    struct plug_opts o;
    struct err e = { 0 };
    struct plug *plug = NULL;
    int rc = plugins_conf(a, &conf, &o, &e);
    o.no_test = a->fast;
    if (rc || (rc = plug_open(&plug, &o, &e))) {
        conf_free(&conf);
        return complain(&e);
    }
    if (!a->fast)
        mark_active(plug, &conf);
    rc = close_output(a->json ? print_json(plug, o.dir) : print_table(plug, o.dir));
    const bool ref = plug->ref != NULL;
    plug_close(plug);
    if (!rc && !ref)
        fprintf(stderr, "bitnet-plugins: %s: no usable %s here: bitnetd will not start without "
                "it\n", o.dir, PLUG_REF_ID);
    conf_free(&conf);
    return rc ? rc : !ref;
}
