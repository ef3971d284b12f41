/* The desk of a worker: packets in, signatures out (sp_api.h has their layout).
 *
 * Most of what a guard asks is one operation of one key for which a session is free. It is read, signed and answered by the
 * thread that was waiting for packets, and no interpreter wakes up. Whatever else there is (several operations, a ping, keys
 * that were lost, an error of the token) goes to the caller as it came, with what the token answered if it was asked. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sp_bytes.h"
#include "sp_p11.h"

enum { MECHANISMS_MAX = 64 };

static const uint8_t ask_magic[8] = {'S', 'P', 'A', 'S', 'K', 0, 0, 1};
static const uint8_t answer_magic[8] = {'S', 'P', 'S', 'I', 'G', 0, 0, 1};

struct sp_p11_desk {
    sp_p11_pool *pool;
    size_t offered_count;
    uint64_t offered[MECHANISMS_MAX];
    _Atomic uint64_t answered;
    _Atomic uint32_t busy;
    pthread_mutex_t lock;               /* guards what follows */
    uint64_t generation;
    size_t keys_count;
    uint64_t keys[SP_P11_DESK_KEYS];
};

typedef struct desk_ask {
    uint64_t id, deadline_ns, generation;
} desk_ask;

int sp_p11_desk_new(sp_p11_pool *pool, const uint64_t *offered, size_t count, sp_p11_desk **out)
{
    SP_ENSURE(pool != NULL && offered != NULL && count <= MECHANISMS_MAX && out != NULL, SP_E_ARGUMENT);
    sp_p11_desk *desk = calloc(1, sizeof *desk);
    SP_ENSURE(desk != NULL, SP_E_MEMORY);
    desk->pool = pool;
    desk->offered_count = count;
    memcpy(desk->offered, offered, count * sizeof *offered);
    pthread_mutex_init(&desk->lock, NULL);
    *out = desk;
    return SP_OK;
}

int sp_p11_desk_keys(sp_p11_desk *desk, uint64_t generation, const uint64_t *handles, size_t count)
{
    SP_ENSURE(desk != NULL && handles != NULL && count <= SP_P11_DESK_KEYS, SP_E_ARGUMENT);
    pthread_mutex_lock(&desk->lock);
    desk->generation = generation;
    desk->keys_count = count;
    memcpy(desk->keys, handles, count * sizeof *handles);
    pthread_mutex_unlock(&desk->lock);
    return SP_OK;
}

static int offers(const sp_p11_desk *desk, uint64_t mechanism)
{
    for (size_t i = 0; i < desk->offered_count; i++) {
        if (desk->offered[i] == mechanism) {
            return 1;
        }
    }
    return 0;
}

/* Its handle, or 0; a key of another generation than the pool's is found out there. */
static uint64_t key_of(sp_p11_desk *desk, uint32_t number, uint64_t *generation)
{
    pthread_mutex_lock(&desk->lock);
    uint64_t handle = number < desk->keys_count ? desk->keys[number] : 0;
    *generation = desk->generation;
    pthread_mutex_unlock(&desk->lock);
    return handle;
}

/* Whether this packet is an ask that can be tried here; its job, which points into the packet. */
static int read_ask(sp_p11_desk *desk, const uint8_t *packet, size_t size, desk_ask *ask, sp_p11_job *job)
{
    if (size < SP_P11_ASK_BYTES || memcmp(packet, ask_magic, sizeof ask_magic) != 0) {
        return 0;
    }
    uint64_t whole = sp_load_u64le(packet + 32);
    uint32_t parameter = sp_load_u32le(packet + 44), capacity = sp_load_u32le(packet + 48);
    uint32_t data_size = sp_load_u32le(packet + 52), message_size = sp_load_u32le(packet + 56);
    if (parameter > 3 || capacity > SP_P11_DESK_SIGNATURE || sp_load_u32le(packet + 60) != 0 ||
        (uint64_t)SP_P11_ASK_BYTES + data_size + message_size != size) {
        return 0;
    }
    int hashing = whole != 0 && offers(desk, whole);
    ask->id = sp_load_u64le(packet + 8);
    ask->deadline_ns = sp_load_u64le(packet + 16);
    job->key = key_of(desk, sp_load_u32le(packet + 40), &ask->generation);
    job->mechanism = hashing ? whole : sp_load_u64le(packet + 24);
    job->parameter = (uint8_t)parameter;
    job->data = packet + SP_P11_ASK_BYTES + (hashing ? data_size : 0);
    job->data_size = hashing ? message_size : data_size;
    job->signature_capacity = capacity;
    return job->key != 0;
}

static int send_answer(int fd, const desk_ask *ask, const sp_p11_job *job, uint8_t *answer)
{
    size_t size = SP_P11_ANSWER_BYTES + (size_t)job->signature_size;
    memcpy(answer, answer_magic, sizeof answer_magic);
    sp_store_u64le(answer + 8, ask->id);
    sp_store_u64le(answer + 16, job->elapsed_ns);
    sp_store_u32le(answer + 24, job->signature_size);
    sp_store_u32le(answer + 28, 0);
    ssize_t sent;
    do {
        sent = send(fd, answer, size, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    SP_ENSURE(sent == (ssize_t)size, SP_E_SYSTEM);
    return SP_OK;
}

/* *answered: a signature was sent, and nothing is left to be done. */
static int deal(sp_p11_desk *desk, int fd, uint64_t margin_ns, const desk_ask *ask, sp_p11_job *job, int *answered)
{
    uint8_t answer[SP_P11_ANSWER_BYTES + SP_P11_DESK_SIGNATURE];
    uint64_t deadline_ns = ask->deadline_ns > margin_ns ? ask->deadline_ns - margin_ns : ask->deadline_ns != 0;
    job->signature = answer + SP_P11_ANSWER_BYTES;
    int status = sp_p11_pool_try(desk->pool, ask->generation, deadline_ns, job);
    job->signature = NULL;              /* it stands in this call only */
    *answered = status == SP_OK && job->rv == CKR_OK;
    if (*answered) {
        atomic_fetch_add(&desk->answered, 1);
        return send_answer(fd, ask, job, answer);
    }
    return status == SP_E_BUSY ? SP_OK : status;
}

int sp_p11_desk_serve(sp_p11_desk *desk, int fd, uint64_t margin_ns, uint8_t *packet, size_t capacity, size_t *size,
                      sp_p11_job *job, uint64_t *generation)
{
    SP_ENSURE(desk != NULL && packet != NULL && size != NULL && job != NULL && generation != NULL, SP_E_ARGUMENT);
    for (int answered = 1; answered;) {
        ssize_t got = recv(fd, packet, capacity, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        SP_ENSURE(got >= 0, SP_E_SYSTEM);
        *size = (size_t)got;
        *job = (sp_p11_job){.session = UINT32_MAX, .rv = CKR_SESSION_CLOSED};
        desk_ask ask;
        if (!read_ask(desk, packet, *size, &ask, job)) {
            return SP_OK;
        }
        atomic_fetch_add(&desk->busy, 1);
        int status = deal(desk, fd, margin_ns, &ask, job, &answered);
        atomic_fetch_sub(&desk->busy, 1);
        SP_TRY(status);
        *generation = ask.generation;
    }
    return SP_OK;
}

uint64_t sp_p11_desk_signed(sp_p11_desk *desk)
{
    return atomic_load(&desk->answered);
}

uint32_t sp_p11_desk_busy(sp_p11_desk *desk)
{
    return atomic_load(&desk->busy);
}

void sp_p11_desk_free(sp_p11_desk *desk)
{
    if (desk != NULL) {
        pthread_mutex_destroy(&desk->lock);
        free(desk);
    }
}
