/* SHA-384 and SHA-512 in plain C: the reference kernel, for every processor. */
#include "sp_bytes.h"
#include "sp_sha512.h"

const uint64_t sp_sha384_start[8] = {
    0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
    0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
};

const uint64_t sp_sha512_start[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

const uint64_t sp_sha512_constants[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static inline uint64_t turn(uint64_t value, int by)
{
    return (value >> by) | (value << (64 - by));
}

/* The next word of the schedule, in a ring of 16. */
static inline __attribute__((always_inline)) uint64_t next_word(uint64_t w[16], int i)
{
    const uint64_t early = w[(i + 1) & 15], late = w[(i + 14) & 15];
    const uint64_t s0 = turn(early, 1) ^ turn(early, 8) ^ (early >> 7);
    const uint64_t s1 = turn(late, 19) ^ turn(late, 61) ^ (late >> 6);
    w[i & 15] += s0 + w[(i + 9) & 15] + s1;
    return w[i & 15];
}

/* One round. The eight words do not move: round i finds a, b, … at places that turn with i, which the compiler
 * knows, since the loops over sixteen rounds are unrolled. */
static inline __attribute__((always_inline)) void one_round(uint64_t s[8], int i, uint64_t constant_and_word)
{
    const uint64_t a = s[(0 - i) & 7], b = s[(1 - i) & 7], c = s[(2 - i) & 7];
    const uint64_t e = s[(4 - i) & 7], f = s[(5 - i) & 7], g = s[(6 - i) & 7];
    const uint64_t big1 = turn(e, 14) ^ turn(e, 18) ^ turn(e, 41);
    const uint64_t big0 = turn(a, 28) ^ turn(a, 34) ^ turn(a, 39);
    const uint64_t t1 = s[(7 - i) & 7] + big1 + (g ^ (e & (f ^ g))) + constant_and_word;
    s[(3 - i) & 7] += t1;
    s[(7 - i) & 7] = t1 + big0 + ((a & b) | (c & (a | b)));
}

static void one_block(uint64_t state[8], const uint8_t *block)
{
    uint64_t w[16], s[8];
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 16; i++) {
        w[i] = sp_load_u64be(block + 8 * i);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        one_round(s, i, sp_sha512_constants[i] + w[i]);
    }
    for (int base = 16; base < 80; base += 16) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            one_round(s, i, sp_sha512_constants[base + i] + next_word(w, i));
        }
    }
    for (int i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

static void compress(uint64_t state[8], const uint8_t *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        one_block(state, blocks + SP_SHA512_BLOCK * i);
    }
}

static void compress_lanes(uint64_t (*states)[8], const uint8_t *const *blocks, size_t count, size_t width)
{
    for (size_t lane = 0; lane < width; lane++) {
        compress(states[lane], blocks[lane], count);
    }
}

const sp_sha512_impl sp_sha512_portable = {
    .name = "portable",
    .needs = 0,
    .width_min = 0,
    .lanes = 1,
    .compress = compress,
    .compress_lanes = compress_lanes,
};
