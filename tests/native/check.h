/* The smallest test harness: EXPECT stops the program and names the line; a program that ends well prints its count. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long check_count;

#define EXPECT(condition)                                                        \
    do {                                                                         \
        __atomic_fetch_add(&check_count, 1, __ATOMIC_RELAXED);    \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);      \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

/* The same numbers in every run. */
static inline uint64_t check_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static inline int check_done(void)
{
    printf("ok, %lu checks\n", check_count);
    return 0;
}

#endif
