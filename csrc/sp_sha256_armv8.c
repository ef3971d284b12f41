/* SHA-256 with the SHA2 extension of ARMv8; two messages at once hide the latency of SHA256H and SHA256H2.
 *
 * The instructions want the state as ABCD and EFGH, as it stands. A round group is four rounds; message words 16 to 63
 * are made from the four last groups by SHA256SU0 and SHA256SU1. */
#include "sp_cpu.h"
#ifdef SP_CPU_ARM

#include <arm_neon.h>

#include "sp_sha256.h"

/* GCC to 12 keeps the intrinsics with those for AES; no instruction for AES comes from this file. */
#define TARGET __attribute__((target("+crypto")))
#define INLINE static inline __attribute__((always_inline)) TARGET

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

/* The state's words big-endian: the digest. */
INLINE void lane_digest(const lane *l, uint8_t out[SP_SHA256_SIZE])
{
    vst1q_u8(out, vrev32q_u8(vreinterpretq_u8_u32(l->abcd)));
    vst1q_u8(out + 16, vrev32q_u8(vreinterpretq_u8_u32(l->efgh)));
}

#include "sp_sha256_two.h"

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
