/* What Sign answers about a leaf of a proof line, made in one call: path, opening, proof text, and around them the bytes
 * of a sealpress.v1.SignResponse as protobuf encodes it (protos/sealpress/v1/signing.proto; fields in the order of their
 * numbers, none that is empty). */
#include <string.h>

#include "sp.h"
#include "sp_base64.h"
#include "sp_bytes.h"
#include "sp_check.h"
#include "sp_leaf.h"
#include "sp_merkle.h"
#include "sp_proof.h"
#include "sp_span.h"

enum {
    REQUEST_ID = 1,             /* numbers of the fields */
    EVENT_ID = 2,
    LEAF_INDEX = 3,
    PROOF = 4,
    OPENING = 6,

    VARINT = 0,                 /* how a field is encoded */
    SIZED = 2,

    ULID_TEXT = 26
};

static int write_varint(sp_writer *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        SP_TRY(sp_writer_u8(out, (uint8_t)(value | 0x80)));
    }
    return sp_writer_u8(out, (uint8_t)value);
}

/* The start of a field, and the room for what it holds. */
static int claim_sized(sp_writer *out, unsigned field, size_t size, uint8_t **room)
{
    SP_TRY(sp_writer_u8(out, (uint8_t)(field << 3 | SIZED)));
    SP_TRY(write_varint(out, size));
    return sp_writer_claim(out, size, room);
}

static int write_sized(sp_writer *out, unsigned field, const uint8_t *data, size_t size)
{
    uint8_t *room;
    if (size == 0) {
        return SP_OK;
    }
    SP_TRY(claim_sized(out, field, size, &room));
    memcpy(room, data, size);
    return SP_OK;
}

/* Crockford's base32 of 128 bits, two of them before the first character. */
static int write_ulid(sp_writer *out, const uint8_t ulid[16])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint8_t *room;
    SP_TRY(claim_sized(out, EVENT_ID, ULID_TEXT, &room));
    unsigned __int128 rest = (unsigned __int128)sp_load_u64be(ulid) << 64 | sp_load_u64be(ulid + 8);
    for (size_t i = ULID_TEXT; i-- > 0; rest >>= 5) {
        room[i] = (uint8_t)digits[(unsigned)rest & 31];
    }
    return SP_OK;
}

static int write_proof(sp_writer *out, const uint8_t opening[SP_OPENING], uint64_t index, const uint8_t *path,
                       uint32_t hashes, const uint8_t *checkpoint, size_t checkpoint_size)
{
    size_t size = sp_proof_size(index, hashes, checkpoint_size);
    SP_ENSURE(size <= SP_PROOF_BYTES_MAX, SP_E_BOUNDS);
    uint8_t *room;
    SP_TRY(claim_sized(out, PROOF, size, &room));
    sp_proof_put(opening, index, path, hashes, checkpoint, checkpoint_size, room);
    return SP_OK;
}

int sp_answer_write(const sp_tree *tree, uint64_t size, const uint8_t *checkpoint, size_t checkpoint_size,
                    const uint8_t *request_id, size_t request_id_size, const uint8_t event_id[16], uint64_t index,
                    uint8_t algorithm, uint32_t security_version, uint64_t time, const uint8_t record[32],
                    const uint8_t salt_seed[32], uint8_t *out, size_t capacity, size_t *size_out)
{
    SP_ENSURE(tree != NULL && out != NULL && size_out != NULL, SP_E_ARGUMENT);
    uint8_t path[SP_PATH_MAX * 32], salt[SP_LEAF_SALT], opening[SP_OPENING];
    uint32_t hashes;
    SP_TRY(sp_tree_inclusion(tree, index, size, path, &hashes));
    SP_ENSURE(hashes <= SP_PROOF_HASHES_MAX, SP_E_BOUNDS);
    SP_TRY(sp_salts(salt_seed, 0, 1, salt));
    sp_leaf_spec spec = {.algorithm = algorithm, .security_version = security_version, .time = time};
    memcpy(spec.record, record, sizeof spec.record);
    SP_TRY(sp_leaf_opening(&spec, salt, opening));
    sp_writer writer = sp_writer_of(out, capacity);
    SP_TRY(write_sized(&writer, REQUEST_ID, request_id, request_id_size));
    SP_TRY(write_ulid(&writer, event_id));
    if (index > 0) {
        SP_TRY(sp_writer_u8(&writer, LEAF_INDEX << 3 | VARINT));
        SP_TRY(write_varint(&writer, index));
    }
    SP_TRY(write_proof(&writer, opening, index, path, hashes, checkpoint, checkpoint_size));
    SP_TRY(write_sized(&writer, OPENING, opening, sizeof opening));
    *size_out = writer.at;
    return SP_OK;
}
