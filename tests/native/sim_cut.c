/* What a power cut leaves, and hands that reach into a disk from outside: see sim_disk.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sim_store.h"

static int kept(const uint64_t *keep, uint32_t unit)
{
    return (int)(keep[unit / 64] >> (unit % 64)) & 1;
}

uint32_t sim_disk_units(const sim_disk *disk)
{
    return disk->units;
}

uint64_t sim_disk_unit_page(const sim_disk *disk, uint32_t number)
{
    const sim_unit *unit = &disk->unit[number];
    uint64_t page = unit->kind == SIM_UNIT_SECTOR ? unit->at / (SP_DISK_PAGE / SIM_SECTOR) : UINT32_MAX + unit->id;
    return (uint64_t)(unit->inode + 1) << 40 ^ page;
}

/* Which units count: the chosen ones, and of names all before a chosen one in its directory. */
static void close_names(const sim_disk *disk, const uint64_t *keep, uint8_t *chosen)
{
    char dir[SIM_PATH];
    for (uint32_t i = disk->units; i-- > 0;) {
        const sim_unit *unit = &disk->unit[i];
        chosen[i] = (uint8_t)kept(keep, i);
        if (unit->kind < SIM_UNIT_LINK || chosen[i]) {
            continue;
        }
        strcpy(dir, unit->what.name.path);
        char *slash = strrchr(dir, '/');
        slash[slash == dir] = '\0';
        for (uint32_t later = i + 1; later < disk->units && !chosen[i]; later++) {
            const sim_unit *other = &disk->unit[later];
            chosen[i] = chosen[later] && other->kind >= SIM_UNIT_LINK && sim_in_dir(other->what.name.path, dir);
        }
    }
}

static uint64_t mixed(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

uint64_t sim_disk_cut_key(const sim_disk *disk, const uint64_t keep[SIM_KEEP_WORDS])
{
    static uint8_t chosen[SIM_UNITS_MAX];
    uint64_t key = mixed(disk->durable_key + 1);
    close_names(disk, keep, chosen);
    for (uint32_t i = 0; i < disk->units; i++) {
        int counts = chosen[i];
        for (uint32_t later = i + 1; counts && disk->unit[i].kind == SIM_UNIT_SECTOR && later < disk->units; later++) {
            const sim_unit *other = &disk->unit[later];
            counts = !(chosen[later] && other->kind == SIM_UNIT_SECTOR && other->inode == disk->unit[i].inode &&
                       other->at == disk->unit[i].at);
        }
        key += counts ? mixed(disk->unit[i].id << 20) : 0;
    }
    return key;
}

/* The file's durable bytes with the chosen units on top. */
static sim_inode cut_inode(const sim_disk *disk, int number, const uint8_t *chosen)
{
    const sim_inode *from = &disk->inode[number];
    sim_inode cut = {.durable = sim_blob_keep(from->durable), .durable_size = from->durable_size};
    uint64_t end = 0;                       /* of the last chosen sector */
    for (uint32_t i = 0; i < disk->units; i++) {
        const sim_unit *unit = &disk->unit[i];
        if (!chosen[i] || unit->inode != number || unit->kind > SIM_UNIT_SIZE) {
            continue;
        }
        if (unit->kind == SIM_UNIT_SIZE) {
            cut.durable_size = unit->at;
        } else {
            uint8_t *data = sim_blob_own(&cut.durable, (unit->at + 1) * SIM_SECTOR);
            memcpy(data + unit->at * SIM_SECTOR, unit->what.sector, SIM_SECTOR);
            end = (unit->at + 1) * SIM_SECTOR > end ? (unit->at + 1) * SIM_SECTOR : end;
        }
    }
    if (end > cut.durable_size) {
        memset(sim_blob_own(&cut.durable, end) + cut.durable_size, 0, end - cut.durable_size);
    }
    cut.size = cut.durable_size;
    cut.cache = sim_blob_keep(cut.durable);
    return cut;
}

sim_disk *sim_disk_cut(const sim_disk *disk, const uint64_t keep[SIM_KEEP_WORDS])
{
    static uint8_t chosen[SIM_UNITS_MAX];
    static sim_names names;
    sim_disk *image = sim_disk_new();
    names = disk->durable;
    close_names(disk, keep, chosen);
    for (uint32_t i = 0; i < disk->units; i++) {
        if (chosen[i] && disk->unit[i].kind >= SIM_UNIT_LINK) {
            sim_unit_to_names(&disk->unit[i], &names);
        }
    }
    for (int i = 0; i < names.count; i++) {
        const sim_name *name = &names.name[i];
        int inode = SIM_ROOT_DIR;
        if (!sim_reachable(&names, name->path)) {
            continue;
        }
        if (name->inode != SIM_ROOT_DIR) {
            inode = image->inodes++;
            image->inode[inode] = cut_inode(disk, name->inode, chosen);
        }
        sim_names_set(&image->durable, name->path, inode);
    }
    image->seen = image->durable;
    image->durable_key = sim_unit_add(image, SIM_UNIT_SIZE, 0, 0)->id;     /* a number of its own */
    image->units = 0;
    image->changed = 0;
    return image;
}

/* ---- from outside ------------------------------------------------------------------------ */

static const sim_inode *inode_at(const sim_disk *disk, const char *path)
{
    const sim_name *name = sim_names_find((sim_names *)&disk->seen, path);
    return name == NULL || name->inode == SIM_ROOT_DIR ? NULL : &disk->inode[name->inode];
}

const uint8_t *sim_disk_file(const sim_disk *disk, const char *path, uint64_t *size)
{
    const sim_inode *inode = inode_at(disk, path);
    if (inode == NULL) {
        return NULL;
    }
    *size = inode->size;
    return inode->cache->data;
}

uint64_t sim_disk_stamp(const sim_disk *disk, const char *path)
{
    const sim_inode *inode = inode_at(disk, path);
    return inode == NULL ? 0 : inode->cache->stamp;
}

sim_disk *sim_disk_copy(const sim_disk *disk)
{
    uint64_t all[SIM_KEEP_WORDS];
    memset(all, 0xff, sizeof all);
    return sim_disk_cut(disk, all);
}

/* Both views: what changed while nobody ran. */
static sim_inode *own_inode(sim_disk *disk, const char *path)
{
    sim_inode *inode = (sim_inode *)inode_at(disk, path);
    if (inode == NULL || inode->maps > 0 || disk->units > 0) {
        sim_stop("a file that is missing or in use cannot be changed from outside", path);
    }
    sim_blob_drop(inode->durable);
    (void)sim_blob_own(&inode->cache, inode->size);
    inode->durable = sim_blob_keep(inode->cache);
    return inode;
}

void sim_disk_flip(sim_disk *disk, const char *path, uint64_t bit)
{
    const sim_inode *inode = own_inode(disk, path);
    inode->cache->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
}

void sim_disk_chop(sim_disk *disk, const char *path, uint64_t size)
{
    sim_inode *inode = own_inode(disk, path);
    if (size < inode->size) {
        memset(inode->cache->data + size, 0, inode->size - size);
    }
    inode->size = inode->durable_size = size;
}

int sim_disk_count(const sim_disk *disk, const char *dir)
{
    int count = 0;
    for (int i = 0; i < disk->seen.count; i++) {
        count += sim_in_dir(disk->seen.name[i].path, dir);
    }
    return count;
}

int sim_disk_holds(const sim_disk *disk, const char *dir, const uint8_t *bytes, uint64_t size)
{
    for (int i = 0; i < disk->seen.count; i++) {
        const sim_name *name = &disk->seen.name[i];
        if (sim_in_dir(name->path, dir) && name->inode != SIM_ROOT_DIR && disk->inode[name->inode].size == size &&
            memcmp(disk->inode[name->inode].cache->data, bytes, size) == 0) {
            return 1;
        }
    }
    return 0;
}

static void export_file(const char *path, const sim_inode *inode)
{
    FILE *file = fopen(path, "wb");
    int wrong = file == NULL;
    if (!wrong) {
        wrong = inode->size > 0 && fwrite(inode->cache->data, inode->size, 1, file) != 1;
        wrong |= fclose(file) != 0;
    }
    if (wrong) {
        sim_stop("cannot write", path);
    }
}

void sim_disk_export(const sim_disk *disk, const char *dir)
{
    char path[4096];
    mkdir(dir, 0750);
    for (size_t depth = 1; depth < 4; depth++) {            /* directories before what stands in them */
        for (int i = 0; i < disk->seen.count; i++) {
            const sim_name *name = &disk->seen.name[i];
            size_t slashes = 0;
            for (const char *at = name->path; *at != '\0'; at++) {
                slashes += *at == '/';
            }
            snprintf(path, sizeof path, "%s%s", dir, name->path);
            if (slashes == depth && name->inode == SIM_ROOT_DIR) {
                mkdir(path, 0750);
            } else if (slashes == depth) {
                export_file(path, &disk->inode[name->inode]);
            }
        }
    }
}
