/* SHA-256 of sixteen messages at once, or twice sixteen, with AVX-512. */
#include "sp_cpu.h"
#ifdef SP_CPU_X86

#include "sp_sha256.h"
#include "sp_wide_avx512.h"

#define WORD_BITS 32
#define LANES 16
#define GROUPS 2
#define WIDTH_MIN 9
#define ADD(x, y) IN_ORDER("vpaddd %2, %1, %0", x, "v"(y))
#define ADD_WORD(x, word) IN_ORDER("vpaddd %2%{1to16%}, %1, %0", x, "m"(*(word)))
#define RIGHT(x, n) IN_ORDER("vpsrld %2, %1, %0", x, "i"(n))
#define TURN(x, n) IN_ORDER("vprord %2, %1, %0", x, "i"(n))
#define SPREAD(word) _mm512_set1_epi32((int)(word))
#define SWAP(x) wide_swap32(x)

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

/* Rows of half a vector: those of messages j, 4 + j, 8 + j and 12 + j make quarters of vectors j and 4 + j, which hold words
 * 0 to 3 and 4 to 7 of message 4 q + j in quarter q. */
WIDE void wide_open(vec s[8], uint8_t *const rows[LANES])
{
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const vec even = wide_join(rows[j], rows[4 + j]), odd = wide_join(rows[8 + j], rows[12 + j]);
        s[j] = _mm512_shuffle_i32x4(even, odd, 0x88);
        s[4 + j] = _mm512_shuffle_i32x4(even, odd, 0xdd);
    }
    wide_turn32(s, s + 1, s + 2, s + 3);
    wide_turn32(s + 4, s + 5, s + 6, s + 7);
}

WIDE void wide_close(vec s[8], uint8_t *const rows[LANES])
{
    wide_turn32(s, s + 1, s + 2, s + 3);
    wide_turn32(s + 4, s + 5, s + 6, s + 7);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const vec first = _mm512_shuffle_i32x4(s[j], s[4 + j], 0x44), last = _mm512_shuffle_i32x4(s[j], s[4 + j], 0xee);
        wide_split(_mm512_shuffle_i32x4(first, first, 0xd8), rows[j], rows[4 + j]);
        wide_split(_mm512_shuffle_i32x4(last, last, 0xd8), rows[8 + j], rows[12 + j]);
    }
}

#include "sp_sha2_wide.h"

/* The digests, one behind the other. */
WIDE void wide_store(vec state[8], uint8_t *out)
{
    uint8_t *rows[LANES];
    wide_rows(rows, out, LANES, NULL, 1);
    wide_swapped(state);
    wide_close(state, rows);
}

/* The second block of a node: the last byte of its pair, 0x80, zeros, and the length of 65 bytes in bits. Words 1 to 15
 * are the same for every node, so their rounds take one constant, and the sixteen words after them lose most terms
 * (SMALL0 of a zero) or are constants themselves. */
WIDE void node_end(vec (*state)[8], const vec *first, int groups)
{
    const uint32_t word15 = 8 * 65, small0_of_15 = 0x10820045;
    const uint32_t word17 = 0x01450000, word19 = 0x200051ca, word21 = 0x22d45414;
    vec s[GROUPS][8], w[GROUPS][16];
    EACH_GROUP(g) {
        memcpy(s[g], state[g], sizeof s[g]);
        wide_round(s[g], 0, ADD_WORD(first[g], CONSTANTS));
    }
#pragma GCC unroll 15
    for (int i = 1; i < 16; i++) {
        EACH_GROUP(g) {
            wide_round(s[g], i, SPREAD(CONSTANTS[i] + (i == 15 ? word15 : 0)));
        }
    }
    EACH_GROUP(g) {
        w[g][0] = first[g];
        w[g][1] = SPREAD(word17);
        w[g][2] = WITH(SMALL, first[g], SMALL1);
        w[g][3] = SPREAD(word19);
        w[g][4] = WITH(SMALL, w[g][2], SMALL1);
        w[g][5] = SPREAD(word21);
        w[g][6] = ADD(WITH(SMALL, w[g][4], SMALL1), SPREAD(word15));
#pragma GCC unroll 9
        for (int i = 7; i < 16; i++) {
            w[g][i] = ADD(w[g][i - 7], WITH(SMALL, w[g][i - 2], SMALL1));
        }
        w[g][14] = ADD(w[g][14], SPREAD(small0_of_15));
        w[g][15] = ADD(ADD(w[g][15], WITH(SMALL, first[g], SMALL0)), SPREAD(word15));
    }
    wide_rounds(s, w, 16, groups);
    EACH_GROUP(g) {
        wide_add(state[g], s[g]);
    }
}

/* The message of a node is one byte longer than its pair. So each lane reads from the byte before its pair, and what it finds
 * there gives way to the prefix; it is the last byte of the lane before, which the second block begins with. The first
 * lane of all has none before it. */
WIDE void node_load(vec w[16], vec *last, const uint8_t *pairs, uint64_t before)
{
    const uint32_t end = (uint32_t)pairs[64 * LANES - 1] << 24;
    w[0] = wide_swap32(_mm512_maskz_loadu_epi8(~UINT64_C(1) | before, pairs - 1));
#pragma GCC unroll 15
    for (int lane = 1; lane < LANES; lane++) {
        w[lane] = wide_swap32(_mm512_loadu_si512(pairs + 64 * lane - 1));
    }
    wide_turn(w);
    *last = _mm512_alignr_epi32(SPREAD(end), w[0], 1);
    *last = _mm512_or_si512(_mm512_and_si512(*last, SPREAD(0xff000000)), SPREAD(0x00800000));
    w[0] = _mm512_or_si512(_mm512_and_si512(w[0], SPREAD(0x00ffffff)), SPREAD(0x01000000));
}

WIDE_TARGET static void nodes(const uint8_t *pairs, uint8_t *out)
{
    const int groups = GROUPS;
    vec state[GROUPS][8], w[GROUPS][16], last[GROUPS];
    EACH_GROUP(g) {
        node_load(w[g], &last[g], pairs + 64 * LANES * g, g > 0);
    }
    wide_start(state, sp_sha256_start, groups);
    wide_block(state, w, groups);
    node_end(state, last, groups);
    EACH_GROUP(g) {
        wide_store(state[g], out + SP_SHA256_SIZE * LANES * g);
    }
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
WIDE void leaf_load(vec w[16], const uint8_t *salts, const uint8_t *digests)
{
    vec v[8];
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
}

WIDE_TARGET static void leaves(const uint32_t start[8], uint64_t size, const uint8_t *salts, const uint8_t *digests,
                               uint8_t *out)
{
    const int groups = GROUPS;
    vec state[GROUPS][8], w[GROUPS][16];
    EACH_GROUP(g) {
        leaf_load(w[g], salts + 16 * LANES * g, digests + 32 * LANES * g);
        w[g][12] = SPREAD(0x80000000);
        w[g][13] = w[g][14] = _mm512_setzero_si512();
        w[g][15] = SPREAD(8 * size);
    }
    wide_start(state, start, groups);
    wide_block(state, w, groups);
    EACH_GROUP(g) {
        wide_store(state[g], out + SP_SHA256_SIZE * LANES * g);
    }
}

/* A message is the seed, its number and padding: but for word 8 all lanes hold the same, which takes the first eight rounds
 * and words 16 to 22 with it. Those are made once. */
WIDE_TARGET static void numbered(const uint8_t seed[32], uint32_t first, size_t times, uint8_t *out)
{
    const int groups = GROUPS;
    vec number = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    vec start[1][8], common[8], words[16];
    number = ADD(number, SPREAD(first));
    for (int i = 0; i < 16; i++) {
        words[i] = i < 8 ? SPREAD(sp_load_u32be(seed + 4 * i)) : _mm512_setzero_si512();
    }
    words[9] = SPREAD(0x80000000);
    words[15] = SPREAD(8 * 36);
    wide_start(start, sp_sha256_start, 1);
    memcpy(common, start[0], sizeof common);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        wide_round(common, i, ADD_WORD(words[i], CONSTANTS + i));
    }
#pragma GCC unroll 7
    for (int i = 0; i < 7; i++) {
        wide_next(words, i);
    }
    for (; times > 0; times--) {
        vec s[GROUPS][8], w[GROUPS][16];
        EACH_GROUP(g) {
            memcpy(s[g], common, sizeof s[g]);
            memcpy(w[g], words, sizeof w[g]);
            w[g][8] = number;
            number = ADD(number, SPREAD(LANES));
        }
#pragma GCC unroll 8
        for (int i = 8; i < 16; i++) {
            EACH_GROUP(g) {
                wide_round(s[g], i, ADD_WORD(w[g][i], CONSTANTS + i));
            }
        }
        EACH_GROUP(g) {
#pragma GCC unroll 9
            for (int i = 7; i < 16; i++) {
                wide_next(w[g], i);
            }
        }
        wide_rounds(s, w, 16, groups);
        EACH_GROUP(g) {
            wide_add(s[g], start[0]);
            wide_store(s[g], out);
            out += SP_SHA256_SIZE * LANES;
        }
    }
}

const sp_sha256_impl sp_sha256_avx512 = {
    .name = "avx512",
    .needs = SP_CPU_AVX512,
    .width_min = WIDTH_MIN,
    .lanes = GROUPS * LANES,
    .compress_lanes = compress_lanes,
    .digest_lanes = digest_lanes,
    .nodes = nodes,
    .leaves = leaves,
    .numbered = numbered,
};

#endif
