/* Reserving, growing and mapping of one level: see sp_level.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sp_level.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "sp.h"
#include "sp_bus.h"
#include "sp_check.h"

#define STEP_BYTES (UINT64_C(8) << 20)
#define STEP_BYTES_MIN (UINT64_C(64) << 10)
#define RELEASE_BYTES (UINT64_C(1) << 20)
#define COOL_MIN (UINT64_C(64) << 10)
#define HUGE_BYTES (UINT64_C(2) << 20)
#define HUGE_MIN (UINT64_C(64) << 10)     /* in memory: what begins with less takes its first HUGE_BYTES page by page */

uint32_t sp_level_count(const sp_level_home *home)
{
    return 1 + (home->dir != NULL ? SP_LEVEL_LEAVES_LOG2 : SP_LEVEL_MEMORY_LOG2);
}

/* The same number of leaves at each level, until it is too few hashes to be worth a call. */
static uint64_t step_of(uint64_t leaf_bytes, uint32_t number)
{
    uint64_t step = leaf_bytes >> number;
    return step > STEP_BYTES_MIN ? step : STEP_BYTES_MIN;
}

static int level_reserve(sp_level *level, const sp_level_home *home, uint32_t number)
{
    if (level->base != NULL) {
        return SP_OK;
    }
    uint64_t bytes = UINT64_C(32) << (sp_level_count(home) - 1 - number);
    bytes = bytes > STEP_BYTES_MIN ? bytes : STEP_BYTES_MIN;
    void *base = mmap(NULL, (size_t)bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SP_ENSURE(base != MAP_FAILED, SP_E_MEMORY);
    if (home->dir != NULL) {
        sp_bus_add(base, (size_t)bytes);
    }
    level->base = base;
    level->reserved = bytes;
    return SP_OK;
}

static int level_open(sp_level *level, const sp_level_home *home, uint32_t number, uint32_t flags)
{
    if (level->file >= 0) {
        return SP_OK;
    }
    char path[SP_DISK_PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/level-%02u", home->dir, (unsigned)number);
    SP_ENSURE(size > 0 && (size_t)size < sizeof path, SP_E_BOUNDS);
    return sp_disk_status(home->disk->open(home->disk->ctx, path, SP_DISK_WRITE | flags, &level->file));
}

/* Who makes room and who stores into room made before may be two threads. */
static uint64_t mapped_bytes(const sp_level *level)
{
    return __atomic_load_n(&level->mapped, __ATOMIC_ACQUIRE);
}

static void set_mapped(sp_level *level, uint64_t bytes)
{
    __atomic_store_n(&level->mapped, bytes, __ATOMIC_RELEASE);
}

/* From the end of what is mapped to `bytes`: allocated and mapped. */
static int extend(sp_level *level, const sp_level_home *home, uint64_t bytes)
{
    const sp_disk *disk = home->disk;
    uint64_t from = level->mapped;
    SP_TRY(sp_disk_status(disk->allocate(disk->ctx, level->file, from, bytes - from)));
    SP_TRY(sp_disk_status(disk->map_at(disk->ctx, level->file, from, bytes - from, level->base + from)));
    set_mapped(level, bytes);
    return SP_OK;
}

/* ext4 keeps what it could allocate of a request that fails: given back, so that a full disk is not filled by us. */
static int grow_file(sp_level *level, const sp_level_home *home, uint64_t bytes)
{
    int status = extend(level, home, bytes);
    if (status != SP_OK) {
        int error = errno;
        home->disk->truncate(home->disk->ctx, level->file, level->mapped);
        errno = error;
    }
    return status;
}

static uint64_t in_steps(const sp_level *level, uint64_t hashes, uint64_t step)
{
    uint64_t bytes = (hashes * 32 + step - 1) / step * step;
    return bytes < level->reserved ? bytes : level->reserved;
}

/* Memory is taken by the stores, not here: a step can be large enough for huge pages at every level. A page fault costs as
 * much as forty hashes, so a level that is large, or begins so, takes those; where there are none it is as good. */
static int grow_memory(sp_level *level, uint64_t hashes)
{
    uint64_t bytes = in_steps(level, hashes, STEP_BYTES);
    uint64_t small = level->mapped > 0 || hashes * 32 < HUGE_MIN ? HUGE_BYTES : 0;
    SP_ENSURE(mprotect(level->base, (size_t)bytes, PROT_READ | PROT_WRITE) == 0, SP_E_MEMORY);
    if (bytes > small) {
        (void)madvise(level->base + small, (size_t)(bytes - small), MADV_HUGEPAGE);
    }
    set_mapped(level, bytes);
    return SP_OK;
}

int sp_level_grow(sp_level *level, const sp_level_home *home, uint32_t number, uint64_t hashes)
{
    SP_TRY(level_reserve(level, home, number));
    SP_ENSURE(hashes <= level->reserved / 32, SP_E_BOUNDS);
    if (hashes * 32 <= mapped_bytes(level)) {
        return SP_OK;
    }
    if (home->dir == NULL) {
        return grow_memory(level, hashes);
    }
    SP_TRY(level_open(level, home, number, SP_DISK_CREATE));
    int status = grow_file(level, home, in_steps(level, hashes, step_of(STEP_BYTES, number)));
    return status == SP_E_FULL ? grow_file(level, home, in_steps(level, hashes, STEP_BYTES_MIN)) : status;
}

int sp_level_load(sp_level *level, const sp_level_home *home, uint32_t number, uint64_t hashes)
{
    SP_ENSURE(home->dir != NULL, SP_E_MISMATCH);
    SP_TRY(level_reserve(level, home, number));
    SP_ENSURE(hashes <= level->reserved / 32, SP_E_BOUNDS);
    if (hashes * 32 <= mapped_bytes(level)) {
        return SP_OK;
    }
    const sp_disk *disk = home->disk;
    SP_TRY(level_open(level, home, number, 0));
    uint64_t size;
    SP_TRY(sp_disk_status(disk->size(disk->ctx, level->file, &size)));
    uint64_t bytes = size / SP_DISK_PAGE * SP_DISK_PAGE;
    bytes = bytes < level->reserved ? bytes : level->reserved;
    SP_ENSURE(bytes >= hashes * 32 && bytes > level->mapped, SP_E_MISMATCH);
    /* A restored copy may have holes; a store into one could meet ENOSPC. Where all is there this changes nothing. */
    SP_TRY(sp_disk_status(disk->allocate(disk->ctx, level->file, 0, bytes)));
    SP_TRY(sp_disk_status(disk->map_at(disk->ctx, level->file, 0, bytes, level->base)));
    set_mapped(level, bytes);
    return SP_OK;
}

uint8_t *sp_level_place(const sp_level *level, const sp_level_home *home, uint64_t first)
{
    return home->dir == NULL ? level->base + first * 32 : NULL;
}

int sp_level_store(sp_level *level, const sp_level_home *home, uint64_t first, const uint8_t *hashes, uint64_t count)
{
    uint64_t room = mapped_bytes(level) / 32;
    sp_bug_if(first > room || count > room - first);
    if (home->dir == NULL) {
        if (hashes != level->base + first * 32) {
            memcpy(level->base + first * 32, hashes, (size_t)count * 32);
        }
        return SP_OK;
    }
    return sp_disk_status(home->disk->pwrite(home->disk->ctx, level->file, hashes, (size_t)count * 32, first * 32));
}

int sp_level_sync(sp_level *level, const sp_level_home *home)
{
    return level->file < 0 ? SP_OK : sp_disk_status(home->disk->sync(home->disk->ctx, level->file));
}

void sp_level_release(sp_level *level, const sp_level_home *home, uint32_t number, uint64_t hashes)
{
    uint64_t step = step_of(RELEASE_BYTES, number), bytes = hashes * 32;
    if (home->dir == NULL || bytes < level->released + 2 * step) {
        return;
    }
    uint64_t to = bytes / step * step - step;
    home->disk->cool(home->disk->ctx, -1, level->base + level->released, level->released, to - level->released);
    level->released = to;
}

void sp_level_cool(const sp_level *level, const sp_level_home *home, uint64_t from, uint64_t to)
{
    if (home->dir == NULL || (to - from) * 32 < COOL_MIN) {
        return;
    }
    /* Down to a step: what the kernel caches as one piece across the last call's end goes with this one. */
    uint64_t begin = from * 32 / STEP_BYTES * STEP_BYTES, end = to * 32 / SP_DISK_PAGE * SP_DISK_PAGE;
    home->disk->cool(home->disk->ctx, level->file, level->base + begin, begin, end - begin);
}

void sp_level_close(sp_level *level, const sp_level_home *home)
{
    if (level->base != NULL) {
        if (home->dir != NULL) {
            sp_bus_remove(level->base);
        }
        munmap(level->base, (size_t)level->reserved);
    }
    if (level->file >= 0) {
        home->disk->close(home->disk->ctx, level->file);
    }
    *level = (sp_level){.file = -1};
}
