/* SHA-2 of as many messages as a vector has words, in step: word i of message m stands in lane m of vector i. It is
 * the same text for SHA-256 and SHA-512 and for every instruction set; who includes it says first
 *   WORD_BITS                      32: SHA-256, 64: SHA-384 and SHA-512
 *   vec, WIDE, WIDE_TARGET, XOR3, CHOOSE, MAJORITY                 (sp_wide_*.h)
 *   LANES, ADD, ADD_WORD(x, pointer), RIGHT(x, n), TURN(x, n), SPREAD(word)
 *   GROUPS                         of LANES messages in step, 1 or 2
 *   WIDTH_MIN                      for fewer messages a narrower kernel is quicker
 *   wide_load(w, blocks, at)       the sixteen words of the blocks at blocks[lane] + at, in the processor's order
 *   wide_open(s, rows)             the eight words at rows[lane]
 *   wide_close(s, rows)            and back; s is used up
 * and gets wide_block and a kernel's compress_lanes; with
 *   SWAP(x)                        the bytes of each word reversed
 * also wide_start, wide_swapped and digest_lanes. */
#ifndef SP_SHA2_WIDE_H
#define SP_SHA2_WIDE_H

#include <stddef.h>
#include <string.h>

/* FIPS 180-4, 4.1.2, 4.1.3 and 4.2 */
#if WORD_BITS == 32
#define WORD uint32_t
#define ROUNDS 64
#define CONSTANTS sp_sha256_constants
#define PICK sp_sha256_pick
#define BIG0 2, 13, 22
#define BIG1 6, 11, 25
#define SMALL0 7, 18, 3
#define SMALL1 17, 19, 10
#else
#define WORD uint64_t
#define ROUNDS 80
#define CONSTANTS sp_sha512_constants
#define PICK sp_sha512_pick
#define BIG0 28, 34, 39
#define BIG1 14, 18, 41
#define SMALL0 1, 8, 7
#define SMALL1 19, 61, 6
#endif

#define BLOCK (16 * sizeof(WORD))
#define DIGEST (8 * sizeof(WORD))
#define AHEAD (4 * BLOCK)
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

/* A round waits for the one before it, four operations behind one another. Where there are registers for two states, two
 * groups take their rounds in turn and fill each other's waits. `groups` is 1 or GROUPS, and a constant. */
#define EACH_GROUP(g) \
    _Pragma("GCC unroll 2") \
    for (int g = 0; g < groups; g++)

/* Rounds from `base` on, to the end, of the words that w holds for them. A word is made sixteen rounds before it is
 * needed: the processor always finds work beside the chain of additions from round to round. */
WIDE void wide_rounds_of(vec (*state)[8], vec (*w)[16], int base, int groups)
{
    vec s[GROUPS][8];
    EACH_GROUP(g) {
        memcpy(s[g], state[g], sizeof s[g]);
    }
    for (; base < ROUNDS - 16; base += 16) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            EACH_GROUP(g) {
                wide_round(s[g], i, ADD_WORD(w[g][i], CONSTANTS + base + i));
                wide_next(w[g], i);
                if (groups > 1) {
                    __asm__ volatile("" : "+m"(*(vec (*)[16])w[g]));    /* w stays there: the registers are for the states */
                }
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        EACH_GROUP(g) {
            wide_round(s[g], i, ADD_WORD(w[g][i], CONSTANTS + base + i));
        }
    }
    EACH_GROUP(g) {
        memcpy(state[g], s[g], sizeof s[g]);
    }
}

/* A function of its own: one copy of it for all that a kernel does stays in the cache of instructions. */
__attribute__((noinline)) WIDE_TARGET static void rounds_in_turn(vec (*s)[8], vec (*w)[16], int base)
{
    wide_rounds_of(s, w, base, GROUPS);
}

WIDE void wide_rounds(vec (*s)[8], vec (*w)[16], int base, int groups)
{
    if (groups > 1) {
        rounds_in_turn(s, w, base);
    } else {
        wide_rounds_of(s, w, base, 1);
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
WIDE void wide_block(vec (*state)[8], vec (*w)[16], int groups)
{
    vec s[GROUPS][8];
    EACH_GROUP(g) {
        memcpy(s[g], state[g], sizeof s[g]);
    }
    wide_rounds(s, w, 0, groups);
    EACH_GROUP(g) {
        wide_add(state[g], s[g]);
    }
}

/* Processors read ahead by themselves, but lose count of so many messages. */
WIDE void wide_ahead(const uint8_t *const *blocks, size_t at, int groups)
{
    for (int lane = 0; lane < groups * LANES; lane++) {
        for (size_t line = at; line < at + BLOCK; line += 64) {
            __builtin_prefetch(blocks[lane] + line);
        }
    }
}

WIDE void wide_blocks(vec (*state)[8], const uint8_t *const *blocks, size_t count, int groups)
{
    for (size_t at = 0; at < count * BLOCK; at += BLOCK) {
        vec w[GROUPS][16];
        EACH_GROUP(g) {
            wide_load(w[g], blocks + LANES * g, at);
        }
        if (groups > 1 && at + AHEAD < count * BLOCK) {
            wide_ahead(blocks, at + AHEAD, groups);
        }
        wide_block(state, w, groups);
    }
}

/* `groups` times LANES messages from `blocks` on; those behind `width` repeat the first one. */
WIDE void wide_fill(const uint8_t **filled, const uint8_t *const *blocks, size_t width, int groups)
{
    for (size_t lane = 0; lane < (size_t)(groups * LANES); lane++) {
        filled[lane] = blocks[lane < width ? lane : 0];
    }
}

/* Rows of eight words from `first` on, one for each message; those behind `width` share the spare one. */
WIDE void wide_rows(uint8_t **rows, uint8_t *first, size_t width, uint8_t *spare, int groups)
{
    for (size_t lane = 0; lane < (size_t)(groups * LANES); lane++) {
        rows[lane] = lane < width ? first + DIGEST * lane : spare;
    }
}

/* `width` messages, at most those of `groups`. */
WIDE void wide_compress(WORD (*states)[8], const uint8_t *const *blocks, size_t count, size_t width, int groups)
{
    const uint8_t *filled[GROUPS * LANES];
    uint8_t *rows[GROUPS * LANES], spare[DIGEST] = {0};
    vec state[GROUPS][8];
    wide_fill(filled, blocks, width, groups);
    wide_rows(rows, (uint8_t *)states, width, spare, groups);
    EACH_GROUP(g) {
        wide_open(state[g], rows + LANES * g);
    }
    wide_blocks(state, filled, count, groups);
    EACH_GROUP(g) {
        wide_close(state[g], rows + LANES * g);
    }
}

/* So many of `width` messages go together: two groups, one, or none. A group costs the same however few are in it. Where
 * an operation takes two passes, one group fills the waits itself, and two are slower: their words stand in memory. */
WIDE size_t wide_part(size_t width)
{
    const int turns = GROUPS > 1 && (sp_cpu_usable() & SP_CPU_AVX512_WHOLE) != 0;
    const size_t most = turns && width >= LANES + WIDTH_MIN ? GROUPS * LANES : width >= WIDTH_MIN ? LANES : 0;
    return width < most ? width : most;
}

WIDE_TARGET static void compress_lanes(WORD (*states)[8], const uint8_t *const *blocks, size_t count, size_t width)
{
    for (size_t part; (part = wide_part(width)) > 0; width -= part, states += part, blocks += part) {
        if (GROUPS > 1 && part > LANES) {
            wide_compress(states, blocks, count, part, GROUPS);
        } else {
            wide_compress(states, blocks, count, part, 1);
        }
    }
    if (width > 0) {
        PICK(width)->compress_lanes(states, blocks, count, width);
    }
}

#ifdef SWAP

WIDE void wide_start(vec (*state)[8], const WORD start[8], int groups)
{
    EACH_GROUP(g) {
        for (int i = 0; i < 8; i++) {
            state[g][i] = SPREAD(start[i]);
        }
    }
}

/* Digests are states with the first byte of a word in front. */
WIDE void wide_swapped(vec state[8])
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        state[i] = SWAP(state[i]);
    }
}

WIDE void wide_digest(const WORD start[8], const uint8_t *const *blocks, size_t count, size_t width, uint8_t *out, int groups)
{
    const uint8_t *filled[GROUPS * LANES];
    uint8_t *rows[GROUPS * LANES], spare[DIGEST];
    vec state[GROUPS][8];
    wide_fill(filled, blocks, width, groups);
    wide_rows(rows, out, width, spare, groups);
    wide_start(state, start, groups);
    wide_blocks(state, filled, count, groups);
    EACH_GROUP(g) {
        wide_swapped(state[g]);
        wide_close(state[g], rows + LANES * g);
    }
}

WIDE_TARGET static void digest_lanes(const WORD start[8], const uint8_t *const *blocks, size_t count, size_t width,
                                     uint8_t *out)
{
    for (size_t part; (part = wide_part(width)) > 0; width -= part, blocks += part, out += DIGEST * part) {
        if (GROUPS > 1 && part > LANES) {
            wide_digest(start, blocks, count, part, out, GROUPS);
        } else {
            wide_digest(start, blocks, count, part, out, 1);
        }
    }
    if (width > 0) {
        PICK(width)->digest_lanes(start, blocks, count, width, out);
    }
}

#endif
#endif
