/* What a fuzz target is: one file fuzz_<name>.c with LLVMFuzzerTestOneInput, and whatever it must always find true. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the core. A broken one is a finding like a crash. */
#define MUST(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

/* Reads every byte, so that a span that reaches too far is seen by the sanitizer. */
static inline void touch(const void *data, size_t size)
{
    static uint8_t sink[1 << 16];
    MUST(size <= sizeof sink);
    if (size > 0) {
        memcpy(sink, data, size);
    }
}

#endif
