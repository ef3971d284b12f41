/* Vectors of 512 bits for the wide SHA-2 kernels: sixteen words of 32 bits or eight of 64, one message in each.
 * What sp_sha2_wide.h asks of an instruction set, in AVX-512 F and BW. */
#ifndef SP_WIDE_AVX512_H
#define SP_WIDE_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define WIDE_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define WIDE static inline __attribute__((always_inline)) WIDE_TARGET

typedef __m512i vec;

/* The instructions of a round, each as itself and in the order of the source: compilers spread the additions otherwise,
 * and lose registers and a twentieth of the speed by it. Two of them are issued in a cycle, but one turn only. */
#define IN_ORDER(instruction, x, operand) \
    __extension__({ vec made_; __asm__ volatile(instruction : "=v"(made_) : "v"(x), operand); made_; })
#define TERNARY(x, y, z, table) \
    __extension__({ \
        vec made_ = (x); \
        __asm__ volatile("vpternlogd %3, %2, %1, %0" : "+v"(made_) : "v"(y), "v"(z), "i"(table)); \
        made_; \
    })
#define XOR3(x, y, z) TERNARY(x, y, z, 0x96)
#define CHOOSE(e, f, g) TERNARY(e, f, g, 0xca)
#define MAJORITY(a, b, c) TERNARY(a, b, c, 0xe8)

/* Reverses the bytes of each word of 32 or 64 bits. */
WIDE vec wide_swap32(vec x)
{
    return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203)));
}

WIDE vec wide_swap64(vec x)
{
    return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(_mm_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607)));
}

/* Two halves from two places to one vector; and back. */
WIDE vec wide_join(const uint8_t *low, const uint8_t *high)
{
    const vec half = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)low));
    return _mm512_inserti64x4(half, _mm256_loadu_si256((const __m256i *)high), 1);
}

WIDE void wide_split(vec x, uint8_t *low, uint8_t *high)
{
    _mm256_storeu_si256((__m256i *)low, _mm512_castsi512_si256(x));
    _mm256_storeu_si256((__m256i *)high, _mm512_extracti64x4_epi64(x, 1));
}

/* Among vectors 4 i to 4 i + 3, exchanges quarters of 128 bits so that vector q of four holds their quarters q. */
WIDE void wide_quarters(vec *a, vec *b, vec *c, vec *d)
{
    const vec ab_low = _mm512_shuffle_i32x4(*a, *b, 0x44), ab_high = _mm512_shuffle_i32x4(*a, *b, 0xee);
    const vec cd_low = _mm512_shuffle_i32x4(*c, *d, 0x44), cd_high = _mm512_shuffle_i32x4(*c, *d, 0xee);
    *a = _mm512_shuffle_i32x4(ab_low, cd_low, 0x88);
    *b = _mm512_shuffle_i32x4(ab_low, cd_low, 0xdd);
    *c = _mm512_shuffle_i32x4(ab_high, cd_high, 0x88);
    *d = _mm512_shuffle_i32x4(ab_high, cd_high, 0xdd);
}

/* Inside each quarter: four vectors as a 4 x 4 matrix of words of 32 bits, transposed. */
WIDE void wide_turn32(vec *a, vec *b, vec *c, vec *d)
{
    const vec ab_low = _mm512_unpacklo_epi32(*a, *b), ab_high = _mm512_unpackhi_epi32(*a, *b);
    const vec cd_low = _mm512_unpacklo_epi32(*c, *d), cd_high = _mm512_unpackhi_epi32(*c, *d);
    *a = _mm512_unpacklo_epi64(ab_low, cd_low);
    *b = _mm512_unpackhi_epi64(ab_low, cd_low);
    *c = _mm512_unpacklo_epi64(ab_high, cd_high);
    *d = _mm512_unpackhi_epi64(ab_high, cd_high);
}

#endif
