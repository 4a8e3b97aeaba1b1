/* SHA-256 and HMAC, as FIPS 180-4 and RFC 2104 have them. */
/* cppcheck-suppress-file misra-c2012-8.9 ; a table of 64 constants would hide the function that reads it */
#include "kd_sha256.h"

#define BLOCK_BYTES 64u
#define LENGTH_AT 56u /* of the last block: where the length in bits is */

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t rounds[64] = {
    0x428A2F98u, 0x71374491u, 0xB5C0FBCFu, 0xE9B5DBA5u, 0x3956C25Bu, 0x59F111F1u, 0x923F82A4u, 0xAB1C5ED5u,
    0xD807AA98u, 0x12835B01u, 0x243185BEu, 0x550C7DC3u, 0x72BE5D74u, 0x80DEB1FEu, 0x9BDC06A7u, 0xC19BF174u,
    0xE49B69C1u, 0xEFBE4786u, 0x0FC19DC6u, 0x240CA1CCu, 0x2DE92C6Fu, 0x4A7484AAu, 0x5CB0A9DCu, 0x76F988DAu,
    0x983E5152u, 0xA831C66Du, 0xB00327C8u, 0xBF597FC7u, 0xC6E00BF3u, 0xD5A79147u, 0x06CA6351u, 0x14292967u,
    0x27B70A85u, 0x2E1B2138u, 0x4D2C6DFCu, 0x53380D13u, 0x650A7354u, 0x766A0ABBu, 0x81C2C92Eu, 0x92722C85u,
    0xA2BFE8A1u, 0xA81A664Bu, 0xC24B8B70u, 0xC76C51A3u, 0xD192E819u, 0xD6990624u, 0xF40E3585u, 0x106AA070u,
    0x19A4C116u, 0x1E376C08u, 0x2748774Cu, 0x34B0BCB5u, 0x391C0CB3u, 0x4ED8AA4Au, 0x5B9CCA4Fu, 0x682E6FF3u,
    0x748F82EEu, 0x78A5636Fu, 0x84C87814u, 0x8CC70208u, 0x90BEFFFAu, 0xA4506CEBu, 0xBEF9A3F7u, 0xC67178F2u,
};

static uint32_t rotated(uint32_t word, uint32_t by)
{
    return (word >> by) | (word << (32u - by));
}

static void take_block(kd_sha256 *hash)
{
    uint32_t w[64];
    uint32_t s[8];
    uint32_t i;
    for (i = 0u; i < 16u; i++) {
        const uint32_t at_byte = 4u * i;
        const uint8_t *const at = &hash->block[at_byte];
        w[i] = ((uint32_t)at[0] << 24) | ((uint32_t)at[1] << 16) | ((uint32_t)at[2] << 8) | (uint32_t)at[3];
    }
    for (i = 16u; i < 64u; i++) {
        const uint32_t a = w[i - 15u];
        const uint32_t b = w[i - 2u];
        w[i] = w[i - 16u] + (rotated(a, 7u) ^ rotated(a, 18u) ^ (a >> 3)) + w[i - 7u] +
               (rotated(b, 17u) ^ rotated(b, 19u) ^ (b >> 10));
    }
    for (i = 0u; i < 8u; i++) {
        s[i] = hash->state[i];
    }
    for (i = 0u; i < 64u; i++) {
        const uint32_t e = rotated(s[4], 6u) ^ rotated(s[4], 11u) ^ rotated(s[4], 25u);
        const uint32_t a = rotated(s[0], 2u) ^ rotated(s[0], 13u) ^ rotated(s[0], 22u);
        const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        const uint32_t first = s[7] + e + choice + rounds[i] + w[i];
        s[7] = s[6];
        s[6] = s[5];
        s[5] = s[4];
        s[4] = s[3] + first;
        s[3] = s[2];
        s[2] = s[1];
        s[1] = s[0];
        s[0] = first + a + majority;
    }
    for (i = 0u; i < 8u; i++) {
        hash->state[i] += s[i];
    }
    hash->filled = 0u;
}

void kd_sha256_begin(kd_sha256 *hash)
{
    /* The first 32 bits of the fractional parts of the square roots of the first eight primes. */
    static const uint32_t start[8] = {
        0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au,
        0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u,
    };
    uint32_t i;
    for (i = 0u; i < 8u; i++) {
        hash->state[i] = start[i];
    }
    hash->filled = 0u;
    hash->length = 0u;
}

void kd_sha256_add(kd_sha256 *hash, const uint8_t *bytes, uint32_t count)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        hash->block[hash->filled] = bytes[i];
        hash->filled++;
        if (hash->filled == BLOCK_BYTES) {
            take_block(hash);
        }
    }
    hash->length += count;
}

void kd_sha256_end(kd_sha256 *hash, uint8_t *digest)
{
    static const uint8_t one = 0x80u;
    static const uint8_t zero = 0u;
    const uint32_t length = hash->length;
    uint32_t i;
    kd_sha256_add(hash, &one, 1u);
    while (hash->filled != LENGTH_AT) {
        kd_sha256_add(hash, &zero, 1u);
    }
    for (i = 0u; i < 8u; i++) { /* 64 bits, most significant first: bytes times 8 */
        const uint32_t word = (i < 4u) ? (length >> 29) : (length << 3);
        hash->block[LENGTH_AT + i] = (uint8_t)((word >> (8u * (3u - (i % 4u)))) & 0xFFu);
    }
    take_block(hash);
    for (i = 0u; i < KD_SHA256_BYTES; i++) {
        digest[i] = (uint8_t)((hash->state[i / 4u] >> (8u * (3u - (i % 4u)))) & 0xFFu);
    }
}

void kd_hmac_begin(kd_hmac *hmac, const uint8_t *key, uint32_t length)
{
    uint8_t inner[BLOCK_BYTES];
    uint8_t digest[KD_SHA256_BYTES];
    const uint8_t *used = key;
    uint32_t count = length;
    uint32_t i;
    if (length > BLOCK_BYTES) {
        kd_sha256_begin(&hmac->inner);
        kd_sha256_add(&hmac->inner, key, length);
        kd_sha256_end(&hmac->inner, digest);
        used = digest;
        count = KD_SHA256_BYTES;
    }
    for (i = 0u; i < BLOCK_BYTES; i++) {
        const uint8_t byte = (i < count) ? used[i] : 0u;
        inner[i] = byte ^ 0x36u;
        hmac->outer[i] = byte ^ 0x5Cu;
    }
    kd_sha256_begin(&hmac->inner);
    kd_sha256_add(&hmac->inner, inner, BLOCK_BYTES);
}

void kd_hmac_add(kd_hmac *hmac, const uint8_t *bytes, uint32_t count)
{
    kd_sha256_add(&hmac->inner, bytes, count);
}

void kd_hmac_end(kd_hmac *hmac, uint8_t *tag)
{
    uint8_t digest[KD_SHA256_BYTES];
    uint32_t i;
    kd_sha256_end(&hmac->inner, digest);
    kd_sha256_begin(&hmac->inner);
    kd_sha256_add(&hmac->inner, hmac->outer, BLOCK_BYTES);
    kd_sha256_add(&hmac->inner, digest, KD_SHA256_BYTES);
    kd_sha256_end(&hmac->inner, tag);
    for (i = 0u; i < BLOCK_BYTES; i++) {
        hmac->outer[i] = 0u;
        hmac->inner.block[i] = 0u;
    }
}

int32_t kd_equal_tags(const uint8_t *a, const uint8_t *b)
{
    uint32_t differing = 0u;
    uint32_t i;
    for (i = 0u; i < KD_SHA256_BYTES; i++) {
        differing |= (uint32_t)a[i] ^ (uint32_t)b[i];
    }
    differing = ((differing - 1u) >> 8) & 1u; /* only 0 less 1 has bits above the lowest eight */
    return (int32_t)differing;
}
