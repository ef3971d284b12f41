/* Canonical base64 and decimals: see sp_base64.h. */
#include "sp_base64.h"

#include <string.h>

enum { BAD = 0xff };

static const uint8_t SYMBOL[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void sp_base64_encode(const uint8_t *data, size_t size, uint8_t *out)
{
    for (; size >= 3; size -= 3, data += 3, out += 4) {
        uint32_t bits = (uint32_t)data[0] << 16 | (uint32_t)data[1] << 8 | data[2];
        out[0] = SYMBOL[bits >> 18];
        out[1] = SYMBOL[bits >> 12 & 63];
        out[2] = SYMBOL[bits >> 6 & 63];
        out[3] = SYMBOL[bits & 63];
    }
    if (size > 0) {
        uint32_t bits = (uint32_t)data[0] << 16 | (size == 2 ? (uint32_t)data[1] << 8 : 0);
        out[0] = SYMBOL[bits >> 18];
        out[1] = SYMBOL[bits >> 12 & 63];
        out[2] = size == 2 ? SYMBOL[bits >> 6 & 63] : '=';
        out[3] = '=';
    }
}

static uint8_t value_of(uint8_t symbol)
{
    if (symbol >= 'A' && symbol <= 'Z') {
        return symbol - 'A';
    }
    if (symbol >= 'a' && symbol <= 'z') {
        return symbol - 'a' + 26;
    }
    if (symbol >= '0' && symbol <= '9') {
        return symbol - '0' + 52;
    }
    return symbol == '+' ? 62 : symbol == '/' ? 63 : BAD;
}

/* `count` symbols, 2 to 4, of one group into count - 1 bytes. */
static int decode_group(const uint8_t *text, size_t count, uint8_t *out)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t value = value_of(text[i]);
        SP_ENSURE(value != BAD, SP_E_ENCODING);
        bits |= (uint32_t)value << (18 - 6 * i);
    }
    /* What stands behind the last whole byte must be zero, else two texts would mean the same bytes. */
    SP_ENSURE((bits & (0xffffffu >> (8 * (count - 1)))) == 0, SP_E_ENCODING);
    for (size_t i = 0; i + 1 < count; i++) {
        out[i] = (uint8_t)(bits >> (16 - 8 * i));
    }
    return SP_OK;
}

int sp_base64_decode(sp_span text, uint8_t *out, size_t capacity, size_t *size_out)
{
    SP_ENSURE(text.size % 4 == 0, SP_E_ENCODING);
    size_t padding = 0;
    if (text.size > 0 && text.data[text.size - 1] == '=') {
        padding = text.data[text.size - 2] == '=' ? 2 : 1;
    }
    size_t size = text.size / 4 * 3 - padding;
    SP_ENSURE(size <= capacity, SP_E_ROOM);
    for (size_t at = 0; at < text.size; at += 4) {
        size_t symbols = at + 4 == text.size ? 4 - padding : 4;
        SP_TRY(decode_group(text.data + at, symbols, out + at / 4 * 3));
    }
    *size_out = size;
    return SP_OK;
}

int sp_base64_decode_exact(sp_span text, uint8_t *out, size_t size)
{
    SP_ENSURE(text.size == sp_base64_size(size), SP_E_ENCODING);
    size_t found = 0;
    int status = sp_base64_decode(text, out, size, &found);
    return status == SP_OK && found == size ? SP_OK : SP_E_ENCODING;
}

size_t sp_decimal_encode(uint64_t value, uint8_t out[SP_DECIMAL_MAX])
{
    uint8_t reversed[SP_DECIMAL_MAX];
    size_t size = 0;
    do {
        reversed[size++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < size; i++) {
        out[i] = reversed[size - 1 - i];
    }
    return size;
}

int sp_decimal_decode(sp_span text, uint64_t *out)
{
    SP_ENSURE(text.size > 0 && text.size <= SP_DECIMAL_MAX, SP_E_ENCODING);
    SP_ENSURE(text.size == 1 || text.data[0] != '0', SP_E_ENCODING);
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        SP_ENSURE(text.data[i] >= '0' && text.data[i] <= '9', SP_E_ENCODING);
        SP_ENSURE(!__builtin_mul_overflow(value, 10, &value), SP_E_ENCODING);
        SP_ENSURE(!__builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value), SP_E_ENCODING);
    }
    *out = value;
    return SP_OK;
}
