/* Placeholder: answers until the real file stands here. */
#include "sp.h"

int sp_key_id(const uint8_t *spki, size_t size, uint8_t out[32])
{ (void)spki; (void)size; (void)out; return SP_E_SYSTEM; }
int sp_scope(const char *log_name, const char *line, uint8_t out[32])
{ (void)log_name; (void)line; (void)out; return SP_E_SYSTEM; }
int sp_record(uint8_t type, uint8_t flags, uint16_t version, uint64_t seq, uint64_t time_ns, const uint8_t *head, uint32_t head_size, uint8_t out[32])
{ (void)type; (void)flags; (void)version; (void)seq; (void)time_ns; (void)head; (void)head_size; (void)out; return SP_E_SYSTEM; }
int sp_salts(const uint8_t salt_seed[32], uint64_t first, uint64_t count, uint8_t *out)
{ (void)salt_seed; (void)first; (void)count; (void)out; return SP_E_SYSTEM; }
int sp_leaf_hashes(const sp_leaf_spec *spec, const uint8_t *salt_seed, const uint8_t *digests, uint64_t count, uint8_t *out)
{ (void)spec; (void)salt_seed; (void)digests; (void)count; (void)out; return SP_E_SYSTEM; }
int sp_leaf_opening(const sp_leaf_spec *spec, const uint8_t salt[16], uint8_t out[61])
{ (void)spec; (void)salt; (void)out; return SP_E_SYSTEM; }
int sp_leaf_hash_opened(uint8_t kind, const uint8_t key_id[32], const uint8_t scope[32], const uint8_t opening[61], const uint8_t *digest, uint32_t digest_size, uint8_t out[32])
{ (void)kind; (void)key_id; (void)scope; (void)opening; (void)digest; (void)digest_size; (void)out; return SP_E_SYSTEM; }
int sp_items_root(const uint8_t salt_seed[32], const uint8_t *names, size_t names_size, uint64_t count, uint8_t out[32])
{ (void)salt_seed; (void)names; (void)names_size; (void)count; (void)out; return SP_E_SYSTEM; }
