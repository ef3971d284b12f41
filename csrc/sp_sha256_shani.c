/* SHA-256 with the SHA extensions of x86-64; two messages at once hide the latency of SHA256RNDS2.
 *
 * The instructions want the state as ABEF and CDGH. A round group is four rounds; message words 16 to 63 are made
 * from the four last groups by SHA256MSG1, one addition, SHA256MSG2. */
#include "sp_cpu.h"
#ifdef SP_CPU_X86

#include <immintrin.h>

#include "sp_sha256.h"

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define INLINE static inline __attribute__((always_inline)) TARGET

typedef struct lane {
    __m128i abef, cdgh, m[4];
} lane;

INLINE void lane_open(lane *l, const uint32_t state[8])
{
    const __m128i dcba = _mm_loadu_si128((const __m128i *)state);
    const __m128i hgfe = _mm_loadu_si128((const __m128i *)(state + 4));
    const __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
    const __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    l->abef = _mm_alignr_epi8(cdab, efgh, 8);
    l->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

INLINE void lane_close(const lane *l, uint32_t state[8])
{
    const __m128i feba = _mm_shuffle_epi32(l->abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(l->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

INLINE void lane_load(lane *l, const uint8_t *block)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    for (int i = 0; i < 4; i++) {
        l->m[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), swap);
    }
}

/* Rounds 4 g to 4 g + 3 and, from g = 3 on, the words of group g + 1. */
INLINE void lane_group(lane *l, int g)
{
    const __m128i k = _mm_loadu_si128((const __m128i *)(sp_sha256_constants + 4 * g));
    const __m128i wk = _mm_add_epi32(l->m[g & 3], k);
    if (g >= 3 && g < 15) {
        const __m128i last = l->m[g & 3];
        const __m128i shifted = _mm_alignr_epi8(last, l->m[(g + 3) & 3], 4);
        const __m128i begun = _mm_sha256msg1_epu32(l->m[(g + 1) & 3], l->m[(g + 2) & 3]);
        l->m[(g + 1) & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(begun, shifted), last);
    }
    l->cdgh = _mm_sha256rnds2_epu32(l->cdgh, l->abef, wk);
    l->abef = _mm_sha256rnds2_epu32(l->abef, l->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

INLINE void lane_add(lane *l, const lane *before)
{
    l->abef = _mm_add_epi32(l->abef, before->abef);
    l->cdgh = _mm_add_epi32(l->cdgh, before->cdgh);
}

/* The state's words big-endian: the digest. */
INLINE void lane_digest(const lane *l, uint8_t out[SP_SHA256_SIZE])
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    const __m128i feba = _mm_shuffle_epi32(l->abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(l->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)out, _mm_shuffle_epi8(_mm_blend_epi16(feba, dchg, 0xf0), swap));
    _mm_storeu_si128((__m128i *)(out + 16), _mm_shuffle_epi8(_mm_alignr_epi8(dchg, feba, 8), swap));
}

#include "sp_sha256_two.h"

const sp_sha256_impl sp_sha256_shani = {
    .name = "shani",
    .needs = SP_CPU_SHANI,
    .width_min = 0,
    .lanes = 2,
    .compress = compress,
    .compress_lanes = compress_lanes,
    .digest_lanes = digest_lanes,
};

#endif
