/* The journal's life on the caller's side: open, repair, start, end (DESIGN 3.1). */
#include "sp_journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"
#include "sp_merkle.h"
#include "sp_place.h"
#include "sp_tree.h"

#define COPY_CHUNK (64u << 10)
#define COPY_NAME_MAX 128u

static int below(const sp_journal *journal, const char *name, char out[SP_DISK_PATH_MAX])
{
    int written = snprintf(out, SP_DISK_PATH_MAX, "%s/%s", journal->dir, name);
    SP_ENSURE(written > 0 && (uint32_t)written < SP_DISK_PATH_MAX, SP_E_ARGUMENT);
    return SP_OK;
}

/* ---- open ------------------------------------------------------------------ */

static int make_dir(const sp_journal *journal, const char *name)
{
    char path[SP_DISK_PATH_MAX];
    SP_TRY(below(journal, name, path));
    int error = journal->disk->mkdir(journal->disk->ctx, path);
    return sp_disk_status(error == EEXIST ? 0 : error);
}

static int take_lock(sp_journal *journal)
{
    const sp_disk *disk = journal->disk;
    char path[SP_DISK_PATH_MAX];
    SP_TRY(below(journal, "lock", path));
    SP_TRY(sp_disk_status(disk->open(disk->ctx, path, SP_DISK_WRITE | SP_DISK_CREATE, &journal->lock_file)));
    int error = disk->lock(disk->ctx, journal->lock_file);
    return error == EWOULDBLOCK ? SP_E_LOCKED : sp_disk_status(error);
}

static int check_files(sp_journal *journal)
{
    uint32_t traits;
    SP_TRY(sp_disk_status(journal->disk->traits(journal->disk->ctx, journal->dir, &traits)));
    SP_ENSURE(journal->options.write_mode == 1 || (traits & SP_DISK_KEEPS_ROOM) != 0, SP_E_FILESYSTEM);
    journal->state.volatile_files = (traits & SP_DISK_VOLATILE) != 0;
    return SP_OK;
}

static int survey_again(sp_journal *journal)
{
    sp_survey_free(&journal->survey);
    SP_TRY(sp_survey_log(&journal->options, &journal->survey, &journal->state));
    const sp_journal_state *state = &journal->state;
    journal->at = journal->survey.active.at;
    journal->at.next_seq = state->next_seq;
    journal->at.tree_size = state->tree_size;
    journal->at.last_time_ns = state->last_time_ns;
    memcpy(journal->at.root, state->root, sizeof state->root);
    memcpy(journal->at.chain, state->chain, sizeof state->chain);
    return SP_OK;
}

static int open_steps(sp_journal *journal)
{
    SP_TRY(make_dir(journal, "journal"));
    SP_TRY(make_dir(journal, "broken"));
    SP_TRY(take_lock(journal));
    SP_TRY(check_files(journal));
    return survey_again(journal);
}

int sp_journal_open(const sp_journal_options *options, sp_journal **out, sp_journal_state *state)
{
    SP_ENSURE(options != NULL && out != NULL && state != NULL, SP_E_ARGUMENT);
    SP_ENSURE(options->dir != NULL && options->disk != NULL && options->write_mode <= 1, SP_E_ARGUMENT);
    SP_ENSURE(sp_segment_bytes_valid(options->segment_bytes), SP_E_ARGUMENT);
    SP_ENSURE(options->commits_in_flight_max >= 1 && options->commits_in_flight_max <= SP_FLIGHTS_MAX, SP_E_ARGUMENT);
    sp_journal *journal = calloc(1, sizeof *journal);
    SP_ENSURE(journal != NULL, SP_E_MEMORY);
    journal->disk = options->disk;
    journal->options = *options;
    journal->release_bytes = SP_JOURNAL_RELEASE_BYTES;
    journal->lock_file = -1;
    journal->event_fd = -1;
    sp_flights_init(&journal->flights, options->commits_in_flight_max, options->segment_bytes);
    journal->dir = strdup(options->dir);
    journal->options.dir = journal->dir;
    journal->options.log_name = NULL;
    int status = journal->dir == NULL ? SP_E_MEMORY : SP_OK;
    for (uint32_t i = 0; status == SP_OK && options->log_name != NULL && i < options->commits_in_flight_max; i++) {
        status = sp_replay_new(options->log_name, &journal->replay[i]);
    }
    status = status != SP_OK ? status : open_steps(journal);
    int error = errno;
    if (status == SP_OK || status == SP_E_VERSION) {
        *state = journal->state;
    }
    if (status != SP_OK) {
        sp_journal_free(journal);
        errno = error;
        return status;
    }
    *out = journal;
    return SP_OK;
}

/* ---- repair ---------------------------------------------------------------- */

static int copy_aside(sp_journal *journal, int source, const char *copy_name, uint64_t from, uint64_t to)
{
    const sp_disk *disk = journal->disk;
    char folder[SP_DISK_PATH_MAX], path[SP_DISK_PATH_MAX];
    SP_TRY(below(journal, "broken", folder));
    int written = snprintf(path, sizeof path, "%s/broken/%s", journal->dir, copy_name);
    SP_ENSURE(written > 0 && (size_t)written < sizeof path, SP_E_ARGUMENT);
    uint8_t *chunk = malloc(COPY_CHUNK);
    SP_ENSURE(chunk != NULL, SP_E_MEMORY);
    int target;
    int error = disk->open(disk->ctx, path, SP_DISK_WRITE | SP_DISK_CREATE | SP_DISK_EXCLUSIVE, &target);
    if (error == 0) {
        for (uint64_t at = from; error == 0 && at < to; at += COPY_CHUNK) {
            size_t size = to - at < COPY_CHUNK ? (size_t)(to - at) : COPY_CHUNK;
            error = disk->pread(disk->ctx, source, chunk, size, at);
            error = error != 0 ? error : disk->pwrite(disk->ctx, target, chunk, size, at - from);
        }
        error = error != 0 ? error : disk->sync_all(disk->ctx, target);
        disk->close(disk->ctx, target);
        error = error != 0 ? error : disk->sync_dir(disk->ctx, folder);
    }
    free(chunk);
    return sp_disk_status(error);
}

static int zero_range(const sp_disk *disk, int file, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[COPY_CHUNK];
    int error = 0;
    for (uint64_t at = from; error == 0 && at < to; at += COPY_CHUNK) {
        size_t size = to - at < COPY_CHUNK ? (size_t)(to - at) : COPY_CHUNK;
        error = disk->pwrite(disk->ctx, file, zeros, size, at);
    }
    return error != 0 ? error : disk->sync_all(disk->ctx, file);
}

static int repair_file(sp_journal *journal, int file, const char *path, const char *copy_name)
{
    const sp_disk *disk = journal->disk;
    const sp_journal_state *state = &journal->state;
    uint64_t size;
    SP_TRY(sp_disk_status(disk->size(disk->ctx, file, &size)));
    uint64_t written = state->damage_to < size ? state->damage_to : size;
    SP_TRY(copy_aside(journal, file, copy_name, state->damage_from, written));
    /* If we stop here: a copy too many; the same damage is found again. */
    if (state->damage_from == 0) {
        /* A first batch that lost its header: the file is no segment yet, and the helper makes a new one. */
        char folder[SP_DISK_PATH_MAX];
        SP_TRY(sp_segment_dir(journal->dir, folder));
        SP_TRY(sp_disk_status(disk->unlink(disk->ctx, path)));
        return sp_disk_status(disk->sync_dir(disk->ctx, folder));
    }
    if (size < state->damage_to) {
        SP_TRY(sp_disk_status(disk->allocate(disk->ctx, file, 0, state->damage_to)));
    }
    return sp_disk_status(zero_range(disk, file, state->damage_from, state->damage_to));
}

int sp_journal_repair(sp_journal *journal, const char *copy_name, sp_journal_state *state)
{
    SP_ENSURE(journal != NULL && copy_name != NULL && state != NULL && journal->threads == 0, SP_E_ARGUMENT);
    SP_ENSURE(copy_name[0] != '\0' && copy_name[0] != '.' && strchr(copy_name, '/') == NULL, SP_E_ARGUMENT);
    SP_ENSURE(strlen(copy_name) <= COPY_NAME_MAX, SP_E_ARGUMENT);
    SP_ENSURE(journal->state.damage == SP_DAMAGE_TORN, SP_E_CORRUPT);
    const sp_disk *disk = journal->disk;
    char path[SP_DISK_PATH_MAX];
    int file;
    SP_TRY(sp_segment_path(journal->dir, journal->state.damage_segment, path));
    SP_TRY(sp_disk_status(disk->open(disk->ctx, path, SP_DISK_WRITE, &file)));
    int status = repair_file(journal, file, path, copy_name);
    int error = errno;
    disk->close(disk->ctx, file);
    errno = error;
    SP_TRY(status);
    SP_TRY(survey_again(journal));
    *state = journal->state;
    return SP_OK;
}

/* ---- start ----------------------------------------------------------------- */

/* Writes the accepted bytes of a segment again, header copies included, and syncs them: what the last process stored
 * may stand in the page cache only, and after a failed sync would never be written by itself. */
static int rewrite(sp_journal *journal, const sp_segment_header *header, uint64_t end)
{
    const sp_disk *disk = journal->disk;
    char path[SP_DISK_PATH_MAX];
    int file;
    SP_TRY(sp_segment_path(journal->dir, header->number, path));
    uint8_t *chunk = malloc(COPY_CHUNK);
    SP_ENSURE(chunk != NULL, SP_E_MEMORY);
    int error = disk->open(disk->ctx, path, SP_DISK_WRITE, &file);
    if (error == 0) {
        sp_segment_header_write(header, chunk);
        error = disk->pwrite(disk->ctx, file, chunk, SP_SEGMENT_DATA, 0);
        end = (end + SP_DISK_PAGE - 1) & ~(uint64_t)(SP_DISK_PAGE - 1);
        for (uint64_t at = SP_SEGMENT_DATA; error == 0 && at < end; at += COPY_CHUNK) {
            size_t size = end - at < COPY_CHUNK ? (size_t)(end - at) : COPY_CHUNK;
            error = disk->pread(disk->ctx, file, chunk, size, at);
            error = error != 0 ? error : disk->pwrite(disk->ctx, file, chunk, size, at);
        }
        error = error != 0 ? error : disk->sync_all(disk->ctx, file);
        disk->close(disk->ctx, file);
    }
    free(chunk);
    return sp_disk_status(error);
}

/* The names that lead to the segments; the last process may have stopped between making and syncing one. */
static int sync_names(const sp_journal *journal)
{
    static const char *const names[] = {"journal", "broken", ".", ".."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[SP_DISK_PATH_MAX];
        SP_TRY(below(journal, names[i], path));
        SP_TRY(sp_disk_status(journal->disk->sync_dir(journal->disk->ctx, path)));
    }
    return SP_OK;
}

/* A spare is one only if all of it can be written. */
static int settle_spare(sp_journal *journal, sp_found *file)
{
    int status = sp_segment_fill_holes(journal->disk, journal->dir, file->number, journal->options.segment_bytes);
    SP_ENSURE(status == SP_OK || status == SP_E_FULL, status);
    file->useless = status == SP_E_FULL;
    journal->survey.spare = status == SP_OK;
    return SP_OK;
}

static int settle_files(sp_journal *journal)
{
    sp_survey *survey = &journal->survey;
    const sp_disk *disk = journal->disk;
    SP_TRY(sp_segment_remove_temp(disk, journal->dir));
    for (size_t i = 0; i < survey->count; i++) {
        sp_found *file = &survey->file[i];
        int active = journal->state.segments > 0 && file->number == journal->state.active;
        if (active && !journal->state.sealed) {
            SP_TRY(sp_segment_fill_holes(disk, journal->dir, file->number, file->header.segment_bytes));
        }
        if (survey->spare && file->number == survey->spare_number) {
            SP_TRY(settle_spare(journal, file));
        }
        if (file->valid && (active || file->copies < 2)) {
            SP_TRY(rewrite(journal, &file->header, active ? journal->state.end_offset : 0));
        }
        if (file->useless) {
            char path[SP_DISK_PATH_MAX];
            SP_TRY(sp_segment_path(journal->dir, file->number, path));
            SP_TRY(sp_disk_status(disk->unlink(disk->ctx, path)));
        }
    }
    return sync_names(journal);
}

/* The second hash goes on from the edge of a tree whose root was compared just now. */
static int start_replay(sp_journal *journal)
{
    if (journal->replay[0] == NULL) {
        return SP_OK;
    }
    const sp_journal_state *state = &journal->state;
    uint8_t frontier[SP_PATH_MAX * 32];
    uint32_t count;
    SP_TRY(sp_tree_frontier(journal->tree, state->tree_size, frontier, &count));
    return sp_replay_adopt(journal->replay[0], state->tree_size, frontier, count, state->root, state->last_time_ns);
}

/* Whoever finds a header trusts the tree's files up to its size (sp_commit.c): the one that is there, or the next one. What
 * was made at this start is durable before. */
static int settle_tree(sp_journal *journal)
{
    const sp_journal_state *state = &journal->state;
    uint64_t trusted = state->sealed ? state->tree_size : state->start_size;
    return journal->tree->synced < trusted ? sp_tree_sync(journal->tree) : SP_OK;
}

static int start_steps(sp_journal *journal)
{
    const sp_survey *survey = &journal->survey;
    const sp_journal_state *state = &journal->state;
    SP_TRY(settle_files(journal));
    SP_TRY(settle_tree(journal));
    SP_TRY(start_replay(journal));
    journal->at.durable_seq = state->next_seq == 0 ? SP_DURABLE_NONE : state->next_seq - 1;
    journal->next_number = state->segments > 0 ? state->active + 1 : 0;
    if (state->segments > 0 && !state->sealed) {
        SP_TRY(sp_place_open(journal, &survey->active_header, state->end_offset, survey->active.batches));
        journal->active.header_stored = 1;
    }
    if (journal->options.keep_reserve) {
        /* On a full disk there is what an earlier start has set aside. */
        int status = sp_tree_reserve(journal->tree, SP_JOURNAL_RESERVED_LEAVES);
        SP_ENSURE(status == SP_OK || status == SP_E_FULL, status);
    }
    SP_TRY(sp_spare_start(&journal->spare, journal->disk, journal->dir, journal->options.segment_bytes, journal->options.keep_reserve));
    if (survey->spare) {
        sp_spare_found(&journal->spare, survey->spare_number);
    } else {
        sp_spare_want(&journal->spare, journal->next_number);
    }
    sp_flights *flights = &journal->flights;
    flights->plan = flights->told_plan = (sp_plan){
        .next_seq = state->next_seq,
        .next_leaf = state->tree_size,
        .last_time_ns = state->last_time_ns,
        .offset = journal->active.offset,
        .segment_bytes = journal->active.open ? journal->active.header.segment_bytes : 0,
    };
    while (journal->threads < flights->depth) {
        SP_TRY(sp_disk_status(pthread_create(&journal->thread[journal->threads], NULL, sp_commit_main, journal)));
        journal->threads++;
    }
    return SP_OK;
}

int sp_journal_start(sp_journal *journal, sp_tree *tree, int event_fd)
{
    SP_ENSURE(journal != NULL && tree != NULL && journal->tree == NULL, SP_E_ARGUMENT);
    SP_ENSURE(journal->state.damage == SP_DAMAGE_NONE, SP_E_CORRUPT);
    SP_ENSURE(sp_tree_size(tree) == journal->state.tree_size, SP_E_MISMATCH);
    uint8_t root[32];
    SP_TRY(sp_tree_root(tree, journal->state.tree_size, root));
    SP_ENSURE(memcmp(root, journal->state.root, sizeof root) == 0, SP_E_MISMATCH);
    journal->tree = tree;
    journal->event_fd = event_fd;
    int status = start_steps(journal);
    sp_survey_free(&journal->survey);
    return status;
}

void sp_journal_free(sp_journal *journal)
{
    if (journal == NULL) {
        return;
    }
    pthread_mutex_lock(&journal->flights.mutex);
    journal->flights.stop = 1;
    pthread_cond_broadcast(&journal->flights.work);
    pthread_mutex_unlock(&journal->flights.mutex);
    for (uint32_t i = 0; i < journal->threads; i++) {
        pthread_join(journal->thread[i], NULL);
    }
    sp_spare_stop(&journal->spare);
    sp_place_leave(journal);
    for (uint32_t i = 0; i < SP_FLIGHTS_MAX; i++) {
        sp_replay_free(journal->replay[i]);
    }
    sp_survey_free(&journal->survey);
    if (journal->lock_file >= 0) {
        journal->disk->close(journal->disk->ctx, journal->lock_file);
    }
    sp_flights_free(&journal->flights);
    free(journal->dir);
    free(journal);
}
