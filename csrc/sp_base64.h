/* Text forms with exactly one spelling: base64 (RFC 4648 section 4, padded) and decimals.
 *
 * Decoding accepts only what encoding would have written: no white space, no missing or extra padding, no stray bits
 * behind the last byte, no sign, no leading zero. */
#ifndef SP_BASE64_H
#define SP_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "sp_span.h"

static inline size_t sp_base64_size(size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

void sp_base64_encode(const uint8_t *data, size_t size, uint8_t *out);     /* writes sp_base64_size(size) */
/* Decodes all of text. SP_E_ENCODING if it is not canonical, SP_E_ROOM if it holds more than capacity. */
SP_MUST_USE int sp_base64_decode(sp_span text, uint8_t *out, size_t capacity, size_t *size_out);
/* The same for exactly `size` bytes: SP_E_ENCODING for any other number. */
SP_MUST_USE int sp_base64_decode_exact(sp_span text, uint8_t *out, size_t size);

enum { SP_DECIMAL_MAX = 20 };
size_t sp_decimal_encode(uint64_t value, uint8_t out[SP_DECIMAL_MAX]);     /* answers the length */
SP_MUST_USE int sp_decimal_decode(sp_span text, uint64_t *out);

#endif
