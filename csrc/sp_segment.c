/* Segments: see sp_segment.h. */
#include "sp_segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"

static const uint8_t MAGIC[8] = {'S', 'P', 'J', 'R', 'N', 'L', 0, 1};
static const char SUFFIX[] = ".seg";
#define NUMBER_DIGITS 20
/* The page cache takes memory in pieces of this size: larger ones seldom fit into what was let go of just now. */
#define ZERO_CHUNK (256u << 10)

int sp_segment_bytes_valid(uint64_t bytes)
{
    return bytes >= SP_SEGMENT_BYTES_MIN && bytes <= SP_SEGMENT_BYTES_MAX && bytes % SP_DISK_PAGE == 0;
}

static int path_of(char out[SP_DISK_PATH_MAX], int written)
{
    SP_ENSURE(written > 0 && (uint32_t)written < SP_DISK_PATH_MAX, SP_E_ARGUMENT);
    SP_ENSURE(out[0] != '\0', SP_E_ARGUMENT);
    return SP_OK;
}

int sp_segment_path(const char *dir, uint64_t number, char out[SP_DISK_PATH_MAX])
{
    return path_of(out, snprintf(out, SP_DISK_PATH_MAX, "%s/journal/%020" PRIu64 "%s", dir, number, SUFFIX));
}

int sp_segment_dir(const char *dir, char out[SP_DISK_PATH_MAX])
{
    return path_of(out, snprintf(out, SP_DISK_PATH_MAX, "%s/journal", dir));
}

static int temp_path(const char *dir, char out[SP_DISK_PATH_MAX])
{
    return path_of(out, snprintf(out, SP_DISK_PATH_MAX, "%s/journal/next.tmp", dir));
}

int sp_segment_number(const char *name, uint64_t *out)
{
    SP_ENSURE(strlen(name) == NUMBER_DIGITS + sizeof SUFFIX - 1, SP_E_END);
    SP_ENSURE(strcmp(name + NUMBER_DIGITS, SUFFIX) == 0, SP_E_END);
    uint64_t number = 0;
    for (int i = 0; i < NUMBER_DIGITS; i++) {
        SP_ENSURE(name[i] >= '0' && name[i] <= '9', SP_E_END);
        SP_ENSURE(!__builtin_mul_overflow(number, 10u, &number), SP_E_END);
        SP_ENSURE(!__builtin_add_overflow(number, (uint64_t)(name[i] - '0'), &number), SP_E_END);
    }
    *out = number;
    return SP_OK;
}

/* ---- header -------------------------------------------------------------- */

void sp_segment_header_write(const sp_segment_header *header, uint8_t *out)
{
    sp_segment_layout layout;
    memset(&layout, 0, sizeof layout);
    memcpy(layout.magic, MAGIC, sizeof MAGIC);
    layout.version = SP_SEGMENT_VERSION;
    memcpy(layout.log_id, header->log_id, sizeof layout.log_id);
    layout.number = header->number;
    layout.first_seq = header->first_seq;
    layout.tree_size = header->tree_size;
    memcpy(layout.root, header->root, sizeof layout.root);
    memcpy(layout.chain, header->chain, sizeof layout.chain);
    memcpy(layout.salt, header->salt, sizeof layout.salt);
    layout.created_ns = header->created_ns;
    layout.segment_bytes = header->segment_bytes;
    layout.crc = sp_crc32c(0, (const uint8_t *)&layout, sizeof layout);
    memcpy(out, &layout, sizeof layout);
    memcpy(out + SP_SEGMENT_COPY, &layout, sizeof layout);
}

static int header_copy(const uint8_t *data, sp_segment_header *out)
{
    sp_segment_layout layout;
    memcpy(&layout, data, sizeof layout);
    SP_ENSURE(memcmp(layout.magic, MAGIC, sizeof MAGIC) == 0, SP_E_CORRUPT);
    /* Before the checksum: a later format may compute it in another way. */
    out->version = layout.version;
    SP_ENSURE(layout.version <= SP_SEGMENT_VERSION, SP_E_VERSION);
    uint32_t crc = layout.crc;
    layout.crc = 0;
    SP_ENSURE(sp_crc32c(0, (const uint8_t *)&layout, sizeof layout) == crc, SP_E_CORRUPT);
    SP_ENSURE(layout.version == SP_SEGMENT_VERSION && sp_segment_bytes_valid(layout.segment_bytes), SP_E_CORRUPT);
    out->number = layout.number;
    out->first_seq = layout.first_seq;
    out->tree_size = layout.tree_size;
    out->created_ns = layout.created_ns;
    out->segment_bytes = layout.segment_bytes;
    memcpy(out->log_id, layout.log_id, sizeof out->log_id);
    memcpy(out->root, layout.root, sizeof out->root);
    memcpy(out->chain, layout.chain, sizeof out->chain);
    memcpy(out->salt, layout.salt, sizeof out->salt);
    return SP_OK;
}

int sp_segment_header_read(sp_span file, sp_segment_header *out, uint32_t *copies)
{
    sp_segment_header found[2];
    int status[2];
    memset(found, 0, sizeof found);
    for (size_t i = 0; i < 2; i++) {
        sp_span copy;
        status[i] = sp_span_sub(file, i * SP_SEGMENT_COPY, SP_SEGMENT_COPY, &copy);
        status[i] = status[i] == SP_OK ? header_copy(copy.data, &found[i]) : SP_E_CORRUPT;
    }
    *copies = (uint32_t)(status[0] == SP_OK) + (uint32_t)(status[1] == SP_OK);
    if (*copies == 2) {
        SP_ENSURE(memcmp(file.data, file.data + SP_SEGMENT_COPY, SP_SEGMENT_COPY) == 0, SP_E_CORRUPT);
    }
    size_t chosen = status[0] == SP_OK ? 0 : 1;
    if (*copies > 0) {
        *out = found[chosen];
        return SP_OK;
    }
    /* A flipped bit in one copy is no new format; two copies that agree on it are. */
    if (status[0] == SP_E_VERSION && status[1] == SP_E_VERSION && found[0].version == found[1].version) {
        out->version = found[0].version;
        return SP_E_VERSION;
    }
    return SP_E_CORRUPT;
}

/* ---- creation ------------------------------------------------------------ */

/* allocate and write may fail for want of space, and then nothing is lost; a sync that fails is the end (L10). */
static int fill(const sp_disk *disk, int file, uint64_t bytes)
{
    static const uint8_t zeros[ZERO_CHUNK];
    int error = disk->allocate(disk->ctx, file, 0, bytes);
    for (uint64_t at = 0; error == 0 && at < bytes; at += ZERO_CHUNK) {
        uint64_t size = bytes - at < ZERO_CHUNK ? bytes - at : ZERO_CHUNK;
        error = disk->pwrite(disk->ctx, file, zeros, size, at);
    }
    SP_TRY(sp_disk_status(error));
    SP_ENSURE(sp_disk_status(disk->sync_all(disk->ctx, file)) == SP_OK, SP_E_FAILED);
    return SP_OK;
}

static int rename_durably(const sp_disk *disk, const char *dir, const char *source, const char *target)
{
    char parent[SP_DISK_PATH_MAX];
    SP_TRY(sp_segment_dir(dir, parent));
    SP_TRY(sp_disk_status(disk->rename(disk->ctx, source, target)));
    SP_ENSURE(sp_disk_status(disk->sync_dir(disk->ctx, parent)) == SP_OK, SP_E_FAILED);
    return SP_OK;
}

static int create(const sp_disk *disk, const char *dir, const char *target, uint64_t bytes)
{
    char temp[SP_DISK_PATH_MAX];
    SP_ENSURE(sp_segment_bytes_valid(bytes), SP_E_ARGUMENT);
    SP_TRY(temp_path(dir, temp));
    SP_TRY(sp_segment_remove_temp(disk, dir));
    int file;
    SP_TRY(sp_disk_status(disk->open(disk->ctx, temp, SP_DISK_WRITE | SP_DISK_CREATE | SP_DISK_EXCLUSIVE, &file)));
    int status = fill(disk, file, bytes);
    int error = errno;
    disk->close(disk->ctx, file);
    if (status == SP_OK) {
        status = rename_durably(disk, dir, temp, target);
        error = errno;
    }
    if (status != SP_OK && status != SP_E_FAILED) {
        disk->unlink(disk->ctx, temp);
    }
    errno = error;
    return status;
}

int sp_segment_create(const sp_disk *disk, const char *dir, uint64_t number, uint64_t bytes)
{
    char target[SP_DISK_PATH_MAX];
    SP_TRY(sp_segment_path(dir, number, target));
    return create(disk, dir, target, bytes);
}

static int reserve_path(const char *dir, char out[SP_DISK_PATH_MAX])
{
    return path_of(out, snprintf(out, SP_DISK_PATH_MAX, "%s/journal/reserve", dir));
}

int sp_segment_create_reserve(const sp_disk *disk, const char *dir, uint64_t bytes)
{
    char target[SP_DISK_PATH_MAX];
    SP_TRY(reserve_path(dir, target));
    return create(disk, dir, target, bytes);
}

int sp_segment_find_reserve(const sp_disk *disk, const char *dir, uint64_t bytes, int *there)
{
    char path[SP_DISK_PATH_MAX];
    int file;
    uint64_t size = 0;
    SP_TRY(reserve_path(dir, path));
    *there = 0;
    int error = disk->open(disk->ctx, path, SP_DISK_WRITE, &file);
    if (error == ENOENT) {
        return SP_OK;
    }
    SP_TRY(sp_disk_status(error));
    error = disk->size(disk->ctx, file, &size);
    int fits = error == 0 && size == bytes;
    int status = sp_disk_status(fits ? disk->allocate(disk->ctx, file, 0, bytes) : error);
    disk->close(disk->ctx, file);
    SP_ENSURE(status == SP_OK || status == SP_E_FULL, status);
    *there = fits && status == SP_OK;
    return *there ? SP_OK : sp_disk_status(disk->unlink(disk->ctx, path));
}

int sp_segment_use_reserve(const sp_disk *disk, const char *dir, uint64_t number)
{
    char source[SP_DISK_PATH_MAX], target[SP_DISK_PATH_MAX];
    SP_TRY(reserve_path(dir, source));
    SP_TRY(sp_segment_path(dir, number, target));
    return rename_durably(disk, dir, source, target);
}

int sp_segment_fill_holes(const sp_disk *disk, const char *dir, uint64_t number, uint64_t bytes)
{
    char path[SP_DISK_PATH_MAX];
    int file;
    SP_TRY(sp_segment_path(dir, number, path));
    SP_TRY(sp_disk_status(disk->open(disk->ctx, path, SP_DISK_WRITE, &file)));
    int error = disk->allocate(disk->ctx, file, 0, bytes);
    disk->close(disk->ctx, file);
    return sp_disk_status(error);
}

int sp_segment_remove_temp(const sp_disk *disk, const char *dir)
{
    char temp[SP_DISK_PATH_MAX];
    SP_TRY(temp_path(dir, temp));
    int error = disk->unlink(disk->ctx, temp);
    return sp_disk_status(error == ENOENT ? 0 : error);
}

/* ---- reading ------------------------------------------------------------- */

int sp_segment_map(const sp_disk *disk, const char *path, sp_segment **out)
{
    sp_segment *segment = calloc(1, sizeof *segment);
    SP_ENSURE(segment != NULL, SP_E_MEMORY);
    segment->disk = disk;
    int file;
    int error = disk->open(disk->ctx, path, SP_DISK_READ, &file);
    if (error == 0) {
        uint64_t size = 0;
        void *data = NULL;
        error = disk->size(disk->ctx, file, &size);
        if (error == 0 && size > 0) {
            error = size > SP_SEGMENT_BYTES_MAX ? EFBIG : disk->map(disk->ctx, file, 0, size, &data);
        }
        disk->close(disk->ctx, file);
        segment->bytes = (sp_span){.data = data, .size = error == 0 ? (size_t)size : 0};
    }
    if (error != 0) {
        free(segment);
        return sp_disk_status(error);
    }
    *out = segment;
    return SP_OK;
}

int sp_segment_open(const sp_disk *disk, const char *path, const uint8_t *log_id, sp_segment **out, sp_segment_header *header)
{
    SP_ENSURE(disk != NULL && path != NULL && out != NULL && header != NULL, SP_E_ARGUMENT);
    sp_segment *segment;
    SP_TRY(sp_segment_map(disk, path, &segment));
    uint32_t copies;
    int status = sp_segment_header_read(segment->bytes, &segment->header, &copies);
    if (status == SP_OK && segment->bytes.size != segment->header.segment_bytes) {
        status = SP_E_CORRUPT;
    }
    if (status == SP_OK && log_id != NULL && memcmp(log_id, segment->header.log_id, 32) != 0) {
        status = SP_E_MISMATCH;
    }
    if (status != SP_OK) {
        header->version = segment->header.version;      /* what SP_E_VERSION is about */
        sp_segment_free(segment);
        return status;
    }
    /* The header alone was looked at, and mapped what the kernel caches as a piece, ZERO_CHUNK. */
    disk->cool(disk->ctx, -1, (void *)segment->bytes.data, 0, segment->bytes.size);
    *header = segment->header;
    *out = segment;
    return SP_OK;
}

void sp_segment_free(sp_segment *segment)
{
    if (segment == NULL) {
        return;
    }
    if (segment->bytes.data != NULL) {
        segment->disk->unmap(segment->disk->ctx, (void *)segment->bytes.data, segment->bytes.size);
    }
    free(segment);
}

int sp_segment_frame(const sp_segment *segment, uint64_t offset, sp_frame *out)
{
    SP_ENSURE(segment != NULL && out != NULL, SP_E_ARGUMENT);
    offset = offset == 0 ? SP_SEGMENT_DATA : offset;
    SP_ENSURE(offset >= SP_SEGMENT_DATA, SP_E_ARGUMENT);
    return sp_frame_read(segment->bytes, segment->header.salt, offset, out);
}

static int is_frame(const sp_segment *segment, uint64_t offset, uint8_t type)
{
    sp_frame frame;
    return sp_segment_frame(segment, offset, &frame) == SP_OK && frame.type == type;
}

int sp_segment_ended(const sp_segment *segment, uint64_t offset)
{
    const uint64_t behind = SP_SEAL_BYTES + SP_COMMIT_BYTES;
    SP_ENSURE(offset >= SP_SEGMENT_DATA + behind, SP_E_CORRUPT);
    SP_ENSURE(is_frame(segment, offset - behind, SP_FRAME_SEAL), SP_E_CORRUPT);
    return is_frame(segment, offset - SP_COMMIT_BYTES, SP_FRAME_COMMIT) ? SP_E_END : SP_E_CORRUPT;
}

/* The next frame in front of `end`. */
static int next_frame(const sp_segment *segment, uint64_t offset, uint64_t end, sp_frame *out)
{
    SP_ENSURE(offset < end, SP_E_END);
    int status = sp_segment_frame(segment, offset, out);
    return status == SP_E_END ? sp_segment_ended(segment, offset) : status;
}

int sp_segment_seek(const sp_segment *segment, uint64_t offset, uint64_t end, uint64_t seq, sp_frame *out)
{
    SP_ENSURE(segment != NULL && out != NULL, SP_E_ARGUMENT);
    offset = offset == 0 ? SP_SEGMENT_DATA : offset;
    for (;;) {
        sp_frame frame;
        SP_TRY(next_frame(segment, offset, end, &frame));
        if (frame.seq >= seq) {
            *out = frame;
            return SP_OK;
        }
        offset = frame.next_offset;
    }
}

int sp_segment_find(const sp_segment *segment, uint64_t offset, uint64_t end, uint32_t type_mask,
                    const uint8_t *needle, uint32_t needle_size, sp_frame *out)
{
    SP_ENSURE(segment != NULL && needle != NULL && needle_size > 0 && out != NULL, SP_E_ARGUMENT);
    offset = offset == 0 ? SP_SEGMENT_DATA : offset;
    for (;;) {
        sp_frame frame;
        SP_TRY(next_frame(segment, offset, end, &frame));
        size_t place;
        sp_span payload = {.data = frame.payload, .size = frame.payload_size};
        if (frame.type < 32 && (type_mask & (1u << frame.type)) != 0 &&
            sp_span_find(payload, 0, (sp_span){.data = needle, .size = needle_size}, &place) == SP_OK) {
            *out = frame;
            return SP_OK;
        }
        offset = frame.next_offset;
    }
}
