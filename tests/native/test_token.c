/* Does the core take no harm from a table with holes? */
#include "fake_open.h"

static void test_a_table_with_holes(void)
{
    uint64_t flags = 0, sessions = 0, rv = 0;
    EXPECT(sp_p11_token_flags(1, &flags, &sessions, &rv) == SP_E_TOKEN && rv == CKR_FUNCTION_NOT_SUPPORTED);
    int logged_in = 0;
    EXPECT(sp_p11_logged_in(1, &logged_in, &rv) == SP_E_TOKEN && rv == CKR_FUNCTION_NOT_SUPPORTED);
}

int main(void)
{
    (void)fake_token_open();
    test_a_table_with_holes();
    return check_done();
}
