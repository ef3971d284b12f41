/* The scheduler of many messages, the same text for SHA-256 and SHA-512: keeps the kernel's lanes full.
 *
 * Messages of different lengths share the lanes: all busy lanes advance by as many blocks as the shortest has left,
 * then a finished lane takes the next message. When too few are left for a wide kernel, a narrow one goes on.
 * Who includes it says first: WORD, STORE_WORD(at, word), LENGTH (bytes of the message length at the end of the
 * padding), LANES (at most), IMPL (the type of a kernel), PICK(width) (the kernel for so many messages). */
#ifndef SP_SHA2_MANY_H
#define SP_SHA2_MANY_H

#include "sp_bytes.h"

#define BLOCK (16 * sizeof(WORD))
#define PAD (2 * BLOCK)
#define STAGGERED 1024          /* blocks: shorter messages lose more by it than they gain */

typedef struct lane {
    size_t item;
    const uint8_t *next;        /* blocks to come from here */
    size_t blocks;              /* how many */
    size_t padded;              /* blocks in pad that follow them */
    uint8_t pad[PAD];
} lane;

typedef struct run {
    const WORD *start;
    uint64_t prefix;            /* bytes that `start` has taken already */
    const uint8_t *const *data;
    const size_t *sizes;        /* NULL: all are `size` */
    size_t size, count, taken;
    size_t out_size;            /* bytes of a digest */
    uint8_t *out;
} run;

/* Writes 0x80, zeros and the length in bits behind the `held` bytes that pad begins with; it has room for them. Returns
 * the blocks. */
static size_t pad_end(uint8_t *pad, size_t held, uint64_t total)
{
    const size_t blocks = (held + LENGTH) / BLOCK + 1;
    memset(pad + held, 0, blocks * BLOCK - held);
    pad[held] = 0x80;
    sp_store_u64be(pad + blocks * BLOCK - 8, total * 8);
    return blocks;
}

static void store(uint8_t *out, size_t size, const WORD state[8])
{
    for (size_t i = 0; i < size / sizeof(WORD); i++) {
        STORE_WORD(out + sizeof(WORD) * i, state[i]);
    }
}

static void lane_take(run *r, lane *l, WORD state[8])
{
    const size_t item = r->taken++;
    const size_t size = r->sizes != NULL ? r->sizes[item] : r->size;
    const size_t rest = size % BLOCK;
    if (rest > 0) {
        memcpy(l->pad, r->data[item] + (size - rest), rest);
    }
    memcpy(state, r->start, sizeof(WORD[8]));
    l->item = item;
    l->next = r->data[item];
    l->blocks = size / BLOCK;
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
static size_t refill(run *r, lane **lanes, WORD (*states)[8], size_t busy)
{
    size_t i = 0;
    while (i < busy) {
        if (lane_more(lanes[i])) {
            i++;
        } else {
            store(r->out + r->out_size * lanes[i]->item, r->out_size, states[i]);
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

/* Long messages that all begin at the same place of a page would in step want the same few lines of the first cache, and
 * each line twice where blocks are not aligned: a tenth of the speed. */
static int in_each_others_way(lane *const *lanes, size_t busy)
{
    const uintptr_t line = 64, page = 4096;
    size_t alike = 0, blocks = SIZE_MAX;
    for (size_t i = 0; i < busy; i++) {
        alike += (uintptr_t)lanes[i]->next % page / line == (uintptr_t)lanes[0]->next % page / line;
        blocks = lanes[i]->blocks < blocks ? lanes[i]->blocks : blocks;
    }
    return alike > 4 && blocks >= STAGGERED;
}

static void run_mixed(run *r)
{
    lane pool[LANES], *lanes[LANES];
    WORD states[LANES][8];
    const uint8_t *blocks[LANES];
    const size_t wide = PICK(r->count)->lanes;
    size_t busy = 0;
    for (; busy < wide && r->taken < r->count; busy++) {
        lanes[busy] = &pool[busy];
        lane_take(r, lanes[busy], states[busy]);
    }
    /* Those are started a block after one another, and so never meet again. */
    size_t started = in_each_others_way(lanes, busy) ? 1 : LANES;
    for (; (busy = refill(r, lanes, states, busy)) > 0; started++) {
        const size_t width = started < busy ? started : busy;
        size_t step = started < busy ? 1 : SIZE_MAX;
        for (size_t i = 0; i < width; i++) {
            blocks[i] = lanes[i]->next;
            step = lanes[i]->blocks < step ? lanes[i]->blocks : step;
        }
        PICK(width)->compress_lanes(states, blocks, step, width);
        for (size_t i = 0; i < width; i++) {
            lanes[i]->next += step * BLOCK;
            lanes[i]->blocks -= step;
        }
    }
}

#endif
