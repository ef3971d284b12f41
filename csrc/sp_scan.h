/* Reading a log back: how far it is whole, and what kind of damage ends it. Recovery, the judge of tests and the
 * daemon's start all ask here; nothing is changed on disk. Lengths and counts of a file are never trusted. */
#ifndef SP_SCAN_H
#define SP_SCAN_H

#include "sp_segment.h"

enum sp_damage {
    SP_DAMAGE_NONE = 0,
    SP_DAMAGE_TORN = 1,         /* bytes behind the last COMMIT that a crash during a write explains */
    SP_DAMAGE_INTERIOR = 2,     /* a later COMMIT stands behind it, or whole frames contradict one another */
    SP_DAMAGE_SEALED = 3        /* a sealed segment or a header that others rely on */
};

typedef struct sp_position {    /* of a log, after a COMMIT */
    uint64_t next_seq, tree_size, last_time_ns, durable_seq;
    uint8_t root[32], chain[32];
} sp_position;

typedef struct sp_scan {        /* of one segment */
    sp_position at;             /* after its last valid COMMIT; from the header if there is none */
    uint64_t end_offset;        /* one past that COMMIT */
    uint32_t batches;
    uint8_t sealed, damage;
    uint32_t version;           /* of the format that SP_E_VERSION is about; else 0 */
    uint64_t damage_from, damage_to;
} sp_scan;

typedef struct sp_found {       /* a segment file */
    uint64_t number;
    uint32_t copies;            /* whole header copies */
    uint8_t valid;              /* 0: no header, spare or damaged */
    uint8_t useless;            /* a file of zeros that nobody waits for: removed at start */
    sp_segment_header header;
} sp_found;

typedef struct sp_survey {      /* a whole log directory */
    sp_found *file;
    size_t count, room;
    sp_scan active;             /* of the last segment with a header */
    sp_segment_header active_header;
    uint8_t spare;              /* a file of zeros of the wanted size stands ready as number spare_number */
    uint64_t spare_number;
} sp_survey;

/* SP_OK with the damage in *out, or SP_E_VERSION (out->version). */
int sp_scan_segment(const sp_segment *segment, sp_scan *out);
/* SP_OK with the damage in *state; SP_E_VERSION (state->version), SP_E_MISMATCH: a segment of another log. */
int sp_survey_log(const sp_journal_options *options, sp_survey *out, sp_journal_state *state);
void sp_survey_free(sp_survey *survey);

#endif
