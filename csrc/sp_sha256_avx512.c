/* SHA-256 of sixteen messages at once with AVX-512. */
#include "sp_cpu.h"
#ifdef SP_CPU_X86

#include "sp_sha256.h"
#include "sp_wide_avx512.h"

#define WORD_BITS 32
#define LANES 16
#define ADD(x, y) IN_ORDER("vpaddd %2, %1, %0", x, "v"(y))
#define ADD_WORD(x, word) IN_ORDER("vpaddd %2%{1to16%}, %1, %0", x, "m"(*(word)))
#define RIGHT(x, n) IN_ORDER("vpsrld %2, %1, %0", x, "i"(n))
#define TURN(x, n) IN_ORDER("vprord %2, %1, %0", x, "i"(n))
#define SPREAD(word) _mm512_set1_epi32((int)(word))
#define WIDE_STORE(s, out) wide_store(s, out)

/* Sixteen blocks, one in each vector, to their words in lanes. */
WIDE void wide_turn(vec w[16])
{
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        wide_turn32(w + i, w + i + 1, w + i + 2, w + i + 3);
    }
    /* quarter q of vector 4 i + j: word 4 q + j of messages 4 i to 4 i + 3 */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        wide_quarters(w + j, w + 4 + j, w + 8 + j, w + 12 + j);
    }
}

WIDE void wide_load(vec w[16], const uint8_t *const *blocks, size_t at)
{
#pragma GCC unroll 16
    for (int lane = 0; lane < LANES; lane++) {
        w[lane] = wide_swap32(_mm512_loadu_si512(blocks[lane] + at));
    }
    wide_turn(w);
}

WIDE void wide_store(vec s[8], uint8_t *out)
{
    wide_turn32(s, s + 1, s + 2, s + 3);
    wide_turn32(s + 4, s + 5, s + 6, s + 7);
    /* quarter q of vector j: words 0 to 3 (j < 4) or 4 to 7 of message 4 q + j mod 4 */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const vec low = wide_swap32(s[j]), high = wide_swap32(s[4 + j]);
        const vec first = _mm512_shuffle_i32x4(low, high, 0x44), last = _mm512_shuffle_i32x4(low, high, 0xee);
        const vec even = _mm512_shuffle_i32x4(first, first, 0xd8), odd = _mm512_shuffle_i32x4(last, last, 0xd8);
        _mm256_storeu_si256((__m256i *)(out + 32 * j), _mm512_castsi512_si256(even));
        _mm256_storeu_si256((__m256i *)(out + 32 * (4 + j)), _mm512_extracti64x4_epi64(even, 1));
        _mm256_storeu_si256((__m256i *)(out + 32 * (8 + j)), _mm512_castsi512_si256(odd));
        _mm256_storeu_si256((__m256i *)(out + 32 * (12 + j)), _mm512_extracti64x4_epi64(odd, 1));
    }
}

#include "sp_sha2_wide.h"

/* The second block of a node: the last byte of its pair, 0x80, zeros, and the length of 65 bytes in bits. Words 1 to 15
 * are the same for every node, so their rounds take one constant, and the sixteen words after them lose most terms
 * (SMALL0 of a zero) or are constants themselves. */
WIDE void node_end(vec state[8], vec first)
{
    const uint32_t word15 = 8 * 65, small0_of_15 = 0x10820045;
    const uint32_t word17 = 0x01450000, word19 = 0x200051ca, word21 = 0x22d45414;
    vec s[8], w[16];
    memcpy(s, state, sizeof s);
    wide_round(s, 0, ADD_WORD(first, CONSTANTS));
#pragma GCC unroll 15
    for (int i = 1; i < 16; i++) {
        wide_round(s, i, SPREAD(CONSTANTS[i] + (i == 15 ? word15 : 0)));
    }
    w[0] = first;
    w[1] = SPREAD(word17);
    w[2] = WITH(SMALL, first, SMALL1);
    w[3] = SPREAD(word19);
    w[4] = WITH(SMALL, w[2], SMALL1);
    w[5] = SPREAD(word21);
    w[6] = ADD(WITH(SMALL, w[4], SMALL1), SPREAD(word15));
#pragma GCC unroll 9
    for (int i = 7; i < 16; i++) {
        w[i] = ADD(w[i - 7], WITH(SMALL, w[i - 2], SMALL1));
    }
    w[14] = ADD(w[14], SPREAD(small0_of_15));
    w[15] = ADD(ADD(w[15], WITH(SMALL, first, SMALL0)), SPREAD(word15));
    wide_rounds(s, w, 16);
    wide_add(state, s);
}

/* The message of a node is one byte longer than its pair. So each lane reads from the byte before its pair, and what it finds
 * there gives way to the prefix; it is the last byte of the lane before, which the second block begins with. The first
 * lane has none before it. */
WIDE_TARGET static void nodes(const uint8_t *pairs, uint8_t *out)
{
    const uint32_t end = (uint32_t)pairs[64 * LANES - 1] << 24;
    vec state[8], w[16], last;
    w[0] = wide_swap32(_mm512_maskz_loadu_epi8(~UINT64_C(1), pairs - 1));
#pragma GCC unroll 15
    for (int lane = 1; lane < LANES; lane++) {
        w[lane] = wide_swap32(_mm512_loadu_si512(pairs + 64 * lane - 1));
    }
    wide_turn(w);
    last = _mm512_alignr_epi32(SPREAD(end), w[0], 1);
    last = _mm512_or_si512(_mm512_and_si512(last, SPREAD(0xff000000)), SPREAD(0x00800000));
    w[0] = _mm512_or_si512(_mm512_and_si512(w[0], SPREAD(0x00ffffff)), SPREAD(0x01000000));
    wide_start(state, sp_sha256_start);
    wide_block(state, w);
    node_end(state, last);
    wide_store(state, out);
}

/* Four vectors of quarters to four vectors of words: quarter q of vector j holds words of message 4 q + j. */
WIDE void wide_words(vec v[4])
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v[i] = wide_swap32(v[i]);
    }
    wide_turn32(v, v + 1, v + 2, v + 3);
}

/* Both columns are read as they stand: salts four to a vector, digests two. */
WIDE_TARGET static void leaves(const uint32_t start[8], uint64_t size, const uint8_t *salts, const uint8_t *digests,
                               uint8_t *out)
{
    vec state[8], w[16], v[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        w[i] = _mm512_loadu_si512(salts + 64 * i);
    }
    wide_quarters(w, w + 1, w + 2, w + 3);
    wide_words(w);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        v[i] = _mm512_loadu_si512(digests + 64 * i);
    }
    wide_quarters(v, v + 2, v + 4, v + 6);      /* halves of the digests of messages 4 q and 4 q + 1 */
    wide_quarters(v + 1, v + 3, v + 5, v + 7);  /* 4 q + 2 and 4 q + 3 */
    w[4] = v[0], w[5] = v[4], w[6] = v[1], w[7] = v[5];
    w[8] = v[2], w[9] = v[6], w[10] = v[3], w[11] = v[7];
    wide_words(w + 4);
    wide_words(w + 8);
    w[12] = SPREAD(0x80000000);
    w[13] = w[14] = _mm512_setzero_si512();
    w[15] = SPREAD(8 * size);
    wide_start(state, start);
    wide_block(state, w);
    wide_store(state, out);
}

/* A message is the seed, its number and padding: but for word 8 all lanes hold the same, which takes the first eight rounds
 * and words 16 to 22 with it. Those are made once. */
WIDE_TARGET static void numbered(const uint8_t seed[32], uint32_t first, size_t groups, uint8_t *out)
{
    vec number = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    vec start[8], common[8], words[16];
    number = ADD(number, SPREAD(first));
    for (int i = 0; i < 16; i++) {
        words[i] = i < 8 ? SPREAD(sp_load_u32be(seed + 4 * i)) : _mm512_setzero_si512();
    }
    words[9] = SPREAD(0x80000000);
    words[15] = SPREAD(8 * 36);
    wide_start(start, sp_sha256_start);
    memcpy(common, start, sizeof common);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        wide_round(common, i, ADD_WORD(words[i], CONSTANTS + i));
    }
#pragma GCC unroll 7
    for (int i = 0; i < 7; i++) {
        wide_next(words, i);
    }
    for (; groups > 0; groups--) {
        vec s[8], w[16];
        memcpy(s, common, sizeof s);
        memcpy(w, words, sizeof w);
        w[8] = number;
#pragma GCC unroll 8
        for (int i = 8; i < 16; i++) {
            wide_round(s, i, ADD_WORD(w[i], CONSTANTS + i));
        }
#pragma GCC unroll 9
        for (int i = 7; i < 16; i++) {
            wide_next(w, i);
        }
        wide_rounds(s, w, 16);
        wide_add(s, start);
        wide_store(s, out);
        number = ADD(number, SPREAD(LANES));
        out += SP_SHA256_SIZE * LANES;
    }
}

const sp_sha256_impl sp_sha256_avx512 = {
    .name = "avx512",
    .needs = SP_CPU_AVX512,
    .width_min = 9,
    .lanes = LANES,
    .compress_lanes = compress_lanes,
    .digest_lanes = digest_lanes,
    .nodes = nodes,
    .leaves = leaves,
    .numbered = numbered,
};

#endif
