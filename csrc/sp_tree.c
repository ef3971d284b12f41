/* Placeholder: answers until the real file stands here. */
#include "sp.h"

int sp_tree_open(const sp_disk *disk, const char *dir, sp_tree **out)
{ (void)disk; (void)dir; (void)out; return SP_E_SYSTEM; }
void sp_tree_free(sp_tree *tree)
{ (void)tree; }
int sp_tree_adopt(sp_tree *tree, uint64_t size, const uint8_t root[32])
{ (void)tree; (void)size; (void)root; return SP_E_SYSTEM; }
int sp_tree_reserve(sp_tree *tree, uint64_t count)
{ (void)tree; (void)count; return SP_E_SYSTEM; }
int sp_tree_append(sp_tree *tree, const uint8_t *leaf_hashes, uint64_t count)
{ (void)tree; (void)leaf_hashes; (void)count; return SP_E_SYSTEM; }
int sp_tree_sync(sp_tree *tree)
{ (void)tree; return SP_E_SYSTEM; }
uint64_t sp_tree_size(const sp_tree *tree)
{ (void)tree; return 0; }
int sp_tree_root(const sp_tree *tree, uint64_t size, uint8_t out[32])
{ (void)tree; (void)size; (void)out; return SP_E_SYSTEM; }
int sp_tree_node(const sp_tree *tree, uint32_t level, uint64_t index, uint8_t out[32])
{ (void)tree; (void)level; (void)index; (void)out; return SP_E_SYSTEM; }
int sp_tree_frontier(const sp_tree *tree, uint64_t size, uint8_t *out, uint32_t *count)
{ (void)tree; (void)size; (void)out; (void)count; return SP_E_SYSTEM; }
int sp_tree_inclusion(const sp_tree *tree, uint64_t index, uint64_t size, uint8_t *out, uint32_t *count)
{ (void)tree; (void)index; (void)size; (void)out; (void)count; return SP_E_SYSTEM; }
int sp_tree_consistency(const sp_tree *tree, uint64_t old_size, uint64_t new_size, uint8_t *out, uint32_t *count)
{ (void)tree; (void)old_size; (void)new_size; (void)out; (void)count; return SP_E_SYSTEM; }
int sp_tree_range(const sp_tree *tree, uint64_t first, uint64_t count, uint64_t size, uint8_t *left, uint32_t *left_count, uint8_t *right, uint32_t *right_count)
{ (void)tree; (void)first; (void)count; (void)size; (void)left; (void)left_count; (void)right; (void)right_count; return SP_E_SYSTEM; }
