/* A whole log directory read back: which segments there are, whether they follow one another, which one is active. */
#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"
#include "sp_scan.h"

#define SEGMENTS_MAX (1u << 20)

static int survey_name(void *arg, const char *name)
{
    sp_survey *survey = arg;
    uint64_t number;
    if (sp_segment_number(name, &number) != SP_OK) {
        return 0;
    }
    if (survey->count == survey->room) {
        size_t room = survey->room == 0 ? 64 : survey->room * 2;
        if (room > SEGMENTS_MAX) {
            return EFBIG;
        }
        sp_found *more = realloc(survey->file, room * sizeof *more);
        if (more == NULL) {
            return ENOMEM;
        }
        survey->file = more;
        survey->room = room;
    }
    memset(&survey->file[survey->count], 0, sizeof survey->file[0]);
    survey->file[survey->count++].number = number;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const sp_found *left = a, *right = b;
    return left->number < right->number ? -1 : left->number > right->number;
}

static void damaged(sp_journal_state *state, uint8_t kind, uint64_t segment, uint64_t from, uint64_t to)
{
    if (state->damage == SP_DAMAGE_NONE) {
        state->damage = kind;
        state->damage_segment = segment;
        state->damage_from = from;
        state->damage_to = to;
    }
}

static int survey_headers(const sp_journal_options *options, sp_survey *survey, sp_journal_state *state)
{
    for (size_t i = 0; i < survey->count; i++) {
        sp_found *file = &survey->file[i];
        char path[SP_DISK_PATH_MAX];
        sp_segment *segment;
        SP_TRY(sp_segment_path(options->dir, file->number, path));
        SP_TRY(sp_segment_map(options->disk, path, &segment));
        int status = sp_segment_header_read(segment->bytes, &file->header, &file->copies);
        sp_segment_free(segment);
        state->version = file->header.version > state->version ? file->header.version : state->version;
        SP_ENSURE(status != SP_E_VERSION, SP_E_VERSION);
        file->valid = status == SP_OK;
        if (file->valid) {
            SP_ENSURE(memcmp(file->header.log_id, options->log_id, 32) == 0, SP_E_MISMATCH);
            SP_ENSURE(file->header.number == file->number, SP_E_MISMATCH);
            state->segments++;
        }
    }
    return SP_OK;
}

/* Without a header there is no salt, and no checksum can be asked. What a torn first batch cannot explain: more bytes
 * than a batch may have, or something that looks like the COMMIT of a second one. */
static int more_than_a_batch(sp_span bytes, uint64_t segment_bytes, uint64_t written)
{
    if (written > SP_SEGMENT_DATA + segment_bytes / SP_SEGMENT_BATCH_SHARE) {
        return 1;
    }
    for (uint64_t at = SP_SEGMENT_DATA; at + SP_FRAME_HEADER <= written && at + SP_FRAME_HEADER <= bytes.size; at += SP_FRAME_ALIGN) {
        sp_frame_header header;
        memcpy(&header, bytes.data + at, sizeof header);
        if (header.len == SP_FRAME_HEADER + SP_COMMIT_PAYLOAD && header.type == SP_FRAME_COMMIT && header.flags == 0 &&
            header.version == SP_FRAME_VERSION && header.batch > 0 && header.batch < segment_bytes / SP_COMMIT_BYTES) {
            return 1;
        }
    }
    return 0;
}

/* The size of a file and how much of it is not zeros. */
static int measure(const sp_journal_options *options, const sp_found *file, uint64_t *size, uint64_t *written, int *one_batch)
{
    char path[SP_DISK_PATH_MAX];
    sp_segment *segment;
    SP_TRY(sp_segment_path(options->dir, file->number, path));
    SP_TRY(sp_segment_map(options->disk, path, &segment));
    *size = segment->bytes.size;
    *written = sp_span_written(segment->bytes, 0);
    *one_batch = !more_than_a_batch(segment->bytes, segment->bytes.size, *written);
    sp_segment_free(segment);
    return SP_OK;
}

/* The files behind the last header. The first is a spare, or holds a first batch whose header was lost. While that
 * batch was written the helper may have made the next one: a file of zeros with that number means nothing. */
static int survey_spares(const sp_journal_options *options, sp_survey *survey, size_t with_header, sp_journal_state *state)
{
    int after_seal = with_header == 0 || survey->active.sealed;
    uint64_t expected = with_header == 0 ? 0 : survey->file[with_header - 1].number + 1;
    for (size_t i = with_header; i < survey->count; i++) {
        sp_found *file = &survey->file[i];
        uint64_t size, written;
        int one_batch;
        SP_TRY(measure(options, file, &size, &written, &one_batch));
        if (file->number - expected > (written > 0 ? 0 : 1)) {
            damaged(state, SP_DAMAGE_SEALED, file->number, 0, SP_SEGMENT_DATA);
        } else if (written > 0) {
            int torn = after_seal && file->copies == 0 && one_batch;
            damaged(state, torn ? SP_DAMAGE_TORN : SP_DAMAGE_SEALED, file->number, 0, sp_frame_padded(written));
        } else if (file->number == expected && size == options->segment_bytes) {
            survey->spare = 1;
            survey->spare_number = file->number;
        } else {
            file->useless = 1;
        }
    }
    return SP_OK;
}

static int continues(const sp_scan *scan, const sp_segment_header *next)
{
    return scan->sealed && scan->at.next_seq == next->first_seq && scan->at.tree_size == next->tree_size &&
           memcmp(scan->at.root, next->root, 32) == 0 && memcmp(scan->at.chain, next->chain, 32) == 0;
}

/* Segments [first, last], each with a header; the last is the active one. */
static int survey_frames(const sp_journal_options *options, sp_survey *survey, size_t first, size_t last, sp_journal_state *state)
{
    for (size_t i = first; i <= last; i++) {
        const sp_found *file = &survey->file[i];
        char path[SP_DISK_PATH_MAX];
        sp_segment *segment;
        sp_scan scan;
        SP_TRY(sp_segment_path(options->dir, file->number, path));
        SP_TRY(sp_segment_map(options->disk, path, &segment));
        segment->header = file->header;
        int status = sp_scan_segment(segment, &scan);
        sp_segment_free(segment);
        state->version = status == SP_E_VERSION ? scan.version : state->version;
        SP_TRY(status);
        state->commits += scan.batches;
        if (scan.at.last_time_ns == 0) {
            scan.at.last_time_ns = state->last_time_ns;
        }
        state->last_time_ns = scan.at.last_time_ns;
        if (scan.damage != SP_DAMAGE_NONE) {
            /* In front of another segment only the never-written rest may be wrong without loss. */
            int harmless = i == last || (scan.damage == SP_DAMAGE_TORN && continues(&scan, &survey->file[i + 1].header));
            damaged(state, harmless ? scan.damage : SP_DAMAGE_SEALED, file->number, scan.damage_from, scan.damage_to);
        } else if (i < last && !continues(&scan, &survey->file[i + 1].header)) {
            damaged(state, SP_DAMAGE_SEALED, file->number, scan.end_offset, file->header.segment_bytes);
        }
        survey->active = scan;
    }
    survey->active_header = survey->file[last].header;
    return SP_OK;
}

/* Every file but those at and behind the last header must have a header and follow its neighbour. */
static void survey_order(const sp_survey *survey, size_t last, sp_journal_state *state)
{
    for (size_t i = 0; i <= last; i++) {
        const sp_found *file = &survey->file[i];
        if (!file->valid) {
            damaged(state, SP_DAMAGE_SEALED, file->number, 0, SP_SEGMENT_DATA);
        } else if (i > 0 && survey->file[i - 1].valid &&
                   (file->header.first_seq <= survey->file[i - 1].header.first_seq ||
                    file->header.tree_size < survey->file[i - 1].header.tree_size)) {
            damaged(state, SP_DAMAGE_SEALED, file->number, 0, SP_SEGMENT_DATA);
        }
        if (i > 0 && file->number != survey->file[i - 1].number + 1) {
            damaged(state, SP_DAMAGE_SEALED, survey->file[i - 1].number + 1, 0, 0);
        }
    }
}

static void fill_state(const sp_survey *survey, sp_journal_state *state)
{
    const sp_scan *scan = &survey->active;
    const sp_segment_header *header = &survey->active_header;
    state->active = header->number;
    state->start_size = header->tree_size;
    memcpy(state->start_root, header->root, sizeof state->start_root);
    state->next_seq = scan->at.next_seq;
    state->tree_size = scan->at.tree_size;
    memcpy(state->root, scan->at.root, sizeof state->root);
    memcpy(state->chain, scan->at.chain, sizeof state->chain);
    state->end_offset = scan->end_offset;
    state->sealed = scan->sealed;
}

static int survey_files(const sp_journal_options *options, sp_survey *survey, sp_journal_state *state)
{
    SP_TRY(survey_headers(options, survey, state));
    size_t with_header = survey->count;
    while (with_header > 0 && !survey->file[with_header - 1].valid) {
        with_header--;
    }
    if (with_header > 0) {
        size_t last = with_header - 1;
        survey_order(survey, last, state);
        size_t first = options->scan_recent && last > 0 ? last - 1 : 0;
        if (state->damage == SP_DAMAGE_NONE) {
            SP_TRY(survey_frames(options, survey, first, last, state));
            fill_state(survey, state);
        }
    }
    return survey_spares(options, survey, with_header, state);
}

int sp_survey_log(const sp_journal_options *options, sp_survey *out, sp_journal_state *state)
{
    const sp_disk *disk = options->disk;
    char dir[SP_DISK_PATH_MAX];
    sp_survey survey;
    uint8_t volatile_files = state->volatile_files;
    memset(&survey, 0, sizeof survey);
    memset(state, 0, sizeof *state);
    state->volatile_files = volatile_files;
    sp_sha256(NULL, 0, state->root);            /* of the empty tree */
    memcpy(state->start_root, state->root, sizeof state->root);
    state->end_offset = SP_SEGMENT_DATA;
    SP_TRY(sp_segment_dir(options->dir, dir));
    int status = sp_disk_status(disk->list(disk->ctx, dir, survey_name, &survey));
    if (status == SP_OK) {
        if (survey.count > 1) {
            qsort(survey.file, survey.count, sizeof *survey.file, by_number);
        }
        status = survey_files(options, &survey, state);
    }
    if (status != SP_OK) {
        sp_survey_free(&survey);
        return status;
    }
    *out = survey;
    return SP_OK;
}

void sp_survey_free(sp_survey *survey)
{
    free(survey->file);
    memset(survey, 0, sizeof *survey);
}
