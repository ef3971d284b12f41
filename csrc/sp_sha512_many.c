/* SHA-384 and SHA-512 of many messages: through the scheduler. */
#include "sp_sha512.h"

#define WORD uint64_t
#define STORE_WORD(at, word) sp_store_u64be(at, word)
#define LENGTH 16
#define LANES SP_SHA512_LANES_MAX
#define IMPL sp_sha512_impl
#define PICK(width) sp_sha512_pick(width)
#include "sp_sha2_many.h"

void sp_sha512_many(uint32_t out_size, size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out)
{
    sp_bug_if(out_size != SP_SHA384_SIZE && out_size != SP_SHA512_SIZE);
    run r = {
        .start = out_size == SP_SHA384_SIZE ? sp_sha384_start : sp_sha512_start, .data = data, .sizes = sizes,
        .count = count, .out_size = out_size, .out = out,
    };
    run_mixed(&r);
}
