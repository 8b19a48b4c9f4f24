/* replay.c - runs a fuzz target over kept inputs, without a fuzzer.
 *
 *   fuzz_X FILE-OR-FOLDER...
 *
 * A folder stands for the files in it; one that is missing holds none. There
 * must be at least one input in all, or nothing was tested. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static unsigned n_run;

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) || st.st_size < 0) {
        perror(path);
        if (f)
            fclose(f);
        return 1;
    }
    /* Exactly the input's size, so that one byte too far is seen. */
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    int status = !data || fread(data, 1, size, f) != size;
    fclose(f);
    if (status) {
        fprintf(stderr, "%s: cannot read it\n", path);
    } else {
        (void)LLVMFuzzerTestOneInput(data, size);
        n_run++;
    }
    free(data);
    return status;
}

static int run_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    int status = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        char file[4096];
        int n = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && n > 0 && (size_t)n < sizeof file)
            status |= run_file(file);
    }
    closedir(dir);
    return status;
}

int main(int argc, char **argv)
{
    int status = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) || S_ISDIR(st.st_mode))
            status |= run_folder(argv[i]);
        else
            status |= run_file(argv[i]);
    }
    printf("%u inputs\n", n_run);
    return status || n_run == 0;
}
