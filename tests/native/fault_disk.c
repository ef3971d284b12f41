/* A disk that fails on order: it wraps another one and polices the contract of sp_disk.h. Built as a shared library by
 * tests/kit/disk.py, never part of the product.
 *
 * A fault names an operation, the call that is hit (counted from 1 after the last reset), the errno value, whether the
 * work is done all the same, and whether later calls are hit too. One fault per operation. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sp_disk.h"

enum op {
    OP_OPEN, OP_CLOSE, OP_SIZE, OP_ALLOCATE, OP_TRUNCATE, OP_PREAD, OP_PWRITE, OP_SYNC, OP_SYNC_ALL, OP_MAP, OP_MAP_AT,
    OP_UNMAP, OP_LOCK, OP_RENAME, OP_UNLINK, OP_MKDIR, OP_SYNC_DIR, OP_LIST, OP_TRAITS, OPS
};

static const sp_disk *base;
static struct {
    _Atomic uint64_t calls, nth, delay_ns;
    _Atomic int error, done, forever;
} fault[OPS];
static _Atomic int traits_override = -1;
static _Atomic uint64_t corrupt_pwrite;         /* the call whose bytes lose a bit on the way */

static int hit(enum op op, int *done)
{
    uint64_t call = atomic_fetch_add(&fault[op].calls, 1) + 1;
    uint64_t delay = atomic_load(&fault[op].delay_ns);
    if (delay > 0) {
        struct timespec wait = {.tv_sec = (time_t)(delay / 1000000000u), .tv_nsec = (long)(delay % 1000000000u)};
        nanosleep(&wait, NULL);
    }
    uint64_t nth = atomic_load(&fault[op].nth);
    if (nth == 0 || call < nth || (call > nth && !atomic_load(&fault[op].forever))) {
        return 0;
    }
    *done = atomic_load(&fault[op].done);
    return atomic_load(&fault[op].error);
}

/* An operation that was asked to fail answers so; before that it does its work if the fault says "done". */
#define THROUGH(op, call)                   \
    do {                                    \
        (void)ctx;                          \
        int done = 0;                       \
        int error = hit(op, &done);         \
        if (error != 0) {                   \
            if (done) {                     \
                (void)(call);               \
            }                               \
            return error;                   \
        }                                   \
        return (call);                      \
    } while (0)

/* What gives something out does not do its work when it fails: nobody could give it back. */
#define THROUGH_OUT(op, call)               \
    do {                                    \
        (void)ctx;                          \
        int done = 0;                       \
        int error = hit(op, &done);         \
        return error != 0 ? error : (call); \
    } while (0)

static int f_open(void *ctx, const char *path, uint32_t flags, int *file)
{
    THROUGH_OUT(OP_OPEN, base->open(base->ctx, path, flags, file));
}
static int f_close(void *ctx, int file) { THROUGH_OUT(OP_CLOSE, base->close(base->ctx, file)); }
static int f_size(void *ctx, int file, uint64_t *size) { THROUGH_OUT(OP_SIZE, base->size(base->ctx, file, size)); }
static int f_allocate(void *ctx, int file, uint64_t offset, uint64_t size)
{
    THROUGH(OP_ALLOCATE, base->allocate(base->ctx, file, offset, size));
}
static int f_truncate(void *ctx, int file, uint64_t size) { THROUGH(OP_TRUNCATE, base->truncate(base->ctx, file, size)); }
static int f_pread(void *ctx, int file, void *data, size_t size, uint64_t offset)
{
    THROUGH_OUT(OP_PREAD, base->pread(base->ctx, file, data, size, offset));
}

static int bent_pwrite(int file, const void *data, size_t size, uint64_t offset)
{
    uint64_t nth = atomic_load(&corrupt_pwrite);
    if (nth == 0 || atomic_load(&fault[OP_PWRITE].calls) != nth) {
        return base->pwrite(base->ctx, file, data, size, offset);
    }
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    copy[size / 2] ^= 1;
    int error = base->pwrite(base->ctx, file, copy, size, offset);
    free(copy);
    return error;
}

static int f_pwrite(void *ctx, int file, const void *data, size_t size, uint64_t offset)
{
    THROUGH(OP_PWRITE, bent_pwrite(file, data, size, offset));
}
static int f_sync(void *ctx, int file) { THROUGH(OP_SYNC, base->sync(base->ctx, file)); }
static int f_sync_all(void *ctx, int file) { THROUGH(OP_SYNC_ALL, base->sync_all(base->ctx, file)); }
static int f_map(void *ctx, int file, uint64_t offset, uint64_t size, void **out)
{
    THROUGH_OUT(OP_MAP, base->map(base->ctx, file, offset, size, out));
}
static int f_map_at(void *ctx, int file, uint64_t offset, uint64_t size, void *at)
{
    THROUGH_OUT(OP_MAP_AT, base->map_at(base->ctx, file, offset, size, at));
}
static int f_unmap(void *ctx, void *data, uint64_t size) { THROUGH_OUT(OP_UNMAP, base->unmap(base->ctx, data, size)); }
static void f_cool(void *ctx, int file, void *data, uint64_t offset, uint64_t size)
{
    (void)ctx;
    base->cool(base->ctx, file, data, offset, size);
}
static void f_begin_write(void *ctx, int file, uint64_t offset, uint64_t size)
{
    (void)ctx;
    base->begin_write(base->ctx, file, offset, size);
}
static int f_lock(void *ctx, int file) { THROUGH(OP_LOCK, base->lock(base->ctx, file)); }
static int f_rename(void *ctx, const char *source, const char *target)
{
    THROUGH(OP_RENAME, base->rename(base->ctx, source, target));
}
static int f_unlink(void *ctx, const char *path) { THROUGH(OP_UNLINK, base->unlink(base->ctx, path)); }
static int f_mkdir(void *ctx, const char *path) { THROUGH(OP_MKDIR, base->mkdir(base->ctx, path)); }
static int f_sync_dir(void *ctx, const char *path) { THROUGH(OP_SYNC_DIR, base->sync_dir(base->ctx, path)); }
static int f_list(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg)
{
    THROUGH_OUT(OP_LIST, base->list(base->ctx, path, each, arg));
}
static int f_traits(void *ctx, const char *path, uint32_t *traits)
{
    int wanted = atomic_load(&traits_override);
    if (wanted >= 0) {
        *traits = (uint32_t)wanted;
        return 0;
    }
    THROUGH_OUT(OP_TRAITS, base->traits(base->ctx, path, traits));
}

static const sp_disk FAULTS = {
    .ctx = NULL, .open = f_open, .close = f_close, .size = f_size, .allocate = f_allocate, .truncate = f_truncate,
    .pread = f_pread, .pwrite = f_pwrite, .sync = f_sync, .sync_all = f_sync_all, .map = f_map, .map_at = f_map_at,
    .unmap = f_unmap, .cool = f_cool, .begin_write = f_begin_write, .lock = f_lock, .rename = f_rename,
    .unlink = f_unlink, .mkdir = f_mkdir, .sync_dir = f_sync_dir, .list = f_list, .traits = f_traits,
};

const sp_disk *test_disk(const sp_disk *wrapped)
{
    base = wrapped;
    return &FAULTS;
}

void test_disk_reset(void)
{
    for (int op = 0; op < OPS; op++) {
        atomic_store(&fault[op].nth, 0);
        atomic_store(&fault[op].calls, 0);
        atomic_store(&fault[op].delay_ns, 0);
    }
    atomic_store(&traits_override, -1);
    atomic_store(&corrupt_pwrite, 0);
}

/* nth counts from the calls made so far; 0 takes the fault away. */
void test_disk_fail(int op, uint64_t nth, int error, int done, int forever)
{
    atomic_store(&fault[op].nth, 0);
    atomic_store(&fault[op].error, error);
    atomic_store(&fault[op].done, done);
    atomic_store(&fault[op].forever, forever);
    atomic_store(&fault[op].nth, nth == 0 ? 0 : atomic_load(&fault[op].calls) + nth);
}

void test_disk_delay(int op, uint64_t ns)
{
    atomic_store(&fault[op].delay_ns, ns);
}

uint64_t test_disk_calls(int op)
{
    return atomic_load(&fault[op].calls);
}

void test_disk_traits(int traits)
{
    atomic_store(&traits_override, traits);
}

void test_disk_bend(uint64_t nth)
{
    atomic_store(&corrupt_pwrite, atomic_load(&fault[OP_PWRITE].calls) + nth);
}
