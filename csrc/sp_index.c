/* Making, keeping and searching the index of a segment: see sp_index.h. */
#include "sp_index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"

static const uint8_t MAGIC[8] = {'S', 'P', 'I', 'N', 'D', 'X', 0, 1};
#define WRITE_CHUNK (1u << 20)

/* The finalizer of MurmurHash3, without its last 3 bits. */
uint64_t sp_index_key(uint8_t kind, uint64_t value)
{
    value = (value ^ value >> 33) * UINT64_C(0xff51afd7ed558ccd);
    value = (value ^ value >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint64_t)kind << SP_INDEX_KIND_SHIFT | (value ^ value >> 33) >> (64 - SP_INDEX_KIND_SHIFT);
}

/* ---- making ------------------------------------------------------------------ */

static uint32_t page_crc(const uint8_t salt[SP_SALT_SIZE], uint64_t number, const sp_index_page *page)
{
    uint8_t before[SP_SALT_SIZE + 8 + 8];
    memcpy(before, salt, SP_SALT_SIZE);
    sp_store_u64le(before + SP_SALT_SIZE, number);
    sp_store_u64le(before + SP_SALT_SIZE + 8, page->count);     /* count, and a zero for the checksum */
    return sp_crc32c(sp_crc32c(0, before, sizeof before), (const uint8_t *)page + 8, sizeof *page - 8);
}

static uint32_t header_crc(const sp_index_header *header)
{
    sp_index_header copy = *header;
    copy.crc = 0;
    return sp_crc32c(0, (const uint8_t *)&copy, sizeof copy);
}

static sp_index_page *page_at(const sp_index *index, uint64_t number)
{
    return (sp_index_page *)(index->data + (number + 1) * SP_INDEX_PAGE);
}

static uint64_t pages_of(uint64_t entries)
{
    return (entries + SP_INDEX_PAGE_ENTRIES - 1) / SP_INDEX_PAGE_ENTRIES;
}

static uint64_t entries(const sp_index *index)
{
    return index->first[SP_INDEX_KINDS];
}

static uint32_t entries_of(const sp_index *index, uint64_t number)
{
    uint64_t left = entries(index) - number * SP_INDEX_PAGE_ENTRIES;
    return left < SP_INDEX_PAGE_ENTRIES ? (uint32_t)left : SP_INDEX_PAGE_ENTRIES;
}

static void fill(sp_index *index, const sp_segment_header *segment, uint64_t end, const sp_index_entry *from)
{
    sp_index_header *header = (sp_index_header *)index->data;
    memset(header, 0, sizeof *header);
    memcpy(header->magic, MAGIC, sizeof MAGIC);
    header->version = SP_INDEX_VERSION;
    memcpy(header->log_id, segment->log_id, sizeof header->log_id);
    header->segment = segment->number;
    memcpy(header->salt, segment->salt, sizeof header->salt);
    header->end = end;
    memcpy(header->first, index->first, sizeof header->first);
    header->crc = header_crc(header);
    for (uint64_t number = 0; number < index->pages; number++) {
        sp_index_page *page = page_at(index, number);
        memset(page, 0, sizeof *page);
        page->count = entries_of(index, number);
        memcpy(page->entry, from + number * SP_INDEX_PAGE_ENTRIES, page->count * sizeof *from);
        page->crc = page_crc(index->salt, number, page);
    }
}

static int new_index(const sp_segment_header *segment, const uint64_t first[SP_INDEX_KINDS + 1], sp_index **out)
{
    sp_index *index = calloc(1, sizeof *index);
    SP_ENSURE(index != NULL, SP_E_MEMORY);
    memcpy(index->first, first, sizeof index->first);
    index->pages = pages_of(entries(index));
    index->size = (index->pages + 1) * SP_INDEX_PAGE;
    memcpy(index->salt, segment->salt, sizeof index->salt);
    index->checked = calloc(1, (size_t)index->pages + 1);
    if (index->checked == NULL) {
        sp_index_free(index);
        return SP_E_MEMORY;
    }
    *out = index;
    return SP_OK;
}

/* Of sorted entries: where each kind begins. */
static void count_kinds(const sp_index_list *list, uint64_t first[SP_INDEX_KINDS + 1])
{
    uint64_t at = 0;
    for (unsigned kind = 0; kind <= SP_INDEX_KINDS; kind++) {
        while (at < list->count && list->entry[at].key >> SP_INDEX_KIND_SHIFT < kind) {
            at++;
        }
        first[kind] = at;
    }
}

int sp_index_of_entries(const sp_segment_header *header, uint64_t end, sp_index_list *list, sp_index **out)
{
    int status = sp_index_sort(list);
    if (status == SP_OK) {
        uint64_t first[SP_INDEX_KINDS + 1];
        count_kinds(list, first);
        status = new_index(header, first, out);
    }
    if (status == SP_OK) {
        (*out)->data = aligned_alloc(SP_INDEX_PAGE, (size_t)(*out)->size);
        if ((*out)->data != NULL) {
            fill(*out, header, end, list->entry);
        } else {
            sp_index_free(*out);
            status = SP_E_MEMORY;
        }
    }
    free(list->entry);
    return status;
}

void sp_index_free(sp_index *index)
{
    if (index == NULL) {
        return;
    }
    if (index->disk != NULL) {
        index->disk->unmap(index->disk->ctx, index->data, index->size);
    } else {
        free(index->data);
    }
    free(index->checked);
    free(index);
}

uint64_t sp_index_entries(const sp_index *index)
{
    return entries(index);
}

/* ---- keeping ----------------------------------------------------------------- */

static int path_of(const char *dir, const char *name, uint64_t number, const char *suffix, char out[SP_DISK_PATH_MAX])
{
    int written = name == NULL ? snprintf(out, SP_DISK_PATH_MAX, "%s/index", dir)
                               : snprintf(out, SP_DISK_PATH_MAX, "%s/%s/%020" PRIu64 "%s", dir, name, number, suffix);
    SP_ENSURE(written > 0 && (uint32_t)written < SP_DISK_PATH_MAX, SP_E_ARGUMENT);
    return SP_OK;
}

/* Into a new file, whatever stood there: one that is mapped somewhere must never become shorter. */
static int write_file(const sp_index *index, const sp_disk *disk, const char *path)
{
    int file;
    int error = disk->unlink(disk->ctx, path);
    if (error == 0 || error == ENOENT) {
        error = disk->open(disk->ctx, path, SP_DISK_WRITE | SP_DISK_CREATE | SP_DISK_EXCLUSIVE, &file);
    }
    if (error != 0) {
        return error;
    }
    for (uint64_t at = 0; error == 0 && at < index->size; at += WRITE_CHUNK) {
        uint64_t size = index->size - at < WRITE_CHUNK ? index->size - at : WRITE_CHUNK;
        error = disk->pwrite(disk->ctx, file, index->data + at, (size_t)size, at);
    }
    error = error != 0 ? error : disk->sync_all(disk->ctx, file);
    if (error == 0) {
        /* Nearly all of it are the digests, which only Explain asks for. */
        uint64_t values = index->first[SP_INDEX_ASKED] / SP_INDEX_PAGE_ENTRIES;
        disk->cool(disk->ctx, file, NULL, 0, (1 + values) * SP_INDEX_PAGE);
    }
    disk->close(disk->ctx, file);
    return error;
}

int sp_index_save(const sp_index *index, const sp_disk *disk, const char *dir)
{
    SP_ENSURE(index != NULL && disk != NULL && dir != NULL, SP_E_ARGUMENT);
    char folder[SP_DISK_PATH_MAX], part[SP_DISK_PATH_MAX], target[SP_DISK_PATH_MAX];
    uint64_t number = ((const sp_index_header *)index->data)->segment;
    SP_TRY(path_of(dir, NULL, 0, "", folder));
    SP_TRY(path_of(dir, "index", number, ".new", part));
    SP_TRY(path_of(dir, "index", number, ".idx", target));
    int error = disk->mkdir(disk->ctx, folder);
    SP_TRY(sp_disk_status(error == EEXIST ? 0 : error));
    error = write_file(index, disk, part);
    error = error != 0 ? error : disk->rename(disk->ctx, part, target);
    if (error != 0) {
        disk->unlink(disk->ctx, part);
        return sp_disk_status(error);
    }
    return sp_disk_status(disk->sync_dir(disk->ctx, folder));
}

static int header_fits(const sp_index_header *header, const sp_segment_header *segment, uint64_t size)
{
    SP_ENSURE(memcmp(header->magic, MAGIC, sizeof MAGIC) == 0, SP_E_CORRUPT);
    SP_ENSURE(header->version == SP_INDEX_VERSION, SP_E_VERSION);
    SP_ENSURE(header->crc == header_crc(header), SP_E_CORRUPT);
    SP_ENSURE(memcmp(header->log_id, segment->log_id, sizeof header->log_id) == 0, SP_E_MISMATCH);
    SP_ENSURE(header->segment == segment->number, SP_E_MISMATCH);
    SP_ENSURE(memcmp(header->salt, segment->salt, sizeof header->salt) == 0, SP_E_MISMATCH);
    SP_ENSURE(header->end == segment->segment_bytes, SP_E_MISMATCH);
    for (unsigned kind = 0; kind < SP_INDEX_KINDS; kind++) {
        SP_ENSURE(header->first[kind] <= header->first[kind + 1], SP_E_CORRUPT);
    }
    uint64_t all = header->first[SP_INDEX_KINDS];
    SP_ENSURE(all <= segment->segment_bytes && (pages_of(all) + 1) * SP_INDEX_PAGE == size, SP_E_CORRUPT);
    return SP_OK;
}

/* Takes a mapping over, or leaves it to the caller. */
static int adopt(const sp_disk *disk, void *data, uint64_t size, const sp_segment_header *segment, sp_index **out)
{
    const sp_index_header *header = data;
    SP_TRY(header_fits(header, segment, size));
    SP_TRY(new_index(segment, header->first, out));
    (*out)->disk = disk;
    (*out)->data = data;
    return SP_OK;
}

int sp_index_open(const sp_disk *disk, const char *dir, const sp_segment *segment, sp_index **out)
{
    SP_ENSURE(disk != NULL && dir != NULL && segment != NULL && out != NULL, SP_E_ARGUMENT);
    char path[SP_DISK_PATH_MAX];
    int file;
    SP_TRY(path_of(dir, "index", segment->header.number, ".idx", path));
    SP_TRY(sp_disk_status(disk->open(disk->ctx, path, SP_DISK_READ, &file)));
    uint64_t size = 0;
    void *data = NULL;
    int error = disk->size(disk->ctx, file, &size);
    int status = error != 0 || size >= SP_INDEX_PAGE ? sp_disk_status(error) : SP_E_CORRUPT;
    if (status == SP_OK) {
        status = sp_disk_status(disk->map(disk->ctx, file, 0, size, &data));
    }
    disk->close(disk->ctx, file);
    SP_TRY(status);
    status = adopt(disk, data, size, &segment->header, out);
    if (status != SP_OK) {
        disk->unmap(disk->ctx, data, size);
    }
    return status;
}

/* ---- searching --------------------------------------------------------------- */

int sp_index_checked_page(const sp_index *index, uint64_t number, const sp_index_page **out)
{
    const sp_index_page *page = page_at(index, number);
    if (!__atomic_load_n(&index->checked[number], __ATOMIC_RELAXED)) {
        SP_ENSURE(page->count == entries_of(index, number), SP_E_CORRUPT);
        SP_ENSURE(page->crc == page_crc(index->salt, number, page), SP_E_CORRUPT);
        __atomic_store_n(&index->checked[number], 1, __ATOMIC_RELAXED);
    }
    *out = page;
    return SP_OK;
}

/* Where the key's share of the values of its kind would put it. */
static uint64_t guess_page(const sp_index *index, uint64_t key)
{
    uint64_t kind = key >> SP_INDEX_KIND_SHIFT;
    if (kind >= SP_INDEX_KINDS) {
        return index->pages;
    }
    uint64_t of_kind = index->first[kind + 1] - index->first[kind];
    uint64_t share = (uint64_t)((unsigned __int128)(key << (64 - SP_INDEX_KIND_SHIFT)) * of_kind >> 64);
    return (index->first[kind] + share) / SP_INDEX_PAGE_ENTRIES;
}

/* The last page that begins before the key, or page 0: the first entry of the key stands there, or begins the next page.
 * A guess from the key, steps that double until it is enclosed, then halving. */
static int find_page(const sp_index *index, uint64_t key, uint64_t *out)
{
    const sp_index_page *page;
    uint64_t low = 0, high = index->pages;      /* page low begins before the key or is 0; page high does not, or is the end */
    uint64_t guess = guess_page(index, key), step = 1;
    while (high - low > 1) {
        uint64_t at = guess > low && guess < high ? guess : low + (high - low) / 2;
        SP_TRY(sp_index_checked_page(index, at, &page));
        if (page->entry[0].key < key) {
            low = at;
            guess = at + step;
        } else {
            high = at;
            guess = at > step ? at - step : 0;
        }
        step *= 2;
    }
    *out = low;
    return SP_OK;
}

/* The number, over all pages, of the first entry whose key is not below; their number if there is none. */
static int find_entry(const sp_index *index, uint64_t key, uint64_t *out)
{
    const sp_index_page *page;
    uint64_t number;
    SP_TRY(find_page(index, key, &number));
    SP_TRY(sp_index_checked_page(index, number, &page));
    uint32_t low = 0, high = entries_of(index, number);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (page->entry[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out = number * SP_INDEX_PAGE_ENTRIES + low;
    return SP_OK;
}

static int find(const sp_index *index, uint64_t key, uint64_t skip, uint64_t *offsets, uint32_t room, uint32_t *count)
{
    uint64_t at = entries(index);
    uint32_t found = 0;
    if (at > 0) {
        SP_TRY(find_entry(index, key, &at));
    }
    SP_ENSURE(skip <= entries(index), SP_E_BOUNDS);
    for (at += skip; at < entries(index) && found < room; at++) {
        const sp_index_page *page;
        SP_TRY(sp_index_checked_page(index, at / SP_INDEX_PAGE_ENTRIES, &page));
        const sp_index_entry *entry = &page->entry[at % SP_INDEX_PAGE_ENTRIES];
        if (entry->key != key) {
            break;
        }
        offsets[found++] = (uint64_t)entry->place * SP_FRAME_ALIGN;
    }
    *count = found;
    return SP_OK;
}

/* A look at one page maps what the kernel caches as a piece, 1 MiB: a day has some hundred indexes. */
static void release(const sp_index *index)
{
    if (index->disk != NULL) {
        index->disk->cool(index->disk->ctx, -1, index->data, 0, index->size);
    }
}

int sp_index_find(const sp_index *index, uint64_t key, uint64_t skip, uint64_t *offsets, uint32_t room, uint32_t *count)
{
    SP_ENSURE(index != NULL && offsets != NULL && count != NULL, SP_E_ARGUMENT);
    int status = find(index, key, skip, offsets, room, count);
    release(index);
    return status;
}

static int check(const sp_index *index)
{
    const sp_index_page *page;
    for (uint64_t number = index->first[SP_INDEX_ASKED] / SP_INDEX_PAGE_ENTRIES; number < index->pages; number++) {
        SP_TRY(sp_index_checked_page(index, number, &page));
    }
    return SP_OK;
}

int sp_index_check(const sp_index *index)
{
    SP_ENSURE(index != NULL, SP_E_ARGUMENT);
    int status = check(index);
    release(index);
    return status;
}
