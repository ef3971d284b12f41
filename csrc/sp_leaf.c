/* Leaf hashes, salts, openings, records and the root over a request's names: see sp_leaf.h. */
#include "sp_leaf.h"

#include <string.h>

#include "sp.h"
#include "sp_bytes.h"
#include "sp_merkle.h"
#include "sp_sha256.h"
#include "sp_span.h"

enum { BATCH = 256 };           /* leaves hashed at a time */

/* Salts come two per compression, and the counter behind the seed has 32 bits. */
#define SALTS_MAX (UINT64_C(1) << 33)

static void hash_sized(sp_sha256_ctx *hash, sp_span text)
{
    uint8_t length[2];
    sp_store_u16be(length, (uint16_t)text.size);
    sp_sha256_update(hash, length, sizeof length);
    sp_sha256_update(hash, text.data, text.size);
}

int sp_key_id(const uint8_t *spki, size_t size, uint8_t out[32])
{
    SP_ENSURE(spki != NULL && size > 0, SP_E_ARGUMENT);
    sp_sha256(spki, size, out);
    return SP_OK;
}

int sp_leaf_scope(sp_span log_name, sp_span line, uint8_t out[32])
{
    static const char domain[] = "sealpress/scope";     /* its final zero is hashed too */
    SP_ENSURE(log_name.size <= UINT16_MAX && line.size <= UINT16_MAX, SP_E_BOUNDS);
    sp_sha256_ctx hash;
    sp_sha256_init(&hash);
    sp_sha256_update(&hash, domain, sizeof domain);
    hash_sized(&hash, log_name);
    hash_sized(&hash, line);
    sp_sha256_final(&hash, out);
    return SP_OK;
}

int sp_scope(const char *log_name, const char *line, uint8_t out[32])
{
    sp_span name = {(const uint8_t *)log_name, strlen(log_name)}, text = {(const uint8_t *)line, strlen(line)};
    return sp_leaf_scope(name, text, out);
}

int sp_record(uint8_t type, uint8_t flags, uint16_t version, uint64_t seq, uint64_t time_ns, const uint8_t *head,
              uint32_t head_size, uint8_t out[32])
{
    static const char domain[] = "sealpress/record";
    SP_ENSURE(head != NULL || head_size == 0, SP_E_ARGUMENT);
    uint8_t fields[24] = {type, flags};
    sp_store_u16be(fields + 2, version);
    sp_store_u64be(fields + 4, seq);
    sp_store_u64be(fields + 12, time_ns);
    sp_store_u32be(fields + 20, head_size);
    sp_sha256_ctx hash;
    sp_sha256_init(&hash);
    sp_sha256_update(&hash, domain, sizeof domain - 1);
    sp_sha256_update(&hash, fields, sizeof fields);
    sp_sha256_update(&hash, head, head_size);
    sp_sha256_final(&hash, out);
    return SP_OK;
}

int sp_salts(const uint8_t salt_seed[32], uint64_t first, uint64_t count, uint8_t *out)
{
    SP_ENSURE(salt_seed != NULL && (out != NULL || count == 0), SP_E_ARGUMENT);
    SP_ENSURE(count <= SALTS_MAX && first <= SALTS_MAX - count, SP_E_BOUNDS);
    uint64_t at = first, end = first + count;
    while (at < end) {
        uint64_t pairs = (end + 1) / 2 - at / 2;
        size_t batch = pairs < BATCH ? (size_t)pairs : BATCH;
        uint64_t stop = (at / 2 + batch) * 2 < end ? (at / 2 + batch) * 2 : end;
        if (at % 2 == 0 && stop - at == batch * 2) {
            sp_sha256_numbered(salt_seed, (uint32_t)(at / 2), batch, out);
        } else {
            uint8_t salts[BATCH * 32];
            sp_sha256_numbered(salt_seed, (uint32_t)(at / 2), batch, salts);
            memcpy(out, salts + at % 2 * SP_LEAF_SALT, (size_t)(stop - at) * SP_LEAF_SALT);
        }
        out += (size_t)(stop - at) * SP_LEAF_SALT;
        at = stop;
    }
    return SP_OK;
}

static void write_opening(const sp_leaf_spec *spec, uint8_t out[SP_OPENING_SHARED])
{
    out[0] = spec->algorithm;
    sp_store_u32be(out + 1, spec->security_version);
    sp_store_u64be(out + 5, spec->time);
    memcpy(out + 13, spec->record, 32);
}

static void write_head(uint8_t kind, const uint8_t key_id[32], const uint8_t scope[32],
                       const uint8_t opening[SP_OPENING_SHARED], uint8_t out[1 + SP_LEAF_HEAD])
{
    static const uint8_t domain[17] = "\0sealpress/leaf\0\1";
    SP_STATIC_ASSERT(1 + SP_LEAF_HEAD == 2 * SP_SHA256_BLOCK);
    memcpy(out, domain, sizeof domain);
    out[17] = kind;
    out[18] = 0;
    memcpy(out + 19, key_id, 32);
    memcpy(out + 51, scope, 32);
    memcpy(out + 83, opening, SP_OPENING_SHARED);
}

void sp_leaf_head(const sp_leaf_spec *spec, uint8_t out[1 + SP_LEAF_HEAD])
{
    uint8_t opening[SP_OPENING_SHARED];
    write_opening(spec, opening);
    write_head(spec->kind, spec->key_id, spec->scope, opening, out);
}

/* What SHA-256 holds after the shared blocks. */
static void shared_state(uint8_t kind, const uint8_t key_id[32], const uint8_t scope[32],
                         const uint8_t opening[SP_OPENING_SHARED], uint32_t state[8])
{
    uint8_t blocks[1 + SP_LEAF_HEAD];
    write_head(kind, key_id, scope, opening, blocks);
    memcpy(state, sp_sha256_start, sizeof(uint32_t[8]));
    sp_sha256_compress(state, blocks, 2);
}

/* Kind and algorithm must fit one another; answers the digest's length. */
static int leaf_shape(uint8_t kind, uint8_t algorithm, uint32_t *digest_size)
{
    SP_ENSURE(kind >= SP_LEAF_PROOF && kind <= SP_LEAF_DIRECT, SP_E_ARGUMENT);
    uint32_t size = sp_digest_size(algorithm);
    if (kind == SP_LEAF_EVENT) {
        SP_ENSURE(algorithm == 0, SP_E_ALGORITHM);
        size = 0;
    } else {
        SP_ENSURE(size > 0 && size <= SP_DIGEST_MAX, SP_E_ALGORITHM);
    }
    *digest_size = size;
    return SP_OK;
}

int sp_leaf_hashes(const sp_leaf_spec *spec, const uint8_t *salt_seed, const uint8_t *digests, uint64_t count, uint8_t *out)
{
    SP_ENSURE(spec != NULL && (out != NULL || count == 0), SP_E_ARGUMENT);
    uint32_t digest_size;
    SP_TRY(leaf_shape(spec->kind, spec->algorithm, &digest_size));
    int event = spec->kind == SP_LEAF_EVENT;
    SP_ENSURE(event == (salt_seed == NULL) && event == (digests == NULL), SP_E_ARGUMENT);
    SP_ENSURE(event ? count == 1 : count <= SALTS_MAX, SP_E_BOUNDS);
    uint8_t opening[SP_OPENING_SHARED];
    uint32_t state[8];
    write_opening(spec, opening);
    shared_state(spec->kind, spec->key_id, spec->scope, opening, state);
    uint8_t salts[BATCH * SP_LEAF_SALT] = {0};
    SP_STATIC_ASSERT(SP_LEAF_SALT + SP_DIGEST_MAX <= SP_SHA256_COLUMNS_MAX);
    for (uint64_t done = 0; done < count; done += BATCH) {
        size_t batch = count - done < BATCH ? (size_t)(count - done) : BATCH;
        if (!event) {
            SP_TRY(sp_salts(salt_seed, done, batch, salts));
        }
        const uint8_t *part = event ? NULL : digests + (size_t)done * digest_size;
        sp_sha256_columns(state, 1 + SP_LEAF_HEAD, salts, SP_LEAF_SALT, part, digest_size, batch, out + (size_t)done * 32);
    }
    return SP_OK;
}

int sp_leaf_opening(const sp_leaf_spec *spec, const uint8_t salt[16], uint8_t out[61])
{
    SP_ENSURE(spec != NULL && salt != NULL, SP_E_ARGUMENT);
    write_opening(spec, out);
    memcpy(out + SP_OPENING_SHARED, salt, SP_LEAF_SALT);
    return SP_OK;
}

int sp_leaf_hash_opened(uint8_t kind, const uint8_t key_id[32], const uint8_t scope[32], const uint8_t opening[61],
                        const uint8_t *digest, uint32_t digest_size, uint8_t out[32])
{
    SP_ENSURE(digest != NULL || digest_size == 0, SP_E_ARGUMENT);
    uint32_t expected;
    SP_TRY(leaf_shape(kind, opening[0], &expected));
    SP_ENSURE(digest_size == expected, SP_E_BOUNDS);
    uint32_t state[8];
    shared_state(kind, key_id, scope, opening, state);
    uint8_t tail[SP_LEAF_SALT + SP_DIGEST_MAX];
    memcpy(tail, opening + SP_OPENING_SHARED, SP_LEAF_SALT);
    if (digest_size > 0) {
        memcpy(tail + SP_LEAF_SALT, digest, digest_size);
    }
    const uint8_t *tails[1] = {tail};
    sp_sha256_tail_many(state, 1 + SP_LEAF_HEAD, tails, SP_LEAF_SALT + digest_size, 1, out);
    return SP_OK;
}

/* One item of the names block, as RFC 6962 leaf hash of salt, size and name. */
static int item_hash(sp_reader *names, const uint8_t salt[16], uint8_t out[32])
{
    static const uint8_t leaf_prefix = 0x00;
    uint64_t size;
    uint32_t name_size;
    sp_span name;
    SP_TRY(sp_reader_u64le(names, &size));
    SP_TRY(sp_reader_u32le(names, &name_size));
    SP_TRY(sp_reader_take(names, name_size, &name));
    uint8_t size_bytes[8];
    sp_store_u64be(size_bytes, size);
    sp_sha256_ctx hash;
    sp_sha256_init(&hash);
    sp_sha256_update(&hash, &leaf_prefix, 1);
    sp_sha256_update(&hash, salt, SP_LEAF_SALT);
    sp_sha256_update(&hash, size_bytes, sizeof size_bytes);
    sp_sha256_update(&hash, name.data, name.size);
    sp_sha256_final(&hash, out);
    return SP_OK;
}

int sp_items_root(const uint8_t salt_seed[32], const uint8_t *names, size_t names_size, uint64_t count, uint8_t out[32])
{
    SP_ENSURE(salt_seed != NULL && (names != NULL || names_size == 0), SP_E_ARGUMENT);
    SP_ENSURE(count <= SALTS_MAX, SP_E_BOUNDS);
    if (names_size == 0) {
        sp_merkle_empty(out);
        return SP_OK;
    }
    sp_frontier frontier;
    sp_frontier_init(&frontier);
    sp_reader reader = sp_reader_of(names, names_size);
    for (uint64_t done = 0; done < count; done += BATCH) {
        size_t batch = count - done < BATCH ? (size_t)(count - done) : BATCH;
        uint8_t salts[BATCH * SP_LEAF_SALT], hashes[BATCH * 32];
        SP_TRY(sp_salts(salt_seed, done, batch, salts));
        for (size_t i = 0; i < batch; i++) {
            SP_ENSURE(item_hash(&reader, salts + i * SP_LEAF_SALT, hashes + i * 32) == SP_OK, SP_E_ENCODING);
        }
        SP_TRY(sp_frontier_append(&frontier, hashes, batch));
    }
    SP_ENSURE(sp_reader_left(&reader) == 0, SP_E_ENCODING);
    sp_frontier_fold(&frontier, out);
    return SP_OK;
}
