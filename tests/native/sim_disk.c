/* The calls of the simulated disk, their contract and their faults: see sim_disk.h. */
#include "sim_store.h"

#include <stdlib.h>
#include <string.h>

#include "sim_threads.h"

const char *const sim_op_name[SIM_OPS + 1] = {
    "open", "close", "size", "allocate", "truncate", "pread", "pwrite", "sync", "sync_all", "map", "map_at",
    "unmap", "lock", "rename", "unlink", "mkdir", "sync_dir", "list", "traits", "any",
};

static sim_disk *free_disks;

/* ---- around a call ----------------------------------------------------------------- */

static void tell(sim_disk *disk)
{
    if (disk->changed && disk->hook != NULL && !disk->in_hook) {
        disk->in_hook = 1;
        disk->hook(disk->hook_arg, disk);
        disk->in_hook = 0;
    }
    disk->changed = 0;
}

/* Begins a call: lets others run, looks at the mappings, asks the fault. 0, or the error that the call shall answer. */
int sim_begin(sim_disk *disk, enum sim_op op, int *done)
{
    sim_yield();
    sim_refuse_stores(disk);
    tell(disk);
    uint64_t call = ++disk->calls[op], any = ++disk->calls[SIM_OPS];
    const sim_fault *fault = &disk->fault;
    uint64_t number = fault->op == SIM_OPS ? any : call;
    *done = 1;
    if (fault->nth == 0 || (fault->op != SIM_OPS && fault->op != (int)op) || number < fault->nth ||
        (number > fault->nth && !fault->forever)) {
        return 0;
    }
    disk->fault_hit = 1;
    *done = fault->done;
    return fault->error;
}

int sim_end(sim_disk *disk, int error)
{
    tell(disk);
    return error;
}

/* Paths as the core builds them: "." and ".." only at the end. */
const char *sim_plain(const char *path, char out[SIM_PATH])
{
    if (path[0] != '/' || strlen(path) >= SIM_PATH) {
        sim_stop("not a path of ours", path);
    }
    strcpy(out, path);
    for (int up = 0; up < 2; up++) {
        size_t size = strlen(out);
        int dots = size > 3 && strcmp(out + size - 3, "/..") == 0 ? 2 : size > 2 && strcmp(out + size - 2, "/.") == 0;
        for (int cuts = dots; cuts > 0; cuts--) {
            *strrchr(out, '/') = '\0';
        }
        if (dots == 0) {
            break;
        }
    }
    if (out[0] == '\0') {
        strcpy(out, "/");
    }
    return out;
}

sim_file *sim_file_of(sim_disk *disk, int number)
{
    for (int i = 0; i < SIM_FILES; i++) {
        if (disk->file[i].used && disk->file[i].number == number) {
            return &disk->file[i];
        }
    }
    sim_stop("a file is used that is not open", "");
}

static int dir_is_there(sim_disk *disk, const char *path)
{
    char above[SIM_PATH];
    strcpy(above, path);
    char *slash = strrchr(above, '/');
    *slash = '\0';
    return slash == above || sim_names_find(&disk->seen, above) != NULL;
}

/* ---- files --------------------------------------------------------------------------- */

static int find_or_create(sim_disk *disk, const char *path, uint32_t flags, int *inode)
{
    sim_name *name = sim_names_find(&disk->seen, path);
    if (name != NULL && (flags & SP_DISK_EXCLUSIVE) != 0) {
        return EEXIST;
    }
    if (name != NULL) {
        *inode = name->inode;
        return name->inode == SIM_ROOT_DIR ? EISDIR : 0;
    }
    if ((flags & SP_DISK_CREATE) == 0 || !dir_is_there(disk, path)) {
        return ENOENT;
    }
    *inode = sim_inode_new(disk);
    sim_unit_name(disk, SIM_UNIT_LINK, *inode, path, "");
    return 0;
}

static int do_open(void *ctx, const char *given, uint32_t flags, int *file)
{
    sim_disk *disk = ctx;
    char space[SIM_PATH];
    const char *path = sim_plain(given, space);
    int done, inode, error = sim_begin(disk, SIM_OPEN, &done);
    if (error == 0 || done) {
        int found = find_or_create(disk, path, flags, &inode);
        error = error != 0 ? error : found;
    }
    if (error == 0) {
        int slot = 0;
        while (slot < SIM_FILES && disk->file[slot].used) {
            slot++;
        }
        if (slot == SIM_FILES) {
            sim_stop("too many open files", path);
        }
        disk->file[slot] = (sim_file){1, ++disk->next_file, inode, (flags & SP_DISK_WRITE) != 0};
        *file = disk->next_file;
    }
    return sim_end(disk, error);
}

static void close_file(sim_disk *disk, sim_file *file)
{
    if (disk->inode[file->inode].locked == file->number) {
        disk->inode[file->inode].locked = 0;
    }
    file->used = 0;
}

static int do_close(void *ctx, int number)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_CLOSE, &done);
    sim_file *file = sim_file_of(disk, number);
    if (done) {
        close_file(disk, file);
    }
    return sim_end(disk, error);
}

static int do_size(void *ctx, int number, uint64_t *size)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_SIZE, &done);
    if (error == 0) {
        *size = disk->inode[sim_file_of(disk, number)->inode].size;
    }
    return sim_end(disk, error);
}

sim_file *sim_file_writable(sim_disk *disk, int number)
{
    sim_file *file = sim_file_of(disk, number);
    if (!file->writable) {
        sim_stop("a write to a file that was opened for reading", "");
    }
    return file;
}

static int do_allocate(void *ctx, int number, uint64_t offset, uint64_t size)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_ALLOCATE, &done);
    const sim_file *file = sim_file_writable(disk, number);
    if (done && offset + size > disk->inode[file->inode].size) {
        sim_resize(disk, file->inode, offset + size);
    }
    return sim_end(disk, error);
}

static int do_truncate(void *ctx, int number, uint64_t size)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_TRUNCATE, &done);
    const sim_file *file = sim_file_writable(disk, number);
    if (disk->inode[file->inode].maps > 0 && size < disk->inode[file->inode].size) {
        sim_stop("a mapped file is cut", "its next reader would get SIGBUS");
    }
    if (done && size != disk->inode[file->inode].size) {
        sim_resize(disk, file->inode, size);
    }
    return sim_end(disk, error);
}

static int do_pread(void *ctx, int number, void *data, size_t size, uint64_t offset)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_PREAD, &done);
    const sim_inode *inode = &disk->inode[sim_file_of(disk, number)->inode];
    if (error == 0 && (offset > inode->size || size > inode->size - offset)) {
        error = EIO;
    }
    if (error == 0) {
        memcpy(data, inode->cache->data + offset, size);
    }
    return sim_end(disk, error);
}

static int do_pwrite(void *ctx, int number, const void *data, size_t size, uint64_t offset)
{
    sim_disk *disk = ctx;
    int done, error = sim_begin(disk, SIM_PWRITE, &done);
    const sim_file *file = sim_file_writable(disk, number);
    if (!done && disk->fault.nth % 2 == 0) {
        size /= 2;                          /* what an interrupted loop of writes leaves */
    }
    if (done || disk->fault.nth % 2 == 0) {
        sim_put(disk, file->inode, offset, data, size);
    }
    return sim_end(disk, error);
}

void sim_note_failure(sim_disk *disk, enum sim_op op, int error)
{
    if (error != 0 && (disk->sync_failed == 0 || op == SIM_SYNC)) {
        disk->sync_failed = op + 1;
    }
}

/* A sync promises what was written before it was called: what others write while it runs is as unsynced afterwards. */
static int sync_as(sim_disk *disk, enum sim_op op, int number)
{
    int done, error = sim_begin(disk, op, &done);
    uint64_t before = sim_unit_now();
    if (op == SIM_SYNC && disk->no_more_syncs) {
        sim_stop("a sync after one that failed", "");
    }
    disk->no_more_syncs |= op == SIM_SYNC && error != 0;
    sim_yield();
    sim_refuse_stores(disk);
    sim_settle_file(disk, sim_file_of(disk, number)->inode, !done, before);
    sim_note_failure(disk, op, error);
    disk->syncs += op == SIM_SYNC && error == 0;
    return sim_end(disk, error);
}

static int do_sync(void *ctx, int number)
{
    return sync_as(ctx, SIM_SYNC, number);
}

static int do_sync_all(void *ctx, int number)
{
    return sync_as(ctx, SIM_SYNC_ALL, number);
}

/* ---- a disk as a whole ------------------------------------------------------------------ */

static const sp_disk TABLE = {
    .open = do_open, .close = do_close, .size = do_size, .allocate = do_allocate, .truncate = do_truncate,
    .pread = do_pread, .pwrite = do_pwrite, .sync = do_sync, .sync_all = do_sync_all, .map = sim_do_map,
    .map_at = sim_do_map_at, .unmap = sim_do_unmap, .cool = sim_do_cool, .begin_write = sim_do_begin_write,
    .lock = sim_do_lock, .rename = sim_do_rename, .unlink = sim_do_unlink, .mkdir = sim_do_mkdir,
    .sync_dir = sim_do_sync_dir, .list = sim_do_list, .traits = sim_do_traits,
};

sim_disk *sim_disk_new(void)
{
    sim_disk *disk = free_disks;
    if (disk == NULL) {
        disk = calloc(1, sizeof *disk);
    } else {
        free_disks = disk->next_free;
    }
    if (disk == NULL) {
        sim_stop("no memory", "for a disk");
    }
    disk->table = TABLE;
    disk->table.ctx = disk;
    return disk;
}

void sim_disk_restart(sim_disk *disk)
{
    sim_refuse_stores(disk);
    disk->no_more_syncs = 0;
    for (int i = 0; i < SIM_MAPS; i++) {
        if (disk->map[i].used) {
            sim_drop_map(disk, &disk->map[i]);
        }
    }
    for (int i = 0; i < SIM_FILES; i++) {
        if (disk->file[i].used) {
            close_file(disk, &disk->file[i]);
        }
    }
}

/* Kept for reuse with the room for units that it has. */
void sim_disk_free(sim_disk *disk)
{
    sim_disk_restart(disk);
    for (int i = 0; i < disk->inodes; i++) {
        sim_blob_drop(disk->inode[i].cache);
        sim_blob_drop(disk->inode[i].durable);
    }
    disk->inodes = disk->next_file = disk->changed = disk->in_hook = disk->fault_hit = disk->sync_failed = 0;
    disk->syncs = 0;
    disk->seen.count = disk->durable.count = 0;
    disk->units = 0;
    disk->hook = NULL;
    disk->fault = (sim_fault){0};
    memset(disk->calls, 0, sizeof disk->calls);
    disk->next_free = free_disks;
    free_disks = disk;
}

const sp_disk *sim_disk_table(sim_disk *disk)
{
    return &disk->table;
}

void sim_disk_watch(sim_disk *disk, sim_hook *hook, void *arg)
{
    disk->hook = hook;
    disk->hook_arg = arg;
}

void sim_disk_fault(sim_disk *disk, sim_fault fault)
{
    disk->fault = fault;
    if (fault.nth > 0) {
        disk->fault.nth += disk->calls[fault.op];
        disk->fault_hit = 0;
    }
}

int sim_disk_hit(const sim_disk *disk)
{
    return disk->fault_hit;
}

uint64_t sim_disk_syncs(const sim_disk *disk)
{
    return disk->syncs;
}

int sim_disk_sync_failed(const sim_disk *disk)
{
    return disk->sync_failed;
}

uint64_t sim_disk_calls(const sim_disk *disk, int op)
{
    return disk->calls[op];
}
