/* FOR LABORATORY USE ONLY: an authenticator in software, so that OpenSSH makes and uses `sk-` keys without hardware.
 *
 * The private key stands unprotected in the key handle, that is, in the key's file: whoever reads the file signs, and
 * says whatever he likes of touch and PIN. Every call says so on stderr. sealpress takes such keys above class `test`
 * in the profile `lab` only, whose records all say `lab`.
 *
 *   SEALPRESS_LAB_SK_FLAGS     what a signature says of the moment (default 0x05: touched, PIN checked)
 *   SEALPRESS_LAB_SK_COUNTER   its counter (default: Unix time in seconds)
 *
 * libcrypto 3 is opened at run time and its few functions are declared here, so that building needs a compiler only. */
#include "sp_lab_sk.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define HASH_SIZE 32
#define DER_SIZE_MAX 160 /* of either private key, and of an ECDSA signature */

static const char handle_magic[16] = "sealpress/lab/sk";

/* Names as in libcrypto; pointers are its objects. */
static struct {
    void *(*EVP_PKEY_Q_keygen)(void *library, const char *query, const char *type, ...);
    void (*EVP_PKEY_free)(void *key);
    int (*EVP_PKEY_get_octet_string_param)(const void *key, const char *name, uint8_t *out, size_t size, size_t *used);
    int (*i2d_PrivateKey)(const void *key, uint8_t **out);
    void *(*d2i_AutoPrivateKey)(void **key, const uint8_t **in, long size);
    void *(*EVP_MD_CTX_new)(void);
    void (*EVP_MD_CTX_free)(void *context);
    int (*EVP_DigestSignInit)(void *context, void **inner, const void *hash, void *engine, void *key);
    int (*EVP_DigestSign)(void *context, uint8_t *out, size_t *size, const uint8_t *in, size_t in_size);
    const void *(*EVP_sha256)(void);
    int (*EVP_Digest)(const void *in, size_t size, uint8_t *out, unsigned *used, const void *hash, void *engine);
} crypto;

static int open_crypto(void)
{
    void *library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);

    fputs("sealpress: LABORATORY USE ONLY: this security key is software, nobody touches it\n", stderr);
    if (library == NULL)
        return SK_UNSUPPORTED;
#define FIND(name)                                                                                                     \
    if ((*(void **)&crypto.name = dlsym(library, #name)) == NULL)                                                      \
        return SK_UNSUPPORTED
    FIND(EVP_PKEY_Q_keygen);
    FIND(EVP_PKEY_free);
    FIND(EVP_PKEY_get_octet_string_param);
    FIND(i2d_PrivateKey);
    FIND(d2i_AutoPrivateKey);
    FIND(EVP_MD_CTX_new);
    FIND(EVP_MD_CTX_free);
    FIND(EVP_DigestSignInit);
    FIND(EVP_DigestSign);
    FIND(EVP_sha256);
    FIND(EVP_Digest);
#undef FIND
    return SK_OK;
}

/* A copy that OpenSSH will free. */
static int put(uint8_t **out, size_t *out_size, const uint8_t *in, size_t size)
{
    uint8_t *copy = malloc(size);

    if (copy == NULL)
        return SK_GENERAL;
    memcpy(copy, in, size);
    *out = copy;
    *out_size = size;
    return SK_OK;
}

static int put_key(struct sk_enroll_response *response, void *key)
{
    uint8_t public[65], handle[sizeof handle_magic + DER_SIZE_MAX], *end = handle + sizeof handle_magic;
    size_t public_size;
    int der_size = crypto.i2d_PrivateKey(key, NULL);

    if (der_size <= 0 || der_size > DER_SIZE_MAX)
        return SK_GENERAL;
    memcpy(handle, handle_magic, sizeof handle_magic);
    if (crypto.i2d_PrivateKey(key, &end) != der_size ||
        crypto.EVP_PKEY_get_octet_string_param(key, "pub", public, sizeof public, &public_size) != 1 ||
        put(&response->public_key, &response->public_key_len, public, public_size) != SK_OK)
        return SK_GENERAL;
    return put(&response->key_handle, &response->key_handle_len, handle, (size_t)(end - handle));
}

static void free_enrolled(struct sk_enroll_response *response)
{
    free(response->public_key);
    free(response->key_handle);
    free(response);
}

EXPORT uint32_t sk_api_version(void)
{
    return SK_API_VERSION;
}

EXPORT int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application,
                     uint8_t flags, const char *pin, struct sk_option **options, struct sk_enroll_response **response)
{
    struct sk_enroll_response *made;
    void *key;
    int result;

    (void)challenge, (void)challenge_len, (void)application, (void)pin, (void)options; /* nothing is attested */
    if ((alg != SK_ECDSA && alg != SK_ED25519) || open_crypto() != SK_OK)
        return SK_UNSUPPORTED;
    if ((made = calloc(1, sizeof *made)) == NULL)
        return SK_GENERAL;
    made->flags = flags;
    key = alg == SK_ECDSA ? crypto.EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
                          : crypto.EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    result = key == NULL ? SK_GENERAL : put_key(made, key);
    crypto.EVP_PKEY_free(key);
    if (result == SK_OK)
        *response = made;
    else
        free_enrolled(made);
    return result;
}

static int sha256(uint8_t out[HASH_SIZE], const void *in, size_t size)
{
    return crypto.EVP_Digest(in, size, out, NULL, crypto.EVP_sha256(), NULL) == 1 ? SK_OK : SK_GENERAL;
}

static uint32_t number_from(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? otherwise : (uint32_t)strtoul(text, NULL, 0);
}

/* What a FIDO2 key signs: hash of application | flags | counter | hash of the data. */
static int said(uint8_t out[2 * HASH_SIZE + 5], const char *application, const uint8_t *data, size_t size,
                const struct sk_sign_response *response)
{
    uint8_t *moment = out + HASH_SIZE;

    moment[0] = response->flags;
    for (int i = 0; i < 4; i++)
        moment[1 + i] = (uint8_t)(response->counter >> (24 - 8 * i));
    if (sha256(out, application, strlen(application)) != SK_OK)
        return SK_GENERAL;
    return sha256(moment + 5, data, size);
}

/* An ECDSA signature, SEQUENCE { INTEGER r, INTEGER s }, is short enough for lengths of one byte. */
static int put_numbers(struct sk_sign_response *response, const uint8_t *der, size_t size)
{
    size_t r_size, s_size;

    if (size < 8 || der[0] != 0x30 || (size_t)der[1] + 2 != size || der[2] != 0x02)
        return SK_GENERAL;
    r_size = der[3];
    if (r_size + 6 > size || der[4 + r_size] != 0x02)
        return SK_GENERAL;
    s_size = der[5 + r_size];
    if (r_size + s_size + 6 != size || put(&response->sig_r, &response->sig_r_len, der + 4, r_size) != SK_OK)
        return SK_GENERAL;
    return put(&response->sig_s, &response->sig_s_len, der + 6 + r_size, s_size);
}

static int sign(struct sk_sign_response *response, uint32_t alg, void *key, const uint8_t *in, size_t in_size)
{
    uint8_t out[DER_SIZE_MAX];
    size_t size = sizeof out;
    void *context = crypto.EVP_MD_CTX_new();
    const void *hash = alg == SK_ECDSA ? crypto.EVP_sha256() : NULL;
    int result = SK_GENERAL;

    if (context != NULL && crypto.EVP_DigestSignInit(context, NULL, hash, NULL, key) == 1 &&
        crypto.EVP_DigestSign(context, out, &size, in, in_size) == 1)
        result = alg == SK_ECDSA ? put_numbers(response, out, size)
                                 : put(&response->sig_r, &response->sig_r_len, out, size);
    crypto.EVP_MD_CTX_free(context);
    return result;
}

static void free_signed(struct sk_sign_response *response)
{
    free(response->sig_r);
    free(response->sig_s);
    free(response);
}

EXPORT int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application,
                   const uint8_t *key_handle, size_t key_handle_len, uint8_t flags, const char *pin,
                   struct sk_option **options, struct sk_sign_response **response)
{
    const uint8_t *der = key_handle + sizeof handle_magic;
    uint8_t message[2 * HASH_SIZE + 5];
    struct sk_sign_response *made;
    void *key;
    int result = SK_GENERAL;

    (void)flags, (void)pin, (void)options; /* the environment says what happened */
    if ((alg != SK_ECDSA && alg != SK_ED25519) || open_crypto() != SK_OK)
        return SK_UNSUPPORTED;
    if (key_handle_len <= sizeof handle_magic || key_handle_len > sizeof handle_magic + DER_SIZE_MAX ||
        memcmp(key_handle, handle_magic, sizeof handle_magic) != 0 || (made = calloc(1, sizeof *made)) == NULL)
        return SK_GENERAL;
    made->flags = (uint8_t)number_from("SEALPRESS_LAB_SK_FLAGS", 0x05);
    made->counter = number_from("SEALPRESS_LAB_SK_COUNTER", (uint32_t)time(NULL));
    key = crypto.d2i_AutoPrivateKey(NULL, &der, (long)(key_handle_len - sizeof handle_magic));
    if (key != NULL && said(message, application, data, data_len, made) == SK_OK)
        result = sign(made, alg, key, message, sizeof message);
    crypto.EVP_PKEY_free(key);
    if (result == SK_OK)
        *response = made;
    else
        free_signed(made);
    return result;
}

EXPORT int sk_load_resident_keys(const char *pin, struct sk_option **options, struct sk_resident_key ***keys,
                                 size_t *count)
{
    (void)pin, (void)options, (void)keys, (void)count; /* keys live in their files */
    return SK_UNSUPPORTED;
}
