/* Placeholder: answers until the real file stands here. */
#include "sp.h"

uint32_t sp_digest_size(uint8_t algorithm)
{ (void)algorithm; return 0; }
int sp_digest_many(uint8_t algorithm, size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out)
{ (void)algorithm; (void)count; (void)data; (void)sizes; (void)out; return SP_E_SYSTEM; }
int sp_digest_arena(uint8_t algorithm, size_t count, const uint8_t *arena, size_t arena_size, const uint64_t *ends, uint8_t *out)
{ (void)algorithm; (void)count; (void)arena; (void)arena_size; (void)ends; (void)out; return SP_E_SYSTEM; }
int sp_hasher_new(uint8_t algorithm, sp_hasher **out)
{ (void)algorithm; (void)out; return SP_E_SYSTEM; }
int sp_hasher_update(sp_hasher *hasher, const uint8_t *data, size_t size)
{ (void)hasher; (void)data; (void)size; return SP_E_SYSTEM; }
int sp_hasher_final(sp_hasher *hasher, uint8_t *out)
{ (void)hasher; (void)out; return SP_E_SYSTEM; }
void sp_hasher_free(sp_hasher *hasher)
{ (void)hasher; }
int sp_digest_fd(uint8_t algorithm, int fd, uint8_t *out, uint64_t *size_out, uint64_t *progress)
{ (void)algorithm; (void)fd; (void)out; (void)size_out; (void)progress; return SP_E_SYSTEM; }
uint32_t sp_crc32c(uint32_t crc, const uint8_t *data, size_t size)
{ (void)crc; (void)data; (void)size; return 0; }
