/* Proof text: c2sp.org/tlog-proof@v1 with our opening as the extra line (DESIGN 3.3).
 *
 *     c2sp.org/tlog-proof@v1
 *     extra <base64 of the 61 bytes of the opening>
 *     index <decimal>
 *     <base64 of a hash>                 0 to 63 of them, from the leaf up
 *                                        one empty line
 *     <the checkpoint: a signed note>
 *
 * The parser accepts exactly what the writer can write. */
#ifndef SP_PROOF_H
#define SP_PROOF_H

#include <stddef.h>
#include <stdint.h>

enum {
    SP_PROOF_BYTES_MAX = 65536,
    SP_PROOF_HASHES_MAX = 63,
    SP_NOTE_LINES_MAX = 16
};

#endif
