/* What is left in a processor's caches of memory that was just in use, after its thread has slept.
 *
 * A baseline of bench_latency.py. One line of the memory leads to the next, in an order that no prefetcher guesses. */
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { LINE = 64, WARMING = 3 };

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* A single cycle through all lines (Sattolo's algorithm), each holding the number of the next. */
static void link_lines(uint8_t *memory, uint32_t *order, uint32_t lines)
{
    for (uint32_t i = 0; i < lines; i++) {
        order[i] = i;
    }
    for (uint32_t i = lines - 1; i > 0; i--) {
        uint32_t other = (uint32_t)rand() % i, kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    for (uint32_t i = 0; i < lines; i++) {
        *(uint32_t *)(memory + (size_t)LINE * order[i]) = order[(i + 1) % lines];
    }
}

static uint32_t follow(const uint8_t *memory, uint32_t lines)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < lines; i++) {
        at = *(const volatile uint32_t *)(memory + (size_t)LINE * at);
    }
    return at;
}

/* Nanoseconds a line, read again `sleep_ns` after it was read last; negative without memory. */
__attribute__((visibility("default")))
double read_again_ns(uint32_t lines, uint64_t sleep_ns)
{
    uint8_t *memory = aligned_alloc(LINE, (size_t)LINE * lines);
    uint32_t *order = calloc(lines, sizeof *order);
    double took = -1;
    if (memory != NULL && order != NULL && lines > 1) {
        link_lines(memory, order, lines);
        for (int i = 0; i < WARMING; i++) {
            follow(memory, lines);
        }
        struct timespec time = {.tv_sec = (time_t)(sleep_ns / 1000000000u), .tv_nsec = (long)(sleep_ns % 1000000000u)};
        if (sleep_ns > 0) {
            nanosleep(&time, NULL);
        }
        uint64_t began = now_ns();
        follow(memory, lines);
        took = (double)(now_ns() - began) / lines;
    }
    free(memory);
    free(order);
    return took;
}
