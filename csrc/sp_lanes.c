/* Hash states in step: see sp_lanes.h. */
#include "sp_lanes.h"

#include "sp_digest.h"

int sp_lanes_open(sp_lanes *lanes, uint8_t algorithm)
{
    SP_ENSURE(sp_digest_size(algorithm) > 0, SP_E_ALGORITHM);
    lanes->algorithm = algorithm;
    if (algorithm == SP_DIGEST_SHA256) {
        lanes->block = SP_SHA256_BLOCK;
        lanes->best = sp_sha256_pick(SP_SHA256_LANES_MAX)->lanes;
    } else {
        lanes->block = SP_SHA512_BLOCK;
        lanes->best = sp_sha512_pick(SP_SHA512_LANES_MAX)->lanes;
    }
    return SP_OK;
}

void sp_lanes_start(sp_lanes *lanes, size_t lane)
{
    switch (lanes->algorithm) {
    case SP_DIGEST_SHA256: memcpy(lanes->states.narrow[lane], sp_sha256_start, sizeof lanes->states.narrow[lane]); break;
    case SP_DIGEST_SHA384: memcpy(lanes->states.wide[lane], sp_sha384_start, sizeof lanes->states.wide[lane]); break;
    default: memcpy(lanes->states.wide[lane], sp_sha512_start, sizeof lanes->states.wide[lane]);
    }
}

void sp_lanes_move(sp_lanes *lanes, size_t target, size_t source)
{
    if (lanes->algorithm == SP_DIGEST_SHA256) {
        memmove(lanes->states.narrow[target], lanes->states.narrow[source], sizeof lanes->states.narrow[target]);
    } else {
        memmove(lanes->states.wide[target], lanes->states.wide[source], sizeof lanes->states.wide[target]);
    }
}

void sp_lanes_compress(sp_lanes *lanes, const uint8_t *const *blocks, size_t count, size_t width)
{
    if (lanes->algorithm == SP_DIGEST_SHA256) {
        sp_sha256_pick(width)->compress_lanes(lanes->states.narrow, blocks, count, width);
    } else {
        sp_sha512_pick(width)->compress_lanes(lanes->states.wide, blocks, count, width);
    }
}

size_t sp_lanes_pad(const sp_lanes *lanes, uint8_t *data, size_t held, uint64_t total)
{
    const size_t length = lanes->block / 8;         /* FIPS 180-4, 5.1: bytes of the message length at the end */
    const size_t blocks = (held + length) / lanes->block + 1;
    memset(data + held, 0, blocks * lanes->block - held);
    data[held] = 0x80;
    sp_store_u64be(data + blocks * lanes->block - 8, total * 8);
    return blocks;
}

void sp_lanes_digest(const sp_lanes *lanes, size_t lane, uint8_t *out)
{
    if (lanes->algorithm == SP_DIGEST_SHA256) {
        sp_sha256_store(lanes->states.narrow[lane], out);
        return;
    }
    for (size_t i = 0; i < sp_digest_size(lanes->algorithm) / 8; i++) {
        sp_store_u64be(out + 8 * i, lanes->states.wide[lane][i]);
    }
}
