/* The hash states of several messages that advance in step, by algorithm number: what a scheduler needs whose messages
 * come in pieces and never stand in memory as a whole. The busy lanes stand in front, as a kernel takes them. */
#ifndef SP_LANES_H
#define SP_LANES_H

#include "sp.h"
#include "sp_sha256.h"
#include "sp_sha512.h"

#define SP_LANES_MAX SP_SHA256_LANES_MAX
#define SP_LANES_PAD_MAX (2u * SP_SHA512_BLOCK)     /* what sp_lanes_pad may add */
SP_STATIC_ASSERT(SP_SHA512_LANES_MAX <= SP_LANES_MAX);

typedef struct sp_lanes {
    uint8_t algorithm;
    size_t block;               /* bytes of a block, 64 or 128 */
    size_t best;                /* so many messages at once suit the processor, 1 to SP_LANES_MAX */
    union {
        uint32_t narrow[SP_SHA256_LANES_MAX][8];
        uint64_t wide[SP_SHA512_LANES_MAX][8];
    } states;
} sp_lanes;

int sp_lanes_open(sp_lanes *lanes, uint8_t algorithm);
void sp_lanes_start(sp_lanes *lanes, size_t lane);                  /* a new message */
void sp_lanes_move(sp_lanes *lanes, size_t target, size_t source);  /* the message goes on in another lane */
/* The first `width` lanes take `count` blocks each, lane i from blocks[i]. */
void sp_lanes_compress(sp_lanes *lanes, const uint8_t *const *blocks, size_t count, size_t width);
/* Ends a message of `total` bytes whose last `held` ones stand at `data`, a whole number of blocks behind its start:
 * writes the padding behind them, at most SP_LANES_PAD_MAX bytes, and returns the blocks that now stand there. */
size_t sp_lanes_pad(const sp_lanes *lanes, uint8_t *data, size_t held, uint64_t total);
void sp_lanes_digest(const sp_lanes *lanes, size_t lane, uint8_t *out);

#endif
