/* Counting SHA-256 and timing the bare kernel: see sp_work.h. */
#include "sp_work.h"

#include <string.h>
#include <time.h>

#include "sp_sha256.h"

enum { SHAPES = 3, BLOCKS_MAX = 32, ROUNDS = 64 };

void sp_work_add(sp_replay_work *work, uint64_t count, uint64_t size)
{
    uint64_t blocks = (size + 9 + SP_SHA256_BLOCK - 1) / SP_SHA256_BLOCK;
    size_t shape = blocks < SHAPES ? (size_t)blocks - 1 : SHAPES - 1;
    work->messages[shape] += count;
    work->blocks[shape] += count * blocks;
}

uint64_t sp_work_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ns for one block when every lane works on messages of `blocks` blocks. */
static double block_ns(size_t blocks, uint64_t sample_ns)
{
    const sp_sha256_impl *impl = sp_sha256_pick(SP_SHA256_LANES_MAX);
    uint8_t data[SP_SHA256_LANES_MAX][BLOCKS_MAX * SP_SHA256_BLOCK];
    uint32_t states[SP_SHA256_LANES_MAX][8];
    const uint8_t *lanes[SP_SHA256_LANES_MAX];
    memset(data, 0x5a, sizeof data);
    for (size_t i = 0; i < SP_SHA256_LANES_MAX; i++) {
        memcpy(states[i], sp_sha256_start, sizeof states[i]);
        lanes[i] = data[i];
    }
    uint64_t begun = sp_work_cpu_ns(), spent = 0, done = 0;
    while (spent < sample_ns || done == 0) {
        for (int round = 0; round < ROUNDS; round++) {
            impl->compress_lanes(states, lanes, blocks, SP_SHA256_LANES_MAX);
        }
        done += (uint64_t)ROUNDS * SP_SHA256_LANES_MAX * blocks;
        spent = sp_work_cpu_ns() - begun;
    }
    return (double)spent / (double)done;
}

int sp_replay_rate(const sp_replay_work *work, uint64_t sample_ns, uint64_t *ns)
{
    SP_ENSURE(work != NULL && ns != NULL, SP_E_ARGUMENT);
    double total = 0;
    for (size_t shape = 0; shape < SHAPES; shape++) {
        if (work->messages[shape] > 0) {
            uint64_t blocks = work->blocks[shape] / work->messages[shape];
            size_t length = blocks < BLOCKS_MAX ? (size_t)blocks : BLOCKS_MAX;
            total += block_ns(length, sample_ns) * (double)work->blocks[shape];
        }
    }
    *ns = (uint64_t)total;
    return SP_OK;
}
