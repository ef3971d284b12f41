/* SHA-384 and SHA-512 with the SHA512 extension of ARMv8.2; two messages at once hide the latency of SHA512H and SHA512H2.
 *
 * A step is two rounds. The instructions want the state as the pairs AB, CD, EF, GH; after a step AB has become CD and EF
 * has become GH. Message words 16 to 79 are made two by two by SHA512SU0 and SHA512SU1, in a ring of eight pairs. The
 * loops have constant bounds and the compiler unrolls them, so m[] lives in registers. */
#include "sp_cpu.h"
#ifdef SP_CPU_ARM

#include <arm_neon.h>

#include "sp_sha512.h"

/* The intrinsics need the whole of ARMv8.2, not the one extension only; whoever has SHA512 has that, too. */
#define SHA512 __attribute__((target("arch=armv8.2-a+sha3")))
#define INLINE static inline __attribute__((always_inline)) SHA512

typedef struct lane {
    uint64x2_t ab, cd, ef, gh, m[8];
} lane;

INLINE void lane_open(lane *l, const uint64_t state[8])
{
    l->ab = vld1q_u64(state);
    l->cd = vld1q_u64(state + 2);
    l->ef = vld1q_u64(state + 4);
    l->gh = vld1q_u64(state + 6);
}

INLINE void lane_load(lane *l, const uint8_t *block)
{
    for (int i = 0; i < 8; i++) {
        l->m[i] = vreinterpretq_u64_u8(vrev64q_u8(vld1q_u8(block + 16 * i)));
    }
}

/* Rounds 2 i and 2 i + 1 and, up to i = 31, the words of step i + 8. */
INLINE void lane_step(lane *l, int i)
{
    uint64x2_t *const m = l->m;
    const uint64x2_t wk = vaddq_u64(m[i & 7], vld1q_u64(sp_sha512_constants + 2 * i));
    const uint64x2_t ab = l->ab, cd = l->cd, ef = l->ef;
    if (i < 32) {
        const uint64x2_t late = vextq_u64(m[(i + 4) & 7], m[(i + 5) & 7], 1);
        m[i & 7] = vsha512su1q_u64(vsha512su0q_u64(m[i & 7], m[(i + 1) & 7]), m[(i + 7) & 7], late);
    }
    const uint64x2_t taken = vaddq_u64(l->gh, vextq_u64(wk, wk, 1));
    const uint64x2_t sum = vsha512hq_u64(taken, vextq_u64(ef, l->gh, 1), vextq_u64(cd, ef, 1));
    l->ab = vsha512h2q_u64(sum, cd, ab);
    l->cd = ab;
    l->ef = vaddq_u64(cd, sum);
    l->gh = ef;
}

/* The block is done: adds the state from before it, which stands in memory, and leaves the sum there, too. */
INLINE void lane_add(lane *l, uint64_t state[8])
{
    vst1q_u64(state, l->ab = vaddq_u64(l->ab, vld1q_u64(state)));
    vst1q_u64(state + 2, l->cd = vaddq_u64(l->cd, vld1q_u64(state + 2)));
    vst1q_u64(state + 4, l->ef = vaddq_u64(l->ef, vld1q_u64(state + 4)));
    vst1q_u64(state + 6, l->gh = vaddq_u64(l->gh, vld1q_u64(state + 6)));
}

SHA512 static void compress(uint64_t state[8], const uint8_t *blocks, size_t count)
{
    lane x;
    lane_open(&x, state);
    for (; count > 0; count--, blocks += SP_SHA512_BLOCK) {
        lane_load(&x, blocks);
#pragma GCC unroll 40
        for (int i = 0; i < 40; i++) {
            lane_step(&x, i);
        }
        lane_add(&x, state);
    }
}

SHA512 static void compress_two(uint64_t first[8], uint64_t second[8], const uint8_t *a, const uint8_t *b, size_t count)
{
    lane x, y;
    lane_open(&x, first);
    lane_open(&y, second);
    for (size_t at = 0; at < count * SP_SHA512_BLOCK; at += SP_SHA512_BLOCK) {
        lane_load(&x, a + at);
        lane_load(&y, b + at);
#pragma GCC unroll 40
        for (int i = 0; i < 40; i++) {
            lane_step(&x, i);
            lane_step(&y, i);
        }
        lane_add(&x, first);
        lane_add(&y, second);
    }
}

static void compress_lanes(uint64_t (*states)[8], const uint8_t *const *blocks, size_t count, size_t width)
{
    size_t at = 0;
    for (; at + 2 <= width; at += 2) {
        compress_two(states[at], states[at + 1], blocks[at], blocks[at + 1], count);
    }
    if (at < width) {
        compress(states[at], blocks[at], count);
    }
}

const sp_sha512_impl sp_sha512_armv8 = {
    .name = "armv8",
    .needs = SP_CPU_SHA512,
    .width_min = 0,
    .lanes = 2,
    .compress = compress,
    .compress_lanes = compress_lanes,
};

#endif
