/* The tag is HMAC-SHA-256 of: 16 bytes that say what is signed, the sequence number, the length of the name, the name,
 * the table. Numbers are little-endian. */
/* cppcheck-suppress-file misra-c2012-19.2 ; kd_word reads the bits of a float without a second copy */
/* cppcheck-suppress-file misra-c2012-15.5 ; a function returns as soon as it refuses an input */
/* cppcheck-suppress-file misra-c2012-8.7 ; kd_seal.h is called by whoever links the engine */
#include "kd_seal.h"
#include "kd_sha256.h"

#define NUMBER_BYTES 12u

int32_t kd_authenticate(const kd_seal *seal, const uint8_t *table, uint32_t length)
{
    /* "KDWT HMAC v1" and zeros: no tag of anything else is one of a table */
    static const uint8_t purpose[16] = {0x4Bu, 0x44u, 0x57u, 0x54u, 0x20u, 0x48u, 0x4Du, 0x41u,
                                        0x43u, 0x20u, 0x76u, 0x31u, 0u,    0u,    0u,    0u};
    kd_hmac hmac;
    uint8_t numbers[NUMBER_BYTES];
    uint8_t tag[KD_SHA256_BYTES];
    uint32_t i;
    if ((seal == NULL) || (table == NULL)) {
        return KD_ERR_ARGUMENT;
    }
    if ((seal->key == NULL) || (seal->name == NULL) || (seal->tag == NULL) || (seal->key_length == 0u)) {
        return KD_ERR_ARGUMENT;
    }
    for (i = 0u; i < 8u; i++) {
        numbers[i] = (uint8_t)((seal->sequence >> (8u * i)) & 0xFFu);
    }
    for (i = 0u; i < 4u; i++) {
        numbers[8u + i] = (uint8_t)((seal->name_length >> (8u * i)) & 0xFFu);
    }
    kd_hmac_begin(&hmac, seal->key, seal->key_length);
    kd_hmac_add(&hmac, purpose, 16u);
    kd_hmac_add(&hmac, numbers, NUMBER_BYTES);
    kd_hmac_add(&hmac, seal->name, seal->name_length);
    kd_hmac_add(&hmac, table, length);
    kd_hmac_end(&hmac, tag);
    return (kd_equal_tags(tag, seal->tag) != 0) ? KD_OK : KD_ERR_SIGNATURE;
}

int32_t kd_load_sealed(kd_model *model, const uint8_t *table, uint32_t length, kd_word *storage, uint32_t words,
                       const kd_seal *seal, uint64_t *newest)
{
    int32_t status = kd_authenticate(seal, table, length);
    if (status != KD_OK) {
        return status;
    }
    if (newest == NULL) {
        return KD_ERR_ARGUMENT;
    }
    if (seal->sequence < *newest) {
        return KD_ERR_REPLAY;
    }
    status = kd_load(model, table, length, storage, words);
    if (status == KD_OK) {
        *newest = seal->sequence;
    }
    return status;
}
