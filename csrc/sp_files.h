/* Digests of many files at once, however many and however large. The functions are declared in sp_api.h.
 *
 * Each thread that works keeps as many files open as its kernel has lanes and hashes a piece of each in one step. Pieces
 * are read, not mapped: a file that somebody truncates meanwhile costs that file an error and not the process a SIGBUS;
 * mapping would save a tenth of the time. A thread that finds no file left to take reads ahead for the others: one large
 * file is read and hashed by two threads.
 *
 * Bounds, for each thread: SP_LANES_MAX files open; twice SP_FILES_ARENA_BYTES of buffers, half of it touched only when
 * somebody reads ahead. */
#ifndef SP_FILES_H
#define SP_FILES_H

#include "sp.h"

#define SP_FILES_ARENA_BYTES (UINT32_C(2) << 20)    /* what a thread reads at once, shared by its lanes */
#define SP_FILES_WORKERS_MAX 256u
#define SP_FILES_PIECE_MAX (UINT32_C(256) << 10)    /* one read */

#endif
