/* Appending to and reading from the stored levels: see sp_tree.h. */
#include "sp_tree.h"

#include <stdlib.h>
#include <string.h>

#include "sp_merkle.h"
#include "sp_sha256.h"

/* Leaves that go through all levels together: their hashes stay in the second-level cache. The nodes that they complete
 * are fewer, but for one more at each level above the chunk's own. */
enum { CHUNK = 8192, SCRATCH = (CHUNK + SP_LEVEL_COUNT) * 32 };

/* A commit's sync waits for what the disk was given before it: for one or two of these, not for megabytes. */
#define PIECE_BYTES (UINT64_C(256) << 10)

/* Makes the directory and finds out whether its file system keeps what was allocated. Where it does not, the levels stay
 * in memory: they are derived, and a full disk in the middle of a commit would be worse than a rebuild. */
static int tree_home(sp_tree *tree, const sp_disk *disk, const char *dir)
{
    uint32_t traits;
    int error = disk->mkdir(disk->ctx, dir);
    SP_TRY(sp_disk_status(error == EEXIST ? 0 : error));
    SP_TRY(sp_disk_status(disk->traits(disk->ctx, dir, &traits)));
    if (traits & SP_DISK_KEEPS_ROOM) {
        tree->dir = strdup(dir);
        SP_ENSURE(tree->dir != NULL, SP_E_MEMORY);
    }
    tree->home = (sp_level_home){.disk = disk, .dir = tree->dir};
    return SP_OK;
}

int sp_tree_open(const sp_disk *disk, const char *dir, sp_tree **out)
{
    SP_ENSURE(disk != NULL || dir == NULL, SP_E_ARGUMENT);
    sp_tree *tree = calloc(1, sizeof *tree);
    SP_ENSURE(tree != NULL, SP_E_MEMORY);
    for (uint32_t i = 0; i < SP_LEVEL_COUNT; i++) {
        tree->level[i].file = -1;
    }
    tree->scratch = malloc(SCRATCH);
    int status = tree->scratch == NULL ? SP_E_MEMORY : dir == NULL ? SP_OK : tree_home(tree, disk, dir);
    if (status != SP_OK) {
        sp_tree_free(tree);
        return status;
    }
    *out = tree;
    return SP_OK;
}

void sp_tree_free(sp_tree *tree)
{
    if (tree != NULL) {
        for (uint32_t i = 0; i < SP_LEVEL_COUNT; i++) {
            sp_level_close(&tree->level[i], &tree->home);
        }
        free(tree->scratch);
        free(tree->dir);
        free(tree);
    }
}

uint64_t sp_tree_size(const sp_tree *tree)
{
    return __atomic_load_n(&tree->size, __ATOMIC_ACQUIRE);
}

/* A complete node: the caller has checked that it is one. */
static const uint8_t *node_at(const sp_tree *tree, uint32_t level, uint64_t index)
{
    return tree->level[level].base + (size_t)index * 32;
}

int sp_tree_adopt(sp_tree *tree, uint64_t size, const uint8_t root[32])
{
    SP_ENSURE(tree != NULL && root != NULL && sp_tree_size(tree) == 0, SP_E_ARGUMENT);
    uint32_t levels = sp_level_count(&tree->home);
    SP_ENSURE(size <= UINT64_C(1) << (levels - 1), SP_E_BOUNDS);
    for (uint32_t i = 0; i < levels && size >> i > 0; i++) {
        int status = sp_level_load(&tree->level[i], &tree->home, i, size >> i);
        SP_ENSURE(status != SP_E_SYSTEM || errno != ENOENT, SP_E_MISMATCH);
        SP_TRY(status);
    }
    uint8_t found[32];
    __atomic_store_n(&tree->size, size, __ATOMIC_RELEASE);
    int status = sp_tree_root(tree, size, found);
    if (status != SP_OK || memcmp(found, root, 32) != 0) {
        __atomic_store_n(&tree->size, 0, __ATOMIC_RELEASE);
        return SP_E_MISMATCH;
    }
    tree->synced = size;
    return SP_OK;
}

int sp_tree_room(sp_tree *tree, uint64_t size)
{
    uint32_t levels = sp_level_count(&tree->home);
    SP_ENSURE(size <= UINT64_C(1) << (levels - 1), SP_E_BOUNDS);
    for (uint32_t i = 0; i < levels && size >> i > 0; i++) {
        SP_TRY(sp_level_grow(&tree->level[i], &tree->home, i, size >> i));
    }
    return SP_OK;
}

int sp_tree_reserve(sp_tree *tree, uint64_t count)
{
    uint64_t size = sp_tree_size(tree);
    SP_ENSURE(count <= UINT64_MAX - size, SP_E_BOUNDS);
    return sp_tree_room(tree, size + count);
}

/* Parents of the nodes [from, to) of `level`, which stand at `nodes`: all that they complete. */
static uint8_t *parents(const sp_tree *tree, uint32_t level, uint64_t from, uint64_t to, const uint8_t *nodes, uint8_t *out)
{
    if (from % 2 == 1 && from < to) {           /* the first one's sibling was stored before */
        sp_merkle_node(node_at(tree, level, from - 1), nodes, out);
        nodes += 32;
        out += 32;
        from++;
    }
    uint64_t whole = (to - from) / 2;
    sp_sha256_nodes(nodes, (size_t)whole, out);
    return out + whole * 32;
}

/* Leaves [from, to), at most a chunk, and every node that they complete. */
static int store(sp_tree *tree, uint64_t from, uint64_t to, const uint8_t *nodes)
{
    uint8_t *spare = tree->scratch;
    for (uint32_t level = 0; from < to; level++, from >>= 1, to >>= 1) {
        SP_TRY(sp_level_store(&tree->level[level], &tree->home, from, nodes, to - from));
        uint8_t *place = from >> 1 < to >> 1 ? sp_level_place(&tree->level[level + 1], &tree->home, from >> 1) : NULL;
        uint8_t *above = place != NULL ? place : spare;
        uint8_t *end = parents(tree, level, from, to, nodes, above);
        spare = place != NULL ? spare : end;
        nodes = above;
    }
    return SP_OK;
}

/* What is read near the right edge would stay, and this process would take as much memory as the tree does. */
static void release(sp_tree *tree, uint64_t size)
{
    for (uint32_t i = 0; size >> i > 0; i++) {
        sp_level_release(&tree->level[i], &tree->home, i, size >> i);
    }
}

int sp_tree_append(sp_tree *tree, const uint8_t *leaf_hashes, uint64_t count)
{
    SP_ENSURE(tree != NULL && (leaf_hashes != NULL || count == 0), SP_E_ARGUMENT);
    SP_TRY(sp_tree_reserve(tree, count));
    uint64_t at = sp_tree_size(tree), end = at + count;
    while (at < end) {
        uint64_t stop = (at / CHUNK + 1) * CHUNK;
        stop = stop < end ? stop : end;
        SP_TRY(store(tree, at, stop, leaf_hashes));
        leaf_hashes += (size_t)(stop - at) * 32;
        at = stop;
    }
    __atomic_store_n(&tree->size, end, __ATOMIC_RELEASE);
    release(tree, end);
    return SP_OK;
}

void sp_tree_begin_write(sp_tree *tree)
{
    const sp_disk *disk = tree->home.disk;
    uint64_t size = sp_tree_size(tree);
    for (uint32_t i = 0; tree->dir != NULL && (size >> i) * 32 >= PIECE_BYTES; i++) {
        uint64_t end = (size >> i) * 32 / PIECE_BYTES * PIECE_BYTES;
        if (end > tree->begun[i]) {
            disk->begin_write(disk->ctx, tree->level[i].file, tree->begun[i], end - tree->begun[i]);
            tree->begun[i] = end;
        }
    }
}

int sp_tree_sync(sp_tree *tree)
{
    SP_ENSURE(!tree->failed, SP_E_FAILED);
    uint64_t size = sp_tree_size(tree);
    if (tree->dir == NULL || size == tree->synced) {
        return SP_OK;
    }
    int status = SP_OK;
    for (uint32_t i = 0; status == SP_OK && size >> i > 0; i++) {
        if (size >> i != tree->synced >> i) {
            status = sp_level_sync(&tree->level[i], &tree->home);
        }
    }
    if (status == SP_OK) {
        status = sp_disk_status(tree->home.disk->sync_dir(tree->home.disk->ctx, tree->dir));
    }
    if (status != SP_OK) {
        tree->failed = 1;
        return SP_E_FAILED;
    }
    tree->synced = size;
    return SP_OK;
}

/* Folds the complete subtrees of [from, to) into one hash; from is a multiple of a power of two >= to - from. */
static void fold(const sp_tree *tree, uint64_t from, uint64_t to, uint8_t out[32])
{
    uint64_t width = to - from;                 /* its lowest set bit is the rightmost subtree */
    unsigned level = (unsigned)__builtin_ctzll(width);
    uint8_t hash[32];
    memcpy(hash, node_at(tree, level, (to >> level) - 1), 32);
    for (width &= width - 1; width != 0; width &= width - 1) {
        level = (unsigned)__builtin_ctzll(width);
        sp_merkle_node(node_at(tree, level, ((from + width) >> level) - 1), hash, hash);
    }
    memcpy(out, hash, 32);
}

/* MTH of leaves [index << level, min((index + 1) << level, size)) */
static void subtree(const sp_tree *tree, uint32_t level, uint64_t index, uint64_t size, uint8_t out[32])
{
    uint64_t from = index << level;
    if ((size - from) >> level > 0) {
        memcpy(out, node_at(tree, level, index), 32);
    } else {
        fold(tree, from, size, out);
    }
}

int sp_tree_root(const sp_tree *tree, uint64_t size, uint8_t out[32])
{
    SP_ENSURE(size <= sp_tree_size(tree), SP_E_BOUNDS);
    if (size == 0) {
        sp_merkle_empty(out);
    } else {
        fold(tree, 0, size, out);
    }
    return SP_OK;
}

int sp_tree_node(const sp_tree *tree, uint32_t level, uint64_t index, uint8_t out[32])
{
    SP_ENSURE(level < SP_LEVEL_COUNT && index < sp_tree_size(tree) >> level, SP_E_BOUNDS);
    memcpy(out, node_at(tree, level, index), 32);
    return SP_OK;
}

int sp_tree_nodes(const sp_tree *tree, uint32_t level, uint64_t first, uint64_t count, uint8_t *out)
{
    SP_ENSURE(level < SP_LEVEL_COUNT && count > 0, SP_E_BOUNDS);
    uint64_t complete = sp_tree_size(tree) >> level;
    SP_ENSURE(count <= complete && first <= complete - count, SP_E_BOUNDS);
    memcpy(out, node_at(tree, level, first), (size_t)count * 32);
    return SP_OK;
}

int sp_tree_cool(const sp_tree *tree, uint64_t from, uint64_t to)
{
    SP_ENSURE(to <= sp_tree_size(tree) && from <= to, SP_E_BOUNDS);
    for (uint32_t i = 0; i < SP_LEVEL_COUNT && to >> i > 0; i++) {
        sp_level_cool(&tree->level[i], &tree->home, from >> i, to >> i);
    }
    return SP_OK;
}

int sp_tree_growth(const sp_tree *tree, uint64_t old_size, uint64_t new_size, uint8_t *out, uint32_t *count)
{
    SP_ENSURE(new_size <= sp_tree_size(tree) && old_size <= new_size, SP_E_BOUNDS);
    uint32_t used = 0;
    for (uint64_t at = old_size; at < new_size;) {
        unsigned level = sp_merkle_step(at, new_size);
        memcpy(out + (size_t)32 * used++, node_at(tree, level, at >> level), 32);
        at += UINT64_C(1) << level;
    }
    *count = used;
    return SP_OK;
}

int sp_tree_frontier(const sp_tree *tree, uint64_t size, uint8_t *out, uint32_t *count)
{
    return sp_tree_growth(tree, 0, size, out, count);
}

int sp_tree_inclusion(const sp_tree *tree, uint64_t index, uint64_t size, uint8_t *out, uint32_t *count)
{
    SP_ENSURE(size <= sp_tree_size(tree) && index < size, SP_E_BOUNDS);
    uint64_t last = size - 1;
    uint32_t used = 0;
    for (uint32_t level = 0; last >> level > 0; level++) {
        uint64_t sibling = (index >> level) ^ 1;
        if (sibling <= last >> level) {
            subtree(tree, level, sibling, size, out + (size_t)32 * used++);
        }
    }
    *count = used;
    return SP_OK;
}

int sp_tree_consistency(const sp_tree *tree, uint64_t old_size, uint64_t new_size, uint8_t *out, uint32_t *count)
{
    SP_ENSURE(new_size <= sp_tree_size(tree) && old_size <= new_size, SP_E_BOUNDS);
    *count = 0;
    if (old_size == 0 || old_size == new_size) {
        return SP_OK;                           /* RFC 6962: nothing to prove, or the two roots say it */
    }
    uint64_t last = new_size - 1;
    uint32_t level = (uint32_t)__builtin_ctzll(old_size), used = 0;
    if ((old_size - 1) >> level > 0) {
        memcpy(out, node_at(tree, level, (old_size >> level) - 1), 32);
        used = 1;
    }
    for (; last >> level > 0; level++) {
        uint64_t sibling = ((old_size - 1) >> level) ^ 1;
        if (sibling <= last >> level) {
            subtree(tree, level, sibling, new_size, out + (size_t)32 * used++);
        }
    }
    *count = used;
    return SP_OK;
}

int sp_tree_range(const sp_tree *tree, uint64_t first, uint64_t count, uint64_t size, uint8_t *left,
                  uint32_t *left_count, uint8_t *right, uint32_t *right_count)
{
    SP_ENSURE(size <= sp_tree_size(tree) && count > 0 && count <= size && first <= size - count, SP_E_BOUNDS);
    uint64_t low = first, high = first + count - 1, last = size - 1;
    uint32_t lefts = 0, rights = 0;
    for (uint32_t level = 0; last > 0; level++, low >>= 1, high >>= 1, last >>= 1) {
        if (low % 2 == 1) {
            subtree(tree, level, low - 1, size, left + (size_t)32 * lefts++);
        }
        if (high % 2 == 0 && high < last) {
            subtree(tree, level, high + 1, size, right + (size_t)32 * rights++);
        }
    }
    *left_count = lefts;
    *right_count = rights;
    return SP_OK;
}
