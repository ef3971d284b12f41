/* Integers to and from bytes, in both orders. Unaligned addresses are fine; bounds are the caller's (see sp_span.h). */
#ifndef SP_BYTES_H
#define SP_BYTES_H

#include <stdint.h>
#include <string.h>

#include "sp_check.h"

SP_STATIC_ASSERT(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

#define SP_BYTES_DEFINE(bits)                                                   \
    static inline uint##bits##_t sp_load_u##bits##le(const uint8_t *at)         \
    {                                                                           \
        uint##bits##_t value;                                                   \
        memcpy(&value, at, sizeof value);                                       \
        return value;                                                           \
    }                                                                           \
    static inline uint##bits##_t sp_load_u##bits##be(const uint8_t *at)         \
    {                                                                           \
        return __builtin_bswap##bits(sp_load_u##bits##le(at));                  \
    }                                                                           \
    static inline void sp_store_u##bits##le(uint8_t *at, uint##bits##_t value)  \
    {                                                                           \
        memcpy(at, &value, sizeof value);                                       \
    }                                                                           \
    static inline void sp_store_u##bits##be(uint8_t *at, uint##bits##_t value)  \
    {                                                                           \
        sp_store_u##bits##le(at, __builtin_bswap##bits(value));                 \
    }

SP_BYTES_DEFINE(16)
SP_BYTES_DEFINE(32)
SP_BYTES_DEFINE(64)

#undef SP_BYTES_DEFINE

#endif
