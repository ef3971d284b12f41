/* Do kernels, schedulers and the fixed shapes of the tree agree with one another under every CPU mask, and with the
 * published vectors? The anchor is the portable kernel on vectors of FIPS 180-4 and RFC 4231; the rest is measured
 * against it. */
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "sp_bytes.h"
#include "sp_cpu.h"
#include "sp_crc32c.h"
#include "sp_digest.h"
#include "sp_hmac.h"
#include "sp_sha256.h"

#define TEXT_SIZE 20000
#define ITEMS 70

static uint8_t text[TEXT_SIZE];

static int is_hex(const uint8_t *digest, size_t size, const char *hex)
{
    char made[2 * SP_DIGEST_SIZE_MAX + 1];
    for (size_t i = 0; i < size; i++) {
        sprintf(made + 2 * i, "%02x", digest[i]);
    }
    return strcmp(made, hex) == 0;
}

static void known_answers(void)
{
    const uint8_t *abc = (const uint8_t *)"abc";
    const size_t size = 3;
    uint8_t out[SP_DIGEST_SIZE_MAX];
    EXPECT(sp_digest_many(1, 1, &abc, &size, out) == SP_OK);
    EXPECT(is_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    EXPECT(sp_digest_many(2, 1, &abc, &size, out) == SP_OK);
    EXPECT(is_hex(out, 48, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                           "8086072ba1e7cc2358baeca134c825a7"));
    EXPECT(sp_digest_many(3, 1, &abc, &size, out) == SP_OK);
    EXPECT(is_hex(out, 64, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                           "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"));
    EXPECT(sp_digest_many(4, 1, &abc, &size, out) == SP_E_ALGORITHM);
    EXPECT(sp_crc32c(0, (const uint8_t *)"123456789", 9) == 0xe3069283u);
}

static void hmac_answers(void)
{
    uint8_t key[131], out[32];
    memset(key, 0x0b, 20);
    sp_hmac_sha256(key, 20, (const uint8_t *)"Hi There", 8, out);
    EXPECT(is_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"));
    sp_hmac_sha256((const uint8_t *)"Jefe", 4, (const uint8_t *)"what do ya want for nothing?", 28, out);
    EXPECT(is_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    memset(key, 0xaa, sizeof key);
    sp_hmac_sha256(key, sizeof key, (const uint8_t *)"Test Using Larger Than Block-Size Key - Hash Key First", 54, out);
    EXPECT(is_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"));
}

/* Every number of pairs from none to past twice what the widest kernel takes, in place and apart. */
static void nodes(void)
{
    static uint8_t out[ITEMS * 32], in_place[ITEMS * 64], message[65];
    for (size_t count = 0; count <= ITEMS; count++) {
        memcpy(in_place, text, count * 64);
        sp_sha256_nodes(text, count, out);
        sp_sha256_nodes(in_place, count, in_place);
        EXPECT(memcmp(out, in_place, count * 32) == 0);
        for (size_t i = 0; i < count; i++) {
            uint8_t expected[32];
            message[0] = 0x01;
            memcpy(message + 1, text + 64 * i, 64);
            sp_sha256(message, sizeof message, expected);
            EXPECT(memcmp(out + 32 * i, expected, 32) == 0);
        }
    }
}

/* Pairs that fill a page of their own, with none before and none behind it. */
static void nodes_touch_their_pairs_only(void)
{
    enum { PAGE = 65536, PAIRS = PAGE / 64 };
    static uint8_t out[PAIRS * 32], expected[PAIRS * 32];
    uint8_t *pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(pages != MAP_FAILED && mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    for (size_t i = 0; i < PAGE; i++) {
        pages[PAGE + i] = (uint8_t)(i % 251);
    }
    sp_sha256_nodes(pages + PAGE, PAIRS, out);
    for (size_t i = 0; i < PAIRS; i++) {
        sp_sha256_nodes(pages + PAGE + 64 * i, 1, expected + 32 * i);
    }
    EXPECT(memcmp(out, expected, sizeof out) == 0);
    EXPECT(munmap(pages, 3 * PAGE) == 0);
}

/* Tails of every length behind a shared prefix of `blocks` blocks. */
static void tails_behind(size_t blocks)
{
    static uint8_t out[ITEMS * 32], whole[64 * 4 + 400];
    const uint8_t *tails[ITEMS];
    uint32_t state[8];
    memcpy(state, sp_sha256_start, sizeof state);
    sp_sha256_compress(state, text, blocks);
    memcpy(whole, text, 64 * blocks);
    for (size_t size = 0; size < 400; size += size < 140 ? 1 : 37) {
        const size_t count = 1 + size % ITEMS;
        for (size_t i = 0; i < count; i++) {
            tails[i] = text + 1000 + 13 * i;
        }
        sp_sha256_tail_many(state, 64 * blocks, tails, size, count, out);
        for (size_t i = 0; i < count; i++) {
            uint8_t expected[32];
            memcpy(whole + 64 * blocks, tails[i], size);
            sp_sha256(whole, 64 * blocks + size, expected);
            EXPECT(memcmp(out + 32 * i, expected, 32) == 0);
        }
    }
}

/* Tails in two columns, of the lengths of leaves and of others, in every number of lanes. */
static void columns(size_t first, size_t second)
{
    static uint8_t out[ITEMS * 32], whole[64 + 247];
    uint32_t state[8];
    memcpy(state, sp_sha256_start, sizeof state);
    sp_sha256_compress(state, text, 1);
    memcpy(whole, text, 64);
    const uint8_t *salts = text + 3, *digests = text + 9001;
    for (size_t count = 0; count <= ITEMS; count++) {
        sp_sha256_columns(state, 64, salts, first, digests, second, count, out);
        for (size_t i = 0; i < count; i++) {
            uint8_t expected[32];
            memcpy(whole + 64, salts + first * i, first);
            memcpy(whole + 64 + first, digests + second * i, second);
            sp_sha256(whole, 64 + first + second, expected);
            EXPECT(memcmp(out + 32 * i, expected, 32) == 0);
        }
    }
}

/* A seed with numbers behind it, over the end of what a number holds too, in every number of lanes. */
static void numbered(void)
{
    static uint8_t out[ITEMS * 32], message[36];
    const uint32_t first = UINT32_MAX - 20;
    memcpy(message, text + 5, 32);
    for (size_t count = 0; count <= ITEMS; count++) {
        sp_sha256_numbered(text + 5, first, count, out);
        for (size_t i = 0; i < count; i++) {
            uint8_t expected[32];
            sp_store_u32be(message + 32, first + (uint32_t)i);
            sp_sha256(message, sizeof message, expected);
            EXPECT(memcmp(out + 32 * i, expected, 32) == 0);
        }
    }
}

/* Messages whose lengths fall and rise, so that lanes end at different times. */
static void many_of_mixed_length(uint8_t algorithm)
{
    static uint8_t out[ITEMS * SP_DIGEST_SIZE_MAX];
    const uint8_t *data[ITEMS];
    size_t sizes[ITEMS];
    const size_t width = sp_digest_size(algorithm);
    for (size_t i = 0; i < ITEMS; i++) {
        data[i] = text + i;
        sizes[i] = (i * 7919) % (i % 3 == 0 ? 10000 : 300);
    }
    EXPECT(sp_digest_many(algorithm, ITEMS, data, sizes, out) == SP_OK);
    sp_hasher *hasher = NULL;
    EXPECT(sp_hasher_new(algorithm, &hasher) == SP_OK);
    for (size_t i = 0; i < ITEMS; i++) {
        uint8_t expected[SP_DIGEST_SIZE_MAX];
        const size_t cut = sizes[i] / 3;
        EXPECT(sp_hasher_update(hasher, data[i], cut) == SP_OK);
        EXPECT(sp_hasher_update(hasher, data[i] + cut, sizes[i] - cut) == SP_OK);
        EXPECT(sp_hasher_final(hasher, expected) == SP_OK);
        EXPECT(memcmp(out + width * i, expected, width) == 0);
    }
    sp_hasher_free(hasher);
}

/* Every number of messages up to past what the widest kernel takes, all of one length, so that all go in step. */
static void many_of_one_length(uint8_t algorithm)
{
    static uint8_t out[ITEMS * SP_DIGEST_SIZE_MAX], expected[ITEMS * SP_DIGEST_SIZE_MAX];
    const uint8_t *data[ITEMS];
    size_t sizes[ITEMS];
    const size_t width = sp_digest_size(algorithm);
    for (size_t i = 0; i < ITEMS; i++) {
        data[i] = text + 11 * i;
        sizes[i] = 300;
        EXPECT(sp_digest_many(algorithm, 1, &data[i], &sizes[i], expected + width * i) == SP_OK);
    }
    for (size_t count = 1; count <= ITEMS; count++) {
        memset(out, 0, sizeof out);
        EXPECT(sp_digest_many(algorithm, count, data, sizes, out) == SP_OK);
        EXPECT(memcmp(out, expected, width * count) == 0);
    }
}

static void kernels_agree(void)
{
    uint32_t expected[8], made[8];
    memcpy(expected, sp_sha256_start, sizeof expected);
    memcpy(made, sp_sha256_start, sizeof made);
    sp_sha256_portable.compress(expected, text, TEXT_SIZE / 64);
    sp_sha256_compress(made, text, TEXT_SIZE / 64);
    EXPECT(memcmp(made, expected, sizeof made) == 0);
    EXPECT(sp_crc32c(7, text + 1, 9999) == sp_crc32c_portable(7, text + 1, 9999));
}

static void everything(void)
{
    known_answers();
    hmac_answers();
    kernels_agree();
    nodes();
    nodes_touch_their_pairs_only();
    columns(16, 32);
    columns(16, 48);
    columns(36, 0);
    numbered();
    for (size_t blocks = 0; blocks <= 4; blocks++) {
        tails_behind(blocks);
    }
    for (uint8_t algorithm = 1; algorithm <= 3; algorithm++) {
        many_of_mixed_length(algorithm);
        many_of_one_length(algorithm);
    }
}

int main(void)
{
    for (size_t i = 0; i < TEXT_SIZE; i++) {
        text[i] = (uint8_t)(i % 251);
    }
    const uint32_t features = sp_cpu_features();
    /* the next subset of the features after `mask`; after the last one comes the empty one again */
    uint32_t mask = 0;
    do {
        sp_cpu_mask_set(mask);
        everything();
        mask = (mask - features) & features;
    } while (mask != 0);
    return check_done();
}
