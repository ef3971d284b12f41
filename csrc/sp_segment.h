/* Segments: files of a fixed size that hold frames (DESIGN 3.1). Their names, their header, how they come into being,
 * and reading them through a read-only mapping.
 *
 * The header, 4 KiB, stands at 0 and again at 4,096; the first frame at 8,192. It is stored with the segment's first
 * batch: a file whose two headers are invalid, after a sealed segment, is a spare. */
#ifndef SP_SEGMENT_H
#define SP_SEGMENT_H

#include "sp_disk.h"
#include "sp_frame.h"
#include "sp_span.h"

#define SP_SEGMENT_VERSION 1u
#define SP_SEGMENT_COPY 4096u                   /* one header copy */
#define SP_SEGMENT_DATA 8192u                   /* the first frame */
#define SP_SEGMENT_BYTES_MIN (64u << 10)
#define SP_SEGMENT_BYTES_MAX (1u << 30)
#define SP_SEGMENT_BATCH_SHARE 4u               /* a batch takes at most this part of a segment */

typedef struct sp_segment_layout {
    uint8_t magic[8];
    uint32_t version, crc;                      /* crc32c of the 4 KiB with this field zero */
    uint8_t log_id[32];
    uint64_t number, first_seq, tree_size;
    uint8_t root[32], chain[32], salt[SP_SALT_SIZE];
    uint64_t created_ns, segment_bytes;
    uint8_t zeros[SP_SEGMENT_COPY - 168];
} sp_segment_layout;
SP_STATIC_ASSERT(sizeof(sp_segment_layout) == SP_SEGMENT_COPY);
SP_STATIC_ASSERT(offsetof(sp_segment_layout, crc) == 12);
SP_STATIC_ASSERT(offsetof(sp_segment_layout, log_id) == 16);
SP_STATIC_ASSERT(offsetof(sp_segment_layout, number) == 48);
SP_STATIC_ASSERT(offsetof(sp_segment_layout, root) == 72);
SP_STATIC_ASSERT(offsetof(sp_segment_layout, chain) == 104);
SP_STATIC_ASSERT(offsetof(sp_segment_layout, salt) == 136);
SP_STATIC_ASSERT(offsetof(sp_segment_layout, created_ns) == 152);
SP_STATIC_ASSERT(offsetof(sp_segment_layout, zeros) == 168);

struct sp_segment {
    const sp_disk *disk;
    sp_span bytes;                              /* the mapped file; empty if the file is */
    sp_segment_header header;
};

int sp_segment_bytes_valid(uint64_t bytes);
/* <dir>/journal/<number, 20 digits>.seg and <dir>/journal */
int sp_segment_path(const char *dir, uint64_t number, char out[SP_DISK_PATH_MAX]);
int sp_segment_dir(const char *dir, char out[SP_DISK_PATH_MAX]);
/* The number in a file name; SP_E_END if it is not a segment's name. */
int sp_segment_number(const char *name, uint64_t *out);

/* Both header copies, SP_SEGMENT_DATA bytes. */
void sp_segment_header_write(const sp_segment_header *header, uint8_t *out);
/* From whichever copy is whole; *copies says how many are. SP_E_CORRUPT: none, or they differ. SP_E_VERSION: newer
 * format, out->version tells which. */
int sp_segment_header_read(sp_span file, sp_segment_header *out, uint32_t *copies);

/* A file of zeros, durable, under its final name: temp file, allocate, zero-fill, sync, rename, sync the directory.
 * Stopped anywhere in between it leaves nothing but a temp file, which the next start removes. */
int sp_segment_create(const sp_disk *disk, const char *dir, uint64_t number, uint64_t bytes);
/* The same without a number, under <dir>/journal/reserve: room that is set aside for the day when the disk is full. */
int sp_segment_create_reserve(const sp_disk *disk, const char *dir, uint64_t bytes);
/* *there: whether it stands there; one of another size, or with holes that the disk has no room for, is removed. */
int sp_segment_find_reserve(const sp_disk *disk, const char *dir, uint64_t bytes, int *there);
/* The reserve becomes the spare segment `number`, durably. SP_E_FAILED if a sync failed. */
int sp_segment_use_reserve(const sp_disk *disk, const char *dir, uint64_t number);
/* A restored copy may have holes, and a store into one could meet ENOSPC: here it comes as SP_E_FULL. Where all is there this
 * changes nothing. */
int sp_segment_fill_holes(const sp_disk *disk, const char *dir, uint64_t number, uint64_t bytes);
int sp_segment_remove_temp(const sp_disk *disk, const char *dir);

/* Where no frame is written: SP_E_END behind SEAL and COMMIT of a segment, else SP_E_CORRUPT: what was there is lost. */
int sp_segment_ended(const sp_segment *segment, uint64_t offset);

/* The file as it is, header not looked at. */
int sp_segment_map(const sp_disk *disk, const char *path, sp_segment **out);

#endif
