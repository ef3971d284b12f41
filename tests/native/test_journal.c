/* Commit threads, helper thread, caller and a reader at once, over many small segments: for ThreadSanitizer, which
 * cannot watch Python. The reader follows the committed end and must meet whole frames only. */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "sp_disk.h"
#include "sp_frame.h"
#include "sp_merkle.h"

#define SEGMENT_BYTES (64u << 10)
#define COMMITS 400
#define DIGESTS 40
#define IN_FLIGHT 3

static char dir[256];
static const char *log_name;                /* NULL: nothing is hashed a second time */
static const uint8_t LOG_ID[32] = {1};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    uint64_t segment, offset, commits;
    int stop;
} shared;

static void *reader_main(void *arg)
{
    const sp_tree *tree = arg;
    uint64_t *frames = calloc(1, sizeof *frames);
    for (;;) {
        pthread_mutex_lock(&mutex);
        uint64_t segment = shared.segment, end = shared.offset, commits = shared.commits;
        int stop = shared.stop;
        pthread_mutex_unlock(&mutex);
        if (stop) {
            return frames;
        }
        if (commits == 0) {
            continue;
        }
        char path[512];
        snprintf(path, sizeof path, "%s/journal/%020" PRIu64 ".seg", dir, segment);
        sp_segment *opened;
        sp_segment_header header;
        EXPECT(sp_segment_open(sp_disk_linux(), path, LOG_ID, &opened, &header) == SP_OK);
        uint64_t at = SP_FRAME_ALIGN * 1024;
        while (at < end) {
            sp_frame frame;
            EXPECT(sp_segment_frame(opened, at, &frame) == SP_OK);
            at = frame.next_offset;
            *frames += 1;
        }
        sp_segment_free(opened);
        uint8_t root[32];
        EXPECT(sp_tree_root(tree, commits * (DIGESTS + 1), root) == SP_OK);
    }
}

static void fill(sp_batch *batch, int n)
{
    uint8_t head[64], digests[32 * DIGESTS], seed[32] = {2}, scope[32] = {3};
    sp_leaf_spec spec = {.kind = 1, .algorithm = 1, .scope = {4}};
    memset(head, n & 255, sizeof head);
    memset(digests, n & 255, sizeof digests);
    EXPECT(sp_batch_event(batch, SP_FRAME_OUTCOME, 1, head, sizeof head, scope) == SP_OK);
    EXPECT(sp_batch_request(batch, 1, head, sizeof head, &spec, seed, NULL, 0, digests, DIGESTS) == SP_OK);
}

static int write_natural(sp_writer *out, uint64_t value)
{
    const uint8_t bytes[] = {(uint8_t)(value >> 8), (uint8_t)value};
    if (value < 0x80) {
        return sp_writer_u8(out, (uint8_t)value);
    }
    return sp_writer_u8(out, value < 0x100 ? 0xcc : 0xcd) |
           (value < 0x100 ? sp_writer_u8(out, (uint8_t)value) : sp_writer_bytes(out, bytes, sizeof bytes));
}

/* As many leaves, of records that the second hash can read: GOVERNANCE, an array of nonce, event, leaf, 1, empty root. */
static void fill_readable(sp_batch *batch, uint64_t leaf)
{
    uint8_t scope[32], nothing[32];
    EXPECT(leaf + DIGESTS <= UINT16_MAX && sp_scope(log_name, "", scope) == SP_OK);
    sp_merkle_empty(nothing);
    for (uint64_t end = leaf + DIGESTS + 1; leaf < end; leaf++) {
        uint8_t head[256];
        sp_writer out = sp_writer_of(head, sizeof head);
        int status = sp_writer_bytes(&out, "\x95\xc4\x10", 3) | sp_writer_fill(&out, 7, 16);
        status |= sp_writer_bytes(&out, "\x94\xa6" "policy" "\xc4\x03" "abc" "\xc4\x20", 15) | sp_writer_fill(&out, 8, 32);
        status |= sp_writer_u8(&out, 0xa0) | write_natural(&out, leaf);
        status |= sp_writer_bytes(&out, "\x01" "\xc4\x20", 3) | sp_writer_bytes(&out, nothing, sizeof nothing);
        EXPECT(status == SP_OK && sp_batch_event(batch, SP_FRAME_GOVERNANCE, 1, head, (uint32_t)out.at, scope) == SP_OK);
    }
}

static void take(sp_journal *journal, sp_batch *const *batch, int event_fd, int n)
{
    sp_commit_result result;
    uint64_t count;
    while (sp_journal_take(journal, &result) == SP_E_EMPTY) {
        EXPECT(read(event_fd, &count, sizeof count) == sizeof count);
    }
    EXPECT(result.status == SP_OK && result.batch == batch[n % IN_FLIGHT]);
    EXPECT(result.first_leaf == (uint64_t)n * (DIGESTS + 1) && result.leaves == DIGESTS + 1);
    pthread_mutex_lock(&mutex);
    shared.segment = result.segment;
    shared.offset = result.offset + sp_batch_bytes(result.batch) + SP_COMMIT_BYTES;
    shared.commits++;
    pthread_mutex_unlock(&mutex);
}

static void write_log(sp_journal *journal, sp_batch *const *batch, int event_fd, uint64_t time_ns)
{
    for (int n = 0; n < COMMITS; n++) {
        uint64_t seq, leaf, room;
        if (n >= IN_FLIGHT) {
            take(journal, batch, event_fd, n - IN_FLIGHT);
        }
        sp_batch_reset(batch[n % IN_FLIGHT]);
        EXPECT(sp_journal_position(journal, &seq, &leaf, &room) == SP_OK);
        if (log_name == NULL) {
            fill(batch[n % IN_FLIGHT], n);
        } else {
            fill_readable(batch[n % IN_FLIGHT], leaf);
        }
        EXPECT(sp_batch_bytes(batch[n % IN_FLIGHT]) <= room && leaf == (uint64_t)n * (DIGESTS + 1));
        EXPECT(sp_journal_submit(journal, batch[n % IN_FLIGHT], time_ns + (uint64_t)n, seq, leaf) == SP_OK);
        EXPECT(n % IN_FLIGHT < IN_FLIGHT - 1 || n > IN_FLIGHT ||
               sp_journal_position(journal, &seq, &leaf, &room) == SP_E_BUSY);
    }
    for (int n = COMMITS - IN_FLIGHT; n < COMMITS; n++) {
        take(journal, batch, event_fd, n);
    }
}

static void open_log(sp_journal **journal, sp_journal_state *state)
{
    sp_journal_options options = {.dir = dir, .log_name = log_name, .segment_bytes = SEGMENT_BYTES,
                                  .commits_in_flight_max = IN_FLIGHT, .disk = sp_disk_linux()};
    memcpy(options.log_id, LOG_ID, sizeof LOG_ID);
    EXPECT(sp_journal_open(&options, journal, state) == SP_OK);
}

static void write_and_read(void)
{
    sp_journal *journal, *second;
    sp_journal_state state;
    sp_tree *tree;
    sp_batch *batch[IN_FLIGHT];
    pthread_t reader;
    void *frames;
    snprintf(dir, sizeof dir, "/tmp/sealpress-journal-XXXXXX");
    EXPECT(mkdtemp(dir) != NULL);
    int event_fd = eventfd(0, EFD_CLOEXEC);
    EXPECT(event_fd >= 0);

    open_log(&journal, &state);
    EXPECT(state.commits == 0 && state.damage == 0);
    EXPECT(sp_tree_open(sp_disk_linux(), NULL, &tree) == SP_OK);
    EXPECT(sp_journal_start(journal, tree, event_fd) == SP_OK);
    for (int i = 0; i < IN_FLIGHT; i++) {
        EXPECT(sp_batch_new(1 << 14, &batch[i]) == SP_OK);
    }
    EXPECT(pthread_create(&reader, NULL, reader_main, tree) == 0);
    write_log(journal, batch, event_fd, 1700000000000000000u);
    pthread_mutex_lock(&mutex);
    shared.stop = 1;
    pthread_mutex_unlock(&mutex);
    EXPECT(pthread_join(reader, &frames) == 0 && *(uint64_t *)frames > 0);
    free(frames);
    EXPECT(sp_tree_size(tree) == COMMITS * (DIGESTS + 1));
    sp_journal_free(journal);
    for (int i = 0; i < IN_FLIGHT; i++) {
        sp_batch_free(batch[i]);
    }

    open_log(&second, &state);
    EXPECT(state.commits == COMMITS && state.damage == 0 && state.tree_size == sp_tree_size(tree));
    sp_journal_free(second);
    sp_tree_free(tree);
    close(event_fd);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    EXPECT(system(command) == 0);
    memset(&shared, 0, sizeof shared);
}

int main(void)
{
    write_and_read();
    log_name = "log.example/a";
    write_and_read();
    return check_done();
}
