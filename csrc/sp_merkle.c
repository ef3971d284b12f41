/* Roots, frontiers and the verification of inclusion and consistency: see sp_merkle.h.
 * Inclusion is RFC 9162 2.1.3.2, consistency 2.1.4.2; every hash of a path must be used. */
#include "sp_merkle.h"

#include <string.h>

#include "sp.h"
#include "sp_sha256.h"

enum { BLOCK_LEVEL = 9, BLOCK = 1 << BLOCK_LEVEL };     /* leaves reduced at a time: 24 KiB of stack */

void sp_merkle_empty(uint8_t out[32])
{
    static const uint8_t nothing[1];
    sp_sha256(nothing, 0, out);
}

void sp_merkle_node(const uint8_t left[32], const uint8_t right[32], uint8_t out[32])
{
    uint8_t pair[64];
    memcpy(pair, left, 32);
    memcpy(pair + 32, right, 32);
    sp_sha256_nodes(pair, 1, out);
}

void sp_frontier_init(sp_frontier *frontier)
{
    frontier->size = 0;
    frontier->count = 0;
}

int sp_frontier_push(sp_frontier *frontier, unsigned level, const uint8_t hash[32])
{
    SP_ENSURE(level < 64, SP_E_ARGUMENT);
    uint64_t width = UINT64_C(1) << level;
    SP_ENSURE((frontier->size & (width - 1)) == 0, SP_E_ARGUMENT);
    SP_ENSURE(frontier->size <= SP_TREE_SIZE_MAX - width, SP_E_BOUNDS);
    uint8_t carry[32];
    memcpy(carry, hash, 32);
    uint32_t count = frontier->count;
    for (; frontier->size & (UINT64_C(1) << level); level++) {
        count--;
        sp_merkle_node(frontier->hash[count], carry, carry);
    }
    memcpy(frontier->hash[count], carry, 32);
    frontier->count = count + 1;
    frontier->size += width;
    return SP_OK;
}

/* The root of 2^level leaf hashes, level <= BLOCK_LEVEL. */
static void reduce_block(const uint8_t *leaf_hashes, unsigned level, uint8_t out[32])
{
    uint8_t even[BLOCK / 2 * 32], odd[BLOCK / 4 * 32];
    const uint8_t *row = leaf_hashes;
    for (unsigned step = 0; step < level; step++) {
        uint8_t *above = step % 2 == 0 ? even : odd;
        sp_sha256_nodes(row, (size_t)1 << (level - step - 1), above);
        row = above;
    }
    memcpy(out, row, 32);
}

int sp_frontier_append(sp_frontier *frontier, const uint8_t *leaf_hashes, uint64_t count)
{
    SP_ENSURE(count <= SP_TREE_SIZE_MAX - frontier->size, SP_E_BOUNDS);
    uint64_t end = frontier->size + count;
    while (frontier->size < end) {
        unsigned level = sp_merkle_step(frontier->size, end);
        level = level < BLOCK_LEVEL ? level : BLOCK_LEVEL;
        uint8_t root[32];
        reduce_block(leaf_hashes, level, root);
        SP_TRY(sp_frontier_push(frontier, level, root));
        leaf_hashes += (size_t)32 << level;
    }
    return SP_OK;
}

void sp_frontier_fold(const sp_frontier *frontier, uint8_t out[32])
{
    if (frontier->count == 0) {
        sp_merkle_empty(out);
        return;
    }
    uint8_t fold[32];
    memcpy(fold, frontier->hash[frontier->count - 1], 32);
    for (uint32_t i = frontier->count - 1; i > 0; i--) {
        sp_merkle_node(frontier->hash[i - 1], fold, fold);
    }
    memcpy(out, fold, 32);
}

int sp_merkle_root(const uint8_t *leaf_hashes, uint64_t count, uint8_t out[32])
{
    SP_ENSURE(leaf_hashes != NULL || count == 0, SP_E_ARGUMENT);
    sp_frontier frontier;
    sp_frontier_init(&frontier);
    SP_TRY(sp_frontier_append(&frontier, leaf_hashes, count));
    sp_frontier_fold(&frontier, out);
    return SP_OK;
}

int sp_frontier_root(const uint8_t *frontier, uint32_t count, uint8_t out[32])
{
    SP_ENSURE(count <= SP_PATH_MAX && (frontier != NULL || count == 0), SP_E_BOUNDS);
    sp_frontier held = {.count = count};
    if (count > 0) {
        memcpy(held.hash, frontier, (size_t)count * 32);
    }
    sp_frontier_fold(&held, out);
    return SP_OK;
}

int sp_verify_inclusion(const uint8_t leaf_hash[32], uint64_t index, uint64_t size, const uint8_t *path, uint32_t count,
                        const uint8_t root[32])
{
    SP_ENSURE(size <= SP_TREE_SIZE_MAX && index < size, SP_E_BOUNDS);
    SP_ENSURE(count < SP_PATH_MAX && (path != NULL || count == 0), SP_E_BOUNDS);
    uint8_t fold[32];
    memcpy(fold, leaf_hash, 32);
    uint64_t at = index, last = size - 1;
    uint32_t used = 0;
    for (; last > 0; at >>= 1, last >>= 1) {
        if (at % 2 == 0 && at == last) {
            continue;                            /* no sibling: rises unchanged */
        }
        SP_ENSURE(used < count, SP_E_MISMATCH);
        const uint8_t *sibling = path + (size_t)32 * used++;
        if (at % 2 == 1) {
            sp_merkle_node(sibling, fold, fold);
        } else {
            sp_merkle_node(fold, sibling, fold);
        }
    }
    SP_ENSURE(used == count && memcmp(fold, root, 32) == 0, SP_E_MISMATCH);
    return SP_OK;
}

int sp_verify_consistency(uint64_t old_size, uint64_t new_size, const uint8_t old_root[32], const uint8_t new_root[32],
                          const uint8_t *path, uint32_t count)
{
    SP_ENSURE(new_size <= SP_TREE_SIZE_MAX && old_size <= new_size, SP_E_BOUNDS);
    SP_ENSURE(count <= SP_PATH_MAX && (path != NULL || count == 0), SP_E_BOUNDS);
    if (old_size == new_size) {
        SP_ENSURE(count == 0 && memcmp(old_root, new_root, 32) == 0, SP_E_MISMATCH);
        return SP_OK;
    }
    /* Every tree extends the empty one, so a proof from there would prove nothing: RFC 9162 wants 0 < old. */
    SP_ENSURE(old_size > 0, SP_E_BOUNDS);
    unsigned level = (unsigned)__builtin_ctzll(old_size);
    uint64_t at = (old_size - 1) >> level, last = (new_size - 1) >> level;
    uint32_t used = 0;
    const uint8_t *seed = old_root;
    if (at > 0) {
        SP_ENSURE(count > 0, SP_E_MISMATCH);
        seed = path;
        used = 1;
    }
    uint8_t old_fold[32], new_fold[32];
    memcpy(old_fold, seed, 32);
    memcpy(new_fold, seed, 32);
    for (; last > 0; at >>= 1, last >>= 1) {
        if (at % 2 == 0 && at == last) {
            continue;
        }
        SP_ENSURE(used < count, SP_E_MISMATCH);
        const uint8_t *sibling = path + (size_t)32 * used++;
        if (at % 2 == 1) {
            sp_merkle_node(sibling, old_fold, old_fold);
            sp_merkle_node(sibling, new_fold, new_fold);
        } else {
            sp_merkle_node(new_fold, sibling, new_fold);
        }
    }
    SP_ENSURE(used == count, SP_E_MISMATCH);
    SP_ENSURE(memcmp(old_fold, old_root, 32) == 0 && memcmp(new_fold, new_root, 32) == 0, SP_E_MISMATCH);
    return SP_OK;
}

int sp_frontier_advance(uint64_t old_size, const uint8_t *old_frontier, uint32_t old_count, uint64_t new_size,
                        const uint8_t *path, uint32_t count, const uint8_t new_root[32], uint8_t *new_frontier,
                        uint32_t *new_count)
{
    SP_ENSURE(new_size <= SP_TREE_SIZE_MAX && old_size <= new_size, SP_E_BOUNDS);
    SP_ENSURE(old_count == (uint32_t)__builtin_popcountll(old_size), SP_E_BOUNDS);
    SP_ENSURE((old_frontier != NULL || old_count == 0) && (path != NULL || count == 0), SP_E_ARGUMENT);
    sp_frontier held = {.size = old_size, .count = old_count};
    if (old_count > 0) {
        memcpy(held.hash, old_frontier, (size_t)old_count * 32);
    }
    uint32_t used = 0;
    while (held.size < new_size) {
        SP_ENSURE(used < count, SP_E_MISMATCH);
        unsigned level = sp_merkle_step(held.size, new_size);
        SP_TRY(sp_frontier_push(&held, level, path + (size_t)32 * used++));
    }
    uint8_t root[32];
    sp_frontier_fold(&held, root);
    SP_ENSURE(used == count && memcmp(root, new_root, 32) == 0, SP_E_MISMATCH);
    if (held.count > 0) {
        memcpy(new_frontier, held.hash, (size_t)held.count * 32);
    }
    *new_count = held.count;
    return SP_OK;
}
