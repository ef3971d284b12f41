/* Any bytes as the head of a record: u8 type, u8 version, then the head. What is accepted has views into it, counts that
 * are true, and no room for other bytes: one more or one less is refused. */
#include "fuzz.h"

#include "sp.h"
#include "sp_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_head head;
    if (size < 2 || sp_head_read(data[0], data[1], (sp_span){.data = data + 2, .size = size - 2}, &head) != SP_OK) {
        return 0;
    }
    MUST(sp_head_check(data[0], data[1], data + 2, size - 2) == SP_OK);
    MUST(sp_head_check(data[0], data[1], data + 2, size - 3) == SP_E_ENCODING);
    MUST(head.count >= 1);
    touch(head.items_root, 32);
    touch(head.line.data, head.line.size);
    if (head.key_id != NULL) {
        touch(head.key_id, 32);
    }
    for (uint32_t i = 0; i < head.refs; i++) {
        sp_head_ref ref;
        MUST(sp_head_next_ref(&head.ref, &ref) == SP_OK);
    }
    return 0;
}
