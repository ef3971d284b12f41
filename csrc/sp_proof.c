/* Placeholder: answers until the real file stands here. */
#include "sp.h"

int sp_note_parse(const uint8_t *text, size_t size, sp_note *out)
{ (void)text; (void)size; (void)out; return SP_E_SYSTEM; }
int sp_proof_parse(const uint8_t *text, size_t size, sp_proof *out)
{ (void)text; (void)size; (void)out; return SP_E_SYSTEM; }
int sp_proof_write(const uint8_t opening[61], uint64_t index, const uint8_t *hashes, uint32_t count, const uint8_t *checkpoint, size_t checkpoint_size, uint8_t *out, size_t capacity, size_t *size_out)
{ (void)opening; (void)index; (void)hashes; (void)count; (void)checkpoint; (void)checkpoint_size; (void)out; (void)capacity; (void)size_out; return SP_E_SYSTEM; }
int sp_proof_write_range(const sp_range *range, const uint8_t opening[45], const uint8_t salt_seed[32], const uint8_t *checkpoint, size_t checkpoint_size, uint8_t *out, size_t capacity, uint64_t *ends, size_t *needed)
{ (void)range; (void)opening; (void)salt_seed; (void)checkpoint; (void)checkpoint_size; (void)out; (void)capacity; (void)ends; (void)needed; return SP_E_SYSTEM; }
