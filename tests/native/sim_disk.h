/* A disk in memory that forgets what was not synced: an implementation of sp_disk.h for tests.
 *
 * What it models. Reads and mappings see the page cache; a power cut leaves the durable view plus any choice of what
 * was written since: each such *unit* is kept or lost by itself. A unit is
 *   - one sector (512 bytes) as it was after one write: writing it twice makes two units, for the kernel may have
 *     written the first one back already;
 *   - a new size of a file; sectors behind a size that was lost are lost with it;
 *   - a name made, renamed or removed. Within a directory names follow their order (one journal), between
 *     directories and with respect to data they do not. A file is there only if all directories above it are.
 * `sync` and `sync_all` make sectors and sizes of one file durable, as they were when the call began: what another thread
 * writes meanwhile is as unsynced afterwards. `sync_dir` does so with the names of one directory.
 *
 * What it refuses to live with, by stopping the program: a breach of sp_disk.h (a file used after its close, a write
 * through a file that was opened for reading, a store through a mapping, which the next call finds by comparing, an
 * unmap or a cool of something else, misaligned mappings), and a `sync` by a process in which one has failed.
 *
 * Faults: the k-th call from now on, of one operation or of all, answers EIO (or another errno), once or for ever, its
 * work not done or done all the same; of pwrites that were not done every other one did half. After a sync that failed
 * the pages count as clean (fsyncgate): if it was not done, what it should have written is in the page cache only, and
 * no later sync writes it. Names stay as they were: their journal writes them later, or stops the whole file system.
 *
 * What it does not model: sectors torn inside, bits that rot, directories that are renamed, hard links. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "sp_disk.h"

#define SIM_SECTOR 512u
#define SIM_UNITS_MAX 4096u
#define SIM_KEEP_WORDS (SIM_UNITS_MAX / 64)

enum sim_op {
    SIM_OPEN, SIM_CLOSE, SIM_SIZE, SIM_ALLOCATE, SIM_TRUNCATE, SIM_PREAD, SIM_PWRITE, SIM_SYNC, SIM_SYNC_ALL, SIM_MAP,
    SIM_MAP_AT, SIM_UNMAP, SIM_LOCK, SIM_RENAME, SIM_UNLINK, SIM_MKDIR, SIM_SYNC_DIR, SIM_LIST, SIM_TRAITS,
    SIM_OPS                         /* as an operation of a fault: all of them */
};
extern const char *const sim_op_name[SIM_OPS + 1];

typedef struct sim_fault {
    int op;                         /* of enum sim_op */
    uint64_t nth;                   /* 1: the next call; 0: no fault */
    int error, done, forever;
} sim_fault;

typedef struct sim_disk sim_disk;
/* Called inside a disk call whenever a cut there would leave something that no cut before could. */
typedef void sim_hook(void *arg, sim_disk *disk);

sim_disk *sim_disk_new(void);
void sim_disk_free(sim_disk *disk);
const sp_disk *sim_disk_table(sim_disk *disk);
void sim_disk_watch(sim_disk *disk, sim_hook *hook, void *arg);
void sim_disk_fault(sim_disk *disk, sim_fault fault);
int sim_disk_hit(const sim_disk *disk);                         /* whether the fault was met */
/* 0, or one more than the operation (SIM_SYNC before the others) of a sync that has answered an error. */
int sim_disk_sync_failed(const sim_disk *disk);
uint64_t sim_disk_syncs(const sim_disk *disk);                  /* calls of `sync` that went well */
uint64_t sim_disk_calls(const sim_disk *disk, int op);
/* The process is gone: open files, locks and mappings too. The page cache stays. */
void sim_disk_restart(sim_disk *disk);

/* Power cuts. `keep` has a bit for every unit. */
uint32_t sim_disk_units(const sim_disk *disk);
/* Equal for units that a disk with sectors of 4 KiB would keep or lose together. */
uint64_t sim_disk_unit_page(const sim_disk *disk, uint32_t unit);
sim_disk *sim_disk_cut(const sim_disk *disk, const uint64_t keep[SIM_KEEP_WORDS]);
/* Equal for cuts of one disk that leave the same bytes and names. */
uint64_t sim_disk_cut_key(const sim_disk *disk, const uint64_t keep[SIM_KEEP_WORDS]);

/* Looking and touching from outside, without a call. NULL: no such file. */
const uint8_t *sim_disk_file(const sim_disk *disk, const char *path, uint64_t *size);
/* A number that changes with every change of the file's bytes: what was compared once need not be compared again. */
uint64_t sim_disk_stamp(const sim_disk *disk, const char *path);
sim_disk *sim_disk_copy(const sim_disk *disk);                  /* of a disk at rest: nothing open */
void sim_disk_flip(sim_disk *disk, const char *path, uint64_t bit);
void sim_disk_chop(sim_disk *disk, const char *path, uint64_t size);
int sim_disk_count(const sim_disk *disk, const char *dir);      /* names in a directory */
/* Whether a file in the directory has exactly these bytes. */
int sim_disk_holds(const sim_disk *disk, const char *dir, const uint8_t *bytes, uint64_t size);
void sim_disk_export(const sim_disk *disk, const char *dir);    /* all of it as real files below `dir` */

#endif
