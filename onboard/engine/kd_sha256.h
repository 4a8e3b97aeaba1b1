/* SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104, FIPS 198-1): no branch or address depends on a secret. */
#ifndef KD_SHA256_H
#define KD_SHA256_H

#include <stdint.h>

#define KD_SHA256_BYTES 32u

/* A hash under way. Its fields are the functions' own. */
typedef struct {
    uint32_t state[8];
    uint8_t block[64];
    uint32_t filled; /* bytes of the block */
    uint32_t length; /* bytes so far */
} kd_sha256;

void kd_sha256_begin(kd_sha256 *hash);
void kd_sha256_add(kd_sha256 *hash, const uint8_t *bytes, uint32_t count);
void kd_sha256_end(kd_sha256 *hash, uint8_t *digest); /* [KD_SHA256_BYTES] */

/* An HMAC under way. */
typedef struct {
    kd_sha256 inner;
    uint8_t outer[64]; /* the key, padded */
} kd_hmac;

void kd_hmac_begin(kd_hmac *hmac, const uint8_t *key, uint32_t length);
void kd_hmac_add(kd_hmac *hmac, const uint8_t *bytes, uint32_t count);
void kd_hmac_end(kd_hmac *hmac, uint8_t *tag); /* [KD_SHA256_BYTES]; forgets the key */

/* Whether two tags are equal, in a time that does not depend on where they differ. */
int32_t kd_equal_tags(const uint8_t *a, const uint8_t *b);

#endif
