/* The smallest test harness: EXPECT stops the program and names the line; a program that ends well prints its count. */
#ifndef CHECK_H
#define CHECK_H

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

static inline int check_done(void)
{
    printf("ok, %lu checks\n", check_count);
    return 0;
}

#endif
