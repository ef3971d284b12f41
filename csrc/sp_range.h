/* What the proof writer needs to know of a verified range beside its paths. */
#ifndef SP_RANGE_H
#define SP_RANGE_H

#include "sp.h"

uint64_t sp_range_first(const sp_range *range);
uint64_t sp_range_count(const sp_range *range);
uint32_t sp_range_path_length(const sp_range *range, uint64_t position);   /* hashes in the path of an item there is */

#endif
