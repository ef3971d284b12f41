/* SHA-384 and SHA-512 of eight messages at once with AVX-512. */
#include "sp_cpu.h"
#ifdef SP_CPU_X86

#include "sp_sha512.h"
#include "sp_wide_avx512.h"

#define WORD_BITS 64
#define LANES 8
#define GROUPS 2
#define WIDTH_MIN 3
#define ADD(x, y) IN_ORDER("vpaddq %2, %1, %0", x, "v"(y))
#define ADD_WORD(x, word) IN_ORDER("vpaddq %2%{1to8%}, %1, %0", x, "m"(*(word)))
#define RIGHT(x, n) IN_ORDER("vpsrlq %2, %1, %0", x, "i"(n))
#define TURN(x, n) IN_ORDER("vprorq %2, %1, %0", x, "i"(n))
#define SPREAD(word) _mm512_set1_epi64((long long)(word))

/* Eight vectors as an 8 x 8 matrix of words of 64 bits, transposed: pairs of words, then quarters. */
WIDE void wide_turn64(vec v[8])
{
    vec t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 1]);
    }
    /* quarter q of t[2 i + j]: word 2 q + j of messages 2 i and 2 i + 1 */
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        wide_quarters(t + j, t + 2 + j, t + 4 + j, t + 6 + j);
        v[j] = t[j], v[2 + j] = t[2 + j], v[4 + j] = t[4 + j], v[6 + j] = t[6 + j];
    }
}

WIDE void wide_load(vec w[16], const uint8_t *const *blocks, size_t at)
{
#pragma GCC unroll 8
    for (int lane = 0; lane < LANES; lane++) {
        w[lane] = wide_swap64(_mm512_loadu_si512(blocks[lane] + at));
        w[8 + lane] = wide_swap64(_mm512_loadu_si512(blocks[lane] + at + 64));
    }
    wide_turn64(w);
    wide_turn64(w + 8);
}

WIDE void wide_open(vec s[8], uint8_t *const rows[LANES])
{
#pragma GCC unroll 8
    for (int lane = 0; lane < LANES; lane++) {
        s[lane] = _mm512_loadu_si512(rows[lane]);
    }
    wide_turn64(s);
}

WIDE void wide_close(vec s[8], uint8_t *const rows[LANES])
{
    wide_turn64(s);
#pragma GCC unroll 8
    for (int lane = 0; lane < LANES; lane++) {
        _mm512_storeu_si512(rows[lane], s[lane]);
    }
}

#include "sp_sha2_wide.h"

const sp_sha512_impl sp_sha512_avx512 = {
    .name = "avx512",
    .needs = SP_CPU_AVX512,
    .width_min = WIDTH_MIN,
    .lanes = GROUPS * LANES,
    .compress_lanes = compress_lanes,
};

#endif
