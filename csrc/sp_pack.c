/* MessagePack: see sp_pack.h. */
#include "sp_pack.h"

enum {
    NIL = 0xc0, FALSE = 0xc2, TRUE = 0xc3, BIN8 = 0xc4, BIN16 = 0xc5, BIN32 = 0xc6,
    UINT8 = 0xcc, UINT16 = 0xcd, UINT32 = 0xce, UINT64 = 0xcf, INT64 = 0xd3,
    STR8 = 0xd9, STR16 = 0xda, STR32 = 0xdb, ARRAY16 = 0xdc, ARRAY32 = 0xdd
};

/* A big-endian number of 1, 2, 4 or 8 bytes. */
static int number(sp_reader *reader, unsigned log2_size, uint64_t *out)
{
    sp_span bytes;
    SP_TRY(sp_reader_take(reader, (size_t)1 << log2_size, &bytes));
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        value = value << 8 | bytes.data[i];
    }
    *out = value;
    return SP_OK;
}

/* The length that follows a head byte: of its own low bits, or the number after it if it is `wide` + 0, 1, 2. */
static int length(sp_reader *reader, uint8_t fixed, uint8_t mask, uint8_t wide, unsigned wide_log2, uint64_t *out)
{
    uint8_t head;
    SP_TRY(sp_reader_u8(reader, &head));
    if (fixed != 0 && (head & (uint8_t)~mask) == fixed) {
        *out = head & mask;
        return SP_OK;
    }
    unsigned widths = 3 - wide_log2;
    SP_ENSURE(head >= wide && head < wide + widths, SP_E_ENCODING);
    return number(reader, wide_log2 + (unsigned)(head - wide), out);
}

int sp_pack_array(sp_reader *reader, uint32_t *count)
{
    sp_reader at = *reader;
    uint64_t values;
    SP_TRY(length(&at, 0x90, 0x0f, ARRAY16, 1, &values));
    *count = (uint32_t)values;
    *reader = at;
    return SP_OK;
}

int sp_pack_uint(sp_reader *reader, uint64_t *out)
{
    sp_reader at = *reader;
    uint8_t head;
    SP_TRY(sp_reader_u8(&at, &head));
    uint64_t value = head;
    if (head >= 0x80) {
        SP_ENSURE(head >= UINT8 && head <= UINT64, SP_E_ENCODING);
        SP_TRY(number(&at, (unsigned)(head - UINT8), &value));
    }
    *out = value;
    *reader = at;
    return SP_OK;
}

int sp_pack_bin(sp_reader *reader, sp_span *out)
{
    sp_reader at = *reader;
    uint64_t size;
    SP_TRY(length(&at, 0, 0, BIN8, 0, &size));
    SP_TRY(sp_reader_take(&at, (size_t)size, out));
    *reader = at;
    return SP_OK;
}

int sp_pack_str(sp_reader *reader, sp_span *out)
{
    sp_reader at = *reader;
    uint64_t size;
    SP_TRY(length(&at, 0xa0, 0x1f, STR8, 0, &size));
    SP_TRY(sp_reader_take(&at, (size_t)size, out));
    *reader = at;
    return SP_OK;
}

/* One value without what an array holds: that is added to *more. */
static int skip_one(sp_reader *reader, uint64_t *more)
{
    SP_ENSURE(sp_reader_left(reader) > 0, SP_E_BOUNDS);
    uint8_t head = reader->data[reader->at];
    uint32_t count;
    sp_span bytes;
    if ((head & 0xf0) == 0x90 || head == ARRAY16 || head == ARRAY32) {
        SP_TRY(sp_pack_array(reader, &count));
        *more += count;
        return SP_OK;
    }
    if ((head & 0xe0) == 0xa0 || (head >= STR8 && head <= STR32)) {
        return sp_pack_str(reader, &bytes);
    }
    if (head >= BIN8 && head <= BIN32) {
        return sp_pack_bin(reader, &bytes);
    }
    if (head >= UINT8 && head <= INT64) {
        unsigned log2_size = (unsigned)(head - UINT8) % 4;      /* UINT8 to UINT64, then INT8 to INT64 */
        return sp_reader_skip(reader, 1 + ((size_t)1 << log2_size));
    }
    SP_ENSURE(head < 0x80 || head >= 0xe0 || head == NIL || head == FALSE || head == TRUE, SP_E_ENCODING);
    return sp_reader_skip(reader, 1);
}

int sp_pack_skip(sp_reader *reader, uint64_t count)
{
    sp_reader at = *reader;
    while (count > 0) {     /* each turn takes a byte at least, so a claimed count cannot keep us long */
        count--;
        SP_TRY(skip_one(&at, &count));
    }
    *reader = at;
    return SP_OK;
}
