/* Does the helper thread keep to itself what it was told of a disk? */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "sp_segment.h"
#include "sp_spare.h"

static int begun, may_end;                  /* atomic */

/* The kernel tells a failure once: whoever syncs that file again hears that all is well. */
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

/* Whoever waits for a segment beside a sync that fails is told so, and so is the next batch, whatever it may use. */
static void test_a_segment_that_is_not_durable(const char *dir)
{
    sp_disk disk = *sp_disk_linux();
    disk.sync_all = failing_sync;
    sp_spare spare;
    pthread_t thread;
    int error = 0;
    EXPECT(sp_spare_start(&spare, &disk, dir, 64u << 10, 0) == SP_OK);
    EXPECT(sp_spare_check(&spare, 0, &error) == SP_OK);
    sp_spare_want(&spare, 0);
    while (!__atomic_load_n(&begun, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    EXPECT(pthread_create(&thread, NULL, end_soon, NULL) == 0);
    EXPECT(sp_spare_take(&spare, 0, 0, &error) == SP_E_FAILED && error == EIO);
    for (int use_reserve = 0; use_reserve < 2; use_reserve++) {
        error = 0;
        EXPECT(sp_spare_check(&spare, use_reserve, &error) == SP_E_FAILED && error == EIO);
        error = 0;
        EXPECT(sp_spare_take(&spare, 0, use_reserve, &error) == SP_E_FAILED && error == EIO);
    }
    pthread_join(thread, NULL);
    sp_spare_stop(&spare);
}

int main(void)
{
    char dir[] = "/tmp/sealpress-spare-XXXXXX";
    EXPECT(mkdtemp(dir) != NULL);
    char journal[sizeof dir + 16];
    snprintf(journal, sizeof journal, "%s/journal", dir);
    EXPECT(mkdir(journal, 0700) == 0);
    test_a_segment_that_is_not_durable(dir);
    EXPECT(sp_segment_remove_temp(sp_disk_linux(), dir) == SP_OK);
    EXPECT(rmdir(journal) == 0 && rmdir(dir) == 0);
    return check_done();
}
