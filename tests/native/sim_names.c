/* Names of the simulated disk: see sim_disk.h. */
#include "sim_store.h"

#include <string.h>

int sim_do_rename(void *ctx, const char *given_source, const char *given_target)
{
    sim_disk *disk = ctx;
    char one[SIM_PATH], two[SIM_PATH];
    const char *source = sim_plain(given_source, one), *target = sim_plain(given_target, two);
    int done, error = sim_begin(disk, SIM_RENAME, &done);
    const sim_name *name = sim_names_find(&disk->seen, source);
    if (name == NULL) {
        return sim_end(disk, error != 0 ? error : ENOENT);
    }
    if (done) {
        sim_unit_name(disk, SIM_UNIT_RENAME, name->inode, source, target);
    }
    return sim_end(disk, error);
}

int sim_do_unlink(void *ctx, const char *given)
{
    sim_disk *disk = ctx;
    char space[SIM_PATH];
    const char *path = sim_plain(given, space);
    int done, error = sim_begin(disk, SIM_UNLINK, &done);
    const sim_name *name = sim_names_find(&disk->seen, path);
    if (name == NULL) {
        return sim_end(disk, error != 0 ? error : ENOENT);
    }
    if (done) {
        sim_unit_name(disk, SIM_UNIT_UNLINK, name->inode, path, "");
    }
    return sim_end(disk, error);
}

int sim_do_mkdir(void *ctx, const char *given)
{
    sim_disk *disk = ctx;
    char space[SIM_PATH];
    const char *path = sim_plain(given, space);
    int done, error = sim_begin(disk, SIM_MKDIR, &done);
    if (sim_names_find(&disk->seen, path) != NULL) {
        return sim_end(disk, error != 0 ? error : EEXIST);
    }
    if (done) {
        sim_unit_name(disk, SIM_UNIT_LINK, SIM_ROOT_DIR, path, "");
    }
    return sim_end(disk, error);
}

int sim_do_sync_dir(void *ctx, const char *given)
{
    sim_disk *disk = ctx;
    char space[SIM_PATH];
    const char *path = sim_plain(given, space);
    int done, error = sim_begin(disk, SIM_SYNC_DIR, &done);
    if (done) {
        sim_settle_dir(disk, path);
    }
    sim_note_failure(disk, SIM_SYNC_DIR, error);
    return sim_end(disk, error);
}

int sim_do_list(void *ctx, const char *given, int (*each)(void *arg, const char *name), void *arg)
{
    sim_disk *disk = ctx;
    char space[SIM_PATH];
    const char *path = sim_plain(given, space);
    int done, error = sim_begin(disk, SIM_LIST, &done);
    for (int i = 0; error == 0 && i < disk->seen.count; i++) {
        const char *name = disk->seen.name[i].path;
        if (sim_in_dir(name, path)) {
            error = each(arg, strrchr(name, '/') + 1);
        }
    }
    return sim_end(disk, error);
}

int sim_do_traits(void *ctx, const char *path, uint32_t *traits)
{
    (void)path;
    int done, error = sim_begin(ctx, SIM_TRAITS, &done);
    if (error == 0) {
        *traits = SP_DISK_KEEPS_ROOM;
    }
    return sim_end(ctx, error);
}

