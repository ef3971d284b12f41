/* SHA-256 with the SHA2 extension of ARMv8; two messages at once hide the latency of SHA256H and SHA256H2.
 *
 * The instructions want the state as ABCD and EFGH, as it stands. A round group is four rounds; message words 16 to 63
 * are made from the four last groups by SHA256SU0 and SHA256SU1. The loops have constant bounds and the compiler unrolls
 * them, so m[] lives in registers. */
#include "sp_cpu.h"
#ifdef SP_CPU_ARM

#include <arm_neon.h>
#include <string.h>

#include "sp_sha256.h"

/* GCC to 12 keeps the intrinsics with those for AES; no instruction for AES comes from this file. */
#define SHA2 __attribute__((target("+crypto")))
#define INLINE static inline __attribute__((always_inline)) SHA2

typedef struct lane {
    uint32x4_t abcd, efgh, m[4];
} lane;

INLINE void lane_open(lane *l, const uint32_t state[8])
{
    l->abcd = vld1q_u32(state);
    l->efgh = vld1q_u32(state + 4);
}

INLINE void lane_close(const lane *l, uint32_t state[8])
{
    vst1q_u32(state, l->abcd);
    vst1q_u32(state + 4, l->efgh);
}

INLINE void lane_load(lane *l, const uint8_t *block)
{
    for (int i = 0; i < 4; i++) {
        l->m[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(block + 16 * i)));
    }
}

/* Rounds 4 g to 4 g + 3 and, up to g = 11, the words of group g + 4. */
INLINE void lane_group(lane *l, int g)
{
    uint32x4_t *const m = l->m;
    const uint32x4_t wk = vaddq_u32(m[g & 3], vld1q_u32(sp_sha256_constants + 4 * g));
    const uint32x4_t abcd = l->abcd;
    if (g < 12) {
        m[g & 3] = vsha256su1q_u32(vsha256su0q_u32(m[g & 3], m[(g + 1) & 3]), m[(g + 2) & 3], m[(g + 3) & 3]);
    }
    l->abcd = vsha256hq_u32(abcd, l->efgh, wk);
    l->efgh = vsha256h2q_u32(l->efgh, abcd, wk);
}

INLINE void lane_add(lane *l, const lane *before)
{
    l->abcd = vaddq_u32(l->abcd, before->abcd);
    l->efgh = vaddq_u32(l->efgh, before->efgh);
}

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

SHA2 static void compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    lane x;
    lane_open(&x, state);
    one_lane(&x, blocks, count);
    lane_close(&x, state);
}

SHA2 static void compress_lanes(uint32_t (*states)[8], const uint8_t *const *blocks, size_t count, size_t width)
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

/* The state's words big-endian: the digest. */
INLINE void lane_digest(const lane *l, uint8_t out[SP_SHA256_SIZE])
{
    vst1q_u8(out, vrev32q_u8(vreinterpretq_u8_u32(l->abcd)));
    vst1q_u8(out + 16, vrev32q_u8(vreinterpretq_u8_u32(l->efgh)));
}

SHA2 static void digest_lanes(const uint32_t start[8], const uint8_t *const *blocks, size_t count, size_t width, uint8_t *out)
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

const sp_sha256_impl sp_sha256_armv8 = {
    .name = "armv8",
    .needs = SP_CPU_SHA2,
    .width_min = 0,
    .lanes = 2,
    .compress = compress,
    .compress_lanes = compress_lanes,
    .digest_lanes = digest_lanes,
};

#endif
