/* Vectors of 256 bits for the wide SHA-2 kernels: eight words of 32 bits or four of 64, one message in each.
 * What sp_sha2_wide.h asks of an instruction set, in AVX2. */
#ifndef SP_WIDE_AVX2_H
#define SP_WIDE_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define WIDE_TARGET __attribute__((target("avx2")))
#define WIDE static inline __attribute__((always_inline)) WIDE_TARGET

typedef __m256i vec;

#define XOR(x, y) _mm256_xor_si256(x, y)
#define XOR3(x, y, z) XOR(XOR(x, y), z)
#define CHOOSE(e, f, g) XOR(g, _mm256_and_si256(e, XOR(f, g)))
#define MAJORITY(a, b, c) _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))

/* Reverses the bytes of each word of 32 or 64 bits. */
WIDE vec wide_swap32(vec x)
{
    return _mm256_shuffle_epi8(x, _mm256_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203,
                                                    0x0c0d0e0f08090a0b, 0x0405060700010203));
}

WIDE vec wide_swap64(vec x)
{
    return _mm256_shuffle_epi8(x, _mm256_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607,
                                                    0x08090a0b0c0d0e0f, 0x0001020304050607));
}

/* Exchanges halves of 128 bits so that a holds both low halves and b both high ones. */
WIDE void wide_halves(vec *a, vec *b)
{
    const vec low = _mm256_permute2x128_si256(*a, *b, 0x20);
    *b = _mm256_permute2x128_si256(*a, *b, 0x31);
    *a = low;
}

/* Inside each half: four vectors as a 4 x 4 matrix of words of 32 bits, transposed. */
WIDE void wide_turn32(vec *a, vec *b, vec *c, vec *d)
{
    const vec ab_low = _mm256_unpacklo_epi32(*a, *b), ab_high = _mm256_unpackhi_epi32(*a, *b);
    const vec cd_low = _mm256_unpacklo_epi32(*c, *d), cd_high = _mm256_unpackhi_epi32(*c, *d);
    *a = _mm256_unpacklo_epi64(ab_low, cd_low);
    *b = _mm256_unpackhi_epi64(ab_low, cd_low);
    *c = _mm256_unpacklo_epi64(ab_high, cd_high);
    *d = _mm256_unpackhi_epi64(ab_high, cd_high);
}

#endif
