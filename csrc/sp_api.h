/* Everything that Python may call, and nothing else: plain declarations, read by
 * the C compiler (through sp.h) and by cffi. No preprocessor line may stand here.
 *
 * Conventions. A function that can fail returns an int: SP_OK (0) or a negative
 * SP_E_* value of sp_status.h; results go to the trailing out-parameters, which
 * are untouched on failure unless it says otherwise. Buffers belong to the
 * caller. "Arena" means items laid end to end. Hashes are 32 bytes. Objects are
 * opaque; *_free(NULL) is allowed. Unless a comment says so, one object must not
 * be used by two threads at a time.
 */

/* ---- status (sp_status) -------------------------------------------------- */
const char *sp_status_name(int status);     /* "SP_E_BOUNDS"; "SP_E_UNKNOWN" for strangers */
const char *sp_status_text(int status);     /* one sentence for people */
int sp_status_count(void);
int sp_status_at(int position);             /* every status there is, for completeness tests */

/* ---- processor (sp_cpu) -------------------------------------------------- */
uint32_t sp_cpu_features(void);             /* bits SP_CPU_* of sp_cpu.h that this machine has */
uint32_t sp_cpu_mask(void);                 /* kernels may use features & mask */
uint32_t sp_cpu_mask_set(uint32_t mask);    /* returns the previous mask; for tests and benchmarks */
const char *sp_cpu_feature_name(uint32_t bit); /* NULL for an unknown bit */

/* ---- digests (sp_digest) ------------------------------------------------- */
/* algorithm: 1 sha256, 2 sha384, 3 sha512 (as in the leaf) */
uint32_t sp_digest_size(uint8_t algorithm); /* 32 | 48 | 64, 0 if unknown */
int sp_digest_many(uint8_t algorithm, size_t count, const uint8_t *const *data, const size_t *sizes, uint8_t *out);
/* Fills data[0..15]. For Python, whose bytes objects turn into pointers as arguments only, and at no cost. */
void sp_digest_point(const uint8_t **data, const uint8_t *p0, const uint8_t *p1, const uint8_t *p2, const uint8_t *p3,
                     const uint8_t *p4, const uint8_t *p5, const uint8_t *p6, const uint8_t *p7, const uint8_t *p8,
                     const uint8_t *p9, const uint8_t *p10, const uint8_t *p11, const uint8_t *p12, const uint8_t *p13,
                     const uint8_t *p14, const uint8_t *p15);
/* Items end to end, which fill the arena: SP_E_BOUNDS if their sizes do not add up to it. sizes NULL: all have the same. */
int sp_digest_arena(uint8_t algorithm, size_t count, const uint8_t *arena, size_t arena_size, const size_t *sizes, uint8_t *out);
typedef struct sp_hasher sp_hasher;
int sp_hasher_new(uint8_t algorithm, sp_hasher **out);
int sp_hasher_update(sp_hasher *hasher, const uint8_t *data, size_t size);
int sp_hasher_final(sp_hasher *hasher, uint8_t *out);   /* afterwards the hasher is as new */
void sp_hasher_free(sp_hasher *hasher);
/* Hashes an open file from its start with large reads. *progress, if given, counts the bytes done (relaxed atomic). */
int sp_digest_fd(uint8_t algorithm, int fd, uint8_t *out, uint64_t *size_out, uint64_t *progress);
/* Many files (sp_files). paths: `count` of them, each ended by a zero byte, end to end; they and the three columns belong to
 * the caller and outlive the object. errors[i]: EINPROGRESS at first, then 0, or the errno of what went wrong: EISDIR or
 * ENOTSUP for what is no regular file, ESTALE if it changed while it was read, ECANCELED. Digest and size (the bytes hashed)
 * are there if it is 0. At most `workers` threads call sp_files_work, once each; it returns when no file is left. */
typedef struct sp_files sp_files;
int sp_files_new(uint8_t algorithm, size_t count, const char *paths, size_t paths_size, size_t workers, uint8_t *digests,
                 uint64_t *sizes, int32_t *errors, sp_files **out);
int sp_files_work(sp_files *files);
/* For one other thread: sleeps until the first `count` files are finished, or for timeout_ms. Those in front of *finished are;
 * *bytes counts what was hashed so far, of all. */
int sp_files_wait(sp_files *files, size_t count, uint32_t timeout_ms, size_t *finished, uint64_t *bytes);
void sp_files_stop(sp_files *files);    /* from any thread: what is not finished ends with ECANCELED or is left as it is */
void sp_files_free(sp_files *files);    /* when no thread is in sp_files_work any more */
uint32_t sp_crc32c(uint32_t crc, const uint8_t *data, size_t size);   /* start with 0; Castagnoli, reflected */

/* ---- tree (sp_tree): RFC 6962, levels stored ----------------------------- */
typedef struct sp_disk sp_disk;             /* the table of functions of sp_disk.h */
const sp_disk *sp_disk_linux(void);
typedef struct sp_tree sp_tree;
/* dir NULL: in memory. Else dir/level-NN are mapped read-only, grown by fallocate in steps of 8 MiB (half of that at each
 * level up); on a file system that does not keep what was allocated the levels stay in memory.
 * A fresh handle has size 0 whatever the files hold; sp_tree_adopt takes what they hold. */
int sp_tree_open(const sp_disk *disk, const char *dir, sp_tree **out);
void sp_tree_free(sp_tree *tree);
/* Trusts the stored levels up to size if their right edge reproduces root; SP_E_MISMATCH leaves the tree empty. */
int sp_tree_adopt(sp_tree *tree, uint64_t size, const uint8_t root[32]);
int sp_tree_reserve(sp_tree *tree, uint64_t count);         /* room for count more leaves, so that append cannot fail */
int sp_tree_append(sp_tree *tree, const uint8_t *leaf_hashes, uint64_t count);
int sp_tree_sync(sp_tree *tree);
/* The readers below are safe on any thread beside one appender, for sizes <= sp_tree_size. */
uint64_t sp_tree_size(const sp_tree *tree);
int sp_tree_root(const sp_tree *tree, uint64_t size, uint8_t out[32]);
int sp_tree_node(const sp_tree *tree, uint32_t level, uint64_t index, uint8_t out[32]);
/* The nodes below leaves [from, to) will not be asked for soon: their memory may be had back. They must be synced. */
int sp_tree_cool(const sp_tree *tree, uint64_t from, uint64_t to);
/* `count` complete neighbours of one level, 32 bytes each: a tile is 256 of level 0, 8, 16, ... */
int sp_tree_nodes(const sp_tree *tree, uint32_t level, uint64_t first, uint64_t count, uint8_t *out);
int sp_tree_frontier(const sp_tree *tree, uint64_t size, uint8_t *out, uint32_t *count);      /* compact range, largest first, <= 64 */
/* The same for the stretch [old_size, new_size), left to right, <= 128: what turns the frontier of old_size into that of
 * new_size, so the `path` of sp_frontier_advance (an RFC 6962 consistency proof cannot: it holds ragged nodes). */
int sp_tree_growth(const sp_tree *tree, uint64_t old_size, uint64_t new_size, uint8_t *out, uint32_t *count);
int sp_tree_inclusion(const sp_tree *tree, uint64_t index, uint64_t size, uint8_t *out, uint32_t *count);      /* <= 64 hashes */
int sp_tree_consistency(const sp_tree *tree, uint64_t old_size, uint64_t new_size, uint8_t *out, uint32_t *count); /* <= 64 */
/* the range proof of DESIGN 6; left and right have room for 64 hashes each */
int sp_tree_range(const sp_tree *tree, uint64_t first, uint64_t count, uint64_t size,
                  uint8_t *left, uint32_t *left_count, uint8_t *right, uint32_t *right_count);

/* ---- verification (sp_merkle) -------------------------------------------- */
int sp_merkle_root(const uint8_t *leaf_hashes, uint64_t count, uint8_t out[32]);   /* MTH over given leaf hashes */
int sp_verify_inclusion(const uint8_t leaf_hash[32], uint64_t index, uint64_t size,
                        const uint8_t *path, uint32_t count, const uint8_t root[32]);
int sp_verify_consistency(uint64_t old_size, uint64_t new_size, const uint8_t old_root[32], const uint8_t new_root[32],
                          const uint8_t *path, uint32_t count);
/* old_frontier (compact range of old_size) in, new root checked, new frontier out (room for 64): what the mark keeps.
 * path is sp_tree_growth(old_size, new_size), which also proves consistency: the new root is folded from the old frontier. */
int sp_frontier_advance(uint64_t old_size, const uint8_t *old_frontier, uint32_t old_count,
                        uint64_t new_size, const uint8_t *path, uint32_t count,
                        const uint8_t new_root[32], uint8_t *new_frontier, uint32_t *new_count);
int sp_frontier_root(const uint8_t *frontier, uint32_t count, uint8_t out[32]);
/* A verified range: the leaf hashes of [first, first + count) that fold with left and right to root, else SP_E_MISMATCH. */
typedef struct sp_range sp_range;
int sp_range_new(const uint8_t *leaf_hashes, uint64_t first, uint64_t count, uint64_t size,
                 const uint8_t *left, uint32_t left_count, const uint8_t *right, uint32_t right_count,
                 const uint8_t root[32], sp_range **out);
int sp_range_path(const sp_range *range, uint64_t position, uint8_t *out, uint32_t *count);   /* item's inclusion path, <= 64 */
void sp_range_free(sp_range *range);

/* ---- leaf and record (sp_leaf): DESIGN 3.1, 3.2 --------------------------- */
typedef struct sp_leaf_spec {
    uint8_t kind;               /* 1 proof signature, 2 event, 3 direct signature */
    uint8_t algorithm;          /* 0 for events */
    uint32_t security_version;
    uint64_t time;              /* Unix seconds */
    uint8_t key_id[32];
    uint8_t scope[32];
    uint8_t record[32];
} sp_leaf_spec;
int sp_key_id(const uint8_t *spki, size_t size, uint8_t out[32]);
int sp_scope(const char *log_name, const char *line, uint8_t out[32]);
int sp_record(uint8_t type, uint8_t flags, uint16_t version, uint64_t seq, uint64_t time_ns,
              const uint8_t *head, uint32_t head_size, uint8_t out[32]);
int sp_salts(const uint8_t salt_seed[32], uint64_t first, uint64_t count, uint8_t *out);      /* 16 bytes each */
/* events: salt_seed and digests NULL, count 1 */
int sp_leaf_hashes(const sp_leaf_spec *spec, const uint8_t *salt_seed, const uint8_t *digests, uint64_t count, uint8_t *out);
int sp_leaf_opening(const sp_leaf_spec *spec, const uint8_t salt[16], uint8_t out[61]);
/* what a verifier does: kind, trusted key, its scope, the opening, its own digest */
int sp_leaf_hash_opened(uint8_t kind, const uint8_t key_id[32], const uint8_t scope[32], const uint8_t opening[61],
                        const uint8_t *digest, uint32_t digest_size, uint8_t out[32]);
/* names block of a REQUEST: per item u64 size | u32 length | name, little endian. SP_E_ENCODING unless exactly count items. */
int sp_items_root(const uint8_t salt_seed[32], const uint8_t *names, size_t names_size, uint64_t count, uint8_t out[32]);

/* ---- proof text (sp_proof): c2sp.org/tlog-proof@v1, signed notes ----------- */
typedef struct sp_note_line { uint32_t name_at, name_size, signature_at, signature_size; uint8_t key_id[4]; } sp_note_line;
/* offsets into the given text; signature_at/size: the base64 text (it holds key id and signature), checked canonical */
typedef struct sp_note {
    uint32_t text_size;         /* the signed bytes, final newline included */
    uint32_t origin_at, origin_size;
    uint64_t size;
    uint8_t root[32];
    uint32_t lines;
    sp_note_line line[16];
} sp_note;
typedef struct sp_proof {
    uint8_t opening[61];
    uint64_t index;
    uint32_t hashes;
    uint8_t hash[2016];         /* 63 hashes */
    uint32_t checkpoint_at, checkpoint_size;
    sp_note note;               /* offsets relative to checkpoint_at */
} sp_proof;
int sp_note_parse(const uint8_t *text, size_t size, sp_note *out);        /* exactly origin, size, root; 1 to 16 lines */
int sp_proof_parse(const uint8_t *text, size_t size, sp_proof *out);      /* SP_E_ENCODING unless it re-encodes identically */
int sp_proof_write(const uint8_t opening[61], uint64_t index, const uint8_t *hashes, uint32_t count,
                   const uint8_t *checkpoint, size_t checkpoint_size, uint8_t *out, size_t capacity, size_t *size_out);
/* All proofs of a range: opening is the 45 bytes without salt. ends[i] is the end of text i in out. SP_E_ROOM: *needed says how much. */
int sp_proof_write_range(const sp_range *range, const uint8_t opening[45], const uint8_t salt_seed[32],
                         const uint8_t *checkpoint, size_t checkpoint_size,
                         uint8_t *out, size_t capacity, uint64_t *ends, size_t *needed);

/* ---- answer (sp_answer): a sealpress.v1.SignResponse as it goes over the wire ----- */
/* Of leaf `index`, the only one of its request, under the signed checkpoint of a tree of `size` leaves: one that
 * sp_note_parse took; it is not looked at here, for many answers share it. SP_E_ROOM beyond capacity. Safe on any thread
 * beside one appender. */
int sp_answer_write(const sp_tree *tree, uint64_t size, const uint8_t *checkpoint, size_t checkpoint_size,
                    const uint8_t *request_id, size_t request_id_size, const uint8_t event_id[16], uint64_t index,
                    uint8_t algorithm, uint32_t security_version, uint64_t time, const uint8_t record[32],
                    const uint8_t salt_seed[32], uint8_t *out, size_t capacity, size_t *size_out);

/* ---- journal (sp_journal): DESIGN 3.1 -------------------------------------- */
typedef struct sp_journal sp_journal;
typedef struct sp_journal_options {
    const char *dir;            /* <data>/<log>; journal/, broken/, lock are made below it */
    const char *log_name;       /* every batch is hashed a second time, from its stored bytes; NULL: it is not */
    uint8_t log_id[32];         /* SHA-256(origin) */
    uint8_t salt_key[32];       /* segment salt = SHA-256(salt_key | u64 number)[:16] */
    uint64_t segment_bytes;     /* 64 KiB .. 1 GiB, multiple of 4 KiB */
    uint8_t write_mode;         /* 0: only where the file system keeps what is allocated (SP_DISK_KEEPS_ROOM); 1: anywhere */
    uint8_t scan_recent;        /* 1: of all sealed segments but the last look at the headers only */
    uint8_t keep_reserve;       /* 1: an empty segment is set aside for batches with sp_batch_use_reserve; without it none else is written */
    uint8_t commits_in_flight_max;      /* 1 to 4: batches that may be submitted and not taken; each has a thread */
    const sp_disk *disk;
} sp_journal_options;
typedef struct sp_journal_state {
    uint64_t segments;          /* with a valid header */
    uint64_t active;            /* number of the last of them */
    uint64_t start_size;        /* of the active segment: tree size, root at its start */
    uint8_t start_root[32];
    uint64_t commits;           /* valid COMMITs in the segments that were scanned (0: empty log) */
    uint64_t next_seq;          /* after the last valid COMMIT */
    uint64_t tree_size;
    uint8_t root[32];
    uint8_t chain[32];
    uint64_t last_time_ns;
    uint64_t end_offset;        /* in the active segment: one past the last COMMIT (or SEAL) */
    uint8_t damage;             /* 0 none, 1 torn tail, 2 interior (a valid COMMIT follows), 3 sealed segment or header damaged */
    uint64_t damage_segment, damage_from, damage_to;
    uint8_t sealed;             /* the active segment ends in a SEAL: the next batch opens a new one */
    uint8_t volatile_files;     /* 1: the file system is memory only; nothing outlives the machine */
    uint32_t version;           /* the highest format version met; also filled in when open answers SP_E_VERSION */
} sp_journal_state;
typedef struct sp_segment_header {
    uint64_t number, first_seq, tree_size, created_ns, segment_bytes;
    uint32_t version;
    uint8_t log_id[32], root[32], chain[32], salt[16];
} sp_segment_header;
typedef struct sp_frame {
    uint64_t seq, time_ns, offset, next_offset;
    uint32_t batch, payload_size;
    uint8_t type, flags;
    uint16_t version;
    const uint8_t *payload;     /* into the mapping, valid while the segment is held */
    const uint8_t *header;      /* the 32 bytes of the frame header */
} sp_frame;
/* The parts of a payload. For all but REQUEST the head is the whole payload and the rest is empty. */
typedef struct sp_columns {
    const uint8_t *head, *salt_seed /* 32 bytes */, *names, *digests;
    uint32_t head_size, names_size, digests_size;
} sp_columns;
int sp_frame_columns(const sp_frame *frame, sp_columns *out);       /* SP_E_CORRUPT if the lengths do not add up */
/* Takes the lock (SP_E_LOCKED), scans, changes nothing on disk but missing directories and the lock file. */
int sp_journal_open(const sp_journal_options *options, sp_journal **out, sp_journal_state *state);
/* Damage 1 only: the tail is copied to broken/copy_name, zeroed, synced; then everything is scanned again. */
int sp_journal_repair(sp_journal *journal, const char *copy_name, sp_journal_state *state);
/* Re-writes and syncs the accepted tail, syncs what was made of the tree, starts the thread that keeps a spare segment, and
 * the commit threads. tree must stand at state.tree_size with state.root, else SP_E_MISMATCH; damage left is SP_E_CORRUPT.
 * SP_E_FULL: the active segment has holes, and the disk no room for them. event_fd (-1: none) is written once per finished
 * commit. The tree belongs to the commit threads from here on (readers stay safe). */
int sp_journal_start(sp_journal *journal, sp_tree *tree, int event_fd);
void sp_journal_free(sp_journal *journal);   /* stops the threads after the batches in hand; unlocks */
typedef struct sp_batch sp_batch;
int sp_batch_new(uint64_t bytes_max, sp_batch **out);
void sp_batch_free(sp_batch *batch);
void sp_batch_reset(sp_batch *batch);
void sp_batch_use_reserve(sp_batch *batch);  /* it may take the reserved segment and tree room; until reset */
uint64_t sp_batch_bytes(const sp_batch *batch);
uint32_t sp_batch_frames(const sp_batch *batch);
uint64_t sp_batch_leaves(const sp_batch *batch);
uint64_t sp_batch_offset(const sp_batch *batch, uint32_t frame);   /* of a frame, relative to the batch's first */
/* Of each frame its offset and, once the batch was committed, the 32 bytes that its leaves hold. */
void sp_batch_places(const sp_batch *batch, uint64_t *offsets, uint8_t *records);
/* SP_E_ROOM: the batch is full, cut it first. spec.time and spec.record are filled in by the commit thread. */
int sp_batch_event(sp_batch *batch, uint8_t type, uint16_t version, const uint8_t *head, uint32_t head_size, const uint8_t scope[32]);
int sp_batch_request(sp_batch *batch, uint16_t version, const uint8_t *head, uint32_t head_size, const sp_leaf_spec *spec,
                     const uint8_t salt_seed[32], const uint8_t *names, uint32_t names_size,
                     const uint8_t *digests, uint64_t count);
typedef struct sp_commit_result {
    sp_batch *batch;            /* the caller's again; NULL for sp_journal_seal */
    uint8_t sealed;             /* this commit ended its segment */
    uint8_t differs;            /* with SP_E_FAILED: what is stored is not what was hashed */
    int status;                 /* SP_OK | SP_E_FULL (nothing written, try later) | SP_E_FAILED (latched: stop) */
    int system_errno;
    /* frames counts COMMIT and SEAL too: the next batch starts at first_seq + frames */
    uint64_t first_seq, frames, first_leaf, leaves, tree_size;
    uint8_t root[32];
    uint64_t segment, offset;   /* where its first frame stands */
    uint64_t time_ns, write_ns, hash_ns, check_ns, sync_ns;     /* check: the second hash, and checksums after the sync */
} sp_commit_result;
/* Where the next batch will stand, if all before it find room, and how large it may be (sp_batch_bytes), in a segment
 * after this one, too. SP_E_BUSY while as many are in flight as may be. */
int sp_journal_position(const sp_journal *journal, uint64_t *next_seq, uint64_t *next_leaf, uint64_t *batch_bytes_max);
/* Results come in order of submission. A batch is in flight until it is taken: SP_E_BUSY above commits_in_flight_max. first_seq
 * and first_leaf are what the caller wrote into its heads: SP_E_MISMATCH. A time before the last one is SP_E_ARGUMENT, a batch
 * above the limit SP_E_ROOM. A batch behind one whose result is SP_E_FULL has the same result, until all are taken. */
int sp_journal_submit(sp_journal *journal, sp_batch *batch, uint64_t time_ns, uint64_t first_seq, uint64_t first_leaf);
int sp_journal_take(sp_journal *journal, sp_commit_result *out);   /* SP_E_EMPTY: none finished; gives the batch back */
int sp_journal_seal(sp_journal *journal, uint64_t time_ns);     /* a commit that holds nothing but a SEAL; taken like a batch */
/* Reading: any thread, also while the journal is written; only what is committed may be read behind `end`. */
typedef struct sp_segment sp_segment;
int sp_segment_open(const sp_disk *disk, const char *path, const uint8_t *log_id /* 32 or NULL */, sp_segment **out, sp_segment_header *header);
void sp_segment_free(sp_segment *segment);
/* offset 0: the first frame. SP_OK, SP_E_END (zeros or end), SP_E_CORRUPT. Checks the CRC. */
int sp_segment_frame(const sp_segment *segment, uint64_t offset, sp_frame *out);
/* First frame at or after offset and below end whose seq is not below `seq`. SP_E_END: none. SP_E_CORRUPT also for zeros in
 * front of `end`, unless SEAL and COMMIT stand before them: a block that was lost reads so. */
int sp_segment_seek(const sp_segment *segment, uint64_t offset, uint64_t end, uint64_t seq, sp_frame *out);
/* First frame at or after offset and below end whose type is in type_mask (bit = type) and whose payload holds needle. SP_E_END,
 * SP_E_CORRUPT: as above. */
int sp_segment_find(const sp_segment *segment, uint64_t offset, uint64_t end, uint32_t type_mask,
                    const uint8_t *needle, uint32_t needle_size, sp_frame *out);
/* chain' = SHA-256(chain | u64 size | root | headers) */
int sp_chain(const uint8_t chain[32], uint64_t tree_size, const uint8_t root[32], const uint8_t *headers, size_t count, uint8_t out[32]);

/* ---- replay (sp_replay): what stored frames say, computed again from their bytes alone -- */
/* The same pass judges a whole log (`log verify`), rebuilds the tree at a start, and hashes every batch a second time before
 * its COMMIT is written. It trusts nothing that it reads, and takes nothing from the code that wrote it but SHA-256. */
typedef struct sp_replay sp_replay;
typedef struct sp_replay_work {         /* SHA-256 that had to be computed, by shape: messages of 1, of 2, of more blocks */
    uint64_t messages[3], blocks[3];
} sp_replay_work;
typedef struct sp_replay_state {        /* after the last COMMIT that was judged good */
    uint64_t segment, next_seq, tree_size, last_time_ns, frames, commits;
    uint64_t records[8];                /* by frame type */
    uint8_t root[32], chain[32];
    uint8_t sealed;                     /* the segment has its SEAL */
    uint64_t cpu_ns;                    /* processor time of all runs */
    sp_replay_work work;
} sp_replay_state;
typedef struct sp_replay_outcome {      /* an OUTCOME: its signatures are for others to verify */
    uint64_t offset, time_min, time_max;        /* Unix seconds of the leaves that it names; 0: of none that is still known */
} sp_replay_outcome;
typedef struct sp_replay_step {
    uint8_t what;                       /* 0 there is more, 1 sealed, 2 nothing more, 3 frames without COMMIT, 4 wrong */
    uint64_t offset;                    /* behind the last COMMIT that was judged good */
    uint64_t bad_offset, bad_seq;       /* what 3: where no frame can be read; 4: the first frame that is wrong */
    const char *reason, *message;       /* 4: ORDER, RECORD, HEAD, ROOT or CHAIN, and a sentence */
    /* what this run judged good, until the next run */
    uint64_t leaves;
    const uint8_t *leaf_hashes;
    uint32_t commits, outcomes;
    const uint64_t *sizes;              /* tree size and root of each COMMIT */
    const uint8_t *roots;
    const sp_replay_outcome *outcome;
} sp_replay_step;
/* Whether these are the bytes of a head (csrc/sp_head.h): SP_OK, SP_E_VERSION, SP_E_ENCODING. */
int sp_head_check(uint8_t type, uint16_t version, const uint8_t *head, size_t size);
/* Stands before the first frame of a log of that name. */
int sp_replay_new(const char *log_name, sp_replay **out);
void sp_replay_free(sp_replay *replay);
/* From now on every node is compared with what tree_dir/level-NN holds. */
int sp_replay_compare(sp_replay *replay, const sp_disk *disk, const char *tree_dir);
/* SP_E_MISMATCH with the first node that differs; SP_OK: none does. */
int sp_replay_compared(const sp_replay *replay, uint32_t *level, uint64_t *index);
/* Starts in the middle: the state that this header tells, whose root the frontier reproduces (else SP_E_MISMATCH). */
int sp_replay_begin(sp_replay *replay, const sp_segment_header *header, const uint8_t *frontier, uint32_t count);
/* Goes on to this segment; SP_E_MISMATCH unless its header follows from the state. */
int sp_replay_enter(sp_replay *replay, const sp_segment_header *header);
/* Judges whole batches from `offset` (0: the first) up to `end`: a few MiB, and what `out` tells. */
int sp_replay_run(sp_replay *replay, const sp_segment *segment, uint64_t offset, uint64_t end, sp_replay_step *out);
void sp_replay_tell(const sp_replay *replay, sp_replay_state *out);
/* Processor time in ns that the kernel alone takes for that work, all lanes busy, nothing but compressions: it is measured
 * anew, for about sample_ns per shape, and scaled. */
int sp_replay_rate(const sp_replay_work *work, uint64_t sample_ns, uint64_t *ns);
uint64_t sp_work_cpu_ns(void);          /* processor time of this thread */

/* ---- index (sp_index): where in a segment a value, an id or an outcome stands; derived ---- */
typedef struct sp_index sp_index;
/* The key of a value: digests, event ids and hashes of signatures by their first 8 bytes, little endian (kind 0); the
 * first 8 bytes of SHA-256(identity | 0 | request id), which lead to REQUESTs (1); the seq of a REQUEST, to itself (2) and
 * to its OUTCOMEs (3); value 0: to REQUESTs without an OUTCOME in their segment (4), and to the last records of each
 * type and the OUTCOME of the largest signed head (5). Values of a kind may share a key: look at what you find. */
uint64_t sp_index_key(uint8_t kind, uint64_t value);
/* Of the frames below `end`; in memory. SP_E_VERSION: a record of a later version. SP_E_CORRUPT, SP_E_ENCODING: damage. */
int sp_index_build(const sp_segment *segment, uint64_t end, sp_index **out);
int sp_index_save(const sp_index *index, const sp_disk *disk, const char *dir);     /* to dir/index/<number>.idx, whole or not */
/* The saved one of this segment, mapped. SP_E_MISMATCH, SP_E_VERSION, SP_E_CORRUPT: build it again. */
int sp_index_open(const sp_disk *disk, const char *dir, const sp_segment *segment, sp_index **out);
/* Offsets of frames with this key, in no order, without the first `skip` of them, at most `room`. SP_E_CORRUPT: build it
 * again. Any thread. */
int sp_index_find(const sp_index *index, uint64_t key, uint64_t skip, uint64_t *offsets, uint32_t room, uint32_t *count);
/* Looks at every page with entries of other kinds than 0: later searches for them neither wait for the disk nor fail. */
int sp_index_check(const sp_index *index);
uint64_t sp_index_entries(const sp_index *index);
void sp_index_free(sp_index *index);

/* ---- filter (sp_filter): whether some indexes may know who asked with which id; in memory, 3 bytes a REQUEST ---- */
typedef struct sp_filter {
    uint32_t *word;             /* 8 a block */
    uint64_t blocks;            /* 0: nobody asked */
} sp_filter;
/* Of all REQUESTs of `count` indexes. `secret`, the same for all that are searched together: nobody can choose ids that meet.
 * SP_E_CORRUPT: build the indexes again. */
int sp_filter_make(const sp_index *const *indexes, uint32_t count, uint64_t secret, sp_filter *out);
void sp_filter_free(sp_filter *filter);
/* The position, not below `from`, of the first of `count` filters that may know `who` (identity, a zero byte, request id);
 * SP_E_END: no index does. About one in 5,000 that does not know him says that it may. */
int sp_filter_first(const sp_filter *filters, uint32_t from, uint32_t count, uint64_t secret, const uint8_t *who,
                    size_t who_size, uint32_t *position);

/* ---- memory (sp_memory) -------------------------------------------------- */
/* At most so many heaps, 1 to 64, which all threads share: each keeps what its threads once needed. For a process that has
 * no threads yet; only a wish where another allocator stands in the place of glibc's. */
int sp_memory_arenas(uint32_t count);

/* ---- known requests (sp_known): who asked with which id, and what became of it; in memory, 104 bytes each --- */
typedef struct sp_known sp_known;
typedef struct sp_known_request {
    uint64_t seq, first_leaf, time_ns;
    uint32_t segment, offset;   /* where its REQUEST stands */
    uint32_t outcome_segment, outcome_offset;   /* where its newest OUTCOME does; offset 0: it has none */
    uint32_t count, done;       /* leaves; those whose signature is recorded (direct) */
    uint8_t same[16], state, direct;    /* state: 1 pending, 2 done, 3 partial, 4 unknown, 5 stopped, 6 lapsed */
} sp_known_request;
/* At most entries_max requests: the oldest makes room. `secret`: what the searches hash with, so that nobody can choose ids
 * that meet. */
int sp_known_new(uint32_t entries_max, const uint8_t secret[16], sp_known **out);
void sp_known_free(sp_known *known);
uint32_t sp_known_count(const sp_known *known);
/* `who`: identity, a zero byte, request id. SP_E_END: not known. */
int sp_known_find(const sp_known *known, const uint8_t *who, size_t who_size, sp_known_request *out);
/* Pending, in place of a former one of the same id. gone: the seqs of that one and of the oldest, if they are known no more. */
int sp_known_add(sp_known *known, const uint8_t *who, size_t who_size, const uint8_t same[16], uint64_t seq,
                 uint64_t first_leaf, uint32_t count, uint64_t time_ns, uint32_t segment, uint32_t offset, uint8_t direct,
                 uint64_t gone[2], uint32_t *gone_count);
/* An OUTCOME at segment and offset says `state` of it, with `done` signatures in all. former: segment and offset of the one
 * before, offset 0 if it is the first. SP_E_END: there is none with this seq, or this one cannot change it: it is over, or
 * was told this one or a later one. */
int sp_known_settle(sp_known *known, uint64_t seq, uint8_t state, uint32_t done, uint32_t segment, uint32_t offset,
                    uint32_t former[2]);
int sp_known_forget(sp_known *known, const uint8_t *who, size_t who_size, uint64_t *gone);      /* SP_E_END: not known */
/* Looks at no more than `looks` requests from the oldest on: forgets those from before since_ns; and if they and their
 * OUTCOMEs stand in segments below `segment` those that are over, and those with an OUTCOME from before settled_ns (gone:
 * their seqs, room for `looks`). Others below it are passed over: each is the newest then. Ends at one that is neither. */
void sp_known_leave(sp_known *known, uint32_t segment, uint64_t since_ns, uint64_t settled_ns, uint32_t looks,
                    uint64_t *gone, uint32_t *gone_count);

/* ---- mark (sp_mark): two slots of a file, written in turn by a thread of its own ---- */
enum { SP_MARK_SLOT = 4096 /* bytes */, SP_MARK_SLOTS = 2 };
typedef struct sp_mark sp_mark;
/* `told` is an eventfd: one is added to it whenever a write has ended, well or not. It must outlive the mark. */
int sp_mark_open(const sp_disk *disk, const char *path, int told, sp_mark **out);
/* The bytes are copied; SP_E_BUSY while a write is under way, SP_E_FAILED after one that failed. */
int sp_mark_begin(sp_mark *mark, uint32_t slot, const uint8_t *bytes /* SP_MARK_SLOT */);
int sp_mark_await(sp_mark *mark);       /* durable when it answers SP_OK; else why the write failed, and errno */
void sp_mark_close(sp_mark *mark);      /* waits for a write under way */

/* ---- PKCS#11 (sp_p11): the module table and the signing loop --------------- */
/* Opens the vendor's module once per process and keeps its table; C_GetFunctionList of this library hands it out with C_Initialize replaced. */
int sp_p11_open(const char *path, const char *reserved /* or NULL */);
const char *sp_p11_last_error(void);         /* dlopen's text; "" if none */
int sp_p11_single_threaded(void);            /* 1 after C_Initialize answered CKR_CANT_LOCK */
int sp_p11_initialize(uint64_t *rv);
int sp_p11_finalize(uint64_t *rv);
/* Whether the session's token is logged in as user; SP_E_TOKEN if the session is none any more. */
int sp_p11_logged_in(uint64_t session, int *logged_in, uint64_t *rv);
int sp_p11_token_flags(uint64_t slot, uint64_t *flags, uint64_t *session_max, uint64_t *rv);
/* PIN: pread from fd (file or memfd; one trailing newline is cut, any other or a carriage return is SP_E_PIN_LINES) into locked memory,
 * one C_Login, wiped. tag = HMAC-SHA256(tag_key, pin): if it stands among the rejected (32 bytes each) there is no C_Login:
 * SP_E_PIN_REJECTED. *rv is the token's answer; SP_E_TOKEN if not CKR_OK. */
int sp_p11_login(uint64_t session, int pin_fd, const uint8_t tag_key[32], const uint8_t *rejected, size_t rejected_count,
                 uint8_t tag_out[32], uint64_t *rv);
int sp_p11_init_token(uint64_t slot, const char *label, int so_pin_fd, uint64_t *rv);
int sp_p11_init_pin(uint64_t session, int so_pin_fd, int pin_fd, uint64_t *rv);   /* logs in as SO, sets the PIN, logs out */
typedef struct sp_p11_job {
    uint64_t key;               /* object handle */
    uint64_t mechanism;         /* CKM_* */
    uint8_t parameter;          /* 0 none; 1 sha256, 2 sha384, 3 sha512: PSS with MGF1 of that hash, salt = hash length */
    const uint8_t *data;
    uint32_t data_size;
    uint8_t *signature;
    uint32_t signature_capacity, signature_size;
    uint32_t session;           /* out: which of the pool's sessions did it; UINT32_MAX: none, the token never saw it */
    uint8_t may_have_signed;    /* out: 0: by its own answer the token did not begin to sign, so that another session may */
    uint64_t rv;                /* out: CKR_OK or the token's error; CKR_FUNCTION_CANCELED untried: its deadline passed first */
    uint64_t elapsed_ns;        /* out */
} sp_p11_job;
/* One thread per session; a session that fails is not used again. Handles are of a generation, 0 at first. */
typedef struct sp_p11_pool sp_p11_pool;
int sp_p11_pool_new(const uint64_t *sessions /* 0: none yet */, uint32_t count, sp_p11_pool **out);
/* Blocks until these jobs are done; their errors are in the jobs. Any number of callers: the threads take jobs of all callers in turn.
 * Keys of another generation than the pool's: all untried. From the deadline on no job is begun. */
int sp_p11_pool_sign(sp_p11_pool *pool, uint64_t generation, uint64_t deadline_ns /* CLOCK_MONOTONIC, 0: none */,
                     sp_p11_job *jobs, size_t count);
/* Signs once on each session that is at rest and was not used for idle_ns, one after the other, however many the token bears at a time:
 * the first of the jobs, as many as there are such sessions. Generation and deadline as above; returns when they are done. */
int sp_p11_pool_refresh(sp_p11_pool *pool, uint64_t generation, uint64_t idle_ns, uint64_t deadline_ns, sp_p11_job *jobs, size_t count);
enum { SP_P11_SEAT_DEAD, SP_P11_SEAT_ALIVE, SP_P11_SEAT_LEAVING /* dead, and still in the token's hands: neither close nor replace it */ };
uint32_t sp_p11_pool_seats(const sp_p11_pool *pool, uint8_t *states /* count of them, or NULL */);   /* how many are alive */
uint32_t sp_p11_pool_limit(const sp_p11_pool *pool);   /* how many work at a time, as the token bears it */
/* SP_E_BUSY unless the seat is dead; SP_E_MISMATCH for a session of another generation */
int sp_p11_pool_replace(sp_p11_pool *pool, uint32_t position, uint64_t session, uint64_t generation);
uint64_t sp_p11_pool_retire(sp_p11_pool *pool);   /* all seats are dead, waiting jobs come back untried; the new generation */
void sp_p11_pool_free(sp_p11_pool *pool);          /* waits for the jobs in hand and for their callers; no new ones may come */
/* Where a worker's threads wait for packets and answer the commonest of them, one operation, without an interpreter:
 *   ask     magic "SPASK\0\0\1" | u64 id | u64 deadline_ns (0: none) | u64 mechanism | u64 mechanism over the message (0: none)
 *           | u32 number of the key | u32 parameter | u32 signature's size | u32 data's size | u32 message's size | u32 0 | data | message
 *   answer  magic "SPSIG\0\0\1" | u64 id | u64 elapsed_ns | u32 signature's size | u32 0 | signature
 * Integers are little endian. The message is signed where the token offers its mechanism, the data elsewhere. Only a signature is
 * answered here. */
typedef struct sp_p11_desk sp_p11_desk;
enum { SP_P11_ASK_BYTES = 64, SP_P11_ANSWER_BYTES = 32, SP_P11_DESK_KEYS = 1024, SP_P11_DESK_SIGNATURE = 8192 };
int sp_p11_desk_new(sp_p11_pool *pool, const uint64_t *offered /* mechanisms */, size_t count, sp_p11_desk **out);
/* Handles by number of the key, of this generation of the pool. */
int sp_p11_desk_keys(sp_p11_desk *desk, uint64_t generation, const uint64_t *handles, size_t count);
/* Answers asks until a packet comes that somebody else has to deal with: no ask, no seat that is free at once, or what the token
 * answered is no signature. `size`: of the packet, 0 at the end of the socket. `job`: what became of the ask, of keys of `generation`;
 * its session is UINT32_MAX if no token saw it. `margin_ns` before an ask's deadline it is not begun. Any number of threads. */
int sp_p11_desk_serve(sp_p11_desk *desk, int fd, uint64_t margin_ns, uint8_t *packet, size_t capacity, size_t *size,
                      sp_p11_job *job, uint64_t *generation);
uint64_t sp_p11_desk_signed(sp_p11_desk *desk);    /* how many it answered */
uint32_t sp_p11_desk_busy(sp_p11_desk *desk);      /* threads that have an ask in hand */
void sp_p11_desk_free(sp_p11_desk *desk);          /* nobody serves any more */
/* prctl(PR_SET_DUMPABLE, 0), RLIMIT_CORE 0, no_new_privs */
int sp_harden_process(void);
/* SIGKILL for this process when the thread that started it ends; SP_E_MISMATCH if `parent` is no longer our parent */
int sp_die_with_parent(int64_t parent);
