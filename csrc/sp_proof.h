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

/* Bytes of a text, and the text itself, for a checkpoint that parses: sp_proof_put answers the end of what it wrote, and
 * the room is the caller's concern. */
size_t sp_proof_size(uint64_t index, uint32_t hashes, size_t checkpoint_size);
uint8_t *sp_proof_put(const uint8_t opening[61], uint64_t index, const uint8_t *hashes, uint32_t count,
                      const uint8_t *checkpoint, size_t checkpoint_size, uint8_t *out);

#endif
