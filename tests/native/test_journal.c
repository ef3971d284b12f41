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

#define SEGMENT_BYTES (64u << 10)
#define COMMITS 400
#define DIGESTS 40
#define IN_FLIGHT 3

static char dir[256];
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
    sp_batch_reset(batch);
    EXPECT(sp_batch_event(batch, SP_FRAME_OUTCOME, 1, head, sizeof head, scope) == SP_OK);
    EXPECT(sp_batch_request(batch, 1, head, sizeof head, &spec, seed, NULL, 0, digests, DIGESTS) == SP_OK);
}

static void take(sp_journal *journal, sp_batch *const *batch, int event_fd, int n)
{
    sp_commit_result result;
    uint64_t count;
    while (sp_journal_take(journal, &result) == SP_E_EMPTY) {
        EXPECT(read(event_fd, &count, sizeof count) == sizeof count && count <= IN_FLIGHT);
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
        fill(batch[n % IN_FLIGHT], n);
        EXPECT(sp_journal_position(journal, &seq, &leaf, &room) == SP_OK && sp_batch_bytes(batch[n % IN_FLIGHT]) <= room);
        EXPECT(leaf == (uint64_t)n * (DIGESTS + 1));
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
    sp_journal_options options = {.dir = dir, .segment_bytes = SEGMENT_BYTES,
                                  .commits_in_flight_max = IN_FLIGHT, .disk = sp_disk_linux()};
    memcpy(options.log_id, LOG_ID, sizeof LOG_ID);
    EXPECT(sp_journal_open(&options, journal, state) == SP_OK);
}

int main(void)
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
    return check_done();
}
