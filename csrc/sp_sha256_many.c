/* SHA-256 of many messages: keeps the kernel's lanes full.
 *
 * Messages of different lengths share the lanes: all busy lanes advance by as many blocks as the shortest has left,
 * then a finished lane takes the next message. Short messages of one length take a quicker way: they are padded into
 * a small arena on the stack and go through the kernel in step. */
#include "sp_bytes.h"
#include "sp_sha256.h"

#define LANES SP_SHA256_LANES_MAX
#define PAD (2 * SP_SHA256_BLOCK)
#define BRIEF (4 * SP_SHA256_BLOCK)
#define LENGTH 8                /* bytes of the message length at the end of the padding */

typedef struct lane {
    size_t item;
    const uint8_t *next;        /* blocks to come from here */
    size_t blocks;              /* how many */
    size_t padded;              /* blocks in pad that follow them */
    uint8_t pad[PAD];
} lane;

typedef struct run {
    const sp_sha256_impl *impl;
    const uint32_t *start;
    uint64_t prefix;
    const uint8_t *const *data;
    const size_t *sizes;        /* NULL: all are `size` */
    size_t size, count, taken;
    uint8_t *out;
} run;

/* Writes 0x80, zeros and the length in bits behind the `held` bytes that pad begins with; it has room for them. Returns
 * the blocks. */
static size_t pad_end(uint8_t *pad, size_t held, uint64_t total)
{
    const size_t blocks = (held + LENGTH) / SP_SHA256_BLOCK + 1;
    memset(pad + held, 0, blocks * SP_SHA256_BLOCK - held);
    pad[held] = 0x80;
    sp_store_u64be(pad + blocks * SP_SHA256_BLOCK - LENGTH, total * 8);
    return blocks;
}

static void lane_take(run *r, lane *l, uint32_t state[8])
{
    const size_t item = r->taken++;
    const size_t size = r->sizes != NULL ? r->sizes[item] : r->size;
    const size_t rest = size % SP_SHA256_BLOCK;
    if (rest > 0) {
        memcpy(l->pad, r->data[item] + (size - rest), rest);
    }
    memcpy(state, r->start, sizeof(uint32_t[8]));
    l->item = item;
    l->next = r->data[item];
    l->blocks = size / SP_SHA256_BLOCK;
    l->padded = pad_end(l->pad, rest, r->prefix + size);
}

/* Goes on to the padding when the whole blocks are done. Returns 0 when nothing is left. */
static int lane_more(lane *l)
{
    if (l->blocks == 0) {
        l->next = l->pad;
        l->blocks = l->padded;
        l->padded = 0;
    }
    return l->blocks > 0;
}

/* Stores what is finished and takes new messages; returns how many lanes are busy. They stand in front of `lanes`. */
static size_t refill(run *r, lane **lanes, uint32_t (*states)[8], size_t busy)
{
    size_t i = 0;
    while (i < busy) {
        if (lane_more(lanes[i])) {
            i++;
        } else {
            sp_sha256_store(states[i], r->out + SP_SHA256_SIZE * lanes[i]->item);
            if (r->taken < r->count) {
                lane_take(r, lanes[i], states[i]);
            } else {
                busy--;
                lanes[i] = lanes[busy];
                memmove(states[i], states[busy], sizeof states[i]);
            }
        }
    }
    return busy;
}

static void run_mixed(run *r)
{
    lane pool[LANES], *lanes[LANES];
    uint32_t states[LANES][8];
    const uint8_t *blocks[LANES];
    size_t busy = 0;
    for (; busy < r->impl->lanes && r->taken < r->count; busy++) {
        lanes[busy] = &pool[busy];
        lane_take(r, lanes[busy], states[busy]);
    }
    while ((busy = refill(r, lanes, states, busy)) > 0) {
        size_t step = SIZE_MAX;
        for (size_t i = 0; i < busy; i++) {
            blocks[i] = lanes[i]->next;
            step = lanes[i]->blocks < step ? lanes[i]->blocks : step;
        }
        r->impl->compress_lanes(states, blocks, step, busy);
        for (size_t i = 0; i < busy; i++) {
            lanes[i]->next += step * SP_SHA256_BLOCK;
            lanes[i]->blocks -= step;
        }
    }
}

/* Messages of one length that fit, padded, into four blocks. */
typedef struct brief {
    const sp_sha256_impl *impl;
    const uint32_t *start;
    size_t front, size, blocks; /* bytes before the message, of the message, padded blocks */
    uint8_t arena[LANES][BRIEF];
} brief;

static void brief_open(brief *b, const uint32_t *start, uint64_t prefix, const uint8_t *front, size_t front_size, size_t size,
                       size_t count)
{
    b->impl = sp_sha256_pick();
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
        b->impl->digest_lanes(b->start, blocks, b->blocks, width, out + SP_SHA256_SIZE * done);
    }
}

void sp_sha256_many(size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out)
{
    run r = {
        .impl = sp_sha256_pick(), .start = sp_sha256_start, .data = data, .sizes = sizes, .count = count, .out = out,
    };
    run_mixed(&r);
}

void sp_sha256_nodes(const uint8_t *pairs, size_t count, uint8_t *out)
{
    static const uint8_t node_prefix = 0x01;
    brief b;
    if (count == 0) {
        return;
    }
    brief_open(&b, sp_sha256_start, 0, &node_prefix, 1, 2 * SP_SHA256_SIZE, count);
    brief_run(&b, &(brief_source){.first = pairs, .first_size = 2 * SP_SHA256_SIZE}, count, out);
}

void sp_sha256_columns(const uint32_t state[8], uint64_t prefix_bytes, const uint8_t *first, size_t first_size,
                       const uint8_t *second, size_t second_size, size_t count, uint8_t *out)
{
    brief b;
    if (count == 0) {
        return;
    }
    brief_open(&b, state, prefix_bytes, NULL, 0, first_size + second_size, count);
    brief_run(&b, &(brief_source){NULL, first, second, first_size, second_size}, count, out);
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
        .impl = sp_sha256_pick(), .start = state, .prefix = prefix_bytes, .data = tails, .size = tail_size,
        .count = count, .out = out,
    };
    run_mixed(&r);
}
