/* A disk of a few small files in memory, for targets that read and repair logs. Nothing ever fails here, and nothing
 * is lost (tests/native has disks that do both); every change is counted. */
#ifndef RAM_DISK_H
#define RAM_DISK_H

#include "fuzz.h"
#include "sp_disk.h"

#define RAM_FILES 16

struct ram_file {
    char *path;                 /* NULL: no file */
    uint8_t *data;              /* of exactly `size` bytes */
    uint64_t size;
};
static struct {
    struct ram_file file[RAM_FILES];
    unsigned changes;           /* of what stands in files, and of names */
} ram;

static int ram_find(const char *path)
{
    for (int i = 0; i < RAM_FILES; i++) {
        if (ram.file[i].path != NULL && strcmp(ram.file[i].path, path) == 0) {
            return i;
        }
    }
    return -1;
}

static uint8_t *ram_create(const char *path, uint64_t size)
{
    for (int i = 0; i < RAM_FILES; i++) {
        struct ram_file *file = &ram.file[i];
        if (file->path == NULL) {
            *file = (struct ram_file){.path = strdup(path), .data = calloc(1, size), .size = size};
            return file->data;
        }
    }
    abort();
}

static void ram_drop(int number)
{
    free(ram.file[number].path);
    free(ram.file[number].data);
    ram.file[number] = (struct ram_file){.path = NULL};
}

static void ram_clear(void)
{
    for (int i = 0; i < RAM_FILES; i++) {
        ram_drop(i);
    }
    ram.changes = 0;
}

static int ram_resize(int number, uint64_t size)
{
    struct ram_file *file = &ram.file[number];
    uint8_t *data = calloc(1, size);
    memcpy(data, file->data, size < file->size ? size : file->size);
    free(file->data);
    file->data = data;
    file->size = size;
    ram.changes++;
    return 0;
}

static int ram_open(void *ctx, const char *path, uint32_t flags, int *file)
{
    (void)ctx;
    int found = ram_find(path);
    if (found >= 0 && (flags & SP_DISK_EXCLUSIVE) != 0) {
        return EEXIST;
    }
    if (found < 0) {
        if ((flags & SP_DISK_CREATE) == 0) {
            return ENOENT;
        }
        ram_create(path, 0);
        found = ram_find(path);
    }
    *file = found;
    return 0;
}
static int ram_size(void *ctx, int file, uint64_t *size)
{
    (void)ctx;
    *size = ram.file[file].size;
    return 0;
}
static int ram_allocate(void *ctx, int file, uint64_t offset, uint64_t size)
{
    (void)ctx;
    return offset + size > ram.file[file].size ? ram_resize(file, offset + size) : 0;
}
static int ram_truncate(void *ctx, int file, uint64_t size)
{
    (void)ctx;
    return ram_resize(file, size);
}
static int ram_pread(void *ctx, int file, void *data, size_t size, uint64_t offset)
{
    (void)ctx;
    if (offset > ram.file[file].size || size > ram.file[file].size - offset) {
        return EIO;
    }
    memcpy(data, ram.file[file].data + offset, size);
    return 0;
}
static int ram_pwrite(void *ctx, int file, const void *data, size_t size, uint64_t offset)
{
    int error = ram_allocate(ctx, file, offset, size);
    memcpy(ram.file[file].data + offset, data, size);
    ram.changes++;
    return error;
}
static int ram_map(void *ctx, int file, uint64_t offset, uint64_t size, void **out)
{
    (void)ctx;
    MUST(offset + size <= ram.file[file].size);
    *out = ram.file[file].data + offset;
    return 0;
}
static int ram_map_at(void *ctx, int file, uint64_t offset, uint64_t size, void *at)
{
    (void)ctx, (void)file, (void)offset, (void)size, (void)at;
    return ENOTSUP;             /* for trees, which no target keeps on disk */
}
static int ram_rename(void *ctx, const char *source, const char *target)
{
    (void)ctx;
    int from = ram_find(source), to = ram_find(target);
    if (from < 0) {
        return ENOENT;
    }
    if (to >= 0) {
        ram_drop(to);
    }
    free(ram.file[from].path);
    ram.file[from].path = strdup(target);
    ram.changes++;
    return 0;
}
static int ram_unlink(void *ctx, const char *path)
{
    (void)ctx;
    int found = ram_find(path);
    if (found < 0) {
        return ENOENT;
    }
    ram_drop(found);
    ram.changes++;
    return 0;
}
static int ram_list(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg)
{
    (void)ctx;
    size_t size = strlen(path);
    int answer = 0;
    for (int i = 0; answer == 0 && i < RAM_FILES; i++) {
        const char *found = ram.file[i].path;
        if (found != NULL && strncmp(found, path, size) == 0 && found[size] == '/') {
            answer = each(arg, found + size + 1);
        }
    }
    return answer;
}
static int ram_traits(void *ctx, const char *path, uint32_t *traits)
{
    (void)ctx, (void)path;
    *traits = SP_DISK_KEEPS_ROOM;
    return 0;
}
static int ram_file_ok(void *ctx, int file)
{
    (void)ctx, (void)file;
    return 0;
}
static int ram_path_ok(void *ctx, const char *path)
{
    (void)ctx, (void)path;
    return 0;
}
static int ram_unmap(void *ctx, void *data, uint64_t size)
{
    (void)ctx, (void)data, (void)size;
    return 0;
}
static void ram_cool(void *ctx, int file, void *data, uint64_t offset, uint64_t size)
{
    (void)ctx, (void)file, (void)data, (void)offset, (void)size;        /* there is no cache behind this memory */
}
static void ram_begin_write(void *ctx, int file, uint64_t offset, uint64_t size)
{
    (void)ctx, (void)file, (void)offset, (void)size;
}

static const sp_disk RAM_DISK = {
    .open = ram_open, .close = ram_file_ok, .size = ram_size, .allocate = ram_allocate, .truncate = ram_truncate,
    .pread = ram_pread, .pwrite = ram_pwrite, .sync = ram_file_ok, .sync_all = ram_file_ok, .map = ram_map,
    .map_at = ram_map_at, .unmap = ram_unmap, .cool = ram_cool, .begin_write = ram_begin_write, .lock = ram_file_ok,
    .rename = ram_rename, .unlink = ram_unlink, .mkdir = ram_path_ok, .sync_dir = ram_path_ok, .list = ram_list,
    .traits = ram_traits,
};

#endif
