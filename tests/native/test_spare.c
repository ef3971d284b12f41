/* Does the helper thread keep to itself what it was told of a disk? */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "sp_spare.h"

static int begun, may_end;                  /* atomic */

/* The kernel tells a failure once for each open file: the sync that comes first has it, one beside it goes well. */
static int failing_sync(void *ctx, int file)
{
    (void)ctx;
    (void)file;
    __atomic_store_n(&begun, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&may_end, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    return EIO;
}

static void *end_soon(void *argument)
{
    usleep(20000);
    __atomic_store_n(&may_end, 1, __ATOMIC_RELEASE);
    return argument;
}

/* Whoever asks beside a sync that fails is told so, and so is the next batch. */
static void test_a_flush_that_fails(const char *dir)
{
    sp_disk disk = *sp_disk_linux();
    disk.sync = failing_sync;
    sp_spare spare;
    pthread_t thread;
    int file = 0, error = 0;
    EXPECT(sp_spare_start(&spare, &disk, dir, 64u << 10, 0) == SP_OK);
    EXPECT(sp_spare_flushed(&spare, &error) == SP_OK);
    sp_spare_flush(&spare, &file, 1);
    while (!__atomic_load_n(&begun, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    EXPECT(pthread_create(&thread, NULL, end_soon, NULL) == 0);
    EXPECT(sp_spare_flushed(&spare, &error) == SP_E_FAILED && error == EIO);
    error = 0;
    EXPECT(sp_spare_check(&spare, 0, &error) == SP_E_FAILED && error == EIO);
    pthread_join(thread, NULL);
    sp_spare_stop(&spare);
}

int main(void)
{
    char dir[] = "/tmp/sealpress-spare-XXXXXX";
    EXPECT(mkdtemp(dir) != NULL);
    test_a_flush_that_fails(dir);
    EXPECT(rmdir(dir) == 0);
    return check_done();
}
