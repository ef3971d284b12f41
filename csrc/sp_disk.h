/* The disk as a table of functions: the only way in which journal and tree touch
 * files, so that tests can put a disk there that fails, lies, waits or forgets.
 *
 * Contract of every implementation:
 *  - Each function answers 0 or a positive errno value, and leaves its
 *    out-parameters untouched on failure. EINTR never comes out.
 *  - Functions may be called from any thread; calls on one file at different
 *    offsets may overlap.
 *  - A file is a small integer that only the disk that opened it understands.
 *  - `pread` and `pwrite` move everything or fail. Reading behind the end is EIO.
 *  - What was given to `pwrite` is durable only after `sync` or `sync_all` of
 *    that file answered 0. After either answered
 *    an error nothing is known about any byte written since the last success,
 *    also if a later call answers 0 (fsyncgate): callers latch, they never retry.
 *  - A new, renamed or removed name is durable only after `sync_dir` answered 0.
 *  - Both kinds of access see one another at once (one page cache).
 */
#ifndef SP_DISK_H
#define SP_DISK_H
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include "sp.h"

enum {                              /* flags of `open` */
    SP_DISK_READ = 0,
    SP_DISK_WRITE = 1,              /* read and write */
    SP_DISK_CREATE = 2,             /* make it if it is missing (mode 0640) */
    SP_DISK_EXCLUSIVE = 4           /* with CREATE: EEXIST if it is there */
};
enum {                              /* traits of the file system that `traits` tells */
    SP_DISK_KEEPS_ROOM = 1,         /* what was allocated can be written, again and again, without ENOSPC */
    SP_DISK_VOLATILE = 2            /* memory only: nothing outlives the machine */
};

#define SP_DISK_PATH_MAX 4096u
#define SP_DISK_PAGE 4096u          /* mappings start at multiples of it */

struct sp_disk {
    void *ctx;                      /* the first argument of every function */
    int (*open)(void *ctx, const char *path, uint32_t flags, int *file);
    int (*close)(void *ctx, int file);
    int (*size)(void *ctx, int file, uint64_t *size);
    int (*allocate)(void *ctx, int file, uint64_t offset, uint64_t size);  /* grows the file; ENOSPC comes here and only here */
    int (*truncate)(void *ctx, int file, uint64_t size);
    int (*pread)(void *ctx, int file, void *data, size_t size, uint64_t offset);
    int (*pwrite)(void *ctx, int file, const void *data, size_t size, uint64_t offset);
    int (*sync)(void *ctx, int file);       /* fdatasync: the bytes, and what is needed to find them again */
    int (*sync_all)(void *ctx, int file);   /* fsync */
    int (*map)(void *ctx, int file, uint64_t offset, uint64_t size, void **out);   /* shared, read-only */
    /* The same at this very address, in place of what was mapped there: the caller reserved the range, watches
     * it (sp_bus.h) and unmaps it as a whole. For the tree, whose readers' pointers must stay true while a file grows. */
    int (*map_at)(void *ctx, int file, uint64_t offset, uint64_t size, void *at);
    int (*unmap)(void *ctx, void *data, uint64_t size);
    /* These bytes, mapped at `data` (NULL: nowhere), will not be read soon: the memory that caches them may be had back; with
     * file -1 only what this process holds of it. Advice, which changes nothing that a reader sees; what is not synced yet stays. */
    void (*cool)(void *ctx, int file, void *data, uint64_t offset, uint64_t size);
    /* The disk may begin to write these bytes, of which nobody waits to hear: a sync finds less to do. Advice, which makes
     * nothing durable; what goes wrong on the way is an error of the next sync. */
    void (*begin_write)(void *ctx, int file, uint64_t offset, uint64_t size);
    int (*lock)(void *ctx, int file);       /* exclusive, held until close; EWOULDBLOCK if another open file holds it */
    int (*rename)(void *ctx, const char *source, const char *target);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path);      /* mode 0750; EEXIST as errno says */
    int (*sync_dir)(void *ctx, const char *path);
    /* Names but "." and "..", in no order; a non-zero answer of `each` stops and is the answer. */
    int (*list)(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg);
    int (*traits)(void *ctx, const char *path, uint32_t *traits);   /* of the file system below path */
};

/* A disk's answer as a status; the errno value is left in errno for who asks. */
static inline int sp_disk_status(int error)
{
    if (error == 0) {
        return SP_OK;
    }
    errno = error;
    return error == ENOSPC || error == EDQUOT ? SP_E_FULL : SP_E_SYSTEM;
}

#endif
