/* Does the core take no harm from a table with holes and a PIN that is not the only line? */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "fake_open.h"

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

int main(void)
{
    (void)fake_token_open();
    test_a_table_with_holes();
    test_a_pin_is_the_only_line();
    return check_done();
}
