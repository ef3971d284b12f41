/* The inside of sim_disk.h: files as bytes with two views, names with two views, and the units between them. */
#ifndef SIM_STORE_H
#define SIM_STORE_H

#include "sim_disk.h"

#define SIM_PATH 112
#define SIM_INODES 192
#define SIM_NAMES 128
#define SIM_FILES 24
#define SIM_MAPS 24
#define SIM_BLOB_STEP (64u << 10)
#define SIM_ROOT_DIR (-1)                            /* the inode of a directory */

typedef struct sim_blob {           /* bytes that several disks may share until one writes */
    uint32_t refs;
    uint64_t capacity, stamp;       /* bytes behind a file's size are zeros */
    uint8_t *data;                  /* page-aligned */
} sim_blob;

typedef struct sim_inode {
    sim_blob *cache, *durable;      /* never NULL */
    sim_blob *shadow;               /* of a mapped file: what `pwrite` has put there */
    uint64_t size, durable_size;
    int stale;                      /* a failed sync left bytes in the cache that no later sync writes */
    int maps, locked;
} sim_inode;

typedef struct sim_name {
    char path[SIM_PATH];
    int inode;                      /* SIM_ROOT_DIR: a directory */
} sim_name;

typedef struct sim_names {
    sim_name name[SIM_NAMES];
    int count;
} sim_names;

enum sim_unit_kind { SIM_UNIT_SECTOR, SIM_UNIT_SIZE, SIM_UNIT_LINK, SIM_UNIT_UNLINK, SIM_UNIT_RENAME };

typedef struct sim_unit {
    uint8_t kind;
    int inode;
    uint64_t at;                    /* sector number, or size */
    uint64_t id;                    /* never given twice */
    union {
        uint8_t sector[SIM_SECTOR];
        struct { char path[SIM_PATH], target[SIM_PATH]; } name;
    } what;
} sim_unit;

typedef struct sim_file { int used, number, inode, writable; } sim_file;
typedef struct sim_map {
    int used, inode;
    uint64_t size;
    uint8_t *base;
} sim_map;

struct sim_disk {
    sp_disk table;
    sim_inode inode[SIM_INODES];
    int inodes;
    sim_names seen, durable;
    sim_unit *unit;
    uint32_t units, units_room;
    uint64_t durable_key;           /* changes with the durable view */
    sim_file file[SIM_FILES];
    int next_file;
    sim_map map[SIM_MAPS];
    sim_hook *hook;
    void *hook_arg;
    int changed;                    /* since the hook was last called */
    int in_hook;
    uint64_t calls[SIM_OPS + 1];
    sim_fault fault;
    int fault_hit, sync_failed;
    int no_more_syncs;              /* one has failed in this process */
    uint64_t syncs;                 /* that went well */
    sim_disk *next_free;
};

void sim_stop(const char *why, const char *what) __attribute__((noreturn));

sim_blob *sim_blob_zeros(void);                         /* one reference to the shared empty blob */
sim_blob *sim_blob_keep(sim_blob *blob);
void sim_blob_drop(sim_blob *blob);
/* The only reference to these bytes, with room for `size`. */
uint8_t *sim_blob_own(sim_blob **blob, uint64_t size);

sim_name *sim_names_find(sim_names *names, const char *path);
void sim_names_set(sim_names *names, const char *path, int inode);
void sim_names_drop(sim_names *names, const char *path);
int sim_in_dir(const char *path, const char *dir);      /* directly below it */
int sim_reachable(sim_names *names, const char *path);  /* all directories above it are there */

int sim_inode_new(sim_disk *disk);
sim_unit *sim_unit_add(sim_disk *disk, int kind, int inode, uint64_t at);
void sim_unit_name(sim_disk *disk, int kind, int inode, const char *path, const char *target);
/* What a unit does to a view. */
void sim_unit_to_names(const sim_unit *unit, sim_names *names);
void sim_put(sim_disk *disk, int inode, uint64_t offset, const uint8_t *data, uint64_t size);
void sim_resize(sim_disk *disk, int inode, uint64_t size);
/* Stops if somebody stored through a mapping since the last look. */
void sim_refuse_stores(const sim_disk *disk);
uint64_t sim_unit_now(void);                            /* the id of the newest unit */
/* The units of one file up to the id `before`, or of the names in one directory, are over: written, or (lost) forgotten
 * by the kernel. */
void sim_settle_file(sim_disk *disk, int inode, int lost, uint64_t before);
void sim_settle_dir(sim_disk *disk, const char *dir);

/* Around every call. begin lets others run, looks at the mappings and asks the fault: 0, or the error to answer, and
 * then whether the work is done all the same. end tells the hook. */
int sim_begin(sim_disk *disk, enum sim_op op, int *done);
int sim_end(sim_disk *disk, int error);
void sim_note_failure(sim_disk *disk, enum sim_op op, int error);       /* of a sync */
const char *sim_plain(const char *path, char out[SIM_PATH]);            /* without "." and ".." at its end */
sim_file *sim_file_of(sim_disk *disk, int number);
sim_file *sim_file_writable(sim_disk *disk, int number);
void sim_drop_map(sim_disk *disk, sim_map *map);

/* The calls of sim_maps.c and sim_names.c, for the table. */
int sim_do_map(void *ctx, int number, uint64_t offset, uint64_t size, void **out);
int sim_do_map_at(void *ctx, int number, uint64_t offset, uint64_t size, void *at);
int sim_do_unmap(void *ctx, void *data, uint64_t size);
void sim_do_cool(void *ctx, int number, void *data, uint64_t offset, uint64_t size);
void sim_do_begin_write(void *ctx, int number, uint64_t offset, uint64_t size);
int sim_do_lock(void *ctx, int number);
int sim_do_rename(void *ctx, const char *given_source, const char *given_target);
int sim_do_unlink(void *ctx, const char *given);
int sim_do_mkdir(void *ctx, const char *given);
int sim_do_sync_dir(void *ctx, const char *given);
int sim_do_list(void *ctx, const char *given, int (*each)(void *arg, const char *name), void *arg);
int sim_do_traits(void *ctx, const char *path, uint32_t *traits);

#endif
