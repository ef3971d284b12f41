/* Any bytes to the parser of proof texts: what it accepts, the writer writes again byte for byte; in one byte less
 * room it says so. */
#include "fuzz.h"

#include "sp.h"
#include "sp_proof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_proof proof;
    if (sp_proof_parse(data, size, &proof) != SP_OK) {
        return 0;
    }
    MUST(size <= SP_PROOF_BYTES_MAX && proof.hashes <= SP_PROOF_HASHES_MAX);
    MUST((size_t)proof.checkpoint_at + proof.checkpoint_size == size);
    const uint8_t *checkpoint = data + proof.checkpoint_at;
    uint8_t *again = malloc(size);
    size_t written = 0;
    MUST(again != NULL);
    MUST(sp_proof_write(proof.opening, proof.index, proof.hash, proof.hashes, checkpoint, proof.checkpoint_size, again,
                        size - 1, &written) == SP_E_ROOM);
    MUST(sp_proof_write(proof.opening, proof.index, proof.hash, proof.hashes, checkpoint, proof.checkpoint_size, again,
                        size, &written) == SP_OK);
    MUST(written == size && memcmp(again, data, size) == 0);
    free(again);
    return 0;
}
