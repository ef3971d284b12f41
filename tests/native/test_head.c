/* Does the reader of heads stay inside its bytes, and take none that are cut, whatever it is given? (Which heads are good
 * is asked of the Python decoder, in tests/unit/core/test_head.py.) */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "sp_frame.h"
#include "sp_head.h"

/* A GOVERNANCE head: array of 5: nonce, array of 4 (text, bytes, 32 bytes, text), first leaf, count, items_root. */
static size_t good(uint8_t *out)
{
    sp_writer writer = sp_writer_of(out, 256);
    int status = sp_writer_bytes(&writer, "\x95\xc4\x10", 3) | sp_writer_fill(&writer, 7, 16);
    status |= sp_writer_bytes(&writer, "\x94\xa6" "policy" "\xc4\x03" "abc" "\xc4\x20", 15) | sp_writer_fill(&writer, 8, 32);
    status |= sp_writer_bytes(&writer, "\xa2\xc3\xa4" "\xcd\x01\x00" "\x01" "\xc4\x20", 9) | sp_writer_fill(&writer, 9, 32);
    EXPECT(status == SP_OK);
    return writer.at;
}

/* A copy of exactly that size, so that a sanitizer sees a byte too far. */
static int read_exact(uint8_t type, const uint8_t *data, size_t size, sp_head *out)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, data, size);
    int status = sp_head_read(type, SP_HEAD_VERSION, (sp_span){copy, size}, out);
    free(copy);
    return status;
}

static void a_good_one(void)
{
    uint8_t data[256];
    size_t size = good(data);
    sp_head head;
    EXPECT(read_exact(SP_FRAME_GOVERNANCE, data, size, &head) == SP_OK);
    EXPECT(head.first_leaf == 256 && head.count == 1);
    for (size_t cut = 0; cut < size; cut++) {
        EXPECT(read_exact(SP_FRAME_GOVERNANCE, data, cut, &head) == SP_E_ENCODING);
    }
    data[size] = 0;
    EXPECT(read_exact(SP_FRAME_GOVERNANCE, data, size + 1, &head) == SP_E_ENCODING);
    EXPECT(sp_head_read(SP_FRAME_GOVERNANCE, 2, (sp_span){data, size}, &head) == SP_E_VERSION);
    EXPECT(sp_head_read(SP_FRAME_COMMIT, SP_HEAD_VERSION, (sp_span){data, size}, &head) == SP_E_ENCODING);
    EXPECT(sp_head_read(SP_FRAME_REQUEST, SP_HEAD_VERSION, (sp_span){NULL, 0}, &head) == SP_E_ENCODING);
}

static void noise(void)
{
    static const uint8_t forms[] = {0x80, 0x90, 0x95, 0xa0, 0xbf, 0xc2, 0xc4, 0xc5, 0xc6, 0xcc, 0xcd, 0xce, 0xcf,
                                    0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xff, 0x00, 0x10, 0x20};
    srand(1);
    for (int round = 0; round < 100000; round++) {
        uint8_t data[256];
        sp_head head;
        size_t size = good(data);
        for (int changes = rand() % 4; changes >= 0; changes--) {
            data[(size_t)rand() % size] = rand() % 2 ? (uint8_t)rand() : forms[(size_t)rand() % sizeof forms];
        }
        (void)!read_exact((uint8_t)(1 + rand() % 5), data, (size_t)rand() % (size + 1), &head);
        (void)!read_exact(SP_FRAME_GOVERNANCE, data, size, &head);
    }
}

int main(void)
{
    a_good_one();
    noise();
    return check_done();
}
