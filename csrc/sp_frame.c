/* Frames of the journal: see sp_frame.h for the layout. */
#include "sp_frame.h"

#include <string.h>

#include "sp_bytes.h"

#define CRC_AT offsetof(sp_frame_header, crc)
#define CRC_END (CRC_AT + sizeof(uint32_t))

static uint32_t frame_crc(const uint8_t *frame, size_t padded, const uint8_t salt[SP_SALT_SIZE], uint64_t offset)
{
    uint8_t seed[SP_SALT_SIZE + 8 + CRC_AT];
    memcpy(seed, salt, SP_SALT_SIZE);
    sp_store_u64le(seed + SP_SALT_SIZE, offset);
    memcpy(seed + SP_SALT_SIZE + 8, frame, CRC_AT);
    uint32_t crc = sp_crc32c(0, seed, sizeof seed);
    return sp_crc32c(crc, frame + CRC_END, padded - CRC_END);
}

void sp_frame_stamp(uint8_t *frame, const uint8_t salt[SP_SALT_SIZE], uint64_t offset)
{
    uint64_t padded = sp_frame_padded(sp_load_u32le(frame));
    sp_store_u32le(frame + CRC_AT, frame_crc(frame, padded, salt, offset));
}

static int all_zero(const uint8_t *data, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) {
        any |= data[i];
    }
    return any == 0;
}

int sp_frame_read(sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t offset, sp_frame *out)
{
    SP_ENSURE(sp_span_valid(segment) && offset % SP_FRAME_ALIGN == 0, SP_E_ARGUMENT);
    sp_span rest;
    if (sp_span_sub(segment, offset, SP_FRAME_HEADER, &rest) != SP_OK) {
        return SP_E_END;
    }
    /* Copied once: a length that is checked and then read again could differ in a file that somebody else changes. */
    sp_frame_header header;
    memcpy(&header, rest.data, sizeof header);
    if (header.len == 0) {
        return all_zero(rest.data, SP_FRAME_HEADER) ? SP_E_END : SP_E_CORRUPT;
    }
    SP_ENSURE(header.len >= SP_FRAME_HEADER, SP_E_CORRUPT);
    uint64_t padded = sp_frame_padded(header.len);
    if (sp_span_sub(segment, offset, padded, &rest) != SP_OK) {
        return SP_E_CORRUPT;
    }
    SP_ENSURE(frame_crc(rest.data, padded, salt, offset) == header.crc, SP_E_CORRUPT);
    SP_ENSURE(all_zero(rest.data + header.len, padded - header.len), SP_E_CORRUPT);
    *out = (sp_frame){
        .seq = header.seq,
        .time_ns = header.time_ns,
        .offset = offset,
        .next_offset = offset + padded,
        .batch = header.batch,
        .payload_size = header.len - SP_FRAME_HEADER,
        .type = header.type,
        .flags = header.flags,
        .version = header.version,
        .payload = rest.data + SP_FRAME_HEADER,
        .header = rest.data,
    };
    return SP_OK;
}

void sp_frame_write_commit(const sp_frame_header *header, const sp_commit *commit, uint8_t *out)
{
    sp_frame_header full = *header;
    full.len = SP_FRAME_HEADER + SP_COMMIT_PAYLOAD;
    full.type = SP_FRAME_COMMIT;
    full.version = SP_FRAME_VERSION;
    sp_writer writer = sp_writer_of(out, SP_COMMIT_BYTES);
    int status = sp_writer_bytes(&writer, &full, sizeof full);
    status |= sp_writer_u64le(&writer, commit->first_seq);
    status |= sp_writer_u32le(&writer, commit->count);
    status |= sp_writer_u64le(&writer, commit->tree_size);
    status |= sp_writer_bytes(&writer, commit->root, sizeof commit->root);
    status |= sp_writer_bytes(&writer, commit->chain, sizeof commit->chain);
    status |= sp_writer_u64le(&writer, commit->durable_seq);
    sp_bug_if(writer.at != full.len);
    status |= sp_writer_fill(&writer, 0, sp_writer_left(&writer));
    sp_bug_if(status != SP_OK);
}

void sp_frame_write_seal(const sp_frame_header *header, uint8_t *out)
{
    sp_frame_header full = *header;
    full.len = SP_SEAL_BYTES;
    full.type = SP_FRAME_SEAL;
    full.version = SP_FRAME_VERSION;
    memcpy(out, &full, sizeof full);
}

int sp_frame_commit(const sp_frame *frame, sp_commit *out)
{
    SP_ENSURE(frame->type == SP_FRAME_COMMIT, SP_E_CORRUPT);
    SP_ENSURE(frame->version == SP_FRAME_VERSION, SP_E_VERSION);
    SP_ENSURE(frame->payload_size == SP_COMMIT_PAYLOAD, SP_E_CORRUPT);
    sp_commit commit;
    sp_reader reader = sp_reader_of(frame->payload, frame->payload_size);
    SP_TRY(sp_reader_u64le(&reader, &commit.first_seq));
    SP_TRY(sp_reader_u32le(&reader, &commit.count));
    SP_TRY(sp_reader_u64le(&reader, &commit.tree_size));
    SP_TRY(sp_reader_copy(&reader, commit.root, sizeof commit.root));
    SP_TRY(sp_reader_copy(&reader, commit.chain, sizeof commit.chain));
    SP_TRY(sp_reader_u64le(&reader, &commit.durable_seq));
    *out = commit;
    return SP_OK;
}

int sp_frame_columns(const sp_frame *frame, sp_columns *out)
{
    SP_ENSURE(frame != NULL && out != NULL, SP_E_ARGUMENT);
    sp_columns columns = {.head = frame->payload, .head_size = frame->payload_size};
    if (frame->type == SP_FRAME_REQUEST) {
        sp_reader reader = sp_reader_of(frame->payload, frame->payload_size);
        sp_span head, seed, names, digests;
        SP_ENSURE(sp_reader_u32le(&reader, &columns.head_size) == SP_OK, SP_E_CORRUPT);
        SP_ENSURE(sp_reader_take(&reader, columns.head_size, &head) == SP_OK, SP_E_CORRUPT);
        SP_ENSURE(sp_reader_take(&reader, 32, &seed) == SP_OK, SP_E_CORRUPT);
        SP_ENSURE(sp_reader_u32le(&reader, &columns.names_size) == SP_OK, SP_E_CORRUPT);
        SP_ENSURE(sp_reader_take(&reader, columns.names_size, &names) == SP_OK, SP_E_CORRUPT);
        SP_TRY(sp_reader_take(&reader, sp_reader_left(&reader), &digests));
        columns.head = head.data;
        columns.salt_seed = seed.data;
        columns.names = names.data;
        columns.digests = digests.data;
        columns.digests_size = (uint32_t)digests.size;
    }
    *out = columns;
    return SP_OK;
}

void sp_chain_start(sp_sha256_ctx *ctx, const uint8_t chain[32], uint64_t tree_size, const uint8_t root[32])
{
    uint8_t size[8];
    sp_store_u64le(size, tree_size);
    sp_sha256_init(ctx);
    sp_sha256_update(ctx, chain, 32);
    sp_sha256_update(ctx, size, sizeof size);
    sp_sha256_update(ctx, root, 32);
}

void sp_chain_header(sp_sha256_ctx *ctx, const uint8_t header[SP_FRAME_HEADER])
{
    sp_sha256_update(ctx, header, SP_FRAME_HEADER);
}

int sp_chain(const uint8_t chain[32], uint64_t tree_size, const uint8_t root[32], const uint8_t *headers, size_t count, uint8_t out[32])
{
    SP_ENSURE(chain != NULL && root != NULL && out != NULL && (headers != NULL || count == 0), SP_E_ARGUMENT);
    sp_sha256_ctx ctx;
    sp_chain_start(&ctx, chain, tree_size, root);
    for (size_t i = 0; i < count; i++) {
        sp_chain_header(&ctx, headers + i * SP_FRAME_HEADER);
    }
    sp_sha256_final(&ctx, out);
    return SP_OK;
}
