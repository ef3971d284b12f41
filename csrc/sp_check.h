/* The only control-flow macros of the core: errors are values, and these carry them up.
 *
 *     SP_TRY(sp_reader_u32le(&reader, &size));          a call that can fail
 *     SP_ENSURE(size <= LIMIT, SP_E_BOUNDS);            a condition on what came from outside
 *     SP_CLEANUP(close_file) int fd = -1;               runs on every way out of the block
 *     SP_STATIC_ASSERT(sizeof(struct header) == 4096);  a fact of the format, checked by the compiler
 *
 * A condition that only our own bug can break is sp_bug_if: it stops the process, since a wrong core must not sign. */
#ifndef SP_CHECK_H
#define SP_CHECK_H

#include <assert.h>
#include <stdlib.h>

#include "sp_status.h"

#define SP_TRY(call)                         \
    do {                                     \
        int sp_try_status_ = (call);         \
        if (sp_try_status_ != SP_OK) {       \
            return sp_try_status_;           \
        }                                    \
    } while (0)

#define SP_ENSURE(condition, status)         \
    do {                                     \
        if (!(condition)) {                  \
            return (status);                 \
        }                                    \
    } while (0)

#define SP_CLEANUP(function) __attribute__((cleanup(function)))
#define SP_MUST_USE __attribute__((warn_unused_result))
#define SP_STATIC_ASSERT(condition) _Static_assert(condition, #condition)

static inline void sp_bug_if(int condition)
{
    if (__builtin_expect(condition != 0, 0)) {
        abort();
    }
}

#endif
