/* Do spans and cursors refuse every step past their bounds, and stay where they were when they refuse? */
#include <string.h>

#include "check.h"
#include "sp_span.h"

static void sizes_do_not_wrap(void)
{
    size_t out = 42;
    EXPECT(sp_size_add(SIZE_MAX, 1, &out) == SP_E_BOUNDS && out == 42);
    EXPECT(sp_size_mul(SIZE_MAX / 2 + 1, 2, &out) == SP_E_BOUNDS && out == 42);
    EXPECT(sp_size_add(SIZE_MAX - 1, 1, &out) == SP_OK && out == SIZE_MAX);
    EXPECT(sp_size_mul(SIZE_MAX / 3, 3, &out) == SP_OK);
}

static void spans(void)
{
    const uint8_t bytes[] = {1, 2, 3, 4, 1, 2};
    const sp_span all = {bytes, sizeof bytes}, needle = {bytes, 2};
    sp_span part = {NULL, 9};
    size_t found = 99;
    EXPECT(sp_span_sub(all, 2, 4, &part) == SP_OK && part.data == bytes + 2 && part.size == 4);
    EXPECT(sp_span_sub(all, 2, 5, &part) == SP_E_BOUNDS && part.size == 4);
    EXPECT(sp_span_sub(all, 7, 0, &part) == SP_E_BOUNDS);
    EXPECT(sp_span_sub(all, 1, SIZE_MAX, &part) == SP_E_BOUNDS);
    EXPECT(sp_span_sub((sp_span){NULL, 0}, 0, 0, &part) == SP_OK && part.size == 0);
    EXPECT(sp_span_sub((sp_span){NULL, 1}, 0, 0, &part) == SP_E_ARGUMENT);
    EXPECT(sp_span_find(all, 0, needle, &found) == SP_OK && found == 0);
    EXPECT(sp_span_find(all, 1, needle, &found) == SP_OK && found == 4);
    EXPECT(sp_span_find(all, 5, needle, &found) == SP_E_END && found == 4);
    EXPECT(sp_span_equal(needle, (sp_span){bytes + 4, 2}) && !sp_span_equal(needle, (sp_span){bytes + 3, 2}));
}

static void the_end_of_what_is_written(void)
{
    static uint8_t file[3 * 4096 + 5];
    sp_span all = {.data = file, .size = sizeof file};
    EXPECT(sp_span_written(all, 0) == 0 && sp_span_written(all, 77) == 77);
    for (size_t at = 0; at < sizeof file; at++) {
        file[at] = 1;
        EXPECT(sp_span_written(all, 0) == at + 1);
        EXPECT(sp_span_written(all, at) == at + 1 && sp_span_written(all, at + 1) == at + 1);
        file[at] = 0;
    }
    EXPECT(sp_span_written((sp_span){.data = NULL, .size = 0}, 0) == 0);
}

static void writing_then_reading(void)
{
    uint8_t room[34];
    sp_writer writer = sp_writer_of(room, sizeof room);
    EXPECT(sp_writer_u8(&writer, 0x01) == SP_OK);
    EXPECT(sp_writer_u16le(&writer, 0x0203) == SP_OK && sp_writer_u16be(&writer, 0x0203) == SP_OK);
    EXPECT(sp_writer_u32le(&writer, 0x04050607) == SP_OK && sp_writer_u32be(&writer, 0x04050607) == SP_OK);
    EXPECT(sp_writer_u64le(&writer, UINT64_C(0x08090a0b0c0d0e0f)) == SP_OK);
    EXPECT(sp_writer_u64be(&writer, UINT64_C(0x08090a0b0c0d0e0f)) == SP_OK);
    EXPECT(sp_writer_text(&writer, "a\nb") == SP_OK && sp_writer_fill(&writer, 0xff, 2) == SP_OK);
    EXPECT(sp_writer_left(&writer) == 0 && sp_writer_valid(&writer));
    EXPECT(sp_writer_u8(&writer, 0) == SP_E_ROOM && writer.at == sizeof room);

    sp_reader reader = sp_reader_of(room, sizeof room);
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    sp_span line;
    EXPECT(sp_reader_u8(&reader, &u8) == SP_OK && u8 == 0x01 && room[1] == 0x03);
    EXPECT(sp_reader_u16le(&reader, &u16) == SP_OK && u16 == 0x0203);
    EXPECT(sp_reader_u16be(&reader, &u16) == SP_OK && u16 == 0x0203);
    EXPECT(sp_reader_u32le(&reader, &u32) == SP_OK && u32 == 0x04050607);
    EXPECT(sp_reader_u32be(&reader, &u32) == SP_OK && u32 == 0x04050607);
    EXPECT(sp_reader_u64le(&reader, &u64) == SP_OK && u64 == UINT64_C(0x08090a0b0c0d0e0f));
    EXPECT(sp_reader_u64be(&reader, &u64) == SP_OK && u64 == UINT64_C(0x08090a0b0c0d0e0f));
    EXPECT(sp_reader_until(&reader, '\n', &line) == SP_OK && line.size == 1 && line.data[0] == 'a');
    EXPECT(sp_reader_until(&reader, '\n', &line) == SP_E_END && sp_reader_left(&reader) == 3);
    EXPECT(sp_reader_expect(&reader, "c", 1) == SP_E_ENCODING && sp_reader_left(&reader) == 3);
    EXPECT(sp_reader_expect(&reader, "b\xff\xff\xff", 4) == SP_E_ENCODING);
    EXPECT(sp_reader_expect(&reader, "b", 1) == SP_OK);
    EXPECT(sp_reader_u32le(&reader, &u32) == SP_E_BOUNDS && sp_reader_left(&reader) == 2);
    EXPECT(sp_reader_skip(&reader, 2) == SP_OK && sp_reader_until(&reader, 0, &line) == SP_E_END);
}

static void broken_cursors_are_refused(void)
{
    uint8_t byte = 0;
    sp_reader reader = {.data = &byte, .size = 1, .at = 2};
    sp_writer writer = {.data = NULL, .size = 1, .at = 0};
    EXPECT(!sp_reader_valid(&reader) && sp_reader_u8(&reader, &byte) == SP_E_ARGUMENT);
    EXPECT(!sp_writer_valid(&writer) && sp_writer_u8(&writer, 1) == SP_E_ARGUMENT);
}

int main(void)
{
    sizes_do_not_wrap();
    spans();
    the_end_of_what_is_written();
    writing_then_reading();
    broken_cursors_are_refused();
    return check_done();
}
