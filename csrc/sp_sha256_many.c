/* SHA-256 of many messages: through the scheduler, or, where they are short and of one length, padded into a small arena
 * on the stack and through the kernel in step. */
#include "sp_sha256.h"

#define WORD uint32_t
#define STORE_WORD(at, word) sp_store_u32be(at, word)
#define LENGTH 8
#define LANES SP_SHA256_LANES_MAX
#define IMPL sp_sha256_impl
#define PICK(width) sp_sha256_pick(width)
#include "sp_sha2_many.h"

#define BRIEF (4 * SP_SHA256_BLOCK)

/* Messages of one length that fit, padded, into four blocks. */
typedef struct brief {
    const uint32_t *start;
    size_t front, size, blocks; /* bytes before the message, of the message, padded blocks */
    uint8_t arena[LANES][BRIEF];
} brief;

static void brief_open(brief *b, const uint32_t *start, uint64_t prefix, const uint8_t *front, size_t front_size, size_t size,
                       size_t count)
{
    b->start = start;
    b->front = front_size;
    b->size = size;
    for (size_t i = 0; i < LANES && i < count; i++) {
        if (front_size > 0) {
            memcpy(b->arena[i], front, front_size);
        }
        b->blocks = pad_end(b->arena[i], front_size + size, prefix + front_size + size);
    }
}

/* The lengths that come by the million are copied without a call. */
static inline void copy(uint8_t *to, const uint8_t *from, size_t size)
{
    switch (size) {
    case 4: memcpy(to, from, 4); break;
    case 16: memcpy(to, from, 16); break;
    case 32: memcpy(to, from, 32); break;
    case 36: memcpy(to, from, 36); break;
    case 64: memcpy(to, from, 64); break;
    default: memcpy(to, from, size);
    }
}

/* Item i is at data[i]; or, if data is NULL, its first part at first + i * first_size and the rest at second. All items of
 * a group are read before out is written. */
typedef struct brief_source {
    const uint8_t *const *data;
    const uint8_t *first, *second;
    size_t first_size, second_size;
} brief_source;

static inline void brief_take(const brief *b, const brief_source *source, size_t item, uint8_t *to)
{
    if (source->data != NULL) {
        copy(to, source->data[item], b->size);
    } else {
        copy(to, source->first + item * source->first_size, source->first_size);
        if (source->second_size > 0) {
            copy(to + source->first_size, source->second + item * source->second_size, source->second_size);
        }
    }
}

static void brief_run(brief *b, const brief_source *source, size_t count, uint8_t *out)
{
    const uint8_t *blocks[LANES];
    for (size_t i = 0; i < LANES; i++) {
        blocks[i] = b->arena[i];
    }
    for (size_t done = 0; done < count; done += LANES) {
        const size_t width = count - done < LANES ? count - done : LANES;
        for (size_t i = 0; i < width && b->size > 0; i++) {
            brief_take(b, source, done + i, b->arena[i] + b->front);
        }
        sp_sha256_pick(width)->digest_lanes(b->start, blocks, b->blocks, width, out + SP_SHA256_SIZE * done);
    }
}

void sp_sha256_many(size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out)
{
    run r = {
        .start = sp_sha256_start, .data = data, .sizes = sizes, .count = count, .out_size = SP_SHA256_SIZE, .out = out,
    };
    run_mixed(&r);
}

void sp_sha256_nodes(const uint8_t *pairs, size_t count, uint8_t *out)
{
    static const uint8_t node_prefix = 0x01;
    const sp_sha256_impl *impl = sp_sha256_pick(count);
    for (; impl->nodes != NULL && count >= impl->lanes; count -= impl->lanes) {
        impl->nodes(pairs, out);
        pairs += 2 * SP_SHA256_SIZE * impl->lanes;
        out += SP_SHA256_SIZE * impl->lanes;
    }
    if (count == 0) {
        return;
    }
    brief b;
    brief_open(&b, sp_sha256_start, 0, &node_prefix, 1, 2 * SP_SHA256_SIZE, count);
    brief_run(&b, &(brief_source){.first = pairs, .first_size = 2 * SP_SHA256_SIZE}, count, out);
}

void sp_sha256_columns(const uint32_t state[8], uint64_t prefix_bytes, const uint8_t *first, size_t first_size,
                       const uint8_t *second, size_t second_size, size_t count, uint8_t *out)
{
    brief b;
    const sp_sha256_impl *impl = sp_sha256_pick(count);
    if (impl->leaves != NULL && first_size == 16 && second_size == 32) {
        for (; count >= impl->lanes; count -= impl->lanes) {
            impl->leaves(state, prefix_bytes + 48, first, second, out);
            first += first_size * impl->lanes;
            second += second_size * impl->lanes;
            out += SP_SHA256_SIZE * impl->lanes;
        }
    }
    if (count == 0) {
        return;
    }
    brief_open(&b, state, prefix_bytes, NULL, 0, first_size + second_size, count);
    brief_run(&b, &(brief_source){NULL, first, second, first_size, second_size}, count, out);
}

void sp_sha256_numbered(const uint8_t seed[32], uint32_t first, size_t count, uint8_t *out)
{
    const sp_sha256_impl *impl = sp_sha256_pick(count);
    size_t done = 0;
    if (impl->numbered != NULL) {
        done = count - count % impl->lanes;
        impl->numbered(seed, first, count / impl->lanes, out);
    }
    brief b;
    brief_open(&b, sp_sha256_start, 0, seed, 32, 4, count - done);
    for (; done < count; done += LANES) {
        uint8_t numbers[LANES][4];
        for (size_t i = 0; i < LANES; i++) {
            sp_store_u32be(numbers[i], (uint32_t)(first + done + i));
        }
        brief_run(&b, &(brief_source){.first = numbers[0], .first_size = 4}, count - done < LANES ? count - done : LANES,
                  out + SP_SHA256_SIZE * done);
    }
}

void sp_sha256_tail_many(const uint32_t state[8], uint64_t prefix_bytes, const uint8_t *const *tails, size_t tail_size,
                         size_t count, uint8_t *out)
{
    if (count == 0) {
        return;
    }
    if (tail_size <= SP_SHA256_COLUMNS_MAX) {
        brief b;
        brief_open(&b, state, prefix_bytes, NULL, 0, tail_size, count);
        brief_run(&b, &(brief_source){.data = tails}, count, out);
        return;
    }
    run r = {
        .start = state, .prefix = prefix_bytes, .data = tails, .size = tail_size, .count = count,
        .out_size = SP_SHA256_SIZE, .out = out,
    };
    run_mixed(&r);
}
