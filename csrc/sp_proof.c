/* Writing and parsing of proof texts: see sp_proof.h. */
#include "sp_proof.h"

#include <string.h>

#include "sp.h"
#include "sp_base64.h"
#include "sp_check.h"
#include "sp_leaf.h"
#include "sp_merkle.h"
#include "sp_range.h"
#include "sp_span.h"

static const char MAGIC[] = "c2sp.org/tlog-proof@v1\nextra ";
static const char INDEX[] = "\nindex ";

enum {
    MAGIC_SIZE = sizeof MAGIC - 1,
    INDEX_SIZE = sizeof INDEX - 1,
    OPENING_TEXT = (SP_OPENING + 2) / 3 * 4,
    HASH_TEXT = (32 + 2) / 3 * 4,
    SALTS = 256                     /* salts made at a time when a range is written */
};

/* ---- parsing ---- */

static int next_line(sp_reader *reader, sp_span *line)
{
    return sp_reader_until(reader, '\n', line) == SP_OK ? SP_OK : SP_E_ENCODING;
}

static int parse_hashes(sp_reader *reader, sp_proof *proof)
{
    for (;;) {
        sp_span line;
        SP_TRY(next_line(reader, &line));
        if (line.size == 0) {
            return SP_OK;
        }
        SP_ENSURE(proof->hashes < SP_PROOF_HASHES_MAX, SP_E_ENCODING);
        SP_TRY(sp_base64_decode_exact(line, proof->hash + (size_t)32 * proof->hashes, 32));
        proof->hashes++;
    }
}

int sp_proof_parse(const uint8_t *text, size_t size, sp_proof *out)
{
    SP_ENSURE(text != NULL || size == 0, SP_E_ARGUMENT);
    SP_ENSURE(size <= SP_PROOF_BYTES_MAX, SP_E_ENCODING);
    sp_reader reader = sp_reader_of(text, size);
    sp_proof proof;
    memset(&proof, 0, sizeof proof);
    sp_span opening, index;
    SP_TRY(sp_reader_expect(&reader, MAGIC, MAGIC_SIZE));
    SP_TRY(next_line(&reader, &opening));
    SP_TRY(sp_base64_decode_exact(opening, proof.opening, sizeof proof.opening));
    SP_TRY(sp_reader_expect(&reader, INDEX + 1, INDEX_SIZE - 1));
    SP_TRY(next_line(&reader, &index));
    SP_TRY(sp_decimal_decode(index, &proof.index));
    SP_TRY(parse_hashes(&reader, &proof));
    proof.checkpoint_at = (uint32_t)reader.at;
    proof.checkpoint_size = (uint32_t)sp_reader_left(&reader);
    SP_TRY(sp_note_parse(text + reader.at, sp_reader_left(&reader), &proof.note));
    *out = proof;
    return SP_OK;
}

/* ---- writing ---- */

size_t sp_proof_size(uint64_t index, uint32_t hashes, size_t checkpoint_size)
{
    uint8_t decimal[SP_DECIMAL_MAX];
    size_t digits = sp_decimal_encode(index, decimal);
    return MAGIC_SIZE + OPENING_TEXT + INDEX_SIZE + digits + 1 + (size_t)hashes * (HASH_TEXT + 1) + 1 + checkpoint_size;
}

uint8_t *sp_proof_put(const uint8_t opening[SP_OPENING], uint64_t index, const uint8_t *hashes, uint32_t count,
                      const uint8_t *checkpoint, size_t checkpoint_size, uint8_t *out)
{
    memcpy(out, MAGIC, MAGIC_SIZE);
    out += MAGIC_SIZE;
    sp_base64_encode(opening, SP_OPENING, out);
    out += OPENING_TEXT;
    memcpy(out, INDEX, INDEX_SIZE);
    out += INDEX_SIZE;
    uint8_t decimal[SP_DECIMAL_MAX];
    size_t digits = sp_decimal_encode(index, decimal);
    memcpy(out, decimal, digits);
    out += digits;
    *out++ = '\n';
    for (uint32_t i = 0; i < count; i++) {
        sp_base64_encode(hashes + (size_t)32 * i, 32, out);
        out += HASH_TEXT;
        *out++ = '\n';
    }
    *out++ = '\n';
    memcpy(out, checkpoint, checkpoint_size);
    return out + checkpoint_size;
}

int sp_proof_write(const uint8_t opening[61], uint64_t index, const uint8_t *hashes, uint32_t count,
                   const uint8_t *checkpoint, size_t checkpoint_size, uint8_t *out, size_t capacity, size_t *size_out)
{
    SP_ENSURE(opening != NULL && (hashes != NULL || count == 0), SP_E_ARGUMENT);
    SP_ENSURE(count <= SP_PROOF_HASHES_MAX, SP_E_BOUNDS);
    sp_note note;
    SP_TRY(sp_note_parse(checkpoint, checkpoint_size, &note));
    size_t size = sp_proof_size(index, count, checkpoint_size);
    SP_ENSURE(size <= SP_PROOF_BYTES_MAX, SP_E_BOUNDS);
    SP_ENSURE(size <= capacity, SP_E_ROOM);
    sp_proof_put(opening, index, hashes, count, checkpoint, checkpoint_size, out);
    *size_out = size;
    return SP_OK;
}

/* Bytes of all texts of the range: paths differ in length only where the tree's right edge is ragged. */
static int range_size(const sp_range *range, size_t checkpoint_size, size_t *out)
{
    uint64_t first = sp_range_first(range), count = sp_range_count(range);
    size_t total = 0;
    for (uint64_t i = 0; i < count; i++) {
        size_t size = sp_proof_size(first + i, sp_range_path_length(range, i), checkpoint_size);
        SP_ENSURE(size <= SP_PROOF_BYTES_MAX, SP_E_BOUNDS);
        SP_TRY(sp_size_add(total, size, &total));
    }
    *out = total;
    return SP_OK;
}

int sp_proof_write_range(const sp_range *range, const uint8_t opening[45], const uint8_t salt_seed[32],
                         const uint8_t *checkpoint, size_t checkpoint_size, uint8_t *out, size_t capacity,
                         uint64_t *ends, size_t *needed)
{
    SP_ENSURE(range != NULL && opening != NULL && salt_seed != NULL && needed != NULL, SP_E_ARGUMENT);
    sp_note note;
    SP_TRY(sp_note_parse(checkpoint, checkpoint_size, &note));
    size_t total;
    SP_TRY(range_size(range, checkpoint_size, &total));
    *needed = total;
    SP_ENSURE(total <= capacity, SP_E_ROOM);
    SP_ENSURE(out != NULL && ends != NULL, SP_E_ARGUMENT);
    uint64_t first = sp_range_first(range), count = sp_range_count(range);
    uint8_t path[SP_PATH_MAX * 32], salts[SALTS * SP_LEAF_SALT], full[SP_OPENING];
    memcpy(full, opening, SP_OPENING_SHARED);
    uint8_t *at = out;
    for (uint64_t i = 0; i < count; i++) {
        if (i % SALTS == 0) {
            uint64_t left = count - i;
            SP_TRY(sp_salts(salt_seed, i, left < SALTS ? left : SALTS, salts));
        }
        memcpy(full + SP_OPENING_SHARED, salts + i % SALTS * SP_LEAF_SALT, SP_LEAF_SALT);
        uint32_t hashes;
        SP_TRY(sp_range_path(range, i, path, &hashes));
        at = sp_proof_put(full, first + i, path, hashes, checkpoint, checkpoint_size, at);
        ends[i] = (uint64_t)(at - out);
    }
    return SP_OK;
}
