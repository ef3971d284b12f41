/* PINs: read, used for one call, wiped; never a Python object, never in a core dump, never in swap.
 *
 * A PIN is read with pread from a file or memfd into one locked page of its own. The token's flags are read before a
 * login: when the PIN is locked, or one try is left, nothing is tried, because the last try belongs to a person. A PIN
 * that the token rejected is remembered by the caller as an HMAC tag, so that no restart tries it again. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include "sp_hmac.h"
#include "sp_p11.h"

/* Of a file that goes on after the longest PIN and its newline, one byte is seen. */
enum { PIN_PAGE = 4096, PIN_MAX = 256, READ_MAX = PIN_MAX + 2, LABEL_SIZE = 32, STACK_SCRUB = 16384 };

typedef struct locked_pin {
    uint8_t *page;
    size_t size;
} locked_pin;

static int pin_read(int fd, locked_pin *pin)
{
    size_t size = 0;
    while (size < READ_MAX) {
        ssize_t got = pread(fd, pin->page + size, READ_MAX - size, (off_t)size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        SP_ENSURE(got >= 0, SP_E_PIN_FILE);
        if (got == 0) {
            break;
        }
        size += (size_t)got;
    }
    if (size > 0 && pin->page[size - 1] == '\n') {
        size--;
    }
    errno = size == 0 ? ENODATA : EFBIG;        /* said with SP_E_PIN_FILE */
    SP_ENSURE(size > 0, SP_E_PIN_FILE);
    SP_ENSURE(memchr(pin->page, '\n', size) == NULL && memchr(pin->page, '\r', size) == NULL, SP_E_PIN_LINES);
    SP_ENSURE(size <= PIN_MAX, SP_E_PIN_FILE);
    pin->size = size;
    return SP_OK;
}

static void pin_drop(locked_pin *pin)
{
    if (pin->page != NULL) {
        explicit_bzero(pin->page, PIN_PAGE);
        munlock(pin->page, PIN_PAGE);
        munmap(pin->page, PIN_PAGE);
        pin->page = NULL;
    }
}

/* Callees that saw the PIN may have left bytes of it below our frame. */
static __attribute__((noinline)) void stack_scrub(void)
{
    uint8_t below[STACK_SCRUB];
    explicit_bzero(below, sizeof below);
}

static int pin_take(int fd, locked_pin *pin)
{
    void *page = mmap(NULL, PIN_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SP_ENSURE(page != MAP_FAILED, SP_E_MEMORY);
    pin->page = page;
    SP_ENSURE(mlock(page, PIN_PAGE) == 0, SP_E_SYSTEM);
    SP_ENSURE(madvise(page, PIN_PAGE, MADV_DONTDUMP) == 0 && madvise(page, PIN_PAGE, MADV_DONTFORK) == 0, SP_E_SYSTEM);
    return pin_read(fd, pin);
}

static int token_open_to_login(const ck_function_list *table, ck_session session, ck_flags closed, uint64_t *rv)
{
    ck_session_info info;
    ck_token_info token;
    memset(&info, 0, sizeof info);
    memset(&token, 0, sizeof token);
    SP_TRY(sp_p11_answer(table->C_GetSessionInfo(session, &info), rv));
    SP_TRY(sp_p11_answer(table->C_GetTokenInfo(info.slot, &token), rv));
    SP_ENSURE((token.flags & closed) == 0, SP_E_TOKEN_LOCKED);
    return SP_OK;
}

int sp_p11_logged_in(uint64_t session, int *logged_in, uint64_t *rv)
{
    SP_ENSURE(logged_in != NULL, SP_E_ARGUMENT);
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    ck_session_info info;
    memset(&info, 0, sizeof info);
    SP_TRY(sp_p11_answer(table->C_GetSessionInfo(session, &info), rv));
    *logged_in = info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS;
    return SP_OK;
}

static int was_rejected(const uint8_t tag[32], const uint8_t *rejected, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(tag, rejected + 32 * i, 32) == 0) {
            return 1;
        }
    }
    return 0;
}

static int login_once(const ck_function_list *table, ck_session session, ck_ulong user, locked_pin *pin, uint64_t *rv)
{
    ck_rv answer = table->C_Login(session, user, pin->page, pin->size);
    pin_drop(pin);
    stack_scrub();
    return sp_p11_answer(answer == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : answer, rv);
}

int sp_p11_login(uint64_t session, int pin_fd, const uint8_t tag_key[32], const uint8_t *rejected,
                 size_t rejected_count, uint8_t tag_out[32], uint64_t *rv)
{
    SP_ENSURE(tag_key != NULL && tag_out != NULL && (rejected != NULL || rejected_count == 0), SP_E_ARGUMENT);
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    SP_CLEANUP(pin_drop) locked_pin pin = {0};
    SP_TRY(pin_take(pin_fd, &pin));
    sp_hmac_sha256(tag_key, 32, pin.page, pin.size, tag_out);
    stack_scrub();
    SP_ENSURE(!was_rejected(tag_out, rejected, rejected_count), SP_E_PIN_REJECTED);
    SP_TRY(token_open_to_login(table, session, CKF_USER_PIN_LOCKED | CKF_USER_PIN_FINAL_TRY, rv));
    return login_once(table, session, CKU_USER, &pin, rv);
}

int sp_p11_init_token(uint64_t slot, const char *label, int so_pin_fd, uint64_t *rv)
{
    SP_ENSURE(label != NULL && strlen(label) <= LABEL_SIZE, SP_E_ARGUMENT);
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    uint8_t padded[LABEL_SIZE];
    memset(padded, ' ', sizeof padded);
    memcpy(padded, label, strlen(label));
    SP_CLEANUP(pin_drop) locked_pin pin = {0};
    SP_TRY(pin_take(so_pin_fd, &pin));
    ck_rv answer = table->C_InitToken(slot, pin.page, pin.size, padded);
    pin_drop(&pin);
    stack_scrub();
    return sp_p11_answer(answer, rv);
}

int sp_p11_init_pin(uint64_t session, int so_pin_fd, int pin_fd, uint64_t *rv)
{
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    SP_CLEANUP(pin_drop) locked_pin so_pin = {0};
    SP_CLEANUP(pin_drop) locked_pin pin = {0};
    SP_TRY(pin_take(so_pin_fd, &so_pin));
    SP_TRY(pin_take(pin_fd, &pin));
    SP_TRY(token_open_to_login(table, session, CKF_SO_PIN_LOCKED | CKF_SO_PIN_FINAL_TRY, rv));
    SP_TRY(login_once(table, session, CKU_SO, &so_pin, rv));
    ck_rv answer = table->C_InitPIN(session, pin.page, pin.size);
    pin_drop(&pin);
    stack_scrub();
    ck_rv logout = table->C_Logout(session);
    return sp_p11_answer(answer != CKR_OK ? answer : logout, rv);
}

int sp_harden_process(void)
{
    const struct rlimit none = {0, 0};
    SP_ENSURE(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, SP_E_SYSTEM);
    SP_ENSURE(setrlimit(RLIMIT_CORE, &none) == 0, SP_E_SYSTEM);
    SP_ENSURE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, SP_E_SYSTEM);
    return SP_OK;
}

int sp_die_with_parent(int64_t parent)
{
    SP_ENSURE(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, SP_E_SYSTEM);
    SP_ENSURE(getppid() == (pid_t)parent, SP_E_MISMATCH);       /* it ended before we asked */
    return SP_OK;
}
