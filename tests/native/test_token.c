/* Does the core take no harm from a table with holes, a PIN that is not the only line, a deadline
 * that is long over, and a fork? */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fake_open.h"

enum { SIZE = 16, KEY = 1000 };

static fake_token *token;

static void test_a_table_with_holes(void)
{
    uint64_t flags = 0, sessions = 0, rv = 0;
    EXPECT(sp_p11_token_flags(1, &flags, &sessions, &rv) == SP_E_TOKEN && rv == CKR_FUNCTION_NOT_SUPPORTED);
    int logged_in = 0;
    EXPECT(sp_p11_logged_in(1, &logged_in, &rv) == SP_E_TOKEN && rv == CKR_FUNCTION_NOT_SUPPORTED);
}

/* What a login says about a PIN file of `size` times 'p' and what follows. */
static int login(size_t size, const char *after, uint64_t *rv)
{
    const uint8_t key[32] = {0};
    uint8_t tag[32], pin[300];
    memset(pin, 'p', size);
    int file = memfd_create("pin", MFD_CLOEXEC);
    EXPECT(file >= 0 && write(file, pin, size) == (ssize_t)size && write(file, after, strlen(after)) >= 0);
    *rv = 0;
    errno = 0;
    int status = sp_p11_login(1, file, key, NULL, 0, tag, rv);
    int error = errno;
    close(file);
    errno = error;
    return status;
}

static void test_a_pin_is_the_only_line(void)
{
    uint64_t rv;
    EXPECT(login(256, "\n", &rv) == SP_E_TOKEN && rv == CKR_FUNCTION_NOT_SUPPORTED);    /* it was asked */
    EXPECT(login(256, "\nx", &rv) == SP_E_PIN_LINES && rv == 0);
    EXPECT(login(250, "\nsecond line", &rv) == SP_E_PIN_LINES);
    EXPECT(login(257, "", &rv) == SP_E_PIN_FILE && errno == EFBIG);
    EXPECT(login(0, "", &rv) == SP_E_PIN_FILE && errno == ENODATA);
    EXPECT(login(0, "\n", &rv) == SP_E_PIN_FILE && errno == ENODATA);
}

static size_t ask(uint8_t *packet, uint64_t deadline_ns)
{
    const uint64_t numbers[] = {7, deadline_ns, 1, 0};
    const uint32_t sizes[] = {0, 0, SIZE, SIZE, 0, 0};
    memcpy(packet, "SPASK\0\0\1", 8);
    memcpy(packet + 8, numbers, sizeof numbers);
    memcpy(packet + 40, sizes, sizeof sizes);
    memset(packet + SP_P11_ASK_BYTES, 'd', SIZE);
    return SP_P11_ASK_BYTES + SIZE;
}

/* Earlier than the margin after this machine's start: it is over, and does not turn into none. */
static void test_the_first_deadline_that_there_is(void)
{
    const uint64_t session = 1, key = KEY;
    sp_p11_pool *pool;
    sp_p11_desk *desk;
    int sockets[2];
    EXPECT(sp_p11_pool_new(&session, 1, &pool) == SP_OK);
    EXPECT(sp_p11_desk_new(pool, &session, 0, &desk) == SP_OK && sp_p11_desk_keys(desk, 0, &key, 1) == SP_OK);
    EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
    uint8_t packet[SP_P11_ASK_BYTES + SIZE];
    size_t size = ask(packet, 1000);
    EXPECT(send(sockets[0], packet, size, 0) == (ssize_t)size);
    shutdown(sockets[0], SHUT_WR);
    sp_p11_job job;
    uint64_t generation;
    EXPECT(sp_p11_desk_serve(desk, sockets[1], 1000, packet, sizeof packet, &size, &job, &generation) == SP_OK);
    EXPECT(size == sizeof packet && job.rv == CKR_FUNCTION_CANCELED && job.session == UINT32_MAX && token->signs == 0);
    close(sockets[0]);
    close(sockets[1]);
    sp_p11_desk_free(desk);
    sp_p11_pool_free(pool);
}

static void *sign_main(void *argument)
{
    uint8_t data[SIZE] = {0}, signature[SIZE];
    sp_p11_job job = {.key = KEY, .data = data, .data_size = SIZE, .signature = signature, .signature_capacity = SIZE};
    EXPECT(sp_p11_pool_sign(argument, 0, 0, &job, 1) == SP_OK && job.rv == CKR_OK);
    return NULL;
}

/* Its threads, and who waits for them, are the parent's: whoever waited for these would wait for ever. */
static void test_a_child_leaves_a_pool_alone(void)
{
    const uint64_t session = KEY;
    sp_p11_pool *pool;
    pthread_t caller;
    EXPECT(sp_p11_pool_new(&session, 1, &pool) == SP_OK);
    __atomic_store_n(&token->hang, 1, __ATOMIC_RELEASE);
    EXPECT(pthread_create(&caller, NULL, sign_main, pool) == 0);
    while (__atomic_load_n(&token->signs, __ATOMIC_RELAXED) == 0) {
        sched_yield();
    }
    pid_t child = fork();
    if (child == 0) {
        alarm(5);
        sp_p11_pool_free(pool);
        _exit(0);
    }
    int status = -1;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    __atomic_store_n(&token->hang, 0, __ATOMIC_RELEASE);
    pthread_join(caller, NULL);
    sp_p11_pool_free(pool);
}

int main(void)
{
    token = fake_token_open();
    test_a_table_with_holes();
    test_a_pin_is_the_only_line();
    test_the_first_deadline_that_there_is();
    test_a_child_leaves_a_pool_alone();
    return check_done();
}
