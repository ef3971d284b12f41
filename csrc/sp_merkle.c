/* Placeholder: answers until the real file stands here. */
#include "sp.h"

int sp_merkle_root(const uint8_t *leaf_hashes, uint64_t count, uint8_t out[32])
{ (void)leaf_hashes; (void)count; (void)out; return SP_E_SYSTEM; }
int sp_verify_inclusion(const uint8_t leaf_hash[32], uint64_t index, uint64_t size, const uint8_t *path, uint32_t count, const uint8_t root[32])
{ (void)leaf_hash; (void)index; (void)size; (void)path; (void)count; (void)root; return SP_E_SYSTEM; }
int sp_verify_consistency(uint64_t old_size, uint64_t new_size, const uint8_t old_root[32], const uint8_t new_root[32], const uint8_t *path, uint32_t count)
{ (void)old_size; (void)new_size; (void)old_root; (void)new_root; (void)path; (void)count; return SP_E_SYSTEM; }
int sp_frontier_advance(uint64_t old_size, const uint8_t *old_frontier, uint32_t old_count, uint64_t new_size, const uint8_t *path, uint32_t count, const uint8_t new_root[32], uint8_t *new_frontier, uint32_t *new_count)
{ (void)old_size; (void)old_frontier; (void)old_count; (void)new_size; (void)path; (void)count; (void)new_root; (void)new_frontier; (void)new_count; return SP_E_SYSTEM; }
int sp_frontier_root(const uint8_t *frontier, uint32_t count, uint8_t out[32])
{ (void)frontier; (void)count; (void)out; return SP_E_SYSTEM; }
int sp_range_new(const uint8_t *leaf_hashes, uint64_t first, uint64_t count, uint64_t size, const uint8_t *left, uint32_t left_count, const uint8_t *right, uint32_t right_count, const uint8_t root[32], sp_range **out)
{ (void)leaf_hashes; (void)first; (void)count; (void)size; (void)left; (void)left_count; (void)right; (void)right_count; (void)root; (void)out; return SP_E_SYSTEM; }
int sp_range_path(const sp_range *range, uint64_t position, uint8_t *out, uint32_t *count)
{ (void)range; (void)position; (void)out; (void)count; return SP_E_SYSTEM; }
void sp_range_free(sp_range *range)
{ (void)range; }
