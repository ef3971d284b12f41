/* Stored levels on a disk that fails: does the tree stay what it was, and does it never say that a lost sync was none?
 * The double is the real disk with single functions replaced, each failing when told to. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "sp.h"
#include "sp_disk.h"
#include "sp_merkle.h"

enum { LEAVES = 3000 };

static uint8_t leaves[LEAVES * 32];
static uint64_t room = UINT64_MAX;       /* bytes that a file may have; like ext4, what fits is kept of what does not */
static int allocate_errors, write_errors, map_errors, sync_errors, open_errors;
static uint32_t traits;

static int failing(int *left)
{
    return *left > 0 && (*left)-- > 0;
}

static int double_open(void *ctx, const char *path, uint32_t flags, int *file)
{
    return failing(&open_errors) ? EMFILE : sp_disk_linux()->open(ctx, path, flags, file);
}

static int double_allocate(void *ctx, int file, uint64_t offset, uint64_t size)
{
    if (offset + size > room) {
        EXPECT(offset >= room || sp_disk_linux()->allocate(ctx, file, offset, room - offset) == 0);
        return ENOSPC;
    }
    return failing(&allocate_errors) ? ENOSPC : sp_disk_linux()->allocate(ctx, file, offset, size);
}

static int double_pwrite(void *ctx, int file, const void *data, size_t size, uint64_t offset)
{
    return failing(&write_errors) ? EIO : sp_disk_linux()->pwrite(ctx, file, data, size, offset);
}

static int double_map_at(void *ctx, int file, uint64_t offset, uint64_t size, void *at)
{
    return failing(&map_errors) ? ENOMEM : sp_disk_linux()->map_at(ctx, file, offset, size, at);
}

static int double_sync(void *ctx, int file)
{
    return failing(&sync_errors) ? EIO : sp_disk_linux()->sync(ctx, file);
}

static int double_traits(void *ctx, const char *path, uint32_t *out)
{
    (void)ctx;
    (void)path;
    *out = traits;
    return 0;
}

static sp_disk disk_double(void)
{
    sp_disk disk = *sp_disk_linux();
    disk.open = double_open;
    disk.allocate = double_allocate;
    disk.pwrite = double_pwrite;
    disk.map_at = double_map_at;
    disk.sync = double_sync;
    disk.traits = double_traits;
    traits = SP_DISK_KEEPS_ROOM;
    return disk;
}

static char *fresh(char *path)
{
    strcpy(path, "/tmp/sp-tree-XXXXXX");
    EXPECT(mkdtemp(path) != NULL);
    return path;
}

static int drop(void *arg, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    return sp_disk_linux()->unlink(NULL, path);
}

static void clear(char *path)
{
    EXPECT(sp_disk_linux()->list(NULL, path, drop, path) == 0);
    EXPECT(remove(path) == 0);
}

static int root_is(sp_tree *tree, uint64_t size)
{
    uint8_t stored[32], expected[32];
    EXPECT(sp_tree_root(tree, size, stored) == SP_OK);
    EXPECT(sp_merkle_root(leaves, size, expected) == SP_OK);
    return memcmp(stored, expected, 32) == 0;
}

/* Each step of growing and storing fails once, at the first level and at a later one; nothing is appended, and the next try works. */
static void growing(void)
{
    /* room is asked for twice: for a whole step, and for what is needed */
    static const struct { int *switch_, times, status; } steps[] = {
        {&open_errors, 1, SP_E_SYSTEM}, {&allocate_errors, 2, SP_E_FULL},
        {&write_errors, 1, SP_E_SYSTEM}, {&map_errors, 1, SP_E_SYSTEM},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char path[64];
        sp_disk disk = disk_double();
        sp_tree *tree;
        EXPECT(sp_tree_open(&disk, fresh(path), &tree) == SP_OK);
        for (uint64_t size = 0; size < LEAVES;) {
            uint64_t more = size == 0 ? 1 : size < 2000 ? size : LEAVES - size;
            *steps[i].switch_ = steps[i].times;
            int status = sp_tree_append(tree, leaves + size * 32, more);
            EXPECT(status == steps[i].status || *steps[i].switch_ == steps[i].times);
            if (status != SP_OK) {
                EXPECT(sp_tree_size(tree) == size && root_is(tree, size));
                EXPECT(sp_tree_append(tree, leaves + size * 32, more) == SP_OK);
            }
            *steps[i].switch_ = 0;
            size += more;
            EXPECT(sp_tree_size(tree) == size && root_is(tree, size));
        }
        sp_tree_free(tree);
        clear(path);
    }
}

static uint64_t level_bytes(const char *dir)
{
    char path[128];
    int file;
    uint64_t size;
    snprintf(path, sizeof path, "%s/level-00", dir);
    EXPECT(sp_disk_linux()->open(NULL, path, SP_DISK_READ, &file) == 0);
    EXPECT(sp_disk_linux()->size(NULL, file, &size) == 0 && sp_disk_linux()->close(NULL, file) == 0);
    return size;
}

/* On a disk that is nearly full a level takes what it needs and no whole step; what it cannot use it gives back. */
static void filling(void)
{
    char path[64];
    sp_disk disk = disk_double();
    sp_tree *tree;
    room = 100 << 10;
    EXPECT(sp_tree_open(&disk, fresh(path), &tree) == SP_OK);
    EXPECT(sp_tree_append(tree, leaves, 2000) == SP_OK && level_bytes(path) == 64 << 10);
    EXPECT(sp_tree_append(tree, leaves + 2000 * 32, 1000) == SP_E_FULL && level_bytes(path) == 64 << 10);
    EXPECT(sp_tree_size(tree) == 2000 && root_is(tree, 2000));
    room = 128 << 10;
    EXPECT(sp_tree_append(tree, leaves + 2000 * 32, 1000) == SP_OK && level_bytes(path) == 128 << 10);
    EXPECT(root_is(tree, 3000));
    room = UINT64_MAX;
    sp_tree_free(tree);
    clear(path);
}

/* After one failed sync no later one may say that all is well, though the disk has forgotten the error. */
static void syncing(void)
{
    char path[64];
    sp_disk disk = disk_double();
    sp_tree *tree;
    EXPECT(sp_tree_open(&disk, fresh(path), &tree) == SP_OK);
    EXPECT(sp_tree_append(tree, leaves, 100) == SP_OK);
    EXPECT(sp_tree_sync(tree) == SP_OK);
    EXPECT(sp_tree_append(tree, leaves + 3200, 100) == SP_OK);
    sync_errors = 1;
    EXPECT(sp_tree_sync(tree) == SP_E_FAILED);
    EXPECT(sync_errors == 0 && sp_tree_sync(tree) == SP_E_FAILED);
    EXPECT(root_is(tree, 200));
    sp_tree_free(tree);
    clear(path);
}

/* Where mappings cannot be trusted nothing is mapped: the tree works, and leaves no file. */
static void without_mapped_writes(void)
{
    char path[64];
    sp_disk disk = disk_double();
    sp_tree *tree;
    traits = 0;
    EXPECT(sp_tree_open(&disk, fresh(path), &tree) == SP_OK);
    EXPECT(sp_tree_append(tree, leaves, LEAVES) == SP_OK);
    EXPECT(sp_tree_sync(tree) == SP_OK && root_is(tree, LEAVES));
    sp_tree_free(tree);
    EXPECT(remove(path) == 0);
}

/* What a disk error while adopting leaves behind is an empty tree that can be filled. */
static void adopting(void)
{
    char path[64];
    uint8_t root[32];
    sp_disk disk = disk_double();
    sp_tree *tree;
    EXPECT(sp_tree_open(&disk, fresh(path), &tree) == SP_OK);
    EXPECT(sp_tree_append(tree, leaves, LEAVES) == SP_OK && sp_tree_root(tree, LEAVES, root) == SP_OK);
    sp_tree_free(tree);
    EXPECT(sp_tree_open(&disk, path, &tree) == SP_OK);
    int *switches[] = {&open_errors, &allocate_errors, &map_errors};
    for (size_t i = 0; i < 3; i++) {
        *switches[i] = 1;
        EXPECT(sp_tree_adopt(tree, LEAVES, root) != SP_OK && sp_tree_size(tree) == 0);
    }
    EXPECT(sp_tree_adopt(tree, UINT64_MAX, root) == SP_E_BOUNDS);
    EXPECT(sp_tree_adopt(tree, LEAVES, root) == SP_OK && root_is(tree, 1234));
    EXPECT(sp_tree_adopt(tree, LEAVES, root) == SP_E_ARGUMENT && sp_tree_size(tree) == LEAVES);
    sp_tree_free(tree);
    clear(path);
}

int main(void)
{
    for (size_t i = 0; i < sizeof leaves; i++) {
        leaves[i] = (uint8_t)(i * 251 % 257);
    }
    growing();
    filling();
    syncing();
    without_mapped_writes();
    adopting();
    return check_done();
}
