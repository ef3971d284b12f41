/* SHA-256 (FIPS 180-4) for one message, for many, and for the fixed shapes of the tree.
 *
 * A kernel is a `struct sp_sha256_impl`; the dispatcher picks the best one that the processor has and the mask
 * allows. Everything above the kernels is written against `compress_lanes`, so that a wider kernel is a new row of
 * the table and nothing else. No function here can fail; none allocates. */
#ifndef SP_SHA256_H
#define SP_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "sp_bytes.h"

#define SP_SHA256_SIZE 32
#define SP_SHA256_BLOCK 64
#define SP_SHA256_LANES_MAX 32

static inline void sp_sha256_store(const uint32_t state[8], uint8_t out[SP_SHA256_SIZE])
{
    for (int i = 0; i < 8; i++) {
        sp_store_u32be(out + 4 * i, state[i]);
    }
}

typedef struct sp_sha256_impl {
    const char *name;
    uint32_t needs;             /* SP_CPU_* bits, all of them */
    uint32_t width_min;         /* for fewer messages a narrower kernel is quicker */
    uint32_t lanes;             /* messages that it likes to work on at once, 1 to SP_SHA256_LANES_MAX */
    /* one message: `count` blocks of 64 bytes; there if width_min is 0 */
    void (*compress)(uint32_t state[8], const uint8_t *blocks, size_t count);
    /* `width` messages (1 to SP_SHA256_LANES_MAX), each `count` blocks from its own pointer */
    void (*compress_lanes)(uint32_t (*states)[8], const uint8_t *const *blocks, size_t count, size_t width);
    /* the same from one state for all of them, to `width` digests end to end; the blocks hold the padding already */
    void (*digest_lanes)(const uint32_t start[8], const uint8_t *const *blocks, size_t count, size_t width, uint8_t *out);
    /* SHA-256(0x01 | pair) of exactly `lanes` pairs end to end; out == pairs is allowed; NULL: it has no quicker way */
    void (*nodes)(const uint8_t *pairs, uint8_t *out);
    /* exactly `lanes` messages of `size` bytes in all, of which `start` has taken all but 16 from salts and 32 from digests,
     * both end to end; NULL: it has no quicker way */
    void (*leaves)(const uint32_t start[8], uint64_t size, const uint8_t *salts, const uint8_t *digests, uint8_t *out);
    /* `times` times `lanes` messages of the seed and a number, big endian, which counts from `first`; NULL: it has no quicker
     * way */
    void (*numbered)(const uint8_t seed[32], uint32_t first, size_t times, uint8_t *out);
} sp_sha256_impl;

extern const sp_sha256_impl sp_sha256_portable, sp_sha256_shani, sp_sha256_avx2, sp_sha256_avx512, sp_sha256_armv8;
extern const uint32_t sp_sha256_start[8];     /* the initial state */
extern const uint32_t sp_sha256_constants[64];
const sp_sha256_impl *sp_sha256_pick(size_t width);     /* the best kernel for so many messages */

/* ---- one message ---- */
typedef struct sp_sha256_ctx {
    const sp_sha256_impl *impl;
    uint32_t state[8];
    uint64_t size;              /* bytes taken so far */
    uint8_t rest[SP_SHA256_BLOCK];
} sp_sha256_ctx;

void sp_sha256_init(sp_sha256_ctx *ctx);
void sp_sha256_update(sp_sha256_ctx *ctx, const void *data, size_t size);
void sp_sha256_final(sp_sha256_ctx *ctx, uint8_t out[SP_SHA256_SIZE]);
void sp_sha256(const uint8_t *data, size_t size, uint8_t out[SP_SHA256_SIZE]);
void sp_sha256_compress(uint32_t state[8], const uint8_t *blocks, size_t count);

/* ---- many messages; out is `count` digests end to end ---- */
void sp_sha256_many(size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out);
/* out[i] = SHA-256(0x01 | pairs[64 i .. 64 i + 64)): the nodes above `count` pairs. out == pairs is allowed. */
void sp_sha256_nodes(const uint8_t *pairs, size_t count, uint8_t *out);
/* out[i] = SHA-256(P | tails[i]), where `state` is what SHA-256 holds after the prefix P; prefix_bytes is a multiple
 * of 64. Leaves of one request share their first two blocks, so each costs the blocks of its tail only. */
void sp_sha256_tail_many(const uint32_t state[8], uint64_t prefix_bytes, const uint8_t *const *tails, size_t tail_size,
                         size_t count, uint8_t *out);
/* The same for tails that stand in two columns: tail i = first[i] | second[i], items of first_size and second_size bytes
 * end to end; together at most SP_SHA256_COLUMNS_MAX. */
#define SP_SHA256_COLUMNS_MAX 247u
void sp_sha256_columns(const uint32_t state[8], uint64_t prefix_bytes, const uint8_t *first, size_t first_size,
                       const uint8_t *second, size_t second_size, size_t count, uint8_t *out);
/* out[i] = SHA-256(seed | first + i), the number in four bytes, big endian. */
void sp_sha256_numbered(const uint8_t seed[32], uint32_t first, size_t count, uint8_t *out);

#endif
