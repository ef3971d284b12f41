/* Does the right edge of a tree give the roots of sp_merkle_root, whatever the pieces, and show every node once? */
#include <string.h>

#include "check.h"
#include "sp.h"
#include "sp_edge.h"
#include "sp_merkle.h"

enum { LEAVES = 9000 };

static uint8_t leaves[LEAVES][32];
static sp_edge edge, other;

static void fill(void)
{
    for (uint32_t i = 0; i < LEAVES; i++) {
        memset(leaves[i], (int)(i % 251), 32);
        memcpy(leaves[i], &i, sizeof i);
    }
}

typedef struct seen {
    uint64_t next[SP_EDGE_LEVELS];              /* number of the node that is expected next */
} seen;

static void see(void *arg, uint32_t level, uint64_t first, const uint8_t *hashes, uint64_t count)
{
    seen *all = arg;
    EXPECT(all->next[level] == first && count > 0);
    all->next[level] += count;
    uint8_t node[32];
    uint64_t last = (first + count - 1) << level, width = UINT64_C(1) << level;
    EXPECT(sp_merkle_root(leaves[last], width, node) == SP_OK);
    EXPECT(memcmp(node, hashes + 32 * (count - 1), 32) == 0);
}

static void root_of(const sp_edge *of, uint8_t out[32])
{
    static sp_edge_fold fold;
    sp_edge_take(of, &fold);
    sp_edge_roots(&fold, 1, out);
}

static void pieces(uint64_t step)
{
    seen all = {{0}};
    uint8_t root[32], expected[32];
    sp_edge_init(&edge);
    for (uint64_t at = 0; at < LEAVES;) {
        uint64_t count = LEAVES - at < step ? LEAVES - at : step;
        EXPECT(sp_edge_append(&edge, leaves[at], count, see, &all) == SP_OK);
        at += count;
        EXPECT(edge.size == at);
        if (at % 7 == 0 || step > 100) {
            root_of(&edge, root);
            EXPECT(sp_merkle_root(leaves[0], at, expected) == SP_OK && memcmp(root, expected, 32) == 0);
        }
    }
    for (uint32_t level = 0; level < SP_EDGE_LEVELS; level++) {
        EXPECT(all.next[level] == (uint64_t)LEAVES >> level);
    }
}

static void folds_in_step(void)
{
    static sp_edge_fold fold[SP_EDGE_FOLDS];
    uint8_t roots[SP_EDGE_FOLDS * 32], expected[32];
    sp_edge_init(&edge);
    for (size_t i = 0; i < SP_EDGE_FOLDS; i++) {
        sp_edge_take(&edge, &fold[i]);
        EXPECT(sp_edge_append(&edge, leaves[edge.size], i * i, NULL, NULL) == SP_OK);
    }
    sp_edge_roots(fold, SP_EDGE_FOLDS, roots);
    for (uint64_t i = 0, size = 0; i < SP_EDGE_FOLDS; size += i * i, i++) {
        EXPECT(sp_merkle_root(leaves[0], size, expected) == SP_OK && memcmp(roots + 32 * i, expected, 32) == 0);
    }
}

static void taken_up(void)
{
    uint8_t frontier[SP_PATH_MAX * 32], a[32], b[32];
    uint32_t count;
    for (uint64_t size = 0; size < 200; size++) {
        sp_tree *tree;
        EXPECT(sp_tree_open(NULL, NULL, &tree) == SP_OK && sp_tree_append(tree, leaves[0], size) == SP_OK);
        EXPECT(sp_tree_frontier(tree, size, frontier, &count) == SP_OK);
        sp_tree_free(tree);
        EXPECT(sp_edge_adopt(&other, size, frontier, count) == SP_OK);
        EXPECT(sp_edge_append(&other, leaves[size], 77, NULL, NULL) == SP_OK);
        root_of(&other, a);
        EXPECT(sp_merkle_root(leaves[0], size + 77, b) == SP_OK && memcmp(a, b, 32) == 0);
        EXPECT(sp_edge_adopt(&other, size, frontier, count + 1) == SP_E_BOUNDS);
    }
    other.size = SP_TREE_SIZE_MAX;
    EXPECT(sp_edge_append(&other, leaves[0], 1, NULL, NULL) == SP_E_BOUNDS);
}

int main(void)
{
    fill();
    pieces(1);
    pieces(3);
    pieces(1000);
    pieces(SP_EDGE_CHUNK);
    pieces(LEAVES);
    folds_in_step();
    taken_up();
    return check_done();
}
