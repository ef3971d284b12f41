/* SHA-256 of eight messages at once with AVX2. */
#include "sp_cpu.h"
#ifdef SP_CPU_X86

#include "sp_sha256.h"
#include "sp_wide_avx2.h"

#define WORD_BITS 32
#define LANES 8
#define GROUPS 1
#define WIDTH_MIN 4
#define ADD(x, y) _mm256_add_epi32(x, y)
#define ADD_WORD(x, word) ADD(x, SPREAD(*(word)))
#define RIGHT(x, n) _mm256_srli_epi32(x, n)
#define TURN(x, n) _mm256_or_si256(RIGHT(x, n), _mm256_slli_epi32(x, 32 - (n)))
#define SPREAD(word) _mm256_set1_epi32((int)(word))
#define SWAP(x) wide_swap32(x)

/* Eight vectors as an 8 x 8 matrix of words of 32 bits, transposed. */
WIDE void wide_turn(vec v[8])
{
    wide_turn32(v, v + 1, v + 2, v + 3);
    wide_turn32(v + 4, v + 5, v + 6, v + 7);
    /* half h of vector 4 i + j: word 4 h + j of messages 4 i to 4 i + 3 */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        wide_halves(v + j, v + 4 + j);
    }
}

WIDE void wide_load(vec w[16], const uint8_t *const *blocks, size_t at)
{
#pragma GCC unroll 8
    for (int lane = 0; lane < LANES; lane++) {
        w[lane] = wide_swap32(_mm256_loadu_si256((const __m256i *)(blocks[lane] + at)));
        w[8 + lane] = wide_swap32(_mm256_loadu_si256((const __m256i *)(blocks[lane] + at + 32)));
    }
    wide_turn(w);
    wide_turn(w + 8);
}

WIDE void wide_open(vec s[8], uint8_t *const rows[LANES])
{
#pragma GCC unroll 8
    for (int lane = 0; lane < LANES; lane++) {
        s[lane] = _mm256_loadu_si256((const __m256i *)rows[lane]);
    }
    wide_turn(s);
}

WIDE void wide_close(vec s[8], uint8_t *const rows[LANES])
{
    wide_turn(s);
#pragma GCC unroll 8
    for (int lane = 0; lane < LANES; lane++) {
        _mm256_storeu_si256((__m256i *)rows[lane], s[lane]);
    }
}

#include "sp_sha2_wide.h"

const sp_sha256_impl sp_sha256_avx2 = {
    .name = "avx2",
    .needs = SP_CPU_AVX2,
    .width_min = WIDTH_MIN,
    .lanes = LANES,
    .compress_lanes = compress_lanes,
    .digest_lanes = digest_lanes,
};

#endif
