/* fuzz_wcache.c - any bytes as a file of prepared weights.
 *
 * The first byte is ours. Bit 0: the rest is no file but changes to a good one,
 * two bytes of offset and one to be XORed each; bits 1 and 2: the hash of the
 * chunk, and the hash of hashes, are made right afterwards. What is accepted is
 * what the file has; what is refused is gone. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "core/base/log.h"
#include "core/engine/wcache.h"
#include "tests/fuzz/fuzz.h"

/* As wcache.c has the file: storage, slack, hash of the one chunk, the head. */
enum { SIZE = 700, ROOM = 704 + BNP_SLACK, HASH = 8, HEAD = 64, AT_HEAD = ROOM + HASH };
enum { AT_CHUNKS = AT_HEAD + 48, FILE_SIZE = AT_HEAD + HEAD };

static char dir[] = "/tmp/bitnet-fuzz-XXXXXX", path[256];
static uint8_t tensor_bytes[100], storage[SIZE], good[FILE_SIZE];
static struct topo topo;
static struct plug plug;
static struct plug_entry entry;
static bnp_linear_ops linear;
static struct dev dev = { .plugin = &entry, .linear = &linear };
static struct wsrc src = { .rows = 20, .cols = 20 };
static struct sums *sums;
static struct weight weight = {
    .src = &src, .name = "fuzz", .dev = &dev,
    .layout = { .layout_id = 7, .size = SIZE, .align = 64 } };
static struct wcache *cache;

static int adopt(bnp_device *d, const bnp_weight_desc *w, bnp_span s, bnp_weight **out)
{
    (void)d;
    (void)w;
    (void)s;
    (void)out;
    return BNP_E_UNSUPPORTED;
}

static void clean(void)
{
    (void)unlink(path);
    (void)rmdir(dir);
}

static void find_file(void)
{
    DIR *d = opendir(dir);
    require(d != NULL);
    for (struct dirent *f; (f = readdir(d));)
        if (f->d_name[0] != '.')
            snprintf(path, sizeof path, "%s/%.200s", dir, f->d_name);
    closedir(d);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    require(fd >= 0 && read(fd, good, sizeof good) == (ssize_t)sizeof good);
    close(fd);
}

static void not_ours(void *owner)
{
    (void)owner;
}

static void open_tensor(void)
{
    const struct gguf_tensor tensor = {
        .name = { "fuzz", 4 }, .n_dims = 1, .ne = { sizeof tensor_bytes, 1, 1, 1 },
        .size = sizeof tensor_bytes, .gap = sizeof tensor_bytes, .data = tensor_bytes };
    const struct gguf_parts parts = { .name = "fuzz", .tensor = &tensor, .n_tensor = 1,
                                      .file_size = sizeof tensor_bytes, .close = not_ours };
    struct gguf *g;
    struct err e = { 0 };
    require(!gguf_open_parts(&g, &parts, &e));
    src.t = gguf_tensor_at(g, 0);
    require((sums = sums_open(g)) != NULL);
}

/* Keeps a weight, to have a good file and to learn its name. */
static void start(void)
{
    struct err e = { 0 };
    log_setup(LOG_LEVEL_ERROR, false);
    require(mkdtemp(dir) != NULL && !topo_open(&topo, 1, TOPO_BIND_NO, 0, &e));
    require(!workers_open(&plug.workers, &topo, &e));
    dev.info.flags = BNP_DEV_HOST_MEM;
    linear.adopt = adopt;
    for (unsigned i = 0; i < SIZE; i++)
        storage[i] = (uint8_t)(i * 37 + 5);
    open_tensor();
    require(!wcache_open(&cache, &plug, dir, 1 << 20, SIZE, &e));
    wcache_find(cache, sums, &weight, 1);
    require(!weight.found);
    weight.storage = (bnp_span){ storage, 0, SIZE };
    wcache_keep(cache, &weight);
    find_file();
    atexit(clean);
}

/* The file that the input means; its size. */
static size_t make(const uint8_t *data, size_t n, uint8_t *file)
{
    const uint8_t mode = n ? data[0] : 0;
    size_t size = n ? n - 1 : 0;
    if (mode & 1) {
        memcpy(file, good, sizeof good);
        for (size_t i = 1; i + 3 <= n; i += 3)
            file[(data[i] | (size_t)data[i + 1] << 8) % sizeof good] ^= data[i + 2];
        size = sizeof good;
    } else if (size) {
        memcpy(file, data + 1, size);
    }
    if (size != FILE_SIZE)
        return size;
    const XXH64_hash_t chunk = XXH3_64bits(file, SIZE);
    if (mode & 2)
        memcpy(file + ROOM, &chunk, sizeof chunk);
    const XXH128_hash_t all = XXH3_128bits(file + ROOM, HASH);
    if (mode & 4)
        memcpy(file + AT_CHUNKS, &all, sizeof all);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!cache)
        start();
    uint8_t *file = malloc(n + sizeof good);
    if (!file)
        return 0;
    const size_t size = make(data, n, file);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, file, size) == (ssize_t)size);
    close(fd);
    wcache_find(cache, sums, &weight, 1);
    if (weight.found) {
        XXH64_hash_t chunk;
        memcpy(&chunk, file + ROOM, sizeof chunk);
        require(size == FILE_SIZE && !memcmp(file + AT_HEAD, good + AT_HEAD, AT_CHUNKS - AT_HEAD));
        require(weight.storage.base && weight.storage.base == weight.kept.p);
        require(!memcmp(weight.kept.p, file, SIZE) && XXH3_64bits(weight.kept.p, SIZE) == chunk);
        file_unmap(&weight.kept);
        weight.storage = (bnp_span){ 0 };
    } else {
        struct stat st;
        require(size != FILE_SIZE || memcmp(file, good, SIZE) ||
                memcmp(file + ROOM, good + ROOM, FILE_SIZE - ROOM));
        require(lstat(path, &st) != 0);
    }
    free(file);
    return 0;
}
