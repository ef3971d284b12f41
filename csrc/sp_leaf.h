/* The exact bytes of a leaf (DESIGN 3.2). Everything that is hashed here is big-endian.
 *
 * 0x00 and the first 127 bytes of a leaf fill two SHA-256 blocks. They are the same for all items of a request, so
 * they are hashed once; an item then costs the blocks of its salt and digest: one for sha256. */
#ifndef SP_LEAF_H
#define SP_LEAF_H

#include "sp.h"
#include "sp_span.h"

enum {
    SP_LEAF_HEAD = 127,         /* what a request's leaves share */
    SP_LEAF_SALT = 16,
    SP_OPENING_SHARED = 45,     /* the opening without its salt */
    SP_OPENING = 61,
    SP_DIGEST_MAX = 64
};

enum sp_leaf_kind { SP_LEAF_PROOF = 1, SP_LEAF_EVENT = 2, SP_LEAF_DIRECT = 3 };

SP_STATIC_ASSERT(SP_OPENING_SHARED + SP_LEAF_SALT == SP_OPENING);

/* sp_scope for names that may hold any byte. */
SP_MUST_USE int sp_leaf_scope(sp_span log_name, sp_span line, uint8_t out[32]);
/* 0x00 and the 127 bytes that the leaves of a request share, two blocks. */
void sp_leaf_head(const sp_leaf_spec *spec, uint8_t out[1 + SP_LEAF_HEAD]);

#endif
