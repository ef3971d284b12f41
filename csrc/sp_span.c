/* Spans and cursors: see sp_span.h. Comparisons subtract from the larger side, so no sum can wrap. */
#define _GNU_SOURCE
#include "sp_span.h"

#include <string.h>

#include "sp_bytes.h"

int sp_size_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    SP_ENSURE(!__builtin_add_overflow(a, b, &sum), SP_E_BOUNDS);
    *out = sum;
    return SP_OK;
}

int sp_size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    SP_ENSURE(!__builtin_mul_overflow(a, b, &product), SP_E_BOUNDS);
    *out = product;
    return SP_OK;
}

bool sp_span_valid(sp_span span)
{
    return span.size == 0 || span.data != NULL;
}

int sp_span_sub(sp_span span, size_t at, size_t size, sp_span *out)
{
    SP_ENSURE(sp_span_valid(span), SP_E_ARGUMENT);
    SP_ENSURE(at <= span.size && size <= span.size - at, SP_E_BOUNDS);
    *out = (sp_span){.data = at == 0 ? span.data : span.data + at, .size = size};
    return SP_OK;
}

bool sp_span_equal(sp_span a, sp_span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int sp_span_find(sp_span span, size_t at, sp_span needle, size_t *found)
{
    SP_ENSURE(sp_span_valid(span) && sp_span_valid(needle) && needle.size > 0, SP_E_ARGUMENT);
    SP_ENSURE(at <= span.size, SP_E_BOUNDS);
    SP_ENSURE(needle.size <= span.size - at, SP_E_END);
    const uint8_t *place = memmem(span.data + at, span.size - at, needle.data, needle.size);
    SP_ENSURE(place != NULL, SP_E_END);
    *found = (size_t)(place - span.data);
    return SP_OK;
}

size_t sp_span_written(sp_span span, size_t from)
{
    static const uint8_t zeros[4096];
    size_t end = span.size;
    for (size_t block = sizeof zeros; block > 0; block /= 64) {
        while (end > from && end - from >= block && memcmp(span.data + end - block, zeros, block) == 0) {
            end -= block;
        }
    }
    return end > from ? end : from;
}

sp_reader sp_reader_of(const uint8_t *data, size_t size)
{
    return (sp_reader){.data = data, .size = size, .at = 0};
}

bool sp_reader_valid(const sp_reader *reader)
{
    return reader != NULL && reader->at <= reader->size && (reader->size == 0 || reader->data != NULL);
}

size_t sp_reader_left(const sp_reader *reader)
{
    return reader->size - reader->at;
}

int sp_reader_take(sp_reader *reader, size_t size, sp_span *out)
{
    SP_ENSURE(sp_reader_valid(reader), SP_E_ARGUMENT);
    SP_ENSURE(size <= sp_reader_left(reader), SP_E_BOUNDS);
    *out = (sp_span){.data = reader->at == 0 ? reader->data : reader->data + reader->at, .size = size};
    reader->at += size;
    return SP_OK;
}

int sp_reader_copy(sp_reader *reader, uint8_t *out, size_t size)
{
    sp_span view;
    SP_TRY(sp_reader_take(reader, size, &view));
    if (size > 0) {
        memcpy(out, view.data, size);
    }
    return SP_OK;
}

int sp_reader_skip(sp_reader *reader, size_t size)
{
    sp_span view;
    return sp_reader_take(reader, size, &view);
}

int sp_reader_until(sp_reader *reader, uint8_t byte, sp_span *out)
{
    SP_ENSURE(sp_reader_valid(reader), SP_E_ARGUMENT);
    SP_ENSURE(sp_reader_left(reader) > 0, SP_E_END);
    const uint8_t *start = reader->data + reader->at;
    const uint8_t *place = memchr(start, byte, sp_reader_left(reader));
    SP_ENSURE(place != NULL, SP_E_END);
    SP_TRY(sp_reader_take(reader, (size_t)(place - start), out));
    return sp_reader_skip(reader, 1);
}

int sp_reader_expect(sp_reader *reader, const char *text, size_t size)
{
    SP_ENSURE(sp_reader_valid(reader), SP_E_ARGUMENT);
    SP_ENSURE(size <= sp_reader_left(reader), SP_E_ENCODING);
    SP_ENSURE(size == 0 || memcmp(reader->data + reader->at, text, size) == 0, SP_E_ENCODING);
    return sp_reader_skip(reader, size);
}

int sp_reader_u8(sp_reader *reader, uint8_t *out)
{
    sp_span view;
    SP_TRY(sp_reader_take(reader, 1, &view));
    *out = view.data[0];
    return SP_OK;
}

sp_writer sp_writer_of(uint8_t *data, size_t room)
{
    return (sp_writer){.data = data, .size = room, .at = 0};
}

bool sp_writer_valid(const sp_writer *writer)
{
    return writer != NULL && writer->at <= writer->size && (writer->size == 0 || writer->data != NULL);
}

size_t sp_writer_left(const sp_writer *writer)
{
    return writer->size - writer->at;
}

int sp_writer_claim(sp_writer *writer, size_t size, uint8_t **out)
{
    SP_ENSURE(sp_writer_valid(writer), SP_E_ARGUMENT);
    SP_ENSURE(size <= sp_writer_left(writer), SP_E_ROOM);
    *out = writer->at == 0 ? writer->data : writer->data + writer->at;
    writer->at += size;
    return SP_OK;
}

int sp_writer_bytes(sp_writer *writer, const void *data, size_t size)
{
    uint8_t *room;
    SP_TRY(sp_writer_claim(writer, size, &room));
    if (size > 0) {
        memcpy(room, data, size);
    }
    return SP_OK;
}

int sp_writer_text(sp_writer *writer, const char *text)
{
    return sp_writer_bytes(writer, text, strlen(text));
}

int sp_writer_fill(sp_writer *writer, uint8_t byte, size_t size)
{
    uint8_t *room;
    SP_TRY(sp_writer_claim(writer, size, &room));
    if (size > 0) {
        memset(room, byte, size);
    }
    return SP_OK;
}

int sp_writer_u8(sp_writer *writer, uint8_t value)
{
    return sp_writer_bytes(writer, &value, 1);
}

#define SP_SPAN_INTEGER(bits, order)                                                   \
    int sp_reader_u##bits##order(sp_reader *reader, uint##bits##_t *out)               \
    {                                                                                  \
        sp_span view;                                                                  \
        SP_TRY(sp_reader_take(reader, bits / 8, &view));                               \
        *out = sp_load_u##bits##order(view.data);                                      \
        return SP_OK;                                                                  \
    }                                                                                  \
    int sp_writer_u##bits##order(sp_writer *writer, uint##bits##_t value)              \
    {                                                                                  \
        uint8_t *room;                                                                 \
        SP_TRY(sp_writer_claim(writer, bits / 8, &room));                              \
        sp_store_u##bits##order(room, value);                                          \
        return SP_OK;                                                                  \
    }

SP_SPAN_INTEGER(16, le)
SP_SPAN_INTEGER(32, le)
SP_SPAN_INTEGER(64, le)
SP_SPAN_INTEGER(16, be)
SP_SPAN_INTEGER(32, be)
SP_SPAN_INTEGER(64, be)
