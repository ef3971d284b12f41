/* SHA-256 in plain C: the reference kernel, for every processor. */
#include "sp_bytes.h"
#include "sp_sha256.h"

const uint32_t sp_sha256_start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

const uint32_t sp_sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t turn(uint32_t value, int by)
{
    return (value >> by) | (value << (32 - by));
}

/* The next word of the schedule, in a ring of 16. */
static inline __attribute__((always_inline)) uint32_t next_word(uint32_t w[16], int i)
{
    const uint32_t early = w[(i + 1) & 15], late = w[(i + 14) & 15];
    const uint32_t s0 = turn(early, 7) ^ turn(early, 18) ^ (early >> 3);
    const uint32_t s1 = turn(late, 17) ^ turn(late, 19) ^ (late >> 10);
    w[i & 15] += s0 + w[(i + 9) & 15] + s1;
    return w[i & 15];
}

/* One round. The eight words do not move: round i finds a, b, … at places that turn with i, which the compiler
 * knows, since the loops over sixteen rounds are unrolled. */
static inline __attribute__((always_inline)) void one_round(uint32_t s[8], int i, uint32_t constant_and_word)
{
    const uint32_t a = s[(0 - i) & 7], b = s[(1 - i) & 7], c = s[(2 - i) & 7];
    const uint32_t e = s[(4 - i) & 7], f = s[(5 - i) & 7], g = s[(6 - i) & 7];
    const uint32_t big1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
    const uint32_t big0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
    const uint32_t t1 = s[(7 - i) & 7] + big1 + (g ^ (e & (f ^ g))) + constant_and_word;
    s[(3 - i) & 7] += t1;
    s[(7 - i) & 7] = t1 + big0 + ((a & b) | (c & (a | b)));
}

static void one_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[16], s[8];
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 16; i++) {
        w[i] = sp_load_u32be(block + 4 * i);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        one_round(s, i, sp_sha256_constants[i] + w[i]);
    }
    for (int base = 16; base < 64; base += 16) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            one_round(s, i, sp_sha256_constants[base + i] + next_word(w, i));
        }
    }
    for (int i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

static void compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        one_block(state, blocks + SP_SHA256_BLOCK * i);
    }
}

static void compress_lanes(uint32_t (*states)[8], const uint8_t *const *blocks, size_t count, size_t width)
{
    for (size_t lane = 0; lane < width; lane++) {
        compress(states[lane], blocks[lane], count);
    }
}

static void digest_lanes(const uint32_t start[8], const uint8_t *const *blocks, size_t count, size_t width, uint8_t *out)
{
    for (size_t lane = 0; lane < width; lane++) {
        uint32_t state[8];
        memcpy(state, start, sizeof state);
        compress(state, blocks[lane], count);
        sp_sha256_store(state, out + SP_SHA256_SIZE * lane);
    }
}

const sp_sha256_impl sp_sha256_portable = {
    .name = "portable",
    .needs = 0,
    .width_min = 0,
    .lanes = 1,
    .compress = compress,
    .compress_lanes = compress_lanes,
    .digest_lanes = digest_lanes,
};
