/* Many files, hashed in step: see sp_files.h. */
#define _GNU_SOURCE
#include "sp_files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sp_digest.h"
#include "sp_lanes.h"

/* What a read brought: blocks to hash; `last` if the padding is among them. Or why it failed. */
typedef struct piece {
    size_t blocks;
    int last;
    int error;                  /* errno, 0: none */
} piece;

enum ahead {
    AHEAD_NONE,                 /* nothing is read ahead */
    AHEAD_READING,              /* one thread, the owner or another, reads: `taken` and a buffer are its own */
    AHEAD_READY                 /* `behind` is what stands in the other buffer */
};

/* A file under way. Its owner hashes from `front`; what the next read concerns is guarded by the mutex. */
typedef struct lane {
    size_t item;
    int fd;
    struct stat found;          /* the file as it was when it was opened */
    uint64_t taken;             /* bytes read so far */
    const uint8_t *next;        /* blocks of `front` that are not hashed yet begin here */
    piece front, behind;
    enum ahead ahead;
    int at;                     /* buffers[at] holds `front`, the other one `behind` */
    uint8_t *buffers[2];
} lane;

typedef struct worker {
    sp_files *files;
    sp_lanes hash;
    size_t busy;                /* lanes[0 .. busy) have a file */
    lane *lanes[SP_LANES_MAX], pool[SP_LANES_MAX];
    uint8_t *arena;
} worker;

struct sp_files {
    uint8_t algorithm;
    size_t digest_size, count;
    const char **paths;
    uint8_t *digests;
    uint64_t *sizes;
    int32_t *errors;
    size_t width;               /* lanes of each worker */
    size_t piece;               /* bytes of one read, a multiple of a block */
    worker *workers;
    size_t workers_max;
    size_t next;                /* atomic: the first file that nobody took */
    uint64_t bytes;             /* atomic */
    int stop;                   /* atomic */
    pthread_mutex_t mutex;
    pthread_cond_t read, finished;
    /* guarded by the mutex */
    size_t started, working;    /* workers so far; those of them that have files */
    size_t front;               /* files [0, front) are finished */
    size_t awaited;             /* somebody sleeps until `front` is here */
};

static int stopped(const sp_files *files)
{
    return __atomic_load_n(&files->stop, __ATOMIC_RELAXED);
}

static void finish(sp_files *files, size_t item, int error)
{
    pthread_mutex_lock(&files->mutex);
    files->errors[item] = error;
    while (files->front < files->count && files->errors[files->front] != EINPROGRESS) {
        files->front++;
    }
    if (files->front >= files->awaited) {
        pthread_cond_broadcast(&files->finished);
    }
    pthread_mutex_unlock(&files->mutex);
}

/* ---- one file ------------------------------------------------------------ */

static int open_regular(const char *path, int *fd, struct stat *info)
{
    /* O_NONBLOCK: a fifo without a writer must be refused, not waited for. It means nothing to a regular file. */
    do {
        *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    } while (*fd < 0 && errno == EINTR);
    if (*fd < 0) {
        return errno;
    }
    int error = fstat(*fd, info) != 0 ? errno : S_ISREG(info->st_mode) ? 0 : S_ISDIR(info->st_mode) ? EISDIR : ENOTSUP;
    if (error != 0) {
        close(*fd);
    }
    return error;
}

/* The next piece of a file into a buffer; the caller is the one who may read it. */
static piece read_piece(worker *owner, lane *l, uint8_t *buffer)
{
    const size_t room = owner->files->piece;
    size_t held = 0;
    while (held < room) {
        const ssize_t got = pread(l->fd, buffer + held, room - held, (off_t)l->taken);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return (piece){.last = 1, .error = errno};
        }
        if (got == 0) {
            return (piece){.blocks = sp_lanes_pad(&owner->hash, buffer, held, l->taken), .last = 1};
        }
        held += (size_t)got;
        l->taken += (size_t)got;
    }
    return (piece){.blocks = held / owner->hash.block};
}

/* The piece in front is hashed: puts the next one there, from another thread's hands or by reading it. */
static void next_piece(worker *w, lane *l)
{
    sp_files *files = w->files;
    pthread_mutex_lock(&files->mutex);
    while (l->ahead == AHEAD_READING) {
        pthread_cond_wait(&files->read, &files->mutex);
    }
    const int ready = l->ahead == AHEAD_READY;
    if (ready) {
        l->at = !l->at;
        l->front = l->behind;
        l->ahead = AHEAD_NONE;
        pthread_cond_broadcast(&files->read);
    } else {
        l->ahead = AHEAD_READING;
    }
    pthread_mutex_unlock(&files->mutex);
    if (!ready) {
        const piece found = read_piece(w, l, l->buffers[l->at]);
        pthread_mutex_lock(&files->mutex);
        l->front = found;
        l->ahead = AHEAD_NONE;
        pthread_cond_broadcast(&files->read);
        pthread_mutex_unlock(&files->mutex);
    }
    l->next = l->buffers[l->at];
}

static int same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* What somebody changed while it was read has no digest that anybody meant. Who copies into a file may put the time of
 * its content back, but not that of its inode; a new name or mode changes that, too, and then somebody has to ask again. */
static int changed(const lane *l)
{
    struct stat now;
    if (fstat(l->fd, &now) != 0) {
        return errno;
    }
    const struct stat *then = &l->found;
    const int same = now.st_size == then->st_size && same_time(&now.st_mtim, &then->st_mtim)
                     && same_time(&now.st_ctim, &then->st_ctim);
    return same ? 0 : ESTALE;
}

/* ---- the files of one worker --------------------------------------------- */

/* Opens the next file there is into lane `at`, and asks the disk for its beginning; files that cannot be opened are
 * finished on the way. Returns 0 when there is no more. */
static int take(worker *w, size_t at)
{
    sp_files *files = w->files;
    lane *l = w->lanes[at];
    while (!stopped(files)) {
        const size_t item = __atomic_fetch_add(&files->next, 1, __ATOMIC_RELAXED);
        if (item >= files->count) {
            return 0;
        }
        const int error = open_regular(files->paths[item], &l->fd, &l->found);
        if (error != 0) {
            finish(files, item, error);
            continue;
        }
        (void)posix_fadvise(l->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        (void)posix_fadvise(l->fd, 0, (off_t)files->piece, POSIX_FADV_WILLNEED);
        sp_lanes_start(&w->hash, at);
        pthread_mutex_lock(&files->mutex);
        l->item = item;
        l->taken = 0;
        l->front = (piece){0};
        w->busy += at == w->busy;
        pthread_mutex_unlock(&files->mutex);
        return 1;
    }
    return 0;
}

/* The file of lane `at` is done with; nobody reads it any more. */
static void give(worker *w, size_t at, int error)
{
    sp_files *files = w->files;
    lane *l = w->lanes[at];
    pthread_mutex_lock(&files->mutex);
    while (l->ahead == AHEAD_READING) {
        pthread_cond_wait(&files->read, &files->mutex);
    }
    l->ahead = AHEAD_NONE;
    l->front.last = 1;
    pthread_mutex_unlock(&files->mutex);
    if (error == 0) {
        error = changed(l);
    }
    if (error == 0) {
        sp_lanes_digest(&w->hash, at, files->digests + l->item * files->digest_size);
        files->sizes[l->item] = l->taken;
    }
    close(l->fd);
    finish(files, l->item, error);
}

/* Lane `at` has no file: another one takes its place, so that the busy ones stand in front. */
static void drop(worker *w, size_t at)
{
    pthread_mutex_lock(&w->files->mutex);
    w->busy--;
    lane *free_lane = w->lanes[at];
    w->lanes[at] = w->lanes[w->busy];
    w->lanes[w->busy] = free_lane;
    pthread_mutex_unlock(&w->files->mutex);
    sp_lanes_move(&w->hash, at, w->busy);
}

/* Makes that every busy lane has blocks to hash; returns how many are busy. */
static size_t refill(worker *w)
{
    size_t at = 0;
    while (at < w->busy) {
        lane *l = w->lanes[at];
        if (l->front.blocks > 0) {
            at++;
        } else if (!l->front.last && !stopped(w->files)) {
            next_piece(w, l);
        } else {
            give(w, at, l->front.last ? l->front.error : ECANCELED);
            if (!take(w, at)) {
                drop(w, at);
            }
        }
    }
    return w->busy;
}

static void hash(worker *w)
{
    const uint8_t *blocks[SP_LANES_MAX];
    size_t step = SIZE_MAX;
    for (size_t at = 0; at < w->busy; at++) {
        const lane *l = w->lanes[at];
        blocks[at] = l->next;
        step = l->front.blocks < step ? l->front.blocks : step;
    }
    sp_lanes_compress(&w->hash, blocks, step, w->busy);
    for (size_t at = 0; at < w->busy; at++) {
        w->lanes[at]->next += step * w->hash.block;
        w->lanes[at]->front.blocks -= step;
    }
    __atomic_fetch_add(&w->files->bytes, step * w->hash.block * w->busy, __ATOMIC_RELAXED);
}

/* ---- reading ahead ------------------------------------------------------- */

/* A file of another worker that could be read ahead; NULL: none now. With the mutex. */
static lane *behind(sp_files *files, worker **owner)
{
    for (size_t i = 0; i < files->started; i++) {
        worker *w = &files->workers[i];
        for (size_t at = 0; at < w->busy; at++) {
            lane *l = w->lanes[at];
            if (l->ahead == AHEAD_NONE && !l->front.last) {
                *owner = w;
                return l;
            }
        }
    }
    return NULL;
}

static void help(sp_files *files)
{
    pthread_mutex_lock(&files->mutex);
    while (files->working > 0 && !stopped(files)) {
        worker *owner;
        lane *l = behind(files, &owner);
        if (l == NULL) {
            pthread_cond_wait(&files->read, &files->mutex);
            continue;
        }
        l->ahead = AHEAD_READING;
        uint8_t *buffer = l->buffers[!l->at];
        pthread_mutex_unlock(&files->mutex);
        const piece found = read_piece(owner, l, buffer);
        pthread_mutex_lock(&files->mutex);
        l->behind = found;
        l->ahead = AHEAD_READY;
        pthread_cond_broadcast(&files->read);
    }
    pthread_mutex_unlock(&files->mutex);
}

/* ---- the object ---------------------------------------------------------- */

/* The zero bytes must end exactly `count` paths. */
static int split(sp_files *files, const char *paths, size_t paths_size)
{
    size_t at = 0;
    for (size_t i = 0; i < files->count; i++) {
        const char *end = at < paths_size ? memchr(paths + at, 0, paths_size - at) : NULL;
        SP_ENSURE(end != NULL, SP_E_ARGUMENT);
        files->paths[i] = paths + at;
        files->errors[i] = EINPROGRESS;
        at = (size_t)(end - paths) + 1;
    }
    SP_ENSURE(at == paths_size, SP_E_ARGUMENT);
    return SP_OK;
}

static int worker_open(sp_files *files, worker *w)
{
    const size_t stride = files->piece + SP_LANES_PAD_MAX;
    SP_TRY(sp_lanes_open(&w->hash, files->algorithm));
    w->files = files;
    w->arena = malloc(2 * files->width * stride);
    SP_ENSURE(w->arena != NULL, SP_E_MEMORY);
    for (size_t at = 0; at < files->width; at++) {
        w->lanes[at] = &w->pool[at];
        w->pool[at].buffers[0] = w->arena + 2 * at * stride;
        w->pool[at].buffers[1] = w->pool[at].buffers[0] + stride;
    }
    return SP_OK;
}

static int open_all(sp_files *files, const char *paths, size_t paths_size)
{
    sp_lanes lanes;
    SP_TRY(sp_lanes_open(&lanes, files->algorithm));
    files->digest_size = sp_digest_size(files->algorithm);
    /* Few files are shared out evenly: two threads with a narrow kernel beat one with a wide one. */
    const size_t share = (files->count + files->workers_max - 1) / files->workers_max;
    files->width = share < lanes.best ? (share > 0 ? share : 1) : lanes.best;
    const size_t piece = SP_FILES_ARENA_BYTES / files->width / 4096 * 4096;
    files->piece = piece < SP_FILES_PIECE_MAX ? piece : SP_FILES_PIECE_MAX;
    files->paths = calloc(files->count + 1, sizeof *files->paths);
    files->workers = calloc(files->workers_max, sizeof *files->workers);
    SP_ENSURE(files->paths != NULL && files->workers != NULL, SP_E_MEMORY);
    SP_TRY(split(files, paths, paths_size));
    for (size_t i = 0; i < files->workers_max; i++) {
        SP_TRY(worker_open(files, &files->workers[i]));
    }
    return SP_OK;
}

int sp_files_new(uint8_t algorithm, size_t count, const char *paths, size_t paths_size, size_t workers, uint8_t *digests,
                 uint64_t *sizes, int32_t *errors, sp_files **out)
{
    SP_ENSURE(paths != NULL && digests != NULL && sizes != NULL && errors != NULL && out != NULL, SP_E_ARGUMENT);
    SP_ENSURE(workers > 0 && workers <= SP_FILES_WORKERS_MAX, SP_E_ARGUMENT);
    sp_files *files = calloc(1, sizeof *files);
    SP_ENSURE(files != NULL, SP_E_MEMORY);
    files->algorithm = algorithm;
    files->count = count;
    files->workers_max = workers;
    files->digests = digests;
    files->sizes = sizes;
    files->errors = errors;
    pthread_mutex_init(&files->mutex, NULL);
    pthread_cond_init(&files->read, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&files->finished, &clock);
    pthread_condattr_destroy(&clock);
    const int status = open_all(files, paths, paths_size);
    if (status != SP_OK) {
        sp_files_free(files);
        return status;
    }
    *out = files;
    return SP_OK;
}

int sp_files_work(sp_files *files)
{
    SP_ENSURE(files != NULL, SP_E_ARGUMENT);
    pthread_mutex_lock(&files->mutex);
    worker *w = files->started < files->workers_max ? &files->workers[files->started++] : NULL;
    files->working += w != NULL;
    pthread_mutex_unlock(&files->mutex);
    SP_ENSURE(w != NULL, SP_E_BOUNDS);
    while (w->busy < files->width && take(w, w->busy)) {
    }
    while (refill(w) > 0) {
        hash(w);
    }
    pthread_mutex_lock(&files->mutex);
    files->working--;
    pthread_cond_broadcast(&files->read);
    pthread_mutex_unlock(&files->mutex);
    help(files);
    return SP_OK;
}

int sp_files_wait(sp_files *files, size_t count, uint32_t timeout_ms, size_t *finished, uint64_t *bytes)
{
    SP_ENSURE(files != NULL && finished != NULL && bytes != NULL, SP_E_ARGUMENT);
    SP_ENSURE(count <= files->count, SP_E_BOUNDS);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&files->mutex);
    files->awaited = count;
    int error = 0;
    while (files->front < count && error == 0) {
        error = pthread_cond_timedwait(&files->finished, &files->mutex, &until);
    }
    files->awaited = SIZE_MAX;
    *finished = files->front;
    pthread_mutex_unlock(&files->mutex);
    *bytes = __atomic_load_n(&files->bytes, __ATOMIC_RELAXED);
    return SP_OK;
}

void sp_files_stop(sp_files *files)
{
    __atomic_store_n(&files->stop, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&files->mutex);
    pthread_cond_broadcast(&files->read);
    pthread_mutex_unlock(&files->mutex);
}

void sp_files_free(sp_files *files)
{
    if (files == NULL) {
        return;
    }
    for (size_t i = 0; files->workers != NULL && i < files->workers_max; i++) {
        free(files->workers[i].arena);
    }
    free(files->workers);
    free(files->paths);
    pthread_cond_destroy(&files->finished);
    pthread_cond_destroy(&files->read);
    pthread_mutex_destroy(&files->mutex);
    free(files);
}
