/* HMAC-SHA256: two hashes, keyed by a block each. */
#define _GNU_SOURCE
#include "sp_hmac.h"

#include <string.h>

#include "sp_sha256.h"

void sp_hmac_sha256(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size, uint8_t out[32])
{
    uint8_t inner[SP_SHA256_BLOCK] = {0}, outer[SP_SHA256_BLOCK];
    sp_sha256_ctx ctx;
    if (key_size > SP_SHA256_BLOCK) {
        sp_sha256(key, key_size, inner);
    } else if (key_size > 0) {
        memcpy(inner, key, key_size);
    }
    for (size_t i = 0; i < SP_SHA256_BLOCK; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    sp_sha256_init(&ctx);
    sp_sha256_update(&ctx, inner, sizeof inner);
    sp_sha256_update(&ctx, data, size);
    sp_sha256_final(&ctx, out);
    sp_sha256_init(&ctx);
    sp_sha256_update(&ctx, outer, sizeof outer);
    sp_sha256_update(&ctx, out, SP_SHA256_SIZE);
    sp_sha256_final(&ctx, out);
    explicit_bzero(inner, sizeof inner);
    explicit_bzero(outer, sizeof outer);
    explicit_bzero(&ctx, sizeof ctx);
}
