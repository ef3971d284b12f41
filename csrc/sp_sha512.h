/* SHA-384 and SHA-512 (FIPS 180-4): one message, or many. The shape is that of sp_sha256.h: a kernel is a row of a
 * table, chosen by processor and mask. No function here can fail; none allocates. */
#ifndef SP_SHA512_H
#define SP_SHA512_H

#include <stddef.h>
#include <stdint.h>

#define SP_SHA384_SIZE 48
#define SP_SHA512_SIZE 64
#define SP_SHA512_BLOCK 128
#define SP_SHA512_LANES_MAX 16

typedef struct sp_sha512_impl {
    const char *name;
    uint32_t needs;             /* SP_CPU_* bits, all of them */
    uint32_t width_min;         /* for fewer messages a narrower kernel is quicker */
    uint32_t lanes;             /* messages that it likes to work on at once, 1 to SP_SHA512_LANES_MAX */
    /* one message: `count` blocks of 128 bytes; there if width_min is 0 */
    void (*compress)(uint64_t state[8], const uint8_t *blocks, size_t count);
    /* `width` messages (1 to lanes), each `count` blocks from its own pointer */
    void (*compress_lanes)(uint64_t (*states)[8], const uint8_t *const *blocks, size_t count, size_t width);
} sp_sha512_impl;

extern const sp_sha512_impl sp_sha512_portable, sp_sha512_avx2, sp_sha512_avx512, sp_sha512_armv8;
extern const uint64_t sp_sha384_start[8], sp_sha512_start[8];
extern const uint64_t sp_sha512_constants[80];
const sp_sha512_impl *sp_sha512_pick(size_t width);     /* the best kernel for so many messages */

typedef struct sp_sha512_ctx {
    const sp_sha512_impl *impl;
    uint64_t state[8];
    uint64_t size;              /* bytes taken so far */
    uint32_t out_size;          /* 48 or 64 */
    uint8_t rest[SP_SHA512_BLOCK];
} sp_sha512_ctx;

/* out_size: SP_SHA384_SIZE or SP_SHA512_SIZE, which is all that tells the two apart here */
void sp_sha512_init(sp_sha512_ctx *ctx, uint32_t out_size);
void sp_sha512_update(sp_sha512_ctx *ctx, const void *data, size_t size);
void sp_sha512_final(sp_sha512_ctx *ctx, uint8_t *out);
void sp_sha512_many(uint32_t out_size, size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out);

#endif
