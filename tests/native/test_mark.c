/* Is a slot durable when the thread says so, and is nothing written after a failure? */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "sp.h"
#include "sp_disk.h"

static char path[] = "/tmp/sp-mark-XXXXXX";
static int syncs, failing;

static int counting_sync(void *ctx, int file)
{
    syncs++;
    return failing ? EIO : sp_disk_linux()->sync(ctx, file);
}

static uint64_t heard(int told)
{
    struct pollfd poll_for = {.fd = told, .events = POLLIN};
    uint64_t count = 0;
    EXPECT(poll(&poll_for, 1, 10000) == 1);
    EXPECT(read(told, &count, sizeof count) == (ssize_t)sizeof count);
    return count;
}

static uint8_t stored(uint32_t slot)
{
    uint8_t bytes[SP_MARK_SLOT];
    int file = open(path, O_RDONLY);
    EXPECT(pread(file, bytes, sizeof bytes, (off_t)SP_MARK_SLOT * slot) == (ssize_t)sizeof bytes);
    close(file);
    for (unsigned i = 1; i < SP_MARK_SLOT; i++) {
        EXPECT(bytes[i] == bytes[0]);
    }
    return bytes[0];
}

/* Each slot holds what was written last, synced once a write, and each end is told once. */
static void test_slots_are_written_and_synced(const sp_disk *disk, int told)
{
    sp_mark *mark;
    uint8_t bytes[SP_MARK_SLOT];
    EXPECT(sp_mark_open(disk, path, told, &mark) == SP_OK);
    for (uint32_t n = 1; n <= 200; n++) {
        memset(bytes, (int)n, sizeof bytes);
        EXPECT(sp_mark_begin(mark, n % SP_MARK_SLOTS, bytes) == SP_OK);
        memset(bytes, 0, sizeof bytes);         /* it has its own copy */
        if (n % 3 == 0) {
            EXPECT(heard(told) == 1);
            EXPECT(sp_mark_await(mark) == SP_OK);
        } else {
            EXPECT(sp_mark_await(mark) == SP_OK);
            EXPECT(heard(told) == 1);
        }
        EXPECT(stored(n % SP_MARK_SLOTS) == n);
    }
    EXPECT(syncs == 200);
    EXPECT(sp_mark_begin(mark, SP_MARK_SLOTS, bytes) == SP_E_ARGUMENT);
    EXPECT(sp_mark_begin(mark, 0, bytes) == SP_OK);
    sp_mark_close(mark);                        /* waits for it */
    EXPECT(stored(0) == 0 && syncs == 201);
    EXPECT(heard(told) == 1);
}

/* A failed sync is told, with its errno; whatever comes after it is refused, and nothing more is synced. */
static void test_a_failure_is_the_end(const sp_disk *disk, int told)
{
    sp_mark *mark;
    uint8_t bytes[SP_MARK_SLOT] = {7};
    EXPECT(sp_mark_open(disk, path, told, &mark) == SP_OK);
    failing = 1;
    EXPECT(sp_mark_begin(mark, 0, bytes) == SP_OK);
    EXPECT(heard(told) == 1);
    EXPECT(sp_mark_await(mark) == SP_E_SYSTEM && errno == EIO);
    failing = 0;
    EXPECT(sp_mark_begin(mark, 1, bytes) == SP_E_FAILED);
    EXPECT(sp_mark_await(mark) == SP_E_SYSTEM && errno == EIO);
    EXPECT(syncs == 202);
    sp_mark_close(mark);
    EXPECT(sp_mark_open(disk, "/tmp/sp-mark-that-is-not-there", told, &mark) == SP_E_SYSTEM);
}

int main(void)
{
    int file = mkstemp(path), told = eventfd(0, EFD_CLOEXEC);
    EXPECT(file >= 0 && told >= 0 && ftruncate(file, SP_MARK_SLOTS * SP_MARK_SLOT) == 0);
    close(file);
    sp_disk disk = *sp_disk_linux();
    disk.sync = counting_sync;
    test_slots_are_written_and_synced(&disk, told);
    test_a_failure_is_the_end(&disk, told);
    close(told);
    unlink(path);
    return check_done();
}
