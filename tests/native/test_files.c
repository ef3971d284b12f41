/* Do the threads that hash files agree with one message hashed at once, with a file for each, with more threads than files,
 * and with a reader in another thread? Run under ThreadSanitizer, this is where they meet. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "sp.h"
#include "sp_digest.h"
#include "sp_files.h"

#define FILES 60
#define TEXT_SIZE (3 * SP_FILES_PIECE_MAX + 77)
#define WORKERS 4

static char place[] = "/tmp/sp-files-XXXXXX";
static char paths[FILES * 64];
static size_t paths_size, sizes[FILES];
static uint8_t text[TEXT_SIZE], expected[FILES][SP_DIGEST_SIZE_MAX];

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    EXPECT(fd >= 0);
    EXPECT(write(fd, data, size) == (ssize_t)size);
    EXPECT(close(fd) == 0);
}

static void make(void)
{
    EXPECT(mkdtemp(place) != NULL);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    for (size_t i = 0; i < FILES; i++) {
        sizes[i] = i == 0 ? sizeof text : (i * i * 977) % sizeof text;
        char *path = paths + paths_size;
        paths_size += (size_t)sprintf(path, "%s/%zu", place, i) + 1;
        write_file(path, text, sizes[i]);
    }
}

static void *work(void *files)
{
    EXPECT(sp_files_work(files) == SP_OK);
    return NULL;
}

/* Hashes the first `count` files with `workers` threads while this one waits. */
static void all(uint8_t algorithm, size_t count, size_t workers)
{
    static uint8_t digests[FILES * SP_DIGEST_SIZE_MAX];
    uint64_t told[FILES];
    int32_t errors[FILES];
    pthread_t threads[WORKERS];
    sp_files *files;
    size_t bytes_of_paths = 0;
    for (size_t i = 0; i < count; i++) {
        bytes_of_paths += strlen(paths + bytes_of_paths) + 1;
    }
    EXPECT(sp_files_new(algorithm, count, paths, bytes_of_paths, workers, digests, told, errors, &files) == SP_OK);
    for (size_t i = 0; i < workers; i++) {
        EXPECT(pthread_create(&threads[i], NULL, work, files) == 0);
    }
    size_t finished = 0;
    for (uint64_t bytes; finished < count;) {
        EXPECT(sp_files_wait(files, finished + 1, 1000, &finished, &bytes) == SP_OK);
    }
    for (size_t i = 0; i < workers; i++) {
        pthread_join(threads[i], NULL);
    }
    EXPECT(sp_files_work(files) == SP_E_BOUNDS);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *data = text;
        EXPECT(sp_digest_many(algorithm, 1, &data, &sizes[i], expected[i]) == SP_OK);
        EXPECT(errors[i] == 0 && told[i] == sizes[i]);
        EXPECT(memcmp(digests + i * sp_digest_size(algorithm), expected[i], sp_digest_size(algorithm)) == 0);
    }
    sp_files_free(files);
}

static void refused(void)
{
    uint8_t digests[SP_DIGEST_SIZE_MAX];
    uint64_t told;
    int32_t error;
    sp_files *files;
    EXPECT(sp_files_new(4, 1, paths, strlen(paths) + 1, 1, digests, &told, &error, &files) == SP_E_ALGORITHM);
    EXPECT(sp_files_new(1, 1, paths, strlen(paths), 1, digests, &told, &error, &files) == SP_E_ARGUMENT);
    EXPECT(sp_files_new(1, 1, paths, paths_size, 1, digests, &told, &error, &files) == SP_E_ARGUMENT);
    EXPECT(sp_files_new(1, 1, paths, strlen(paths) + 1, 0, digests, &told, &error, &files) == SP_E_ARGUMENT);
}

/* Stopped before anybody worked: nothing is read. */
static void stopped(void)
{
    static uint8_t digests[FILES * SP_DIGEST_SIZE_MAX];
    uint64_t told[FILES], bytes;
    int32_t errors[FILES];
    size_t finished;
    sp_files *files;
    EXPECT(sp_files_new(1, FILES, paths, paths_size, 1, digests, told, errors, &files) == SP_OK);
    sp_files_stop(files);
    EXPECT(sp_files_work(files) == SP_OK);
    EXPECT(sp_files_wait(files, FILES, 1, &finished, &bytes) == SP_OK);
    EXPECT(finished == 0 && bytes == 0 && errors[0] == EINPROGRESS);
    sp_files_free(files);
}

int main(void)
{
    make();
    for (uint8_t algorithm = SP_DIGEST_SHA256; algorithm <= SP_DIGEST_SHA512; algorithm++) {
        for (size_t workers = 1; workers <= WORKERS; workers++) {
            all(algorithm, FILES, workers);
            all(algorithm, 1, workers);
            all(algorithm, 0, workers);
        }
    }
    refused();
    stopped();
    for (const char *path = paths; path < paths + paths_size; path += strlen(path) + 1) {
        unlink(path);
    }
    EXPECT(rmdir(place) == 0);
    return check_done();
}
