/* plug_dir.c - a directory in /tmp, one for each test, so that the C library
 * never takes a copy for a library that it has already loaded. */
#include "plug_dir.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"

char plug_dir[64];
const char *plug_dir_fault;

void plug_dir_setup(void)
{
    snprintf(plug_dir, sizeof plug_dir, "/tmp/bitnet-plug-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(plug_dir));
    plug_dir_fault = NULL;
}

void plug_dir_teardown(void)
{
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", plug_dir);
    ck_assert_int_eq(system(cmd), 0);
}

void plug_dir_add(const char *from, const char *file)
{
    char path[256];
    struct file_map m;
    struct file_out o;
    struct err e = { 0 };
    snprintf(path, sizeof path, "%s/%s", plug_dir, file);
    ck_assert_msg(!file_map(&m, from, &e), "%s", e.text);
    ck_assert_msg(!file_out_open(&o, path, &e), "%s", e.text);
    ck_assert_int_eq(file_out_write(&o, m.p, m.n, &e), 0);
    ck_assert_int_eq(file_out_commit(&o, &e), 0);
    ck_assert_int_eq(chmod(path, 0755), 0);
    file_unmap(&m);
}

static const char *option(void *ctx, const char *id, const char *key)
{
    (void)ctx;
    return !strcmp(id, "org.bitnetd.test.faulty") && !strcmp(key, "fault") ? plug_dir_fault : NULL;
}

struct plug_opts plug_dir_opts(void)
{
    return (struct plug_opts){ .dir = plug_dir, .n_threads = 1, .isa_mask = UINT64_MAX,
                               .option = option };
}

struct plug *plug_dir_open(const struct plug_opts *o)
{
    struct plug *plug = NULL;
    struct err e = { 0 };
    const int rc = plug_open(&plug, o, &e);
    ck_assert_msg(rc == 0, "%s", e.text);
    return plug;
}

struct plug_entry *plug_dir_entry(struct plug *plug, const char *file)
{
    for (unsigned i = 0; i < plug->n_entry; i++)
        if (!strcmp(plug->entry[i]->file, file))
            return plug->entry[i];
    ck_abort_msg("no entry for %s", file);
    return NULL;
}

struct dev *plug_dir_dev(struct plug *plug, const char *id)
{
    for (unsigned i = 0; i < plug->n_dev; i++)
        if (!strcmp(plug->dev[i]->plugin->note.raw.id, id))
            return plug->dev[i];
    ck_abort_msg("no device of %s", id);
    return NULL;
}
