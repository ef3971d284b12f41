/* MessagePack read in place, as far as heads of records use it: each call takes one value from a reader.
 *
 * A value that is not of the kind asked for is SP_E_ENCODING, one that is cut short SP_E_BOUNDS; on failure the
 * position is where it was. Floats, maps and extensions stand in no head: SP_E_ENCODING. Whether the bytes are the only
 * encoding of their value is not asked here: who decodes a record (tlog/entry.py) encodes it again and compares. */
#ifndef SP_PACK_H
#define SP_PACK_H

#include "sp_span.h"

SP_MUST_USE int sp_pack_array(sp_reader *reader, uint32_t *count);  /* its values follow */
SP_MUST_USE int sp_pack_uint(sp_reader *reader, uint64_t *out);
SP_MUST_USE int sp_pack_bin(sp_reader *reader, sp_span *out);
SP_MUST_USE int sp_pack_str(sp_reader *reader, sp_span *out);
/* passes over `count` values, with all that is in them */
SP_MUST_USE int sp_pack_skip(sp_reader *reader, uint64_t count);

#endif
