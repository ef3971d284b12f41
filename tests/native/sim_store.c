/* Bytes, names and units: see sim_store.h. */
#include "sim_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sim_blob *spare_blob[64];    /* of one step's capacity, for reuse */
static int spare_blobs;
static uint64_t stamps, ids;

void sim_stop(const char *why, const char *what)
{
    fprintf(stderr, "sim_disk: %s: %s\n", why, what);
    abort();
}

/* ---- blobs ------------------------------------------------------------------ */

static sim_blob *blob_new(uint64_t capacity)
{
    sim_blob *blob;
    if (capacity == SIM_BLOB_STEP && spare_blobs > 0) {
        blob = spare_blob[--spare_blobs];
    } else {
        blob = malloc(sizeof *blob);
        if (blob == NULL || posix_memalign((void **)&blob->data, SP_DISK_PAGE, capacity) != 0) {
            sim_stop("no memory", "for a file");
        }
    }
    blob->refs = 1;
    blob->capacity = capacity;
    blob->stamp = ++stamps;
    return blob;
}

sim_blob *sim_blob_zeros(void)
{
    static sim_blob *zeros;
    if (zeros == NULL) {
        zeros = blob_new(SIM_BLOB_STEP);
        memset(zeros->data, 0, zeros->capacity);
    }
    return sim_blob_keep(zeros);
}

sim_blob *sim_blob_keep(sim_blob *blob)
{
    blob->refs++;
    return blob;
}

void sim_blob_drop(sim_blob *blob)
{
    if (--blob->refs > 0) {
        return;
    }
    if (blob->capacity == SIM_BLOB_STEP && spare_blobs < (int)(sizeof spare_blob / sizeof *spare_blob)) {
        spare_blob[spare_blobs++] = blob;
    } else {
        free(blob->data);
        free(blob);
    }
}

uint8_t *sim_blob_own(sim_blob **blob, uint64_t size)
{
    sim_blob *old = *blob;
    if (old->refs > 1 || old->capacity < size) {
        uint64_t capacity = (size + SIM_BLOB_STEP - 1) / SIM_BLOB_STEP * SIM_BLOB_STEP;
        sim_blob *own = blob_new(capacity > old->capacity ? capacity : old->capacity);
        memcpy(own->data, old->data, old->capacity);
        memset(own->data + old->capacity, 0, own->capacity - old->capacity);
        sim_blob_drop(old);
        *blob = own;
    }
    (*blob)->stamp = ++stamps;
    return (*blob)->data;
}

/* ---- names ------------------------------------------------------------------ */

sim_name *sim_names_find(sim_names *names, const char *path)
{
    for (int i = 0; i < names->count; i++) {
        if (strcmp(names->name[i].path, path) == 0) {
            return &names->name[i];
        }
    }
    return NULL;
}

void sim_names_set(sim_names *names, const char *path, int inode)
{
    sim_name *name = sim_names_find(names, path);
    if (name == NULL) {
        if (names->count == SIM_NAMES || strlen(path) >= SIM_PATH) {
            sim_stop("too many or too long names", path);
        }
        name = &names->name[names->count++];
        strcpy(name->path, path);
    }
    name->inode = inode;
}

void sim_names_drop(sim_names *names, const char *path)
{
    sim_name *name = sim_names_find(names, path);
    if (name != NULL) {
        *name = names->name[--names->count];
    }
}

int sim_in_dir(const char *path, const char *dir)
{
    size_t size = strlen(dir);
    size = size == 1 ? 0 : size;            /* "/" */
    return strncmp(path, dir, size) == 0 && path[size] == '/' && strchr(path + size + 1, '/') == NULL;
}

int sim_reachable(sim_names *names, const char *path)
{
    char above[SIM_PATH];
    strcpy(above, path);
    for (char *slash = strrchr(above, '/'); slash != NULL && slash != above; slash = strrchr(above, '/')) {
        *slash = '\0';
        if (sim_names_find(names, above) == NULL) {
            return 0;
        }
    }
    return 1;
}

/* ---- units ------------------------------------------------------------------ */

int sim_inode_new(sim_disk *disk)
{
    if (disk->inodes == SIM_INODES) {
        sim_stop("too many files", "raise SIM_INODES");
    }
    disk->inode[disk->inodes] = (sim_inode){.cache = sim_blob_zeros(), .durable = sim_blob_zeros()};
    return disk->inodes++;
}

sim_unit *sim_unit_add(sim_disk *disk, int kind, int inode, uint64_t at)
{
    if (disk->units == disk->units_room) {
        disk->units_room = disk->units_room == 0 ? 64 : disk->units_room * 2;
        if (disk->units_room > SIM_UNITS_MAX) {
            sim_stop("too much is unsynced", "raise SIM_UNITS_MAX");
        }
        disk->unit = realloc(disk->unit, disk->units_room * sizeof *disk->unit);
    }
    sim_unit *unit = &disk->unit[disk->units++];
    unit->kind = (uint8_t)kind;
    unit->inode = inode;
    unit->at = at;
    unit->id = ++ids;
    disk->changed = 1;
    return unit;
}

uint64_t sim_unit_now(void)
{
    return ids;
}

void sim_unit_name(sim_disk *disk, int kind, int inode, const char *path, const char *target)
{
    sim_unit *unit = sim_unit_add(disk, kind, inode, 0);
    strcpy(unit->what.name.path, path);
    strcpy(unit->what.name.target, target);
    sim_unit_to_names(unit, &disk->seen);
}

void sim_unit_to_names(const sim_unit *unit, sim_names *names)
{
    const char *path = unit->what.name.path;
    if (unit->kind == SIM_UNIT_LINK) {
        sim_names_set(names, path, unit->inode);
    } else {
        sim_names_drop(names, path);
        if (unit->kind == SIM_UNIT_RENAME) {
            sim_names_set(names, unit->what.name.target, unit->inode);
        }
    }
}

static void put_sector(sim_disk *disk, int inode, uint64_t sector, const uint8_t *bytes)
{
    sim_unit *unit = sim_unit_add(disk, SIM_UNIT_SECTOR, inode, sector);
    memcpy(unit->what.sector, bytes, SIM_SECTOR);
}

/* The same bytes again need no unit where cache and durable view agree on them already. */
static int is_there(const sim_inode *inode, uint64_t offset, const uint8_t *data, uint64_t size)
{
    return offset + size <= inode->cache->capacity && memcmp(inode->cache->data + offset, data, size) == 0 &&
           (inode->cache == inode->durable ||
            (offset + size <= inode->durable->capacity && memcmp(inode->durable->data + offset, data, size) == 0));
}

void sim_resize(sim_disk *disk, int number, uint64_t size)
{
    sim_inode *inode = &disk->inode[number];
    if (size < inode->size) {
        uint8_t *data = sim_blob_own(&inode->cache, inode->size);
        memset(data + size, 0, inode->size - size);
    } else if (size > inode->cache->capacity) {
        (void)sim_blob_own(&inode->cache, size);
    }
    inode->size = size;
    (void)sim_unit_add(disk, SIM_UNIT_SIZE, number, size);
}

void sim_put(sim_disk *disk, int number, uint64_t offset, const uint8_t *data, uint64_t size)
{
    sim_inode *inode = &disk->inode[number];
    if (offset + size > inode->size) {
        sim_resize(disk, number, offset + size);
    }
    if (is_there(inode, offset, data, size)) {
        return;
    }
    if (inode->maps > 0 && inode->cache->refs > 1) {
        sim_stop("a file is written that is mapped through a read-only open", "not modelled");
    }
    uint8_t *cache = sim_blob_own(&inode->cache, inode->size);
    for (uint64_t sector = offset / SIM_SECTOR; sector * SIM_SECTOR < offset + size; sector++) {
        uint64_t begin = sector * SIM_SECTOR, end = begin + SIM_SECTOR;
        uint64_t from = begin > offset ? begin : offset, to = end < offset + size ? end : offset + size;
        if (is_there(inode, from, data + (from - offset), to - from)) {
            continue;
        }
        memcpy(cache + from, data + (from - offset), to - from);
        put_sector(disk, number, sector, cache + begin);
        if (inode->shadow != NULL) {
            memcpy(inode->shadow->data + begin, cache + begin, SIM_SECTOR);
        }
    }
}

/* ---- stores through mappings ------------------------------------------------------ */

void sim_refuse_stores(const sim_disk *disk)
{
    for (int number = 0; number < disk->inodes; number++) {
        const sim_inode *inode = &disk->inode[number];
        if (inode->shadow != NULL && memcmp(inode->cache->data, inode->shadow->data, inode->size) != 0) {
            sim_stop("a store through a mapping", "");
        }
    }
}

/* ---- what a sync ends --------------------------------------------------------------- */

static void remove_units(sim_disk *disk, const uint8_t *over)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < disk->units; i++) {
        if (!over[i]) {
            if (kept != i) {
                disk->unit[kept] = disk->unit[i];
            }
            kept++;
        }
    }
    disk->changed |= kept != disk->units;
    disk->units = kept;
    disk->durable_key = ++ids;
}

/* Whether something was written to the file after the unit `before`. */
static int written_since(const sim_disk *disk, int number, uint64_t before)
{
    for (uint32_t i = disk->units; i-- > 0 && disk->unit[i].id > before;) {
        if (disk->unit[i].inode == number && disk->unit[i].kind <= SIM_UNIT_SIZE) {
            return 1;
        }
    }
    return 0;
}

void sim_settle_file(sim_disk *disk, int number, int lost, uint64_t before)
{
    static uint8_t over[SIM_UNITS_MAX];
    sim_inode *inode = &disk->inode[number];
    int one_by_one = inode->maps > 0 || inode->stale || written_since(disk, number, before);
    uint32_t found = 0;
    for (uint32_t i = 0; i < disk->units; i++) {
        const sim_unit *unit = &disk->unit[i];
        over[i] = unit->inode == number && unit->kind <= SIM_UNIT_SIZE && unit->id <= before;
        found += over[i];
        if (!over[i] || lost) {
            continue;
        }
        if (unit->kind == SIM_UNIT_SIZE) {
            inode->durable_size = unit->at;
        } else if (one_by_one) {
            uint8_t *data = sim_blob_own(&inode->durable, (unit->at + 1) * SIM_SECTOR);
            memcpy(data + unit->at * SIM_SECTOR, unit->what.sector, SIM_SECTOR);
        }
    }
    if (found == 0) {
        return;
    }
    if (lost) {
        inode->stale = 1;
    } else if (!one_by_one) {
        sim_blob_drop(inode->durable);
        inode->durable = sim_blob_keep(inode->cache);
    }
    remove_units(disk, over);
}

void sim_settle_dir(sim_disk *disk, const char *dir)
{
    static uint8_t over[SIM_UNITS_MAX];
    uint32_t found = 0;
    for (uint32_t i = 0; i < disk->units; i++) {
        const sim_unit *unit = &disk->unit[i];
        over[i] = unit->kind >= SIM_UNIT_LINK && sim_in_dir(unit->what.name.path, dir);
        found += over[i];
        if (over[i]) {
            sim_unit_to_names(unit, &disk->durable);
        }
    }
    if (found > 0) {
        remove_units(disk, over);
    }
}
