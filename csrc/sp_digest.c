/* Digests by algorithm number: many buffers, an arena, a stream, a file. */
#define _GNU_SOURCE
#include "sp_digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sp_check.h"
#include "sp_sha256.h"
#include "sp_sha512.h"

#define WINDOW 256              /* items of an arena that are handed on together */

struct sp_hasher {
    uint8_t algorithm;
    union {
        sp_sha256_ctx sha256;
        sp_sha512_ctx sha512;
    } as;
};

uint32_t sp_digest_size(uint8_t algorithm)
{
    switch (algorithm) {
    case SP_DIGEST_SHA256: return SP_SHA256_SIZE;
    case SP_DIGEST_SHA384: return SP_SHA384_SIZE;
    case SP_DIGEST_SHA512: return SP_SHA512_SIZE;
    default: return 0;
    }
}

static void digest_group(uint8_t algorithm, size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out)
{
    if (algorithm == SP_DIGEST_SHA256) {
        sp_sha256_many(count, data, sizes, out);
    } else {
        sp_sha512_many(sp_digest_size(algorithm), count, data, sizes, out);
    }
}

int sp_digest_many(uint8_t algorithm, size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out)
{
    SP_ENSURE(sp_digest_size(algorithm) > 0, SP_E_ALGORITHM);
    SP_ENSURE(count == 0 || (data != NULL && sizes != NULL && out != NULL), SP_E_ARGUMENT);
    for (size_t i = 0; i < count; i++) {
        SP_ENSURE(data[i] != NULL || sizes[i] == 0, SP_E_ARGUMENT);
    }
    digest_group(algorithm, count, data, sizes, out);
    return SP_OK;
}

void sp_digest_point(const uint8_t **data, const uint8_t *p0, const uint8_t *p1, const uint8_t *p2, const uint8_t *p3,
                     const uint8_t *p4, const uint8_t *p5, const uint8_t *p6, const uint8_t *p7, const uint8_t *p8,
                     const uint8_t *p9, const uint8_t *p10, const uint8_t *p11, const uint8_t *p12, const uint8_t *p13,
                     const uint8_t *p14, const uint8_t *p15)
{
    const uint8_t *const all[16] = {p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15};
    memcpy(data, all, sizeof all);
}

static int arena_valid(size_t count, const uint8_t *arena, size_t arena_size, const size_t *sizes)
{
    SP_ENSURE(arena_size == 0 || arena != NULL, SP_E_ARGUMENT);
    if (sizes == NULL) {
        SP_ENSURE(count > 0 ? arena_size % count == 0 : arena_size == 0, SP_E_BOUNDS);
        return SP_OK;
    }
    size_t left = arena_size;
    for (size_t i = 0; i < count; i++) {
        SP_ENSURE(sizes[i] <= left, SP_E_BOUNDS);
        left -= sizes[i];
    }
    SP_ENSURE(left == 0, SP_E_BOUNDS);
    return SP_OK;
}

int sp_digest_arena(uint8_t algorithm, size_t count, const uint8_t *arena, size_t arena_size, const size_t *sizes, uint8_t *out)
{
    static const uint8_t nothing;
    const uint8_t *data[WINDOW], *next = arena_size == 0 ? &nothing : arena;
    size_t widths[WINDOW];
    SP_ENSURE(sp_digest_size(algorithm) > 0, SP_E_ALGORITHM);
    SP_ENSURE(count == 0 || out != NULL, SP_E_ARGUMENT);
    SP_TRY(arena_valid(count, arena, arena_size, sizes));
    for (size_t done = 0; done < count;) {
        const size_t group = count - done < WINDOW ? count - done : WINDOW;
        for (size_t i = 0; i < group; i++) {
            data[i] = next;
            widths[i] = sizes == NULL ? arena_size / count : sizes[done + i];
            next += widths[i];
        }
        digest_group(algorithm, group, data, widths, out + done * sp_digest_size(algorithm));
        done += group;
    }
    return SP_OK;
}

static void hasher_start(sp_hasher *hasher)
{
    if (hasher->algorithm == SP_DIGEST_SHA256) {
        sp_sha256_init(&hasher->as.sha256);
    } else {
        sp_sha512_init(&hasher->as.sha512, sp_digest_size(hasher->algorithm));
    }
}

int sp_hasher_new(uint8_t algorithm, sp_hasher **out)
{
    SP_ENSURE(out != NULL, SP_E_ARGUMENT);
    SP_ENSURE(sp_digest_size(algorithm) > 0, SP_E_ALGORITHM);
    sp_hasher *hasher = malloc(sizeof *hasher);
    SP_ENSURE(hasher != NULL, SP_E_MEMORY);
    hasher->algorithm = algorithm;
    hasher_start(hasher);
    *out = hasher;
    return SP_OK;
}

int sp_hasher_update(sp_hasher *hasher, const uint8_t *data, size_t size)
{
    SP_ENSURE(hasher != NULL && (data != NULL || size == 0), SP_E_ARGUMENT);
    if (hasher->algorithm == SP_DIGEST_SHA256) {
        sp_sha256_update(&hasher->as.sha256, data, size);
    } else {
        sp_sha512_update(&hasher->as.sha512, data, size);
    }
    return SP_OK;
}

int sp_hasher_final(sp_hasher *hasher, uint8_t *out)
{
    SP_ENSURE(hasher != NULL && out != NULL, SP_E_ARGUMENT);
    if (hasher->algorithm == SP_DIGEST_SHA256) {
        sp_sha256_final(&hasher->as.sha256, out);
    } else {
        sp_sha512_final(&hasher->as.sha512, out);
    }
    hasher_start(hasher);
    return SP_OK;
}

void sp_hasher_free(sp_hasher *hasher)
{
    free(hasher);
}

static void free_buffer(uint8_t **buffer)
{
    free(*buffer);
}

int sp_digest_fd(uint8_t algorithm, int fd, uint8_t *out, uint64_t *size_out, uint64_t *progress)
{
    SP_ENSURE(out != NULL && size_out != NULL, SP_E_ARGUMENT);
    SP_ENSURE(sp_digest_size(algorithm) > 0, SP_E_ALGORITHM);
    SP_CLEANUP(free_buffer) uint8_t *buffer = malloc(SP_DIGEST_READ_BYTES);
    SP_ENSURE(buffer != NULL, SP_E_MEMORY);
    sp_hasher hasher = {.algorithm = algorithm};
    hasher_start(&hasher);
    /* Advice only: a descriptor that takes none is read all the same, and says so itself if it cannot be. */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    uint64_t done = 0;
    for (;;) {
        const ssize_t got = pread(fd, buffer, SP_DIGEST_READ_BYTES, (off_t)done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        SP_ENSURE(got >= 0, SP_E_SYSTEM);
        if (got == 0) {
            break;
        }
        SP_TRY(sp_hasher_update(&hasher, buffer, (size_t)got));
        done += (uint64_t)got;
        if (progress != NULL) {
            __atomic_store_n(progress, done, __ATOMIC_RELAXED);
        }
    }
    SP_TRY(sp_hasher_final(&hasher, out));
    *size_out = done;
    return SP_OK;
}
