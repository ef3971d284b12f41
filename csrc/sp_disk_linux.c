/* The real disk: system calls, each one retried on EINTR where the kernel allows
 * it (never fsync: its second answer would lie). Mappings are registered with
 * sp_bus.c, so that a SIGBUS in one of them ends the process with a sentence. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sp_bus.h"
#include "sp_disk.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static int linux_open(void *ctx, const char *path, uint32_t flags, int *file)
{
    (void)ctx;
    int mode = flags & SP_DISK_WRITE ? O_RDWR : O_RDONLY;
    mode |= flags & SP_DISK_CREATE ? O_CREAT : 0;
    mode |= flags & SP_DISK_EXCLUSIVE ? O_EXCL : 0;
    int fd;
    do {
        fd = open(path, mode | O_CLOEXEC | O_NOCTTY, 0640);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return errno;
    }
    *file = fd;
    return 0;
}

static int linux_close(void *ctx, int file)
{
    (void)ctx;
    /* Linux has released the number even if it answers EINTR. */
    return close(file) == 0 || errno == EINTR ? 0 : errno;
}

static int linux_size(void *ctx, int file, uint64_t *size)
{
    (void)ctx;
    struct stat info;
    if (fstat(file, &info) != 0) {
        return errno;
    }
    *size = (uint64_t)info.st_size;
    return 0;
}

/* As many blocks as the file has bytes. */
static int has_blocks(int file, uint64_t end)
{
    struct stat info;
    return fstat(file, &info) == 0 && (uint64_t)info.st_size >= end &&
           (uint64_t)info.st_blocks * 512 >= (uint64_t)info.st_size;
}

/* XFS sets blocks aside before it looks what is there already: on a full disk it refuses a file that needs none. */
static int linux_allocate(void *ctx, int file, uint64_t offset, uint64_t size)
{
    (void)ctx;
    int error;
    do {
        error = posix_fallocate(file, (off_t)offset, (off_t)size);
    } while (error == EINTR);
    return (error == ENOSPC || error == EDQUOT) && has_blocks(file, offset + size) ? 0 : error;
}

static int linux_truncate(void *ctx, int file, uint64_t size)
{
    (void)ctx;
    int answer;
    do {
        answer = ftruncate(file, (off_t)size);
    } while (answer != 0 && errno == EINTR);
    return answer == 0 ? 0 : errno;
}

static int linux_pread(void *ctx, int file, void *data, size_t size, uint64_t offset)
{
    (void)ctx;
    uint8_t *to = data;
    while (size > 0) {
        ssize_t got = pread(file, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got == 0 ? EIO : errno;
        }
        to += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

static int linux_pwrite(void *ctx, int file, const void *data, size_t size, uint64_t offset)
{
    (void)ctx;
    const uint8_t *from = data;
    while (size > 0) {
        ssize_t put = pwrite(file, from, size, (off_t)offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return put == 0 ? EIO : errno;
        }
        from += put;
        size -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

static int linux_sync(void *ctx, int file)
{
    (void)ctx;
    return fdatasync(file) == 0 ? 0 : errno;
}

static int linux_sync_all(void *ctx, int file)
{
    (void)ctx;
    return fsync(file) == 0 ? 0 : errno;
}

static int linux_map(void *ctx, int file, uint64_t offset, uint64_t size, void **out)
{
    (void)ctx;
    void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, file, (off_t)offset);
    if (data == MAP_FAILED) {
        return errno;
    }
    sp_bus_add(data, (size_t)size);
    *out = data;
    return 0;
}

static int linux_map_at(void *ctx, int file, uint64_t offset, uint64_t size, void *at)
{
    (void)ctx;
    void *data = mmap(at, (size_t)size, PROT_READ, MAP_SHARED | MAP_FIXED, file, (off_t)offset);
    return data == MAP_FAILED ? errno : 0;
}

static int linux_unmap(void *ctx, void *data, uint64_t size)
{
    (void)ctx;
    sp_bus_remove(data);
    return munmap(data, (size_t)size) == 0 ? 0 : errno;
}

static void linux_cool(void *ctx, int file, void *data, uint64_t offset, uint64_t size)
{
    (void)ctx;
    if (data != NULL) {
        (void)madvise(data, (size_t)size, MADV_DONTNEED);       /* first: mapped pages are not dropped */
    }
    if (file >= 0) {
        (void)posix_fadvise(file, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
    }
}

static void linux_begin_write(void *ctx, int file, uint64_t offset, uint64_t size)
{
    (void)ctx;
    (void)sync_file_range(file, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
}

/* An open-file-description lock: unlike fcntl's classic ones it also keeps out a
 * second opener in the same process, and closing another descriptor of the file
 * does not drop it. */
static int linux_lock(void *ctx, int file)
{
    (void)ctx;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
    int answer;
    do {
        answer = fcntl(file, F_OFD_SETLK, &lock);
    } while (answer != 0 && errno == EINTR);
    if (answer == 0) {
        return 0;
    }
    return errno == EACCES || errno == EAGAIN ? EWOULDBLOCK : errno;
}

static int linux_rename(void *ctx, const char *source, const char *target)
{
    (void)ctx;
    return rename(source, target) == 0 ? 0 : errno;
}

static int linux_unlink(void *ctx, const char *path)
{
    (void)ctx;
    return unlink(path) == 0 ? 0 : errno;
}

static int linux_mkdir(void *ctx, const char *path)
{
    (void)ctx;
    return mkdir(path, 0750) == 0 ? 0 : errno;
}

static int linux_sync_dir(void *ctx, const char *path)
{
    (void)ctx;
    int file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) {
        return errno;
    }
    int error = fsync(file) == 0 ? 0 : errno;
    close(file);
    return error;
}

static int linux_list(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg)
{
    (void)ctx;
    DIR *stream = opendir(path);
    if (stream == NULL) {
        return errno;
    }
    int error = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            error = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        error = each(arg, entry->d_name);
        if (error != 0) {
            break;
        }
    }
    closedir(stream);
    return error;
}

/* Where fallocate reserves the very blocks that a later store will use. A
 * copy-on-write file system (btrfs, zfs) needs new blocks for an overwrite; a
 * network or FUSE one may lose the server behind a mapping. */
static int linux_traits(void *ctx, const char *path, uint32_t *traits)
{
    (void)ctx;
    struct statfs info;
    int answer;
    do {
        answer = statfs(path, &info);
    } while (answer != 0 && errno == EINTR);
    if (answer != 0) {
        return errno;
    }
    switch ((uint32_t)info.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
        *traits = SP_DISK_KEEPS_ROOM;
        return 0;
    case TMPFS_MAGIC:
        *traits = SP_DISK_KEEPS_ROOM | SP_DISK_VOLATILE;
        return 0;
    default:
        *traits = 0;
        return 0;
    }
}

static const sp_disk DISK_LINUX = {
    .ctx = NULL,
    .open = linux_open,
    .close = linux_close,
    .size = linux_size,
    .allocate = linux_allocate,
    .truncate = linux_truncate,
    .pread = linux_pread,
    .pwrite = linux_pwrite,
    .sync = linux_sync,
    .sync_all = linux_sync_all,
    .map = linux_map,
    .map_at = linux_map_at,
    .unmap = linux_unmap,
    .cool = linux_cool,
    .begin_write = linux_begin_write,
    .lock = linux_lock,
    .rename = linux_rename,
    .unlink = linux_unlink,
    .mkdir = linux_mkdir,
    .sync_dir = linux_sync_dir,
    .list = linux_list,
    .traits = linux_traits,
};

const sp_disk *sp_disk_linux(void)
{
    return &DISK_LINUX;
}
