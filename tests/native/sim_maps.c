/* Mappings and locks of the simulated disk: see sim_disk.h. */
#include "sim_store.h"

#include <string.h>

static void watch_stores(sim_inode *inode)
{
    if (inode->shadow == NULL) {
        inode->shadow = sim_blob_zeros();
        memcpy(sim_blob_own(&inode->shadow, inode->cache->capacity), inode->cache->data, inode->cache->capacity);
    }
}

int sim_do_map(void *ctx, int number, uint64_t offset, uint64_t size, void **out)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_MAP, &done);
    const sim_file *file = sim_file_of(disk, number);
    sim_inode *inode = &disk->inode[file->inode];
    if (offset % SP_DISK_PAGE != 0 || size == 0 || offset + size > inode->size) {
        sim_stop("a mapping that is misaligned, empty or behind the end", "");
    }
    if (error == 0) {
        int slot = 0;
        while (slot < SIM_MAPS && disk->map[slot].used) {
            slot++;
        }
        if (slot == SIM_MAPS) {
            sim_stop("too many mappings", "");
        }
        if (file->writable) {
            (void)sim_blob_own(&inode->cache, inode->size);     /* written in place: the mapping shows it */
        }
        if (file->writable && disk->hook != NULL) {
            watch_stores(inode);
        }
        inode->maps++;
        disk->map[slot] = (sim_map){.used = 1, .inode = file->inode, .size = size, .base = inode->cache->data + offset};
        *out = disk->map[slot].base;
    }
    return sim_end(disk, error);
}

int sim_do_map_at(void *ctx, int number, uint64_t offset, uint64_t size, void *at)
{
    (void)ctx, (void)number, (void)offset, (void)size, (void)at;
    sim_stop("map_at", "trees on a simulated disk are not modelled: give them memory");
}

void sim_drop_map(sim_disk *disk, sim_map *map)
{
    sim_inode *inode = &disk->inode[map->inode];
    map->used = 0;
    inode->maps--;
    if (inode->maps == 0 && inode->shadow != NULL) {
        sim_blob_drop(inode->shadow);
        inode->shadow = NULL;
    }
}

int sim_do_unmap(void *ctx, void *data, uint64_t size)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_UNMAP, &done);
    for (int i = 0; i < SIM_MAPS; i++) {
        sim_map *map = &disk->map[i];
        if (map->used && map->base == data && map->size == size) {
            if (done) {
                sim_drop_map(disk, map);
            }
            return sim_end(disk, error);
        }
    }
    sim_stop("an unmap of what is not mapped", "");
}

/* Nothing that is modelled changes; but on a real disk what lies beside the mapping would be lost. */
void sim_do_cool(void *ctx, int number, void *data, uint64_t offset, uint64_t size)
{
    sim_disk *disk = ctx;
    if (number >= 0) {
        (void)sim_file_of(disk, number);
    }
    if (offset % SP_DISK_PAGE != 0 || (data == NULL && number < 0)) {
        sim_stop("a cool that is misaligned, or of nothing", "");
    }
    int inside = data == NULL;
    for (int i = 0; i < SIM_MAPS && !inside; i++) {
        const sim_map *map = &disk->map[i];
        inside = map->used && offset + size <= map->size && (uint8_t *)data == map->base + offset;
    }
    if (!inside) {
        sim_stop("a cool of what is not mapped", "");
    }
}

/* What has begun may be on the disk or not: as any write that was not synced. */
void sim_do_begin_write(void *ctx, int number, uint64_t offset, uint64_t size)
{
    sim_disk *disk = ctx;
    const sim_file *file = sim_file_writable(disk, number);
    if (size == 0 || offset + size > disk->inode[file->inode].size) {
        sim_stop("a write begun that is empty or behind the end", "");
    }
}

int sim_do_lock(void *ctx, int number)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_LOCK, &done);
    sim_inode *inode = &disk->inode[sim_file_of(disk, number)->inode];
    if (error == 0 && inode->locked != 0 && inode->locked != number) {
        error = EWOULDBLOCK;
    }
    if (error == 0) {
        inode->locked = number;
    }
    return sim_end(disk, error);
}

