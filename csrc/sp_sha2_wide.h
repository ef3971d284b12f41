/* SHA-2 of as many messages as a vector has words, in step: word i of message m stands in lane m of vector i. It is
 * the same text for SHA-256 and SHA-512 and for every instruction set; who includes it says first
 *   WORD_BITS                      32: SHA-256, 64: SHA-384 and SHA-512
 *   vec, WIDE, WIDE_TARGET, XOR3, CHOOSE, MAJORITY                 (sp_wide_*.h)
 *   LANES, ADD, ADD_WORD(x, pointer), RIGHT(x, n), TURN(x, n), SPREAD(word)
 *   wide_load(w, blocks, at)       the sixteen words of the blocks at blocks[lane] + at, in the processor's order
 * and gets wide_block and a kernel's compress_lanes; with
 *   WIDE_STORE(s, out)             eight words of each lane, big endian, one message behind the other
 * also wide_start and digest_lanes. */
#ifndef SP_SHA2_WIDE_H
#define SP_SHA2_WIDE_H

#include <stddef.h>
#include <string.h>

/* FIPS 180-4, 4.1.2, 4.1.3 and 4.2 */
#if WORD_BITS == 32
#define WORD uint32_t
#define ROUNDS 64
#define CONSTANTS sp_sha256_constants
#define BIG0 2, 13, 22
#define BIG1 6, 11, 25
#define SMALL0 7, 18, 3
#define SMALL1 17, 19, 10
#else
#define WORD uint64_t
#define ROUNDS 80
#define CONSTANTS sp_sha512_constants
#define BIG0 28, 34, 39
#define BIG1 14, 18, 41
#define SMALL0 1, 8, 7
#define SMALL1 19, 61, 6
#endif

#define BLOCK (16 * sizeof(WORD))
#define SIGMA(x, p, q, r) XOR3(TURN(x, p), TURN(x, q), TURN(x, r))
#define SMALL(x, p, q, r) XOR3(TURN(x, p), TURN(x, q), RIGHT(x, r))
#define WITH(name, ...) name(__VA_ARGS__)      /* expands BIG0 and its like to three arguments first */

/* One round, on words that do not move: round i finds a, b, … at places that turn with i (see sp_sha256_portable.c). */
WIDE void wide_round(vec s[8], int i, vec constant_and_word)
{
    const vec a = s[(0 - i) & 7], b = s[(1 - i) & 7], c = s[(2 - i) & 7];
    const vec e = s[(4 - i) & 7], f = s[(5 - i) & 7], g = s[(6 - i) & 7];
    vec sum = ADD(s[(7 - i) & 7], constant_and_word);
    sum = ADD(sum, CHOOSE(e, f, g));
    sum = ADD(sum, WITH(SIGMA, e, BIG1));
    s[(3 - i) & 7] = ADD(s[(3 - i) & 7], sum);
    sum = ADD(sum, MAJORITY(a, b, c));
    s[(7 - i) & 7] = ADD(sum, WITH(SIGMA, a, BIG0));
}

/* Word i + 16 in the place of word i, which its round has used. */
WIDE void wide_next(vec w[16], int i)
{
    const vec early = w[(i + 1) & 15], late = w[(i + 14) & 15];
    vec sum = ADD(w[i & 15], w[(i + 9) & 15]);
    sum = ADD(sum, WITH(SMALL, early, SMALL0));
    w[i & 15] = ADD(sum, WITH(SMALL, late, SMALL1));
}

/* Rounds from `base` on, to the end, of the words that w holds for them. A word is made sixteen rounds before it is
 * needed: the processor always finds work beside the chain of additions from round to round. */
WIDE void wide_rounds(vec s[8], vec w[16], int base)
{
    for (; base < ROUNDS - 16; base += 16) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            wide_round(s, i, ADD_WORD(w[i], CONSTANTS + base + i));
            wide_next(w, i);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        wide_round(s, i, ADD_WORD(w[i], CONSTANTS + base + i));
    }
}

WIDE void wide_add(vec state[8], const vec s[8])
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        state[i] = ADD(state[i], s[i]);
    }
}

/* One block of each lane; w is used up. */
WIDE void wide_block(vec state[8], vec w[16])
{
    vec s[8];
    memcpy(s, state, sizeof s);
    wide_rounds(s, w, 0);
    wide_add(state, s);
}

WIDE void wide_blocks(vec state[8], const uint8_t *const *blocks, size_t count)
{
    for (size_t at = 0; at < count * BLOCK; at += BLOCK) {
        vec w[16];
        wide_load(w, blocks, at);
        wide_block(state, w);
    }
}

/* LANES messages from `blocks` on; those behind `width` repeat the first one. Answers how many are meant. */
WIDE size_t wide_fill(const uint8_t *filled[LANES], const uint8_t *const *blocks, size_t width)
{
    for (size_t lane = 0; lane < LANES; lane++) {
        filled[lane] = blocks[lane < width ? lane : 0];
    }
    return width < LANES ? width : LANES;
}

/* The states of `width` messages, as words in lanes; and back. */
WIDE void wide_open(vec state[8], WORD (*states)[8], size_t width)
{
    WORD words[8][LANES] __attribute__((aligned(64)));
    for (size_t i = 0; i < 8; i++) {
        for (size_t lane = 0; lane < LANES; lane++) {
            words[i][lane] = states[lane < width ? lane : 0][i];
        }
    }
    memcpy(state, words, sizeof words);
}

WIDE void wide_close(const vec state[8], WORD (*states)[8], size_t width)
{
    WORD words[8][LANES] __attribute__((aligned(64)));
    memcpy(words, state, sizeof words);
    for (size_t lane = 0; lane < width; lane++) {
        for (size_t i = 0; i < 8; i++) {
            states[lane][i] = words[i][lane];
        }
    }
}

WIDE_TARGET static void compress_lanes(WORD (*states)[8], const uint8_t *const *blocks, size_t count, size_t width)
{
    for (size_t at = 0; at < width; at += LANES) {
        const uint8_t *filled[LANES];
        const size_t some = wide_fill(filled, blocks + at, width - at);
        vec state[8];
        wide_open(state, states + at, some);
        wide_blocks(state, filled, count);
        wide_close(state, states + at, some);
    }
}

#ifdef WIDE_STORE

WIDE void wide_start(vec state[8], const WORD start[8])
{
    for (int i = 0; i < 8; i++) {
        state[i] = SPREAD(start[i]);
    }
}

WIDE_TARGET static void digest_lanes(const WORD start[8], const uint8_t *const *blocks, size_t count, size_t width,
                                     uint8_t *out)
{
    for (size_t at = 0; at < width; at += LANES) {
        const uint8_t *filled[LANES];
        uint8_t digests[LANES * 8 * sizeof(WORD)];
        const size_t some = wide_fill(filled, blocks + at, width - at);
        vec state[8];
        wide_start(state, start);
        wide_blocks(state, filled, count);
        WIDE_STORE(state, digests);
        memcpy(out + at * 8 * sizeof(WORD), digests, some * 8 * sizeof(WORD));
    }
}

#endif
#endif
