/* Stored nodes to compare with: see sp_nodes.h. */
#include "sp_nodes.h"

#include <stdio.h>
#include <string.h>

int sp_nodes_init(sp_nodes *nodes, const sp_disk *disk, const char *dir)
{
    SP_ENSURE(strlen(dir) < sizeof nodes->dir, SP_E_BOUNDS);
    memset(nodes, 0, sizeof *nodes);
    nodes->disk = disk;
    memcpy(nodes->dir, dir, strlen(dir) + 1);
    return SP_OK;
}

static void unmap(sp_nodes *nodes, uint32_t level)
{
    if (nodes->level[level].data != NULL) {
        nodes->disk->unmap(nodes->disk->ctx, nodes->level[level].data, nodes->level[level].size);
        nodes->level[level].data = NULL;
        nodes->level[level].size = 0;
    }
}

static int map_again(sp_nodes *nodes, uint32_t level)
{
    const sp_disk *disk = nodes->disk;
    char path[SP_DISK_PATH_MAX + 16];
    int file;
    unmap(nodes, level);
    snprintf(path, sizeof path, "%s/level-%02u", nodes->dir, (unsigned)level);
    SP_TRY(sp_disk_status(disk->open(disk->ctx, path, SP_DISK_READ, &file)));
    uint64_t size = 0;
    void *data = NULL;
    int error = disk->size(disk->ctx, file, &size);
    if (error == 0 && size > 0) {
        error = disk->map(disk->ctx, file, 0, size, &data);
    }
    disk->close(disk->ctx, file);
    SP_TRY(sp_disk_status(error));
    nodes->level[level].data = data;
    nodes->level[level].size = data == NULL ? 0 : size;
    return SP_OK;
}

/* The stored row, or NULL where the file does not hold it. */
static const uint8_t *stored_row(sp_nodes *nodes, uint32_t level, uint64_t first, uint64_t count)
{
    if (level >= SP_LEVEL_COUNT) {
        return NULL;
    }
    if (nodes->level[level].size / 32 < first + count && map_again(nodes, level) != SP_OK) {
        return NULL;
    }
    return nodes->level[level].size / 32 < first + count ? NULL : (const uint8_t *)nodes->level[level].data + first * 32;
}

void sp_nodes_compare(void *arg, uint32_t level, uint64_t first, const uint8_t *hashes, uint64_t count)
{
    sp_nodes *nodes = arg;
    if (nodes->differ) {
        return;
    }
    const uint8_t *row = stored_row(nodes, level, first, count);
    if (row != NULL && memcmp(row, hashes, (size_t)count * 32) == 0) {
        return;
    }
    uint64_t at = 0;
    while (row != NULL && at + 1 < count && memcmp(row + at * 32, hashes + at * 32, 32) == 0) {
        at++;
    }
    nodes->differ = 1;
    nodes->bad_level = level;
    nodes->bad_index = first + at;
}

void sp_nodes_close(sp_nodes *nodes)
{
    for (uint32_t level = 0; level < SP_LEVEL_COUNT; level++) {
        unmap(nodes, level);
    }
}
