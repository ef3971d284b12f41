/* Spans and cursors: every bound of the core that is not a loop counter is checked here.
 *
 * A span is a view of bytes that somebody else owns. A reader is a span and a position; a writer is room and a
 * position. A function that fails leaves position and out-parameters as they were. Reading past the end is
 * SP_E_BOUNDS, writing past the room SP_E_ROOM. The *_valid functions state the invariant; every function keeps it. */
#ifndef SP_SPAN_H
#define SP_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sp_check.h"

typedef struct sp_span {
    const uint8_t *data;
    size_t size;
} sp_span;

typedef struct sp_reader {
    const uint8_t *data;
    size_t size, at;
} sp_reader;

typedef struct sp_writer {
    uint8_t *data;
    size_t size, at;            /* size is the room */
} sp_writer;

/* a + b and a * b, or SP_E_BOUNDS where they would wrap */
SP_MUST_USE int sp_size_add(size_t a, size_t b, size_t *out);
SP_MUST_USE int sp_size_mul(size_t a, size_t b, size_t *out);

bool sp_span_valid(sp_span span);
SP_MUST_USE int sp_span_sub(sp_span span, size_t at, size_t size, sp_span *out);
bool sp_span_equal(sp_span a, sp_span b);
/* first place of needle at or after `at`; SP_E_END if there is none */
SP_MUST_USE int sp_span_find(sp_span span, size_t at, sp_span needle, size_t *found);
/* one past the last byte that is not zero, at least `from`; a file of zeros is passed over at the speed of memory */
size_t sp_span_written(sp_span span, size_t from);

sp_reader sp_reader_of(const uint8_t *data, size_t size);
bool sp_reader_valid(const sp_reader *reader);
size_t sp_reader_left(const sp_reader *reader);
SP_MUST_USE int sp_reader_take(sp_reader *reader, size_t size, sp_span *out);   /* a view, no copy */
SP_MUST_USE int sp_reader_copy(sp_reader *reader, uint8_t *out, size_t size);
SP_MUST_USE int sp_reader_skip(sp_reader *reader, size_t size);
/* up to and without the first `byte`, which is passed over; SP_E_END (position kept) if there is none */
SP_MUST_USE int sp_reader_until(sp_reader *reader, uint8_t byte, sp_span *out);
/* exactly these bytes next, else SP_E_ENCODING */
SP_MUST_USE int sp_reader_expect(sp_reader *reader, const char *text, size_t size);
SP_MUST_USE int sp_reader_u8(sp_reader *reader, uint8_t *out);
SP_MUST_USE int sp_reader_u16le(sp_reader *reader, uint16_t *out);
SP_MUST_USE int sp_reader_u32le(sp_reader *reader, uint32_t *out);
SP_MUST_USE int sp_reader_u64le(sp_reader *reader, uint64_t *out);
SP_MUST_USE int sp_reader_u16be(sp_reader *reader, uint16_t *out);
SP_MUST_USE int sp_reader_u32be(sp_reader *reader, uint32_t *out);
SP_MUST_USE int sp_reader_u64be(sp_reader *reader, uint64_t *out);

sp_writer sp_writer_of(uint8_t *data, size_t room);
bool sp_writer_valid(const sp_writer *writer);
size_t sp_writer_left(const sp_writer *writer);
/* hands out the next `size` bytes of room, not yet written */
SP_MUST_USE int sp_writer_claim(sp_writer *writer, size_t size, uint8_t **out);
SP_MUST_USE int sp_writer_bytes(sp_writer *writer, const void *data, size_t size);
SP_MUST_USE int sp_writer_text(sp_writer *writer, const char *text);            /* without its final zero */
SP_MUST_USE int sp_writer_fill(sp_writer *writer, uint8_t byte, size_t size);
SP_MUST_USE int sp_writer_u8(sp_writer *writer, uint8_t value);
SP_MUST_USE int sp_writer_u16le(sp_writer *writer, uint16_t value);
SP_MUST_USE int sp_writer_u32le(sp_writer *writer, uint32_t value);
SP_MUST_USE int sp_writer_u64le(sp_writer *writer, uint64_t value);
SP_MUST_USE int sp_writer_u16be(sp_writer *writer, uint16_t value);
SP_MUST_USE int sp_writer_u32be(sp_writer *writer, uint32_t value);
SP_MUST_USE int sp_writer_u64be(sp_writer *writer, uint64_t value);

#endif
