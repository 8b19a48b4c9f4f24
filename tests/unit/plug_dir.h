/* plug_dir.h - a plugin directory of a test's own, filled with copies. */
#ifndef TESTS_UNIT_PLUG_DIR_H
#define TESTS_UNIT_PLUG_DIR_H

#include "core/plug/plug.h"

/* Built plugins, as plug_dir_add takes them. */
#define PLUG_DIR_REF         TEST_PLUGIN_DIR "/scalar-ref.so"
#define PLUG_DIR_TEST(name)  TEST_BUILD_DIR "/tests/plugins/" name "/" name ".so"

extern char plug_dir[64];            /* valid between setup and teardown         */
extern const char *plug_dir_fault;   /* option "fault" of the faulty plugin, or NULL */

void plug_dir_setup(void);
void plug_dir_teardown(void);
/* Copies a file into plug_dir as `file`, mode 0755. */
void plug_dir_add(const char *from, const char *file);
/* Opens plug_dir with the usual options: one worker, no binding. */
struct plug_opts plug_dir_opts(void);
struct plug *plug_dir_open(const struct plug_opts *);
struct plug_entry *plug_dir_entry(struct plug *, const char *file);
struct dev *plug_dir_dev(struct plug *, const char *id);      /* fails without one */

#endif
