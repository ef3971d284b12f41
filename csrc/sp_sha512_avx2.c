/* SHA-384 and SHA-512 of four messages at once with AVX2. */
#include "sp_cpu.h"
#ifdef SP_CPU_X86

#include "sp_sha512.h"
#include "sp_wide_avx2.h"

#define WORD_BITS 64
#define LANES 4
#define GROUPS 1
#define WIDTH_MIN 2
#define ADD(x, y) _mm256_add_epi64(x, y)
#define ADD_WORD(x, word) ADD(x, SPREAD(*(word)))
#define RIGHT(x, n) _mm256_srli_epi64(x, n)
#define TURN(x, n) _mm256_or_si256(RIGHT(x, n), _mm256_slli_epi64(x, 64 - (n)))
#define SPREAD(word) _mm256_set1_epi64x((long long)(word))

/* Four vectors as a 4 x 4 matrix of words of 64 bits, transposed. */
WIDE void wide_turn64(vec v[4])
{
    vec a = _mm256_unpacklo_epi64(v[0], v[1]), b = _mm256_unpackhi_epi64(v[0], v[1]);
    vec c = _mm256_unpacklo_epi64(v[2], v[3]), d = _mm256_unpackhi_epi64(v[2], v[3]);
    wide_halves(&a, &c);
    wide_halves(&b, &d);
    v[0] = a, v[1] = b, v[2] = c, v[3] = d;
}

WIDE void wide_load(vec w[16], const uint8_t *const *blocks, size_t at)
{
#pragma GCC unroll 4
    for (int part = 0; part < 16; part += 4) {
#pragma GCC unroll 4
        for (int lane = 0; lane < LANES; lane++) {
            const uint8_t *from = blocks[lane] + at + 8 * part;
            w[part + lane] = wide_swap64(_mm256_loadu_si256((const __m256i *)from));
        }
        wide_turn64(w + part);
    }
}

WIDE void wide_open(vec s[8], uint8_t *const rows[LANES])
{
#pragma GCC unroll 4
    for (int lane = 0; lane < LANES; lane++) {
        s[lane] = _mm256_loadu_si256((const __m256i *)rows[lane]);
        s[4 + lane] = _mm256_loadu_si256((const __m256i *)(rows[lane] + 32));
    }
    wide_turn64(s);
    wide_turn64(s + 4);
}

WIDE void wide_close(vec s[8], uint8_t *const rows[LANES])
{
    wide_turn64(s);
    wide_turn64(s + 4);
#pragma GCC unroll 4
    for (int lane = 0; lane < LANES; lane++) {
        _mm256_storeu_si256((__m256i *)rows[lane], s[lane]);
        _mm256_storeu_si256((__m256i *)(rows[lane] + 32), s[4 + lane]);
    }
}

#include "sp_sha2_wide.h"

const sp_sha512_impl sp_sha512_avx2 = {
    .name = "avx2",
    .needs = SP_CPU_AVX2,
    .width_min = WIDTH_MIN,
    .lanes = LANES,
    .compress_lanes = compress_lanes,
};

#endif
