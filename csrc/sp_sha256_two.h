/* SHA-256 of two messages at once, for instructions that do whole rounds of one: the loops that every such instruction set
 * shares. Who includes it says first
 *   TARGET, INLINE                 the attributes of a function, and of one that is always inlined
 *   lane, lane_open, lane_load     a message's state and words; from eight words; the words of a block
 *   lane_group(l, g)               rounds 4 g to 4 g + 3
 *   lane_add(l, before)            the state from before the block
 *   lane_close, lane_digest        to eight words; to the digest, big-endian
 * and gets compress, compress_lanes and digest_lanes of its kernel. The loops have constant bounds and the compiler unrolls
 * them, so a lane lives in registers. */
#ifndef SP_SHA256_TWO_H
#define SP_SHA256_TWO_H

INLINE void one_lane(lane *x, const uint8_t *blocks, size_t count)
{
    for (; count > 0; count--, blocks += SP_SHA256_BLOCK) {
        const lane x0 = *x;
        lane_load(x, blocks);
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) {
            lane_group(x, g);
        }
        lane_add(x, &x0);
    }
}

INLINE void two_lanes(lane *x, lane *y, const uint8_t *a, const uint8_t *b, size_t count)
{
    for (size_t at = 0; at < count * SP_SHA256_BLOCK; at += SP_SHA256_BLOCK) {
        const lane x0 = *x, y0 = *y;
        lane_load(x, a + at);
        lane_load(y, b + at);
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) {
            lane_group(x, g);
            lane_group(y, g);
        }
        lane_add(x, &x0);
        lane_add(y, &y0);
    }
}

TARGET static void compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    lane x;
    lane_open(&x, state);
    one_lane(&x, blocks, count);
    lane_close(&x, state);
}

TARGET static void compress_lanes(uint32_t (*states)[8], const uint8_t *const *blocks, size_t count, size_t width)
{
    size_t at = 0;
    for (; at + 2 <= width; at += 2) {
        lane x, y;
        lane_open(&x, states[at]);
        lane_open(&y, states[at + 1]);
        two_lanes(&x, &y, blocks[at], blocks[at + 1], count);
        lane_close(&x, states[at]);
        lane_close(&y, states[at + 1]);
    }
    if (at < width) {
        compress(states[at], blocks[at], count);
    }
}

TARGET static void digest_lanes(const uint32_t start[8], const uint8_t *const *blocks, size_t count, size_t width, uint8_t *out)
{
    lane fresh;
    lane_open(&fresh, start);
    size_t at = 0;
    for (; at + 2 <= width; at += 2) {
        lane x = fresh, y = fresh;
        two_lanes(&x, &y, blocks[at], blocks[at + 1], count);
        lane_digest(&x, out + SP_SHA256_SIZE * at);
        lane_digest(&y, out + SP_SHA256_SIZE * (at + 1));
    }
    if (at < width) {
        one_lane(&fresh, blocks[at], count);
        lane_digest(&fresh, out + SP_SHA256_SIZE * at);
    }
}

#endif
