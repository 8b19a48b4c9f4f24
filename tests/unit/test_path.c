/* test_path.c - files beside the executable. */
#include <check.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/path.h"

static void exe_folder(char dir[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
    ck_assert_int_gt(n, 0);
    dir[n] = 0;
    *strrchr(dir, '/') = 0;
}

START_TEST(path_takes_the_first_candidate_that_exists)
{
    const char *const c[] = { "../no-such-folder/x", ".", ".." };
    char dir[PATH_MAX], out[PATH_MAX];
    exe_folder(dir);
    ck_assert_int_eq(path_beside_exe(c, 3, out, sizeof out), 0);
    ck_assert_str_eq(out, dir);
}
END_TEST

START_TEST(path_is_not_relative_to_the_working_directory)
{
    const char *const c[] = { "..", "." };
    char a[PATH_MAX], b[PATH_MAX], cwd[PATH_MAX];
    ck_assert_int_eq(path_beside_exe(c, 2, a, sizeof a), 0);
    ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(path_beside_exe(c, 2, b, sizeof b), 0);
    ck_assert_int_eq(chdir(cwd), 0);
    ck_assert_str_eq(a, b);
}
END_TEST

START_TEST(path_names_the_first_candidate_when_none_exists)
{
    const char *const c[] = { "no-such-file", "nor-this" };
    char dir[PATH_MAX], out[PATH_MAX];
    exe_folder(dir);
    ck_assert_int_eq(path_beside_exe(c, 2, out, sizeof out), ERR_IO);
    ck_assert_int_eq(strncmp(out, dir, strlen(dir)), 0);
    ck_assert_str_eq(out + strlen(dir), "/no-such-file");
}
END_TEST

START_TEST(path_that_does_not_fit_is_an_error)
{
    const char *const c[] = { "." };
    char out[4] = "abc";
    ck_assert_int_eq(path_beside_exe(c, 1, out, sizeof out), ERR_IO);
    ck_assert_str_eq(out, "");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("path");
    TCase *t = tcase_create("path");
    tcase_add_test(t, path_takes_the_first_candidate_that_exists);
    tcase_add_test(t, path_is_not_relative_to_the_working_directory);
    tcase_add_test(t, path_names_the_first_candidate_when_none_exists);
    tcase_add_test(t, path_that_does_not_fit_is_an_error);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
