/* Digests by algorithm number, as they stand in leaves and requests. The functions are declared in sp_api.h. */
#ifndef SP_DIGEST_H
#define SP_DIGEST_H

#include "sp.h"

enum sp_digest_algorithm {
    SP_DIGEST_SHA256 = 1,
    SP_DIGEST_SHA384 = 2,
    SP_DIGEST_SHA512 = 3,
};

#define SP_DIGEST_SIZE_MAX 64
#define SP_DIGEST_READ_BYTES (UINT32_C(1) << 20)    /* one read of sp_digest_fd */

#endif
