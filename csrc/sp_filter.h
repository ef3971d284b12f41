/* A filter beside some indexes: it knows nearly always, without a look at the disk, that none of them knows who asks.
 *
 * A split block Bloom filter (as in Parquet's format): a key has a block of 32 bytes, and a bit in each of its 8 words. So
 * a look costs a cache line, and the 8 bits are the same in every filter that is searched for the key. Keys are mixed with a
 * secret: they are the callers' choice, and whoever could fill one block would have every look at it go to the disk. */
#ifndef SP_FILTER_H
#define SP_FILTER_H

#include "sp_check.h"

#define SP_FILTER_BLOCK_WORDS 8u
#define SP_FILTER_KEY_BITS 24u      /* of memory: 0.02 % of wrong guesses; with 16 there are 0.1 %, of some hundred filters */
#define SP_FILTER_AHEAD 8u          /* so many blocks are asked for before they are looked at */

#endif
