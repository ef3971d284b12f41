/* Placeholder: answers until the real file stands here. */
#include "sp.h"

int sp_journal_open(const sp_journal_options *options, sp_journal **out, sp_journal_state *state)
{ (void)options; (void)out; (void)state; return SP_E_SYSTEM; }
int sp_journal_repair(sp_journal *journal, const char *copy_name)
{ (void)journal; (void)copy_name; return SP_E_SYSTEM; }
int sp_journal_start(sp_journal *journal, sp_tree *tree, int event_fd)
{ (void)journal; (void)tree; (void)event_fd; return SP_E_SYSTEM; }
void sp_journal_free(sp_journal *journal)
{ (void)journal; }
int sp_batch_new(uint64_t bytes_max, sp_batch **out)
{ (void)bytes_max; (void)out; return SP_E_SYSTEM; }
void sp_batch_free(sp_batch *batch)
{ (void)batch; }
void sp_batch_reset(sp_batch *batch)
{ (void)batch; }
uint64_t sp_batch_bytes(const sp_batch *batch)
{ (void)batch; return 0; }
uint32_t sp_batch_frames(const sp_batch *batch)
{ (void)batch; return 0; }
uint64_t sp_batch_leaves(const sp_batch *batch)
{ (void)batch; return 0; }
uint64_t sp_batch_offset(const sp_batch *batch, uint32_t frame)
{ (void)batch; (void)frame; return 0; }
int sp_batch_event(sp_batch *batch, uint8_t type, uint16_t version, const uint8_t *head, uint32_t head_size, const uint8_t scope[32])
{ (void)batch; (void)type; (void)version; (void)head; (void)head_size; (void)scope; return SP_E_SYSTEM; }
int sp_batch_request(sp_batch *batch, uint16_t version, const uint8_t *head, uint32_t head_size, const sp_leaf_spec *spec, const uint8_t salt_seed[32], const uint8_t *names, uint32_t names_size, const uint8_t *digests, uint64_t count)
{ (void)batch; (void)version; (void)head; (void)head_size; (void)spec; (void)salt_seed; (void)names; (void)names_size; (void)digests; (void)count; return SP_E_SYSTEM; }
int sp_journal_submit(sp_journal *journal, sp_batch *batch, uint64_t time_ns, uint64_t first_seq, uint64_t first_leaf)
{ (void)journal; (void)batch; (void)time_ns; (void)first_seq; (void)first_leaf; return SP_E_SYSTEM; }
int sp_journal_take(sp_journal *journal, sp_commit_result *out)
{ (void)journal; (void)out; return SP_E_SYSTEM; }
int sp_journal_seal(sp_journal *journal)
{ (void)journal; return SP_E_SYSTEM; }
int sp_segment_open(const sp_disk *disk, const char *path, const uint8_t *log_id, sp_segment **out, sp_segment_header *header)
{ (void)disk; (void)path; (void)log_id; (void)out; (void)header; return SP_E_SYSTEM; }
void sp_segment_free(sp_segment *segment)
{ (void)segment; }
int sp_segment_frame(const sp_segment *segment, uint64_t offset, sp_frame *out)
{ (void)segment; (void)offset; (void)out; return SP_E_SYSTEM; }
int sp_segment_find(const sp_segment *segment, uint64_t offset, uint64_t end, uint32_t type_mask, const uint8_t *needle, uint32_t needle_size, sp_frame *out)
{ (void)segment; (void)offset; (void)end; (void)type_mask; (void)needle; (void)needle_size; (void)out; return SP_E_SYSTEM; }
int sp_chain(const uint8_t chain[32], uint64_t tree_size, const uint8_t root[32], const uint8_t *headers, size_t count, uint8_t out[32])
{ (void)chain; (void)tree_size; (void)root; (void)headers; (void)count; (void)out; return SP_E_SYSTEM; }
