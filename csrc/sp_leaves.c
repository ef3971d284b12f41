/* Leaves of many records at once: see sp_leaves.h. */
#include "sp_leaves.h"

#include <string.h>

#include "sp_bytes.h"
#include "sp_sha256.h"
#include "sp_work.h"

enum {
    GROUP = SP_LEAVES_GROUP,
    FRONT = 40,                         /* what stands in front of a head when it is hashed */
    ARENA = 64 << 10,                   /* heads that are copied; larger ones are hashed where they stand */
    SALT_INPUT = 36,
    ALGORITHMS = 4,                     /* numbers 1 to 3; 0: events, which have no digest */
    LEAF_MAX = 1 + SP_LEAF_HEAD + SP_LEAF_SALT + SP_DIGEST_MAX
};

static void store_front(const sp_leaf_source *source, uint8_t out[FRONT])
{
    memcpy(out, "sealpress/record", 16);
    out[16] = source->type;
    out[17] = source->flags;
    sp_store_u16be(out + 18, source->version);
    sp_store_u64be(out + 20, source->seq);
    sp_store_u64be(out + 28, source->time_ns);
    sp_store_u32be(out + 36, (uint32_t)source->head.size);
}

static int hash_records(sp_leaf_source *source, size_t count, sp_replay_work *work)
{
    uint8_t arena[ARENA], hashes[GROUP * 32];
    const uint8_t *data[GROUP] = {NULL};
    size_t sizes[GROUP] = {0}, owner[GROUP], used = 0, messages = 0;
    for (size_t i = 0; i < count; i++) {
        sp_leaf_source *one = &source[i];
        sp_work_add(work, 1, FRONT + one->head.size);
        if (one->head.size > ARENA - FRONT || FRONT + one->head.size > ARENA - used) {
            SP_TRY(sp_record(one->type, one->flags, one->version, one->seq, one->time_ns, one->head.data,
                             (uint32_t)one->head.size, one->spec.record));
            continue;
        }
        store_front(one, arena + used);
        memcpy(arena + used + FRONT, one->head.data, one->head.size);
        data[messages] = arena + used;
        sizes[messages] = FRONT + one->head.size;
        used += sizes[messages];
        owner[messages++] = i;
    }
    sp_sha256_many(messages, data, sizes, hashes);
    for (size_t i = 0; i < messages; i++) {
        memcpy(source[owner[i]].spec.record, hashes + 32 * i, 32);
    }
    return SP_OK;
}

/* First salts of records with one leaf; zeros for events. */
static void hash_salts(const sp_leaf_source *const *single, size_t count, uint8_t (*salts)[SP_LEAF_SALT], sp_replay_work *work)
{
    uint8_t input[GROUP][SALT_INPUT] = {{0}}, hashes[GROUP * 32];
    size_t owner[GROUP], messages = 0;
    for (size_t i = 0; i < count; i++) {
        memset(salts[i], 0, SP_LEAF_SALT);
        if (single[i]->salt_seed != NULL) {
            memcpy(input[messages], single[i]->salt_seed, 32);
            owner[messages++] = i;
        }
    }
    sp_work_add(work, messages, SALT_INPUT);
    sp_sha256_columns(sp_sha256_start, 0, input[0], SALT_INPUT, NULL, 0, messages, hashes);
    for (size_t i = 0; i < messages; i++) {
        memcpy(salts[owner[i]], hashes + 32 * i, SP_LEAF_SALT);
    }
}

/* Those of one digest length: their leaves have one length, and go through the kernel in step. */
static void hash_singles(const sp_leaf_source *const *single, size_t count, size_t digest_size, uint8_t *out,
                         sp_replay_work *work)
{
    uint8_t leaf[GROUP][LEAF_MAX], salts[GROUP][SP_LEAF_SALT], hashes[GROUP * 32];
    const uint8_t *data[GROUP] = {NULL};
    size_t size = 1 + SP_LEAF_HEAD + SP_LEAF_SALT + digest_size;
    hash_salts(single, count, salts, work);
    for (size_t i = 0; i < count; i++) {
        sp_leaf_head(&single[i]->spec, leaf[i]);
        memcpy(leaf[i] + 1 + SP_LEAF_HEAD, salts[i], SP_LEAF_SALT);
        if (digest_size > 0) {
            memcpy(leaf[i] + 1 + SP_LEAF_HEAD + SP_LEAF_SALT, single[i]->digests, digest_size);
        }
        data[i] = leaf[i];
    }
    sp_work_add(work, count, size);
    sp_sha256_tail_many(sp_sha256_start, 0, data, size, count, hashes);
    for (size_t i = 0; i < count; i++) {
        memcpy(out + 32 * single[i]->leaf_at, hashes + 32 * i, 32);
    }
}

static void count_request(const sp_leaf_source *one, sp_replay_work *work)
{
    work->messages[1] += 1;             /* the two shared blocks */
    work->blocks[1] += 2;
    sp_work_add(work, (one->count + 1) / 2, SALT_INPUT);
    sp_work_add(work, one->count, SP_LEAF_SALT + sp_digest_size(one->spec.algorithm));
}

int sp_leaves_hash(sp_leaf_source *source, size_t count, uint8_t *out, sp_replay_work *work)
{
    SP_ENSURE(count <= GROUP, SP_E_BOUNDS);
    const sp_leaf_source *single[ALGORITHMS][GROUP];
    size_t singles[ALGORITHMS] = {0};
    SP_TRY(hash_records(source, count, work));
    for (size_t i = 0; i < count; i++) {
        const sp_leaf_source *one = &source[i];
        if (one->count == 1) {
            uint8_t algorithm = one->digests == NULL ? 0 : one->spec.algorithm;
            SP_ENSURE(algorithm < ALGORITHMS, SP_E_ALGORITHM);
            single[algorithm][singles[algorithm]++] = one;
        } else {
            count_request(one, work);
            SP_TRY(sp_leaf_hashes(&one->spec, one->salt_seed, one->digests, one->count, out + 32 * one->leaf_at));
        }
    }
    for (uint8_t algorithm = 0; algorithm < ALGORITHMS; algorithm++) {
        hash_singles(single[algorithm], singles[algorithm], sp_digest_size(algorithm), out, work);
    }
    return SP_OK;
}
