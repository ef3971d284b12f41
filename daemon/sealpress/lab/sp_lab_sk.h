/* FOR LABORATORY USE ONLY. OpenSSH's interface to FIDO2 middleware, version 10 (PROTOCOL.u2f, sk-api), in our words:
 * what `ssh-keygen -w LIBRARY` and SSH_SK_PROVIDER load. Memory of a response belongs to OpenSSH, which calls free(). */
#ifndef SP_LAB_SK_H
#define SP_LAB_SK_H

#include <stddef.h>
#include <stdint.h>

#define SK_API_VERSION 0x000a0000U

enum { SK_ECDSA = 0, SK_ED25519 = 1 };                       /* alg */
enum { SK_OK = 0, SK_GENERAL = -1, SK_UNSUPPORTED = -2 };    /* answers */

struct sk_enroll_response {
    uint8_t flags;
    uint8_t *public_key;
    size_t public_key_len;
    uint8_t *key_handle;
    size_t key_handle_len;
    uint8_t *signature;
    size_t signature_len;
    uint8_t *attestation_cert;
    size_t attestation_cert_len;
    uint8_t *authdata;
    size_t authdata_len;
};

struct sk_sign_response {
    uint8_t flags;
    uint32_t counter;
    uint8_t *sig_r;
    size_t sig_r_len;
    uint8_t *sig_s;
    size_t sig_s_len;
};

struct sk_resident_key;
struct sk_option;

uint32_t sk_api_version(void);
int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags,
              const char *pin, struct sk_option **options, struct sk_enroll_response **response);
int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application, const uint8_t *key_handle,
            size_t key_handle_len, uint8_t flags, const char *pin, struct sk_option **options,
            struct sk_sign_response **response);
int sk_load_resident_keys(const char *pin, struct sk_option **options, struct sk_resident_key ***keys, size_t *count);

#endif
