/* HMAC-SHA256 (RFC 2104). Cannot fail, does not allocate, wipes what it made of the key. */
#ifndef SP_HMAC_H
#define SP_HMAC_H

#include <stddef.h>
#include <stdint.h>

void sp_hmac_sha256(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size, uint8_t out[32]);

#endif
