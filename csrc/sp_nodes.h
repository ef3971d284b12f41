/* Nodes as the files of tree/ hold them, read-only, to be compared with nodes that were made again.
 *
 * Files are mapped as they are needed and again when they have grown: a writer may be at work, and it stores nodes
 * before the COMMIT that covers them. The first node that differs is remembered, in the order in which they are made. */
#ifndef SP_NODES_H
#define SP_NODES_H

#include "sp_disk.h"
#include "sp_level.h"

typedef struct sp_nodes {
    const sp_disk *disk;
    char dir[SP_DISK_PATH_MAX];
    struct {
        void *data;             /* NULL: not mapped */
        uint64_t size;          /* bytes mapped */
    } level[SP_LEVEL_COUNT];
    int differ;
    uint32_t bad_level;
    uint64_t bad_index;
} sp_nodes;

/* Nothing is opened yet. SP_E_BOUNDS: the path is too long. */
SP_MUST_USE int sp_nodes_init(sp_nodes *nodes, const sp_disk *disk, const char *dir);
/* An sp_edge_seen; arg is the sp_nodes. A file that is missing or too short differs. */
void sp_nodes_compare(void *nodes, uint32_t level, uint64_t first, const uint8_t *hashes, uint64_t count);
void sp_nodes_close(sp_nodes *nodes);

#endif
