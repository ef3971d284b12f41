/* Does the reader of MessagePack take every width, refuse what no head holds, and stay where it was when it refuses? */
#include <string.h>

#include "check.h"
#include "sp_pack.h"

static const uint8_t VALUES[] = {
    0x9b,                                                       /* eleven values */
    0x05, 0xcc, 0xf0, 0xcd, 0x01, 0x02, 0xce, 1, 2, 3, 4,       /* numbers */
    0xcf, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xd2, 1, 2, 3, 4,       /* more of them, two below zero */
    0xa2, 'h', 'i', 0xd9, 1, 'x',                               /* texts */
    0xc4, 2, 0xaa, 0xbb,                                        /* bytes */
    0xdc, 0, 2, 0xc0, 0x91, 0xc3                                /* arrays in arrays */
};

static void every_kind_is_read(void)
{
    sp_reader in = sp_reader_of(VALUES, sizeof VALUES);
    uint32_t count;
    uint64_t number;
    sp_span bytes;
    EXPECT(sp_pack_array(&in, &count) == SP_OK && count == 11);
    EXPECT(sp_pack_uint(&in, &number) == SP_OK && number == 5);
    EXPECT(sp_pack_uint(&in, &number) == SP_OK && number == 0xf0);
    EXPECT(sp_pack_uint(&in, &number) == SP_OK && number == 0x0102);
    EXPECT(sp_pack_uint(&in, &number) == SP_OK && number == 0x01020304);
    EXPECT(sp_pack_uint(&in, &number) == SP_OK && number == UINT64_C(0x0102030405060708));
    EXPECT(sp_pack_uint(&in, &number) == SP_E_ENCODING && sp_pack_skip(&in, 2) == SP_OK);
    EXPECT(sp_pack_bin(&in, &bytes) == SP_E_ENCODING && sp_pack_str(&in, &bytes) == SP_OK && bytes.size == 2);
    EXPECT(sp_pack_str(&in, &bytes) == SP_OK && bytes.size == 1 && bytes.data[0] == 'x');
    EXPECT(sp_pack_str(&in, &bytes) == SP_E_ENCODING && sp_pack_bin(&in, &bytes) == SP_OK && bytes.data[1] == 0xbb);
    EXPECT(sp_pack_array(&in, &count) == SP_OK && count == 2 && sp_pack_skip(&in, 2) == SP_OK);
    EXPECT(sp_reader_left(&in) == 0 && sp_pack_skip(&in, 1) == SP_E_BOUNDS);
    in = sp_reader_of(VALUES, sizeof VALUES);
    EXPECT(sp_pack_skip(&in, 1) == SP_OK && sp_reader_left(&in) == 0);
}

static void what_is_cut_short_is_refused(void)
{
    for (size_t size = 0; size < sizeof VALUES; size++) {
        sp_reader in = sp_reader_of(VALUES, size);
        EXPECT(sp_pack_skip(&in, 1) == SP_E_BOUNDS && in.at == 0);
    }
    const uint8_t long_array[] = {0xdd, 0xff, 0xff, 0xff, 0xff, 0x01}, long_bytes[] = {0xc6, 0xff, 0xff, 0xff, 0xff};
    sp_reader in = sp_reader_of(long_array, sizeof long_array);
    EXPECT(sp_pack_skip(&in, UINT64_MAX) == SP_E_BOUNDS && in.at == 0);
    in = sp_reader_of(long_bytes, sizeof long_bytes);
    sp_span bytes;
    EXPECT(sp_pack_bin(&in, &bytes) == SP_E_BOUNDS && in.at == 0);
}

static void what_no_head_holds_is_refused(void)
{
    const uint8_t heads[] = {0x80, 0x8f, 0xc1, 0xc7, 0xc9, 0xca, 0xcb, 0xd4, 0xd8, 0xde, 0xdf};
    for (size_t i = 0; i < sizeof heads; i++) {
        uint8_t value[16] = {heads[i]};
        sp_reader in = sp_reader_of(value, sizeof value);
        EXPECT(sp_pack_skip(&in, 1) == SP_E_ENCODING && in.at == 0);
    }
}

int main(void)
{
    every_kind_is_read();
    what_is_cut_short_is_refused();
    what_no_head_holds_is_refused();
    return check_done();
}
