/* One stored level of the tree: an array of 32-byte hashes that grows at the end and never moves.
 *
 * An address range is reserved without access when the first hash comes, and file (or anonymous memory) is mapped into
 * it step by step; so a pointer that a reader holds stays true while the appender grows the level. Disk space is
 * allocated before it is mapped: a later store cannot meet ENOSPC. Files are mapped read-only and written with pwrite: a
 * page that is stored into through a mapping faults once after each write-back, which then has to interrupt every core.
 *
 * A step of a file is 8 MiB at level 0 and half of that at each level above, down to 64 KiB: all levels grow after the same
 * 262,144 leaves, and a small log does not pay 8 MiB for each of its twenty levels. Where the disk has no room for a
 * step it is as many times 64 KiB as are needed; if these fail too, nothing is kept of what could be allocated. */
#ifndef SP_LEVEL_H
#define SP_LEVEL_H

#include <stdint.h>

#include "sp_check.h"
#include "sp_disk.h"

/* An emulator that keeps a record of every reserved page needs less of both. */
#ifndef SP_LEVEL_LEAVES_LOG2
#define SP_LEVEL_LEAVES_LOG2 34u         /* in files: 16 G leaves, 1 TiB of addresses in all, of a process's 128 */
#define SP_LEVEL_MEMORY_LOG2 31u         /* in memory: 2 G leaves */
#endif
#define SP_LEVEL_COUNT (SP_LEVEL_LEAVES_LOG2 + 1)

typedef struct sp_level {
    uint8_t *base;              /* the reserved range; NULL before the first hash */
    uint64_t reserved;          /* its bytes */
    uint64_t mapped;            /* bytes from base on that are there; __atomic */
    uint64_t released;          /* the mapping holds no pages below it, but for those that somebody read again */
    int file;                   /* -1 in memory */
} sp_level;

/* Where the levels live: dir NULL means memory. */
typedef struct sp_level_home {
    const sp_disk *disk;
    const char *dir;
} sp_level_home;

uint32_t sp_level_count(const sp_level_home *home);      /* levels that such a tree can have */
/* Room for `hashes` hashes. SP_E_FULL if the disk has none, SP_E_BOUNDS beyond what the address range holds. */
SP_MUST_USE int sp_level_grow(sp_level *level, const sp_level_home *home, uint32_t number, uint64_t hashes);
/* Maps what the file holds; SP_E_MISMATCH unless that is at least `hashes` hashes. Nothing in memory: SP_E_MISMATCH. */
SP_MUST_USE int sp_level_load(sp_level *level, const sp_level_home *home, uint32_t number, uint64_t hashes);
/* Where hashes from `first` on will stand, for who makes them there before they are stored. NULL: not in memory. */
uint8_t *sp_level_place(const sp_level *level, const sp_level_home *home, uint64_t first);
/* Hashes [first, first + count), for which there is room. */
SP_MUST_USE int sp_level_store(sp_level *level, const sp_level_home *home, uint64_t first, const uint8_t *hashes, uint64_t count);
SP_MUST_USE int sp_level_sync(sp_level *level, const sp_level_home *home);
/* Of `hashes` hashes the last step or two stay in this process's memory, where new proofs read; those below leave it, and the
 * page cache keeps them. At level 0 such a step is 1 MiB. The appender's: nobody else may release. */
void sp_level_release(sp_level *level, const sp_level_home *home, uint32_t number, uint64_t hashes);
/* Synced hashes [from, to) will not be read soon. Few of them stay: so do the upper levels, which every proof needs. */
void sp_level_cool(const sp_level *level, const sp_level_home *home, uint64_t from, uint64_t to);
void sp_level_close(sp_level *level, const sp_level_home *home);

#endif
